"""Messages of ``edge.v1`` as values of the model; every complaint names the field of the request."""

from __future__ import annotations

import base64
import contextlib
from collections.abc import Sequence

from google.protobuf.duration_pb2 import Duration

from edge.addresses import AddressRange
from edge.api.errors import InvalidFilterError, InvalidPageTokenError
from edge.errors import ArgumentError
from edge.patch import Delete, Edit, Move, ObjectRef, Position, Upsert
from edge.state import SessionMatch
from edge.v1 import config_pb2, session_pb2

MIN_CONFIRM_S = 1.0
MAX_CONFIRM_S = 3600.0
MAX_COMMENT = 1024
SECOND_NS = 1_000_000_000
_PLACES = {"revisions": 1 << 63, "sessions": 1 << 32}
"""Listings, and numbers that no place in them reaches."""


def confirm_within(given: Duration) -> float:
    """Seconds.  Raises ArgumentError for a time outside of 1 second to 1 hour."""
    seconds = given.seconds + given.nanos / SECOND_NS
    if not MIN_CONFIRM_S <= seconds <= MAX_CONFIRM_S:
        raise ArgumentError(
            f"confirm_within is {seconds:g} s; it has to lie between 1 second and 1 hour",
            [("confirm_within", "expected 1 second to 1 hour")],
        )
    return seconds


def comment(text: str) -> str:
    """A comment.  Raises ArgumentError for one that is too long."""
    if len(text) > MAX_COMMENT:
        raise ArgumentError(
            f"the comment has {len(text):,} characters; {MAX_COMMENT:,} are allowed",
            [("comment", f"expected at most {MAX_COMMENT:,} characters")],
        )
    return text


def edits(given: Sequence[config_pb2.Edit]) -> list[Edit]:
    """What PatchConfig is to do.  Raises ArgumentError with a violation for each edit that says nothing."""
    if not given:
        raise ArgumentError("there is nothing to change", [("edits", "expected at least one edit")])
    found: list[Edit] = []
    wrong: list[tuple[str, str]] = []
    for number, item in enumerate(given):
        try:
            found.append(_edit(item, f"edits[{number}]"))
        except ArgumentError as error:
            wrong += error.violations
    if wrong:
        raise ArgumentError(f"{wrong[0][0]}: {wrong[0][1]}", wrong)
    return found


def _edit(item: config_pb2.Edit, path: str) -> Edit:
    if not item.section:
        raise _violation(f"{path}.section", "expected a section of the document, such as natRules")
    kind = item.WhichOneof("edit")
    if kind == "upsert":
        where = _position(item.upsert.position, f"{path}.upsert.position") if item.upsert.HasField("position") else None
        return Upsert(item.section, item.upsert.object, where)
    if kind == "delete":
        return Delete(item.section, _reference(item.delete.object, f"{path}.delete.object"))
    if kind == "move":
        if not item.move.HasField("position"):
            raise _violation(f"{path}.move.position", "expected where to move it")
        where = _position(item.move.position, f"{path}.move.position")
        return Move(item.section, _reference(item.move.object, f"{path}.move.object"), where)
    raise _violation(path, "expected upsert, delete or move")


def _reference(item: config_pb2.ObjectReference, path: str) -> ObjectRef:
    kind = item.WhichOneof("reference")
    if kind == "id" and item.id:
        return ObjectRef(id=item.id)
    if kind == "name" and item.name:
        return ObjectRef(name=item.name)
    raise _violation(path, "expected an id or a name")


def _position(item: config_pb2.Position, path: str) -> Position:
    kind = item.WhichOneof("place")
    if kind == "before":
        return Position(before=_reference(item.before, f"{path}.before"))
    if kind == "after":
        return Position(after=_reference(item.after, f"{path}.after"))
    if kind == "index":
        return Position(index=item.index)
    return Position()


def _violation(path: str, text: str) -> ArgumentError:
    return ArgumentError(f"{path}: {text}", [(path, text)])


def session_match(given: session_pb2.SessionFilter, path: str = "filter") -> SessionMatch:
    """A filter.  Raises InvalidFilterError with a violation for each condition that nothing can fulfil."""
    wrong: list[tuple[str, str]] = []
    protocol = given.protocol if given.HasField("protocol") else None
    if protocol is not None and protocol > 255:
        wrong.append((f"{path}.protocol", "expected an IP protocol number, 0 to 255"))
    number = given.port_number if given.HasField("port_number") else None
    if number is not None and number > 65_535:
        wrong.append((f"{path}.port_number", "expected a port, 0 to 65535"))
    address = None
    if given.address:
        try:
            address = AddressRange.parse(given.address)
        except ValueError:
            wrong.append((f"{path}.address", "expected an address, a CIDR or a range such as 10.0.0.1-10.0.0.9"))
    if wrong:
        raise InvalidFilterError(f"{wrong[0][0]}: {wrong[0][1]}", wrong)
    return SessionMatch(
        protocol=protocol,
        address=address,
        port_number=number,
        port=given.port or None,
        rule_id=given.rule_id or None,
        before_revision=given.before_revision or None,
    )


def is_empty(given: session_pb2.SessionFilter) -> bool:
    """Does a filter set no condition at all?"""
    return given == session_pb2.SessionFilter()


def page_size(given: int, default: int, most: int) -> int:
    """How much one answer may hold.  Raises ArgumentError for a negative size."""
    if given < 0:
        raise ArgumentError(f"page_size is {given}", [("page_size", "expected 0 or more")])
    return min(given or default, most)


def page_token(kind: str, place: int) -> str:
    """The token that continues a listing behind ``place``."""
    return base64.urlsafe_b64encode(f"{kind}:{place}".encode()).decode()


def place_of(kind: str, token: str) -> int | None:
    """Where a listing goes on; None for its beginning.  Raises InvalidPageTokenError."""
    if not token:
        return None
    place = -1
    with contextlib.suppress(ValueError):  # that it is neither base64 nor a number
        place = int(base64.urlsafe_b64decode(token.encode()).decode().removeprefix(f"{kind}:"))
    if 0 < place < _PLACES[kind] and token == page_token(kind, place):
        return place
    raise InvalidPageTokenError(
        "this page token was never handed out", [("page_token", "expected next_page_token of the page before")]
    )
