"""Fields of objects as JSON has them, and as their models do."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Any

from control.api.shapes import Shape, ShapeKind, answer_shape
from control.kinds import Kind
from control.kinds.kind import GET

Fields = dict[str, Any]
"""An object as JSON: keys in its words."""


def object_shape(kind: Kind) -> Shape:
    """The message of a kind."""
    return answer_shape(kind.method(GET)).inner(kind.name)


def references(fields: Fields, shape: Shape, table: Mapping[str, tuple[str, ...]]) -> Iterator[tuple[Any, Any, Any]]:
    """Each place in an object that names another: what holds it, key or index there, and the kinds that it may name."""
    for path, kinds in table.items():
        places: list[Any] = [fields]
        *outer, last = path.split(".")
        for name in outer:
            shape_of = shape.field(name)
            key = shape_of.key if shape_of else name
            found = [place[key] for place in places if isinstance(place, dict) and key in place]
            places = [item for value in found for item in (value if isinstance(value, list) else [value])]
            shape = shape_of or shape
        field = shape.field(last)
        key = field.key if field else last
        for place in places:
            value = place.get(key) if isinstance(place, dict) else None
            if isinstance(value, list):
                yield from ((value, index, kinds) for index in range(len(value)))
            elif value:
                yield place, key, kinds


def to_model(fields: Fields, shape: Shape, names: Collection[str] | None = None) -> dict[str, Any]:
    """Fields of an object as its model has them: the contract's names, words without their prefix.

    What is not known, or not among ``names``, is left out.
    """
    found = {}
    for key, value in fields.items():
        field = shape.field(key)
        if field is not None and value is not None and (names is None or field.name in names):
            found[field.name] = _each(field, value, _to_model_one)
    return found


def from_model(fields: Mapping[str, Any], shape: Shape) -> Fields:
    """The way back; what is None is left out."""
    found = {}
    for name, value in fields.items():
        if value is not None:
            field = shape.inner(name)
            found[field.key] = _each(field, value, _from_model_one)
    return found


def _each(shape: Shape, value: Any, convert: Callable[[Shape, Any], Any]) -> Any:
    return [convert(shape, item) for item in value] if isinstance(value, list) else convert(shape, value)


def _to_model_one(shape: Shape, value: Any) -> Any:
    if shape.kind is ShapeKind.OBJECT and isinstance(value, dict):
        return to_model(value, shape)
    if shape.kind is ShapeKind.WORD and isinstance(value, str):
        word = value.removeprefix(shape.prefix)
        return None if word == "UNSPECIFIED" else word
    if shape.kind is ShapeKind.NUMBER and isinstance(value, str):
        return int(value)  # the JSON of protobuf has long numbers as texts
    return value


def _from_model_one(shape: Shape, value: Any) -> Any:
    if shape.kind is ShapeKind.OBJECT and isinstance(value, dict):
        return from_model(value, shape)
    return shape.prefix + value if shape.kind is ShapeKind.WORD else value
