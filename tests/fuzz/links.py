"""Stories of the targets around the links: frames at ports, time, ports that come and go.

Byte 0 chooses the edge; then come events: kind (1 byte), port (1), milliseconds since the last event (4), size (2), and
as many bytes of the event; numbers in little endian.  Half an event at the end is not played.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator
from random import Random
from typing import NamedTuple

from native.neighbour import LinkCount, NeighbourState, NeighbourTable
from tests.fuzz.invariants import check_lengths, expect
from tests.fuzz.mutate import change
from tests.links import HOST_MAC

HEAD = struct.Struct("<BBIH")
MOST_EVENTS = 400
LARGEST_DATA = 65_535
LONGEST_MS = 10_000_000
MILLISECOND = 1_000_000
START_NS = 1 << 60
"""Ahead of any machine's clock."""


class LinkEvent(NamedTuple):
    """Something on a link."""

    kind: int
    port: int
    after_ms: int
    data: bytes


def link_events(data: bytes) -> Iterator[LinkEvent]:
    """What the bytes behind the first one say."""
    at = 1
    for _ in range(MOST_EVENTS):
        if at + HEAD.size > len(data):
            return
        kind, port, after_ms, size = HEAD.unpack_from(data, at)
        at += HEAD.size
        if at + size > len(data):
            return
        yield LinkEvent(kind, port, after_ms % LONGEST_MS, data[at : at + size])
        at += size


def link_story(edge: int, story: Iterable[LinkEvent]) -> bytes:
    """The bytes of a story."""
    return bytes([edge]) + b"".join(HEAD.pack(*event[:3], len(event.data)) + event.data for event in story)


def mutated_story(random: Random, pool: list[bytes]) -> bytes:
    """A story of the pool with a few events that are others: changed, repeated, taken from another, left out."""
    data, other = random.choice(pool), list(link_events(random.choice(pool)))
    story = list(link_events(data)) or other
    for _ in range(random.choice((1, 2, 4, 8))):
        if not story:
            break
        at = random.randrange(len(story))
        match random.randrange(6):
            case 0:
                story.insert(at, random.choice(story))
            case 1:
                del story[at]
            case 2 if other:
                story.insert(at, random.choice(other))
            case 3:
                pause = random.choice((0, 1, 20, 300, 1000, 5000, 30_000, 5_000_000))
                story[at] = story[at]._replace(after_ms=pause, port=random.randrange(8), kind=random.randrange(4))
            case _:
                frame = bytearray(story[at].data)
                for _ in range(random.choice((1, 1, 2, 5))):
                    change(random, frame, [event.data for event in other] or [b"\0"])
                story[at] = story[at]._replace(data=bytes(frame[:LARGEST_DATA]))
    return link_story(random.randrange(256) if random.random() < 0.1 else (data or b"\0")[0], story[:MOST_EVENTS])


def mac(port: int) -> bytes:
    """The address of an edge's port."""
    return b"\x02\xe0\0\0\0" + bytes([port])


def to_port(port: int, frame: bytes) -> bytes:
    """The frame from a host on the link to the edge."""
    return mac(port) + HOST_MAC + frame[12:]


PER_PORT, IN_ALL, PER_NEIGHBOUR = 1024, 8192, 3
"""Bounds of native/neighbour.pxd: neighbours of a port, of an edge, packets that wait for one of them."""


def check_table(table: NeighbourTable, ports: int, now_ns: int) -> None:
    """Raises ViolationError unless the tables of neighbours are bounded and their counters add up."""
    rows = table.neighbours(now_ns)
    expect(len(rows) <= IN_ALL, f"{len(rows)} neighbours")
    for port in range(ports):
        mine = [row for row in rows if row[0] == port]
        expect(len(mine) <= PER_PORT, f"{len(mine)} neighbours of a port")
        states = [sum(row[4] == state for row in mine) for state in range(NeighbourState.NEIGHBOUR_STATES)]
        expect(states == table.states(port), f"states {states}, counted {table.states(port)}")
        counts = table.counts(port)
        waiting = counts[LinkCount.LC_HELD] - counts[LinkCount.LC_HELD_DROPPED]
        expect(counts[LinkCount.LC_HELD_DROPPED] <= counts[LinkCount.LC_HELD], f"packets that waited: {waiting}")


def check_sent(port: int, frame: bytes, most: int) -> None:
    """Raises ViolationError unless what leaves by a port is a frame of the edge's own with at most ``most`` bytes of
    IP, or of the link layer."""
    expect(frame[6:12] == mac(port), "what leaves has not the address of its port")
    if frame[12:14] == b"\x08\x06":
        expect(len(frame) >= 42, f"an ARP packet in {len(frame)} bytes")
        return
    expect(frame[12:14] in (b"\x08\0", b"\x86\xdd"), f"a frame of type {frame[12:14].hex()} leaves")
    expect(len(frame) <= 14 + most, f"{len(frame) - 14} bytes of IP leave, {most} may")
    check_lengths(frame)
