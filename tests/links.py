"""What tests of the link layer share: a program from a configuration, frames in a few words."""

from __future__ import annotations

import struct
from ipaddress import IPv4Address, IPv6Address, ip_address

from edge.compiler import compile_tables
from edge.model import EdgeConfig
from edge.packets.build import build_frame
from edge.packets.text import parse_packet
from edge.routing.neighbour_frames import Arp, NdType, arp_frame, ones_complement_sum
from native.neighbour import LinkCount, NeighbourState, NeighbourTable, OutKind
from native.program import Program

SECOND = 1_000_000_000
Frame = tuple[int, int, bytes, bytes]

EDGE_MAC = bytes.fromhex("02e000000001")
HOST_MAC = bytes.fromhex("0250de000001")
OTHER_MAC = bytes.fromhex("0250de000002")
BROADCAST = b"\xff" * 6


def program_of(config: EdgeConfig) -> Program:
    """A configuration as native tables."""
    tables = compile_tables(config)
    slots = {rule: number for number, rule in enumerate(tables.rule_ids())}
    usage = {address: number for number, address in enumerate(sorted(tables.pool_addresses()))}
    return Program(tables, slots, usage, 1)


def request(sender: str, target: str, *, mac: bytes = HOST_MAC, to: bytes = BROADCAST) -> bytes:
    """An ARP request."""
    return arp_frame(mac, to, Arp(False, mac, IPv4Address(sender), bytes(6), IPv4Address(target)))


def reply(sender: str, target: str, *, mac: bytes = HOST_MAC, to: bytes = EDGE_MAC) -> bytes:
    """An ARP reply."""
    return arp_frame(mac, to, Arp(True, mac, IPv4Address(sender), to, IPv4Address(target)))


def icmp6(
    source: str, destination: str, message: bytes, *, mac: bytes = HOST_MAC, to: bytes = EDGE_MAC, hops: int = 255
) -> bytes:
    """An ICMPv6 message, whose checksum is set, in an Ethernet frame."""
    addresses = ip_address(source).packed + ip_address(destination).packed
    message = message[:2] + bytes(2) + message[4:]
    total = ones_complement_sum(addresses + struct.pack(">II", len(message), 58) + message)
    message = message[:2] + struct.pack(">H", total ^ 0xFFFF) + message[4:]
    return to + mac + b"\x86\xdd" + struct.pack(">IHBB", 6 << 28, len(message), 58, hops) + addresses + message


def solicitation(source: str, target: str, *, mac: bytes = HOST_MAC, option: bytes | None = None) -> bytes:
    """A neighbour solicitation to the group of whoever has the target; ``option`` '' leaves the address out."""
    address = IPv6Address(target)
    group = IPv6Address(int(IPv6Address("ff02::1:ff00:0")) | int(address) & 0xFFFFFF)
    value = bytes([1, 1]) + mac if option is None else option
    body = bytes([NdType.NEIGHBOR_SOLICITATION]) + bytes(7) + address.packed + value
    return icmp6(source, str(group), body, mac=mac, to=b"\x33\x33" + group.packed[-4:])


def advertisement(
    target: str,
    destination: str,
    *,
    mac: bytes = HOST_MAC,
    flags: int = 0x60,
    option: bytes | None = None,
    to: bytes = EDGE_MAC,
) -> bytes:
    """A neighbour advertisement from the target itself."""
    value = bytes([2, 1]) + mac if option is None else option
    body = bytes([NdType.NEIGHBOR_ADVERTISEMENT, 0, 0, 0, flags, 0, 0, 0]) + ip_address(target).packed + value
    return icmp6(target, destination, body, mac=mac, to=to)


def packet(text: str) -> bytes:
    """A frame as the pipeline makes it, from packet text."""
    return build_frame(parse_packet(text))


class Bench:
    """The native link layer of one configuration, with every port up and its announcements out of the way."""

    def __init__(self, config: EdgeConfig, *, quiet: bool = True) -> None:
        self.program = program_of(config)
        self.table = NeighbourTable(1)
        self.table.reserve(self.program)
        self.now = 100 * SECOND
        self.ports = len(config.routing.uplinks) + len(config.routing.networks)
        for port in range(self.ports):
            self.table.link_up(port, EDGE_MAC, self.now)
        if quiet:
            self.wait(10 * SECOND)

    def input(self, port: int, frame: bytes) -> tuple[int, list[bytes]]:
        """The verdict, and the frames that answer, all of which leave by the same port."""
        verdict, frames = self.table.input(self.program, port, frame, self.now)
        assert all((out, kind) == (port, OutKind.OUT_SEND) for out, kind, _, _ in frames)
        return verdict, [answer for _, _, answer, _ in frames]

    def output(self, port: int, frame: bytes, offload: bytes | None = None) -> tuple[int, bytes, list[Frame]]:
        """The verdict, the frame as it leaves, frames besides."""
        return self.table.output(self.program, port, frame, self.now, offload)

    def wait(self, time: int, step: int = SECOND // 10) -> list[Frame]:
        """Let time go by: everything that is sent meanwhile."""
        sent = []
        for _ in range(time // step):
            self.now += step
            sent += self.table.tick(self.program, self.now)
        return sent

    def states(self, port: int) -> dict[str, str]:
        """States of a port's neighbours by address."""
        return {
            str(address_of(family, number)): NeighbourState(state).name.removeprefix("N_")
            for there, family, number, _, state, _ in self.table.neighbours(self.now)
            if there == port
        }

    def count(self, port: int, what: LinkCount) -> int:
        """One counter."""
        return self.table.counts(port)[what]


def address_of(family: int, number: int) -> IPv4Address | IPv6Address:
    """An address from the table's numbers."""
    return IPv4Address(number) if family == 4 else IPv6Address(number)
