"""A story, see :mod:`tests.fuzz.story`, lived through by the native edge and by the readable one."""

from __future__ import annotations

import struct
from collections import deque

from edge.model import EdgeConfig
from edge.reference import ReferenceEdge
from edge.runtime import Edge
from tests.fuzz.edges import edges
from tests.fuzz.invariants import check_edge, check_outcome, expect
from tests.fuzz.story import CHANGE, FRAME, Event, events
from tests.model.frames import checksum
from tests.support import logged

REMEMBERED = 16
MOST_EVENTS = 5000


def patched(frame: bytes, event: Event) -> bytes:
    """A frame that left, as it comes back."""
    changed = bytearray(frame)
    size, at = (4, 26) if frame[12:14] == b"\x08\x00" else (16, 22)
    upper = at + 2 * size
    if event.how & 1 and len(frame) >= upper + 4:
        changed[at:upper] = frame[at + size : upper] + frame[at : at + size]
        if frame[23 if size == 4 else 20] in (6, 17):
            changed[upper : upper + 4] = frame[upper + 2 : upper + 4] + frame[upper : upper + 2]
    for place, value in struct.iter_unpack("<HB", event.frame[: len(event.frame) // 3 * 3]):
        if place < len(changed):
            changed[place] = value
    if event.how & 2 and size == 4 and len(changed) >= 34:
        changed[24:26] = b"\0\0"
        changed[24:26] = struct.pack("!H", checksum(bytes(changed[14 : 14 + max(20, (changed[14] & 15) * 4)])))
    return bytes(changed)


class Story:
    """Two edges that live through the same."""

    def __init__(self, config: EdgeConfig) -> None:
        self.config = config
        self.edge, self.reference = Edge(config), ReferenceEdge(config)
        self.now_ns = 0
        self.packets = 0
        self.most_sessions = config.options.max_sessions
        self.left: deque[tuple[str, bytes]] = deque(maxlen=REMEMBERED)

    def feed(self, event: Event) -> None:
        """Raises where something is wrong."""
        if event.kind == CHANGE:
            self.config = edges()[event.number % len(edges())]
            self.edge.apply(self.config)
            self.reference.apply(self.config)
            # Sessions that are too many for the new configuration stay.
            self.most_sessions = max(self.edge.stats().sessions_open, self.config.options.max_sessions)
            return
        self.now_ns += event.advance_ns
        if event.kind == FRAME:
            self.take(self.config.ports[event.number % len(self.config.ports)], event.frame)
        elif self.left:
            port, frame = self.left[event.number % len(self.left)]
            self.take(port if port in self.config.ports else self.config.ports[0], patched(frame, event))

    def take(self, port: str, frame: bytes) -> None:
        """One frame through both."""
        outcome = self.edge.process(port, frame, self.now_ns)
        self.packets += 1
        check_outcome(frame, outcome)
        expect(outcome == self.reference.process(port, frame, self.now_ns), "native and reference differ")
        self.left.extend((output.port, output.frame) for output in outcome.outputs)

    def finish(self) -> None:
        """Compares what can be asked for."""
        check_edge(self.edge, self.packets, self.most_sessions)
        expect(self.edge.stats() == self.reference.stats(), "native and reference count differently")
        expect(self.edge.rule_counters() == self.reference.rule_counters(), "rule counters differ")
        ours, theirs = (sorted(map(repr, one.sessions())) for one in (self.edge, self.reference))
        expect(ours == theirs, "native and reference have other sessions")
        logs = logged(self.edge), logged(self.reference)
        expect(logs[0] == logs[1], "native and reference log differently")


def run(data: bytes) -> None:
    """Raises where an outcome makes no sense, or is not the reference's."""
    if not data:
        return
    story = Story(edges()[data[0] % len(edges())])
    for number, event in enumerate(events(data)):
        if number == MOST_EVENTS:
            break
        story.feed(event)
    story.finish()
