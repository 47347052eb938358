"""What the commands of ``t1edge edge`` share: where the edge is, and how its refusals look."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

import click

from edge.cli.common import EdgeCommand, ExitCode, message, write_json, write_result
from edge.errors import EdgeError, Problem
from edge.printable import printable

if TYPE_CHECKING:
    from edge.api.answers import AppliedAnswer
    from edge.api.client import Conditions, EdgeClient
    from edge.api.tls import TlsFiles

Decorated = TypeVar("Decorated", bound=Callable[..., Any])

DEFAULT_ADDRESS = "127.0.0.1:7440"

_INVALID = frozenset(
    {"INVALID_DOCUMENT", "INVALID_ARGUMENT", "INVALID_FILTER", "INVALID_PACKET", "INVALID_RESUME_TOKEN", "CANNOT_SEND"}
)
"""Reasons that say: what you gave me cannot be meant."""


class RemoteCommand(EdgeCommand):
    """A command that calls an edge: 3 when it cannot be reached, 1 when it refuses, 2 when what it was given is
    invalid."""

    invalid: ClassVar[frozenset[str]] = _INVALID
    """Reasons that say so."""

    def exit_code(self, error: EdgeError) -> ExitCode:
        """How the command ends because of ``error``."""
        from edge.api.client import CallError, UnreachableError

        if isinstance(error, UnreachableError):
            return ExitCode.UNREACHABLE
        refused = isinstance(error, CallError) and error.code not in self.invalid
        return ExitCode.DIFFERENT if refused else ExitCode.USAGE


def options_together(*options: Callable[[Any], Any]) -> Callable[[Decorated], Decorated]:
    """Several options as one decorator; help texts list them in this order."""

    def decorated(function: Decorated) -> Decorated:
        for option in reversed(options):
            function = option(function)
        return function

    return decorated


def service_options(whom: str, address: str | None) -> Callable[[Decorated], Decorated]:
    """``--to`` and the files of TLS, for calls of ``whom``; ``address``: the default."""
    return options_together(
        click.option("--to", metavar="ADDRESS", default=address, show_default=address is not None,
                     help=f"The {whom}: HOST:PORT or unix:PATH."),
        click.option("--tls-cert", metavar="FILE", help="PEM: the own certificate, for TLS."),
        click.option("--tls-key", metavar="FILE", help="PEM: its key."),
        click.option("--tls-ca", metavar="FILE", help=f"PEM: who may have signed the {whom}'s certificate."),
        click.option("--timeout", type=click.FloatRange(min=0.1), default=30.0, show_default=True,
                     help="Seconds to wait for an answer."),
    )  # fmt: skip


to_option = service_options("edge", DEFAULT_ADDRESS)
"""How to reach an edge."""

change_options = options_together(
    click.option("--etag", default="", help="Only if the configuration with this etag still runs."),
    click.option("--validate-only", is_flag=True, help="Say what would change, and change nothing."),
    click.option("--confirm-within", type=click.FloatRange(1, 3600), metavar="SECONDS",
                 help="Take the change back unless t1edge edge confirm follows in time."),
    click.option("--comment", default="", help="Free text for the list of revisions."),
)  # fmt: skip
"""Options of every command that changes the configuration."""


def connect(options: dict[str, Any]) -> EdgeClient:
    """The client that ``to_option`` describes; its options are taken out of ``options``."""
    from edge.api.client import EdgeClient

    return EdgeClient(options.pop("to"), taken_tls(options), timeout_s=options.pop("timeout"))


def taken_tls(options: dict[str, Any]) -> TlsFiles | None:
    """The files of TLS; their options are taken out of ``options``."""
    from edge.api.client import tls_files

    cert, key, authorities = (options.pop(f"tls_{name}") for name in ("cert", "key", "ca"))
    try:
        return tls_files(cert, key, authorities)
    except ValueError as error:
        raise click.UsageError(str(error)) from None


def conditions_of(options: dict[str, Any]) -> Conditions:
    """What ``change_options`` describes; taken out of ``options``."""
    from edge.api.client import Conditions

    return Conditions(
        options.pop("etag"), options.pop("validate_only"), options.pop("confirm_within"), options.pop("comment")
    )


def warn(problems: tuple[Problem, ...]) -> None:
    """Warnings of the edge, on stderr."""
    for problem in problems:
        message(printable(str(problem)))


@contextlib.contextmanager
def placed_in(path: str, text: str, allow_unsupported: bool) -> Iterator[None]:
    """A document that the edge refuses is read here too: that gives every problem its line and column, and all of
    them."""
    from edge.api.client import CallError
    from edge.document import loads

    try:
        yield
    except CallError as error:
        if error.code == "INVALID_DOCUMENT":
            loads(text, file=path, allow_unsupported=allow_unsupported)
        raise


def write_applied(applied: AppliedAnswer, *, validate_only: bool, as_json: bool) -> None:
    """What a change did."""
    if as_json:
        write_json(applied.to_json())
        return
    warn(applied.warnings)
    lines = [str(change) for change in applied.changes] or ["no difference"]
    revision = applied.revision
    verb = "still runs" if validate_only or not applied.changes else "runs"
    lines.append(f"revision {revision.number} {verb} (etag {revision.etag})")
    if revision.confirm_deadline and not validate_only:
        lines.append(f"it is taken back at {revision.confirm_deadline} unless t1edge edge confirm says to keep it")
    write_result(printable("\n".join(lines), lines=True))
