"""The native link layer does what the readable one does: verdicts, frames, the table, counters."""

from __future__ import annotations

from collections.abc import Callable
from random import Random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edge.model import EdgeConfig
from edge.routing.neighbour_machine import OutFrame
from edge.routing.neighbour_table import LinkCount, LinkVerdict
from edge.routing.neighbours import LinkLayer
from native.neighbour import NeighbourTable
from tests.links import (
    EDGE_MAC,
    HOST_MAC,
    OTHER_MAC,
    SECOND,
    advertisement,
    icmp6,
    packet,
    program_of,
    reply,
    request,
    solicitation,
)
from tests.support import edge_config, nat, network, static_route, uplink

MACS = (HOST_MAC, OTHER_MAC, b"\2\0\0\0\0\3", EDGE_MAC, b"\xff" * 6, bytes(6), b"\x01\x00\x5e\0\0\1")
IPV4 = (
    *("203.0.113.1", "203.0.113.10", "203.0.113.11", "203.0.113.20", "203.0.113.99", "203.0.113.255", "203.0.113.0"),
    *("198.51.100.1", "198.51.100.2", "198.51.100.3", "10.0.0.1", "10.0.0.2", "10.0.0.3", "10.0.0.7", "10.0.1.1"),
    *("10.0.1.2", "10.0.2.1", "10.0.2.2", "172.16.0.5", "172.17.0.5", "192.0.2.9", "0.0.0.0", "255.255.255.255"),
    *("224.0.0.5", "127.0.0.1"),
)
IPV6 = (
    *("2001:db8:f::1", "2001:db8:f::10", "2001:db8:f::99", "2001:db8:a::1", "2001:db8:a::2", "2001:db8:a::3"),
    *("fe80::e0:ff:fe00:1", "fe80::2", "::", "ff02::1", "ff02::2", "2001:db8:77::7", "2001:db8:99::9"),
)


NEAR4 = {
    "UP": ("203.0.113.1", "203.0.113.10", "203.0.113.20", "203.0.113.99"),
    "UP2": ("198.51.100.1", "198.51.100.2", "198.51.100.3"),
    "LAN": ("10.0.0.1", "10.0.0.2", "10.0.0.3", "172.16.0.5"),
    "SERVICE": ("10.0.1.1", "10.0.1.2", "172.16.0.5"),
    "ISOLATED": ("10.0.2.1", "10.0.2.2"),
}
NEAR6 = {
    "UP": ("2001:db8:f::1", "2001:db8:f::10", "fe80::e0:ff:fe00:1", "fe80::2"),
    "LAN": ("2001:db8:a::1", "2001:db8:a::2", "fe80::e0:ff:fe00:1", "fe80::2"),
}


def universe(random: Random) -> EdgeConfig:
    """Few addresses, of which most mean something somewhere."""
    uplinks = [uplink("UP", "203.0.113.1/24 203.0.113.10-203.0.113.11", "2001:db8:f::1/64 2001:db8:f::10")]
    if random.random() < 0.5:
        uplinks.append(uplink("UP2", "198.51.100.1/29 198.51.100.2"))
    networks = [
        network("LAN", "10.0.0.1/29", "2001:db8:a::1/64"),
        network("SERVICE", "10.0.1.1/30", kind="NON_DISTRIBUTED"),
        network("ISOLATED", "10.0.2.1/24", kind="ISOLATED"),
    ]
    routes = [
        static_route("172.16.0.0/12", "10.0.0.2"),
        static_route("172.16.0.0/16", "10.0.1.2", distance=2, name="longer"),
        static_route("172.16.0.0/16", "203.0.113.99", name="nearer"),
        static_route("2001:db8:77::/64", "2001:db8:a::2"),
    ]
    rules = [
        nat("web", "DNAT", "203.0.113.20", "10.0.0.3"),
        nat("pool", "SNAT", "203.0.113.0/28", "10.0.0.0/24", enabled=random.random() < 0.5),
        nat("not", "NO_DNAT", "203.0.113.30"),
    ]
    return edge_config(uplinks=uplinks, networks=networks, routes=random.sample(routes, 3), nat_rules=rules)


def mistake(random: Random, frame: bytes) -> bytes:
    """Now and then a frame that is not as it should be."""
    data = bytearray(frame)
    chance = random.random()
    if chance < 0.05:
        data[random.randrange(len(data))] ^= 1 << random.randrange(8)
    elif chance < 0.08:
        del data[random.randrange(10, len(data)) :]
    elif chance < 0.11:
        data[12:12] = bytes([0x81, 0, random.choice((0, 0, 0x20)), random.choice((0, 0, 7))])
    elif chance < 0.14:
        data[0:6] = random.choice(MACS)
    elif chance < 0.17:
        data += bytes(18)
    return bytes(data)


def some(random: Random, near: tuple[str, ...], far: tuple[str, ...]) -> str:
    """An address, mostly one that is near."""
    return random.choice(near if near and random.random() < 0.85 else far)


