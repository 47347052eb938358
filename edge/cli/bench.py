"""``t1edge bench``."""

from __future__ import annotations

import statistics

import click

from edge.cli.common import EdgeCommand, json_option, message, write_json, write_result
from edge.cli.tables import print_table


@click.command("bench", cls=EdgeCommand, epilog="Example:  t1edge bench --filter established_10k --json")
@click.option(
    "--filter", "pattern", metavar="TEXT", default="", help="Only case TEXT, or those with TEXT in their names."
)
@click.option("--peers", "with_peers", is_flag=True, help="Also name the programs that users would pick instead.")
@json_option
def command(pattern: str, with_peers: bool, as_json: bool) -> None:
    """Measure the throughput of packet processing on one processor of this machine.

    Each case is timed in many short trials: the median counts, the spread is the middle half of the trials.
    """
    from edge import benchmarks

    measurements = benchmarks.run(pattern, started=lambda name: message(f"measuring {name}"))
    environment = benchmarks.environment()
    peers = benchmarks.peers() if with_peers else None
    if as_json:
        document: dict[str, object] = {"env": environment, "cases": [case.to_json() for case in measurements]}
        if peers is not None:
            document["peers"] = peers
        write_json(document)
        return
    rows = []
    for case in measurements:
        clocks = case.clocks_per_packet
        rows.append(
            (
                case.name,
                round(statistics.median(case.packets_per_second)),
                round(statistics.median(clocks), 1),
                f"{benchmarks.spread(clocks):.1%}",
                f"{min(clocks):.1f}-{max(clocks):.1f}",
                len(clocks),
            )
        )
    print_table(
        "Packets of established sessions", ("case", "packets/s", "clocks/packet", "spread", "range", "trials"), rows
    )
    for name in ("cpu", "kernel", "python", "compiler"):
        write_result(f"{name}: {environment[name]}")
    for peer in peers or ():
        write_result(f"peer {peer['name']}: {peer['status'].lower().replace('_', ' ')} ({peer['detail']})")
