"""Where the service listens, and who may come in."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from edge.api.host import _remove_stale_socket
from edge.api.server import Server
from edge.listening import Address, ListenError, parse_address


@pytest.mark.parametrize(
    ("text", "address", "local"),
    [
        ("127.0.0.1:7440", Address("127.0.0.1", 7440), True),
        ("127.8.8.8:1", Address("127.8.8.8", 1), True),
        ("localhost:7440", Address("localhost", 7440), True),
        ("[::1]:7440", Address("::1", 7440), True),
        ("0.0.0.0:7440", Address("0.0.0.0", 7440), False),
        ("[::]:7440", Address("::", 7440), False),
        ("10.0.0.1:0", Address("10.0.0.1", 0), False),
        ("edge.example:65535", Address("edge.example", 65535), False),
        ("unix:/run/t1edge.sock", Address("", 0, "/run/t1edge.sock"), True),
    ],
)
def test_an_address_is_read_and_written(text: str, address: Address, local: bool) -> None:
    assert parse_address(text) == address
    assert str(address) == text
    assert address.local == local


@pytest.mark.parametrize(
    "text", ["", "7440", ":7440", "host:", "host:65536", "host:-1", "::1:7440", "unix:", "h:1x", "h:٣", "[h]:1"]
)
def test_what_is_no_address_is_refused_with_what_was_expected(text: str) -> None:
    with pytest.raises(ListenError, match=r"expected"):
        parse_address(text)


def test_without_tls_only_this_machine_may_be_listened_to() -> None:
    with pytest.raises(ListenError, match=r"0\.0\.0\.0:7440: without TLS only this machine"):
        Server(object(), Address("0.0.0.0", 7440))  # type: ignore[arg-type]


def test_a_stale_socket_goes_and_anything_else_stays(tmp_path: Path) -> None:
    path = tmp_path / "edge.sock"
    _remove_stale_socket(path)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()
        with pytest.raises(ListenError, match="another process listens there"):
            _remove_stale_socket(path)
    _remove_stale_socket(path)
    assert not path.exists()
    path.write_text("a file")
    with pytest.raises(ListenError, match="no socket"):
        _remove_stale_socket(path)
    assert path.read_text() == "a file"
