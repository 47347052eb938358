"""Messages as what models are made of, and back, by the messages' own descriptions.

An enumeration's value is its name without the prefix that all of its values have, and its zero stands for nothing
said; a time is nanoseconds since 1970, a duration seconds, a ``Struct`` what JSON has.  Fields that are not set and can
tell so are left out.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping
from functools import cache
from typing import Any

from google.protobuf import json_format
from google.protobuf.message import Message

from control.surroundings import SECOND_NS
from edge.errors import ArgumentError


def read(given: Message, place: str, wanted: Collection[str] | None = None) -> dict[str, Any]:
    """The fields of a message, those that are ``wanted`` or all; ``place`` is where the request has it, '' for
    the request itself.

    Raises ArgumentError for enumeration values that the contract does not know.
    """
    found: dict[str, Any] = {}
    for field in given.DESCRIPTOR.fields:
        if wanted is not None and field.name not in wanted:
            continue
        if field.has_presence and not given.HasField(field.name):
            continue
        value = _read_field(field, getattr(given, field.name), f"{place}.{field.name}".lstrip("."))
        if value is not None:
            found[field.name] = value
    return found


def fill(message: Message, fields: Mapping[str, Any]) -> None:
    """Set fields; None leaves one as it is."""
    setters = _setters(message.DESCRIPTOR)
    for name, value in fields.items():
        if value is not None:
            setters[name](message, value)


def _read_field(field: Any, value: Any, place: str) -> Any:
    if _is_map(field):
        return {key: _read_one(_value_of(field), each, f"{place}[{key}]") for key, each in value.items()}
    if field.is_repeated:
        return [_read_one(field, each, f"{place}[{number}]") for number, each in enumerate(value)]
    return _read_one(field, value, place)


def _read_one(field: Any, value: Any, place: str) -> Any:
    if field.enum_type is not None:
        return _word(field.enum_type, value, place)
    if field.message_type is None:
        return value
    match field.message_type.full_name:
        case "google.protobuf.Timestamp":
            return value.seconds * SECOND_NS + value.nanos
        case "google.protobuf.Duration":
            return value.seconds + value.nanos / SECOND_NS
        case "google.protobuf.Struct":
            return _struct(value, place)
        case _:
            return read(value, place)


@cache
def _setters(kind: Any) -> dict[str, Callable[[Any, Any], None]]:
    """What sets each field of a message: every answer has many of the same."""
    return {field.name: _setter(field) for field in kind.fields}


def _setter(field: Any) -> Callable[[Any, Any], None]:
    name = field.name

    def of_map(message: Any, value: Any) -> None:
        getattr(message, name).update(value)

    def of_messages(message: Any, value: Any) -> None:
        target = getattr(message, name)
        for each in value:
            fill_one(target.add(), each)

    def of_scalars(message: Any, value: Any) -> None:
        getattr(message, name).extend(value if field.enum_type is None else map(word, value))

    def of_message(message: Any, value: Any) -> None:
        target = getattr(message, name)
        target.SetInParent()
        fill_one(target, value)

    def of_word(message: Any, value: Any) -> None:
        setattr(message, name, word(value))

    def of_scalar(message: Any, value: Any) -> None:
        setattr(message, name, value)

    if _is_map(field):
        return of_map
    if field.message_type is not None:
        fill_one = _filler(field.message_type)
        return of_messages if field.is_repeated else of_message
    if field.enum_type is not None:
        word = _prefix(field.enum_type).__add__
        return of_scalars if field.is_repeated else of_word
    return of_scalars if field.is_repeated else of_scalar


def _filler(kind: Any) -> Callable[[Any, Any], None]:
    """What makes a message of this kind of a value."""
    match kind.full_name:
        case "google.protobuf.Timestamp":
            return _fill_time
        case "google.protobuf.Duration":
            return lambda message, value: message.FromNanoseconds(round(value * SECOND_NS))
        case "google.protobuf.Struct":
            return lambda message, value: json_format.ParseDict(value, message)
        case _:
            return fill


def _fill_time(message: Any, value: int) -> None:
    message.seconds, message.nanos = divmod(value, SECOND_NS)


def _word(kind: Any, number: int, place: str) -> str | None:
    known = kind.values_by_number.get(number)
    if known is None:
        words = ", ".join(_short(kind, value.name) for value in kind.values[1:])
        raise ArgumentError("a value is wrong", [(place, f"expected one of {words}")])
    return _short(kind, known.name) if number else None


def _short(kind: Any, name: str) -> str:
    return name.removeprefix(_prefix(kind))


@cache
def _prefix(kind: Any) -> str:
    """``WAN_ACCESS_`` of ``WanAccess``."""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", kind.name).upper() + "_"


@cache
def _is_map(field: Any) -> bool:
    kind = field.message_type
    return kind is not None and bool(kind.GetOptions().map_entry)


def _value_of(field: Any) -> Any:
    return field.message_type.fields_by_name["value"]


def _struct(value: Message, place: str) -> Any:
    try:
        return _whole(json_format.MessageToDict(value))
    except (json_format.Error, ValueError):
        raise ArgumentError("a value is wrong", [(place, "expected numbers that JSON has")]) from None


def _whole(value: Any) -> Any:
    """JSON has one kind of numbers, models have two."""
    if isinstance(value, dict):
        return {key: _whole(each) for key, each in value.items()}
    if isinstance(value, list):
        return [_whole(each) for each in value]
    # Beyond 2**53 not every whole number is one of these.
    return int(value) if isinstance(value, float) and value.is_integer() and abs(value) <= 1 << 53 else value
