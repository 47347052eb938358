"""Errors of the control plane on the wire, as :mod:`edge.api.rich` writes them."""

from __future__ import annotations

import logging
from types import MappingProxyType

from google.rpc import code_pb2, status_pb2

from control.errors import MachineError, ObjectInUseError, TooManyAttemptsError
from edge.api.rich import Precondition, Violation, rich_status
from edge.errors import ArgumentError, EdgeError

_log = logging.getLogger(__name__)

CODES = MappingProxyType(
    {
        "BUSY_ENTITY": code_pb2.ABORTED,
        "ETAG_MISMATCH": code_pb2.ABORTED,
        "INVALID_ARGUMENT": code_pb2.INVALID_ARGUMENT,
        "INVALID_CREDENTIALS": code_pb2.UNAUTHENTICATED,
        "INVALID_FILTER": code_pb2.INVALID_ARGUMENT,
        "INVALID_PAGE_TOKEN": code_pb2.INVALID_ARGUMENT,
        "INVALID_POWER_STATE": code_pb2.FAILED_PRECONDITION,
        "INVALID_SNAPSHOT": code_pb2.FAILED_PRECONDITION,
        "INVALID_RESUME_TOKEN": code_pb2.INVALID_ARGUMENT,
        "LAST_ADMINISTRATOR": code_pb2.FAILED_PRECONDITION,
        "LIMIT_REACHED": code_pb2.FAILED_PRECONDITION,
        "MACHINE_FAILED": code_pb2.UNAVAILABLE,
        "NEW_PASSWORD_REQUIRED": code_pb2.FAILED_PRECONDITION,
        "NOT_EMULATED": code_pb2.UNIMPLEMENTED,
        "NO_ADDRESS_LEFT": code_pb2.RESOURCE_EXHAUSTED,
        "OBJECT_EXISTS": code_pb2.ALREADY_EXISTS,
        "OBJECT_IN_USE": code_pb2.FAILED_PRECONDITION,
        "OBJECT_UNKNOWN": code_pb2.NOT_FOUND,
        "ORGANIZATION_LIMIT": code_pb2.RESOURCE_EXHAUSTED,
        "PASSWORD_TAKEN": code_pb2.FAILED_PRECONDITION,
        "PERMISSION_DENIED": code_pb2.PERMISSION_DENIED,
        "QUOTA_EXCEEDED": code_pb2.FAILED_PRECONDITION,
        "REQUEST_ID_REUSED": code_pb2.FAILED_PRECONDITION,
        "STORAGE_FAILED": code_pb2.RESOURCE_EXHAUSTED,
        "TOO_MANY_ATTEMPTS": code_pb2.RESOURCE_EXHAUSTED,
        "TOO_MANY_STREAMS": code_pb2.RESOURCE_EXHAUSTED,
        "TOO_MANY_TRIALS": code_pb2.RESOURCE_EXHAUSTED,
        "UNAUTHENTICATED": code_pb2.UNAUTHENTICATED,
        "WRONG_KEY_FILE": code_pb2.FAILED_PRECONDITION,
    }
)
"""Reason of an :class:`~edge.errors.EdgeError` -> the status it ends a call with.  The one table."""


def status_of(error: Exception) -> status_pb2.Status:
    """The status that a call ends with because of ``error``.  What is not in the table is a bug: INTERNAL for the
    caller, a traceback in the log."""
    if not isinstance(error, EdgeError) or error.reason not in CODES:
        _log.error("a bug of the control plane ended a call", exc_info=error)
        return rich_status(code_pb2.INTERNAL, "INTERNAL", "a bug of the control plane; its log has the traceback")
    text = str(error)
    if error.reason == "STORAGE_FAILED":
        # Paths and hosts are not the callers'.
        _log.error("%s", text)
        text = "the store cannot be used; the log of the control plane says why"
    elif isinstance(error, MachineError):
        _log.error("%s", text)
        text = error.told
    violations, preconditions, retry_after_s = [], [], None
    if isinstance(error, ArgumentError):
        violations = [Violation(field, text, error.reason) for field, text in error.violations]
    if isinstance(error, ObjectInUseError):
        preconditions = [Precondition(error.reason, user, f"needs it: {field}") for user, field in error.users]
    if isinstance(error, TooManyAttemptsError):
        retry_after_s = error.retry_after_s
    return rich_status(
        CODES[error.reason], error.reason, text, violations,
        preconditions=preconditions, retry_after_s=retry_after_s,
    )  # fmt: skip


def code_name(status: status_pb2.Status) -> str:
    """OK, NOT_FOUND and so on."""
    return code_pb2.Code.Name(status.code)  # type: ignore[no-any-return, unused-ignore]
