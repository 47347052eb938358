"""Warnings about a configuration that differs from one just checked only in a few firewall rules.

What is found is what a check from the beginning finds that was not found before; where that is not certain, the answer
is None.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate
from typing import Final

from edge.checks.coverage import match_covers
from edge.checks.findings import Warnings
from edge.checks.firewall import BlockedByProvider, Matches, check_family, groups_of, tell_shadowed, tell_unused
from edge.document import LoadedDocument
from edge.errors import Problem
from edge.firewall.compile import FirewallTables
from edge.firewall.config import Action, FirewallRule, Section
from edge.model import EdgeConfig
from native.containment import contained

MOST_COMPARED: Final = 20_000
"""Pairs of rules that are compared; with more a check from the beginning is as quick."""

MOST_SEARCHED: Final = 2_000_000
"""Rules that are looked through, once for each whose addresses are searched for: likewise."""

Splice = tuple[int, int, int, int]
Covers = Mapping[int, tuple[FirewallRule, FirewallRule]]
"""A rule that is covered and the first that covers it, by the object number of the former."""


@dataclass(frozen=True, slots=True)
class Checked:
    """What a check has found out about the rules of a configuration.  ``tables`` are the compiled rules."""

    config: EdgeConfig
    tables: FirewallTables
    covered: Covers
    used: Mapping[tuple[str, str], int]
    """Of each group: how many rules' sides have it."""

    @classmethod
    def of(cls, warnings: Warnings, tables: FirewallTables) -> Checked | None:
        """None where not every rule was looked at."""
        rules = warnings.config.firewall.rules
        if warnings.covered is None or len(set(map(id, rules))) < len(rules):
            return None
        covered = {id(rules[position]): (rules[position], rules[by]) for position, by in warnings.covered.items()}
        return cls(warnings.config, tables, covered, Counter(groups_of(rules)))


@dataclass(frozen=True, slots=True)
class Again:
    """Warnings that are no more, and those that have come, each by what its document says; and what is known now."""

    gone: Sequence[Problem]
    come: Sequence[Problem]
    checked: Checked


class _TooMuch(Exception):  # noqa: N818  # no error: another way is taken
    """Too much would have to be compared."""


def check_again(
    before: Checked, old: LoadedDocument, new: LoadedDocument, tables: FirewallTables, splices: Sequence[Splice]
) -> Again | None:
    """What differs in the warnings of ``new``, whose compiled rules are ``tables``, from those of ``old``.

    ``splices`` are where the objects of their rules differ.  None where anything but rules differs, or what NAT says of
    them may.
    """
    was, now = old.config, new.config
    if was.firewall.groups != now.firewall.groups or was.firewall.profiles != now.firewall.profiles:
        return None
    if was.nat != now.nat or was.routing != now.routing or was.options != now.options or was.ports != now.ports:
        return None
    gone = [rule for begin, end, _, _ in splices for rule in was.firewall.rules[begin:end]]
    come = [rule for _, _, begin, end in splices for rule in now.firewall.rules[begin:end]]
    # Whether a translated address is named by a rule that allows it is asked of all such rules.
    if was.nat.rules and any(rule.enabled and rule.action is Action.ALLOW for rule in (*gone, *come)):
        return None
    moved = {id(rule) for rule in gone} & {id(rule) for rule in come}
    if moved:
        return None
    try:
        return _Again(before, old, new, tables, gone, come).result()
    except _TooMuch:
        return None


class _Side:
    """One of the two documents."""

    def __init__(self, loaded: LoadedDocument, tables: FirewallTables) -> None:
        self.warnings = Warnings(loaded.config, loaded)
        self.loaded = loaded
        self.rules = loaded.config.firewall.rules
        self.places = {id(rule): place for place, rule in enumerate(self.rules)}
        self.tables = tables

    def problems(self) -> list[Problem]:
        """All that was told."""
        return self.loaded.locate(self.warnings.items)


