"""Bytes as a capture file: through the reader, and through a replay."""

from __future__ import annotations

import os
import zlib
from functools import cache

from edge.captures import CaptureReader
from edge.errors import CaptureError
from edge.replay import replay, replay_stepwise
from edge.runtime import Edge
from tests.fuzz.invariants import check_edge, expect
from tests.support import acme

LARGEST_FRAME = 65_553
LONGEST_TIME_NS = 2**63
REPLAYED_SHARE = 4
"""One capture in so many is replayed: making an edge takes longer than reading a small file."""
MOST_STEPPED = 64
"""Records up to which both ways of replaying are compared: one of them is slow."""


@cache
def memory() -> int:
    """Descriptor of a file without a name."""
    return os.memfd_create("capture")


def opened(data: bytes) -> CaptureReader:
    """A reader of these bytes.  Raises CaptureError."""
    descriptor = memory()
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, data, 0)
    os.lseek(descriptor, 0, os.SEEK_SET)
    return CaptureReader(os.dup(descriptor), "capture")


def read(data: bytes) -> tuple[int, str]:
    """Every record; how many there are, and what ended them."""
    records = 0
    try:
        with opened(data) as reader:
            try:
                for records, record in enumerate(reader, 1):
                    expect(record.number == records, f"record {records} is called {record.number}")
                    expect(len(record.frame) <= LARGEST_FRAME, f"a frame of {len(record.frame)} bytes")
                    expect(0 <= record.ts_ns < LONGEST_TIME_NS, f"a time of {record.ts_ns} ns")
            finally:
                expect(reader.bytes_read <= len(data), f"{reader.bytes_read} of {len(data)} bytes read")
    except CaptureError as error:
        expect(str(error).startswith("capture"), "an error that does not name its file")
        return records, str(error)
    return records, ""


def run(data: bytes) -> None:
    """Raises anything but a CaptureError, or where two ways of reading do not agree."""
    records, problem = read(data)
    if not records or zlib.crc32(data) % REPLAYED_SHARE:
        return
    config = acme()
    edge = Edge(config)
    with opened(data) as reader:
        result = replay(edge, reader)
    expect(result.packets == records, f"{records} records read, {result.packets} replayed")
    expect(str(result.error or "") == problem, f"reading ends with {problem!r}, replaying with {result.error}")
    packets = sum(edge.stats().verdicts.values())
    expect(packets >= records, f"{records} records, {packets} verdicts")
    check_edge(edge, packets, config.options.max_sessions)
    if records <= MOST_STEPPED:
        stepped = Edge(config)
        with opened(data) as reader:
            again = replay_stepwise(stepped, reader)
        expect((again.packets, again.stats) == (result.packets, result.stats), "two ways of replaying differ")
        expect(stepped.rule_counters() == edge.rule_counters(), "two ways of replaying count differently")
