"""PacketText -> frame."""

from __future__ import annotations

import struct

from edge.packets.conversation import Conversation
from edge.packets.names import ACK, ICMP6, MAX_ICMP_ERROR, QUERY_TYPES, UDP, icmp_header_size
from edge.packets.text import PacketText

ETHERNET = bytes.fromhex("020000000001020000000002")
"""Destination and source address of every frame that is built here; an edge looks at neither."""

_FRAGMENT_HEADER = 44

DEFAULT_TTL = 64
DEFAULT_QUERY = 1  # identifier and sequence number of an ICMP query

DEFAULT_IDENTIFICATION = 1  # of a datagram in pieces


def build_frame(packet: PacketText, conversation: Conversation | None = None) -> bytes:
    """The Ethernet frame of a packet, without padding, every checksum right.

    Payload is zeros unless it was written out; checksums are those of the whole datagram, where only a part of it is
    sent.  ``conversation`` supplies the numbers of TCP that were not given; without one, those of a session that begins
    are taken.
    """
    ethertype = b"\x08\x00" if packet.version == 4 else b"\x86\xdd"
    return ETHERNET + ethertype + _ip_packet(packet, conversation or Conversation())


def _ip_packet(packet: PacketText, conversation: Conversation) -> bytes:
    payload = _upper_layer(packet, conversation)
    ttl = packet.values.get("ttl", DEFAULT_TTL)
    addresses = packet.src.packed + packet.dst.packed
    # IPv4 identification 0 with DF set: a packet that is never fragmented needs none (RFC 6864).
    identification, protocol, flags = packet.values.get("ipid", 0), packet.protocol, 0x4000
    if packet.part is not None:
        first, last = packet.part
        identification = packet.values.get("ipid", DEFAULT_IDENTIFICATION)
        more = last is not None and last + 1 < len(payload)
        payload = payload[first : None if last is None else last + 1]
        flags = more << 13 | first // 8
        if packet.version == 6:
            payload = struct.pack("!BBHI", protocol, 0, first | more, identification) + payload
            protocol = _FRAGMENT_HEADER
    if packet.version == 6:
        return struct.pack("!IHBB", 6 << 28, len(payload), protocol, ttl) + addresses + payload
    header = struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(payload), identification, flags, ttl, protocol, 0)
    return _with_checksum(header + addresses, 10) + payload


def _upper_layer(packet: PacketText, conversation: Conversation) -> bytes:
    data = bytes(packet.values.get("len", 0)) if packet.data is None else packet.data
    if packet.icmp is not None:
        message = _icmp(packet, packet.icmp, conversation) + data
        return _with_checksum(message, 2, _pseudo_header(packet, len(message)) if packet.protocol == ICMP6 else b"")
    if packet.sport is None or packet.dport is None:
        return data
    if packet.protocol == UDP:
        datagram = struct.pack("!HHHH", packet.sport, packet.dport, 8 + len(data), 0) + data
        datagram = _with_checksum(datagram, 6, _pseudo_header(packet, len(datagram)))
        # RFC 768: a checksum of 0 is sent as its other form, since 0 says that there is none.
        return datagram if datagram[6:8] != b"\0\0" else datagram[:6] + b"\xff\xff" + datagram[8:]
    segment = _tcp_header(packet, packet.sport, packet.dport, conversation) + data
    return _with_checksum(segment, 16, _pseudo_header(packet, len(segment)))


def _tcp_header(packet: PacketText, sport: int, dport: int, conversation: Conversation) -> bytes:
    flags = packet.flags or 0
    expected = conversation.expected((packet.src, sport, packet.dst, dport), flags)
    seq = packet.values.get("seq", expected.seq)
    ack = packet.values.get("ack", expected.ack if flags & ACK else 0)
    window = packet.values.get("win", expected.window)
    return struct.pack("!HHIIBBHHH", sport, dport, seq, ack, 5 << 4, flags, window, 0, 0)


def _icmp(packet: PacketText, message: tuple[int, int], conversation: Conversation) -> bytes:
    icmp_type, code = message
    first, second = 0, packet.values.get("mtu", 0)
    if icmp_type in QUERY_TYPES[packet.version]:
        first = packet.values.get("id", DEFAULT_QUERY)
        second = packet.values.get("seq", DEFAULT_QUERY)
    # The MTU is the whole second word in ICMPv6 (RFC 4443) and its lower half in ICMP (RFC 1191).
    word = first << 16 | second
    header = struct.pack("!BBHI", icmp_type, code, 0, word).ljust(icmp_header_size(packet.version, icmp_type), b"\0")
    if packet.of is None:
        return header
    return (header + _ip_packet(packet.of, conversation))[: MAX_ICMP_ERROR[packet.version]]


def _pseudo_header(packet: PacketText, length: int) -> bytes:
    addresses = packet.src.packed + packet.dst.packed
    if packet.version == 4:
        return addresses + struct.pack("!BBH", 0, packet.protocol, length)
    return addresses + struct.pack("!IBBBB", length, 0, 0, 0, packet.protocol)


def _with_checksum(data: bytes, at: int, pseudo_header: bytes = b"") -> bytes:
    return data[:at] + struct.pack("!H", _internet_checksum(pseudo_header + data)) + data[at + 2 :]


def _internet_checksum(data: bytes) -> int:
    """RFC 1071."""
    data += b"\0" * (len(data) % 2)
    total: int = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total > 0xFFFF:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF
