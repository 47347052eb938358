"""Neighbours, their states and the packets that wait for them: the state of the readable link layer."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import IntEnum
from itertools import count

from edge.addresses import IPAddress

SECOND = 1_000_000_000

ALL_MAX = 8192
PER_PORT_MAX = 1024
HELD_MAX = 256
HELD_PER_NEIGHBOUR = 3


class LinkVerdict(IntEnum):
    """What becomes of a frame; numbers of ``native/neighbour.pxd``."""

    PASS = 0
    TAKEN = 1
    DROPPED = 2
    SEND = 3
    HELD = 4


class NeighbourState(IntEnum):
    """RFC 4861 7.3.2; FAILED is nobody, for a while."""

    INCOMPLETE = 0
    REACHABLE = 1
    STALE = 2
    DELAY = 3
    PROBE = 4
    FAILED = 5


UNKNOWN = (NeighbourState.INCOMPLETE, NeighbourState.FAILED)
"""Without a MAC address."""

LIFE = {
    NeighbourState.INCOMPLETE: SECOND,  # RETRANS_TIMER
    NeighbourState.REACHABLE: 30 * SECOND,  # REACHABLE_TIME
    NeighbourState.STALE: 600 * SECOND,
    NeighbourState.DELAY: 5 * SECOND,  # DELAY_FIRST_PROBE_TIME
    NeighbourState.PROBE: SECOND,
    NeighbourState.FAILED: 3 * SECOND,
}


class LinkCount(IntEnum):
    """Counters of a port; numbers of ``native/neighbour.pxd``."""

    REQUESTS_IN = 0
    REPLIES_IN = 1
    REQUESTS_OUT = 2
    REPLIES_OUT = 3
    ANNOUNCEMENTS = 4
    IGNORED = 5
    INVALID = 6
    DUPLICATES = 7
    LIMITED = 8
    STORMS = 9
    OTHER_STATION = 10
    OTHER_VLAN = 11
    LOOPED = 12
    LINK_BROADCAST = 13
    HELD = 14
    HELD_DROPPED = 15
    UNREACHABLE = 16
    NO_NEXT_HOP = 17
    TABLE_FULL = 18
    EVICTED = 19
    OUTBOX_FULL = 20
    TOO_BIG = 21


@dataclass(slots=True, eq=False)
class Neighbour:
    """A station on a port's link.  ``turn`` orders those that entered their state, or began it anew, at one time."""

    port: int
    address: IPAddress
    state: NeighbourState
    since: int
    deadline: int
    turn: int
    pinned: bool
    mac: bytes | None = None
    probes: int = 0
    held: list[tuple[int, bytes]] = field(default_factory=list)
    """Frames that wait, each with its place in the order of all that wait."""


@dataclass(slots=True)
class LinkPort:
    """What is known of a port."""

    mac: bytes = bytes(6)
    up: bool = False
    next_request: int = 0
    next_solicit: int = 0
    limited: int | None = None
    defended: int | None = None
    rounds: int = 0
    announced: int = 0
    announce_at: int = 0
    counts: dict[LinkCount, int] = field(default_factory=lambda: dict.fromkeys(LinkCount, 0))

    def count(self, what: LinkCount) -> None:
        """One more."""
        self.counts[what] += 1

    def drop(self, why: LinkCount) -> LinkVerdict:
        """Count, and drop."""
        self.count(why)
        return LinkVerdict.DROPPED

    def take(self, why: LinkCount) -> LinkVerdict:
        """Count; nothing more happens to it."""
        self.count(why)
        return LinkVerdict.TAKEN


@dataclass(slots=True)
class Table:
    """All neighbours of an edge."""

    ports: dict[int, LinkPort] = field(default_factory=dict)
    _found: dict[tuple[int, IPAddress], Neighbour] = field(default_factory=dict)
    _turns: Iterator[int] = field(default_factory=count)

    def all(self) -> list[Neighbour]:
        """In no order."""
        return list(self._found.values())

    def find(self, port: int, address: IPAddress) -> Neighbour | None:
        """None where there is none."""
        return self._found.get((port, address))

    def of_port(self, port: int, *states: NeighbourState) -> list[Neighbour]:
        """Those in one of the states, or all, in the order in which their states end."""
        mine = [one for one in self._found.values() if one.port == port and (not states or one.state in states)]
        return sorted(mine, key=lambda one: (one.state, one.deadline, one.turn))

    def add(self, port: int, address: IPAddress, state: NeighbourState, now: int, *, pinned: bool) -> Neighbour | None:
        """A new one, None (and counted) when there is no room."""
        if not self._make_room(port):
            self.ports[port].count(LinkCount.TABLE_FULL)
            return None
        one = Neighbour(port, address, state, now, now + LIFE[state], next(self._turns), pinned)
        self._found[port, address] = one
        return one

    def enter(self, one: Neighbour, state: NeighbourState, now: int) -> None:
        """Begin a state, also the one it is in, anew."""
        one.state, one.since, one.probes = state, now, 0
        if state in UNKNOWN:
            one.mac = None
        self.wait(one, now)

    def wait(self, one: Neighbour, now: int) -> None:
        """Another turn of the same state."""
        one.deadline, one.turn = now + LIFE[one.state], next(self._turns)

    def remove(self, one: Neighbour) -> None:
        """Forget it, and what waits for it."""
        while one.held:
            self.drop_held(one)
        del self._found[one.port, one.address]

    def hold(self, one: Neighbour, frame: bytes) -> None:
        """Let a packet wait; older ones make room."""
        waiting = [(held[0][0], other) for other in self._found.values() if (held := other.held)]
        if len(one.held) == HELD_PER_NEIGHBOUR:
            self.drop_held(one)
        elif sum(len(other.held) for _, other in waiting) == HELD_MAX:
            self.drop_held(min(waiting, key=lambda item: item[0])[1])
        one.held.append((next(self._turns), frame))
        self.ports[one.port].count(LinkCount.HELD)

    def drop_held(self, one: Neighbour) -> bytes:
        """Drop the oldest packet that waits for a neighbour."""
        self.ports[one.port].count(LinkCount.HELD_DROPPED)
        return one.held.pop(0)[1]

    def _make_room(self, port: int) -> bool:
        mine = len(self.of_port(port))
        if (mine < PER_PORT_MAX and len(self._found) < ALL_MAX) or self._evict(port):
            return True
        if mine >= PER_PORT_MAX:
            return False
        return self._evict(max(sorted(self.ports), key=lambda number: len(self.of_port(number))))

    def _evict(self, port: int) -> bool:
        """Remove who is not there, who may not be there, who has not been heard of for longest; no router that the
        configuration names, and nobody who is in use."""
        for state in (NeighbourState.FAILED, NeighbourState.INCOMPLETE, NeighbourState.STALE):
            for one in self.of_port(port, state):
                if not one.pinned:
                    self.ports[port].count(LinkCount.EVICTED)
                    self.remove(one)
                    return True
        return False
