"""UserService."""

from __future__ import annotations

from typing import Any

from control import names
from control.access.login import begin_anew
from control.api import convert
from control.api.context import ReadCall, WriteCall
from control.errors import LastAdministratorError
from control.limits import check_another
from control.objects import Role, User
from control.objects.values import checked
from control.store import Record, listing
from control.v1 import user_pb2 as pb
from edge.errors import ArgumentError

_FIELDS = ("email", "first_name", "last_name", "role")


def create_user(request: pb.CreateUserRequest, call: WriteCall) -> pb.CreateUserResponse:
    """Add a user."""
    value = convert.user(request.user)
    _check_role(value.role, request.parent)
    check_another(call.unit, "user", request.parent, request.parent)
    record = call.unit.create("user", f"{request.parent}/users/{value.username}", value)
    password = begin_anew(call.unit, call.vault, record, call.one_time)
    call.note(record.path, fields=value.model_dump(mode="json"))
    return pb.CreateUserResponse(
        user=convert.user_message(record),
        one_time_password="" if call.trial else password,
        task=convert.task_message(call.unit.done("Add User", record.path)),
    )


def get_user(request: pb.GetUserRequest, call: ReadCall) -> pb.GetUserResponse:
    """One user."""
    return pb.GetUserResponse(user=convert.user_message(call.state.get(request.name)))


def list_users(request: pb.ListUsersRequest, call: ReadCall) -> pb.ListUsersResponse:
    """The users of an organization."""
    query = convert.query(request, listing.USERS, f"{request.parent}/users")
    records, token = call.state.users(request.parent, query)
    return pb.ListUsersResponse(users=map(convert.user_message, records), next_page_token=token)


def update_user(request: pb.UpdateUserRequest, call: WriteCall) -> pb.UpdateUserResponse:
    """Change fields."""
    given = request.user
    chosen = convert.mask(request.update_mask.paths, _FIELDS)
    known = call.unit.get(given.name)
    before = known.value(User)
    if given.username not in {"", before.username}:
        raise ArgumentError("the username cannot be changed", [("user.username", f"expected {before.username}")])
    changed: dict[str, Any] = {name: getattr(given, name) for name in chosen if name != "role"}
    if "role" in chosen:
        changed["role"] = convert.role(given.role, "user.role")
    value = checked(User, {**before.model_dump(), **changed}, "user")
    _check_role(value.role, known.org)
    if value.role != before.role:
        _check_others(call, known)
    record = call.unit.update(known, value, given.etag)
    call.note(record.path, fields={name: record.body[name] for name in chosen})
    operation = "Modify User Role" if value.role != before.role else "Update User"
    task = call.unit.done(operation, record.path)
    return pb.UpdateUserResponse(user=convert.user_message(record), task=convert.task_message(task))


def delete_user(request: pb.DeleteUserRequest, call: WriteCall) -> pb.DeleteUserResponse:
    """Delete a user; sessions and tokens go with them."""
    known = call.unit.get(request.name)
    _check_others(call, known)
    call.unit.delete(known, request.etag)
    call.note(known.path)
    return pb.DeleteUserResponse(task=convert.task_message(call.unit.done("Delete User", known.path)))


def reset_user_credentials(request: pb.ResetUserCredentialsRequest, call: WriteCall) -> pb.ResetUserCredentialsResponse:
    """A one-time password again."""
    known = call.unit.get(request.name)
    _check_others(call, known)
    password = begin_anew(call.unit, call.vault, known, call.one_time)
    call.note(known.path)
    task = call.unit.done("Reset User Credentials", known.path)
    return pb.ResetUserCredentialsResponse(
        one_time_password="" if call.trial else password, task=convert.task_message(task)
    )


def _check_role(role: Role, org: str) -> None:
    """The provider's role is the provider's, and the provider's people have no other.  Raises ArgumentError."""
    if (role is Role.SYSTEM_ADMINISTRATOR) != (org == names.SYSTEM):
        text = f"expected ROLE_SYSTEM_ADMINISTRATOR in {names.SYSTEM} and only there"
        raise ArgumentError("the role is another organization's", [("user.role", text)])


def _check_others(call: WriteCall, known: Record) -> None:
    """Raises LastAdministratorError if nobody else could administer the cloud."""
    if known.org != names.SYSTEM:
        return
    # Who has not enrolled a second factor yet may never do so.
    if call.unit.count_confirmed(known.org, Role.SYSTEM_ADMINISTRATOR, but=known.uid) == 0:
        raise LastAdministratorError(f"there is no system administrator but {known.path} who can log in")
