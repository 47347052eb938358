"""A story of frames against a live table of neighbours, see :mod:`tests.fuzz.links`.

Kinds: 0, a frame from a port; 1, a packet that leaves by it; 2, time alone; 3, the port goes down or comes up.
"""

from __future__ import annotations

from functools import cache

from native.neighbour import LinkVerdict, NeighbourTable, OutKind
from native.program import Program
from tests.fuzz.edges import edges
from tests.fuzz.invariants import expect
from tests.fuzz.links import MILLISECOND, START_NS, check_sent, check_table, link_events, mac
from tests.links import Frame, program_of

INPUT, OUTPUT, TIME, TURN = range(4)
LARGEST_ERROR = 14 + 1280
MOST_FRAMES = 64


@cache
def programs() -> tuple[Program, ...]:
    """The edges as native tables."""
    return tuple(program_of(config) for config in edges())


def check_frames(table: NeighbourTable, frames: list[Frame], largest: int) -> None:
    """What the link layer wants sent, or judged."""
    expect(len(frames) <= MOST_FRAMES, f"{len(frames)} frames at once")
    for port, kind, frame, _ in frames:
        if kind == OutKind.OUT_ERROR:
            expect(34 <= len(frame) <= LARGEST_ERROR, f"an error of {len(frame)} bytes")
        else:
            expect(table.is_up(port), "a frame for a port that is down")
            expect(len(frame) <= largest, f"a frame of {len(frame)} bytes, none was larger than {largest}")
            check_sent(port, frame, 65_535) if frame[12:14] == b"\x08\x06" else None


def run(data: bytes) -> None:
    """Raises where a table grows beyond its bounds, counters do not add up, or something odd would be sent."""
    if not data:
        return
    number = data[0] % len(edges())
    program, ports = programs()[number], len(edges()[number].ports)
    table, now, largest = NeighbourTable(1), START_NS, 200
    table.reserve(program)
    for port in range(ports):
        table.link_up(port, mac(port), now)
    for event in link_events(data):
        port = event.port % ports
        now += event.after_ms * MILLISECOND
        frames: list[Frame] = []
        match event.kind % 4:
            case 0 if table.is_up(port):
                verdict, frames = table.input(program, port, event.data, now)
                expect(verdict in (LinkVerdict.L_PASS, LinkVerdict.L_TAKEN, LinkVerdict.L_DROPPED), f"{verdict}")
            case 1 if table.is_up(port) and leaves(event.data):
                largest = max(largest, len(event.data))
                verdict, frame, frames = table.output(program, port, event.data, now)
                expect(verdict in (LinkVerdict.L_SEND, LinkVerdict.L_HELD, LinkVerdict.L_DROPPED), f"{verdict}")
                expect(frame[12:] == event.data[12:], "a packet that leaves is not what it was")
                expect(frame[6:12] == mac(port), "a packet leaves with another address than its port's")
            case 3 if table.is_up(port):
                table.link_down(port)
                expect(not any(row[0] == port for row in table.neighbours(now)), "a port is down and has neighbours")
            case 3:
                table.link_up(port, mac(port), now)
            case _:
                pass
        check_frames(table, frames, largest)
        check_frames(table, table.tick(program, now), largest)
    check_table(table, ports, now)


def leaves(frame: bytes) -> bool:
    """Is it long enough for what says that it is an IP packet, as everything that the pipeline gives out?"""
    return (frame[12:14] == b"\x08\0" and len(frame) >= 34) or (frame[12:14] == b"\x86\xdd" and len(frame) >= 54)
