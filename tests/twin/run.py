"""``python -m tests.twin.run --packets 100000 --seed 1``: the engine against nftables in a network namespace.

Prints how many differences each explanation of :mod:`tests.twin.explained` accounts for, and the story of every one
that nothing explains.  Needs root and the commands ``ip`` and ``nft``.  Exit codes: 0 nothing unexplained, 1 something,
2 bad usage.
"""

from __future__ import annotations

import argparse
import json
import sys
import time

from edge.packets import format_frame
from tests.model.story import configuration
from tests.twin.compare import Difference, Odd, Tally, explore
from tests.twin.explained import EXPLANATIONS, explain
from tests.twin.places import Span
from tests.twin.wire import dissect

PACKETS_PER_PLACE = 300
SHOWN = frozenset({"ttl", "seq", "ack", "win"})


def search(seed: int, packets: int) -> Tally:
    """Places until so many packets went through both."""
    tally, number = Tally(), 0
    while tally.packets < packets:
        explore(f"{seed}:{number}", min(PACKETS_PER_PLACE, packets - tally.packets), explain, tally)
        number += 1
    return tally


def story(odd: Odd) -> str:
    """Everything about an unexplained difference, the packets of its flow that came before it included."""
    difference, lines = odd.difference, [f"place {odd.seed}, packet {len(odd.events)}", *configuration(odd.config)]
    flows = {difference.packet.flow, *difference.past.flows}
    flows |= {sent.packet.flow for sent in (*difference.edge, *difference.kernel)}
    for number, event in enumerate(odd.events, 1):
        if dissect(event.frame[14:]).flow in flows:
            lines.append(f"  {number} in {event.port}: {format_frame(event.frame, SHOWN)}")
            lines += [f"      in pieces: {', '.join(map(pieced, event.spans))}"] if event.spans else []
    lines += [f"    {odd.events[-1].frame.hex()}", *verdict(difference)]
    return "\n".join(lines)


def pieced(span: Span) -> str:
    """A piece as the story names it."""
    marks = ((span.more, "MF"), (span.keeps, "DF"), (span.zeroed, "zeroes"))
    return " ".join([f"{span.first}-{span.last}", *(mark for is_marked, mark in marks if is_marked)])


def verdict(difference: Difference) -> list[str]:
    """What came out on both sides."""
    outcome = difference.outcome
    steps = ", ".join(f"{step.stage.name} {step.result.name} {step.rule_id or ''}".strip() for step in outcome.steps)
    lines = [f"  edge: {outcome.verdict.name} {outcome.reason.name} ({steps})"]
    lines += [f"    out {item.port}: {format_frame(item.frame, SHOWN)}" for item in outcome.outputs]
    lines += [f"        in pieces {sent.cuts}" for sent in difference.edge if sent.cuts]
    lines.append(f"  Linux, which differs in {', '.join(sorted(difference.fields))}:")
    lines += [f"    out {sent.port}: {sent.packet} {sent.cuts}" for sent in difference.kernel] or ["    nothing"]
    return lines


def report(tally: Tally, seconds: float) -> str:
    """The tally for people."""
    total = sum(tally.explained.values())
    lines = [f"{tally.packets} packets in {seconds:.1f} s, {total} differences explained, {tally.skipped} not sent"]
    lines += [f"{count:8d}  {name}" for name, count in sorted(tally.outcomes.items(), key=lambda item: -item[1])]
    lines += ["explained:", *(f"{count:8d}  {name}" for name, count in tally.explained.most_common())]
    lines.append(f"unexplained: {len(tally.odd)}")
    return "\n".join([*lines, *map(story, tally.odd)])


def as_json(tally: Tally, seed: int, seconds: float) -> str:
    """The tally for programs."""
    explained = {name: tally.explained[name] for name in EXPLANATIONS}
    found = {
        "seed": seed,
        "seconds": round(seconds, 1),
        "packets": tally.packets,
        "skipped": tally.skipped,
        "late": tally.late,
        "outcomes": dict(tally.outcomes),
        "explained": explained,
        "unexplained": [story(odd) for odd in tally.odd],
    }
    return json.dumps(found, indent=2)


def main() -> int:
    """The command."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.twin.run", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--packets", type=int, default=100_000, help="how many packets (default: 100000)")
    parser.add_argument("--seed", type=int, default=1, help="where everything random comes from (default: 1)")
    parser.add_argument("--json", action="store_true", help="the result as JSON")
    given = parser.parse_args()
    started = time.monotonic()
    tally = search(given.seed, given.packets)
    seconds = time.monotonic() - started
    text = as_json(tally, given.seed, seconds) if given.json else report(tally, seconds)
    sys.stdout.write(f"{text}\n")
    return 1 if tally.odd or tally.late else 0


if __name__ == "__main__":
    sys.exit(main())
