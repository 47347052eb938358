"""Where every search starts: small inputs of each target, made by the generators of the other tests.

``python -m tests.fuzz.seeds`` writes them into ``tests/fuzz/corpus``; what a search has found stays there too.
"""

from __future__ import annotations

import bz2
import gzip
import hashlib
import struct
import sys
from collections.abc import Iterator
from pathlib import Path
from random import Random

from edge.packets import build_frame, format_frame, parse_packet
from edge.runtime import Edge
from tests.fuzz.edges import edges
from tests.fuzz.links import LinkEvent, link_story, mac, to_port
from tests.fuzz.mutate import zstd
from tests.fuzz.story import CHANGE, ECHO, FRAME, Event, written
from tests.links import advertisement, reply, request, solicitation
from tests.model.traffic import PacketEvent, Traffic
from tests.model.universe import Universe, surroundings

CORPUS = Path(__file__).with_name("corpus")
LINK_TYPES = (1, 0, 12, 101, 108, 113, 228, 229, 276, 105)
NAMES = ("edge.yaml", "cloudapi_bundle.json")
PACKETS = (
    "tcp 10.0.0.2:1024 > 203.0.113.11:80 SA seq=7 ack=8 win=512 len=10 ttl=3 in=LAN wait=0.5",
    "udp [2001:db8:a::2]:53 > [2001:db8:ff::1]:53 len=1",
    "icmp 10.0.0.2 > 192.0.2.1 echo-request id=1 seq=2 len=56",
    "icmp6 2001:db8::1 > 2001:db8::2 packet-too-big mtu=1280",
    'icmp 10.0.0.2 > 192.0.2.1 port-unreachable of="udp 192.0.2.1:53 > 10.0.0.2:53 len=9" ttl=1',
    "icmp 10.0.0.2 > 192.0.2.1 type=40 code=3",
    "proto=132 10.0.0.2 > 192.0.2.1 len=20",
    "esp 10.0.0.2 > 192.0.2.1",
)


def traffic(random: Random, number: int, packets: int) -> Iterator[tuple[str, bytes, int]]:
    """Port, frame and time of packets that one of the edges sees: conversations, answers, errors, nonsense."""
    config = edges()[number]
    around = Universe(config, *surroundings(config.routing.uplinks, config.routing.networks))
    source, edge = Traffic(random, around), Edge(config)
    while packets:
        event = source.event()
        if not isinstance(event, PacketEvent):
            source.universe = around  # another configuration would need another edge
        elif event.port in config.ports:
            packets -= 1
            yield event.port, event.frame, event.now_ns
            source.saw(event, edge.process(event.port, event.frame, event.now_ns))


def packets(random: Random) -> Iterator[bytes]:
    """Frames, each with its edge and its port: those of the notation, and traffic."""
    for place, text in enumerate(PACKETS):
        yield bytes([place % len(edges()), place % 2]) + build_frame(parse_packet(text))
    for number in range(len(edges())):
        ports = edges()[number].ports
        for port, frame, _ in traffic(random, number, 10):
            yield bytes([number, ports.index(port)]) + frame[:300]


