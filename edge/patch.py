"""Edits of single objects, made to the plain data of a document.

What is not edited stays as its author wrote it, wrapped lists and odd spellings included: a patched document shares all
of that with the one before, which is not changed.  An object keeps its id: where a generated one would become another
by an edit of a namesake, it is written out first.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, NoReturn

from edge.document import services
from edge.document.context import generated_id
from edge.document.problems import Findings, described, path_text, quoted, to_problems
from edge.document.text import TextError, parse
from edge.errors import ArgumentError, DocumentError, ObjectUnknownError, Problem

Object = dict[str, Any]

_NESTED: Final = {
    "userDefinedRules": ("firewallRules", "userDefinedRules"),
    "defaultRules": ("firewallRules", "defaultRules"),
    "systemRules": ("firewallRules", "systemRules"),
    "edgeGatewayUplinks": ("edgeGateway", "edgeGatewayUplinks"),
    "pools": ("loadBalancer", "pools"),
    "virtualServices": ("loadBalancer", "virtualServices"),
}
"""Lists that stand inside a section, by the names that differences give them."""

_SINGLE: Final = frozenset(
    (
        *("edgeGateway", "options", "firewallRules", "loadBalancer", "dns", "dhcp", "dhcpForwarder", "slaacProfile"),
        *("bgp", "qos", "routeAdvertisement"),
    )
)
"""Sections that are one object."""

_KEYS: Final[Mapping[str, tuple[str, str]]] = {"edgeGatewayUplinks": ("uplinkId", "uplinkName")}
"""Where the id and the name of a section's objects stand, if not in ``id`` and ``name``."""


@dataclass(frozen=True, slots=True)
class ObjectRef:
    """Names one object, by its id or by its name."""

    id: str = ""
    name: str = ""

    def __str__(self) -> str:
        return f"the id {quoted(self.id)}" if self.id else f"the name {quoted(self.name)}"


@dataclass(frozen=True, slots=True)
class Position:
    """A place in a list: right before or behind an object, at an index from 0; at the end if nothing is said."""

    before: ObjectRef | None = None
    after: ObjectRef | None = None
    index: int | None = None


@dataclass(frozen=True, slots=True)
class Upsert:
    """Add the object, a YAML or JSON text, or replace the one with its id or, without an id, its name."""

    section: str
    object: str
    position: Position | None = None


@dataclass(frozen=True, slots=True)
class Delete:
    """Remove an object."""

    section: str
    ref: ObjectRef


@dataclass(frozen=True, slots=True)
class Move:
    """Put an object elsewhere."""

    section: str
    ref: ObjectRef
    position: Position


Edit = Upsert | Delete | Move


def patch(document: Mapping[str, Any], edits: Sequence[Edit]) -> Object:
    """The document with all edits made, in their order.

    Raises ArgumentError for an edit that cannot be meant, ObjectUnknownError for one of something that is not there,
    DocumentError for an object that cannot be read and for a name that two objects bear.  Paths begin with
    ``edits[i]``.
    """
    if not edits:
        raise ArgumentError("there is nothing to change", [("edits", "expected at least one edit")])
    changed: Object = dict(document)
    for number, edit in enumerate(edits):
        place = f"edits[{number}]"
        steps = _steps(changed, edit.section, place)
        if len(steps) == 1 and services.section_of(steps[0]) in _SINGLE:
            _replace_single(changed, edit, steps[0], place)
            continue
        section = _Section(changed, steps, place)
        if isinstance(edit, Upsert):
            section.upsert(_object(edit.object, f"{place}.upsert.object"), edit.position)
        elif isinstance(edit, Delete):
            section.delete(edit.ref)
        else:
            section.move(edit.ref, edit.position)
        section.put_back()
    return changed


def _steps(document: Mapping[str, Any], section: str, place: str) -> tuple[str, ...]:
    """The author's own keys that lead to a section."""
    steps = _NESTED.get(section) or tuple(section.split(".")) if "/" not in section else (section,)
    canonical = services.section_of(steps[0])
    nested = len(steps) == 2 and _NESTED.get(steps[1]) == steps
    if canonical is None or not (len(steps) == 1 or nested) or canonical in services.CARRIED:
        known = (*services.KNOWN_KEYS, *map(".".join, _NESTED.values()))
        hint = Findings().nearest(section, known)
        raise ArgumentError(
            f"{place}.section: there is no section {quoted(section)}{hint}",
            [(f"{place}.section", f"expected a section of the document, such as natRules{hint}")],
        )
    own = next((key for key in document if services.section_of(key) == canonical), canonical)
    if "{id}" in canonical:
        own = steps[0]
    return (own, *steps[1:])


