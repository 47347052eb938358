#!/usr/bin/env python3
"""What a new flow costs when many ports towards its remote endpoint are taken: one external address, one remote end.

An address is filled; then sessions end at random until the share of --use is left, and new flows come, one after the
other, until 1 % of the ports more is taken (at 100 % they are refused).  Prints one JSON document: clocks of a new flow
(median, 99th percentile and most) at each share, and of a packet of an open session, measured the same way beside it:
the difference is what the new flow costs.  Every figure includes the call from Python, of about a thousand clocks.
"""

from __future__ import annotations

import argparse
import json
import math
import random
import statistics
import sys
from collections.abc import Iterable

from edge.bench.documents import snat_document
from edge.bench.established import INSIDE, REMOTE, REMOTE_PORT
from edge.bench.frames import udp_frame
from edge.bench.measurement import SEED
from edge.document import from_data
from edge.runtime import Edge
from native.machine import clock_ticks

SECOND = 1_000_000_000
LIFETIME = 1000  # seconds that a session lives without packets
PORTS = 64_512
MOST = 1000  # new flows that are measured at a share
PROFILES = ("nsx", "strict-rfc")


def frame(number: int) -> bytes:
    """A packet of one of the flows: those of a machine begin at an even port, and are even and odd in turn."""
    return udp_frame(INSIDE + 256 + number // 32_768, 10_000 + number % 32_768, REMOTE, REMOTE_PORT)


def filled(profile: str) -> Edge:
    """An edge with sessions of the flows 0 .. PORTS - 1."""
    document = snat_document([{"name": "out", "actionValue": "ALLOW"}])
    timers = dict.fromkeys(("udpFirst", "udpSingle", "udpMultiple"), LIFETIME)
    document["options"] = {"profile": profile, "timers": timers}
    edge = Edge(from_data(document).config, seed=SEED)
    send(edge, range(PORTS), 0)
    return edge


def send(edge: Edge, numbers: Iterable[int], second: int) -> list[int]:
    """A packet of each of these flows at that time: clocks of each."""
    found = []
    for number in numbers:
        packet = [("LAN", frame(number))]
        start = clock_ticks()
        edge.process_batch(packet, second * SECOND, outputs=False)
        found.append(clock_ticks() - start)
    return found


def figures(clocks: list[int]) -> dict[str, int]:
    """Median, 99th percentile and most."""
    ranked = sorted(clocks)
    return {
        "median": round(statistics.median(ranked)),
        "p99": ranked[math.ceil(len(ranked) * 0.99) - 1],
        "most": ranked[-1],
    }


def measure(profile: str, use: float) -> dict[str, object]:
    """One share of one profile."""
    edge = filled(profile)
    chosen = random.Random(SEED)  # noqa: S311 - repeatable, not secret
    kept = chosen.sample(range(PORTS), round(PORTS * use))
    send(edge, kept, LIFETIME // 2)
    send(edge, kept[:1], LIFETIME + 1)  # the others end
    before = edge.stats().sessions_open
    count = min(MOST, PORTS // 100)
    begun = send(edge, range(PORTS, PORTS + count), LIFETIME + 1)
    opened = edge.stats().sessions_open - before
    old = send(edge, kept[:count], LIFETIME + 1)
    return {
        "profile": profile,
        "use": round(before / PORTS, 4),
        "opened": opened,
        "newFlow": figures(begun),
        "openSession": figures(old),
    }


def main() -> int:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--use", type=float, nargs="+", default=[0.5, 0.95, 0.99, 0.999, 1.0], metavar="SHARE")
    parser.add_argument("--profile", choices=PROFILES, nargs="+", default=list(PROFILES))
    given = parser.parse_args()
    cases = [measure(profile, use) for profile in given.profile for use in given.use]
    sys.stdout.write(json.dumps(cases, indent=2) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
