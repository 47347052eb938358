"""What a kind of objects is: where they lie, what can be said of them, who may, and what holds between them.

A kind is its model in :mod:`control.objects`, its messages in ``proto/control/v1``, and one :class:`Kind`; methods,
rights, conversions, lists, references, audit and tasks follow from it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from control import names
from control.access.roles import Permission
from control.objects.values import Value
from control.store import Reader, Record, WriteUnit
from control.store.listing import Listing, of_kind
from edge.errors import ArgumentError

CREATE: Final = "Create"
GET: Final = "Get"
LIST: Final = "List"
UPDATE: Final = "Update"
DELETE: Final = "Delete"
EVERY: Final = frozenset({CREATE, GET, LIST, UPDATE, DELETE})
WRITES: Final = frozenset({CREATE, UPDATE, DELETE})

_EDGE = re.compile(r"orgs/[^/]+/edges/[^/]+")


@dataclass(frozen=True, slots=True)
class Change:
    """An object that is about to be made (``before`` None), changed, or deleted (``value`` None)."""

    unit: WriteUnit
    kind: Kind
    path: str
    before: Record | None
    value: Any

    @property
    def org(self) -> str:
        """The organization that it lies in."""
        return names.organization(self.path)

    def wrong(self, field_path: str, text: str) -> ArgumentError:
        """The error for a field of the request's object: ``text`` says what was expected."""
        return ArgumentError(f"the {self.kind.name} is wrong", [(f"{self.kind.name}.{field_path}", text)])


def own_edge(_: Reader, record: Record) -> Iterable[str]:
    """The edge that an object lies in, or none."""
    found = _EDGE.match(record.path)
    return [found[0]] if found else []


def _nothing(*_: Any) -> Any:
    return ()


def _no_state(_: Reader, __: Record) -> Mapping[str, Any]:
    return {}


def _no_rules(_: Change) -> None:
    pass


def _no_more(_: WriteUnit, __: Record) -> None:
    pass


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """``name`` is in the store, in request fields and metrics; ``form`` its objects' names; ``service``, ``noun`` and
    ``plural`` make methods, ``words`` tasks.

    The model's fields have the names and shapes of the message's; what the message has besides is output only.
    """

    name: str
    form: str
    service: str
    noun: str
    plural: str
    words: str
    model: type[Value]
    read: Permission
    write: Permission
    remove: Permission | None = None
    """Who may delete, where these are others than those who may write."""
    methods: frozenset[str] = EVERY
    refs: Callable[[Any], Iterable[tuple[str, str]]] = _nothing
    """The other objects that a value needs, each with the field that says so."""
    forms: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Fields of references -> the forms of the names that are meant, where the model leaves that open."""
    rules: Callable[[Change], None] = _no_rules
    """What only the store can tell.  Raises ArgumentError (:meth:`Change.wrong`) or a ControlError.  What the value
    refers to is there."""
    saved: Callable[[WriteUnit, Record], None] = _no_more
    """What the store keeps of an object besides, after it has been made or changed."""
    touches: Callable[[Reader, Record], Iterable[str]] = own_edge
    """The edges whose document an object is part of, asked before and after each change."""
    follow: Callable[[Any, Record | None, Record | None], object] = _nothing
    """What comes of an object that has been made, been changed, or is about to be deleted: (changes, before, now)."""
    state: Callable[[Reader, Record], Mapping[str, Any]] = _no_state
    """Output-only fields.  Times are nanoseconds, durations seconds."""
    states: Callable[[Reader, Sequence[Record]], Sequence[Mapping[str, Any]]] | None = None
    """The same for a page of objects, where that takes fewer queries."""
    secrets: frozenset[str] = frozenset()
    """Fields that are write only: kept encrypted, never told.  They are optional in the model, and empty whenever a
    record is read; a message has ``FIELD_set`` to say whether there is one."""
    fixed: frozenset[str] = frozenset()
    """Fields that stay as they were at the creation."""
    reserved: Callable[[Any, Any], Iterable[str]] = _nothing
    """The paths of fields in which two values (before, now) differ and that only the provider changes."""
    unique: bool = True
    """Is the display name unique among those that lie in the same object?"""
    filters: tuple[str, ...] = ()
    orders: tuple[str, ...] = ()
    """Fields to select and to order by, besides display_name, create_time and update_time; the first order is the
    default one.  ``position`` is the order of :meth:`control.store.unit.WriteUnit.move`."""
    listing: Listing = field(init=False)

    def __post_init__(self) -> None:
        shape = of_kind(self.model, self.filters, self.orders, unique=self.unique)
        object.__setattr__(self, "listing", shape)

    def output(self, reader: Reader, records: Sequence[Record]) -> Sequence[Mapping[str, Any]]:
        """The output-only fields of some objects."""
        if self.states is not None:
            return self.states(reader, records)
        return [self.state(reader, record) for record in records]

    @property
    def parent(self) -> str:
        """The form of the name of what they lie in, '' if that is nothing."""
        return names.parent(self.form)

    @property
    def list_field(self) -> str:
        """The field of List answers."""
        return re.sub(r"(?<=[a-z])(?=[A-Z])", "_", self.plural).lower()

    def method(self, verb: str) -> str:
        """``IpSetService/ListIpSets``."""
        return f"{self.service}/{verb}{self.plural if verb == LIST else self.noun}"

    def permission(self, verb: str) -> Permission:
        """What a method asks for."""
        if verb == DELETE and self.remove is not None:
            return self.remove
        return self.write if verb in WRITES else self.read

    def changeable(self) -> list[str]:
        """The fields that an update can change."""
        return [name for name in self.model.model_fields if name not in self.fixed]
