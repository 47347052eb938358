"""``t1edge replay``."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import click

from edge.cli.common import (
    EdgeCommand,
    ExitCode,
    allow_unsupported_option,
    coloured,
    edge_argument,
    json_option,
    load_edge,
    message,
    plural,
    refuse_overwriting,
    report_problems,
    write_json,
    write_result,
)
from edge.cli.tables import print_table
from edge.errors import CaptureError, Problem
from edge.printable import printable

if TYPE_CHECKING:
    from edge.captures import CaptureReader
    from edge.replay import Answer, FlowDifference, ReplayResult, RuleLine
    from edge.runtime import Edge

DIFFERENCES_SHOWN = 50
"""How many differing flows the text output lists; ``--json`` has all."""


@click.command(
    "replay",
    cls=EdgeCommand,
    epilog="Example:  t1edge replay acme.yaml monday.pcapng --in INTERNET --out judged.pcapng",
)
@edge_argument()
@click.argument("capture", metavar="CAPTURE", type=click.Path(allow_dash=True))
@click.option("--in", "in_port", metavar="PORT", help="Where every packet enters (default: where its source says).")
@click.option("--out", metavar="FILE.pcapng", type=click.Path(), help="Write what leaves, with comments.")
@click.option("--compare", metavar="EDGE2", type=click.Path(), help="List the flows that EDGE2 treats differently.")
@click.option("--raw", is_flag=True, help="Take every packet as it is: no replies from behind the edge.")
@allow_unsupported_option
@json_option
def command(
    *,
    edge: str,
    capture: str,
    in_port: str | None,
    out: str | None,
    compare: str | None,
    raw: bool,
    allow_unsupported: bool,
    as_json: bool,
) -> None:
    """Send the packets of CAPTURE (pcap or pcapng) through the edge file EDGE.

    CAPTURE may be compressed with gzip or zstd, and - is standard input.

    Shows the hits of every rule, verdicts, reasons, sessions and the rate; the capture's own time stamps are the
    clock.  --out writes a pcapng file of all packets that leave, each with verdict, rules and rewrite as its comment.
    With --compare, exits 1 if a flow differs.  A capture that breaks off is replayed up to there, and exits 2.
    """
    from edge.captures import open_capture

    if out is not None:
        edges = [("an edge file", path) for path in (edge, compare) if path is not None]
        refuse_overwriting("--out", out, [("the capture itself", capture), *edges])
    first = _start(edge, allow_unsupported)
    second = None if compare is None else _start(compare, allow_unsupported)
    try:
        with open_capture(capture) as reader, _progress(reader) as progress:
            result = _run(first, second, reader, in_port=in_port, out=out, raw=raw, progress=progress)
    except CaptureError as error:
        _report(error, capture, out, as_json=as_json)
        raise click.exceptions.Exit(ExitCode.USAGE) from error
    if as_json:
        problems = {} if result.error is None else {"problems": [_problem(result.error, capture).to_json()]}
        write_json(result.to_json() | problems)
    else:
        _show(result)
    if result.error is not None:
        if not as_json:
            _report(result.error, capture, as_json=False)
        raise click.exceptions.Exit(ExitCode.USAGE)
    if result.differences:
        raise click.exceptions.Exit(ExitCode.DIFFERENT)


def _start(path: str, allow_unsupported: bool) -> Edge:
    from edge.runtime import Edge

    config = load_edge(path, allow_unsupported).config
    return Edge(config, seed=1 if config.options.seed is None else config.options.seed)


def _run(
    first: Edge,
    second: Edge | None,
    reader: CaptureReader,
    *,
    in_port: str | None,
    out: str | None,
    raw: bool,
    progress: Callable[[int], None] | None,
) -> ReplayResult:
    from edge.captures import PcapngWriter
    from edge.replay import check_port, replay, replay_stepwise

    check_port(first.config, in_port)
    if out is None and second is None:
        return replay(first, reader, in_port=in_port, raw=raw, progress=progress)
    with contextlib.ExitStack() as stack:
        writer = None if out is None else stack.enter_context(PcapngWriter(out, first.config.ports))
        return replay_stepwise(first, reader, in_port=in_port, raw=raw, writer=writer, other=second, progress=progress)


def _problem(error: CaptureError, *paths: str | None) -> Problem:
    """The error as a problem of the file that its message begins with: one of ``paths``, or standard input."""
    text = str(error)
    names = (path for path in paths if path is not None and text.startswith(f"{path}: "))
    file = next(names, text.partition(": ")[0])
    return Problem(error.reason, "", text.removeprefix(f"{file}: "), file=file)


def _report(error: CaptureError, *paths: str | None, as_json: bool) -> None:
    problem = _problem(error, *paths)
    report_problems([problem], as_json=as_json, text=printable(str(problem)))


@contextlib.contextmanager
def _progress(reader: CaptureReader) -> Iterator[Callable[[int], None] | None]:
    """A progress bar on stderr when that is a terminal and the capture has a size, else None."""
    if reader.size is None or not coloured(sys.stderr):
        yield None
        return
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("replaying"), BarColumn(), DownloadColumn(binary_units=True), TimeRemainingColumn())
    with Progress(*columns, console=Console(file=sys.stderr), transient=True) as bar:
        task = bar.add_task("replaying", total=reader.size)
        yield lambda done: bar.update(task, completed=done)


def _show(result: ReplayResult) -> None:
    _show_rules("Firewall rules", "action", result.firewall_rules)
    if result.nat_rules:
        _show_rules("NAT rules", "type", result.nat_rules)
    stats = result.stats
    print_table(
        "Verdicts", ("verdict", "packets"), [(verdict.name, count) for verdict, count in sorted(stats.verdicts.items())]
    )
    by_count = sorted(stats.reasons.items(), key=lambda item: (-item[1], item[0]))
    print_table("Reasons", ("reason", "packets"), [(reason.name, count) for reason, count in by_count])
    packets = plural_of(result.packets, "packet")
    if result.hairpins:
        packets += f" ({result.hairpins:,} of them came back in)"
    write_result(
        f"{packets} and {plural_of(result.bytes, 'byte')} in {result.seconds:.2f} s"
        f" ({result.packets_per_second:,.0f} packets/s); sessions: {stats.sessions_created:,} created,"
        f" {stats.sessions_peak:,} at most, {stats.sessions_open:,} open"
    )
    if stats.answers_limited:
        kept_back = plural_of(stats.answers_limited, "answer")
        write_result(
            f"{kept_back} of the edge not sent (ICMP errors, challenge ACKs): more than options.icmpErrorRate allows"
        )
    if stats.datagrams_reassembled or stats.datagrams_timed_out or stats.fragments_held:
        write_result(
            f"fragments: {plural_of(stats.datagrams_reassembled, 'datagram')} became whole,"
            f" {stats.datagrams_timed_out:,} did not in time; {stats.fragments_held:,} held"
        )
    if result.differences is not None:
        _show_differences(result.differences)


def plural_of(count: int, noun: str) -> str:
    """``1,000 packets``: :func:`plural` with thousands separated."""
    return plural(count, noun).replace(str(count), f"{count:,}", 1)


def _show_rules(title: str, kind: str, rules: tuple[RuleLine, ...]) -> None:
    rows = [(rule.name, rule.kind, rule.counters.hits, rule.counters.packets, rule.counters.bytes) for rule in rules]
    print_table(title, ("rule", kind, "hits", "packets", "bytes"), rows)


def _show_differences(differences: tuple[FlowDifference, ...]) -> None:
    if not differences:
        write_result("no flow differs")
        return
    rows = [
        (item.flow, item.packets, _answer(item.first), _answer(item.second)) for item in differences[:DIFFERENCES_SHOWN]
    ]
    count = len(differences)
    title = "1 flow differs" if count == 1 else f"{count:,} flows differ"
    print_table(title, ("flow", "packets", "first edge", "second edge"), rows)
    if len(differences) > DIFFERENCES_SHOWN:
        message(f"{len(differences) - DIFFERENCES_SHOWN:,} more are not shown; --json lists all")


def _answer(answer: Answer) -> str:
    rules = f" by {', '.join(map(str, answer.rules))}" if answer.rules else ""
    rewrite = f", {answer.rewrite}" if answer.rewrite else ""
    port = f" to {answer.port}" if answer.port else ""
    return f"{answer.verdict.name} {answer.reason.name}{port}{rules}{rewrite}"
