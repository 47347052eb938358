"""What callers may know: who the provider's people are, and what its hosts say, is the provider's own business."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Any, Final

from control.access.callers import Caller
from control.access.roles import Permission
from control.store import EventRecord, TaskRecord

_OF_OBJECTS: Final = frozenset(
    {
        *("INVALID_ARGUMENT", "INVALID_DOCUMENT", "LIMIT_REACHED", "NOT_EMULATED"),
        *("INVALID_POWER_STATE", "INVALID_SNAPSHOT", "MACHINE_FAILED"),
    }
)
"""Reasons whose messages speak of what the tenant made, or were written for tenants; the others speak of hosts."""

_SENTENCES: Final = MappingProxyType(
    {
        "DRIFTED": "it ran something that nobody wanted, and is changed back",
        "INTERNAL": "a bug keeps it from that; the log of the control plane says more",
        "OTHER_EDGE": "another edge answers at its host",
        "RESOURCE_EXHAUSTED": "its host has no room for it",
        "STORAGE_FAILED": "its host cannot store it",
        "UNREACHABLE": "its host does not answer",
    }
)
"""Told whoever gave the reason: hosts may give those of the control plane's own, with any text."""
_OTHERWISE: Final = "its host refuses it; the log of the control plane says why"


def message(caller: Caller, reason: str, text: str) -> str:
    """What of a message of the fleet, or of whoever runs machines, a caller may read."""
    if not reason or reason in _OF_OBJECTS or caller.may(Permission.EVERY_ORG):
        return text
    return _SENTENCES.get(reason, _OTHERWISE)


def task(caller: Caller, record: TaskRecord) -> TaskRecord:
    """A task."""
    told = message(caller, record.error_reason, record.error_message)
    return replace(record, initiator=caller.shown(record.initiator), error_message=told)


def event(caller: Caller, record: EventRecord) -> EventRecord:
    """An event."""
    details = json.loads(record.details)
    if "actor" in details:
        details["actor"] = caller.shown(details["actor"])
    if "message" in details:
        details["message"] = message(caller, details.get("reason", ""), details["message"])
    return replace(record, details=json.dumps(details, sort_keys=True, ensure_ascii=False))


def output(caller: Caller, fields: Mapping[str, Any]) -> Mapping[str, Any]:
    """The output-only fields of an object."""
    state = fields.get("state")
    if not isinstance(state, Mapping) or not state.get("message"):
        return fields
    return {**fields, "state": {**state, "message": message(caller, state["reason"], state["message"])}}
