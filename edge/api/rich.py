"""Errors on the wire: every one carries ``google.rpc.ErrorInfo``, those about a request say which field.

The details travel in a trailer, for which a client that was not told otherwise allows 8 KiB: what does not fit is
counted instead of listed.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple, TypeVar

from google.protobuf import any_pb2, duration_pb2, message
from google.rpc import error_details_pb2, status_pb2

DOMAIN = "t1edge"
"""``ErrorInfo.domain`` of everything that comes from here."""

MAX_DETAILS = 6_000
"""Bytes of details in one error."""


_Item = TypeVar("_Item", bound=message.Message)


class Violation(NamedTuple):
    """What is wrong with one field of a request; ``reason`` is stable and upper-case."""

    field: str
    description: str
    reason: str


class Precondition(NamedTuple):
    """What stands in the way: ``kind`` is stable and upper-case, ``subject`` the name of an object."""

    kind: str
    subject: str
    description: str


def rich_status(
    code: int,
    reason: str,
    text: str,
    violations: Sequence[Violation] = (),
    *,
    preconditions: Sequence[Precondition] = (),
    retry_after_s: float | None = None,
) -> status_pb2.Status:
    """A status with ErrorInfo, and what else there is to say."""
    info = error_details_pb2.ErrorInfo(reason=reason, domain=DOMAIN)
    fields = _fitting(
        error_details_pb2.BadRequest.FieldViolation(
            field=item.field, description=_short(item.description), reason=item.reason
        )
        for item in violations
    )
    obstacles = _fitting(
        error_details_pb2.PreconditionFailure.Violation(
            type=item.kind, subject=item.subject, description=_short(item.description)
        )
        for item in preconditions
    )
    given, shown = len(violations) + len(preconditions), len(fields) + len(obstacles)
    if shown < given:
        info.metadata["problems"] = str(given)
        info.metadata["shown"] = str(shown)
    details: list[message.Message] = [info]
    if violations:
        details.append(error_details_pb2.BadRequest(field_violations=fields))
    if preconditions:
        details.append(error_details_pb2.PreconditionFailure(violations=obstacles))
    if retry_after_s is not None:
        nanoseconds = round(retry_after_s * 1e9)
        delay = duration_pb2.Duration(seconds=nanoseconds // 10**9, nanos=nanoseconds % 10**9)
        details.append(error_details_pb2.RetryInfo(retry_delay=delay))
    return status_pb2.Status(code=code, message=_short(text), details=map(_packed, details))


def _fitting(items: Iterable[_Item]) -> list[_Item]:
    """As many as there is room for."""
    found: list[_Item] = []
    size = 0
    for item in items:
        size += item.ByteSize() + 4
        if size > MAX_DETAILS:
            break
        found.append(item)
    return found


def _short(text: str, most: int = 1_000) -> str:
    return text if len(text) <= most else f"{text[:most]}..."


def _packed(detail: message.Message) -> any_pb2.Any:
    packed = any_pb2.Any()
    packed.Pack(detail)
    return packed
