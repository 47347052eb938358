"""A tenant's document: the objects that it names, with their fields as JSON and their places in the file."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from control.kinds import Kind
from control.names import is_id
from control.tenant.fields import Fields, object_shape
from control.tenant.sections import ORDERED, ORG_FORM, inner_keys, kinds_in, section_of
from control.tenant.written import Written
from edge.document.problems import Path, quoted


@dataclass(slots=True)
class Wanted:
    """An object of a document.  ``fields``: as they are written, references by short names."""

    kind: Kind
    path: Path
    id: str
    display_name: str
    fields: Fields
    sections: dict[str, list[Wanted]] = field(default_factory=dict)
    """What lies in it, by the kind's name; a section that is not written is not there."""

    @property
    def called(self) -> str:
        """By what people know it."""
        return self.display_name or self.id


@dataclass(slots=True)
class Tenant:
    """A document."""

    written: Written
    organization: str
    sections: dict[str, list[Wanted]]


def read_tenant(file: str) -> Tenant:
    """Raises DocumentError with all that is wrong with the file by itself."""
    written = Written.read(file)
    data = written.data
    organization = ""
    sections: dict[str, list[Wanted]] = {}
    if not isinstance(data, dict):
        written.error("WRONG_TYPE", (), "expected an object with sections such as networks and edges")
    else:
        organization = data.get("organization") or ""
        if not isinstance(organization, str):
            written.error("WRONG_TYPE", ("organization",), "expected a text")
        _unknown_keys(written, data)
        sections = _sections(written, (), data, ORG_FORM)
    written.check()
    return Tenant(written, organization, sections)


def _unknown_keys(written: Written, data: dict[str, Any]) -> None:
    known = ["organization", *map(section_of, kinds_in(ORG_FORM))]
    for key in data:
        if key not in known:
            hint = written.nearest(key, known)
            written.error("UNKNOWN_FIELD", (key,), f"there is no section {quoted(key)}{hint}", at_key=True)


def _sections(written: Written, path: Path, data: dict[str, Any], form: str) -> dict[str, list[Wanted]]:
    """The objects in one, section by section."""
    found = {}
    for kind in kinds_in(form):
        key = section_of(kind)
        if key in data:
            items = [_object(written, place, item, kind) for place, item in written.list((*path, key), data[key])]
            found[kind.name] = [item for item in items if item is not None]
            _check_names(written, found[kind.name])
    return found


def _object(written: Written, path: Path, data: Any, kind: Kind) -> Wanted | None:
    shape = object_shape(kind)
    own = [name for name in kind.model.model_fields if shape.field(name)]
    if not isinstance(data, dict):
        written.object(path, data, shape, own)
        return None
    fields = written.object(path, data, shape, own, ["id", *inner_keys(kind)])
    given = data.get("id", "")
    if not isinstance(given, str) or (given and not is_id(given)):
        written.error("INVALID_VALUE", (*path, "id"), "expected up to 63 letters, digits and . _ -")
        given = ""
    name = fields.get("displayName", "")
    if not given and not name:
        keys = "displayName or id" if "display_name" in own else "id"
        written.error("MISSING_FIELD", path, f"the object has no {keys}")
    wanted = Wanted(kind, path, given, name if isinstance(name, str) else "", fields)
    wanted.sections = _sections(written, path, data, kind.form)
    return wanted


def _check_names(written: Written, objects: list[Wanted]) -> None:
    """What can be told apart neither by id nor by name, where names are unique."""
    seen: set[tuple[str, str]] = set()
    for item in objects:
        keys = [("id", item.id)] if item.id else []
        if item.display_name and (item.kind.unique or item.kind.name in ORDERED):
            keys.append(("displayName", item.display_name))
        for key in keys:
            if key in seen:
                written.error("DUPLICATE_NAME", (*item.path, key[0]), f"{quoted(key[1])} is there twice")
            seen.add(key)
