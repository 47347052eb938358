"""The reference's own view of bytes: parse a frame, rewrite a packet, make an answer.

Shares no code with ``native/packet`` or :mod:`edge.packets`, so that a mistake in one of them shows as a difference.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from enum import Enum, auto
from ipaddress import IPv4Address, IPv6Address
from typing import NamedTuple

from edge.addresses import IPAddress
from edge.verdicts import Endpoints, Reason

ICMP, TCP, UDP, ICMP6 = 1, 6, 17, 58

FIN, SYN, RST, PSH, ACK = 0x01, 0x02, 0x04, 0x08, 0x10

VLAN_TAGS = (0x8100, 0x88A8)  # IEEE 802.1Q, 802.1ad
IPV4, IPV6 = 0x0800, 0x86DD

MAX_EXTENSION_HEADERS = 8
NO_NEXT_HEADER = 59  # nothing follows: RFC 8200 4.7

# Type of the request -> type of its reply.
QUERIES_V4 = {8: 0, 13: 14, 15: 16, 17: 18}  # echo, timestamp, information, address mask: RFC 792, RFC 950
QUERIES_V6 = {128: 129}  # RFC 4443
ERRORS_V4 = frozenset({3, 4, 5, 11, 12})


class Kind(Enum):
    """What a packet is to a stateful edge."""

    TCP = auto()
    UDP = auto()
    ICMP_REQUEST = auto()  # of a query that has an identifier
    ICMP_REPLY = auto()
    ICMP_ERROR = auto()
    ICMP_OTHER = auto()
    OTHER = auto()
    FRAGMENT = auto()


class Flow(NamedTuple):
    """What the packets of one direction of a session have in common.

    ICMP requests bear (identifier, asked) in place of ports and their replies (asked, identifier), ``asked`` being the
    request's type in a form that no identifier has (see :func:`asked_end`), so
    that swapping the sides of a flow gives the flow of its answers whatever the protocol.  Other ICMP messages bear
    (0, type << 8 | code), other protocols (0, 0).
    """

    protocol: int
    src: IPAddress
    sport: int
    dst: IPAddress
    dport: int

    def reversed(self) -> Flow:
        """The flow of the answers."""
        return Flow(self.protocol, self.dst, self.dport, self.src, self.sport)


@dataclass(frozen=True, slots=True)
class Packet:
    """An IP packet whose headers hold together.  ``ip`` starts at the IP header and ends where the packet does
    (padding is gone); ``l4`` is the offset of what follows the IP headers, in a fragment of IPv6 that of its Fragment
    header."""

    ip: bytes
    l4: int
    ttl: int
    kind: Kind
    flow: Flow
    tcp_flags: int = 0
    icmp_type: int | None = None
    icmp_code: int | None = None

    @property
    def version(self) -> int:
        """4 or 6."""
        return self.flow.src.version

    @property
    def dont_fragment(self) -> bool:
        """IPv4's DF bit."""
        return self.version == 4 and bool(self.ip[6] & 0x40)

    @property
    def is_opening(self) -> bool:
        """A TCP segment with SYN and nothing that would make it the answer to one or the end of something."""
        return self.kind is Kind.TCP and self.tcp_flags & (SYN | ACK | RST | FIN) == SYN

    @property
    def is_absurd(self) -> bool:
        """A TCP segment with flags that no end sends in any state: none, or some that contradict each other."""
        flags = self.tcp_flags & (SYN | ACK | RST | FIN)
        contradicts = (flags & SYN and flags & (FIN | RST)) or flags & (FIN | ACK) == FIN
        return self.kind is Kind.TCP and (not flags or bool(contradicts))


ICMP_KINDS = frozenset({Kind.ICMP_REQUEST, Kind.ICMP_REPLY, Kind.ICMP_ERROR, Kind.ICMP_OTHER})


def endpoints(kind: Kind, flow: Flow) -> Endpoints:
    """A flow as traces show it: an ICMP query's identifier is ``sport``."""
    if kind in (Kind.TCP, Kind.UDP):
        return Endpoints(flow.src, flow.sport, flow.dst, flow.dport)
    if kind is Kind.ICMP_REQUEST:
        return Endpoints(flow.src, flow.sport, flow.dst, 0)
    if kind is Kind.ICMP_REPLY:
        return Endpoints(flow.src, flow.dport, flow.dst, 0)
    return Endpoints(flow.src, 0, flow.dst, 0)


