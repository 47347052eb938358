"""Headers of a frame, or of the packet that an ICMP error quotes, as far as they can be read."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address

from edge.addresses import IPAddress
from edge.packets.names import ICMP, ICMP6, TCP, UDP

_TAGS = (0x8100, 0x88A8)
_EXTENSION_HEADERS = (0, 43, 60)
_FRAGMENT_HEADER = 44


@dataclass(frozen=True, slots=True)
class Part:
    """Which bytes of a datagram a fragment brings: from ``first`` on; ``more`` says that others follow."""

    identification: int
    first: int
    more: bool


@dataclass(frozen=True, slots=True)
class Headers:
    """An IP packet taken apart.  ``rest`` is what follows the IP headers, perhaps cut short; ``length`` is how much
    that would be by the IP header; of a fragment, what it brings.  ``part`` says which bytes those are, and is None for
    whole packets."""

    protocol: int
    src: IPAddress
    dst: IPAddress
    ttl: int
    rest: bytes
    length: int
    part: Part | None = None
    identification: int = 0  # of IPv4

    @property
    def version(self) -> int:
        """4 or 6."""
        return self.src.version

    @property
    def is_icmp(self) -> bool:
        """ICMP of its own IP version."""
        return self.protocol == (ICMP if self.version == 4 else ICMP6)

    @property
    def header_complete(self) -> bool:
        """True when enough is there to show more than a number of bytes: ports, or type, code and what follows."""
        if self.protocol == TCP and (self.length < 20 or (len(self.rest) > 12 and self.rest[12] >> 4 < 5)):
            return False  # a header that is, or says it is, shorter than one can be; a quote is cut, its length is not
        needed = 8 if self.is_icmp or self.protocol in (TCP, UDP) else 0
        return self.part is None and min(len(self.rest), self.length) >= needed


def ethertype_and_offset(frame: bytes) -> tuple[int, int]:
    """What a frame carries and where that begins, behind any VLAN tags; ethertype 0 for a frame cut short."""
    at = 14
    while len(frame) >= at:
        ethertype = int.from_bytes(frame[at - 2 : at], "big")
        if ethertype not in _TAGS:
            return ethertype, at
        at += 4
    return 0, len(frame)


def decode_frame(frame: bytes) -> Headers | None:
    """The headers of an Ethernet frame; None when it carries no IP packet that can be shown."""
    ethertype, at = ethertype_and_offset(frame)
    return decode_ip(frame[at:]) if ethertype in (0x0800, 0x86DD) else None


def decode_ip(data: bytes) -> Headers | None:
    """The headers of an IP packet; None when they cannot be read."""
    version = data[0] >> 4 if data else 0
    if version == 4 and len(data) >= 20:
        return _decode_ipv4(data)
    return _decode_ipv6(data) if version == 6 and len(data) >= 40 else None


def _decode_ipv4(data: bytes) -> Headers | None:
    header = (data[0] & 15) * 4
    total, identification, flags = struct.unpack_from("!HHH", data, 2)
    total = total or len(data)  # 0: a capture older than the length (segmentation offload)
    if header < 20 or total < header:
        return None
    src, dst = IPv4Address(data[12:16]), IPv4Address(data[16:20])
    part = Part(identification, (flags & 0x1FFF) * 8, bool(flags & 0x2000)) if flags & 0x3FFF else None
    return Headers(data[9], src, dst, data[8], data[header:total], total - header, part, identification)


def _decode_ipv6(data: bytes) -> Headers:
    total = 40 + int.from_bytes(data[4:6], "big")
    protocol, at, part = data[6], 40, None
    while part is None:
        if protocol == _FRAGMENT_HEADER and len(data) >= at + 8:
            offset, identification = struct.unpack_from("!HI", data, at + 2)
            if offset & 0xFFF9:  # else it says that this is all (RFC 6946)
                part = Part(identification, offset & 0xFFF8, bool(offset & 1))
            protocol, at = data[at], at + 8
        elif protocol in _EXTENSION_HEADERS and len(data) >= at + 2:
            protocol, at = data[at], at + (data[at + 1] + 1) * 8
        else:
            break
    src, dst = IPv6Address(data[8:24]), IPv6Address(data[24:40])
    return Headers(protocol, src, dst, data[7], data[at:total], max(total - at, 0), part)
