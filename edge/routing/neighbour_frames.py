"""ARP (RFC 826) and neighbour discovery (RFC 4861) as values and as bytes, for the readable reference."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from enum import IntEnum
from ipaddress import IPv4Address, IPv6Address

from edge.addresses import IPAddress

BROADCAST_MAC = b"\xff" * 6
NOBODY = bytes(6)
ARP_HEADER = bytes.fromhex("0001 0800 06 04")
ALL_NODES = IPv6Address("ff02::1")
SOLICITED_NODES = int(IPv6Address("ff02::1:ff00:0"))


class NdType(IntEnum):
    """Types of ICMPv6 messages."""

    ROUTER_SOLICITATION = 133
    ROUTER_ADVERTISEMENT = 134
    NEIGHBOR_SOLICITATION = 135
    NEIGHBOR_ADVERTISEMENT = 136
    REDIRECT = 137


FIXED_PART = {NdType.ROUTER_SOLICITATION: 8, NdType.NEIGHBOR_SOLICITATION: 24, NdType.NEIGHBOR_ADVERTISEMENT: 24}
"""Bytes before the options, of the messages that are read."""

ADDRESS_OPTION = {
    NdType.ROUTER_SOLICITATION: 1,
    NdType.NEIGHBOR_SOLICITATION: 1,
    NdType.NEIGHBOR_ADVERTISEMENT: 2,
}
"""The option with the link-layer address that matters: the source's, or the target's."""


@dataclass(frozen=True, slots=True)
class Arp:
    """An ARP packet; ``is_reply`` or a request."""

    is_reply: bool
    sender_mac: bytes
    sender: IPv4Address
    target_mac: bytes
    target: IPv4Address


@dataclass(frozen=True, slots=True)
class Nd:
    """A message of neighbour discovery; ``target`` is :: for a router solicitation, ``mac`` None without an option."""

    type: NdType
    source: IPv6Address
    destination: IPv6Address
    target: IPv6Address
    mac: bytes | None
    solicited: bool = False
    override: bool = False


def is_station_mac(mac: bytes) -> bool:
    """One machine's address: neither a group's nor nobody's."""
    return not mac[0] & 1 and mac != NOBODY


def link_local_of(mac: bytes) -> IPv6Address:
    """The link-local address of a port with that MAC address (RFC 4291 appendix A)."""
    identifier = bytes([mac[0] ^ 2]) + mac[1:3] + b"\xff\xfe" + mac[3:]
    return IPv6Address(bytes.fromhex("fe80000000000000") + identifier)


def solicited_node(target: IPv6Address) -> IPv6Address:
    """The multicast address where whoever has ``target`` listens."""
    return IPv6Address(SOLICITED_NODES | (int(target) & 0xFFFFFF))


def group_mac(address: IPAddress) -> bytes:
    """The link's address for a multicast or broadcast address (RFC 1112 6.4, RFC 2464 7)."""
    if address.version == 6:
        return b"\x33\x33" + address.packed[-4:]
    if address.is_multicast:
        return bytes.fromhex("01005e") + struct.pack(">I", int(address) & 0x7FFFFF)[1:]
    return BROADCAST_MAC


def ones_complement_sum(data: bytes) -> int:
    """RFC 1071, folded, not inverted; an odd last byte counts as its word's high half."""
    total: int = sum(struct.unpack(f">{(len(data) + 1) // 2}H", data + bytes(len(data) % 2)))
    while total > 0xFFFF:
        total = (total & 0xFFFF) + (total >> 16)
    return total


def read_arp(data: bytes) -> Arp | None:
    """What is behind an Ethernet header, None for nothing that a sane station sends."""
    if (
        len(data) < 28
        or data[:6] != ARP_HEADER
        or data[6:8] not in (b"\0\1", b"\0\2")
        or not is_station_mac(data[8:14])
    ):
        return None
    return Arp(data[7] == 2, data[8:14], IPv4Address(data[14:18]), data[18:24], IPv4Address(data[24:28]))