# --- in -------------------------------------------------------------------------------------------------------------


def parse(frame: bytes, *, unsegmented: bool = False) -> Packet | Reason:
    """Read an Ethernet frame; a reason where there is no packet to judge in it.

    ``unsegmented``: it was captured before a network card cut it up, and perhaps before anybody wrote its length.
    """
    at = network_offset(frame)
    if at is None:
        return Reason.MALFORMED
    ethertype, data = u16(frame, at - 2), frame[at:]
    if ethertype == IPV4:
        return parse_ipv4(data, unsegmented=unsegmented)
    if ethertype == IPV6:
        return parse_ipv6(data)
    return Reason.NOT_IP


def network_offset(frame: bytes) -> int | None:
    """Where the packet begins, behind at most two VLAN tags; None where the frame ends before that."""
    at = 14
    for _ in range(2):
        if len(frame) >= at and u16(frame, at - 2) in VLAN_TAGS:
            at += 4
    return at if len(frame) >= at else None


def parse_ipv4(data: bytes, *, unsegmented: bool) -> Packet | Reason:
    """RFC 791, in the order in which a router finds out."""
    if len(data) < 20 or data[0] >> 4 != 4:
        return Reason.MALFORMED
    header = (data[0] & 15) * 4
    total = u16(data, 2)
    unwritten = unsegmented and total == 0
    if unwritten:
        total = len(data)
    if header < 20 or total < header or total > min(len(data), 65535):
        return Reason.MALFORMED
    if internet_checksum(data[:header]) != 0:
        return Reason.BAD_CHECKSUM
    if not options_are_whole(data[20:header]):
        return Reason.MALFORMED
    ip = with_total_length(data) if unwritten else data[:total]
    src, dst = IPv4Address(ip[12:16]), IPv4Address(ip[16:20])
    protocol = ip[9]
    more_fragments_or_offset = u16(ip, 6) & 0x3FFF
    if more_fragments_or_offset:
        return Packet(ip, header, ip[8], Kind.FRAGMENT, Flow(protocol, src, 0, dst, 0))
    return parse_l4(ip, header, ip[8], Flow(protocol, src, 0, dst, 0))


def options_are_whole(options: bytes) -> bool:
    """Does every option end within the header (RFC 791 3.1)?  Behind an end-of-list anything may stand."""
    at = 0
    while at < len(options) and options[at] != 0:
        if options[at] == 1:  # no operation: this byte alone
            at += 1
            continue
        if at + 1 == len(options) or options[at + 1] < 2 or at + options[at + 1] > len(options):
            return False
        at += options[at + 1]
    return True


def with_total_length(data: bytes) -> bytes:
    """An IPv4 packet that bears its length."""
    ip = bytearray(data)
    update(ip, 10, replace(ip, 2, struct.pack("!H", len(ip))))
    return bytes(ip)


def parse_ipv6(data: bytes) -> Packet | Reason:
    """RFC 8200: the fixed header, then extension headers up to the upper protocol."""
    if len(data) < 40 or data[0] >> 4 != 6:
        return Reason.MALFORMED
    total = 40 + u16(data, 4)
    if total > len(data):
        return Reason.MALFORMED
    ip = data[:total]
    src, dst = IPv6Address(ip[8:24]), IPv6Address(ip[24:40])
    protocol, at, seen = ip[6], 40, 0
    while protocol in (0, 43, 60, 44):  # hop-by-hop, routing, destination options, fragment
        if at + 8 > total or (protocol == 0 and at != 40):
            return Reason.MALFORMED
        if protocol == 44 and u16(ip, at + 2) & 0xFFF9:  # offset or M; without both it is stepped over (RFC 6946)
            return Packet(ip, at, ip[7], Kind.FRAGMENT, Flow(ip[at], src, 0, dst, 0))
        length = 8 if protocol == 44 else (ip[at + 1] + 1) * 8
        seen += 1
        if at + length > total or seen > MAX_EXTENSION_HEADERS:
            return Reason.MALFORMED
        protocol, at = ip[at], at + length
    return parse_l4(ip, at, ip[7], Flow(protocol, src, 0, dst, 0))


