"""Three captures of one router → one pcapng in which every packet stands once, as the edge would first meet it.

``tools/record_example.py`` says what is kept and why.  Reads what tcpdump writes (pcap, nanoseconds, Ethernet, this
machine's byte order); writes pcapng (draft-ietf-opsawg-pcapng) with one named interface per leg.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from pathlib import Path

LEGS = ("up0", "office0", "dmz0")
OFFICE = (ip_network("10.20.0.0/24"), ip_network("2001:db8:20::/64"))
DMZ = (ip_network("10.20.10.0/24"), ip_network("2001:db8:21::/64"))
OURS = (*OFFICE, *DMZ, ip_network("203.0.113.0/24"), ip_network("2001:db8:0:ff::/64"))
ROUTER = {
    ip_address(text)
    for text in ("203.0.113.10", "2001:db8:0:ff::10", "10.20.0.1", "2001:db8:20::1", "10.20.10.1", "2001:db8:21::1")
}
PBX_INSIDE, PBX_OUTSIDE = ip_address("10.20.10.40"), ip_address("203.0.113.15")
DISCOVERY = {*range(130, 138), 143}  # ICMPv6: multicast listeners, routers, neighbours, redirects

Address = IPv4Address | IPv6Address
Endpoint = tuple[Address, int]


@dataclass(frozen=True, slots=True)
class Packet:
    """What decides whether a packet is kept.  Source and target of an ICMP error are those of the packet that it
    quotes, the other way round, so that it belongs to that flow; ``sender`` is who sent the error itself."""

    protocol: int
    source: Endpoint
    target: Endpoint
    opens: bool  # TCP: SYN without ACK
    sender: Address


def parse(frame: bytes) -> Packet | None:
    """Read an Ethernet frame; None for what is not IP and for discovery."""
    return parse_ip(frame[14:]) if frame[12:14] in (b"\x08\x00", b"\x86\xdd") else None


def parse_ip(data: bytes) -> Packet | None:
    """Read an IP packet without extension headers; None for discovery (the part of it with such headers included)."""
    source: Address
    target: Address
    if data[0] >> 4 == 4:
        protocol, body = data[9], data[(data[0] & 15) * 4 :]
        source, target = IPv4Address(data[12:16]), IPv4Address(data[16:20])
    else:
        protocol, body = data[6], data[40:]
        source, target = IPv6Address(data[8:24]), IPv6Address(data[24:40])
    if protocol in (6, 17):
        sport, dport = struct.unpack_from("!HH", body)
        opens = protocol == 6 and body[13] & 0x12 == 0x02
        return Packet(protocol, (source, sport), (target, dport), opens, source)
    if protocol not in (1, 58) or (protocol == 58 and body[0] in DISCOVERY):
        return None
    if body[0] in ((3, 11) if protocol == 1 else (1, 2, 3, 4)):
        quoted = parse_ip(body[8:])
        return Packet(quoted.protocol, quoted.target, quoted.source, False, source) if quoted else None
    identifier = int.from_bytes(body[4:6], "big")
    return Packet(protocol, (source, identifier), (target, identifier), False, source)


class Leg:
    """One interface of the router: knows which flows began on its side."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.began_here: dict[tuple[int, frozenset[Endpoint]], bool] = {}

    def behind(self, address: Address) -> bool:
        """True when ``address`` lives on this side of the router."""
        if self.name == "up0":
            return not any(address in network for network in OURS)
        return any(address in network for network in (OFFICE if self.name == "office0" else DMZ))

    def keeps(self, packet: Packet) -> bool:
        """True when this is the leg on which the edge shall meet the packet."""
        addresses = {packet.source[0], packet.target[0]}
        if addresses & {PBX_INSIDE, PBX_OUTSIDE}:
            return packet.sender == PBX_INSIDE if self.name == "dmz0" else packet.target[0] == PBX_OUTSIDE
        flow = (packet.protocol, frozenset((packet.source, packet.target)))
        if flow not in self.began_here:
            initiator = packet.source
            if packet.protocol == 6 and not packet.opens:  # met in the middle: the server has the lower port
                initiator = max(packet.source, packet.target, key=lambda end: end[1])
            self.began_here[flow] = self.behind(initiator[0])
        return self.began_here[flow] and packet.sender not in ROUTER


def read_pcap(path: Path) -> Iterator[tuple[int, bytes]]:
    """Every ``(time in ns, frame)``.  Raises ValueError for a file that is not tcpdump's with nanoseconds."""
    data = path.read_bytes()
    if data[:4] != struct.pack("=I", 0xA1B23C4D):
        raise ValueError(f"{path} is not a pcap file with nanoseconds in this machine's byte order")
    offset = 24
    while offset < len(data):
        seconds, nanoseconds, kept, _ = struct.unpack_from("=IIII", data, offset)
        offset += 16
        yield seconds * 1_000_000_000 + nanoseconds, data[offset : offset + kept]
        offset += kept


def option(code: int, value: bytes) -> bytes:
    """One pcapng option, padded to 32 bits."""
    return struct.pack("<HH", code, len(value)) + value + bytes(-len(value) % 4)


def block(kind: int, body: bytes) -> bytes:
    """One pcapng block around a body that is already padded."""
    length = struct.pack("<I", len(body) + 12)
    return struct.pack("<I", kind) + length + body + length


def merge(captures: Mapping[str, Path], output: Path) -> int:
    """Write the packets that are kept, in order of time, and return how many they are."""
    kept: list[tuple[int, int, bytes]] = []
    for number, (name, path) in enumerate(captures.items()):
        leg = Leg(name)
        for time_ns, frame in read_pcap(path):
            packet = parse(frame)
            if packet is not None and leg.keeps(packet):
                kept.append((time_ns, number, frame))
    kept.sort(key=lambda item: item[:2])
    section = struct.pack("<IHHq", 0x1A2B3C4D, 1, 0, -1) + option(4, b"tools/record_example.py") + option(0, b"")
    blocks = [block(0x0A0D0D0A, section)]
    for name in captures:
        options = option(2, name.encode()) + option(9, bytes([9])) + option(0, b"")
        blocks.append(block(1, struct.pack("<HHI", 1, 0, 262144) + options))
    for time_ns, number, frame in kept:
        header = struct.pack("<IIIII", number, time_ns >> 32, time_ns & 0xFFFFFFFF, len(frame), len(frame))
        blocks.append(block(6, header + frame + bytes(-len(frame) % 4)))
    output.write_bytes(b"".join(blocks))
    return len(kept)
