"""Fragments, whole datagrams cut into them, and an edge that lets everything pass."""

from __future__ import annotations

import struct
from ipaddress import ip_address

from edge.model import EdgeConfig, Options
from edge.reference_wire import internet_checksum
from edge.verdicts import Outcome, Output
from tests.reference_bench import Bench, why
from tests.support import default_rule, edge_config, network, uplink

LAN = "10.20.0.10"
FAR = "198.51.100.53"
LAN6, FAR6 = "2001:db8:20::10", "2001:db8:99::1"

HELD = ("HELD", "FRAGMENT_HELD")
ERROR = ("DROP", "FRAGMENT_ERROR")
LIMIT = ("DROP", "FRAGMENT_LIMIT")
ALLOW = ("ALLOW", "FW_DEFAULT")


def open_edge(**options: object) -> EdgeConfig:
    """One uplink, one network, everything allowed, no NAT."""
    return edge_config(
        uplinks=[uplink("INTERNET", "203.0.113.1/24 203.0.113.10-203.0.113.11", "2001:db8:ff::1/64 2001:db8:ff::10")],
        networks=[network("LAN", "10.20.0.1/24", "2001:db8:20::1/64")],
        firewall=[default_rule("ALLOW")],
        options=Options(**options),  # type: ignore[arg-type]
    )


def ipv4(
    data: bytes,
    offset: int,
    *,
    more: bool,
    ident: int = 7,
    protocol: int = 17,
    flags: int = 0,
    ttl: int = 64,
    options: bytes = b"",
    src: str = LAN,
    dst: str = FAR,
) -> bytes:
    """A fragment in its frame."""
    word = flags | more << 13 | offset // 8
    length = 20 + len(options)
    head = struct.pack("!BBHHHBBH", 0x40 | length // 4, 0, length + len(data), ident, word, ttl, protocol, 0)
    head += ip_address(src).packed + ip_address(dst).packed + options
    return bytes(12) + b"\x08\0" + head[:10] + struct.pack("!H", internet_checksum(head)) + head[12:] + data


def ipv6(
    data: bytes,
    offset: int,
    *,
    more: bool,
    ident: int = 7,
    following: int = 17,
    reserved: int = 0,
    before: bytes = b"",
    first: int = 44,
    src: str = LAN6,
    dst: str = FAR6,
) -> bytes:
    """Likewise; ``before`` are extension headers, the first of which is of type ``first``."""
    body = before + struct.pack("!BBHI", following, 0, offset | more | reserved, ident) + data
    addresses = ip_address(src).packed + ip_address(dst).packed
    return bytes(12) + b"\x86\xdd" + struct.pack("!IHBB", 6 << 28, len(body), first, 64) + addresses + body


def udp(size: int) -> bytes:
    """A UDP datagram of so many bytes in all, without a checksum."""
    return struct.pack("!HHHH", 4000, 53, size, 0) + bytes(i % 251 for i in range(size - 8))


def cut(data: bytes, *starts: int, make: object = ipv4, **how: object) -> list[bytes]:
    """Fragments that begin at 0 and at each start."""
    return [
        make(data[start:end], start, more=end < len(data), **how)  # type: ignore[operator]
        for start, end in zip((0, *starts), (*starts, len(data)), strict=True)
    ]


def told(bench: Bench, frames: list[bytes], port: str = "LAN") -> list[tuple[str, str]]:
    """Verdict and reason of each frame that enters by a port, one after the other."""
    return [why(bench.frame(port, frame)) for frame in frames]


def payload(frame: bytes) -> bytes:
    """What a frame without options or extension headers carries."""
    return frame[34:] if frame[12] == 8 else frame[54:]


def only(outcome: Outcome) -> Output:
    """The one output there is."""
    (output,) = outcome.outputs
    return output


def sizes(output: Output) -> list[int]:
    """Bytes of IP of each frame that an output leaves in."""
    return [len(frame) - 14 for frame in output.frames]
