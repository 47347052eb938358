"""Flat rules: what the compilers hand to native builders, integers in columns and nothing else.

Sets of addresses and lists of services are interned: equal ones are stored once and named by number.
"""

from __future__ import annotations

from array import array
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import ClassVar

from edge.addresses import AddressRange, PortRange, merge_ranges

ANY_SET = 0xFFFFFFFF
"""Names the set (or list) that restricts nothing."""


def words() -> array[int]:
    """An empty column of unsigned 32-bit numbers."""
    return array("I")


def longs() -> array[int]:
    """An empty column of unsigned 64-bit numbers."""
    return array("Q")


@dataclass(slots=True)
class FlatRanges:
    """Ranges of all sets of one family: set i is ``[offset[i], offset[i + 1])``; 128-bit bounds as two halves."""

    offset: array[int] = field(default_factory=lambda: array("I", [0]))
    first_hi: array[int] = field(default_factory=longs)
    first_lo: array[int] = field(default_factory=longs)
    last_hi: array[int] = field(default_factory=longs)
    last_lo: array[int] = field(default_factory=longs)

    COLUMNS: ClassVar = ("first_hi", "first_lo", "last_hi", "last_lo")

    def append(self, ranges: Iterable[AddressRange]) -> None:
        """Close one more set; ``ranges`` are sorted and disjoint."""
        for item in ranges:
            first, last = int(item.first), int(item.last)
            self.first_hi.append(first >> 64)
            self.first_lo.append(first & 0xFFFFFFFFFFFFFFFF)
            self.last_hi.append(last >> 64)
            self.last_lo.append(last & 0xFFFFFFFFFFFFFFFF)
        self.offset.append(len(self.first_hi))


@dataclass(slots=True)
class FlatRules:
    """Rules for :class:`native.classify.RuleTable`, in the order in which they are tried."""

    ranges: tuple[FlatRanges, FlatRanges] = field(default_factory=lambda: (FlatRanges(), FlatRanges()))
    service_offset: array[int] = field(default_factory=lambda: array("I", [0]))
    services: array[int] = field(default_factory=lambda: array("i"))
    """Seven numbers a service: protocol, ICMP type and code (-1 any), source ports, destination ports."""
    source_set: array[int] = field(default_factory=words)
    destination_set: array[int] = field(default_factory=words)
    service_list: array[int] = field(default_factory=words)
    direction: array[int] = field(default_factory=lambda: array("B"))
    """1 IN, 2 OUT, 0 both."""
    families: array[int] = field(default_factory=lambda: array("B"))
    """1 IPv4, 2 IPv6, 3 both."""
    rule: array[int] = field(default_factory=words)
    """The caller's number, which a lookup returns."""
    _sets: dict[Hashable, int] = field(default_factory=dict)
    _lists: dict[Hashable, int] = field(default_factory=dict)

    def address_set(self, key: Hashable, parts: Iterable[Sequence[AddressRange]]) -> int:
        """The number of the union of ``parts``; ``key`` is what makes two unions equal."""
        number = self._sets.get(key)
        if number is None:
            merged = merge_ranges(item for part in parts for item in part)
            self.ranges[0].append(item for item in merged if item.version == 4)
            self.ranges[1].append(item for item in merged if item.version == 6)
            number = self._sets[key] = len(self._sets)
        return number

    def services_of(self, entries: tuple[tuple[int, int, int, PortRange, PortRange], ...]) -> int:
        """The number of a list of (protocol, ICMP type, ICMP code, source ports, destination ports)."""
        number = self._lists.get(entries)
        if number is None:
            for protocol, icmp_type, icmp_code, sport, dport in entries:
                self.services.extend((protocol, icmp_type, icmp_code, sport.first, sport.last, dport.first, dport.last))
            self.service_offset.append(len(self.services) // 7)
            number = self._lists[entries] = len(self._lists)
        return number

    def forget(self) -> None:
        """Let go of what only :meth:`address_set` and :meth:`services_of` need: no further rule will come."""
        self._sets.clear()
        self._lists.clear()

    def append(
        self,
        rule: int,
        *,
        source: int,
        destination: int,
        services: int = ANY_SET,
        direction: int = 0,
        families: int = 3,
    ) -> None:
        """Add one rule behind the others."""
        self.rule.append(rule)
        self.source_set.append(source)
        self.destination_set.append(destination)
        self.service_list.append(services)
        self.direction.append(direction)
        self.families.append(families)
