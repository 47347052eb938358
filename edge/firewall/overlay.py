"""What a small change makes of many rules that are compiled already: which of them are gone, and which have come."""

from __future__ import annotations

from array import array
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from itertools import accumulate

from edge.firewall.compile import FirewallTables, compile_rules
from edge.firewall.config import FirewallConfig, FirewallRule
from edge.firewall.merge import merged
from edge.flat import words
from native.overlay import differences

FEWEST = 1024
"""Fewer rules are compiled anew whatever has changed: that takes a few milliseconds, and a lookup then reads one table
and not two."""

MERGED = 256
"""Where so many rules are gone and have come together, it is time to make one table of both."""

LAID = 1024
"""More of them are never laid over others: one table is made of both at once."""

MOST = 2048
"""Where more rules than these are gone and have come together, all are compiled anew."""


@dataclass(frozen=True, slots=True)
class FirewallBase:
    """Rules that are compiled, and what is asked of them when others are held against them."""

    rules: tuple[FirewallRule, ...]
    tables: FirewallTables
    numbers: array[int]
    """Of each rule, and of the end: how many enabled ones stand before it."""
    ids: AbstractSet[str]
    """Of all rules."""

    @classmethod
    def of(cls, rules: tuple[FirewallRule, ...], tables: FirewallTables) -> FirewallBase:
        """``tables`` are those of the rules."""
        return cls(rules, tables, _numbers(rules), {rule.id for rule in rules})

    def merged(self, overlay: FirewallOverlay, rules: tuple[FirewallRule, ...], ids: AbstractSet[str]) -> FirewallBase:
        """The base that this one and what lies over it are: these rules, whose ids are ``ids``."""
        tables = merged(self.tables, overlay.dead, overlay.added, overlay.before)
        return FirewallBase(rules, tables, _numbers(rules), ids)


def _numbers(rules: tuple[FirewallRule, ...]) -> array[int]:
    return array("I", accumulate((rule.enabled for rule in rules), initial=0))


@dataclass(frozen=True, slots=True)
class FirewallOverlay:
    """What lies over compiled rules.  Those that have come are numbered behind them."""

    dead: array[int]
    """Numbers of the rules that are gone."""
    added: FirewallTables
    """The rules that have come, in order."""
    before: array[int]
    """Of each of them: the number of the rule that it is tried before."""
    size: int
    """How many rules are gone and have come, enabled or not."""

    @property
    def may_lie(self) -> bool:
        """Is it small enough to be laid over others at all?"""
        return self.size <= LAID

    @property
    def should_merge(self) -> bool:
        """Is it time to make one table of it and what it lies over?"""
        return self.size >= MERGED


def is_small_change(before: FirewallConfig, now: FirewallConfig) -> bool:
    """Is it likely that one can be laid over the other?"""
    return len(before.rules) >= FEWEST and differences(before.rules, now.rules, MOST) is not None


def overlaid(base: FirewallBase, config: FirewallConfig) -> tuple[FirewallOverlay | None, AbstractSet[str]] | None:
    """What to lay over the base for another configuration's rules, None where nothing has changed, and the ids of those
    rules.  None for both where they have to be compiled anew: too much differs, or two rules have one id.

    Rules are the same that are the same objects: a model is never changed, and whoever makes one of another keeps what
    stays.
    """
    if len(base.rules) < FEWEST or len(base.ids) < len(base.rules):
        return None
    found = differences(base.rules, config.rules, MOST)
    if found is None:
        return None
    if not found:
        return None, base.ids
    dead, before = words(), words()
    come: list[FirewallRule] = []
    gone_ids: set[str] = set()
    size = 0
    for begin, end, now_begin, now_end in found:
        dead.extend(range(base.numbers[begin], base.numbers[end]))
        gone_ids.update(rule.id for rule in base.rules[begin:end])
        some = config.rules[now_begin:now_end]
        before.extend(base.numbers[end] for rule in some if rule.enabled)
        come += some
        size += end - begin + len(some)
    come_ids = {rule.id for rule in come}
    if len(come_ids) < len(come) or any(id in base.ids for id in come_ids - gone_ids):
        return None
    ids = base.ids
    if come_ids != gone_ids:
        ids = set(ids)
        ids -= gone_ids
        ids |= come_ids
    return FirewallOverlay(dead, compile_rules(come), before, size), ids