def arriving(random: Random, port: str) -> bytes:
    """A frame from a link: mostly ARP and neighbour discovery."""
    mac = random.choice(MACS if random.random() < 0.2 else MACS[:3])
    to = random.choice((EDGE_MAC, EDGE_MAC, b"\xff" * 6, HOST_MAC))
    four = [some(random, NEAR4[port], IPV4) for _ in range(2)]
    six = [some(random, NEAR6.get(port, ()), IPV6) for _ in range(2)]
    options = (None, None, b"", b"\5\1" + bytes(6), b"\1\0" + bytes(6), b"\2\1" + OTHER_MAC, b"\1\1" + OTHER_MAC)
    flags = random.choice((0, 0x20, 0x40, 0x60, 0xE0))
    make: list[Callable[[], bytes]] = [
        lambda: request(*four, mac=mac, to=to),
        lambda: reply(*four, mac=mac, to=to),
        lambda: solicitation(*six, mac=mac, option=random.choice(options)),
        lambda: advertisement(*six, mac=mac, to=to, flags=flags, option=random.choice(options)),
        lambda: icmp6(
            six[0],
            six[1],
            bytes([random.choice((128, 133, 134, 135, 137)), random.choice((0, 0, 0, 1))]) + bytes(6) + b"\1\1" + mac,
            mac=mac,
            to=to,
            hops=random.choice((255, 255, 64)),
        ),
        lambda: to + mac + packet(f"udp {four[0]}:1 > {four[1]}:2")[12:],
    ]
    return mistake(random, random.choice(make)())


def leaving(random: Random, port: str) -> bytes:
    """A frame from the pipeline."""
    if port in NEAR6 and random.random() < 0.4:
        source, destination = (some(random, NEAR6[port], IPV6) for _ in range(2))
        return packet(f"udp [{source}]:5 > [{destination}]:6")
    source, destination = random.choice(IPV4), some(random, NEAR4[port], IPV4)
    return packet(random.choice((f"udp {source}:5 > {destination}:6", f"icmp {source} > {destination} time-exceeded")))


class Pair:
    """Both link layers of one configuration, of which every word is compared."""

    def __init__(self, config: EdgeConfig) -> None:
        self.program = program_of(config)
        self.native = NeighbourTable(7)
        self.native.reserve(self.program)
        self.readable = LinkLayer(config.routing, config.nat)
        self.names = [port.name for port in (*config.routing.uplinks, *config.routing.networks)]
        self.ports = len(self.names)
        self.now = 5 * SECOND

    def up(self, port: int) -> None:
        self.native.link_up(port, EDGE_MAC, self.now)
        self.readable.up(port, EDGE_MAC, self.now)

    def down(self, port: int) -> None:
        self.native.link_down(port)
        self.readable.down(port)

    def input(self, port: int, frame: bytes) -> LinkVerdict:
        verdict, frames = self.native.input(self.program, port, frame, self.now)
        expected, sent = self.readable.input(port, frame, self.now)
        assert verdict == expected, frame.hex()
        self.same_frames(frames, sent)
        return expected

    def output(self, port: int, frame: bytes) -> LinkVerdict:
        verdict, out, frames = self.native.output(self.program, port, frame, self.now)
        expected, wanted, sent = self.readable.output(port, frame, self.now)
        assert verdict == expected, frame.hex()
        if verdict == LinkVerdict.SEND:
            assert out == wanted
        self.same_frames(frames, sent)
        return expected

    def tick(self) -> None:
        self.same_frames(self.native.tick(self.program, self.now), self.readable.tick(self.now))

    def same_frames(self, native: list[tuple[int, int, bytes, bytes]], readable: list[OutFrame]) -> None:
        assert [(port, bool(kind), frame) for port, kind, frame, _ in native] == [
            (sent.port, sent.error, sent.frame) for sent in readable
        ]

    def same_tables(self) -> None:
        assert self.native.neighbours(self.now) == self.readable.neighbours(self.now)
        for port in range(self.ports):
            counts = self.readable.table.ports[port].counts
            assert self.native.counts(port) == [counts[what] for what in LinkCount]
            states = [one.state for one in self.readable.table.of_port(port)]
            assert self.native.states(port) == [states.count(state) for state in range(6)]


def explore(random: Random, steps: int) -> Pair:
    """A walk through a universe."""
    pair = Pair(universe(random))
    for port in range(pair.ports):
        pair.up(port)
    for _ in range(steps):
        port, chance = random.randrange(pair.ports), random.random()
        if chance < 0.45:
            pair.input(port, arriving(random, pair.names[port]))
        elif chance < 0.7:
            pair.output(port, leaving(random, pair.names[port]))
        elif chance < 0.98:
            pair.now += random.choice((0, SECOND // 100, SECOND // 3, SECOND, 2 * SECOND))
            pair.tick()
        elif chance < 0.99:
            pair.down(port)
            pair.up(port)
        else:
            pair.now += random.choice((40, 700)) * SECOND
            pair.tick()
        pair.same_tables()
    return pair


@pytest.mark.parametrize("seed", range(20))
def test_native_links_are_the_readable_ones(seed: int) -> None:
    explore(Random(seed), 300)


@settings(max_examples=15, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.randoms(use_true_random=False))
def test_native_links_are_the_readable_ones_in_walks_that_shrink(random: Random) -> None:
    explore(random, 60)


def test_the_walks_come_everywhere() -> None:
    """Every counter that a small universe can reach, every state."""
    seen: dict[LinkCount, int] = dict.fromkeys(LinkCount, 0)
    for seed in range(12):
        pair = explore(Random(1000 + seed), 300)
        for port in range(pair.ports):
            for what, number in pair.readable.table.ports[port].counts.items():
                seen[what] += number
    out_of_reach = {
        *(LinkCount.LIMITED, LinkCount.STORMS, LinkCount.TABLE_FULL, LinkCount.EVICTED, LinkCount.OUTBOX_FULL),
        LinkCount.TOO_BIG,  # of devices, which these walks do not have
    }
    assert {what for what, number in seen.items() if not number} <= out_of_reach
