"""The difference between two planned documents as edits of named objects."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping, Sequence
from typing import Any, Final

from edge.gateway.stored_text import as_json
from edge.patch import Delete, Edit, Move, ObjectRef, Position, Upsert

MOST: Final = 64
"""With more edits, the whole document is the shorter way."""

_SINGLE: Final = frozenset({"edgeGateway", "options", "dns"})
_NESTED: Final = frozenset({"firewallRules", "loadBalancer"})

Document = Mapping[str, Any]


def edits_between(before: Document, after: Document) -> list[Edit] | None:
    """What makes ``after`` of ``before``; None where it cannot be said so, or not briefly.

    Objects are told by their ids, which planned documents always have.
    """
    if before.keys() != after.keys():
        return None
    found: list[Edit] = []
    for section, wanted in after.items():
        had = before[section]
        if had == wanted:
            continue
        edits = _section(section, had, wanted)
        if edits is None:
            return None
        found += edits
        if len(found) > MOST:
            return None
    return found


def _section(section: str, had: Any, wanted: Any) -> list[Edit] | None:
    if section in _SINGLE:
        return [Upsert(section, as_json(wanted))] if isinstance(wanted, dict) else None
    if section not in _NESTED:
        return _objects(section, had, wanted)
    if not isinstance(had, dict) or not isinstance(wanted, dict) or had.keys() != wanted.keys():
        return None
    found: list[Edit] = []
    for part, objects in wanted.items():
        if had[part] != objects:
            edits = _objects(f"{section}.{part}", had[part], objects)
            if edits is None:
                return None
            found += edits
    return found


def _objects(section: str, had: Any, wanted: Any) -> list[Edit] | None:
    before, after = _by_id(had), _by_id(wanted)
    if before is None or after is None:
        return None
    edits: list[Edit] = [Delete(section, ObjectRef(id=id)) for id in before if id not in after]
    places = {id: place for place, id in enumerate(before)}
    staying = _in_order([(places[id], id) for id in after if id in places])
    behind: str | None = None
    for id, item in after.items():
        position = Position(index=0) if behind is None else Position(after=ObjectRef(id=behind))
        if id not in staying:
            if id in before and before[id] == item:
                edits.append(Move(section, ObjectRef(id=id), position))
            else:
                edits.append(Upsert(section, as_json(item), position))
        elif before[id] != item:
            edits.append(Upsert(section, as_json(item)))
        behind = id
    return edits


def _by_id(objects: Any) -> dict[str, Any] | None:
    """Objects by their ids, in order; None if one has none, or two have the same."""
    if not isinstance(objects, list):
        return None
    found = {item["id"]: item for item in objects if isinstance(item, dict) and isinstance(item.get("id"), str)}
    return found if len(found) == len(objects) else None


def _in_order(pairs: Sequence[tuple[int, str]]) -> set[str]:
    """The most of the objects whose places rise: all others have to move."""
    tops: list[int] = []  # the lowest place that a row of each length ends with
    at: list[int] = []
    came_from: list[int] = []
    for index, (place, _) in enumerate(pairs):
        length = bisect_left(tops, place)
        came_from.append(at[length - 1] if length else -1)
        if length == len(tops):
            tops.append(place)
            at.append(index)
        else:
            tops[length], at[length] = place, index
    found = set()
    last = at[-1] if at else -1
    while last >= 0:
        found.add(pairs[last][1])
        last = came_from[last]
    return found
