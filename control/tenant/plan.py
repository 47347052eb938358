"""What has to be done so that a tenant is as its document says."""

from __future__ import annotations

import copy
import re
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from pydantic import ValidationError

from control.api.shapes import request_shape
from control.kinds import Kind
from control.kinds.kind import CREATE, DELETE, UPDATE
from control.names import SYSTEM_PROFILES, camel
from control.tenant.document import Tenant, Wanted
from control.tenant.fields import Fields, from_model, object_shape, references, to_model
from control.tenant.references import REFERENCES
from control.tenant.sections import CHOSEN, ORDERED, UNNEEDED, kinds_in, order_of, section_of
from control.tenant.there import Item, There, form
from edge.diff import Change, ChangeKind, FieldChange, moved
from edge.document.problems import Path, quoted
from edge.firewall.system_profiles import system_profile_names

SECRET = "(secret)"  # noqa: S105 - what is shown instead of one
_NO_ID = re.compile(r"[^A-Za-z0-9._-]+")


@dataclass(frozen=True, slots=True)
class Step:
    """A request, and the object of the document that it is for, None for one that the document does not name."""

    kind: Kind
    method: str
    request: Fields
    wanted: Wanted | None


@dataclass(slots=True)
class Plan:
    """What would be done: ``changes`` for people, ``steps`` in an order in which they can be made.

    ``unnamed``: how many objects are there that the document does not name, and that stay.
    """

    changes: list[Change] = field(default_factory=list)
    steps: list[Step] = field(default_factory=list)
    unnamed: int = 0
    uncompared: bool = False
    """Does the document have secrets that are set already?"""


@dataclass(slots=True)
class _Pair:
    """An object of the document, and the one that is there."""

    wanted: Wanted
    parent: str
    name: str
    item: Item | None


@dataclass(slots=True)
class _Place:
    """The objects of a section, in the document's order, and those that it does not name, in theirs."""

    kind: Kind
    parent: str
    label: str
    items: list[Item]
    pairs: list[_Pair]
    left: list[Item]


def plan(tenant: Tenant, there: There, *, prune: bool) -> Plan:
    """Raises DocumentError for what the document says of objects that are not there, or cannot be changed so."""
    places = list(_places(tenant, there, tenant.sections, there.org, ""))
    tenant.written.check()
    found = Plan()
    first: list[Step] = []
    middle: list[tuple[int, Step]] = []
    last: list[Step] = []
    for place in places:
        made = _Comparison(tenant, there, place, prune=prune)
        middle += [(order_of(place.kind), step) for step in made.steps()]
        if prune and place.kind.name not in ORDERED:
            (first if place.kind.name in UNNEEDED else last).extend(made.deletions())
        else:
            found.unnamed += len(place.left) if place.kind.name not in ORDERED else 0
        found.changes += made.changes
        found.uncompared |= made.uncompared
    tenant.written.check()
    last.sort(key=lambda step: -order_of(step.kind))
    found.steps = [*first, *(step for _, step in sorted(middle, key=lambda pair: pair[0])), *last]
    return found


def _places(
    tenant: Tenant, there: There, sections: dict[str, list[Wanted]], parent: str, label: str
) -> Iterator[_Place]:
    """Which object of the document is which of those that are there, from the outside inwards."""
    inner: list[tuple[_Pair, str]] = []
    for kind in kinds_in(form(parent)):
        if kind.name not in sections:
            continue
        items = there.read(kind, parent)
        pairs, left = _paired(tenant, there, kind, parent, sections[kind.name], items)
        yield _Place(kind, parent, label + section_of(kind), items, pairs, left)
        inner += [(pair, f"{label}{section_of(kind)}[{pair.wanted.called}].") for pair in pairs]
    for pair, inner_label in inner:
        if pair.wanted.sections:
            yield from _places(tenant, there, pair.wanted.sections, pair.name, inner_label)


def _paired(
    tenant: Tenant, there: There, kind: Kind, parent: str, objects: Sequence[Wanted], items: Sequence[Item]
) -> tuple[list[_Pair], list[Item]]:
    """By id, then by display name, several of one name in their order."""
    by_id = {item["name"].rpartition("/")[2]: item for item in items}
    asked = {wanted.id for wanted in objects if wanted.id}
    by_name: dict[str, list[Item]] = defaultdict(list)
    for key, item in by_id.items():
        if key not in asked:
            by_name[item.get("displayName") or key].append(item)
    place = f"{parent}/{section_of(kind)}"
    taken = set(by_id) | asked
    pairs = []
    for wanted in objects:
        named = by_name[wanted.display_name]
        found = by_id.get(wanted.id) if wanted.id else named.pop(0) if named else None
        if found is None and kind.name in ORDERED:
            what = f"there is no {kind.words} {quoted(wanted.called)}, and a document orders none"
            tenant.written.error("OBJECT_UNKNOWN", wanted.path, what)
            continue
        key = found["name"].rpartition("/")[2] if found else wanted.id or _new_id(wanted.display_name, taken)
        taken.add(key)
        pairs.append(_Pair(wanted, parent, f"{place}/{key}", found))
        there.call(kind, parent, f"{place}/{key}", wanted.display_name)
    paired = {pair.name for pair in pairs}
    return pairs, [item for item in items if item["name"] not in paired]


