"""``t1edge bench``."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from edge.cli.common import EdgeCommand, json_option, message, write_json, write_result
from edge.cli.lazy import LazyGroup
from edge.cli.tables import Cell, print_table

if TYPE_CHECKING:
    from edge.bench.measurement import Measurement


class BenchGroup(EdgeCommand, LazyGroup):
    """Measures where no command follows."""

    commands_by_name = {"compare": "edge.cli.bench_compare"}  # noqa: RUF012 - as every group has it


@click.group(
    "bench",
    cls=BenchGroup,
    invoke_without_command=True,
    epilog="Example:  t1edge bench --filter established_10k --json",
)
@click.option(
    "--filter", "pattern", metavar="TEXT", default="", help="Only case TEXT, or those with TEXT in their names."
)
@click.option("--peers", "with_peers", is_flag=True, help="Also what users would pick instead, on the same work.")
@json_option
@click.pass_context
def command(ctx: click.Context, pattern: str, with_peers: bool, as_json: bool) -> None:
    """Measure the throughput of packet processing on one processor of this machine.

    Each case is timed in many short trials: the median counts, the spread is the middle half of the trials.
    """
    if ctx.invoked_subcommand is not None:
        if pattern or with_peers or as_json:
            raise click.UsageError(f"options of {ctx.invoked_subcommand} come behind it", ctx)
        return
    from edge.bench import machine, peers, suite

    peer = suite.find_peer() if with_peers else None
    environment = machine.environment()
    measurements = suite.run(pattern, started=lambda name: message(f"measuring {name}"), peer=peer)
    found = None if peer is None else peers.found(peer.measured)
    if as_json:
        document: dict[str, object] = {"env": environment, "cases": [case.to_json() for case in measurements]}
        if found is not None:
            document["peers"] = found
        write_json(document)
        return
    _print(measurements)
    for name in ("cpu", "kernel", "python", "compiler"):
        write_result(f"{name}: {environment[name]}")
    for each in found or ():
        write_result(f"peer {each['name']}: {each['status'].lower().replace('_', ' ')} ({each['detail']})")


def _print(measurements: Sequence[Measurement]) -> None:
    from edge.bench.measurement import spread

    rows: list[tuple[Cell, ...]] = []
    beside: list[tuple[Cell, ...]] = []
    for case in measurements:
        clocks = case.clocks_per_packet
        rows.append(
            (
                case.name,
                _shown(statistics.median(case.samples)),
                case.unit,
                f"{statistics.median(clocks):,.1f}" if clocks else "",
                f"{spread(case.samples):.1%}",
                len(case.samples),
            )
        )
        for peer in case.peers:
            middle, low, high = case.ratio(peer)
            rate = _shown(statistics.median(peer.samples))
            beside.append((case.name, peer.name, rate, case.unit, f"{middle:.3g}", f"{low:.3g}-{high:.3g}"))
    print_table("One processor", ("case", "median", "unit", "clocks/packet", "spread", "trials"), rows)
    if beside:
        columns = ("case", "peer", "its median", "unit", "t1edge is so many times as fast", "interval of 95 %")
        print_table("Beside peers", columns, beside)


def _shown(value: float) -> str:
    """Whole numbers where there is something before the point."""
    return f"{value:,.0f}" if value >= 1000 else f"{value:.3g}"
