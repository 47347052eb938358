"""A process that serves, and people who log in to it, authenticators at hand."""

from __future__ import annotations

import contextlib
import re
import secrets
import subprocess
import sys
import time
from base64 import b32decode
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from edge.errors import EdgeError

if TYPE_CHECKING:
    from control.api.client import ControlClient

_START_S = 120.0
_LOOK_S = 0.02


class DemoError(EdgeError):
    """A control plane that does not start."""

    reason = "DEMO_FAILED"


@contextlib.contextmanager
def serving(folder: Path) -> Iterator[str]:
    """The address of a control plane with its data in ``folder``, until the end of the block.  Raises DemoError."""
    address, log = f"unix:{folder}/control.sock", folder / "serve.log"
    command = [sys.executable, "-m", "edge.cli", "control", "serve", "--data", str(folder / "data"),
               "--listen", address, "--metrics", "none"]  # fmt: skip
    with log.open("w", encoding="utf-8") as file:
        # Ctrl-C is for this process, which then ends that one.
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=file, start_new_session=True)  # noqa: S603
    try:
        end = time.monotonic() + _START_S
        while "serves control.v1" not in log.read_text(encoding="utf-8"):
            if process.poll() is not None or time.monotonic() > end:
                raise DemoError(f"the control plane does not start: {log.read_text(encoding='utf-8').strip()}")
            time.sleep(_LOOK_S)
        yield address
    finally:
        process.terminate()
        try:
            process.wait(_START_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


class People:
    """Who has logged in; ``logins`` says how they can again."""

    def __init__(self, address: str, stack: contextlib.ExitStack) -> None:
        self._address = address
        self._stack = stack
        self.logins: list[str] = []

    def first_login(self, path: str, one_time: str) -> ControlClient:
        """A client of somebody who logs in for the first time."""
        from control.access.totp import code_at

        _, org, _, username = path.split("/")
        password = secrets.token_urlsafe(12)
        nobody = self._client("")
        about = {"org": f"orgs/{org}", "username": username, "password": one_time, "newPassword": password}
        enrolment = nobody.call("SessionService/Login", about)["enrolment"]
        code = code_at(_seed(enrolment["uri"]), int(time.time()) // 30)
        confirmed = {"token": enrolment["token"], "code": code}
        session = nobody.call("SessionService/ConfirmSecondFactor", confirmed)["session"]
        self.logins.append(f"--org {org} --user {username}  password {password}  {enrolment['uri']}")
        return self._client(session["token"])

    def _client(self, token: str) -> ControlClient:
        from control.api.client import ControlClient

        return self._stack.enter_context(ControlClient(self._address, token))


def _seed(uri: str) -> bytes:
    match = re.search(r"secret=([A-Z2-7]+)", uri)
    assert match is not None
    return b32decode(match[1] + "=" * (-len(match[1]) % 8))
