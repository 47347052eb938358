"""``t1edge control events``."""

from __future__ import annotations

import json
from typing import Any

import click

from edge.cli.common import json_option, write_result
from edge.cli.control.common import ControlCommand, add_list, connect, org_option, to_option
from edge.cli.remote import options_together
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
@click.option("--resume", metavar="TOKEN", default="", help="Go on where an earlier run ended.")
@click.option("--count", type=click.IntRange(1), help="End after so many events.")
@options_together(org_option, to_option, json_option)
def watch(resume: str, count: int | None, org: str, as_json: bool, **options: Any) -> None:
    """Follow events as they come, a line each, until Ctrl-C.

    With --json each line is a document; the last of a batch has the token for --resume.
    """
    left = count
    connection = connect(options)
    with connection.client as client:
        request = {"parent": connection.org(org), "resumeToken": resume}
        for batch in client.watch("EventService/WatchEvents", request):
            missed = int(batch["missed"])
            if missed:
                write_result(json.dumps({"missed": missed}) if as_json else f"{missed:,} events are missing")
            events = batch["events"][:left]
            for number, event in enumerate(events, 1):
                last = {"resumeToken": batch["resumeToken"]} if number == len(batch["events"]) else {}
                write_result(json.dumps({**event, **last}, ensure_ascii=False) if as_json else _line(event))
            if left is not None:
                left -= len(events)
                if left <= 0:
                    return


def _line(event: dict[str, Any]) -> str:
    details = event["details"] if event["details"] not in {"", "{}"} else ""
    return printable(f"{event['eventTime']} {event['kind']} {event['object']} {details}".rstrip())