def _replace_single(document: Object, edit: Edit, section: str, place: str) -> None:
    if not isinstance(edit, Upsert) or edit.position is not None:
        raise ArgumentError(
            f"{place}: {quoted(section)} is one object; it can be replaced by an upsert without a position",
            [(place, "expected an upsert without a position")],
        )
    given = _object(edit.object, f"{place}.upsert.object")
    before = document.get(section)
    if section == "edgeGateway" and isinstance(before, dict):
        # Lists inside have sections of their own; the gateway's id and uplinks outlive its other fields.
        given = {key: before[key] for key in ("id", "edgeGatewayUplinks") if key in before} | given
    document[section] = given


def _object(text: str, place: str) -> Object:
    """The object of an upsert.  Raises DocumentError whose places are those in the object's own text."""
    try:
        source = parse(text, None)
    except TextError as error:
        problems = to_problems(error.findings, None, error.places)
        raise DocumentError([_at(problem, place) for problem in problems]) from None
    if source.duplicates:
        found = [to_problems([item], None, {(item.path, item.at_key): where})[0] for item, where in source.duplicates]
        raise DocumentError([_at(problem, place) for problem in found])
    if not isinstance(source.data, dict):
        message = f"expected an object, not {described(source.data)}"
        raise DocumentError([Problem("WRONG_TYPE", place, message, line=1, column=1)])
    return source.data


def _at(problem: Problem, place: str) -> Problem:
    path = ".".join(part for part in (place, problem.path) if part)
    return Problem(problem.code, path, problem.message, line=problem.line, column=problem.column)


