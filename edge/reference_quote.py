"""ICMP errors: the packet that one quotes, and how it is translated back to what its sender had sent (RFC 5508)."""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address

from edge.reference_wire import (
    ICMP,
    ICMP6,
    ICMP_KINDS,
    MAX_EXTENSION_HEADERS,
    TCP,
    UDP,
    Flow,
    Kind,
    Packet,
    icmp_ports,
    rewrite_addresses,
    rewrite_upper,
    u16,
    u32,
    update,
    words,
)

UNRELATED_TYPES = {4: 5, 6: 0}
"""An IPv4 redirect speaks to the neighbour whose packet took a detour, never across a router (RFC 1812 5.2.7.2); type
0 of ICMPv6 is assigned to nothing."""

ICMP_HEADER = 8
QUOTED_BYTES = 8
"""Of the upper protocol, which is what RFC 792 promises."""


@dataclass(frozen=True, slots=True)
class Quote:
    """The packet in an ICMP error; offsets are in the error's own bytes.  ``seq`` is TCP's sequence number, type and
    code are those of a quoted ICMP message."""

    at: int
    l4: int
    kind: Kind
    flow: Flow
    seq: int | None
    icmp_type: int | None
    icmp_code: int | None


def quoted(packet: Packet) -> Quote | None:
    """What an ICMP error is about; None for other packets, and where too little is there to tell."""
    if packet.kind is not Kind.ICMP_ERROR or packet.icmp_type == UNRELATED_TYPES[packet.version]:
        return None
    at = packet.l4 + ICMP_HEADER
    found = quoted_ipv4(packet.ip, at) if packet.version == 4 else quoted_ipv6(packet.ip, at)
    if found is None:
        return None
    flow, l4 = found
    if l4 + QUOTED_BYTES > len(packet.ip):
        return None
    kind, flow = quoted_upper(packet.ip, l4, flow)
    seq = u32(packet.ip, l4 + 4) if kind is Kind.TCP else None
    icmp_type, icmp_code = (packet.ip[l4], packet.ip[l4 + 1]) if kind in ICMP_KINDS else (None, None)
    return None if kind is Kind.ICMP_ERROR else Quote(at, l4, kind, flow, seq, icmp_type, icmp_code)


def quoted_ipv4(data: bytes, at: int) -> tuple[Flow, int] | None:
    """Addresses and protocol, and where the upper protocol begins.  Lengths and checksum are whatever they are."""
    if at + 20 > len(data) or data[at] >> 4 != 4 or data[at] & 15 < 5 or u16(data, at + 6) & 0x1FFF:
        return None
    src, dst = IPv4Address(data[at + 12 : at + 16]), IPv4Address(data[at + 16 : at + 20])
    return Flow(data[at + 9], src, 0, dst, 0), at + (data[at] & 15) * 4


def quoted_ipv6(data: bytes, at: int) -> tuple[Flow, int] | None:
    """Likewise; the header of a first fragment is stepped over like any other."""
    if at + 40 > len(data) or data[at] >> 4 != 6:
        return None
    src, dst = IPv6Address(data[at + 8 : at + 24]), IPv6Address(data[at + 24 : at + 40])
    protocol, l4, seen = data[at + 6], at + 40, 0
    while protocol in (0, 43, 44, 60):
        seen += 1
        if seen > MAX_EXTENSION_HEADERS or l4 + 8 > len(data) or (protocol == 0 and l4 != at + 40):
            return None
        if protocol == 44 and u16(data, l4 + 2) & 0xFFF8:
            return None
        length = 8 if protocol == 44 else (data[l4 + 1] + 1) * 8
        protocol, l4 = data[l4], l4 + length
    return Flow(protocol, src, 0, dst, 0), l4


def quoted_upper(data: bytes, at: int, flow: Flow) -> tuple[Kind, Flow]:
    """Kind and ports, from the eight bytes that are there for certain."""
    if flow.protocol in (TCP, UDP):
        kind = Kind.TCP if flow.protocol == TCP else Kind.UDP
        return kind, flow._replace(sport=u16(data, at), dport=u16(data, at + 2))
    if flow.protocol == (ICMP if flow.src.version == 4 else ICMP6):
        kind, sport, dport = icmp_ports(flow.src.version, data[at], data[at + 1], u16(data, at + 4))
        return kind, flow._replace(sport=sport, dport=dport)
    return Kind.OTHER, flow


def rewrite_error(packet: Packet, flow: Flow, quote: Quote, quoted_flow: Flow, *, hops: int = 1) -> bytes:
    """The error with the addresses of ``flow``, ``hops`` older, quoting a packet of ``quoted_flow``."""
    ip = bytearray(packet.ip)
    message = packet.l4
    before = words(bytes(ip[message + ICMP_HEADER :]))
    rewrite_upper(ip, quote.l4, quote.kind, quote.flow, quoted_flow, rewrite_addresses(ip, quote.at, quoted_flow))
    after = words(bytes(ip[message + ICMP_HEADER :]))
    changes = [(old, new) for old, new in zip(before, after, strict=True) if old != new]
    addresses = rewrite_addresses(ip, 0, flow, hops=hops)
    update(ip, message + 2, changes if packet.version == 4 else changes + addresses)
    return bytes(ip)
