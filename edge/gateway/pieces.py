"""Large values through a pipe, in pieces: whoever takes them is never busy for long with one.

A value is a row of pickled messages.  Long lists, and long tuples and lists of dataclasses, go ahead of the object they
belong to, so many items to a piece; one memory of what was sent already serves all pieces, so that what two of them
share is shared again on the other side.
"""

from __future__ import annotations

import pickle
from collections.abc import Callable, Iterator
from dataclasses import fields, is_dataclass
from io import BytesIO
from ipaddress import IPv4Address, IPv6Address
from operator import attrgetter
from typing import Any, Final

from edge.addresses import AddressRange, PortRange
from edge.diff import Change, FieldChange
from edge.errors import Problem
from edge.firewall.config import ApplicationPortProfile, FirewallGroup, FirewallRule, Service
from edge.nat.compile import NatRow
from edge.nat.config import NatRule

ITEMS: Final = 256
"""Items of a list in one piece."""

_WHOLE, _START, _ITEMS, _END = range(4)

Message = tuple[int, Any]


def _reducer(kind: type[Any]) -> Callable[[Any], tuple[type[Any], tuple[Any, ...]]]:
    """How a dataclass is pickled: as a call with its fields, which takes half the time of the usual way."""
    read = attrgetter(*(field.name for field in fields(kind)))
    return lambda value: (kind, read(value))


_REDUCERS: Final[dict[type[Any], Callable[[Any], Any]]] = {
    IPv4Address: lambda value: (IPv4Address, (int(value),)),
    IPv6Address: lambda value: (IPv6Address, (int(value),)),
} | {
    kind: _reducer(kind)
    for kind in (
        *(AddressRange, PortRange, FirewallRule, FirewallGroup, ApplicationPortProfile, Service),
        *(NatRule, NatRow, Change, FieldChange, Problem),
    )
}
"""What large documents have many of.  Zones of IPv6 addresses are no part of the model."""


def cut(value: Any, items: int = ITEMS) -> Iterator[bytes]:
    """The pieces of a value: dataclasses made of values, lists and tuples, and whatever else can be pickled."""
    buffer = BytesIO()
    pickler = pickle.Pickler(buffer, 5)
    pickler.dispatch_table = _REDUCERS
    for message in _messages(value, items):
        pickler.dump(message)
        yield buffer.getvalue()
        buffer.seek(0)
        buffer.truncate()


def _messages(value: Any, items: int) -> Iterator[Message]:
    if isinstance(value, (list, tuple)) and len(value) > items:
        yield _START, type(value)
        for at in range(0, len(value), items):
            yield _ITEMS, value[at : at + items]
        yield _END, None
    elif is_dataclass(value) and not isinstance(value, type) and _is_long(value, items):
        names = [field.name for field in fields(value)]
        yield _START, (type(value), names)
        for name in names:
            yield from _messages(getattr(value, name), items)
        yield _END, None
    else:
        yield _WHOLE, value


def _is_long(value: Any, items: int) -> bool:
    """Is there a long list in a dataclass, or in one within it?"""
    for field in fields(value):
        inner = getattr(value, field.name)
        if isinstance(inner, (list, tuple)) and len(inner) > items:
            return True
        if is_dataclass(inner) and not isinstance(inner, type) and _is_long(inner, items):
            return True
    return False


class Joiner:
    """Puts pieces together: each is taken by :meth:`take`, which says whether the value is complete."""

    def __init__(self) -> None:
        self._buffer = BytesIO()
        self._unpickler = pickle.Unpickler(self._buffer)  # noqa: S301  # from our own helper process
        self._open: list[tuple[Callable[[list[Any]], Any], list[Any]]] = []
        self.value: Any = None

    def take(self, piece: bytes) -> bool:
        """One piece; True once :attr:`value` is whole."""
        self._buffer.seek(0)
        self._buffer.truncate()
        self._buffer.write(piece)
        self._buffer.seek(0)
        kind, content = self._unpickler.load()
        if kind == _START:
            self._open.append((_maker(content), []))
            return False
        if kind == _ITEMS:
            self._open[-1][1].extend(content)
            return False
        if kind == _END:
            make, parts = self._open.pop()
            content = make(parts)
        if self._open:
            self._open[-1][1].append(content)
            return False
        self.value = content
        return True


def _maker(content: Any) -> Callable[[list[Any]], Any]:
    if isinstance(content, tuple):
        made, names = content
        return lambda parts: made(**dict(zip(names, parts, strict=True)))
    return lambda parts: parts if content is list else tuple(parts)