def _new_id(display_name: str, taken: set[str]) -> str:
    base = _NO_ID.sub("-", display_name).strip("-._")[:56] or "object"
    found, number = base, 2
    while found in taken:
        found, number = f"{base}-{number}", number + 1
    return found


class _Comparison:
    """The difference in one section."""

    def __init__(self, tenant: Tenant, there: There, place: _Place, *, prune: bool) -> None:
        self._tenant = tenant
        self._there = there
        self._place = place
        self._kind = place.kind
        self._shape = object_shape(place.kind)
        self._own = [name for name in place.kind.model.model_fields if self._shape.field(name)]
        self._method = place.kind.method(CREATE) if CREATE in place.kind.methods else ""
        self._is_list = bool(self._method and request_shape(self._method).field("position"))
        gone = {item["name"] for item in place.left} if prune else set()
        self._stay = [item["name"] for item in place.items if item["name"] not in gone]
        self._places = {item["name"]: number for number, item in enumerate(place.items, 1)}
        self.changes: list[Change] = []
        self.uncompared = False

    def steps(self) -> list[Step]:
        """What changes objects, then what makes and moves them."""
        updates, rest = [], []
        placing = self._placing() if self._is_list else {}
        for number, pair in enumerate(self._place.pairs):
            fields, value = self._read(pair)
            if value is None:
                continue
            position = placing.get(pair.name)
            if pair.item is None:
                rest.append(self._create(pair, fields, position, number))
                continue
            different = self._different(pair, value)
            if different:
                updates.append(self._update(pair, value, different))
            if position is not None:
                method = f"{self._kind.service}/Move{self._kind.noun}"
                rest.append(Step(self._kind, method, {"name": pair.name, "position": position}, pair.wanted))
            if different or position is not None:
                self._tell(pair, different, number, moved_there=position is not None)
        return [*updates, *rest]

    def deletions(self) -> list[Step]:
        """What the document does not name."""
        steps = []
        for item in self._place.left:
            request = {"name": item["name"], "etag": item.get("etag", "")}
            steps.append(Step(self._kind, self._kind.method(DELETE), request, None))
            at = self._places[item["name"]] if self._is_list else None
            self.changes.append(Change(ChangeKind.REMOVED, self._place.label, _called(item), item["name"], at))
        return steps

    # ------------------------------------------------------------------ reading

    def _read(self, pair: _Pair) -> tuple[Fields, dict[str, Any] | None]:
        """The wanted fields with whole names, and as a model has them; None if they are wrong."""
        fields = copy.deepcopy(pair.wanted.fields)
        for holder, key, kinds in references(fields, self._shape, REFERENCES.get(self._kind.name, {})):
            holder[key] = self._found(pair, kinds, holder[key])
        given = to_model(fields, self._shape)
        there = to_model(pair.item, self._shape, self._own) if pair.item else {}
        if self._kind.name in ORDERED:
            given = {**there, **given}
        for name, anything in CHOSEN.get(self._kind.name, {}).items():
            given.setdefault(name, there.get(name, anything))
        try:
            value = self._kind.model.model_validate(given, strict=False)
        except ValidationError as error:
            self._refuse(pair.wanted, error)
            return fields, None
        return fields, value.model_dump(mode="json")

    def _found(self, pair: _Pair, kinds: Sequence[str], text: Any) -> Any:
        if not isinstance(text, str) or "/" in text:
            return text
        where = (pair.parent, self._there.org)
        try:
            found = self._there.find(kinds, text, dict.fromkeys(where))
        except LookupError as several:
            self._wrong(pair.wanted, text, "AMBIGUOUS_REFERENCE", f"{quoted(text)} may be one of {several}")
            return text
        if found is None and "application_port_profile" in kinds and text in system_profile_names():
            return f"{SYSTEM_PROFILES}{text}"
        if found is None:
            found = self._there.shared(kinds, text, pair.parent)
        if found is None:
            self._wrong(pair.wanted, text, "DANGLING_REFERENCE", f"there is no {quoted(text)}")
        return found or text

    def _wrong(self, wanted: Wanted, text: str, code: str, message: str) -> None:
        """An error at the place where a short name is written."""
        data = self._tenant.written.at(wanted.path)
        self._tenant.written.error(code, (*wanted.path, *(_where(data, text) or ())), message)

    def _refuse(self, wanted: Wanted, error: ValidationError) -> None:
        for item in error.errors(include_input=False, include_url=False, include_context=False):
            steps = list(item["loc"])
            missing = str(steps.pop()) if item["type"] == "missing" else ""
            inner = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in steps)
            path = self._tenant.written.place_of(wanted.path, inner)
            if missing:
                text = f"the field {quoted(camel(missing))} is required"
                self._tenant.written.error("MISSING_FIELD", path, text)
            else:
                self._tenant.written.error("INVALID_VALUE", path, item["msg"].removeprefix("Value error, "))

    # ------------------------------------------------------------------ comparing

    def _different(self, pair: _Pair, value: dict[str, Any]) -> dict[str, tuple[Any, Any]]:
        """Field -> what it is and what it should be."""
        assert pair.item is not None
        written = to_model(pair.wanted.fields, self._shape)
        there = to_model(pair.item, self._shape, self._own)
        have = self._kind.model.model_validate(there, strict=False).model_dump(mode="json")
        found = {}
        for name in self._own:
            if name in self._kind.secrets:
                is_set = pair.item.get(camel(f"{name}_set"))
                if written.get(name) and is_set:
                    self.uncompared = True
                elif written.get(name):
                    found[name] = (SECRET, SECRET)
                continue
            if self._kind.name in ORDERED and name not in written:
                continue
            if have[name] != value[name]:
                found[name] = (have[name], value[name])
        for name in found:
            if name in self._kind.fixed:
                path = self._tenant.written.place_of(pair.wanted.path, name)
                text = f"it stays {self._shown(found[name][0])}: another one takes another object"
                self._tenant.written.error("CONFLICT", path, text)
        return found

    def _placing(self) -> dict[str, Fields]:
        """Where each object goes that is new or has to move, to be done in this order."""
        known = {name: index for index, name in enumerate(self._stay)}
        order = [known[pair.name] for pair in self._place.pairs if pair.name in known]
        movers = moved(order)
        kept = [pair.name for pair in self._place.pairs if pair.name in known and known[pair.name] not in movers]
        found: dict[str, Fields] = {}
        previous = ""
        for pair in self._place.pairs:
            if pair.name not in kept:
                if previous:
                    found[pair.name] = {"after": previous}
                else:
                    found[pair.name] = {"before": kept[0]} if kept else {"last": True}
            previous = pair.name
        return found

    # ------------------------------------------------------------------ requests

    def _create(self, pair: _Pair, fields: Fields, position: Fields | None, number: int) -> Step:
        key = pair.name.rpartition("/")[2]
        request = {"parent": pair.parent, f"{self._kind.name}_id": key, self._kind.name: fields}
        if position is not None:
            request["position"] = position
        given = to_model(fields, self._shape)
        at = number + 1 if self._is_list else None
        told = tuple(FieldChange(camel(name), None, self._told(name, value)) for name, value in given.items())
        self.changes.append(Change(ChangeKind.ADDED, self._place.label, pair.wanted.called, pair.name, None, at, told))
        return Step(self._kind, self._method, request, pair.wanted)

    def _update(self, pair: _Pair, value: dict[str, Any], different: dict[str, tuple[Any, Any]]) -> Step:
        assert pair.item is not None
        written = to_model(pair.wanted.fields, self._shape)
        new = {name: written[name] if name in self._kind.secrets else value[name] for name in different}
        fields = from_model(new, self._shape)
        request = {
            self._kind.name: {"name": pair.name, "etag": pair.item.get("etag", ""), **fields},
            "updateMask": ",".join(map(camel, different)),
        }
        return Step(self._kind, self._kind.method(UPDATE), request, pair.wanted)

    def _tell(self, pair: _Pair, different: dict[str, tuple[Any, Any]], number: int, *, moved_there: bool) -> None:
        assert pair.item is not None
        fields = tuple(
            FieldChange(camel(name), self._shown(old), self._shown(new)) for name, (old, new) in different.items()
        )
        kind = ChangeKind.CHANGED if different else ChangeKind.MOVED
        old = self._places[pair.name]
        self.changes.append(
            Change(kind, self._place.label, pair.wanted.called, pair.name, old, number + 1, fields, moved_there)
        )

    def _told(self, name: str, value: Any) -> Any:
        return SECRET if name in self._kind.secrets else self._shown(value)

    def _shown(self, value: Any) -> Any:
        """A value with the names of others as people use them, and without what is not given."""
        if isinstance(value, dict):
            return {camel(key): self._shown(inner) for key, inner in value.items() if inner not in (None, "", [], {})}
        if isinstance(value, list):
            return [self._shown(inner) for inner in value]
        if isinstance(value, str):
            return self._there.display(value)
        return value


def _called(item: Item) -> str:
    return str(item.get("displayName") or item["name"].rpartition("/")[2])


def _where(data: Any, text: str) -> Path | None:
    """Where a text stands below a value."""
    if data == text:
        return ()
    inner = data.items() if isinstance(data, dict) else enumerate(data) if isinstance(data, list) else ()
    for key, value in inner:
        if key not in ("displayName", "display_name", "id", "description"):
            found = _where(value, text)
            if found is not None:
                return (key, *found)
    return None