def parse_l4(ip: bytes, at: int, ttl: int, flow: Flow) -> Packet | Reason:
    """Ports, or what stands for them; ``flow`` comes without.  Checksums are left to the ends."""
    rest, protocol, version = ip[at:], flow.protocol, flow.src.version
    if protocol == TCP:
        if len(rest) < 20 or not 20 <= (rest[12] >> 4) * 4 <= len(rest):
            return Reason.MALFORMED
        flow = flow._replace(sport=u16(rest, 0), dport=u16(rest, 2))
        return Packet(ip, at, ttl, Kind.TCP, flow, tcp_flags=rest[13])
    if protocol == UDP:
        if len(rest) < 8 or not 8 <= u16(rest, 4) <= len(rest):
            return Reason.MALFORMED
        return Packet(ip, at, ttl, Kind.UDP, flow._replace(sport=u16(rest, 0), dport=u16(rest, 2)))
    if protocol == (ICMP if version == 4 else ICMP6):
        if len(rest) < 8:
            return Reason.MALFORMED
        kind, sport, dport = icmp_ports(version, rest[0], rest[1], u16(rest, 4))
        flow = flow._replace(sport=sport, dport=dport)
        return Packet(ip, at, ttl, kind, flow, icmp_type=rest[0], icmp_code=rest[1])
    return Packet(ip, at, ttl, Kind.OTHER, flow)


def icmp_ports(version: int, icmp_type: int, code: int, identifier: int) -> tuple[Kind, int, int]:
    """The kind of an ICMP message and what it bears in place of ports."""
    queries = QUERIES_V4 if version == 4 else QUERIES_V6
    if icmp_type in queries:
        return Kind.ICMP_REQUEST, identifier, asked_end(icmp_type)
    for request, reply in queries.items():
        if icmp_type == reply:
            return Kind.ICMP_REPLY, asked_end(request), identifier
    if icmp_type in ERRORS_V4 if version == 4 else icmp_type < 128:
        return Kind.ICMP_ERROR, 0, 0
    return Kind.ICMP_OTHER, 0, icmp_type << 8 | code


def asked_end(request: int) -> int:
    """What the end that is asked has in place of a port: beyond 16 bits, so that it is nobody's identifier."""
    return 1 << 16 | request << 8


# --- on -------------------------------------------------------------------------------------------------------------


def rewrite(packet: Packet, flow: Flow, hops: int) -> bytes:
    """The IP packet with the addresses and ports of ``flow`` and ``hops`` taken off its TTL or hop limit.

    Checksums are updated, not computed anew (RFC 1624), so that what was wrong stays wrong.
    """
    ip = bytearray(packet.ip)
    addresses = rewrite_addresses(ip, 0, flow, hops)
    rewrite_upper(ip, packet.l4, packet.kind, packet.flow, flow, addresses)
    return bytes(ip)


def rewrite_addresses(data: bytearray, at: int, flow: Flow, hops: int = 0) -> Words:
    """Change the IP header at an offset; the words of the addresses that other checksums cover too."""
    size, first, ttl = (4, 12, 8) if flow.src.version == 4 else (16, 8, 7)
    addresses = replace(data, at + first, flow.src.packed) + replace(data, at + first + size, flow.dst.packed)
    hop_limit = take_hops(data, at + ttl, hops)
    if flow.src.version == 4:
        update(data, at + 10, addresses + hop_limit)
    return addresses


def take_hops(data: bytearray, at: int, hops: int) -> Words:
    """Change a TTL or hop limit at an offset; the word that it is in."""
    word = at - at % 2
    aged = bytearray(data[word : word + 2])
    aged[at % 2] -= hops
    return replace(data, word, bytes(aged))


def one_hop_back(ip: bytes) -> bytes:
    """The IP packet with a hop more to go: it has been forwarded, but not to anybody else."""
    data = bytearray(ip)
    version = ip[0] >> 4
    hop_limit = take_hops(data, 8 if version == 4 else 7, -1)
    if version == 4:
        update(data, 10, hop_limit)
    return bytes(data)


