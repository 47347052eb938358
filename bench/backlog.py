#!/usr/bin/env python3
"""How long packets wait for what has to be done for very many sessions at once.

An edge is filled with --sessions UDP sessions; then the clock goes on until the time of all of them is over, and bursts
of 256 packets of other sessions come until none is left in the table.  Prints one JSON document: microseconds of the
longest burst (and of a median one) while the table is filled, and while it is emptied: of sessions that were made in a
row in one instant, and of such that have had another packet since, in random order.  And how long a change of one
firewall rule, one of the routes, and one that ends all sessions take while that many are open, and how long packets
wait for the longest step of it.
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
import sys
import time
from array import array
from itertools import pairwise
from typing import Any

from edge.bench.documents import established_document
from edge.bench.established import BURST, INSIDE, REMOTE
from edge.bench.frames import udp_frame
from edge.bench.machine import tick_rate
from edge.bench.measurement import SEED
from edge.document import from_data
from edge.model import EdgeConfig
from edge.runtime import Edge, Prepared
from native.program import Program

SECOND = 1_000_000_000
IDLE_S = 30
"""How long a session lives on one packet: the default of ``udpFirst``, and on a second one, that of ``udpSingle``."""


def microseconds(runs: list[list[int]]) -> dict[str, float]:
    """The longest burst, the median one and how many there were, of several runs that do the same: a burst counts as
    its quickest run, for whatever else the machine does hits another one each time."""
    rate = tick_rate() / 1_000_000
    clocks = [min(burst) for burst in zip(*runs, strict=True)]
    return {
        "longest": round(max(clocks) / rate, 1),
        "median": round(statistics.median(clocks) / rate, 1),
        "bursts": len(clocks),
    }


class Watched(Edge):
    """Knows when packets could have passed in the last change."""

    def __init__(self, config: EdgeConfig, *, seed: int) -> None:
        self.moments: list[float] = []
        super().__init__(config, seed=seed)

    def _swap(self, prepared: Prepared, port_map: list[int | None], flush: bool, sources: bool) -> Program | None:
        def between() -> None:
            self.moments.append(time.perf_counter())

        return self._engine.swap(prepared.program, port_map, flush, sources, between)


class Filled:
    """An edge with many sessions, and what making them took."""

    def __init__(self, sessions: int) -> None:
        self.document: dict[str, Any] = established_document()
        self.document["options"] = {"limits": "report", "maxSessions": sessions + BURST}
        self.edge = Watched(from_data(self.document).config, seed=SEED)
        self.frames = [
            udp_frame(INSIDE + 256 + number // 32_768, 10_000 + number % 32_768, REMOTE + number % 256, 53)
            for number in range(sessions)
        ]
        self.made = self.send(array("I", range(sessions)), 0)

    def send(self, order: array[int], step_ns: int) -> list[int]:
        """Each packet once, in this order; the clocks of every burst, between which the clock goes on."""
        bursts = len(order) // BURST
        ports = ["LAN"] * len(self.frames)
        return self.edge.time_bursts(self.frames, ports, order, trials=bursts, bursts=1, step_ns=step_ns)

    def emptied(self) -> list[int]:
        """The clocks of every burst from the moment on when the time of all sessions is over, until none is left."""
        others = [udp_frame(INSIDE + 2, 10_000 + number, REMOTE, 53) for number in range(BURST)]
        ports, order = ["LAN"] * BURST, array("I", range(BURST))
        clocks: list[int] = []
        while not clocks or self.edge.stats().sessions_open > BURST:
            step_ns = 0 if clocks else 2 * IDLE_S * SECOND
            clocks += self.edge.time_bursts(others, ports, order, trials=1, bursts=1, step_ns=step_ns)
        return clocks

    def changed(self, part: str) -> dict[str, float]:
        """Milliseconds of another configuration: one rule more, or one network, or one that ends all sessions."""
        if part == "rule":
            self.document["firewallRules"]["userDefinedRules"].append(
                {"name": "more", "actionValue": "DROP", "sourceFirewallIpAddresses": ["192.0.2.1"]}
            )
        elif part == "flush":
            self.document["options"]["sessionsOnChange"] = "FLUSH"
        else:
            more = {**self.document["orgVdcNetworks"][0], "name": "MORE"}
            more["subnets"] = [{"gateway": "10.30.0.1", "prefixLength": 16}]
            self.document["orgVdcNetworks"].append(more)
        prepared = self.edge.prepare(from_data(self.document).config)
        began = time.perf_counter()
        self.edge.moments = [began]
        self.edge.commit(prepared)
        self.edge.moments.append(time.perf_counter())
        steps = [later - sooner for sooner, later in pairwise(self.edge.moments)]
        return {"all": round(sum(steps) * 1000, 2), "longest_step": round(max(steps) * 1000, 3), "steps": len(steps)}


def run(sessions: int, *, shuffled: bool) -> tuple[Filled, list[int]]:
    """An edge filled and emptied, and what the latter took."""
    edge = Filled(sessions)
    if shuffled:
        order = list(range(sessions))
        random.Random(SEED).shuffle(order)  # noqa: S311 - repeatable, not secret
        edge.send(array("I", order), IDLE_S * SECOND // 2 // (sessions // BURST))
    return edge, edge.emptied()


def main() -> int:
    """Fill and empty edges as often as is asked for."""
    parser = argparse.ArgumentParser(description="How long packets wait for what has to be done for many sessions.")
    parser.add_argument("--sessions", type=int, default=1 << 20, help="a multiple of 256")
    parser.add_argument("--runs", type=int, default=5)
    given = parser.parse_args()
    found: dict[str, object] = {"sessions": given.sessions}
    filled = Filled(given.sessions)
    found["change_ms"] = {part: filled.changed(part) for part in ("rule", "network", "flush")}
    del filled
    for shuffled in (False, True):
        made, emptied = [], []
        for _ in range(given.runs):
            edge, clocks = run(given.sessions, shuffled=shuffled)
            made.append(edge.made)
            emptied.append(clocks)
            del edge
        found["filling_us"] = microseconds(made)
        found["emptying_shuffled_us" if shuffled else "emptying_us"] = microseconds(emptied)
    json.dump(found, sys.stdout, indent=2)
    sys.stdout.write("\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
