"""What chooses a packet's worker, compiled: the addresses that NAT reads or writes.  Pure.

:mod:`edge.reference_steer` says the same about single addresses; docs/workers.md tells why this is enough.
"""

from __future__ import annotations

from collections.abc import Iterable

from edge.nat.config import NatConfig, NatRule, NatType

Ranges = list[tuple[int, int]]

LAST = {4: (1 << 32) - 1, 6: (1 << 128) - 1}
TRANSLATING = (NatType.DNAT, NatType.SNAT, NatType.REFLEXIVE)


def touched_ranges(config: NatConfig) -> tuple[Ranges, Ranges]:
    """(first, last) of the addresses, IPv4 and IPv6, that enabled rules translate or translate to; sorted, disjoint."""
    found: dict[int, Ranges] = {4: [], 6: []}
    for rule in config.rules:
        if rule.enabled and rule.type in TRANSLATING:
            for version, first, last in _of_rule(rule):
                found[version].append((first, last))
    return _joined(found[4]), _joined(found[6])


def _of_rule(rule: NatRule) -> Iterable[tuple[int, int, int]]:
    sides = (rule.external, rule.internal)
    if None in sides:  # a side that a rule does not name is every address of its family
        versions = {side.version for side in sides if side is not None} or {4, 6}
        return [(version, 0, LAST[version]) for version in sorted(versions)]
    return [(side.version, int(side.first), int(side.last)) for side in sides if side is not None]


def _joined(ranges: Ranges) -> Ranges:
    """Those that overlap or touch as one."""
    joined: Ranges = []
    for first, last in sorted(ranges):
        if joined and first <= joined[-1][1] + 1:
            joined[-1] = joined[-1][0], max(last, joined[-1][1])
        else:
            joined.append((first, last))
    return joined


def within(inner: tuple[Ranges, Ranges], outer: tuple[Ranges, Ranges]) -> bool:
    """Is every address of some ranges in others?"""
    return all(_joined([*mine, *theirs]) == theirs for mine, theirs in zip(inner, outer, strict=True))


def together(first: tuple[Ranges, Ranges], second: tuple[Ranges, Ranges]) -> tuple[Ranges, Ranges]:
    """The addresses of either."""
    return _joined([*first[0], *second[0]]), _joined([*first[1], *second[1]])
