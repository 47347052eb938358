"""``t1edge trace``."""

from __future__ import annotations

from types import MappingProxyType

import click

from edge.cli.common import (
    EdgeCommand,
    allow_unsupported_option,
    edge_argument,
    json_option,
    load_edge,
    paint,
    write_json,
    write_result,
)

_COLOURS = MappingProxyType({"ALLOW": "green", "LOCAL": "green", "DROP": "red", "REJECT": "red", "HELD": "yellow"})


@click.command(
    "trace",
    cls=EdgeCommand,
    epilog="Example:  t1edge trace acme.yaml 'tcp 198.51.100.99:40000 > 203.0.113.11:80 S' \\\n"
    "                                  'tcp 10.20.0.10:8080 > 198.51.100.99:40000 SA'",
)
@edge_argument()
@click.argument("packets", metavar="PACKET...", nargs=-1, required=True)
@allow_unsupported_option
@json_option
def command(edge: str, packets: tuple[str, ...], allow_unsupported: bool, as_json: bool) -> None:
    """Send each PACKET in order through the edge in the file EDGE and show every stage.

    A packet reads PROTO SRC[:PORT] > DST[:PORT] [FLAGS] [key=value ...]; in=PORT says where it enters, wait=31 lets so
    many seconds pass before it. The edge begins without sessions. Verdicts of any kind exit 0.
    """
    from edge.trace import new_edge, render, trace_packets

    loaded = load_edge(edge, allow_unsupported)
    results = trace_packets(new_edge(loaded.config), packets)
    if as_json:
        write_json({"packets": [result.to_json() for result in results]})
    else:
        write_result("\n\n".join(render(result, emphasized) for result in results))


def emphasized(verdict: str) -> str:
    """The name of a verdict in its colour."""
    return paint(verdict, _COLOURS[verdict])
