from enum import IntEnum
from typing import Self

from typing_extensions import disjoint_base

from native.program import Program

class NeighbourState(IntEnum):
    N_INCOMPLETE = 0
    N_REACHABLE = 1
    N_STALE = 2
    N_DELAY = 3
    N_PROBE = 4
    N_FAILED = 5
    NEIGHBOUR_STATES = 6

class LinkVerdict(IntEnum):
    L_PASS = 0
    L_TAKEN = 1
    L_DROPPED = 2
    L_SEND = 3
    L_HELD = 4

class OutKind(IntEnum):
    OUT_SEND = 0
    OUT_ERROR = 1

class LinkCount(IntEnum):
    LC_REQUESTS_IN = 0
    LC_REPLIES_IN = 1
    LC_REQUESTS_OUT = 2
    LC_REPLIES_OUT = 3
    LC_ANNOUNCEMENTS = 4
    LC_IGNORED = 5
    LC_INVALID = 6
    LC_DUPLICATES = 7
    LC_LIMITED = 8
    LC_STORMS = 9
    LC_OTHER_STATION = 10
    LC_OTHER_VLAN = 11
    LC_LOOPED = 12
    LC_LINK_BROADCAST = 13
    LC_HELD = 14
    LC_HELD_DROPPED = 15
    LC_UNREACHABLE = 16
    LC_NO_NEXT_HOP = 17
    LC_TABLE_FULL = 18
    LC_EVICTED = 19
    LC_OUTBOX_FULL = 20
    LC_TOO_BIG = 21
    LINK_COUNTS = 22

@disjoint_base
class NeighbourTable:
    """Neighbours of one edge.  ``seed`` starts what is random: where addresses are kept.

    Ports are numbers of the program that runs, MAC addresses six bytes, times nanoseconds.  Methods that make frames
    give them as a list of (port, OutKind, frame, offload).
    """

    def __new__(cls, seed: int) -> Self: ...
    def reserve(self, program: Program) -> None:
        """Make room for a program's ports.  Raises MemoryError, nothing having changed."""
    def share(self) -> None: ...
    def swap(self, old: Program, new: Program, port_map: list[int | None], now_ns: int) -> None:
        """Follow a new program, for which there is room: ``port_map`` as of :meth:`native.engine.Engine.swap`.

        Neighbours stay with their ports; a port that answers for other addresses than before announces them.
        """
    def is_up(self, port: int) -> bool: ...
    def link_up(self, port: int, mac: bytes, now_ns: int) -> None:
        """The port works, with this address: it announces what it answers for."""
    def link_down(self, port: int) -> None:
        """The port works no longer: its neighbours are forgotten."""
    def input(
        self, program: Program, port: int, frame: bytes, now_ns: int
    ) -> tuple[int, list[tuple[int, int, bytes, bytes]]]:
        """A frame from a port that is up: (LinkVerdict, frames)."""
    def output(
        self, program: Program, port: int, frame: bytes, now_ns: int, offload: bytes | None = None
    ) -> tuple[int, bytes, list[tuple[int, int, bytes, bytes]]]:
        """An untagged frame with an IPv4 or IPv6 packet that leaves by a port: (LinkVerdict, frame with its MAC
        addresses, frames)."""
    def tick(self, program: Program, now_ns: int) -> list[tuple[int, int, bytes, bytes]]:
        """What time brings: frames."""
    def neighbours(self, now_ns: int) -> list[tuple[int, int, int, bytes | None, int, int]]:
        """Everybody in the table: [(port, family, address, MAC or None, NeighbourState, ns in that state)], sorted."""
    def next_hop(
        self, program: Program, port: int, frame: bytes
    ) -> tuple[int, int, bytes | None, int | None] | None: ...
    def counts(self, port: int) -> list[int]:
        """Counters of a port by LinkCount."""
    def states(self, port: int) -> list[int]:
        """Numbers of a port's neighbours by NeighbourState."""