class _Again:
    def __init__(
        self,
        before: Checked,
        old: LoadedDocument,
        new: LoadedDocument,
        tables: FirewallTables,
        gone: list[FirewallRule],
        come: list[FirewallRule],
    ) -> None:
        self.before = before
        self.old, self.new = _Side(old, before.tables), _Side(new, tables)
        self.gone, self.come = gone, come
        self.matches = Matches()
        self.compared = self.searched = 0
        # The number of each enabled rule among the compiled ones, and the other way.
        enabled = [rule.enabled for rule in self.new.rules]
        self.number = list(accumulate(enabled, initial=0))
        self.place = [place for place, is_enabled in enumerate(enabled) if is_enabled]

    def result(self) -> Again:
        """What differs."""
        covered = self._covered()
        was = self.before.covered
        differing = [key for key in {**was, **covered} if was.get(key) != covered.get(key)]
        for side, rules, covers in ((self.old, self.gone, was), (self.new, self.come, covered)):
            for rule in rules:
                check_family(side.warnings, side.places[id(rule)], self.matches.of([rule])[0])
            pairs = (covers[key] for key in differing if key in covers)
            for place, by in sorted((side.places[id(rule)], side.places[id(cover)]) for rule, cover in pairs):
                tell_shadowed(side.warnings, place, by)
        used = Counter(self.before.used)
        used.subtract(groups_of(self.gone))
        used.update(groups_of(self.come))
        for index, group in enumerate(self.new.loaded.config.firewall.groups):
            key = group.id, group.name
            if bool(used[key]) != bool(self.before.used.get(key)):
                tell_unused((self.old if used[key] else self.new).warnings, index)
        for side, rules in ((self.old, self.gone), (self.new, self.come)):
            blocked = BlockedByProvider(side.warnings)
            for rule in rules:
                blocked.check(side.places[id(rule)])
        config = self.new.loaded.config
        checked = replace(self.before, config=config, tables=self.new.tables, covered=covered, used=used)
        return Again(self.old.problems(), self.new.problems(), checked)

    def _covered(self) -> Covers:
        """The rules that are covered now."""
        covered = dict(self.before.covered)
        leaving = set(map(id, self.gone))
        for key in leaving:
            covered.pop(key, None)
        for key, (rule, by) in list(covered.items()):
            if id(by) in leaving:
                del covered[key]
                self._cover(rule, covered)
        for rule in self.come:
            self._cover(rule, covered)
            for other in self._candidates(rule, inside=True):
                known = covered.get(id(other))
                sooner = known is None or self._at(rule) < self._at(known[1])
                if self._at(rule) < self._at(other) and sooner and self._covers(rule, other):
                    covered[id(other)] = other, rule
        return covered

    def _at(self, rule: FirewallRule) -> int:
        return self.new.places[id(rule)]

    def _cover(self, rule: FirewallRule, covered: dict[int, tuple[FirewallRule, FirewallRule]]) -> None:
        """Note the first rule that covers one, if there is any."""
        for other in self._candidates(rule, inside=False):
            if self._at(other) >= self._at(rule):
                return
            if self._covers(other, rule):
                covered[id(rule)] = rule, other
                return

    def _candidates(self, rule: FirewallRule, *, inside: bool) -> Iterable[FirewallRule]:
        """The rules, in order, whose addresses contain those of a rule, or lie within them."""
        if not _takes_part(rule):
            return ()
        self.searched += len(self.new.rules)
        if self.searched > MOST_SEARCHED:
            raise _TooMuch
        found = contained(self.new.tables.rules, self.number[self._at(rule)], inside)
        return (self.new.rules[self.place[number]] for number in found)

    def _covers(self, one: FirewallRule, other: FirewallRule) -> bool:
        if not _takes_part(one) or not _takes_part(other):
            return False
        self.compared += 1
        if self.compared > MOST_COMPARED:
            raise _TooMuch
        a, b = self.matches.of([one, other])
        return match_covers(a, b)


def _takes_part(rule: FirewallRule) -> bool:
    """The default rule always stands there."""
    return rule.enabled and rule.section is not Section.DEFAULT
