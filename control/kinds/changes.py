"""Making, changing and deleting objects of any kind, as values; what holds for all of them is here."""

from __future__ import annotations

from base64 import b64encode
from typing import Any

from control import names
from control.access.vault import Vault, secret_place
from control.errors import NoSuchObjectError
from control.kinds.kind import Change, Kind
from control.limits import check_another
from control.objects.values import Value
from control.store import Record, WriteUnit
from edge.errors import ArgumentError

_SHORT = 8


class Changes:
    """Changes within a unit of work.  What is wrong raises ArgumentError or a ControlError, and the unit is lost."""

    def __init__(self, unit: WriteUnit, vault: Vault) -> None:
        self.unit = unit
        self.vault = vault

    def create(self, kind: Kind, parent: str, value: Value, *, id: str = "", position: int = 0) -> Record:
        """A new object in ``parent`` ('' for kinds that lie in nothing), its id made where none is given."""
        if parent:
            self.unit.get(parent)
        place = "/".join([*([parent] if parent else []), kind.form.split("/")[-2]])
        path = f"{place}/{id or self._new_id(place, value)}"
        refs = self._refs(kind, path, value)
        check_another(self.unit, kind.name, names.organization(path), parent)
        kind.rules(Change(self.unit, kind, path, None, value))
        value, sealed = self._seal(kind, path, value)
        name = _unique_name(kind, value)
        record = self.unit.create(kind.name, path, value, refs, name=name, sealed=sealed, position=position)
        kind.follow(self, None, record)
        self._changed(kind, record)
        return record

    def update(self, kind: Kind, known: Record, value: Value, etag: str = "") -> Record:
        """Another value for an object; secrets that it does not have stay."""
        refs = self._refs(kind, known.path, value)
        kind.rules(Change(self.unit, kind, known.path, known, value))
        self._touch(kind, known)
        value, sealed = self._seal(kind, known.path, value)
        record = self.unit.update(known, value, etag, refs, name=_unique_name(kind, value), sealed=sealed)
        kind.follow(self, known, record)
        self._changed(kind, record)
        return record

    def delete(self, kind: Kind, known: Record, etag: str = "") -> None:
        """An object that nobody needs."""
        kind.rules(Change(self.unit, kind, known.path, known, None))
        self._touch(kind, known)
        kind.follow(self, known, None)
        self.unit.delete(known, etag)
        self.unit.places.pop(known.path, None)

    def move(self, kind: Kind, known: Record, position: int) -> Record:
        """Another place in the order."""
        record = self.unit.move(known, position)
        self._changed(kind, record)
        return record

    def _changed(self, kind: Kind, record: Record) -> None:
        kind.saved(self.unit, record)
        self.unit.places[record.path] = kind.name
        self._touch(kind, record)

    def _touch(self, kind: Kind, record: Record) -> None:
        for edge in kind.touches(self.unit, record):
            self.unit.touch(edge)

    def _new_id(self, place: str, value: Value) -> str:
        """The display name if it can be one."""
        shown = getattr(value, "display_name", "")
        if names.is_id(shown) and self.unit.find(f"{place}/{shown}") is None:
            return str(shown)
        while True:
            found = self.unit.surroundings.id()[:_SHORT]
            if self.unit.find(f"{place}/{found}") is None:
                return found

    def _refs(self, kind: Kind, path: str, value: Value) -> list[tuple[str, str]]:
        """What an object needs.  What another organization has is not there: NoSuchObjectError."""
        found = list(kind.refs(value))
        for target, field in found:
            # Before it is looked for: whether there is something of another kind is not told.
            if field in kind.forms and not any(names.fits(target, form) for form in kind.forms[field]):
                raise ArgumentError(
                    f"the {kind.name} is wrong",
                    [(f"{kind.name}.{_at(value, field, target)}", f"expected {' or '.join(kind.forms[field])}")],
                )
        for target, _ in found:
            strange = not names.is_shared(target) and names.organization(target) != names.organization(path)
            if strange or self.unit.find(target) is None:
                raise NoSuchObjectError(target)
        return found

    def _seal(self, kind: Kind, path: str, value: Value) -> tuple[Value, dict[str, str]]:
        """A value without its secrets, and these encrypted."""
        given = {name: getattr(value, name) for name in kind.secrets if getattr(value, name)}
        sealed = {
            name: b64encode(self.vault.seal(secret.encode(), secret_place(path, name))).decode()
            for name, secret in given.items()
        }
        return value.model_copy(update=_without(kind)) if given else value, sealed


def _at(value: Value, field: str, target: str) -> str:
    """Where in a field a reference stands."""
    given = getattr(value, field)
    return f"{field}[{given.index(target)}]" if isinstance(given, tuple) and target in given else field


def _without(kind: Kind) -> dict[str, Any]:
    return {name: kind.model.model_fields[name].get_default() for name in kind.secrets}


def _unique_name(kind: Kind, value: Value) -> str:
    """What is unique among its like, '' if that is the id."""
    return getattr(value, "display_name", "") if kind.unique else ""
