"""What changed between two edges, object by object, in the words of the documents.

Objects are paired by id; those that are left, by name and, among equals, by content.  So a pasted answer of the API and
a file written by hand compare, and a rule put in above three others of the same name is one rule added, not four
changed.  Fields are compared as they mean, not as they are spelled: ``{values: [...]}`` or a bare list, a reference by
name or by id, a default written out or left out are no differences.  What the emulator leaves out of its model is
compared too, as it stands in the documents; :mod:`edge.diff_objects` has both kinds.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum
from itertools import islice
from operator import lt
from typing import Any

from edge.diff_objects import REFERENCES, Object, Side, Value
from edge.document import LoadedDocument
from edge.document.context import generated_id
from edge.document.problems import quoted
from edge.model import EdgeConfig

Sections = Mapping[str, Sequence[Object]]


class ChangeKind(StrEnum):
    """What became of an object."""

    ADDED = "ADDED"
    REMOVED = "REMOVED"
    CHANGED = "CHANGED"
    MOVED = "MOVED"


@dataclass(frozen=True, slots=True)
class FieldChange:
    """One field of an object; values are JSON values, None for a field that was or is not given.

    Secrets are hidden; one that changed has the same value twice.
    """

    field: str
    old: Any
    new: Any


@dataclass(frozen=True, slots=True)
class Change:
    """One object's change.  ``section`` is its key in a document; positions count from 1 within it, None where
    their order means nothing.

    ``moved`` says that it changed places with others, not just that some before it came or went.  What changed and
    moved has ``kind`` CHANGED.
    """

    kind: ChangeKind
    section: str
    name: str
    id: str
    old_position: int | None = None
    new_position: int | None = None
    fields: tuple[FieldChange, ...] = ()
    moved: bool = False

    def to_json(self) -> dict[str, object]:
        """The object that ``--json`` prints for this change."""
        return {
            "kind": self.kind.value,
            "section": self.section,
            "name": self.name,
            "id": self.id,
            "oldPosition": self.old_position,
            "newPosition": self.new_position,
            "moved": self.moved,
            "fields": [asdict(item) for item in self.fields],
        }

    def __str__(self) -> str:
        sign = {"ADDED": "+", "REMOVED": "-", "CHANGED": "~", "MOVED": ">"}[self.kind.value]
        place = ""
        if self.moved:
            place = f", from place {self.old_position} to {self.new_position}"
        elif self.kind in (ChangeKind.ADDED, ChangeKind.REMOVED):
            position = self.new_position or self.old_position
            place = f", place {position}" if position else ""
        lines = [f"{sign} {self.section} {quoted(self.name)} {self.kind.value.lower()}{place}"]
        for item in self.fields:
            if self.kind is ChangeKind.ADDED:
                lines.append(f"    {item.field}: {_shown(item.new)}")
            elif self.kind is ChangeKind.CHANGED:
                change = f"{_shown(item.old)} -> {_shown(item.new)}" if item.old != item.new else "changed"
                lines.append(f"    {item.field}: {change}")
        return "\n".join(lines)


def diff(old: LoadedDocument | EdgeConfig, new: LoadedDocument | EdgeConfig) -> list[Change]:
    """Every object that was added, removed, changed or moved, section by section in the order of a document.

    What is not in the model (sections and fields that are not emulated, descriptions) is compared where both sides are
    documents.
    """
    documents = isinstance(old, LoadedDocument) and isinstance(new, LoadedDocument)
    before, after = (
        objects_of(side, with_document=documents) if isinstance(side, LoadedDocument) else Side(side, None).sections()
        for side in (old, new)
    )
    return compare(before, after)


def objects_of(loaded: LoadedDocument, *, with_document: bool = True) -> Sections:
    """The objects of a document as they are compared, section by section; without what the model leaves out, on
    request."""
    return Side(loaded.config, loaded if with_document else None).sections()


def compare(before: Sections, after: Sections, *, whole: bool = True) -> list[Change]:
    """What :func:`diff` says, for whoever compares one document with several; where not ``whole``, objects that were
    added or removed go without their fields."""
    changes: list[Change] = []
    renamed: dict[tuple[str, str], str] = {}
    for section in dict.fromkeys((*before, *after)):
        old, new = (dict(enumerate(side.get(section, ()))) for side in (before, after))
        changes += _section_changes(section, old, new, renamed, whole=whole)
    return changes


def compare_few(
    section: str, before: Few, after: Few, order: Callable[[Mapping[int, int]], Sequence[int]]
) -> list[Change]:
    """The changes of a section, not whole, of which only the objects that differ are given.  ``order`` makes of the
    pairs among these, new position to old, the old positions of all that are on both sides, as they stand now."""
    return _section_changes(
        section, before.objects, after.objects, {}, whole=False, names=(before.names, after.names), order=order
    )


def render(changes: Iterable[Change]) -> str:
    """All changes as text, one block each."""
    return "\n".join(map(str, changes))


def _shown(value: Any) -> str:
    if value is None:
        return "not given"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return value if value.isprintable() and len(value) <= 200 else quoted(value)
    if isinstance(value, list):
        return "[" + ", ".join(map(_shown, value)) + "]"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key}: {_shown(inner)}" for key, inner in value.items()) + "}"
    return str(value)


_ORDERED = frozenset(
    (
        *("edgeGatewayUplinks", "systemRules", "userDefinedRules", "defaultRules", "natRules", "staticRoutes"),
        "distributedFirewall",
    )
)
"""Sections whose order means something."""


# Comparing


@dataclass(frozen=True, slots=True)
class Few:
    """Some objects of a section by position, and the names of all."""

    objects: Mapping[int, Object]
    names: Sequence[str]


def _names(objects: Mapping[int, Object]) -> Sequence[str]:
    return [item.name for item in objects.values()]


def _in_order(partner: Mapping[int, int]) -> Sequence[int]:
    return [partner[new] for new in sorted(partner)]


def _section_changes(
    section: str,
    before: Mapping[int, Object],
    after: Mapping[int, Object],
    renamed: dict[tuple[str, str], str],
    *,
    whole: bool,
    names: tuple[Sequence[str], Sequence[str]] | None = None,
    order: Callable[[Mapping[int, int]], Sequence[int]] = _in_order,
) -> list[Change]:
    """The changes of one section, objects by position.  ``renamed`` gathers (section, old name) → new name, so that
    what refers to an object by its id is not said to have changed with its name."""
    if names is None:
        names = _names(before), _names(after)
    partner = {new: old for old, new in _paired(section, before, after, names)}
    for position, old in partner.items():
        if before[old].name != after[position].name:
            renamed[section, before[old].name] = after[position].name
    gone = before.keys() - partner.values()
    places = moved(order(partner)) if _is_ordered(section) else set()
    changes: list[tuple[int, Change]] = []
    for old in gone:
        item = before[old]
        if not item.asks:
            continue
        given = tuple(FieldChange(key, value.shown, None) for key, value in item.fields.items() if whole)
        changes.append((old, Change(ChangeKind.REMOVED, section, item.name, item.id, old + 1, None, given)))
    for new, item in after.items():
        if new not in partner:
            if not item.asks:
                continue
            fields = item.fields.items() if whole else ()
            given = tuple(FieldChange(key, None, value.shown) for key, value in fields)
            changes.append((new, Change(ChangeKind.ADDED, section, item.name, item.id, None, new + 1, given)))
            continue
        old = partner[new]
        different = _differences(before[old], item, renamed)
        has_moved = old in places
        if different or has_moved:
            kind = ChangeKind.CHANGED if different else ChangeKind.MOVED
            change = Change(kind, section, item.name, item.id, old + 1, new + 1, different, has_moved)
            changes.append((new, change))
    return [change for _, change in sorted(changes, key=lambda pair: pair[0])]


_NOT_GIVEN = Value(None, None)


def _differences(old: Object, new: Object, renamed: Mapping[tuple[str, str], str]) -> tuple[FieldChange, ...]:
    if new.is_made_like(old):
        return ()
    different = []
    before, after = old.fields_beside(new)
    for key in dict.fromkeys((*before, *after)):
        one, other = before.get(key, _NOT_GIVEN), after.get(key, _NOT_GIVEN)
        if _current(key, one.meaning, renamed) != other.meaning:
            different.append(FieldChange(key, one.shown, other.shown))
    return tuple(different)


def _is_ordered(section: str) -> bool:
    return section in _ORDERED or section.endswith("/dfwPolicies/default/rules")


def _current(key: str, value: Any, renamed: Mapping[tuple[str, str], str]) -> Any:
    """An old value with the new names of what it refers to."""
    section = REFERENCES.get(key)
    if section is None or not renamed:
        return value
    if isinstance(value, list):
        return [renamed.get((section, name), name) for name in value]
    return renamed.get((section, value), value)


def _paired(
    section: str,
    before: Mapping[int, Object],
    after: Mapping[int, Object],
    names: tuple[Sequence[str], Sequence[str]],
) -> list[tuple[int, int]]:
    """(old, new) positions of what is the same object: by id, by name and content, by name alone."""
    old_left, new_left = dict.fromkeys(before), dict.fromkeys(after)
    pairs: list[tuple[int, int]] = []

    def pair_by(key: Callable[[Object, int], object]) -> None:
        if not old_left or not new_left:
            return
        waiting: dict[object, list[int]] = defaultdict(list)
        for position in reversed(old_left):
            waiting[key(before[position], position)].append(position)
        for position in list(new_left):
            found = waiting.get(key(after[position], position))
            if found:
                old = found.pop()
                pairs.append((old, position))
                del old_left[old], new_left[position]

    if section in ("edgeGateway", "options"):
        return [(0, 0)]
    pair_by(_sources)
    own = [_own_ids(section, *side) for side in ((before, names[0], old_left), (after, names[1], new_left))]
    common = own[0] & own[1]
    pair_by(lambda item, position: item.id if item.id in common else (position, id(item)))
    # Content is looked at only among several of one name: what is the only one on both sides is paired by name alone.
    counts = [
        Counter(side[position].name for position in left) for side, left in ((before, old_left), (after, new_left))
    ]
    several = {name for name in counts[0].keys() & counts[1].keys() if counts[0][name] > 1 or counts[1][name] > 1}
    if several:
        pair_by(lambda item, _: (item.name, repr(item.meanings) if item.name in several else ""))
    pair_by(lambda item, _: item.name)
    return pairs


def _sources(item: Object, position: int) -> object:
    """What an object was made of; equal for two that are the very same."""
    return (position, id(item)) if item.source is None else (id(item.source[0]), id(item.source[1]))


def _own_ids(section: str, objects: Mapping[int, Object], names: Sequence[str], wanted: Collection[int]) -> set[str]:
    """Ids, of the wanted positions, that were given, not made of section, name and occurrence: those say no more than
    the name does."""
    seen: dict[str, int] = defaultdict(int)
    own: set[str] = set()
    if not wanted:
        return own
    bearing = {objects[position].name for position in wanted}
    for position, name in enumerate(names):
        if name not in bearing:
            continue
        occurrence = seen[name]
        seen[name] += 1
        if position in wanted and objects[position].id != generated_id(section, name, occurrence):
            own.add(objects[position].id)
    return own


def moved(order: Sequence[int]) -> set[int]:
    """Old positions, given in their new order, that have to move: all but a longest run that kept its order."""
    if all(map(lt, order, islice(order, 1, None))):
        return set()
    tails: list[int] = []
    ends: list[int] = []
    previous: dict[int, int | None] = {}
    for old in order:
        at = bisect_left(tails, old)
        previous[old] = ends[at - 1] if at else None
        tails[at : at + 1] = [old]
        ends[at : at + 1] = [old]
    kept: set[int] = set()
    step = ends[-1] if ends else None
    while step is not None:
        kept.add(step)
        step = previous[step]
    return set(order) - kept
