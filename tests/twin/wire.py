"""IP packets taken apart far enough to compare two of them, and put together again with other ends."""

from __future__ import annotations

import struct
from dataclasses import dataclass, field, replace

from tests.model.frames import EXTENSION_HEADERS, Parts, checksum, pseudo

ICMP, TCP, UDP, ICMP6 = 1, 6, 17, 58
FIN, SYN, RST, ACK, URG = 0x01, 0x02, 0x04, 0x10, 0x20
REQUESTS = {(ICMP, 8), (ICMP, 13), (ICMP, 15), (ICMP, 17), (ICMP6, 128)}
REPLIES = {(ICMP, 0), (ICMP, 14), (ICMP, 16), (ICMP, 18), (ICMP6, 129)}
CHECKSUM_AT = {ICMP: 2, TCP: 16, UDP: 6, ICMP6: 2}

End = tuple[bytes, int]
"""An address, and a port or (of a query's asker) an identifier, else 0."""


@dataclass(frozen=True, slots=True)
class Datagram:
    """An IP packet.  ``head`` is what a router leaves alone of the IP headers, ``body`` what follows them without ports
    (or identifier) and checksum.  ``quote`` is the packet in an ICMP error, whose body ends before that.  ``upper`` is
    the size of the upper protocol, as far as it is there."""

    protocol: int
    src: End
    dst: End
    ttl: int
    head: bytes
    body: bytes
    quote: Datagram | None = None
    upper: int = field(default=0, compare=False)

    @property
    def version(self) -> int:
        """4 or 6."""
        return 4 if len(self.src[0]) == 4 else 6

    @property
    def is_error(self) -> bool:
        """An ICMP error; redirects are among them."""
        if self.protocol == ICMP and self.version == 4:
            return self.body[0] in (3, 4, 5, 11, 12)
        return self.protocol == ICMP6 and self.version == 6 and self.body[0] < 128

    @property
    def icmp(self) -> tuple[int, int] | None:
        """Type and code, if they are there."""
        return (self.body[0], self.body[1]) if self.protocol in (ICMP, ICMP6) and len(self.body) > 1 else None

    @property
    def kind(self) -> int:
        """The protocol; with a query, and what replies to it, the query's type too."""
        queries = {(ICMP, 0): 8, (ICMP, 14): 13, (ICMP, 16): 15, (ICMP, 18): 17, (ICMP6, 129): 128}
        if self.icmp is None:
            return self.protocol
        asked = (self.protocol, queries.get((self.protocol, self.icmp[0]), self.icmp[0]))
        return asked[1] << 8 | self.protocol if asked in REQUESTS else self.protocol

    @property
    def flags(self) -> int:
        """TCP's SYN, ACK, RST and FIN; 0 for other protocols."""
        return self.body[9] & 0x17 if self.protocol == TCP and len(self.body) > 9 else 0

    @property
    def extensions(self) -> list[int]:
        """The types of the IPv6 extension headers."""
        found, kind, at = [], self.head[6] if self.version == 6 else TCP, 7
        while kind in EXTENSION_HEADERS:
            found.append(kind)
            kind, at = self.head[at], at + 8 * (self.head[at + 1] + 1)
        return found

    @property
    def seq(self) -> int:
        """TCP's sequence number."""
        return int.from_bytes(self.body[:4], "big")

    @property
    def ack(self) -> int:
        """TCP's acknowledgement number."""
        return int.from_bytes(self.body[4:8], "big")

    @property
    def window(self) -> int:
        """TCP's window as on the wire."""
        return int.from_bytes(self.body[10:12], "big")

    @property
    def behind(self) -> int:
        """The sequence number behind a TCP segment."""
        data = len(self.body) + 6 - (self.body[8] >> 4) * 4
        return (self.seq + data + bool(self.flags & SYN) + bool(self.flags & FIN)) % 2**32

    @property
    def flow(self) -> tuple[int, frozenset[End]]:
        """Protocol and both ends, whichever is which; an error's is that of the packet that it quotes."""
        return self.quote.flow if self.quote is not None else (self.protocol, frozenset((self.src, self.dst)))


def dissect(ip: bytes) -> Datagram:
    """A whole packet.  Raises ValueError or IndexError for anything odd."""
    return _dissect(ip, quoted=False)


def _dissect(ip: bytes, *, quoted: bool) -> Datagram:
    at, protocol = upper(ip)
    if ip[0] >> 4 == 4:
        src, dst, ttl = ip[12:16], ip[16:20], ip[8]
        head = ip[:8] + ip[20:at]
    else:
        src, dst, ttl = ip[8:24], ip[24:40], ip[7]
        head = ip[:7] + ip[40:at]
    rest = ip[at:]
    plain = Datagram(protocol, (src, 0), (dst, 0), ttl, head, rest, upper=len(rest))
    own = ICMP if len(src) == 4 else ICMP6
    if protocol in (TCP, UDP) and len(rest) >= 8:
        return _ported(plain, rest)
    if protocol != own or len(rest) < 8:
        return plain
    kind = (protocol, rest[0])
    identifier = struct.unpack_from("!H", rest, 4)[0]
    body = rest[:2] + rest[6:]
    if kind in REQUESTS:
        return replace(plain, src=(src, identifier), body=body)
    if kind in REPLIES:
        return replace(plain, dst=(dst, identifier), body=body)
    message = rest[:2] + rest[4:8]
    if not quoted and plain.is_error:
        try:
            quote = _dissect(rest[8:], quoted=True)
        except (IndexError, ValueError, struct.error):
            return replace(plain, body=message + rest[8:])
        return replace(plain, body=message, quote=quote)
    return replace(plain, body=rest[:2] + rest[4:])


