"""What messages look like, for whoever makes options and documents of them without protobuf."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum, auto
from functools import cache
from typing import Any

from google.protobuf.descriptor import FieldDescriptor

from control.api.contract import SERVICES

_WORDS = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")
_NUMBERS = frozenset(
    {
        *(FieldDescriptor.TYPE_INT32, FieldDescriptor.TYPE_INT64, FieldDescriptor.TYPE_UINT32),
        *(FieldDescriptor.TYPE_UINT64, FieldDescriptor.TYPE_SINT32, FieldDescriptor.TYPE_SINT64),
    }
)
_FRACTIONS = frozenset({FieldDescriptor.TYPE_DOUBLE, FieldDescriptor.TYPE_FLOAT})


class ShapeKind(Enum):
    """What a value is."""

    TEXT = auto()
    NUMBER = auto()
    FRACTION = auto()
    FLAG = auto()
    WORD = auto()
    """One of ``words``."""
    OBJECT = auto()
    """With ``fields``."""
    MAP = auto()
    """Any keys, and what JSON can have."""


@dataclass(frozen=True, slots=True)
class Shape:
    """A field of a message: ``name`` as in the contract, ``key`` as in JSON.

    ``words`` are shown without ``prefix``, which the contract puts before each; ``comment`` is what the contract says.
    """

    name: str
    key: str
    kind: ShapeKind
    many: bool = False
    comment: str = ""
    words: tuple[str, ...] = ()
    prefix: str = ""
    fields: tuple[Shape, ...] = ()

    def field(self, name: str) -> Shape | None:
        """A field of an object by either name, or with dashes."""
        wanted = name.replace("-", "_")
        return next((field for field in self.fields if wanted in {field.name, field.key}), None)

    def inner(self, name: str) -> Shape:
        """A field that is there."""
        found = self.field(name)
        assert found is not None, f"{self.name} has no {name}"
        return found


@cache
def request_shape(method: str) -> Shape:
    """The request of ``Service/Method``."""
    return _object(_METHODS[method].input_type)


@cache
def answer_shape(method: str) -> Shape:
    """Its answer."""
    return _object(_METHODS[method].output_type)


_METHODS = {f"{service.name}/{method.name}": method for service in SERVICES for method in service.methods}


def _object(message: Any) -> Shape:
    return Shape(message.name, message.name, ShapeKind.OBJECT, fields=_fields(message))


def _fields(message: Any) -> tuple[Shape, ...]:
    from control.v1.comments_pb2 import COMMENTS

    return tuple(_shape(field, COMMENTS.get(f"{message.name}.{field.name}", "")) for field in message.fields)


def _shape(field: Any, comment: str) -> Shape:
    named = {"name": field.name, "key": field.json_name, "comment": comment}
    if field.message_type is not None:
        message = field.message_type
        if message.full_name == "google.protobuf.Struct" or message.GetOptions().map_entry:
            return Shape(**named, kind=ShapeKind.MAP)
        if message.full_name.startswith("google.protobuf."):
            return Shape(**named, kind=ShapeKind.TEXT)  # times and durations are texts in JSON
        return Shape(**named, kind=ShapeKind.OBJECT, many=field.is_repeated, fields=_fields(message))
    if field.enum_type is not None:
        prefix = _WORDS.sub("_", field.enum_type.name).upper() + "_"
        words = tuple(value.name.removeprefix(prefix) for value in field.enum_type.values if value.number)
        return Shape(**named, kind=ShapeKind.WORD, many=field.is_repeated, words=words, prefix=prefix)
    return Shape(**named, kind=_scalar(field.type), many=field.is_repeated)


def _scalar(number: int) -> ShapeKind:
    if number in _NUMBERS:
        return ShapeKind.NUMBER
    if number in _FRACTIONS:
        return ShapeKind.FRACTION
    return ShapeKind.FLAG if number == FieldDescriptor.TYPE_BOOL else ShapeKind.TEXT
