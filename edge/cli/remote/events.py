"""``t1edge edge events``."""

from __future__ import annotations

from typing import Any

import click

from edge.cli.common import json_option
from edge.cli.remote import RemoteCommand, connect, to_option
from edge.cli.watching import watch_options, write_events
from edge.printable import printable

_KINDS = ("CONFIG", "SESSION_STARTED", "SESSION_ENDED", "PACKET_LOGGED", "LIMIT")


@click.command("events", cls=RemoteCommand, epilog="Example:  t1edge edge events --kind PACKET_LOGGED --json")
@click.option("--kind", "kinds", multiple=True, type=click.Choice(_KINDS, case_sensitive=False), help="Only these.")
@watch_options
@to_option
@json_option
def command(kinds: tuple[str, ...], resume: str, count: int | None, as_json: bool, **options: Any) -> None:
    """Follow what happens on a running edge, a line for each event, until Ctrl-C.

    Sessions that begin and end, packets that rules with logging decided about, limits that are reached, changes of the
    configuration. GAP says that events are missing. With --json each line is a document; the last of a batch has the
    token for --resume.
    """
    with connect(options) as client:
        batches = ((batch.events, batch.resume_token) for batch in client.events(resume, kinds))
        write_events(batches, count, _line, as_json=as_json)


def _line(event: dict[str, Any]) -> str:
    """One event for people."""
    kind = event["kind"]
    if kind in ("SESSION_STARTED", "SESSION_ENDED"):
        from edge.cli.remote.sessions import map_rows

        (row,) = map_rows([event["session"]])
        text = f"{row[0]} {row[2]} as {row[3]} {event.get('cause', '')}"
    elif kind == "PACKET_LOGGED":
        rule = event.get("step", {}).get("rule", "")
        text = f"{event.get('verdict')} {event.get('reason')} {rule}: {event.get('packet')} in={event.get('inPort')}"
    elif kind == "CONFIG":
        text = f"revision {event.get('revision', {}).get('number')} {event.get('cause', '')}"
    elif kind == "GAP":
        text = f"{event.get('lost', 'an unknown number of')} events are missing"
    else:
        text = " ".join(str(value) for key, value in event.items() if key not in ("time", "kind"))
    return printable(f"{event['time']} {kind} {text}".rstrip())
