"""``t1edge edge trace``."""

from __future__ import annotations

import contextlib
from typing import Any

import click

from edge.cli.common import allow_unsupported_option, json_option, write_json, write_result
from edge.cli.remote import RemoteCommand, connect, placed_in, to_option, warn
from edge.cli.trace import emphasized


@click.command(
    "trace", cls=RemoteCommand, epilog="Example:  t1edge edge trace 'tcp 198.51.100.99:40000 > 203.0.113.11:80 S'"
)
@click.argument("packets", metavar="PACKET...", nargs=-1, required=True)
@click.option("--candidate", metavar="EDGE", type=click.Path(), help="Under this edge file instead of what runs.")
@click.option("--ignore-sessions", is_flag=True, help="Begin without the sessions that are open.")
@allow_unsupported_option
@to_option
@json_option
def command(
    packets: tuple[str, ...],
    candidate: str | None,
    ignore_sessions: bool,
    allow_unsupported: bool,
    as_json: bool,
    **options: Any,
) -> None:
    """Show what a running edge would do to each PACKET, in order, stage by stage.

    Sessions that are open are met; none is made, and nothing on the edge changes.
    """
    from edge.document import read_text
    from edge.trace import render

    text = read_text(candidate) if candidate else ""
    placed = placed_in(candidate, text, allow_unsupported) if candidate else contextlib.nullcontext()
    with connect(options) as client, placed:
        found = client.trace(
            packets,
            candidate=text,
            allow_unsupported=allow_unsupported,
            ignore_sessions=ignore_sessions,
            file=candidate,
        )
    if as_json:
        write_json({"packets": [result.to_json() for result in found.results], "revision": found.revision})
        return
    warn(found.warnings)
    write_result("\n\n".join(render(result, emphasized) for result in found.results))
