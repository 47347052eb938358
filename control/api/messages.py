"""Messages as what models are made of, and back, by the messages' own descriptions.

An enumeration's value is its name without the prefix that all of its values have, and its zero stands for nothing
said; a time is nanoseconds since 1970, a duration seconds, a ``Struct`` what JSON has.  Fields that are not set and can
tell so are left out.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
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
    for name, value in fields.items():
        if value is not None:
            _fill_field(message, message.DESCRIPTOR.fields_by_name[name], value)


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


def _fill_field(message: Message, field: Any, value: Any) -> None:
    target = getattr(message, field.name)
    if _is_map(field):
        target.update(value)
    elif field.is_repeated:
        for each in value:
            if field.message_type is None:
                target.append(_scalar(field, each))
            else:
                _fill_message(target.add(), each)
    elif field.message_type is not None:
        target.SetInParent()
        _fill_message(target, value)
    else:
        setattr(message, field.name, _scalar(field, value))


def _fill_message(message: Any, value: Any) -> None:
    match message.DESCRIPTOR.full_name:
        case "google.protobuf.Timestamp":
            message.seconds, message.nanos = divmod(value, SECOND_NS)
        case "google.protobuf.Duration":
            message.FromNanoseconds(round(value * SECOND_NS))
        case "google.protobuf.Struct":
            json_format.ParseDict(value, message)
        case _:
            fill(message, value)


def _scalar(field: Any, value: Any) -> Any:
    return value if field.enum_type is None else _prefix(field.enum_type) + value


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
