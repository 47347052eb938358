"""``t1edge edge sessions``."""

from __future__ import annotations

from itertools import islice
from typing import Any

import click

from edge.cli.common import json_option, plural, write_json, write_result
from edge.cli.remote import RemoteCommand, connect, to_option
from edge.cli.tables import print_table
from edge.packets.names import PROTOCOLS

_PROTOCOL_NAMES = {number: name for name, number in PROTOCOLS.items()}
_CONDITIONS = ("protocol", "address", "port_number", "port", "rule_id", "before_revision")


@click.command("sessions", cls=RemoteCommand, epilog="Example:  t1edge edge sessions --address 10.20.0.0/24 --limit 50")
@click.option("--protocol", type=click.IntRange(0, 255), help="IP protocol number.")
@click.option("--address", metavar="ADDRESSES", help="Address, CIDR or range of either end.")
@click.option("--port-number", type=click.IntRange(0, 65535), help="TCP or UDP port of either end.")
@click.option("--port", help="Port of the edge by which it enters or leaves.")
@click.option("--rule-id", help="Id of the firewall or NAT rule that it came by.")
@click.option("--before-revision", type=click.IntRange(1), help="Admitted by an older revision than this.")
@click.option("--limit", type=click.IntRange(1), default=100, show_default=True, help="How many are listed.")
@click.option("--delete", is_flag=True, help="End those sessions instead of listing them.")
@click.option("--all", "everything", is_flag=True, help="With --delete: every session.")
@to_option
@json_option
def command(limit: int, delete: bool, everything: bool, as_json: bool, **options: Any) -> None:
    """List the sessions that are open on a running edge, or end some."""
    condition = {name: value for name in _CONDITIONS if (value := options.pop(name)) is not None}
    if everything and not delete:
        raise click.UsageError("--all belongs to --delete")
    with connect(options) as client:
        if delete:
            _deleted(client.delete_sessions(condition, everything=everything), as_json=as_json)
            return
        found = list(islice(client.sessions(condition), limit + 1))
    more, found = len(found) > limit, found[:limit]
    if as_json:
        write_json({"sessions": found, "more": more})
        return
    title = f"the first {limit:,} sessions" if more else plural(len(found), "session")
    print_table(title, ("protocol", "from", "original", "translated", "state", "packets", "ends in"), map_rows(found))


def _deleted(count: int, *, as_json: bool) -> None:
    if as_json:
        write_json({"deleted": count})
    else:
        write_result(f"{plural(count, 'session')} ended")


def map_rows(sessions: list[dict[str, Any]]) -> list[tuple[str | int, ...]]:
    """Lines of the table."""
    return [
        (
            _PROTOCOL_NAMES.get(item["protocol"], str(item["protocol"])),
            item["inPort"],
            _ends(item["original"]),
            _ends(item["translated"]),
            "/".join(filter(None, (item["originatorState"], item["responderState"]))),
            int(item["forward"]["packets"]) + int(item["reverse"]["packets"]),
            item["expiresIn"].partition(".")[0].removesuffix("s") + " s",
        )
        for item in sessions
    ]


def _ends(ends: dict[str, Any]) -> str:
    def one(side: str) -> str:
        address, port = ends[f"{side}Address"], ends[f"{side}Port"]
        host = f"[{address}]" if ":" in address and port else address
        return f"{host}:{port}" if port else host

    return f"{one('source')} > {one('destination')}"
