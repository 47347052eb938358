"""Bytes as a story: frames at ports while time passes, answers to what left, other configurations in between.

Byte 0 chooses the first edge; then come events, each a byte (modulo 3) and what it needs, numbers in little endian:

0, a frame: port (1 byte), nanoseconds since the last event (8), size (4), the frame
1, another configuration: its number (1)
2, something that left before: which (1), how (1), nanoseconds (4), count of patches (1), each an offset (2) and a value
   (1).  Bit 0 of `how` exchanges the ends, bit 1 makes the IPv4 header checksum right after the patches.

Half an event at the end is not played.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass

FRAME, CHANGE, ECHO = range(3)
LONGEST_PAUSE_NS = 10**13
LARGEST_FRAME = 65_553


@dataclass(frozen=True, slots=True)
class Event:
    """``number`` is a port, a configuration, or which of the frames that left; the rest as the kind needs it."""

    kind: int
    number: int
    advance_ns: int = 0
    frame: bytes = b""
    how: int = 0


def events(data: bytes) -> Iterator[Event]:
    """What the bytes behind the first one say."""
    at = 1
    while at + 2 <= len(data):
        kind, number, at = data[at] % 3, data[at + 1], at + 2
        if kind == CHANGE:
            yield Event(kind, number)
        elif kind == FRAME:
            if at + 12 > len(data):
                return
            advance, size = struct.unpack_from("<QI", data, at)
            size, at = min(size, LARGEST_FRAME), at + 12
            if at + size > len(data):
                return
            yield Event(kind, number, advance % LONGEST_PAUSE_NS, data[at : at + size])
            at += size
        else:
            if at + 6 > len(data):
                return
            how, advance, count = struct.unpack_from("<BIB", data, at)
            yield Event(kind, number, advance, data[at + 6 : at + 6 + 3 * count], how)
            at += 6 + 3 * count


def written(edge: int, story: Iterator[Event] | list[Event]) -> bytes:
    """The bytes of a story."""
    data = bytes([edge])
    for event in story:
        data += bytes([event.kind, event.number])
        if event.kind == FRAME:
            data += struct.pack("<QI", event.advance_ns, len(event.frame)) + event.frame
        elif event.kind == ECHO:
            data += struct.pack("<BIB", event.how, event.advance_ns, len(event.frame) // 3) + event.frame
    return data
