"""``t1edge edge enroll``."""

from __future__ import annotations

import contextlib
import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from edge.cli.common import json_option, write_json, write_result
from edge.cli.remote import RemoteCommand
from edge.errors import StoreError
from edge.printable import printable

if TYPE_CHECKING:
    from control.api.client import ControlClient

TOKEN_VARIABLE = "T1EDGE_ENROLL_TOKEN"  # noqa: S105 - its name
FILES = ("key.pem", "cert.pem", "ca.pem")


@click.command(
    "enroll",
    cls=RemoteCommand,
    epilog="Example:  t1edge edge enroll --control control.example.net:7442 --out /etc/t1edge/tls",
)
@click.option("--control", metavar="ADDRESS", required=True, help="Where the control plane lets edges enrol.")
@click.option(
    "--token", required=True, envvar=TOKEN_VARIABLE,
    help=f"Of t1edge control edges enroll; {TOKEN_VARIABLE} keeps it off the command line.",
)  # fmt: skip
@click.option(
    "--out", metavar="DIR", required=True, type=click.Path(file_okay=False), help=f"Write {', '.join(FILES)} here."
)
@click.option("--host", metavar="NAME", default="", help="This host: refuse a token for another one.")
@click.option("--no-tls", is_flag=True, help="The control plane is on this machine and speaks without TLS there.")
@click.option(
    "--timeout", type=click.FloatRange(min=0.1), default=30.0, show_default=True, help="Seconds to wait for an answer."
)
@json_option
def command(control: str, token: str, out: str, host: str, no_tls: bool, timeout: float, as_json: bool) -> None:
    """Make a key for an edge on this host, and have its certificate from the control plane.

    t1edge serve runs with the files: --tls-key DIR/key.pem --tls-cert DIR/cert.pem --tls-ca DIR/ca.pem. Another token
    renews them, without a restart.
    """
    from cryptography.hazmat.primitives.asymmetric import ec

    from control.access.host import parted, private_pem, signing_request

    secret, authority = parted(token)
    key = ec.generate_private_key(ec.SECP256R1())
    request = {"token": secret, "certificateSigningRequest": signing_request(key, host)}
    folder = Path(out)
    with contextlib.ExitStack() as stack:
        # A token works once: what could go wrong with the files goes wrong before.
        drafts = _drafts(folder, stack)
        with _client(control, authority, no_tls, timeout) as client:
            answer = client.call("EdgeHostService/Enroll", request)
        contents = (private_pem(key), answer["certificate"].encode(), answer["certificateAuthority"].encode())
        _write(folder, drafts, contents)
    if as_json:
        write_json({"edge": answer["edge"], "expireTime": answer["expireTime"], "files": _paths(folder)})
    else:
        written = ", ".join(_paths(folder))
        write_result(printable(f"{answer['edge']}: {written}, until {answer['expireTime']}"))


def _client(control: str, authority: bytes, no_tls: bool, timeout_s: float) -> ControlClient:
    """Whoever answers has to be the control plane that the token is of."""
    from control.api.client import ControlClient, door_client

    return ControlClient(control, timeout_s=timeout_s) if no_tls else door_client(control, authority, timeout_s)


def _paths(folder: Path) -> list[str]:
    return [str(folder / name) for name in FILES]


def _drafts(folder: Path, stack: contextlib.ExitStack) -> list[Path]:
    """Empty files beside those to be, with the mode 0600, removed at the end.  Raises StoreError."""
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        drafts = []
        for name in FILES:
            made, draft = tempfile.mkstemp(prefix=f".{name}-", dir=folder)
            os.close(made)
            drafts.append(Path(draft))
            stack.callback(Path(draft).unlink, missing_ok=True)
    except OSError as error:
        raise _failed(folder, error) from None
    return drafts


def _write(folder: Path, drafts: list[Path], contents: tuple[Any, ...]) -> None:
    """Each file is there as a whole, or as it was before.  Raises StoreError."""
    from edge.store.directory import sync_directory

    try:
        for draft, content in zip(drafts, contents, strict=True):
            with draft.open("wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
        for draft, name in zip(drafts, FILES, strict=True):
            draft.replace(folder / name)
        sync_directory(folder)
    except OSError as error:
        raise _failed(folder, error) from None


def _failed(folder: Path, error: OSError) -> StoreError:
    return StoreError(f"{folder}: {error.strerror}")
