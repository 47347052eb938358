"""Ethernet frames made fast, with valid checksums; addresses are integers, payloads zeros."""

from __future__ import annotations

import struct

PAYLOAD = bytes(22)
ETHERNET_ADDRESSES = bytes.fromhex("020000000100 020000000200")
UDP, TCP = 17, 6
SYN, ACK, SYN_ACK = 0x02, 0x10, 0x12
WINDOW = 65_535

_UDP_FRAME = struct.Struct("!12sHBBHHHBBHIIHHHH")
_TCP_FRAME = struct.Struct("!12sHBBHHHBBHIIHHIIBBHHH")
_UDP6_FRAME = struct.Struct("!12sHIHBB16s16sHHHH")


def checksum(total: int) -> int:
    """The Internet checksum (RFC 1071) of words that add up to ``total``."""
    while total > 0xFFFF:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def udp_frame(
    source: int, source_port: int, destination: int, destination_port: int, payload: bytes = PAYLOAD
) -> bytes:
    """IPv4 and UDP; 64 bytes with the default payload."""
    length = 8 + len(payload)
    addresses = (source >> 16) + (source & 0xFFFF) + (destination >> 16) + (destination & 0xFFFF)
    header = checksum(0x4500 + 20 + length + 0x4000 + 0x4011 + addresses)
    datagram = checksum(addresses + UDP + 2 * length + source_port + destination_port) or 0xFFFF
    return (
        _UDP_FRAME.pack(
            ETHERNET_ADDRESSES,
            0x0800,
            0x45,
            0,
            20 + length,
            0,
            0x4000,
            64,
            UDP,
            header,
            source,
            destination,
            source_port,
            destination_port,
            length,
            datagram,
        )
        + payload
    )


def tcp_frame(
    source: int,
    source_port: int,
    destination: int,
    destination_port: int,
    *,
    flags: int,
    sequence: int,
    acknowledged: int = 0,
    payload: bytes = b"",
) -> bytes:
    """IPv4 and TCP without options."""
    length = 20 + len(payload)
    addresses = (source >> 16) + (source & 0xFFFF) + (destination >> 16) + (destination & 0xFFFF)
    header = checksum(0x4500 + 20 + length + 0x4000 + 0x4006 + addresses)
    numbers = (sequence >> 16) + (sequence & 0xFFFF) + (acknowledged >> 16) + (acknowledged & 0xFFFF)
    segment = checksum(addresses + TCP + length + source_port + destination_port + numbers + (0x5000 | flags) + WINDOW)
    return (
        _TCP_FRAME.pack(
            ETHERNET_ADDRESSES,
            0x0800,
            0x45,
            0,
            20 + length,
            0,
            0x4000,
            64,
            TCP,
            header,
            source,
            destination,
            source_port,
            destination_port,
            sequence,
            acknowledged,
            0x50,
            flags,
            WINDOW,
            segment,
            0,
        )
        + payload
    )


def udp6_frame(source: int, source_port: int, destination: int, destination_port: int, payload: bytes = b"") -> bytes:
    """IPv6 and UDP; 62 bytes without a payload."""
    length = 8 + len(payload)
    sides = source.to_bytes(16, "big"), destination.to_bytes(16, "big")
    addresses = sum(struct.unpack("!16H", b"".join(sides)))
    datagram = checksum(addresses + UDP + 2 * length + source_port + destination_port) or 0xFFFF
    return (
        _UDP6_FRAME.pack(
            ETHERNET_ADDRESSES,
            0x86DD,
            0x6 << 28,
            length,
            UDP,
            64,
            *sides,
            source_port,
            destination_port,
            length,
            datagram,
        )
        + payload
    )


def two_pieces(frame: bytes, identification: int) -> tuple[bytes, bytes]:
    """An IPv4 datagram without options as two fragments of about the same size (RFC 791)."""
    first = (len(frame) - 34 + 8) // 16 * 8
    pieces = []
    for data, flags in ((frame[34 : 34 + first], 0x2000), (frame[34 + first :], first // 8)):
        words = list(struct.unpack("!10H", frame[14:34]))
        words[1:4] = 20 + len(data), identification, flags
        words[5] = 0
        words[5] = checksum(sum(words))
        pieces.append(frame[:14] + struct.pack("!10H", *words) + data)
    return pieces[0], pieces[1]


def checksums_hold(frame: bytes) -> bool:
    """Are those of the IP header and of UDP or TCP right?"""
    packet = frame[14:]
    padded = packet + bytes(len(packet) % 2)
    words = struct.unpack(f"!{len(padded) // 2}H", padded)
    if packet[0] >> 4 == 6:
        return checksum(sum(words[4:20]) + packet[6] + len(packet) - 40 + sum(words[20:])) == 0
    pseudo_header = sum(words[6:10]) + packet[9] + len(packet) - 20
    return checksum(sum(words[:10])) == 0 and checksum(pseudo_header + sum(words[10:])) == 0
