"""Resolving a document that differs from one just resolved only in some firewall or NAT rules.

Rules that stand in both, as the same plain data, are taken as they were resolved; the others go through the resolvers
of :mod:`edge.document.firewall` and :mod:`edge.document.nat` against the groups, profiles and subnets that are there.
Whenever there is anything to report but that there are many rules, or anything else has changed, the answer is None:
the document has to be resolved from the beginning, which also finds every problem and its place.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import chain
from typing import Any, Final, TypeVar, cast

from edge.document import schema
from edge.document.context import Context, generated_id
from edge.document.firewall import MAX_USER_RULES, FirewallResolver, default_rule
from edge.document.nat import NatResolver
from edge.document.problems import Findings, Path
from edge.document.resolve import Parts, Resolved, cut_lists
from edge.document.validate import validate_list
from edge.document.values import Values
from edge.firewall.config import FirewallConfig, FirewallRule, Section
from edge.model import EdgeConfig
from edge.nat.config import NatConfig, NatRule
from native.overlay import differences

R = TypeVar("R", FirewallRule, NatRule)
M = TypeVar("M", bound=schema.Item)

FEW: Final = 64
"""Rules that are gone and have come: the others are not looked at."""

_RULE_LISTS = (Section.USER.value, Section.DEFAULT.value)


@dataclass(frozen=True)
class _List:
    """One list of rules, before and now, and the path of its items."""

    before: list[Any]
    now: list[Any]
    path: Path
    label: str

    @cached_property
    def splices(self) -> list[tuple[int, int, int, int]] | None:
        """Where the items differ, None where they differ in many."""
        return differences(tuple(self.before), tuple(self.now), FEW)


class _FromTheBeginning(Exception):  # noqa: N818  # no error: another way is taken
    """The document cannot be resolved this way."""


def resolve_again(
    document: Mapping[str, Any],
    config: EdgeConfig,
    sections: dict[str, str],
    parts: Parts,
    data: Mapping[str, Any],
    allow_unsupported: bool,
) -> Resolved | None:
    """``data`` resolved with the help of ``document``, which was resolved to ``config`` without a finding but that of
    :func:`many_rules`; None where that has to be done from the beginning."""
    try:
        lists = _differing(document, data, sections)
        return _Again(config, sections, parts, data, allow_unsupported).resolve(lists)
    except _FromTheBeginning:
        return None


def many_rules(sections: dict[str, str]) -> Path:
    """Where it is told that there are more user-defined rules than CloudAPI takes."""
    return (sections.get("firewallRules", "firewallRules"), Section.USER.value)


def _differing(document: Mapping[str, Any], data: Mapping[str, Any], sections: dict[str, str]) -> list[_List]:
    if document.keys() != data.keys():
        raise _FromTheBeginning
    firewall, nat = (sections.get(section) for section in ("firewallRules", "natRules"))
    lists = []
    for own in data:
        if data[own] is document[own]:
            continue
        if own == nat:
            lists.append(_List(_items(document[own]), _items(data[own]), (own,), "natRules"))
            continue
        before, now = document[own], data[own]
        if own != firewall or not isinstance(before, dict) or not isinstance(now, dict) or before.keys() != now.keys():
            raise _FromTheBeginning
        for key in now:
            if now[key] is not before[key]:
                if key not in _RULE_LISTS:
                    raise _FromTheBeginning
                lists.append(_List(_items(before[key]), _items(now[key]), (own, key), key))
    return lists


def _items(value: Any) -> list[Any]:
    """The items of a bare list or one that is wrapped and says no more."""
    items = value["values"] if isinstance(value, dict) and value.keys() == {"values"} else value
    if not isinstance(items, list) or not all(isinstance(item, dict) for item in items):
        raise _FromTheBeginning
    return items


class _Again:
    """One document on its way."""

    def __init__(
        self, config: EdgeConfig, sections: dict[str, str], parts: Parts, data: Any, allow_unsupported: bool
    ) -> None:
        self.config = config
        self.sections = sections
        self.parts = parts
        old = parts.firewall.context
        self.findings = Findings()
        self.context = Context(self.findings, data, allow_unsupported, old.limits_are_errors, dict(old.ids))
        values = Values(self.findings)
        self.firewall = FirewallResolver(
            self.context, values, parts.firewall.groups, parts.firewall.profiles, parts.firewall.not_for_nat
        )
        self.nat = NatResolver(self.context, values, self.firewall, parts.routing)

    def resolve(self, lists: list[_List]) -> Resolved:
        """The configuration with these lists as they are now."""
        ids = self.context.ids
        for item in lists:
            if item.splices is None:
                for id in [id for id, path in ids.items() if path[: len(item.path)] == item.path]:
                    del ids[id]
            for begin, end, _, _ in item.splices or ():
                for raw in item.before[begin:end]:
                    ids.pop(raw.get("id") or "", None)
        rules = {
            section.value: [rule for rule in self.config.firewall.rules if rule.section is section]
            for section in (Section.USER, Section.DEFAULT)
        }
        nat_rules: Iterable[NatRule] = self.config.nat.rules
        for item in lists:
            if item.label == "natRules":
                nat_rules = self._rules(item, self.config.nat.rules, schema.NatRule, self.nat.rule)
                continue
            section = Section(item.label)

            def make(
                item: schema.FirewallRule, path: Path, seen: Counter[str], section: Section = section
            ) -> FirewallRule:
                return self.firewall.rule(item, section, path, seen)

            known = rules[item.label] if item.before else []
            rules[item.label] = self._rules(item, known, schema.FirewallRule, make)
        if self.findings.items:
            raise _FromTheBeginning
        self.context.limit(
            many_rules(self.sections), len(rules[Section.USER.value]), MAX_USER_RULES, "user-defined rules"
        )
        if self.findings.failed:
            raise _FromTheBeginning
        if not rules[Section.DEFAULT.value]:
            rules[Section.DEFAULT.value] = [default_rule()]
        everything = tuple(chain.from_iterable(rules[section] for section in _RULE_LISTS))
        firewall = FirewallConfig(everything, self.config.firewall.groups, self.config.firewall.profiles)
        config = replace(self.config, firewall=firewall, nat=NatConfig(tuple(nat_rules)))
        return Resolved(config, self.findings.items, self.sections, Parts(self.parts.routing, self.firewall))

    def _rules(
        self,
        item: _List,
        resolved: Iterable[R],
        model: type[M],
        make: Callable[[M, Path, Counter[str]], R | None],
    ) -> list[R]:
        """The rules of a list: those that were there as they are, the others made."""
        if item.splices is not None:
            return self._few_rules(item, item.splices, list(resolved), model, make)
        known = {id(raw): (raw, rule) for raw, rule in zip(item.before, resolved, strict=True)}
        fresh = [raw for raw in item.now if id(raw) not in known]
        made = self._validated(item, fresh, model)
        seen: Counter[str] = Counter()
        before = dict(zip(map(id, item.before), _occurrences(item.before), strict=True))
        found: list[R] = []
        for at, raw in enumerate(item.now):
            place = (*item.path, at)
            if id(raw) in known:
                rule = known[id(raw)][1]
                occurrence = seen[rule.name]
                seen[rule.name] += 1
                if raw.get("id"):
                    if rule.id in self.context.ids:
                        raise _FromTheBeginning
                    self.context.ids[rule.id] = place
                elif occurrence != before[id(raw)]:
                    rule = replace(rule, id=generated_id(item.label, rule.name, occurrence))
                found.append(rule)
                continue
            fields = made[id(raw)]
            new = None if fields is None else make(fields, place, seen)
            if new is None:
                raise _FromTheBeginning
            found.append(new)
        return found

    def _validated(self, item: _List, fresh: list[Any], model: type[M]) -> dict[int, M | None]:
        """Plain data that are new, validated, by object number."""
        if next(cut_lists({item.path[0]: fresh}, {item.label: str(item.path[0])}), None) is not None:
            raise _FromTheBeginning
        return dict(zip(map(id, fresh), validate_list(model, fresh, item.path, self.findings), strict=True))

    def _few_rules(
        self,
        item: _List,
        splices: list[tuple[int, int, int, int]],
        resolved: list[R],
        model: type[M],
        make: Callable[[M, Path, Counter[str]], R | None],
    ) -> list[R]:
        """The same where the lists differ in these places: only there, and at rules of the names that stand there, is
        there anything to do."""
        if len(resolved) != len(item.before):
            raise _FromTheBeginning  # a default rule that is not written
        known: dict[int, R] = {}
        rules: list[R | None] = []
        end = 0
        for begin, behind, first, last in splices:
            rules += resolved[end:begin]
            rules += [None] * (last - first)
            known.update(zip(map(id, item.before[begin:behind]), resolved[begin:behind], strict=True))
            end = behind
        rules += resolved[end:]
        fresh = [raw for _, _, first, last in splices for raw in item.now[first:last] if id(raw) not in known]
        made = self._validated(item, fresh, model)
        if self.findings.items:
            raise _FromTheBeginning
        names = {rule.name for rule in known.values()} | {raw.get("name") for raw in fresh}
        seen: Counter[str] = Counter()
        for at in [at for at, raw in enumerate(item.now) if raw.get("name") in names]:
            raw, rule = item.now[at], rules[at]
            place = (*item.path, at)
            is_here = rule is not None
            if rule is None:
                rule = known.get(id(raw))
            if rule is None:
                fields = made[id(raw)]
                rule = None if fields is None else make(fields, place, seen)
                if rule is None:
                    raise _FromTheBeginning
            else:
                occurrence = seen[rule.name]
                seen[rule.name] += 1
                if not raw.get("id"):
                    own = generated_id(item.label, rule.name, occurrence)
                    rule = rule if rule.id == own else replace(rule, id=own)
                elif not is_here:
                    if rule.id in self.context.ids:
                        raise _FromTheBeginning
                    self.context.ids[rule.id] = place
            rules[at] = rule
        return cast(list[R], rules)


def _occurrences(items: list[Any]) -> list[int]:
    """How many items of the same name stand before each."""
    seen: Counter[str] = Counter()
    found = []
    for raw in items:
        found.append(seen[raw["name"]])
        seen[raw["name"]] += 1
    return found
