"""One table of compiled rules and of what lies over them, without compiling any rule again."""

from __future__ import annotations

from array import array
from collections.abc import Iterator
from typing import TypeVar

from edge.firewall.compile import FirewallTables
from edge.flat import ANY_SET, FlatRanges, FlatRules
from native.interning import interned

SERVICE_NUMBERS = 7
"""Of one service in :attr:`edge.flat.FlatRules.services`."""

Column = TypeVar("Column", "array[int]", "list[str]")

Run = tuple[bool, int, int]


def merged(base: FirewallTables, dead: array[int], added: FirewallTables, before: array[int]) -> FirewallTables:
    """The tables of the rules of ``base`` but for those with the numbers ``dead``, with those of ``added``: each stands
    before the rule that ``before`` names for it.  They are what compiling these rules makes, only that sets of
    addresses, and lists of services, have one number where they are equal."""
    runs = list(_runs(len(base.ids), dead, before))
    flat = FlatRules()
    old, new = base.rules, added.rules
    flat.direction = _taken(runs, old.direction, new.direction)
    flat.families = _taken(runs, old.families, new.families)
    flat.rule = array("I", range(len(flat.families)))
    flat.source_set, flat.destination_set = (
        _taken(runs, one, _behind(other, len(old.ranges[0].offset) - 1))
        for one, other in ((old.source_set, new.source_set), (old.destination_set, new.destination_set))
    )
    flat.service_list, ftp, tftp = (
        _taken(runs, one, _behind(other, len(old.service_offset) - 1))
        for one, other in ((old.service_list, new.service_list), (base.ftp, added.ftp), (base.tftp, added.tftp))
    )
    _intern(flat, old, new, ftp, tftp)
    return FirewallTables(
        flat,
        _taken(runs, base.ids, added.ids),
        _taken(runs, base.verdict, added.verdict),
        _taken(runs, base.reason, added.reason),
        _taken(runs, base.logging, added.logging),
        ftp,
        tftp,
    )


def _runs(count: int, dead: array[int], before: array[int]) -> Iterator[Run]:
    """The rows of the result as runs of rows that stand together: (are they added ones, begin, end)."""
    begin = 0
    at = 0
    for number in (*sorted(dead), count):
        while at < len(before) and before[at] <= number:
            first = at
            place = before[at]
            while at < len(before) and before[at] == place:
                at += 1
            yield False, begin, place
            yield True, first, at
            begin = place
        yield False, begin, number
        begin = number + 1


def _taken(runs: list[Run], old: Column, new: Column) -> Column:
    """A column of the result."""
    found = old[:0]
    for is_added, begin, end in runs:
        found += (new if is_added else old)[begin:end]
    return found


def _behind(numbers: array[int], count: int) -> array[int]:
    """Numbers of what stands behind ``count`` others now."""
    return array("I", [number if number == ANY_SET else number + count for number in numbers])


def _joined(one: array[int], other: array[int]) -> array[int]:
    """Offsets of what is joined."""
    return one[:-1] + array("I", [one[-1] + offset for offset in other])


def _intern(flat: FlatRules, old: FlatRules, new: FlatRules, ftp: array[int], tftp: array[int]) -> None:
    """Give the result what its columns name."""
    parts = []
    for one, other in zip(old.ranges, new.ranges, strict=True):
        fields = ((getattr(one, name) + getattr(other, name), 1) for name in FlatRanges.COLUMNS)
        parts.append((_joined(one.offset, other.offset), tuple(fields)))
    made = interned(parts, [flat.source_set, flat.destination_set], ANY_SET)
    first, second = (FlatRanges(offset, *columns) for offset, columns in made)
    flat.ranges = first, second
    services = [
        (_joined(old.service_offset, new.service_offset), ((old.services + new.services, SERVICE_NUMBERS),)),
    ]
    ((flat.service_offset, (flat.services,)),) = interned(services, [flat.service_list, ftp, tftp], ANY_SET)
