"""``t1edge control audit``."""

from __future__ import annotations

from typing import Any

import click

from edge.cli.common import EdgeCommand, ExitCode, json_option, message, plural, write_json, write_result
from edge.cli.control.common import ControlCommand, add_list, connect, org_option, to_option
from edge.errors import EdgeError
from edge.printable import printable


class VerifyCommand(EdgeCommand):
    """A trail that does not hold together exits 1."""

    def exit_code(self, error: EdgeError) -> ExitCode:
        """How the command ends because of ``error``."""
        return ExitCode.DIFFERENT if error.reason == "AUDIT_BROKEN" else ExitCode.USAGE


@click.group("audit")
def command() -> None:
    """Who did what: a chain of records that shows if one was changed."""


add_list(
    command,
    "AuditService/ListAuditRecords",
    "records",
    ("number", "recordTime", "actor", "method", "object", "outcome"),
    text="List records.",
    example="--order-by 'number desc'",
)


@command.command("export", cls=ControlCommand, epilog="Example:  t1edge control audit export > audit.jsonl")
@org_option
@to_option
def export(org: str, **options: Any) -> None:
    """Write the whole chain of an organization as JSON lines; its newest record is told on stderr."""
    from control.api.client import audit_line

    connection = connect(options)
    head = ""
    with connection.client as client:
        request = {"parent": connection.org(org), "orderBy": "number"}
        for record in client.pages("AuditService/ListAuditRecords", request, "records"):
            write_result(audit_line(record))
            head = f"{record['number']}:{record['hash']}"
    message(f"head {head}")


@command.command("verify", cls=VerifyCommand, epilog="Example:  t1edge control audit verify audit.jsonl")
@click.argument("file", type=click.File(encoding="utf-8", errors="replace"))
@click.option(
    "--head", default="", metavar="NUMBER:HASH", help="What an export told: nothing may be missing up to there."
)
@json_option
def verify(file: Any, head: str, as_json: bool) -> None:
    """Check an export, without any service: what was changed, removed or moved is named, and exits 1."""
    from control import chain

    heads = chain.verify(file, head)
    if as_json:
        write_json({"heads": {org: str(found) for org, found in heads.items()}})
        return
    for org, found in heads.items():
        write_result(printable(f"{org}: {plural(found.number, 'record')}, unchanged; head {found}"))