def _ported(plain: Datagram, rest: bytes) -> Datagram:
    sport, dport = struct.unpack_from("!HH", rest)
    at = CHECKSUM_AT[plain.protocol]
    absent = b"none" if plain.protocol == UDP and rest[6:8] == b"\0\0" else b""
    body = rest[4:at] + rest[at + 2 :] + absent
    return replace(plain, src=(plain.src[0], sport), dst=(plain.dst[0], dport), body=body)


def upper(ip: bytes) -> tuple[int, int]:
    """Where the upper protocol begins, and which it is."""
    if ip[0] >> 4 == 4:
        if len(ip) < 20:
            raise ValueError("cut short")
        return (ip[0] & 15) * 4, ip[9]
    if len(ip) < 40:
        raise ValueError("cut short")
    protocol, at = ip[6], 40
    while protocol in EXTENSION_HEADERS:
        protocol, at = ip[at], at + 8 * (ip[at + 1] + 1)
    return at, protocol


def checksums_right(ip: bytes) -> bool:
    """IPv4's header and the upper protocol's; that of UDP over IPv4 may be absent."""
    at, protocol = upper(ip)
    if ip[0] >> 4 == 4 and checksum(ip[:at]) != 0:
        return False
    if protocol not in CHECKSUM_AT or len(ip) < at + 8 or (protocol == ICMP6) != (ip[0] >> 4 == 6 and protocol == 58):
        return True
    parts = _parts(ip, at, protocol)
    if protocol == UDP and ip[at + 6 : at + 8] == b"\0\0":
        return ip[0] >> 4 == 4
    return checksum((b"" if protocol == ICMP else pseudo(parts)) + parts.payload) == 0


def with_ends(ip: bytes, src: End, dst: End) -> bytes:
    """The packet from and to other ends, its checksums made anew; a quoted one stays as it is."""
    at, protocol = upper(ip)
    changed = bytearray(ip)
    _put(changed, 0, at, protocol, src, dst)
    return _summed(changed, at, protocol)


def with_quoted_ends(ip: bytes, src: End, dst: End, quoted: tuple[End, End]) -> bytes:
    """An ICMP error from and to other ends, about a packet between others."""
    at, protocol = upper(ip)
    changed = bytearray(ip)
    _put(changed, 0, at, 0, src, dst)
    inner_at, inner_protocol = upper(ip[at + 8 :])
    _put(changed, at + 8, at + 8 + inner_at, inner_protocol, *quoted)
    if ip[at + 8] >> 4 == 4:
        header = changed[at + 8 : at + 8 + inner_at]
        header[10:12] = b"\0\0"
        changed[at + 18 : at + 20] = struct.pack("!H", checksum(bytes(header)))
    return _summed(changed, at, protocol)


def _put(data: bytearray, start: int, at: int, protocol: int, src: End, dst: End) -> None:
    size, first = (4, 12) if data[start] >> 4 == 4 else (16, 8)
    data[start + first : start + first + 2 * size] = src[0] + dst[0]
    if protocol in (TCP, UDP):
        struct.pack_into("!HH", data, at, src[1], dst[1])
    elif (protocol, data[at] if at < len(data) else -1) in REQUESTS:
        struct.pack_into("!H", data, at + 4, src[1])
    elif (protocol, data[at] if at < len(data) else -1) in REPLIES:
        struct.pack_into("!H", data, at + 4, dst[1])


def _parts(data: bytes, at: int, protocol: int) -> Parts:
    src, dst = (data[12:16], data[16:20]) if data[0] >> 4 == 4 else (data[8:24], data[24:40])
    return Parts(protocol, bytes(src), bytes(dst), bytes(data[at:]))


def _summed(data: bytearray, at: int, protocol: int) -> bytes:
    if data[0] >> 4 == 4:
        data[10:12] = b"\0\0"
        data[10:12] = struct.pack("!H", checksum(bytes(data[:at])))
    place = CHECKSUM_AT.get(protocol)
    absent = protocol == UDP and data[at + 6 : at + 8] == b"\0\0"
    if place is not None and not absent:
        data[at + place : at + place + 2] = b"\0\0"
        covered = b"" if protocol == ICMP else pseudo(_parts(bytes(data), at, protocol))
        value = checksum(covered + bytes(data[at:]))
        data[at + place : at + place + 2] = struct.pack("!H", value or (0xFFFF if protocol == UDP else 0))
    return bytes(data)
