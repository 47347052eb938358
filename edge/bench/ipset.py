"""What a set of many addresses costs a lookup, beside a single prefix in its place."""

from __future__ import annotations

import ipaddress
import random
from array import array
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from edge.addresses import ANY_PORT_RANGE, AddressRange, PortRange
from edge.bench.classify import NO_RULE, lookups, timed_trial, trial_size
from edge.bench.machine import tick_rate
from edge.bench.measurement import LOOKUPS, SEED, BenchmarkError, Measurement, PeerMeasurement
from edge.bench.rules import data_folder
from edge.flat import ANY_SET, FlatRules

if TYPE_CHECKING:
    from native.classify import RuleTable

PACKETS = 1_000_000
PORTS = (22, 23, 25, 53, 80, 443, 3306, 3389, 8080, 8443)
"""A rule each: the same sources, a service of its own."""

PREFIX = ipaddress.IPv4Network("198.18.0.0/15")
FIRST, END = 1 << 24, 224 << 24
"""Unicast addresses, of which those outside of the set and of the prefix are drawn."""


@dataclass(frozen=True, slots=True)
class Sources:
    """What ten rules have as their source, and what packets come from."""

    name: str
    origin: str
    ranges: Sequence[AddressRange]
    draw: Callable[[random.Random], int]
    """One of its addresses."""

    contains: Callable[[int], bool]


@dataclass(slots=True)
class Lookups:
    """Ten rules with these sources, and packets of which half come from them."""

    table: RuleTable
    keys: array[int]
    expected: array[int]
    answers: array[int]

    def run(self, first: int, count: int) -> int:
        """Clocks of so many lookups."""
        return lookups(self.table, self.keys, self.answers, first, count)

    def check(self, done: int) -> None:
        """Every answer is the one that the packet was made for.  Raises BenchmarkError."""
        if self.answers[:done] != self.expected[:done]:
            raise BenchmarkError("a lookup in a set of addresses finds another rule than a set of Python does")


def beside_prefix(count: int, trials: int, packets: int = PACKETS) -> Measurement:
    """Lookups in ten rules, each with the same ``count`` addresses as its source, and by turns in ten with one prefix.

    Half of the packets come from these addresses; every answer is checked.  Raises BenchmarkError.
    """
    generator = random.Random(SEED)  # noqa: S311 - repeatable, not secret
    chosen = listed(count, generator)
    both = [_lookups_of(sources, packets, generator) for sources in (chosen, prefix())]
    sizes = [trial_size(part.run, packets, trials) for part in both]
    clocks: tuple[list[float], list[float]] = ([], [])
    for trial in range(trials):
        for part, size, found in zip(both, sizes, clocks, strict=True):
            found.append(timed_trial(part.run, trial, size, packets) / size)
    for part, size in zip(both, sizes, strict=True):
        part.check(size * trials)
    rate = tick_rate()
    of_set, of_prefix = (tuple(found) for found in clocks)
    beside = PeerMeasurement("a single prefix", tuple(rate / sample for sample in of_prefix), of_prefix)
    return Measurement(
        f"ipset_{count // 1000}k_beside_prefix",
        tuple(rate / sample for sample in of_set),
        of_set,
        unit=LOOKUPS,
        details={"origin": chosen.origin, "addresses": count, "rules": len(PORTS), "packets": packets},
        peers=(beside,),
    )


def listed(count: int, generator: random.Random) -> Sources:
    """So many addresses of a public block list where that is there, else drawn."""
    path = data_folder() / "iplists" / "ipsum_2.txt"
    found: set[int] = set()
    origin = "generated"
    if path.exists():
        lines = path.read_text(encoding="ascii").split()
        found = {int(ipaddress.IPv4Address(line)) for line in lines[:count]}
        origin = "ipsum"
    while len(found) < count:
        found.add(generator.randrange(FIRST, END))
    addresses = sorted(found)
    ranges = [AddressRange.parse(str(ipaddress.IPv4Address(address))) for address in addresses]
    return Sources("listed", origin, ranges, lambda random: random.choice(addresses), found.__contains__)


def prefix() -> Sources:
    """A network in their place."""
    first, size = int(PREFIX.network_address), PREFIX.num_addresses
    return Sources(
        "prefix",
        "generated",
        [AddressRange.parse(str(PREFIX))],
        lambda random: first + random.randrange(size),
        lambda address: first <= address < first + size,
    )


def _lookups_of(sources: Sources, packets: int, generator: random.Random) -> Lookups:
    from native.classify import RuleTable

    flat = FlatRules()
    for number, port in enumerate(PORTS):
        tcp = (6, -1, -1, ANY_PORT_RANGE, PortRange(port, port))
        source = flat.address_set(sources.name, [sources.ranges])
        flat.append(number, source=source, destination=ANY_SET, services=flat.services_of((tcp,)), families=1)
    keys, expected = array("Q"), array("I")
    for _ in range(packets):
        inside = generator.random() < 1 / 2
        address = sources.draw(generator) if inside else _outside(sources, generator)
        number = generator.randrange(len(PORTS))
        meta = generator.getrandbits(16) << 48 | PORTS[number] << 32 | 6 << 24 | 4 << 16
        keys.extend((meta, address, generator.getrandbits(32), 0, 0))
        expected.append(number if inside else NO_RULE)
    return Lookups(RuleTable(flat), keys, expected, array("I", [NO_RULE]) * packets)


def _outside(sources: Sources, generator: random.Random) -> int:
    while True:
        address = generator.randrange(FIRST, END)
        if not sources.contains(address):
            return address