def sequences(random: Random) -> Iterator[bytes]:
    """Stories of some packets, answers to them, and a change in the middle."""
    for number in range(len(edges())):
        ports = edges()[number].ports
        story: list[Event] = []
        before = 0
        for port, frame, now_ns in traffic(random, number, 24):
            if len(frame) < 400:
                story.append(Event(FRAME, ports.index(port), max(0, now_ns - before), frame))
                story.append(Event(ECHO, random.randrange(16), 1000, random.randbytes(3 * random.randrange(3)), 3))
            before = max(before, now_ns)
        story.insert(len(story) // 2, Event(CHANGE, random.randrange(len(edges()))))
        yield written(number, story)


def pcap(order: str, magic: int, link: int, frames: list[bytes], *, snap: int = 65535) -> bytes:
    """A pcap file; the microsecond and nanosecond magics, and the one of long record headers."""
    data = struct.pack(f"{order}IHHiIII", magic, 2, 4, 0, 0, snap, link)
    for number, frame in enumerate(frames):
        kept = frame[:snap]
        data += struct.pack(f"{order}IIII", 1_700_000_000, number * 1000, len(kept), len(frame))
        data += bytes(8) * (magic == 0xA1B2CD34) + kept
    return data


def block(order: str, kind: int, body: bytes) -> bytes:
    """One block of pcapng."""
    body += bytes(-len(body) % 4)
    return struct.pack(f"{order}II", kind, len(body) + 12) + body + struct.pack(f"{order}I", len(body) + 12)


def pcapng(order: str, link: int, frames: list[bytes]) -> bytes:
    """A pcapng file with every kind of packet block, options, and a block to be skipped."""
    data = block(order, 0x0A0D0D0A, struct.pack(f"{order}IHHq", 0x1A2B3C4D, 1, 0, -1))
    options = struct.pack(f"{order}HHBxxxHHqHHBxxxHH", 9, 1, 9, 14, 8, -5, 13, 1, 0, 0, 0)
    data += block(order, 1, struct.pack(f"{order}HHI", link, 0, 262144) + options)
    data += block(order, 1, struct.pack(f"{order}HHIHHBxxxHH", link, 0, 96, 9, 1, 0x94, 0, 0))
    data += block(order, 5, struct.pack(f"{order}III", 0, 0, 0))
    for number, frame in enumerate(frames):
        padded = frame + bytes(-len(frame) % 4)
        if number % 3 == 0:
            data += block(order, 3, struct.pack(f"{order}I", len(frame)) + padded)
        elif number % 3 == 1:
            head = struct.pack(f"{order}IIIII", number % 2, 0x60000, number, len(frame), len(frame))
            data += block(order, 6, head + padded + struct.pack(f"{order}HHIHH", 2, 4, 1 << 5, 0, 0))
        else:
            data += block(order, 2, struct.pack(f"{order}HHIIII", 0, 0, 0, number, len(frame), len(frame)) + padded)
    return data


def captures(random: Random) -> Iterator[bytes]:
    """Every format, byte order, link type and compression."""
    frames = [frame for _, frame, _ in traffic(random, 0, 40) if 14 < len(frame) < 200][:6]
    cooked = {0: b"\x02\0\0\0", 108: b"\0\0\0\x02", 113: bytes(14) + b"\x08\0", 276: b"\x08\0" + bytes(18), 1: b""}
    plain = []
    for place, link in enumerate(LINK_TYPES):
        inner = [cooked.get(link, b"") + (frame if link == 1 else frame[14:]) for frame in frames[:4]]
        order = "<>"[place % 2]
        magic = (0xA1B2C3D4, 0xA1B23C4D, 0xA1B2CD34)[place % 3]
        plain.append(pcap(order, magic, link, inner, snap=(65535, 60)[place % 2]))
        plain.append(pcapng(order, link, inner))
    yield from plain
    yield from (
        gzip.compress(plain[0], mtime=0),
        gzip.compress(plain[1], mtime=0) + gzip.compress(b"", mtime=0) + bytes(9),
    )
    yield from (zstd.compress(plain[1]), b"\x50\x2a\x4d\x18\4\0\0\0abcd" + zstd.compress(plain[0]), bz2.compress(b""))


def documents(_random: Random) -> Iterator[bytes]:
    """The documents that other tests read, whole and without most of their contents."""
    data = Path(__file__).parent.parent / "data"
    for name in NAMES:
        text = (data / name).read_bytes()
        yield bytes([name.endswith(".json")]) + text
        yield b"\2" + text[: len(text) // 3]
    yield b"\0edgeGateway: {name: T1}\n"
    yield b"\1" + b'{"edgeGateway": {"name": "T1"}, "natRules": [{"type": "DNAT"}], "options": {"mtu": 1400}}'
    yield b"\0a: &x [1, *x]\nb: !!set {? c}\n? d\n: |\n  e\n...\n---\nf: 0x1F\n"


def packet_text(random: Random) -> Iterator[bytes]:
    """The notation, all of it."""
    for text in PACKETS:
        yield text.encode()
        yield format_frame(build_frame(parse_packet(text)), frozenset({"ttl", "seq"})).encode()
    yield from (format_frame(frame).encode() for _, frame, _ in traffic(random, 1, 8))


def hosts(number: int) -> Iterator[tuple[int, bytes]]:
    """Ports of an edge, each with what hosts on its link say to it: of ARP and of neighbour discovery."""
    routing = edges()[number].routing
    for port, link in enumerate((*routing.uplinks, *routing.networks)):
        for subnet in link.subnets:
            gateway = getattr(subnet, "primary", None) or subnet.gateway
            host = gateway + 1
            if gateway.version == 4:
                yield port, request(str(host), str(gateway))
                yield port, reply(str(host), str(gateway), to=mac(port))
                yield port, request(str(host), str(host))
            else:
                yield port, solicitation(str(host), str(gateway))
                yield port, advertisement(str(host), str(gateway), to=mac(port))


def neighbours(random: Random) -> Iterator[bytes]:
    """Who is where, packets for them, time, and a port that comes back."""
    for number in range(len(edges())):
        ports = edges()[number].ports
        story = [LinkEvent(0, port, 10, frame) for port, frame in hosts(number)]
        for port, frame, _ in traffic(random, number, 8):
            if len(frame) < 200 and frame[12:14] in (b"\x08\0", b"\x86\xdd"):
                story.append(LinkEvent(1, ports.index(port), random.choice((0, 100, 2000)), frame))
        story.insert(len(story) // 2, LinkEvent(3, 0, 0, b""))
        story.append(LinkEvent(3, 0, 0, b""))
        yield link_story(number, [*story, LinkEvent(2, 0, 40_000, b"")])


def large(kind: str, payload: int) -> bytes:
    """A packet with so much of a payload."""
    ends = "[2001:db8:a::2]:1030 > [2001:db8:9::9]:80" if "6" in kind else "10.0.0.2:1030 > 192.0.2.1:80"
    flags = " A seq=7 ack=8" if kind.startswith("tcp") else ""
    return build_frame(parse_packet(f"{kind[:3]} {ends}{flags} len={payload}"))


def vnet_header(kind: str, size: int) -> bytes:
    """That of a packet to be cut."""
    ip = 40 if "6" in kind else 20
    field, tcp = (16, 20) if kind.startswith("tcp") else (6, 8)
    gso = {"tcp": 1, "tcp6": 4, "udp": 5, "udp6": 5}[kind]
    return struct.pack("=BBHHHH", 1, gso, 14 + ip + tcp, size, 14 + ip, field)


def vnet(_random: Random) -> Iterator[bytes]:
    """Large packets of each kind, and small ones without a checksum."""
    for kind in ("tcp", "tcp6", "udp", "udp6"):
        for payload, size in ((600, 200), (601, 600), (1, 1), (0, 1400)):
            yield vnet_header(kind, size) + large(kind, payload)
        yield vnet_header(kind, 0)[:1] + b"\0" + vnet_header(kind, 0)[2:] + large(kind, 30)


def forwarding(random: Random) -> Iterator[bytes]:
    """Traffic between hosts that are known to the link layer, some of it to be cut, and time between."""
    for number in range(len(edges())):
        ports = edges()[number].ports
        story = [LinkEvent(0, port, 0, frame) for port, frame in hosts(number)]
        for port, frame, _ in traffic(random, number, 14):
            if len(frame) < 250:
                at = ports.index(port)
                story.append(LinkEvent(0, at, 0, to_port(at, frame)))
                story.append(LinkEvent(1, 0, random.choice((0, 1, 500)), b""))
        if number % 2 == 0:
            kind = random.choice(("tcp", "udp"))
            port = ports.index("LAN")
            story.append(LinkEvent(2, port, 0, vnet_header(kind, 100) + to_port(port, large(kind, 350))))
        yield link_story(number, story)


SEEDS = {
    "neighbours": neighbours,
    "vnet": vnet,
    "forwarding": forwarding,
    "packets": packets,
    "sequences": sequences,
    "documents": documents,
    "captures": captures,
    "packet_text": packet_text,
}


def main() -> None:
    """Writes what is not there yet."""
    for target, make in SEEDS.items():
        folder = CORPUS / target
        folder.mkdir(parents=True, exist_ok=True)
        for data in make(Random(f"seeds of {target}")):
            (folder / hashlib.sha256(data).hexdigest()[:16]).write_bytes(data)


if __name__ == "__main__":
    sys.exit(main())
