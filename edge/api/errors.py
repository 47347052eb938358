"""Errors of an edge on the wire, as :mod:`edge.api.rich` writes them."""

from __future__ import annotations

import logging
from types import MappingProxyType
from typing import Any, NoReturn

import grpc
from google.rpc import code_pb2, status_pb2
from grpc_status import rpc_status

from edge.api.rich import Violation, rich_status
from edge.errors import ArgumentError, DocumentError, EdgeError, Problem

_log = logging.getLogger(__name__)

CODES = MappingProxyType(
    {
        "BATCH_TOO_LARGE": code_pb2.INVALID_ARGUMENT,
        "CANNOT_SEND": code_pb2.INVALID_ARGUMENT,
        "CONFIRMATION_PENDING": code_pb2.FAILED_PRECONDITION,
        "ETAG_MISMATCH": code_pb2.ABORTED,
        "FRAME_TOO_LONG": code_pb2.INVALID_ARGUMENT,
        "INVALID_ARGUMENT": code_pb2.INVALID_ARGUMENT,
        "INVALID_DOCUMENT": code_pb2.INVALID_ARGUMENT,
        "INVALID_FILTER": code_pb2.INVALID_ARGUMENT,
        "INVALID_PACKET": code_pb2.INVALID_ARGUMENT,
        "INVALID_PAGE_TOKEN": code_pb2.INVALID_ARGUMENT,
        "INVALID_RESUME_TOKEN": code_pb2.INVALID_ARGUMENT,
        "MANAGED": code_pb2.FAILED_PRECONDITION,
        "MESSAGE_TOO_LARGE": code_pb2.RESOURCE_EXHAUSTED,
        "MISSING_ETAG": code_pb2.INVALID_ARGUMENT,
        "NOTHING_PENDING": code_pb2.FAILED_PRECONDITION,
        "NO_PORT": code_pb2.INVALID_ARGUMENT,
        "OBJECT_UNKNOWN": code_pb2.NOT_FOUND,
        "RESOURCE_EXHAUSTED": code_pb2.RESOURCE_EXHAUSTED,
        "REVISION_UNKNOWN": code_pb2.NOT_FOUND,
        "STALE_EPOCH": code_pb2.FAILED_PRECONDITION,
        "STOPPING": code_pb2.UNAVAILABLE,
        "STORAGE_FAILED": code_pb2.RESOURCE_EXHAUSTED,
        "TOO_MANY_STREAMS": code_pb2.RESOURCE_EXHAUSTED,
        "UNKNOWN_PORT": code_pb2.INVALID_ARGUMENT,
    }
)
"""Reason of an :class:`~edge.errors.EdgeError` -> the status it ends a call with.  The one table."""


class InvalidFilterError(ArgumentError):
    """A filter of sessions that selects nothing that could exist, or everything by mistake."""

    reason = "INVALID_FILTER"


class InvalidPageTokenError(ArgumentError):
    """A page token that no answer has ever contained."""

    reason = "INVALID_PAGE_TOKEN"


class BatchTooLargeError(ArgumentError):
    """More packets in one batch than a burst holds."""

    reason = "BATCH_TOO_LARGE"


class MessageTooLargeError(EdgeError):
    """A document larger than this service reads."""

    reason = "MESSAGE_TOO_LARGE"


class TooManyStreamsError(EdgeError):
    """As many streams of events are open as are served at once."""

    reason = "TOO_MANY_STREAMS"


class StoppingError(EdgeError):
    """The edge is starting or stopping."""

    reason = "STOPPING"


def status_of(error: EdgeError) -> status_pb2.Status:
    """The status that a call ends with because of ``error``."""
    text, violations = _told(error)
    return rich_status(CODES[error.reason], error.reason, text, violations)


def _told(error: EdgeError) -> tuple[str, list[Violation]]:
    """The one sentence of an error, and its field violations."""
    if isinstance(error, DocumentError):
        problems = [problem for problem in error.problems if problem.severity == "error"]
        head = f"the document cannot be used: {_counted(problems)}"
        return head, [Violation(problem.path, _placed(problem), problem.code) for problem in problems]
    if isinstance(error, ArgumentError):
        return str(error), [Violation(field, text, error.reason) for field, text in error.violations]
    return str(error), []


def _placed(problem: Problem) -> str:
    place = f"line {problem.line}, column {problem.column}: " if problem.line else ""
    return f"{place}{problem.message}"


def _counted(problems: list[Problem]) -> str:
    return "1 problem" if len(problems) == 1 else f"{len(problems)} problems"


async def abort(context: grpc.aio.ServicerContext[Any, Any], error: Exception) -> NoReturn:
    """End a call for ``error``.  What is not an :class:`~edge.errors.EdgeError` of the table is a bug: INTERNAL for the
    caller, a traceback in the log."""
    if isinstance(error, EdgeError) and error.reason in CODES:
        status = status_of(error)
    else:
        _log.error("a bug of the edge ended a call", exc_info=error)
        status = rich_status(code_pb2.INTERNAL, "INTERNAL", "a bug of the edge; its log has the traceback")
    call: Any = context  # its types lack abort_with_status
    await call.abort_with_status(rpc_status.to_status(status))
    raise AssertionError("abort does not return")
