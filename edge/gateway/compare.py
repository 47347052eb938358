"""Telling what is new from what has only moved."""

from __future__ import annotations

import re
from collections.abc import Iterator

from edge.diff import Change, ChangeKind, FieldChange
from edge.document import LoadedDocument
from edge.errors import Problem
from edge.firewall.config import Section
from edge.model import EdgeConfig

Shiftless = tuple[str, str, str]

_INDEX = re.compile(r"\[\d+\]")
_PLACES = re.compile(r"\(rule \d+\)|\[\d+\]")


def shiftless(problem: Problem, loaded: LoadedDocument) -> Shiftless:
    """What a problem says, without the places of objects in their lists; an object in its path goes by its name."""

    def name(match: re.Match[str]) -> str:
        path = problem.path[: match.end()]
        steps = [int(step) if step.isdecimal() else step for step in re.split(r"[.\[\]]+", path) if step]
        item = loaded.raw(tuple(steps))
        found = item.get("name") if isinstance(item, dict) else None
        return f"[{found}]" if isinstance(found, str) else "[]"

    return problem.code, _INDEX.sub(name, problem.path), _PLACES.sub("", problem.message)


def identities(old: EdgeConfig, new: EdgeConfig) -> list[Change]:
    """Objects that have got another id, where nothing else differs between two configurations."""
    if old == new:
        return []
    before: dict[tuple[str, str], list[str]] = {}
    for section, id, name in _objects(old):
        before.setdefault((section, name), []).append(id)
    changes = []
    positions: dict[str, int] = {}
    for section, id, name in _objects(new):
        position = positions[section] = positions.get(section, 0) + 1
        former = before.get((section, name), [])
        if id in former:
            former.remove(id)
            continue
        was = former.pop(0) if former else None
        field = FieldChange("id", was, id)
        changes.append(Change(ChangeKind.CHANGED, section, name, id, position, position, (field,)))
    return changes


def _objects(config: EdgeConfig) -> Iterator[tuple[str, str, str]]:
    """Section, id and name of every object that has an id."""
    yield "edgeGateway", config.id, config.name
    yield from (("edgeGatewayUplinks", item.id, item.name) for item in config.routing.uplinks)
    yield from (("orgVdcNetworks", item.id, item.name) for item in config.routing.networks)
    yield from (("firewallGroups", item.id, item.name) for item in config.firewall.groups)
    yield from (("applicationPortProfiles", item.id, item.name) for item in config.firewall.profiles)
    for section in (Section.USER, Section.DEFAULT):
        yield from ((section.value, rule.id, rule.name) for rule in config.firewall.rules if rule.section is section)
    yield from (("natRules", item.id, item.name) for item in config.nat.rules)
    yield from (("staticRoutes", item.id, item.name) for item in config.routing.static_routes)