def rewrite_upper(data: bytearray, at: int, kind: Kind, old: Flow, new: Flow, addresses: Words) -> None:
    """Change ports or identifier at an offset, and the checksum if it is there: a quote may end before TCP's."""
    version = old.src.version
    if kind in (Kind.TCP, Kind.UDP):
        ports = replace(data, at, struct.pack("!H", new.sport)) + replace(data, at + 2, struct.pack("!H", new.dport))
        checksum = at + (16 if kind is Kind.TCP else 6)
        if checksum + 2 > len(data):
            return
        if kind is Kind.UDP and version == 4 and u16(data, checksum) == 0:
            return
        update(data, checksum, addresses + ports)
        if kind is Kind.UDP and addresses + ports and u16(data, checksum) == 0:
            data[checksum : checksum + 2] = b"\xff\xff"  # RFC 768: zero would say that there is none
    elif kind in ICMP_KINDS:
        identifier = replace(data, at + 4, struct.pack("!H", new_identifier(old, new, u16(data, at + 4))))
        changes = identifier if version == 4 else addresses + identifier
        update(data, at + 2, changes)
        if kind is Kind.ICMP_REPLY and changes and u16(data, at + 2) == 0:
            data[at + 2 : at + 4] = b"\xff\xff"  # zero would be wrong for an echo reply of nothing but zeros


def new_identifier(old: Flow, new: Flow, present: int) -> int:
    """What stands in the identifier's place of an ICMP message afterwards: the half of the flow that changed, a type
    never does."""
    if new.sport != old.sport:
        return new.sport
    return new.dport if new.dport != old.dport else present


Words = list[tuple[int, int]]
"""16-bit words of a field that changed: (old, new)."""


def replace(data: bytearray, at: int, new: bytes) -> Words:
    """Write a field; its words if that changed anything."""
    old = bytes(data[at : at + len(new)])
    if old == new:
        return []
    data[at : at + len(new)] = new
    return list(zip(words(old), words(new), strict=True))


def update(data: bytearray, at: int, changes: Words) -> None:
    """RFC 1624, equation 3: HC' = ~(~HC + sum of ~m + m')."""
    if changes:
        total = ~u16(data, at) & 0xFFFF
        total += sum((~old & 0xFFFF) + new for old, new in changes)
        struct.pack_into("!H", data, at, ~fold(total) & 0xFFFF)


# --- out ------------------------------------------------------------------------------------------------------------


def ethernet(ip: bytes, port_number: int) -> bytes:
    """A frame that leaves by a port: the addresses say which one."""
    number = struct.pack("!H", port_number)
    ethertype = struct.pack("!H", IPV4 if ip[0] >> 4 == 4 else IPV6)
    return b"\x02\x00\x00\x01" + number + b"\x02\x00\x00\x00" + number + ethertype + ip


def destination(ip: bytes) -> IPAddress:
    """Where an IP packet goes."""
    return IPv4Address(ip[16:20]) if ip[0] >> 4 == 4 else IPv6Address(ip[24:40])


def tcp_reset(packet: Packet) -> bytes:
    """The RST that answers a segment (RFC 9293, 3.10.7.1), from the address that it was sent to."""
    at, flags = packet.l4, packet.tcp_flags
    sequence, acknowledged = struct.unpack_from("!II", packet.ip, at + 4)
    payload = len(packet.ip) - at - (packet.ip[at + 12] >> 4) * 4
    if flags & ACK:
        return tcp_answer(packet, acknowledged, 0, RST)
    length = payload + bool(flags & SYN) + bool(flags & FIN)
    return tcp_answer(packet, 0, (sequence + length) & 0xFFFFFFFF, RST | ACK)


def tcp_answer(packet: Packet, seq: int, ack: int, flags: int, window: int = 0) -> bytes:
    """A segment without data from the address that a packet was sent to."""
    flow = packet.flow.reversed()
    segment = struct.pack("!HHIIBBHHH", flow.sport, flow.dport, seq, ack, 5 << 4, flags, window, 0, 0)
    segment = checksummed(segment, 16, pseudo_header(flow, len(segment)))
    return ip_header(flow, len(segment), dont_fragment=True) + segment


