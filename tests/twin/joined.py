"""What left in pieces put together again, and how it was cut."""

from __future__ import annotations

import struct
from collections.abc import Iterable
from dataclasses import dataclass

from tests.model.frames import EXTENSION_HEADERS, checksum

FRAGMENT = 44
MORE, OFFSET = 0x2000, 0x1FFF

Cut = tuple[int, int, int]
"""Of a piece: bytes of headers, offset and bytes of data."""


@dataclass(frozen=True, slots=True)
class Joined:
    """An IP packet that left by a port, whole; ``cuts`` is empty if it left so."""

    port: str
    packet: bytes
    cuts: tuple[Cut, ...] = ()


@dataclass(frozen=True, slots=True)
class Piece:
    """A fragment: its headers, without the Fragment header of IPv6, and what it brings.  ``key`` is the datagram's,
    ``following`` the protocol behind an IPv6 Fragment header, which stands at ``at``."""

    key: bytes
    head: bytes
    offset: int
    more: bool
    data: bytes
    following: int = 0
    at: int = 0

    @property
    def common(self) -> tuple[int, ...]:
        """What the pieces of a packet have in common: type of service, TTL, DF; or traffic class and hop limit."""
        if self.head[0] >> 4 == 4:
            return self.head[1], self.head[8], self.head[6] & 0x40
        return *self.head[:4], self.head[7]


def joined(packets: Iterable[tuple[str, bytes]]) -> list[Joined]:
    """Each packet with its port, in the order of their first pieces; pieces that others are missing of stay alone."""
    found: list[tuple[str, bytes | None, list[Piece]]] = []
    open_at: dict[tuple[str, bytes], list[Piece]] = {}
    for port, packet in packets:
        piece = piece_of(packet)
        if piece is None:
            found.append((port, packet, []))
        elif (port, piece.key) in open_at:
            open_at[port, piece.key].append(piece)
        else:
            open_at[port, piece.key] = [piece]
            found.append((port, None, open_at[port, piece.key]))
    return [
        Joined(port, packet)
        if packet is not None
        else Joined(port, whole(pieces), tuple((len(item.head), item.offset, len(item.data)) for item in pieces))
        for port, packet, pieces in found
    ]


def piece_of(packet: bytes) -> Piece | None:
    """A fragment; None for what is whole."""
    if packet[0] >> 4 == 4:
        word, end = int.from_bytes(packet[6:8], "big"), (packet[0] & 15) * 4
        if not word & (MORE | OFFSET):
            return None
        if checksum(packet[:end]) != 0:
            raise ValueError(f"the header checksum of a fragment is wrong: {packet.hex()}")
        key = packet[4:6] + packet[9:10] + packet[12:20]
        return Piece(key, packet[:end], (word & OFFSET) * 8, bool(word & MORE), packet[end:])
    place, end = 6, 40
    while packet[place] in EXTENSION_HEADERS:
        place, end = end, end + 8 * (packet[end + 1] + 1)
    if packet[place] != FRAGMENT:
        return None
    following, _, word, identification = struct.unpack_from("!BBHI", packet, end)
    key = packet[8:40] + identification.to_bytes(4, "big")
    return Piece(key, packet[:end], word & 0xFFF8, bool(word & 1), packet[end + 8 :], following, place)


def whole(pieces: list[Piece]) -> bytes:
    """Pieces in order as the packet that they are of.  Raises ValueError if they are not all there is, once each, or
    disagree in what a router leaves alone."""
    data = b""
    for item in pieces:
        if item.offset != len(data) or item.more is (item is pieces[-1]):
            raise ValueError("pieces are missing, overlap or came in disorder")
        if item.common != pieces[0].common:
            raise ValueError("pieces disagree in DF, TTL or type of service")
        data += item.data
    head, first = bytearray(pieces[0].head), pieces[0]
    if head[0] >> 4 == 4:
        word = int.from_bytes(head[6:8], "big") & ~MORE
        for at, value in ((2, len(head) + len(data)), (6, word), (10, 0)):
            struct.pack_into("!H", head, at, value)
        struct.pack_into("!H", head, 10, checksum(bytes(head)))
    else:
        struct.pack_into("!H", head, 4, len(head) - 40 + len(data))
        head[first.at] = first.following
    return bytes(head) + data
