"""The methods that every kind of objects has: create, get, list, update, delete."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from types import MappingProxyType
from typing import Any

from google.protobuf.message import Message

from control import names
from control.access.roles import Permission
from control.api import convert, messages, shown
from control.api.context import ReadCall, WriteCall
from control.api.contract import ANSWERS
from control.api.method import Method
from control.kinds import KINDS, Kind
from control.kinds.kind import CREATE, DELETE, GET, LIST, UPDATE, WRITES
from control.objects.values import checked
from control.store import Record
from edge.errors import ArgumentError


def create(kind: Kind, request: Any, call: WriteCall) -> Message:
    """A new object."""
    record = created(kind, request, call)
    return _answer(kind, CREATE, record, call)


def created(kind: Kind, request: Any, call: WriteCall, position: int = 0) -> Record:
    """The object that a Create request asks for, made and noted, without a task."""
    fields = messages.read(getattr(request, kind.name), kind.name, kind.model.model_fields)
    value = checked(kind.model, fields, kind.name)
    id = getattr(request, f"{kind.name}_id")
    if id and not names.is_id(id):
        text = "expected up to 63 letters, digits and . _ -, a letter or digit first"
        raise ArgumentError("the id is wrong", [(f"{kind.name}_id", text)])
    parent = request.parent if kind.parent else ""
    record = call.changes.create(kind, parent, value, id=id, position=position)
    call.note(record.path, fields=told(kind, record))
    return record


def get(kind: Kind, request: Any, call: ReadCall) -> Message:
    """One object."""
    answer = ANSWERS[kind.method(GET)]()
    fill(kind, getattr(answer, kind.name), call.state.get(request.name), call)
    return answer  # type: ignore[no-any-return]


def list_(kind: Kind, request: Any, call: ReadCall) -> Message:
    """A page of those that lie in the same object."""
    parent = request.parent if kind.parent else ""
    query = convert.query(request, kind.listing, f"{parent}/{kind.name}")
    records, token = call.state.objects(kind.name, parent, kind.listing, query)
    answer = ANSWERS[kind.method(LIST)](next_page_token=token)
    found = getattr(answer, kind.list_field)
    for record, output in zip(records, kind.output(call.state, records), strict=True):
        _fill(kind, found.add(), record, shown.output(call.caller, output))
    return answer  # type: ignore[no-any-return]


def update(kind: Kind, request: Any, call: WriteCall) -> Message:
    """Other values for fields."""
    record = updated(kind, request, call)
    return _answer(kind, UPDATE, record, call)


def updated(kind: Kind, request: Any, call: WriteCall) -> Record:
    """The object that an Update request leaves, noted, without a task."""
    given = getattr(request, kind.name)
    known = call.unit.get(given.name)
    before = known.value(kind.model).model_dump(mode="json")
    fields = messages.read(given, kind.name, kind.model.model_fields)
    for name in kind.fixed:
        if fields.get(name) and fields[name] != before[name]:
            raise ArgumentError(f"the {name} cannot be changed", [(f"{kind.name}.{name}", "cannot be changed")])
    chosen = convert.mask(request.update_mask.paths, kind.changeable())
    if not request.update_mask.paths:
        # Whoever sends back what they got does not know the secrets.
        chosen = [name for name in chosen if name not in kind.secrets or fields.get(name)]
    kept = {name: value for name, value in before.items() if name not in chosen}
    value = checked(kind.model, kept | {name: fields[name] for name in chosen if name in fields}, kind.name)
    if not call.caller.may(Permission.PROVIDER_WRITE):
        reserved = list(kind.reserved(known.value(kind.model), value))
        if reserved:
            violations = [(f"{kind.name}.{path}", "only the provider can change it") for path in reserved]
            raise ArgumentError("the provider keeps some fields to itself", violations)
    record = call.changes.update(kind, known, value, given.etag)
    call.note(record.path, fields={name: said for name, said in told(kind, record).items() if name in chosen})
    return record


def delete(kind: Kind, request: Any, call: WriteCall) -> Message:
    """An object that nobody needs."""
    path = deleted(kind, request, call)
    answer = ANSWERS[kind.method(DELETE)]()
    answer.task.CopyFrom(convert.task_message(call.unit.done(f"Delete {kind.words}", path)))
    return answer  # type: ignore[no-any-return]


def deleted(kind: Kind, request: Any, call: WriteCall) -> str:
    """The name of what a Delete request deletes, noted, without a task."""
    known = call.unit.get(request.name)
    call.changes.delete(kind, known, request.etag)
    call.note(known.path)
    return known.path


def told(kind: Kind, record: Record) -> dict[str, Any]:
    """What may be told of an object's fields."""
    said = record.value(kind.model).model_dump(mode="json")
    return {name: value for name, value in said.items() if name not in kind.secrets}


def fill(kind: Kind, message: Any, record: Record, call: ReadCall | WriteCall) -> None:
    """An object as a message for the caller."""
    [output] = kind.output(call.state, [record])
    _fill(kind, message, record, shown.output(call.caller, output))


def _fill(kind: Kind, message: Any, record: Record, output: Mapping[str, Any]) -> None:
    times = {"create_time": record.created_ns, "update_time": record.updated_ns}
    known = {f"{name}_set": name in record.sealed for name in kind.secrets}
    messages.fill(message, {"name": record.path, "etag": record.etag, **times, **told(kind, record), **known})
    messages.fill(message, output)


def _answer(kind: Kind, verb: str, record: Record, call: WriteCall) -> Message:
    answer = ANSWERS[kind.method(verb)]()
    fill(kind, getattr(answer, kind.name), record, call)
    answer.task.CopyFrom(convert.task_message(call.unit.done(f"{verb} {kind.words}", record.path)))
    return answer  # type: ignore[no-any-return]


_RUN: MappingProxyType[str, Callable[..., Message]] = MappingProxyType(
    {CREATE: create, GET: get, LIST: list_, UPDATE: update, DELETE: delete}
)


def _apply(kind: Kind, verb: str, request: Any, call: WriteCall) -> tuple[str, str]:
    """The method as a part of a change set."""
    if verb == DELETE:
        return deleted(kind, request, call), ""
    record = created(kind, request, call) if verb == CREATE else updated(kind, request, call)
    return record.path, record.etag


def _target(kind: Kind, verb: str) -> tuple[str, str] | None:
    if verb in {CREATE, LIST}:
        return ("parent", kind.parent) if kind.parent else None
    return (f"{kind.name}.name" if verb == UPDATE else "name", kind.form)


HANDLERS = MappingProxyType(
    {
        kind.method(verb): Method(
            partial(_RUN[verb], kind),
            _target(kind, verb),
            apply=partial(_apply, kind, verb) if verb in WRITES else None,
        )
        for kind in KINDS
        for verb in sorted(kind.methods)
    }
)
