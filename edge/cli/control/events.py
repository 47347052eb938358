"""``t1edge control events``."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import click

from edge.cli.common import json_option, write_result
from edge.cli.control.common import ControlCommand, add_list, connect, org_option, to_option
from edge.cli.remote import options_together
from edge.cli.watching import watch_options, write_events
from edge.printable import printable


@click.group("events")
def command() -> None:
    """What happens to objects and on edges."""


add_list(
    command,
    "EventService/ListEvents",
    "events",
    ("number", "eventTime", "kind", "object", "details"),
    text="List events that are kept, the oldest first.",
    example="--order-by 'number desc' --limit 20",
)


@command.command("watch", cls=ControlCommand, epilog="Example:  t1edge control events watch --json")
@watch_options
@options_together(org_option, to_option, json_option)
def watch(resume: str, count: int | None, org: str, as_json: bool, **options: Any) -> None:
    """Follow events as they come, a line each, until Ctrl-C.

    With --json each line is a document; the last of a batch has the token for --resume.
    """
    connection = connect(options)

    def batches() -> Iterator[tuple[list[dict[str, Any]], str]]:
        request = {"parent": connection.org(org), "resumeToken": resume}
        for batch in connection.client.watch("EventService/WatchEvents", request):
            missed = int(batch["missed"])
            if missed:
                write_result(json.dumps({"missed": missed}) if as_json else f"{missed:,} events are missing")
            yield batch["events"], batch["resumeToken"]

    with connection.client:
        write_events(batches(), count, _line, as_json=as_json)


def _line(event: dict[str, Any]) -> str:
    details = event["details"] if event["details"] not in {"", "{}"} else ""
    return printable(f"{event['eventTime']} {event['kind']} {event['object']} {details}".rstrip())
