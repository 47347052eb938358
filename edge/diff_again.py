"""The differences of two documents that share all but a few rules."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import chain
from operator import is_
from typing import Any, Final

from edge.diff import Change, Few, compare_few, moved
from edge.diff_objects import Side
from edge.document import LoadedDocument
from edge.firewall.config import FirewallRule, Section
from edge.model import EdgeConfig
from edge.nat.config import NatRule
from native.overlay import differences

MOST: Final = 128
"""Of the rules that are gone and have come."""

_LISTS: Final = (("firewallRules", Section.USER.value), ("firewallRules", Section.DEFAULT.value), ("natRules",))

Splice = tuple[int, int, int, int]
Rules = tuple[FirewallRule, ...] | tuple[NatRule, ...]


class _OthersMoved(Exception):  # noqa: N818  # no error: another way is taken
    """A rule that stayed is said to have changed places with one that is another."""


def diff_few(old: LoadedDocument, new: LoadedDocument) -> list[Change] | None:
    """What :func:`edge.diff.compare` says, not whole, where nothing but a few rules of the firewall or of NAT differ;
    None where more does, or may."""
    if not _share_all_else(old, new):
        return None
    changes: list[Change] = []
    sides: tuple[Side, Side] | None = None
    for path in _LISTS:
        before, after = _rules(old.config, path[-1]), _rules(new.config, path[-1])
        written_before, written_after = _items(old, path), _items(new, path)
        if written_before is written_after and len(before) == len(after) and all(map(is_, before, after)):
            continue
        if len(written_before) != len(before) or len(written_after) != len(after):
            return None  # the default rule of a document without one
        splices = differences(tuple(written_before), tuple(written_after), MOST)
        if splices is None or not _are_the_same(before, after, splices):
            return None
        sides = sides or (Side(old.config, old), Side(new.config, new))
        few = (
            Few(
                sides[0].rules(path[-1], _some(before, [item[:2] for item in splices])), [item.name for item in before]
            ),
            Few(sides[1].rules(path[-1], _some(after, [item[2:] for item in splices])), [item.name for item in after]),
        )
        count = len(after)

        def order(partner: Mapping[int, int], splices: list[Splice] = splices, count: int = count) -> Sequence[int]:
            found = _order(partner, splices, count)
            if not moved(found) <= set(partner.values()):
                raise _OthersMoved
            return found

        try:
            changes += compare_few(path[-1], *few, order)
        except _OthersMoved:
            return None
    return changes


def _share_all_else(old: LoadedDocument, new: LoadedDocument) -> bool:
    was, now = old.config, new.config
    if (was.id, was.name, was.options, was.routing) != (now.id, now.name, now.options, now.routing):
        return False
    if was.firewall.groups != now.firewall.groups or was.firewall.profiles != now.firewall.profiles:
        return False
    if not isinstance(old.document, dict) or old.document.keys() != new.document.keys():
        return False
    firewall, nat = new.path("firewallRules")[0], new.path("natRules")[0]
    for own, value in new.document.items():
        before = old.document[own]
        if own == firewall and value is not before:
            if not isinstance(value, dict) or not isinstance(before, dict) or value.keys() != before.keys():
                return False
            rules = {Section.USER.value, Section.DEFAULT.value}
            if any(value[key] is not before[key] for key in value.keys() - rules):
                return False
        elif own != nat and value is not before:
            return False
    return True


def _rules(config: EdgeConfig, section: str) -> Rules:
    if section == "natRules":
        return config.nat.rules
    wanted = Section(section)
    return tuple(rule for rule in config.firewall.rules if rule.section is wanted)


def _items(loaded: LoadedDocument, path: tuple[str, ...]) -> Sequence[Any]:
    """The plain data of a list of rules."""
    value = loaded.raw(loaded.path(*path))
    if isinstance(value, dict):
        value = value.get("values")
    return value if isinstance(value, list) else ()


def _are_the_same(before: Rules, after: Rules, splices: list[Splice]) -> bool:
    """Are the rules between the splices the same objects?"""
    end = now_end = 0
    for splice in (*splices, (len(before), len(before), len(after), len(after))):
        if not all(map(is_, before[end : splice[0]], after[now_end : splice[2]])):
            return False
        _, end, _, now_end = splice
    return True


def _some(rules: Rules, places: Sequence[tuple[int, int]]) -> dict[int, FirewallRule | NatRule]:
    return {place: rules[place] for begin, end in places for place in range(begin, end)}


def _order(partner: Mapping[int, int], splices: list[Splice], count: int) -> Sequence[int]:
    """The old positions of all rules that are on both sides, as they stand now."""
    runs: list[Sequence[int]] = []
    end = now_end = 0
    for begin, _end, now_begin, _now_end in splices:
        runs.append(range(end, begin))
        runs.append([partner[new] for new in range(now_begin, _now_end) if new in partner])
        end, now_end = _end, _now_end
    runs.append(range(end, end + count - now_end))
    return list(chain.from_iterable(runs))