def arp_frame(mac: bytes, to: bytes | None, arp: Arp) -> bytes:
    """An Ethernet frame; ``to`` None: to everybody."""
    body = ARP_HEADER + (b"\0\2" if arp.is_reply else b"\0\1") + arp.sender_mac + arp.sender.packed
    return (to or BROADCAST_MAC) + mac + b"\x08\x06" + body + arp.target_mac + arp.target.packed


def is_nd(packet: bytes) -> bool:
    """An IPv6 packet with ICMPv6 of a kind that never crosses a router."""
    return len(packet) >= 48 and packet[0] >> 4 == 6 and packet[6:8] == b"\x3a\xff" and 133 <= packet[40] <= 137


def read_nd(packet: bytes, mac: bytes) -> Nd | None:
    """A packet that :func:`is_nd`, with what RFC 4861 6.1.1, 7.1.1 and 7.1.2 ask of it; None if it lacks any of that,
    or claims the MAC address of the edge's own port."""
    kind, size = NdType(packet[40]), int.from_bytes(packet[4:6])
    message = packet[40 : 40 + size]
    pseudo_header = packet[8:40] + struct.pack(">II", size, 58)
    if (
        size < FIXED_PART[kind]
        or len(message) < size
        or message[1]
        or ones_complement_sum(pseudo_header + message) != 0xFFFF
    ):
        return None
    options = read_options(message[FIXED_PART[kind] :])
    if options is None:
        return None
    address = next((value[:6] for number, value in options if number == ADDRESS_OPTION[kind]), None)
    if address is not None and (not is_station_mac(address) or address == mac):
        return None
    source, destination = IPv6Address(packet[8:24]), IPv6Address(packet[24:40])
    target = IPv6Address(message[8:24]) if FIXED_PART[kind] == 24 else IPv6Address(0)
    nd = Nd(kind, source, destination, target, address, bool(message[4] & 0x40), bool(message[4] & 0x20))
    return nd if is_plausible(nd) else None


def is_plausible(nd: Nd) -> bool:
    """The rules about addresses."""
    if nd.target.is_multicast:
        return False
    if nd.type is NdType.NEIGHBOR_ADVERTISEMENT:
        return not (nd.destination.is_multicast and nd.solicited)
    if not is_nobody(nd.source):
        return True
    asks_group = nd.type is NdType.ROUTER_SOLICITATION or int(nd.destination) >> 24 == SOLICITED_NODES >> 24
    return nd.mac is None and asks_group


def is_nobody(address: IPAddress) -> bool:
    """The unspecified address."""
    return int(address) == 0


def read_options(data: bytes) -> list[tuple[int, bytes]] | None:
    """Types and values, None when they are not well formed."""
    found = []
    while data:
        if len(data) < 8 or data[1] == 0 or data[1] * 8 > len(data):
            return None
        found.append((data[0], data[2 : data[1] * 8]))
        data = data[data[1] * 8 :]
    return found


def nd_frame(mac: bytes, to: bytes | None, nd: Nd) -> bytes:
    """A solicitation or an advertisement of a router, as an Ethernet frame with the option for ``mac``; ``to`` None: to
    the group that the destination names."""
    advertises = nd.type is NdType.NEIGHBOR_ADVERTISEMENT
    flags = (0x80 if advertises else 0) | (0x40 if nd.solicited else 0) | (0x20 if nd.override else 0)
    addresses = nd.source.packed + nd.destination.packed
    message = bytes([nd.type, 0, 0, 0, flags, 0, 0, 0]) + nd.target.packed + bytes([2 if advertises else 1, 1]) + mac
    total = ones_complement_sum(addresses + struct.pack(">II", len(message), 58) + message)
    message = message[:2] + struct.pack(">H", total ^ 0xFFFF) + message[4:]
    header = struct.pack(">IHBB", 6 << 28, len(message), 58, 255) + addresses
    return (to or group_mac(nd.destination)) + mac + b"\x86\xdd" + header + message