class _Section:
    """One list of a document while it is edited: a copy, put back when done."""

    def __init__(self, document: Object, steps: tuple[str, ...], place: str) -> None:
        self._document = document
        self._steps = steps
        self._place = place
        self._label = services.ENDPOINTS.get(steps[-1], steps[-1])
        self._id_key, self._name_key = _KEYS.get(self._label, ("id", "name"))
        holder = document.get(steps[0]) if len(steps) == 2 else document
        if len(steps) == 2 and not isinstance(holder, dict | None):
            self._refuse(f"{quoted(steps[0])} is no object")
        self._holder: Object = dict(holder or {}) if len(steps) == 2 else document
        written = self._holder.get(steps[-1])
        self._wrapper: Object | None = written if isinstance(written, dict) else None
        items = written if self._wrapper is None else self._wrapper.get("values")
        if not isinstance(items, list | None) or (self._wrapper is not None and "values" not in self._wrapper):
            self._refuse(f"{quoted('.'.join(steps))} is no list")
        self._items: list[Any] = list(items or ())
        self._size = len(self._items)

    def _refuse(self, text: str) -> NoReturn:
        raise ArgumentError(f"{self._place}.section: {text}", [(f"{self._place}.section", text)])

    def put_back(self) -> None:
        """Let the document have the list, bare or wrapped as its author had it."""
        changed: Any = self._items
        if self._wrapper is not None:
            changed = self._wrapper | {"values": self._items}
            total = changed.get("resultTotal")
            if isinstance(total, int) and not isinstance(total, bool):
                changed["resultTotal"] = max(0, total + len(self._items) - self._size)
        self._holder[self._steps[-1]] = changed
        if len(self._steps) == 2:
            self._document[self._steps[0]] = self._holder

    def upsert(self, given: Object, position: Position | None) -> None:
        """Add or replace an object."""
        at = self._same(given)
        old = None if at is None else self._items[at]
        self._settle_ids(given.get(self._name_key), old)
        if at is not None:
            old = self._items[at]
            kept = old.get(self._id_key) if isinstance(old, dict) else None
            if kept and not given.get(self._id_key):
                given = {self._id_key: kept, **given}
            self._items[at] = given
            if position is not None:
                self._put(at, position, "upsert")
            return
        self._items.append(given)
        self._put(len(self._items) - 1, position or Position(), "upsert")
        self._keep_ids_apart(given)

    def delete(self, ref: ObjectRef) -> None:
        """Remove an object."""
        at = self._find(ref, f"{self._place}.delete.object")
        self._settle_ids(None, self._items[at])
        del self._items[at]

    def move(self, ref: ObjectRef, position: Position) -> None:
        """Put an object elsewhere."""
        at = self._find(ref, f"{self._place}.move.object")
        self._settle_ids(None, self._items[at])
        self._put(at, position, "move")

    def _put(self, at: int, position: Position, kind: str) -> None:
        path = f"{self._place}.{kind}.position"
        item = self._items[at]
        beside = position.before or position.after
        target = len(self._items)
        if beside is not None:
            place = f"{path}.{'before' if position.before else 'after'}"
            found = self._find(beside, place)
            if found == at:
                raise ArgumentError(
                    f"{place}: an object cannot stand beside itself", [(place, "expected another object")]
                )
            target = found - (found > at) + (position.before is None)
        elif position.index is not None:
            target = position.index
        del self._items[at]
        self._items.insert(min(max(target, 0), len(self._items)), item)

    def _same(self, given: Object) -> int | None:
        """The object that one with this id, or without an id with this name, replaces."""
        id, name = given.get(self._id_key), given.get(self._name_key)
        path = f"{self._place}.upsert.object"
        if isinstance(id, str) and id:
            return self._by_id(id)
        if not isinstance(name, str) or not name:
            message = f"the field {quoted(self._name_key)} is required"
            raise DocumentError([Problem("MISSING_FIELD", f"{path}.{self._name_key}", message)])
        return self._by_name(name, f"{path}.{self._name_key}")

    def _find(self, ref: ObjectRef, path: str) -> int:
        if not ref.id and not ref.name:
            raise ArgumentError(f"{path}: expected an id or a name", [(path, "expected an id or a name")])
        at = self._by_id(ref.id) if ref.id else self._by_name(ref.name, path)
        if at is None:
            section = ".".join(self._steps)
            text = f"there is no object with {ref} in {section}"
            raise ObjectUnknownError(f"{path}: {text}", [(path, text)])
        return at

    def _by_id(self, id: str) -> int | None:
        given = next((at for at, item in enumerate(self._items) if self._field(item, self._id_key) == id), None)
        if given is not None:
            return given
        return next((at for at, generated in self._generated() if generated == id), None)

    def _by_name(self, name: str, path: str) -> int | None:
        key = self._name_key
        found = [at for at, item in enumerate(self._items) if isinstance(item, dict) and item.get(key) == name]
        if len(found) > 1:
            message = f"{len(found)} objects of {path_text(self._steps)} bear the name {quoted(name)}; name the id"
            raise DocumentError([Problem("AMBIGUOUS_REFERENCE", path, message)])
        return found[0] if found else None

    @staticmethod
    def _field(item: Any, key: str) -> Any:
        return item.get(key) if isinstance(item, dict) else None

    def _generated(self, names: frozenset[str] | None = None) -> list[tuple[int, str]]:
        """Place and generated id of the objects without an id of their own, or of those with certain names."""
        seen: Counter[str] = Counter()
        found = []
        for at, item in enumerate(self._items):
            name = self._field(item, self._name_key)
            if not isinstance(name, str):
                continue
            occurrence = seen[name]
            seen[name] += 1
            if not item.get(self._id_key) and (names is None or name in names):
                found.append((at, generated_id(self._label, name, occurrence)))
        return found

    def _keep_ids_apart(self, added: Object) -> None:
        """Give a new object an id of its own where the one that would be generated is written in another already, as
        that of an object that once bore its name."""
        own = {self._field(item, self._id_key) for item in self._items}
        generated = {id: at for at, id in self._generated(frozenset((str(added.get(self._name_key)),)))}
        clash = next((at for id, at in generated.items() if id in own and self._items[at] is added), None)
        if clash is not None:
            occurrence = 0
            while (id := generated_id(self._label, added[self._name_key], occurrence)) in own | generated.keys():
                occurrence += 1
            self._items[clash] = {self._id_key: id, **added}

    def _settle_ids(self, new_name: Any, edited: Any) -> None:
        """Write out the generated ids that an edit of ``edited``, or a new object of a name, could change: those of
        objects that share a name with either, or the object's own if it is about to get another name."""
        old_name = self._field(edited, self._name_key)
        names = {name for name in (new_name, old_name) if isinstance(name, str)}
        key = self._name_key
        written = (item.get(key) for item in self._items if isinstance(item, dict))
        counts = Counter(name for name in written if isinstance(name, str) and name in names)
        renamed = edited is not None and new_name is not None and new_name != old_name
        shared = {name for name in names if counts[name] > 1 or (edited is None and counts[name])}
        if renamed:
            shared |= names
        if shared:
            for at, id in self._generated(frozenset(shared)):
                self._items[at] = {self._id_key: id, **self._items[at]}
