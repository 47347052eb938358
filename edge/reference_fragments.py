"""Datagrams that come in pieces: held until they are complete, then one packet (RFC 791, RFC 8200 4.5, RFC 5722).

A piece that contradicts the others kills its datagram: what comes of it later is dropped too, until its time is up.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple

from edge.addresses import IPAddress
from edge.reference_wire import ICMP, ICMP6, IPV4, IPV6, TCP, UDP, Packet, internet_checksum, u16, u32
from edge.verdicts import Fragmentation, Reason

MAX_PIECES = 64
"""Of one datagram: what Linux and BSD take is of this order, and a datagram of 65,535 bytes has 45 of 1,500."""

UNIT = 2048
"""Bytes of IP that one unit of ``options.max_fragments`` holds."""

MAX_HEADERS = 1280
"""Bytes before a Fragment header: what any link carries whole."""

LONGEST = 65_535
"""Bytes of an IPv4 packet, and of what follows an IPv6 header."""

SECOND = 1_000_000_000


class Key(NamedTuple):
    """What the pieces of one datagram have in common; ``protocol`` is None for IPv6, whose Fragment headers need not
    agree in it (RFC 8200 4.5)."""

    port: str
    src: IPAddress
    dst: IPAddress
    identification: int
    protocol: int | None


@dataclass(frozen=True, slots=True)
class Piece:
    """``headers`` is what comes before the data: the IPv4 header, or IPv6 headers with the Fragment header as last."""

    headers: bytes
    data: bytes
    offset: int
    more: bool

    @property
    def end(self) -> int:
        """Where its data end in those of the datagram."""
        return self.offset + len(self.data)

    @property
    def size(self) -> int:
        """Bytes of IP."""
        return len(self.headers) + len(self.data)

    @property
    def units(self) -> int:
        """How much of ``options.max_fragments`` it takes."""
        return -(-self.size // UNIT)

    def overlaps(self, other: Piece) -> bool:
        """Does any byte of the datagram belong to both?"""
        return self.offset < other.end and other.offset < self.end

    def repeats(self, other: Piece) -> bool:
        """The same piece again, whatever its headers say."""
        return (self.offset, self.more, self.data) == (other.offset, other.more, other.data)


@dataclass(slots=True)
class Datagram:
    """What is there of one; a dead one has no pieces."""

    arrived_ns: int
    pieces: list[Piece] = field(default_factory=list)
    dead: bool = False

    @property
    def units(self) -> int:
        """What it takes of ``options.max_fragments``."""
        return 1 if self.dead else sum(piece.units for piece in self.pieces)

    @property
    def length(self) -> int | None:
        """Bytes of data in all, None as long as the last piece is missing."""
        return next((piece.end for piece in self.pieces if not piece.more), None)

    @property
    def complete(self) -> bool:
        """Nothing is missing; pieces do not overlap, so their lengths tell."""
        return sum(len(piece.data) for piece in self.pieces) == self.length

    def contradicts(self, piece: Piece) -> bool:
        """Can the piece not belong to the same datagram as those that are there?"""
        if any(piece.overlaps(held) for held in self.pieces):
            return True
        if self.length is not None and (piece.end > self.length or not piece.more):
            return True
        return not piece.more and any(held.end > piece.end for held in self.pieces)


class Reassembled(NamedTuple):
    """A datagram that became complete: Ethernet frame and all, and how it came."""

    frame: bytes
    fragmentation: Fragmentation


class Fragments:
    """The pieces that wait for others, by datagram, the one that came first at the beginning."""

    def __init__(self) -> None:
        self._datagrams: dict[Key, Datagram] = {}
        self.reassembled = 0
        self.timed_out = 0

    @property
    def units(self) -> int:
        """How much of ``options.max_fragments`` is taken."""
        return sum(datagram.units for datagram in self._datagrams.values())

    def expire(self, now_ns: int, timeout_s: int) -> None:
        """Forget datagrams that began ``timeout_s`` ago or earlier."""
        for key, datagram in list(self._datagrams.items()):
            if now_ns >= datagram.arrived_ns + timeout_s * SECOND:
                del self._datagrams[key]
                self.timed_out += not datagram.dead

    def keep_ports(self, kept: Callable[[str], bool]) -> None:
        """Forget what came by ports that are not kept."""
        self._datagrams = {key: datagram for key, datagram in self._datagrams.items() if kept(key.port)}

    def take(self, port: str, packet: Packet, now_ns: int, limit: int) -> Reassembled | Reason:
        """One fragment that came by ``port``: FRAGMENT_HELD, why it is dropped, or what it completes."""
        key, piece = key_of(port, packet), piece_of(packet)
        datagram = self._datagrams.get(key)
        if is_faulty(packet, piece):
            return Reason.FRAGMENT_ERROR if datagram is None else kill(datagram, Reason.FRAGMENT_ERROR)
        if datagram is None:
            return self._hold(key, Datagram(now_ns), piece, limit)
        if datagram.dead:
            return Reason.FRAGMENT_ERROR
        if any(piece.repeats(held) for held in datagram.pieces):
            return Reason.FRAGMENT_HELD
        if datagram.contradicts(piece):
            return kill(datagram, Reason.FRAGMENT_ERROR)
        if len(datagram.pieces) == MAX_PIECES:
            return kill(datagram, Reason.FRAGMENT_LIMIT)
        with_it = Datagram(datagram.arrived_ns, [*datagram.pieces, piece])
        if not with_it.complete:
            return self._hold(key, datagram, piece, limit)
        whole = joined(packet.version, with_it.pieces)
        if whole is None:
            return kill(datagram, Reason.FRAGMENT_ERROR)
        del self._datagrams[key]
        self.reassembled += 1
        return whole

    def _hold(self, key: Key, datagram: Datagram, piece: Piece, limit: int) -> Reason:
        if self.units + piece.units > limit:
            return Reason.FRAGMENT_LIMIT
        datagram.pieces.append(piece)
        self._datagrams.setdefault(key, datagram)
        return Reason.FRAGMENT_HELD


def kill(datagram: Datagram, reason: Reason) -> Reason:
    """Nothing more comes of it."""
    datagram.pieces.clear()
    datagram.dead = True
    return reason


# --- one piece ------------------------------------------------------------------------------------------------------


def key_of(port: str, packet: Packet) -> Key:
    """The datagram that a fragment belongs to."""
    ip, flow = packet.ip, packet.flow
    if packet.version == 4:
        return Key(port, flow.src, flow.dst, u16(ip, 4), flow.protocol)
    return Key(port, flow.src, flow.dst, u32(ip, packet.l4 + 4), None)


def piece_of(packet: Packet) -> Piece:
    """What a fragment brings."""
    ip, at = packet.ip, packet.l4
    if packet.version == 4:
        return Piece(ip[:at], ip[at:], (u16(ip, 6) & 0x1FFF) * 8, bool(ip[6] & 0x20))
    return Piece(ip[: at + 8], ip[at + 8 :], u16(ip, at + 2) & 0xFFF8, bool(ip[at + 3] & 1))


def is_faulty(packet: Packet, piece: Piece) -> bool:
    """Wrong by itself, whatever else there is of its datagram."""
    if not piece.data or (piece.more and len(piece.data) % 8):
        return True
    if piece.end > (LONGEST - 20 if packet.version == 4 else LONGEST):
        return True
    if packet.version == 6 and packet.l4 > MAX_HEADERS:
        return True
    return piece.offset == 0 and not can_be_judged(packet, piece)


def can_be_judged(packet: Packet, first: Piece) -> bool:
    """Does a first piece hold the headers that rules ask for (RFC 1858, RFC 7112)?"""
    protocol, rest = packet.flow.protocol, first.data
    if packet.version == 6:
        while protocol in (43, 60):  # routing, destination options
            length = (rest[1] + 1) * 8 if len(rest) >= 8 else 8
            if length > len(rest):
                return False
            protocol, rest = rest[0], rest[length:]
        if protocol in (0, 44):  # hop-by-hop stands before, and there is one Fragment header
            return False
    icmp = ICMP if packet.version == 4 else ICMP6
    return len(rest) >= {TCP: 20, UDP: 8, icmp: 8}.get(protocol, 0)


# --- the whole ------------------------------------------------------------------------------------------------------


def joined(version: int, pieces: list[Piece]) -> Reassembled | None:
    """The datagram of all its pieces, with the headers of the first by offset; None if it is longer than one can be."""
    pieces = sorted(pieces, key=lambda piece: piece.offset)
    headers, data = pieces[0].headers, b"".join(piece.data for piece in pieces)
    size = max(piece.size for piece in pieces)
    if version == 4:
        if len(headers) + len(data) > LONGEST:
            return None
        flags = 0x4000 if any(piece.headers[6] & 0x40 for piece in pieces) else 0
        ip = with_ipv4_lengths(headers, len(data), flags) + data
        return Reassembled(bytes(12) + struct.pack("!H", IPV4) + ip, Fragmentation(size, u16(headers, 4), 0))
    at = len(headers) - 8
    if at - 40 + len(data) > LONGEST:
        return None
    ip = with_ipv6_length(headers[:at], headers[at], len(data)) + data
    return Reassembled(bytes(12) + struct.pack("!H", IPV6) + ip, Fragmentation(size, u32(headers, at + 4), at))


def with_ipv4_lengths(header: bytes, data: int, flags: int) -> bytes:
    """An IPv4 header, options included, for so many bytes of data; ``flags`` is the word of flags and offset."""
    head = bytes((0x40 | len(header) // 4, header[1])) + struct.pack("!H", len(header) + data)
    new = head + header[4:6] + struct.pack("!H", flags) + header[8:10] + b"\0\0" + header[12:]
    return new[:10] + struct.pack("!H", internet_checksum(new)) + new[12:]


def with_ipv6_length(headers: bytes, following: int, data: int) -> bytes:
    """IPv6 headers before so many bytes, the last of which says that ``following`` comes next."""
    new = bytearray(headers)
    new[last_next_header(headers)] = following
    struct.pack_into("!H", new, 4, len(headers) - 40 + data)
    return bytes(new)


def last_next_header(headers: bytes) -> int:
    """Where IPv6 headers say what comes behind the last of them.  Raises ValueError where none ends there."""
    place, at = 6, 40
    while at < len(headers):
        length = 8 if headers[place] == 44 else (headers[at + 1] + 1) * 8
        place, at = at, at + length
    if at != len(headers):
        raise ValueError("no header of the packet ends there")
    return place
