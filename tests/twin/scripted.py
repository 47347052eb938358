"""An engine beside another that says something else when it is told to, as the twin: for tests of explanations."""

from __future__ import annotations

import struct
from collections import deque
from collections.abc import Callable
from typing import cast

from edge.model import EdgeConfig, Options
from edge.runtime import Edge
from tests.model.frames import ETHERNET
from tests.support import edge_config, network, rule, uplink
from tests.twin.compare import Difference, Pair
from tests.twin.places import Arrival
from tests.twin.twin import Twin

FAR, SERVER, OTHER = bytes((198, 51, 100, 9)), bytes((10, 20, 0, 10)), bytes((10, 30, 0, 10))
FAR6 = bytes.fromhex("20010db8009900000000000000000001")
SERVER6 = bytes.fromhex("20010db8002000000000000000000010")

Left = list[tuple[str, bytes]]
"""Packets, each with the port that it left by."""
Say = Callable[[Left], Left]


def routed(options: Options | None = None) -> EdgeConfig:
    """Two distributed networks and the world, without NAT, everything allowed."""
    return edge_config(
        uplinks=[uplink("INTERNET", "203.0.113.1/24 203.0.113.10", "2001:db8:ff::1/64 2001:db8:ff::10")],
        networks=[network("LAN", "10.20.0.1/24", "2001:db8:20::1/64"), network("LAB", "10.30.0.1/24")],
        firewall=[rule("any")],
        options=options or Options(tcp_strict=False),
    )


class Scripted:
    """An engine in the place of the twin; what it would say of the next packets goes through ``says`` first."""

    def __init__(self, config: EdgeConfig) -> None:
        self.edge = Edge(config)
        self.says: deque[Say] = deque()

    def process(self, port: str, ip: bytes) -> Left:
        """Like the twin's."""
        kind = 0x0800 if ip[0] >> 4 == 4 else 0x86DD
        outcome = self.edge.process(port, ETHERNET + struct.pack("!H", kind) + ip, 0)
        found = [(output.port, data[14:]) for output in outcome.outputs for data in output.frames]
        return self.says.popleft()(found) if self.says else found


class Bench:
    """A pair of which one side is scripted."""

    def __init__(self, config: EdgeConfig) -> None:
        self.twin = Scripted(config)
        self.pair = Pair(config, cast(Twin, self.twin))

    def agrees(self, port: str, data: bytes) -> None:
        """A packet that both treat alike."""
        assert self.pair.feed(Arrival(port, data, 0))[1] is None

    def difference(self, event: Arrival, *says: Say) -> Difference:
        """What the two differ in if the twin says this of the pieces."""
        self.twin.says.extend(says)
        difference = self.pair.feed(event)[1]
        assert difference is not None
        assert not self.twin.says
        return difference


def nothing(_: Left) -> Left:
    """It drops the packet."""
    return []


def as_it_is(sent: Left) -> Left:
    """It says what the engine would."""
    return sent


def says(port: str, *packets: bytes) -> Say:
    """It sends these."""
    return lambda _: [(port, packet) for packet in packets]


def older(data: bytes) -> bytes:
    """The IP packet of a frame with ``ttl=64``, one hop further."""
    ip = bytearray(data[14:])
    if ip[0] >> 4 == 6:
        ip[7] = 63
        return bytes(ip)
    ip[8], total = 63, int.from_bytes(ip[10:12], "big") + 0x0100
    ip[10:12] = struct.pack("!H", (total & 0xFFFF) + (total >> 16))
    return bytes(ip)
