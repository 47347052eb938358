"""Frames made by hand, right or wrong on purpose; a third opinion on bytes beside the two that are compared."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from random import Random

ETHERNET = bytes.fromhex("0200000000fe0200000000fd")
EXTENSION_HEADERS = (0, 43, 60)


@dataclass(frozen=True, slots=True)
class Parts:
    """An IP packet without its IP header."""

    protocol: int
    src: bytes
    dst: bytes
    payload: bytes

    @property
    def version(self) -> int:
        return 4 if len(self.src) == 4 else 6


def checksum(data: bytes) -> int:
    data += b"\0" * (len(data) % 2)
    total: int = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def pseudo(parts: Parts) -> bytes:
    return parts.src + parts.dst + struct.pack("!II", len(parts.payload), parts.protocol)


def tcp(
    src: bytes,
    dst: bytes,
    sport: int,
    dport: int,
    flags: int,
    seq: int,
    ack: int,
    data: bytes = b"",
    options: bytes = b"",
    window: int = 8192,
) -> Parts:
    header = struct.pack("!HHIIBBHHH", sport, dport, seq, ack, (5 + len(options) // 4) << 4, flags, window, 0, 0)
    return summed(Parts(6, src, dst, header + options + data), 16)


def udp(src: bytes, dst: bytes, sport: int, dport: int, data: bytes = b"", *, with_checksum: bool = True) -> Parts:
    parts = Parts(17, src, dst, struct.pack("!HHHH", sport, dport, 8 + len(data), 0) + data)
    return summed(parts, 6) if with_checksum else parts


def icmp(src: bytes, dst: bytes, kind: int, code: int, identifier: int, sequence: int, data: bytes = b"") -> Parts:
    parts = Parts(
        1 if len(src) == 4 else 58, src, dst, struct.pack("!BBHHH", kind, code, 0, identifier, sequence) + data
    )
    return summed(parts, 2)


def summed(parts: Parts, at: int) -> Parts:
    covered = b"" if parts.protocol == 1 else pseudo(parts)
    value = checksum(covered + parts.payload)
    if parts.protocol == 17 and value == 0:
        value = 0xFFFF
    payload = parts.payload[:at] + struct.pack("!H", value) + parts.payload[at + 2 :]
    return Parts(parts.protocol, parts.src, parts.dst, payload)


def frame(
    parts: Parts,
    *,
    ttl: int = 64,
    tos: int = 0,
    identification: int = 0,
    fragment: int = 0x4000,
    options: bytes = b"",
    extensions: tuple[int, ...] = (),
    tags: tuple[int, ...] = (),
    padding: bytes = b"",
) -> bytes:
    """``fragment``: flags and offset of IPv4; ``extensions``: types of IPv6 extension headers, 44 makes a fragment."""
    vlan = b"".join(struct.pack("!HH", tag, 7) for tag in tags)
    if parts.version == 4:
        length = 20 + len(options)
        header = struct.pack(
            "!BBHHHBBH",
            0x40 | length // 4,
            tos,
            length + len(parts.payload),
            identification,
            fragment,
            ttl,
            parts.protocol,
            0,
        )
        header += parts.src + parts.dst + options
        header = header[:10] + struct.pack("!H", checksum(header)) + header[12:]
        return ETHERNET + vlan + b"\x08\x00" + header + parts.payload + padding
    chain = [*extensions, parts.protocol]
    body = b"".join(struct.pack("!BB6x", following, 0) for following in chain[1:]) + parts.payload
    header = struct.pack("!IHBB", 6 << 28 | tos << 20 | identification, len(body), chain[0], ttl)
    return ETHERNET + vlan + b"\x86\xdd" + header + parts.src + parts.dst + body + padding


def without_length(data: bytes) -> bytes:
    """The frame with an IPv4 total length of zero, as a capture has it that is older than the length."""
    if data[12:14] != b"\x08\x00" or len(data) < 34:
        return data
    changed = bytearray(data)
    changed[16:18] = changed[24:26] = b"\0\0"
    changed[24:26] = struct.pack("!H", checksum(bytes(changed[14 : 14 + max(20, (changed[14] & 15) * 4)])))
    return bytes(changed)


def parts_of(data: bytes) -> Parts | None:
    """What an untagged frame carries; None for anything odd."""
    ip = data[14:]
    if data[12:14] == b"\x08\x00" and len(ip) >= 20:
        return Parts(ip[9], ip[12:16], ip[16:20], ip[(ip[0] & 15) * 4 :])
    if data[12:14] != b"\x86\xdd" or len(ip) < 40:
        return None
    protocol, at = ip[6], 40
    while protocol in EXTENSION_HEADERS and at + 8 <= len(ip):
        protocol, at = ip[at], at + 8 * (ip[at + 1] + 1)
    return Parts(protocol, ip[8:24], ip[24:40], ip[at:])


def mutated(random: Random, data: bytes) -> bytes:
    """The frame with something wrong: cut, longer, or some bytes changed; half of the time with the IPv4 header
    checksum made right again, so that the damage gets past it."""
    changed = bytearray(data)
    match random.randrange(4):
        case 0:
            return data[: random.randrange(len(data) + 1)]
        case 1:
            changed += random.randbytes(random.randrange(1, 20))
        case _:
            for _ in range(random.randrange(1, 4)):
                at = random.randrange(12, min(len(data), 80)) if len(data) > 12 else 0
                changed[at : at + 1] = bytes([random.choice((0, 1, 0x45, 0x46, 0x60, 0xFF, random.randrange(256)))])
    if random.random() < 0.5 and len(changed) >= 34 and changed[12:14] == b"\x08\x00":
        length = max(20, (changed[14] & 15) * 4)
        changed[24:26] = b"\0\0"
        changed[24:26] = struct.pack("!H", checksum(bytes(changed[14 : 14 + length])))
    return bytes(changed)
