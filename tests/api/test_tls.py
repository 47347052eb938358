"""Who gets in with TLS, and files that change while the edge is served."""

from __future__ import annotations

import logging
import ssl
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
import trustme

from edge.api.server import Address, Server
from edge.api.tls import CredentialsError, TlsFiles
from edge.v1 import edge_service_pb2 as pb
from edge.v1 import edge_service_pb2_grpc
from tests.api.served import ServedEdge, files_of, serving

CALL_S = 10.0


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def files(tmp_path: Path, authority: trustme.CA) -> TlsFiles:
    return files_of(tmp_path, authority, authority.issue_cert("127.0.0.1"))


@pytest.fixture
def secure(files: TlsFiles) -> Iterator[ServedEdge]:
    with serving(tls=files) as edge:
        yield edge


def get_stats(edge: ServedEdge, authority: trustme.CA, issued: Any) -> Any:
    """A call over a new connection, whose client shows ``issued``, if anything."""
    credentials = grpc.ssl_channel_credentials(
        authority.cert_pem.bytes(),
        issued.private_key_pem.bytes() if issued else None,
        issued.cert_chain_pems[0].bytes() if issued else None,
    )
    options = [("grpc.use_local_subchannel_pool", 1)]
    with grpc.secure_channel(edge.target, credentials, options) as channel:
        stub: Any = edge_service_pb2_grpc.EdgeServiceStub(channel)  # type: ignore[no-untyped-call]
        return stub.GetStats(pb.GetStatsRequest(), timeout=CALL_S)


def refused_code(edge: ServedEdge, authority: trustme.CA, issued: Any) -> grpc.StatusCode:
    with pytest.raises(grpc.RpcError) as error:
        get_stats(edge, authority, issued)
    found: grpc.StatusCode = error.value.code()
    return found


def serial_of(edge: ServedEdge, authority: trustme.CA) -> str:
    """Number of the certificate that the server shows to a new connection."""
    import socket

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    authority.configure_trust(context)
    authority.issue_cert("client.example").configure_cert(context)
    context.set_alpn_protocols(["h2"])
    with (
        socket.create_connection((edge.address.host, edge.address.port), CALL_S) as plain,
        context.wrap_socket(plain, server_hostname="127.0.0.1") as channel,
    ):
        shown = channel.getpeercert()
        assert shown
        return str(shown["serialNumber"])


def test_a_client_with_its_certificate_gets_in(secure: ServedEdge, authority: trustme.CA) -> None:
    assert get_stats(secure, authority, authority.issue_cert("client.example")).stats.revision == 1


def test_nobody_else_does(secure: ServedEdge, authority: trustme.CA) -> None:
    stranger = trustme.CA()
    unavailable = grpc.StatusCode.UNAVAILABLE
    assert refused_code(secure, authority, None) is unavailable, "without a certificate"
    assert refused_code(secure, authority, stranger.issue_cert("client.example")) is unavailable, "of another authority"
    assert refused_code(secure, stranger, authority.issue_cert("client.example")) is unavailable, "trusting another"
    with pytest.raises(grpc.RpcError) as error:
        secure.stub.GetStats(pb.GetStatsRequest(), timeout=CALL_S)
    assert error.value.code() is unavailable, "without TLS"


def test_a_renewed_certificate_is_shown_to_the_next_connection(
    secure: ServedEdge, authority: trustme.CA, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    before = serial_of(secure, authority)
    assert serial_of(secure, authority) == before
    with caplog.at_level(logging.INFO):
        files_of(tmp_path, authority, authority.issue_cert("127.0.0.1"))
        after = serial_of(secure, authority)
        assert serial_of(secure, authority) == after
    assert after != before
    assert caplog.text.count("certificates read again") == 1


def test_another_authority_holds_for_the_next_connection(
    secure: ServedEdge, authority: trustme.CA, tmp_path: Path
) -> None:
    other = trustme.CA()
    files_of(tmp_path, other, other.issue_cert("127.0.0.1"))
    assert get_stats(secure, other, other.issue_cert("client.example")).stats.revision == 1
    assert refused_code(secure, other, authority.issue_cert("client.example")) is grpc.StatusCode.UNAVAILABLE


@pytest.mark.parametrize("broken", ["certificate", "key", "authorities", "missing", "strangers key"])
def test_files_that_cannot_be_used_leave_the_old_ones_and_are_logged_once(
    secure: ServedEdge,
    files: TlsFiles,
    authority: trustme.CA,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    broken: str,
) -> None:
    before = serial_of(secure, authority)
    if broken == "missing":
        files.key.unlink()
    elif broken == "strangers key":
        files.key.write_bytes(authority.issue_cert("127.0.0.1").private_key_pem.bytes())
    else:
        getattr(files, broken).write_bytes(b"half a fi")
    with caplog.at_level(logging.INFO):
        assert serial_of(secure, authority) == before
        assert serial_of(secure, authority) == before
    (record,) = [record for record in caplog.records if record.name == "edge.api.tls"]
    assert record.levelname == "ERROR"
    assert record.getMessage().startswith(f"the certificates stay as they were: {tmp_path}/")
    files_of(tmp_path, authority, authority.issue_cert("127.0.0.1"))
    assert serial_of(secure, authority) != before, "whole again"


@pytest.mark.parametrize("broken", ["certificate", "key", "authorities"])
def test_an_edge_does_not_begin_with_files_that_cannot_be_used(files: TlsFiles, broken: str) -> None:
    path = getattr(files, broken)
    path.write_bytes(b"nothing")
    with pytest.raises(CredentialsError, match=rf"{path}: expected PEM with a"):
        Server(object(), Address("127.0.0.1", 0), files)  # type: ignore[arg-type]
    path.unlink()
    with pytest.raises(CredentialsError, match=rf"{path}: cannot be read: No such file"):
        Server(object(), Address("127.0.0.1", 0), files)  # type: ignore[arg-type]


def test_a_key_of_another_certificate_is_refused(files: TlsFiles, authority: trustme.CA) -> None:
    files.key.write_bytes(authority.issue_cert("127.0.0.1").private_key_pem.bytes())
    with pytest.raises(CredentialsError, match=r"(?i)mismatch"):
        Server(object(), Address("127.0.0.1", 0), files)  # type: ignore[arg-type]
