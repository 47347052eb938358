"""Which earlier rule matches everything that a later one matches: exact, and quick for 100,000 rules.

What a rule matches is, in each family, a product of three sets of numbers: sources, destinations and services, each a
sorted tuple of disjoint intervals.  One rule covers another when it does so in every dimension.  Equal sets get one
number; the supersets of a set are found with an interval index over the distinct sets; and rules are looked up by their
set numbers, so that a rule is compared only with rules that can cover it.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final

from edge.addresses import AddressRange
from edge.firewall.config import Direction, Service

Ranges = tuple[tuple[int, int], ...]
Rectangles = tuple[tuple[tuple[int, int], Ranges], ...]
"""Services that name source ports: (interval of destinations, source ports) each."""

ANY_ADDRESS: Final[dict[int, Ranges]] = {4: ((0, (1 << 32) - 1),), 6: ((0, (1 << 128) - 1),)}
ANY_SERVICE: Final[Ranges] = ((0, (1 << 24) - 1),)
_ANY_PORT: Final[Ranges] = ((0, 65535),)
_STRIPS_COST: Final = 30  # what comparing services with source ports costs, in steps
_SCAN: Final = 32  # a bucket of so few rules is looked through, a larger one is asked for supersets


@dataclass(slots=True)
class Match:
    """What one rule matches: for each family it can match in, (sources, destinations, services).

    ``rectangles`` are its services where some name source ports; the services then have their destinations alone.
    """

    families: dict[int, tuple[Ranges, Ranges, Ranges]]
    direction: Direction = Direction.IN_OUT
    rectangles: dict[int, Rectangles] = field(default_factory=dict)


class Budget:
    """How many comparisons one search may cost; what it was spent on is said when it runs out."""

    def __init__(self, steps: int) -> None:
        self.left = steps

    def spend(self, steps: int) -> bool:
        """Take some; False once there is none left."""
        self.left -= steps
        return self.left > 0


def merged(intervals: Iterable[tuple[int, int]]) -> Ranges:
    """The same numbers as sorted intervals that neither overlap nor touch."""
    result: list[tuple[int, int]] = []
    for low, high in sorted(intervals):
        if result and low <= result[-1][1] + 1:
            if high > result[-1][1]:
                result[-1] = (result[-1][0], high)
        else:
            result.append((low, high))
    return tuple(result)


def covers(outer: Ranges, inner: Ranges) -> bool:
    """True when every number of ``inner`` is in ``outer``."""
    if len(outer) == 1:
        return outer[0][0] <= inner[0][0] and inner[-1][1] <= outer[0][1]
    for low, high in inner:
        at = bisect_right(outer, (low, high)) - 1
        # The interval that starts where this one does but ends later sorts behind it.
        if not (at >= 0 and high <= outer[at][1]) and not (
            at + 1 < len(outer) and outer[at + 1][0] <= low and high <= outer[at + 1][1]
        ):
            return False
    return True


def overlap(one: Ranges, other: Ranges) -> bool:
    """True when some number is in both."""
    i = j = 0
    while i < len(one) and j < len(other):
        if one[i][1] < other[j][0]:
            i += 1
        elif other[j][1] < one[i][0]:
            j += 1
        else:
            return True
    return False


def addresses(ranges: Iterable[AddressRange], version: int) -> list[tuple[int, int]]:
    """The ranges of one family as numbers, in their order."""
    return [(int(item.first), int(item.last)) for item in ranges if item.first.version == version]


def services(items: Iterable[Service], version: int) -> tuple[Ranges, Rectangles]:
    """Services of one family as numbers ``protocol << 16 | port`` (or ICMP type and code), and as rectangles, which
    are empty while no service names source ports."""
    plain: list[tuple[int, int]] = []
    rectangles: list[tuple[tuple[int, int], Ranges]] = []
    limited = False
    for item in items:
        if item.protocol == (58 if version == 4 else 1):
            continue
        base = item.protocol << 16
        if item.icmp_type is not None:
            low = base | item.icmp_type << 8
            parts = [(low | (item.icmp_code or 0), low | (255 if item.icmp_code is None else item.icmp_code))]
        else:
            parts = [(base | port.first, base | port.last) for port in item.destination_ports] or [(base, base | 65535)]
        plain += parts
        limited = limited or bool(item.source_ports)
        sources = merged((port.first, port.last) for port in item.source_ports) or _ANY_PORT
        rectangles += [(part, sources) for part in parts]
    return merged(plain), tuple(rectangles) if limited else ()


def rectangles_cover(outer: Rectangles, inner: Rectangles) -> bool:
    """True when every (destination, source port) of ``inner`` is in ``outer``: checked in strips of sources between
    which no interval begins or ends."""
    edges = sorted({edge for _, sources in (*outer, *inner) for low, high in sources for edge in (low, high + 1)})
    for low in edges:
        strip = merged(part for part, sources in inner if any(a <= low <= b for a, b in sources))
        if not strip:
            continue
        cover = merged(part for part, sources in outer if any(a <= low <= b for a, b in sources))
        if not cover or not covers(cover, strip):
            return False
    return True


class IntervalIndex:
    """A fixed set of intervals, each with a number, asked which of them reach over given points."""

    def __init__(self, intervals: Iterable[tuple[int, int, int]]) -> None:
        self._items = sorted(intervals)
        self._lows = [item[0] for item in self._items]
        size = 1
        while size < len(self._items):
            size *= 2
        # A tree in an array: node n holds the highest end below it, its children are 2n and 2n + 1.
        self._size = size
        self._highest = [-1] * (2 * size)
        for at, item in enumerate(self._items):
            self._highest[size + at] = item[1]
        for node in range(size - 1, 0, -1):
            self._highest[node] = max(self._highest[2 * node], self._highest[2 * node + 1])

    def reaching(self, starts_by: int, ends_from: int) -> Iterator[int]:
        """Numbers of the intervals that start at or before one point and end at or after the other."""
        stop = bisect_right(self._lows, starts_by)
        if not stop:
            return
        highest, size = self._highest, self._size
        pending = [(1, 0, size)] if highest[1] >= ends_from else []
        while pending:
            node, first, width = pending.pop()
            while width > 1:
                node, width = 2 * node, width // 2
                right = first + width
                if right < stop and highest[node + 1] >= ends_from:
                    pending.append((node + 1, right, width))
                if highest[node] < ends_from:
                    break
            else:
                yield self._items[node - size][2]


class _Sets:
    """The distinct sets of one dimension, numbered, and the supersets of each."""

    def __init__(self, budget: Budget) -> None:
        self.ranges: list[Ranges] = []
        self._numbers: dict[Ranges, int] = {}
        self._supersets: dict[int, list[int]] = {}
        self._holders: dict[tuple[int, int], list[int]] = defaultdict(list)
        self._wide: IntervalIndex | None = None
        self._intervals: list[tuple[int, int]] = []
        self._budget = budget

    def number(self, ranges: Ranges) -> int:
        """The number of a set; equal sets have the same."""
        known = self._numbers.get(ranges)
        if known is None:
            known = self._numbers[ranges] = len(self.ranges)
            self.ranges.append(ranges)
        return known

    def covers(self, outer: int, inner: int) -> bool:
        """True when one set holds all of another."""
        return outer == inner or covers(self.ranges[outer], self.ranges[inner])

    def supersets(self, number: int) -> list[int]:
        """Every set that holds all of this one, itself included.  To be asked once all sets are numbered."""
        known = self._supersets.get(number)
        if known is not None:
            return known
        if self._wide is None:
            self._wide = self._index()
        ranges = self.ranges[number]
        # A superset holds each of the intervals: the one that the fewest sets have gives the fewest candidates.
        low, high = min(ranges, key=lambda interval: len(self._holders[interval]))
        candidates = set(self._holders[low, high])
        for at in self._wide.reaching(low, high):
            holders = self._holders[self._intervals[at]]
            if not self._budget.spend(len(holders)):
                break
            candidates.update(holders)
        self._budget.spend(len(candidates))
        result = [other for other in candidates if self.covers(other, number)]
        self._supersets[number] = result
        return result

    def _index(self) -> IntervalIndex:
        """Who has which interval, and an index of those that are wide enough to hold others."""
        for number, ranges in enumerate(self.ranges):
            for interval in ranges:
                self._holders[interval].append(number)
        self._intervals = [interval for interval in self._holders if interval[0] != interval[1]]
        return IntervalIndex((low, high, at) for at, (low, high) in enumerate(self._intervals))


class _Family:
    """Rules of one family, looked up by the numbers of their sets."""

    def __init__(self, budget: Budget) -> None:
        self.sources, self.destinations, self.services = _Sets(budget), _Sets(budget), _Sets(budget)
        self.numbers: dict[int, tuple[int, int, int]] = {}
        self.buckets: dict[int, dict[int, dict[int, list[int]]]] = {}  # by source, service, destination
        self._budget = budget

    def candidates(self, rule: int) -> Iterator[int]:
        """The rules put in so far that cover this one in this family, services with source ports aside."""
        source, destination, service = self.numbers[rule]
        tables = [table for number in self.sources.supersets(source) if (table := self.buckets.get(number))]
        if sum(map(len, tables)) > _SCAN:
            services = self.services.supersets(service)
            self._budget.spend(len(services) * len(tables))
            found = [bucket for table in tables for v in services if (bucket := table.get(v))]
        else:
            found = [bucket for table in tables for v, bucket in table.items() if self.services.covers(v, service)]
        total = sum(map(len, found))
        if total > _SCAN:
            wanted = self.destinations.supersets(destination)
            self._budget.spend(len(wanted) * len(found))
            for bucket in found:
                for number in wanted:
                    rules = bucket.get(number)
                    if rules:
                        self._budget.spend(len(rules))
                        yield from rules
            return
        self._budget.spend(total)
        for bucket in found:
            for number, rules in bucket.items():
                if self.destinations.covers(number, destination):
                    self._budget.spend(len(rules))
                    yield from rules

    def put(self, rule: int) -> None:
        """Make a rule one that later ones are compared with."""
        source, destination, service = self.numbers[rule]
        self.buckets.setdefault(source, {}).setdefault(service, {}).setdefault(destination, []).append(rule)


def match_covers(one: Match, other: Match) -> bool:
    """Does a rule match everything that another does?"""
    if one.direction not in (Direction.IN_OUT, other.direction) or not other.families.keys() <= one.families.keys():
        return False
    for version, parts in other.families.items():
        if not all(map(covers, one.families[version], parts)):
            return False
        strips = one.rectangles.get(version)
        if strips and not rectangles_cover(strips, _rectangles(other, version)):
            return False
    return bool(other.families)


def _rectangles(match: Match, version: int) -> Rectangles:
    return match.rectangles.get(version) or tuple((part, _ANY_PORT) for part in match.families[version][2])


def find_covered(matches: Sequence[Match | None], budget: Budget) -> tuple[dict[int, int], int | None]:
    """For each match, in order, that an earlier one covers: position → position of the first that does.

    None stands for a rule that takes no part.  The second value is the position at which the budget ran out, None when
    it lasted.
    """
    families = {version: _Family(budget) for version in (4, 6)}
    for position, match in enumerate(matches):
        for version, (sources, destinations, service) in match.families.items() if match else ():
            family = families[version]
            family.numbers[position] = (
                family.sources.number(sources),
                family.destinations.number(destinations),
                family.services.number(service),
            )
    covered: dict[int, int] = {}
    for position, match in enumerate(matches):
        if match is None or not match.families:
            continue
        for other in families[min(match.families)].candidates(position):
            if other < covered.get(position, position) and _covers_rule(matches, families, other, position, budget):
                covered[position] = other
        if budget.left <= 0:
            covered.pop(position, None)
            return covered, position
        if position not in covered:
            # What covers nothing that its own cover does not is not compared with later rules.
            for version in match.families:
                families[version].put(position)
    return covered, None


def _covers_rule(
    matches: Sequence[Match | None], families: dict[int, _Family], outer: int, inner: int, budget: Budget
) -> bool:
    """The exact question, for one earlier and one later rule."""
    a, b = matches[outer], matches[inner]
    assert a is not None
    assert b is not None
    if a.direction not in (Direction.IN_OUT, b.direction) or not b.families.keys() <= a.families.keys():
        return False
    for version in b.families:
        family = families[version]
        (s, d, v), (s2, d2, v2) = family.numbers[outer], family.numbers[inner]
        if not (family.sources.covers(s, s2) and family.destinations.covers(d, d2) and family.services.covers(v, v2)):
            return False
        strips = a.rectangles.get(version)
        if strips:
            if not budget.spend(_STRIPS_COST):
                return False
            if not rectangles_cover(strips, _rectangles(b, version)):
                return False
    return True