def icmp_error(packet: Packet, source: IPAddress, icmp_type: int, code: int, word: int = 0) -> bytes:
    """An ICMP error from ``source`` that quotes the packet: at most 576 (RFC 1812) or 1,280 bytes (RFC 4443) in all.
    ``word`` is an MTU (RFC 1191, RFC 4443 3.2) or a pointer (RFC 4443 3.4) in the messages that have one."""
    version = packet.version
    flow = Flow(ICMP if version == 4 else ICMP6, source, 0, packet.flow.src, 0)
    quote = packet.ip[: 576 - 28 if version == 4 else 1280 - 48]
    message = struct.pack("!BBHI", icmp_type, code, 0, word) + quote
    message = checksummed(message, 2, b"" if version == 4 else pseudo_header(flow, len(message)))
    return ip_header(flow, len(message), tos=0xC0 if version == 4 else 0) + message


def echo_reply(packet: Packet) -> bytes:
    """The answer to an echo request: identifier, sequence number and data come back."""
    version = packet.version
    flow = packet.flow.reversed()
    message = bytes((QUERIES_V4[8] if version == 4 else QUERIES_V6[128], 0, 0, 0)) + packet.ip[packet.l4 + 4 :]
    message = checksummed(message, 2, b"" if version == 4 else pseudo_header(flow, len(message)))
    if version == 4:
        return ip_header(flow, len(message), tos=packet.ip[1], identification=u16(packet.ip, 4)) + message
    class_and_label = int.from_bytes(packet.ip[0:4], "big") & 0x0FFFFFFF
    return ip_header(flow, len(message), class_and_label=class_and_label) + message


def ip_header(
    flow: Flow,
    length: int,
    *,
    tos: int = 0,
    identification: int = 0,
    dont_fragment: bool = False,
    class_and_label: int = 0,
) -> bytes:
    """An IP header without options for ``length`` bytes, TTL or hop limit 64."""
    addresses = flow.src.packed + flow.dst.packed
    if flow.src.version == 6:
        return struct.pack("!IHBB", 6 << 28 | class_and_label, length, flow.protocol, 64) + addresses
    fragment = 0x4000 if dont_fragment else 0
    header = struct.pack("!BBHHHBBH", 0x45, tos, 20 + length, identification, fragment, 64, flow.protocol, 0)
    return checksummed(header + addresses, 10, b"")


def pseudo_header(flow: Flow, length: int) -> bytes:
    """What TCP, UDP and ICMPv6 checksums cover besides the message (RFC 9293, RFC 8200)."""
    form = "!BBH" if flow.src.version == 4 else "!IxxxB"
    tail = (0, flow.protocol, length) if flow.src.version == 4 else (length, flow.protocol)
    return flow.src.packed + flow.dst.packed + struct.pack(form, *tail)


def checksummed(data: bytes, at: int, covered_too: bytes) -> bytes:
    """``data`` with the right checksum at offset ``at``, where it holds zero."""
    return data[:at] + struct.pack("!H", internet_checksum(covered_too + data)) + data[at + 2 :]


def internet_checksum(data: bytes) -> int:
    """RFC 1071; 0 over data that contains its own right checksum."""
    return ~fold(sum(words(data))) & 0xFFFF


def fold(total: int) -> int:
    """End-around carry."""
    while total > 0xFFFF:
        total = (total & 0xFFFF) + (total >> 16)
    return total


def words(data: bytes) -> tuple[int, ...]:
    """16-bit words in network order; an odd byte at the end counts as if a zero followed."""
    if len(data) % 2:
        data += b"\0"
    return struct.unpack(f"!{len(data) // 2}H", data)


def u16(data: bytes | bytearray, at: int) -> int:
    """The 16-bit number at an offset."""
    return data[at] << 8 | data[at + 1]


def u32(data: bytes | bytearray, at: int) -> int:
    """The 32-bit number at an offset."""
    return u16(data, at) << 16 | u16(data, at + 2)
