"""A story of frames through the ports of an edge that forwards, see :mod:`tests.fuzz.links`.

Kinds: 0, a frame waits at a port in memory; 1, a round; 2, a frame arrives with the header of Linux before it (its
first ten bytes), and what is of many segments is cut.
"""

from __future__ import annotations

from edge.model import EdgeConfig
from edge.runtime import Edge
from native.neighbour import NeighbourTable
from native.port import Ports
from tests.fuzz.edges import edges
from tests.fuzz.invariants import expect
from tests.fuzz.links import MILLISECOND, START_NS, LinkEvent, check_sent, check_table, link_events, mac

WAITS, ROUND, ARRIVES = range(3)
HEADER = 10
SMALLEST_FRAME = 14
"""Devices hand out no less than an Ethernet header."""


class Story:
    """An edge that forwards between ports in memory."""

    def __init__(self, config: EdgeConfig) -> None:
        from tests.fuzz.native.rounds import Rounds

        self.config = config
        self.edge, self.table = Edge(config), NeighbourTable(1)
        self.edge.attach(self.table)
        self.count = len(config.ports)
        self.ports = Ports(self.count)
        for port in range(self.count):
            self.ports.open_memory(port, mac(port))
        self.ports.bind(list(range(self.count)))
        self.rounds = Rounds(self.edge._engine, self.ports)
        self.rounds.begin(START_NS)
        for port in range(self.count):
            self.table.link_up(port, mac(port), START_NS)
        self.now_ns = START_NS
        self.fed, self.sent = [0] * self.count, [0] * self.count

    def feed(self, event: LinkEvent) -> None:
        """Raises where something leaves that should not."""
        port, kind = event.port % self.count, event.kind % 3
        if kind == WAITS and event.data:
            self.ports.feed(port, event.data)
            self.fed[port] += 1
        elif kind == ARRIVES and len(event.data) >= HEADER + SMALLEST_FRAME:
            self.rounds.arrive(port, event.data[:HEADER], event.data[HEADER:])
        elif kind == ROUND:
            self.now_ns += event.after_ms * MILLISECOND
            self.rounds.go(event.after_ms * MILLISECOND)
            self.take()

    def take(self) -> None:
        """Looks at what has left."""
        for port in range(self.count):
            for frame in self.ports.take(port):
                self.sent[port] += 1
                check_sent(port, frame, self.config.options.mtu)

    def finish(self) -> None:
        """Lets everything through that waits, and compares what can be asked for."""
        while self.rounds.go(0):
            self.take()
        self.take()
        for port in range(self.count):
            came, _, dropped, left, _, lost = self.ports.counters(port)
            expect(came <= self.fed[port] <= came + dropped, f"{self.fed[port]} frames came, {came} are counted")
            expect(left == self.sent[port] and not lost, f"{self.sent[port]} frames left, counted {left}, lost {lost}")
        check_table(self.table, self.count, self.now_ns)
        stats = self.edge.stats()
        expect(sum(stats.verdicts.values()) == sum(stats.reasons.values()), "verdicts and reasons differ")
        expect(stats.sessions_open <= self.config.options.max_sessions, f"{stats.sessions_open} sessions")


def run(data: bytes) -> None:
    """Raises where something leaves that no receiver could take, or what was counted is not what happened."""
    if not data:
        return
    story = Story(edges()[data[0] % len(edges())])
    for event in link_events(data):
        story.feed(event)
    story.finish()
