"""A console in a terminal: keys go there, what is shown comes here, the terminal is as it was afterwards."""

from __future__ import annotations

import base64
import io
import os
import pty
import sys
import termios
import threading
from collections.abc import Iterator, Mapping
from typing import Any, cast

import pytest

from control.api.client import ControlClient
from edge.cli.control.common import Connection
from edge.cli.control.machines import converse

MACHINE = "orgs/US1/vdcs/v/machines/web1"


class Shell:
    """A machine's side: tells what it is told, until it reads ``exit``."""

    def __init__(self) -> None:
        self.opened: Any = None
        self.typed = b""

    def converse(self, name: str, requests: Iterator[Mapping[str, Any]]) -> Iterator[dict[str, Any]]:
        assert name == "MachineService/Console"
        for request in requests:
            if "open" in request:
                self.opened = request["open"]
                yield {"output": base64.b64encode(b"$ ").decode()}
            elif "input" in request:
                keys = base64.b64decode(request["input"])
                self.typed += keys
                yield {"output": base64.b64encode(keys.upper()).decode()}
                if self.typed.endswith(b"exit\r"):
                    yield {"exitCode": 7}


@pytest.mark.parametrize(("keys", "code"), [(b"exit\r", 7), (b"ls\r\x1d", 0)])
def test_a_console(monkeypatch: pytest.MonkeyPatch, keys: bytes, code: int) -> None:
    outside, inside = pty.openpty()
    before = termios.tcgetattr(inside)
    bytes_shown = io.BytesIO()
    shown = io.TextIOWrapper(bytes_shown)
    shell = Shell()
    with open(inside, closefd=False) as terminal:
        monkeypatch.setattr(sys, "stdin", terminal)
        monkeypatch.setattr(sys, "stdout", shown)
        threading.Timer(0.2, os.write, (outside, keys)).start()
        found = converse(Connection(cast(ControlClient, shell), "", 30.0), MACHINE)
    assert found == code
    assert shell.opened["name"] == MACHINE
    assert set(shell.opened["window"]) == {"rows", "columns"}
    assert bytes_shown.getvalue() == (b"$ EXIT\r" if code else b"$ LS\r")
    assert shell.typed == keys.removesuffix(b"\x1d")
    assert termios.tcgetattr(inside) == before
    os.close(outside)
    os.close(inside)
