"""Datagrams that leave in pieces (RFC 791 3.2, RFC 8200 4.5)."""

from __future__ import annotations

import struct
from collections.abc import Iterator

from edge.reference_fragments import last_next_header, with_ipv4_lengths, with_ipv6_length
from edge.reference_wire import u16
from edge.verdicts import Fragmentation

COPIED = 0x80
"""The bit of an IPv4 option's type that puts it into every piece."""


def cut_ipv4(ip: bytes, limit: int) -> list[bytes]:
    """Pieces of at most ``limit`` bytes, in order of offset."""
    length = (ip[0] & 15) * 4
    header, data = ip[:length], ip[length:]
    later = later_header(header)
    room, room_later = (limit - len(item) for item in (header, later))
    keeps = u16(ip, 6) & 0x4000
    return [
        with_ipv4_lengths(later if offset else header, len(part), keeps | more << 13 | offset // 8) + part
        for offset, part, more in parts(data, room, room_later)
    ]


def later_header(header: bytes) -> bytes:
    """The header of the pieces behind the first: of the options only those that say so are copied."""
    options, copied = header[20:], b""
    while options and options[0] != 0:  # END
        if options[0] == 1:  # NOP
            options = options[1:]
            continue
        length = options[1] if len(options) > 1 else 0
        if length < 2 or length > len(options):
            break
        if options[0] & COPIED:
            copied += options[:length]
        options = options[length:]
    return header[:20] + copied + bytes(-len(copied) % 4)


def cut_ipv6(ip: bytes, how: Fragmentation) -> list[bytes]:
    """Pieces of at most ``how.size`` bytes, with the Fragment header at ``how.at``."""
    headers, data = ip[: how.at], ip[how.at :]
    following = headers[last_next_header(headers)]
    room = how.size - how.at - 8
    return [
        with_ipv6_length(headers, 44, 8 + len(part))
        + struct.pack("!BBHI", following, 0, offset | more, how.identification)
        + part
        for offset, part, more in parts(data, room, room)
    ]


def parts(data: bytes, first: int, later: int) -> Iterator[tuple[int, bytes, bool]]:
    """Offset and bytes of each part, where so many bytes have room in a piece, and whether more follow.  All but the
    last are multiples of 8."""
    offset, room = 0, first
    while len(data) - offset > room:
        yield offset, data[offset : offset + (room & ~7)], True
        offset, room = offset + (room & ~7), later
    yield offset, data[offset:], False
