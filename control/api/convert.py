"""Messages as values, and values as messages."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from google.protobuf.timestamp_pb2 import Timestamp

from control.filters import ListQuery, read_query
from control.objects import ApiToken, Org, Role, User
from control.objects.token import DEFAULT_DAYS, MAX_DAYS
from control.objects.values import checked
from control.store import AuditRecord, EventRecord, Record, TaskRecord, TokenRecord
from control.store.listing import Listing
from control.surroundings import SECOND_NS
from control.v1 import api_token_pb2, audit_pb2, event_pb2, org_pb2, task_pb2, user_pb2
from edge.errors import ArgumentError

_DAY_NS = 24 * 3_600 * SECOND_NS


def timestamp(nanoseconds: int | None) -> Timestamp | None:
    """A time, None for none."""
    if nanoseconds is None:
        return None
    return Timestamp(seconds=nanoseconds // SECOND_NS, nanos=nanoseconds % SECOND_NS)


# ------------------------------------------------------------------ from the caller


def org(given: org_pb2.Org) -> Org:
    """An organization."""
    return checked(Org, {"account_id": given.account_id, "display_name": given.display_name}, "org")


def user(given: user_pb2.User) -> User:
    """A user."""
    fields = {name: getattr(given, name) for name in ("username", "email", "first_name", "last_name")}
    return checked(User, {**fields, "role": role(given.role, "user.role")}, "user")


def role(given: int, field: str) -> Role:
    """A role.  Raises ArgumentError."""
    try:
        return Role(user_pb2.Role.Name(given))  # type: ignore[arg-type, unused-ignore]
    except ValueError:
        raise ArgumentError("the role is wrong", [(field, "expected one of the roles of the cloud")]) from None


def api_token(given: api_token_pb2.ApiToken, now_ns: int) -> ApiToken:
    """An API token; without an end of its own it ends after 90 days."""
    expires_ns = now_ns + DEFAULT_DAYS * _DAY_NS
    if given.HasField("expire_time"):
        expires_ns = given.expire_time.seconds * SECOND_NS + given.expire_time.nanos
        if not now_ns < expires_ns <= now_ns + MAX_DAYS * _DAY_NS:
            text = f"expected a time within the next {MAX_DAYS} days"
            raise ArgumentError("the token's end is wrong", [("api_token.expire_time", text)])
    return checked(ApiToken, {"display_name": given.display_name, "expires_ns": expires_ns}, "api_token")


def mask(paths: Collection[str], fields: Collection[str]) -> list[str]:
    """Which fields to change; none given: all that can be.  Raises ArgumentError for others."""
    wrong = sorted(set(paths) - set(fields))
    if wrong:
        text = f"expected some of {', '.join(fields)}, not {', '.join(map(repr, wrong[:10]))[:200]}"
        raise ArgumentError("the update mask is wrong", [("update_mask", text)])
    return list(paths) or list(fields)


def query(request: Any, listing: Listing, scope: str) -> ListQuery:
    """What a List request asks for."""
    return read_query(
        scope,
        filter_text=request.filter,
        order_by=request.order_by,
        page_size=request.page_size,
        page_token=request.page_token,
        fields=listing.fields,
        orders=listing.orders,
        default_order=listing.default_order,
    )


# ------------------------------------------------------------------ to the caller


def org_message(record: Record) -> org_pb2.Org:
    """An organization."""
    value = record.value(Org)
    return org_pb2.Org(
        name=record.path, account_id=value.account_id, display_name=value.display_name, etag=record.etag,
        create_time=timestamp(record.created_ns), update_time=timestamp(record.updated_ns),
    )  # fmt: skip


def user_message(record: Record) -> user_pb2.User:
    """A user."""
    value = record.value(User)
    return user_pb2.User(
        name=record.path, username=value.username, email=value.email, first_name=value.first_name,
        last_name=value.last_name, role=value.role.value, etag=record.etag,
        create_time=timestamp(record.created_ns), update_time=timestamp(record.updated_ns),
    )  # fmt: skip


def token_message(record: TokenRecord) -> api_token_pb2.ApiToken:
    """An API token."""
    return api_token_pb2.ApiToken(
        name=record.path, display_name=record.name,
        create_time=timestamp(record.created_ns), expire_time=timestamp(record.expires_ns),
    )  # fmt: skip


def task_message(record: TaskRecord) -> task_pb2.Task:
    """A task."""
    error = task_pb2.TaskError(reason=record.error_reason, message=record.error_message)
    return task_pb2.Task(
        name=record.path, operation=record.operation, status=record.status,
        initiator=record.initiator, object=record.object, start_time=timestamp(record.start_ns),
        end_time=timestamp(record.end_ns), error=error if record.error_reason else None,
    )  # fmt: skip


def event_message(record: EventRecord) -> event_pb2.Event:
    """Something that has happened."""
    columns = record.columns()
    return event_pb2.Event(event_time=timestamp(columns.pop("time_ns")), **columns)


def audit_message(record: AuditRecord) -> audit_pb2.AuditRecord:
    """A record of the audit trail."""
    columns = record.columns()
    return audit_pb2.AuditRecord(record_time=timestamp(columns.pop("time_ns")), **columns)
