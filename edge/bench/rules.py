"""Rule sets for classifiers: those of ClassBench where they are, else drawn from a profile; and packets for them."""

from __future__ import annotations

import gzip
import os
import random
import re
import struct
from array import array
from collections.abc import Sequence
from ipaddress import IPv4Address
from pathlib import Path
from typing import NamedTuple

from edge.addresses import AddressRange, PortRange
from edge.flat import ANY_SET, FlatRules

PORTS = (0, 65_535)
PROTOCOLS = (6, 17)
ANY_PROTOCOL = (1, 6, 17, 47)
"""What packets for rules of any protocol are drawn from."""


class BoxRule(NamedTuple):
    """A rule of five fields; addresses are integers without host bits, ports from first to last, both included."""

    source: int
    source_length: int
    destination: int
    destination_length: int
    source_ports: tuple[int, int] = PORTS
    destination_ports: tuple[int, int] = PORTS
    protocol: int | None = None

    def matches(self, packet: Packet) -> bool:
        """Does it?"""
        return (
            (packet.source ^ self.source) >> (32 - self.source_length) == 0
            and (packet.destination ^ self.destination) >> (32 - self.destination_length) == 0
            and self.protocol in (None, packet.protocol)
            and self.source_ports[0] <= packet.source_port <= self.source_ports[1]
            and self.destination_ports[0] <= packet.destination_port <= self.destination_ports[1]
        )


class Packet(NamedTuple):
    """What a classifier sees of an IPv4 packet."""

    source: int
    destination: int
    protocol: int
    source_port: int
    destination_port: int


# --- where rules come from ------------------------------------------------------------------------------------------


def data_folder() -> Path:
    """The folder of public data: ``T1EDGE_DATA``, else ``../shared/data`` beside this project; it may not be there."""
    root = Path(__file__).resolve().parents[2]
    return (root / os.environ.get("T1EDGE_DATA", "../shared/data")).resolve()


_LINE = re.compile(
    r"@([\d.]+)/(\d+)\s+([\d.]+)/(\d+)\s+(\d+) : (\d+)\s+(\d+) : (\d+)\s+0x([0-9A-Fa-f]+)/0x([0-9A-Fa-f]+)"
)


def read_classbench(path: Path) -> list[BoxRule]:
    """The rules of a compressed file of ClassBench, in order; raises ValueError for a line that is none."""
    found = []
    with gzip.open(path, "rt", encoding="ascii") as lines:
        for line in lines:
            match = _LINE.match(line)
            if match is None:
                raise ValueError(f"{path.name}: no rule: {line!r}")
            source, destination = (int(IPv4Address(text)) for text in match.group(1, 3))
            *numbers, protocol, mask = (
                *map(int, match.group(2, 4, 5, 6, 7, 8)),
                *(int(x, 16) for x in match.group(9, 10)),
            )
            source_length, destination_length, first, last, low, high = numbers
            found.append(
                BoxRule(
                    cut(source, source_length),
                    source_length,
                    cut(destination, destination_length),
                    destination_length,
                    (first, last),
                    (low, high),
                    protocol if mask else None,
                )
            )
    return found


def cut(address: int, length: int) -> int:
    """The first ``length`` bits of an IPv4 address, the others 0."""
    return address >> (32 - length) << (32 - length)


# --- what they are turned into --------------------------------------------------------------------------------------


def flat_rules(rules: Sequence[BoxRule]) -> FlatRules:
    """Columns for the native classifier; a rule's number is its place."""
    flat = FlatRules()

    def prefix(address: int, length: int) -> int:
        if length == 0:
            return ANY_SET
        item = AddressRange(IPv4Address(address), IPv4Address(address | (1 << (32 - length)) - 1))
        return flat.address_set((address, length), [(item,)])

    for number, rule in enumerate(rules):
        services = ANY_SET
        if rule.protocol is not None:
            services = flat.services_of(
                ((rule.protocol, -1, -1, PortRange(*rule.source_ports), PortRange(*rule.destination_ports)),)
            )
        flat.append(
            number,
            source=prefix(rule.source, rule.source_length),
            destination=prefix(rule.destination, rule.destination_length),
            services=services,
            families=1,
        )
    return flat


def draw_packets(rules: Sequence[BoxRule], count: int, generator: random.Random) -> tuple[array[int], list[int]]:
    """Packets as native keys, five numbers each, and the rule in whose box each lies.

    Rules are drawn uniformly, points uniformly in their boxes; protocols without ports have none.
    """
    keys = array("Q")
    drawn = []
    bits, below, choice = generator.getrandbits, generator.randrange, generator.choice
    for _ in range(count):
        number = below(len(rules))
        rule = rules[number]
        protocol = choice(ANY_PROTOCOL) if rule.protocol is None else rule.protocol
        meta = protocol << 24 | 4 << 16
        if protocol in PROTOCOLS:
            low, high = rule.source_ports
            meta |= (low if low == high else below(low, high + 1)) << 48
            low, high = rule.destination_ports
            meta |= (low if low == high else below(low, high + 1)) << 32
        source = rule.source | bits(32 - rule.source_length)
        keys.extend((meta, source, rule.destination | bits(32 - rule.destination_length), 0, 0))
        drawn.append(number)
    return keys, drawn


def packet_at(keys: Sequence[int], number: int) -> Packet:
    """One of the keys."""
    meta, source, destination = keys[5 * number : 5 * number + 3]
    return Packet(source, destination, meta >> 24 & 0xFF, meta >> 48, meta >> 32 & 0xFFFF)


_RECORD = struct.Struct("=III4H4B")


def packed_rules(rules: Sequence[BoxRule], numbers: Sequence[int] | None = None) -> bytes:
    """Rules as ``bench/peers/acl.c`` reads them; ``numbers`` are what a match of each is called, its place if None."""
    return b"".join(
        _RECORD.pack(
            rule.source,
            rule.destination,
            number if numbers is None else numbers[number],
            *rule.source_ports,
            *rule.destination_ports,
            rule.source_length,
            rule.destination_length,
            rule.protocol or 0,
            0 if rule.protocol is None else 0xFF,
        )
        for number, rule in enumerate(rules)
    )


def first_match(rules: Sequence[BoxRule], packet: Packet) -> int | None:
    """The place of the first rule that matches: the truth that classifiers are held to."""
    return next((number for number, rule in enumerate(rules) if rule.matches(packet)), None)


# --- what they are like ---------------------------------------------------------------------------------------------


def statistics_of(rules: Sequence[BoxRule]) -> dict[str, float]:
    """What makes a set hard: see ``docs/performance.md``."""

    def kind(ports: tuple[int, int]) -> str:
        return "any" if ports == PORTS else "one" if ports[0] == ports[1] else "range"

    masks = {
        (
            rule.source_length,
            rule.destination_length,
            kind(rule.source_ports),
            kind(rule.destination_ports),
            rule.protocol is None,
        )
        for rule in rules
    }
    return {
        "rules": len(rules),
        "lengthPairs": len({(rule.source_length, rule.destination_length) for rule in rules}),
        "masks": len(masks),
        "portRanges": len({rule.source_ports for rule in rules} | {rule.destination_ports for rule in rules}),
        "sources": len({(rule.source, rule.source_length) for rule in rules}),
        "destinations": len({(rule.destination, rule.destination_length) for rule in rules}),
        "wideShare": sum(rule.source_length <= 8 and rule.destination_length <= 8 for rule in rules) / len(rules),
    }
