"""The header that Linux puts before a frame (10 bytes), and the frame: checksums that are still to be made, segments
that are still to be cut."""

from __future__ import annotations

import struct

from tests.fuzz.invariants import check_lengths, expect
from tests.model.frames import checksum

HEADER = 10
LARGEST_FRAME = 65_553
NEEDS_CSUM, SCTP = 1, 132


def check_finished(header: bytes, frame: bytes, done: bytes | None) -> None:
    """Raises ViolationError unless nothing but the checksum is new, and it is right."""
    flags, start, offset = header[0], *struct.unpack_from("=HH", header, 6)
    at = start + offset
    if not flags & NEEDS_CSUM:
        expect(done == frame, "a frame that needs nothing was changed")
        return
    if done is None:
        return
    expect(start >= 14 and at + 2 <= len(frame), "a checksum outside of its frame")
    wide = 4 if done[at + 2 : at + 4] != frame[at + 2 : at + 4] else 2
    expect(len(done) == len(frame), "a frame has another length")
    expect(done[:at] == frame[:at] and done[at + wide :] == frame[at + wide :], "more is new than the checksum")
    if wide == 2 and at % 2 == start % 2 and SCTP not in (frame[23], frame[20]):
        value = ~sum_of(frame[start:]) & 0xFFFF or 0xFFFF
        expect(struct.unpack_from("!H", done, at)[0] == value, "a wrong checksum")


def sum_of(data: bytes) -> int:
    """The ones' complement sum."""
    return ~checksum(data) & 0xFFFF


def check_segments(frame: bytes, header: bytes, head: int, payload: int, found: list[bytes]) -> None:
    """Raises ViolationError unless the segments together are the frame, each with right lengths and checksums."""
    size = struct.unpack_from("=H", header, 4)[0]
    expect(bool(found) and len(found) == max(1, -(-payload // size)), f"{len(found)} segments of {payload} bytes")
    tail = b"".join(segment[head:] for segment in found)
    expect(len(tail) == payload, f"{len(tail)} bytes of {payload}")
    # A VLAN tag of priority does not leave: what is cut begins 14 bytes before the IP header.
    starts = (head, head + 4)
    expect(any(tail == frame[start : start + payload] for start in starts), "the segments are not what was cut")
    for segment in found:
        expect(len(segment) <= head + size, f"a segment of {len(segment) - head} bytes instead of {size}")
        check_lengths(segment)
        check_transport(segment)


def check_transport(segment: bytes) -> None:
    """Raises ViolationError where the checksum of TCP or UDP is wrong; none is none for UDP over IPv4."""
    ip = segment[14:]
    if ip[0] >> 4 == 4:
        at, proto, ends = (ip[0] & 15) * 4, ip[9], ip[12:20]
    elif ip[6] in (6, 17):
        at, proto, ends = 40, ip[6], ip[8:40]
    else:
        return  # extension headers: the native tests look behind them
    if proto == 17 and ip[at + 6 : at + 8] == b"\0\0":
        return
    pseudo = ends + struct.pack("!II", proto, len(ip) - at)
    expect(checksum(pseudo + ip[at:]) == 0, "a segment with a wrong checksum")


def run(data: bytes) -> None:
    """Raises where a checksum or the segments are not what the header asks for."""
    from tests.fuzz.native.rounds import finished, segments

    header, frame = data[:HEADER], data[HEADER:][:LARGEST_FRAME]
    if len(header) < HEADER or len(frame) < 14:
        return
    check_finished(header, frame, finished(header, frame))
    cut = segments(header, frame)
    if cut is not None:
        check_segments(frame, header, *cut)
