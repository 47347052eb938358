"""The way of every call, in one place, so that no method can forget a step of it.

Who calls → may the role → whose is it → the request again? → the method, in a unit of work → its audit record → the
answer, kept for a repetition → committed → answered.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NoReturn, Protocol

from google.protobuf import message

from control import names
from control.access.callers import Caller, caller_of
from control.access.login import Logins
from control.access.methods import METHODS, OPEN, Rule
from control.access.passwords import Passwords
from control.access.roles import Permission
from control.access.vault import Vault
from control.api import api_tokens, errors, orgs, sessions, trail, users
from control.api.context import OpenCall, ReadCall, WriteCall
from control.api.refusals import Refusals
from control.errors import (
    ControlError,
    NoSuchObjectError,
    PermissionDeniedError,
    RequestIdReusedError,
    UnauthenticatedError,
)
from control.store import Store, WriteUnit
from edge.errors import ArgumentError

_ORG = "orgs/*"
_USER = "orgs/*/users/*"
_TOKEN = "orgs/*/users/*/apiTokens/*"  # noqa: S105 - the form of a name
_REQUEST_ID = re.compile(r"[!-~]{1,128}")


@dataclass(frozen=True, slots=True)
class Method:
    """``target``: the field that names what a request is about, and the form of that name."""

    run: Callable[[Any, Any], message.Message]
    target: tuple[str, str] | None = None
    one_time: bool = False
    """Does it hand out a one-time password?"""


HANDLERS: Mapping[str, Method] = {
    "OrgService/CreateOrg": Method(orgs.create_org),
    "OrgService/GetOrg": Method(orgs.get_org, ("name", _ORG)),
    "OrgService/ListOrgs": Method(orgs.list_orgs),
    "OrgService/UpdateOrg": Method(orgs.update_org, ("org.name", _ORG)),
    "OrgService/DeleteOrg": Method(orgs.delete_org, ("name", _ORG)),
    "UserService/CreateUser": Method(users.create_user, ("parent", _ORG), one_time=True),
    "UserService/GetUser": Method(users.get_user, ("name", _USER)),
    "UserService/ListUsers": Method(users.list_users, ("parent", _ORG)),
    "UserService/UpdateUser": Method(users.update_user, ("user.name", _USER)),
    "UserService/DeleteUser": Method(users.delete_user, ("name", _USER)),
    "UserService/ResetUserCredentials": Method(users.reset_user_credentials, ("name", _USER), one_time=True),
    "ApiTokenService/CreateApiToken": Method(api_tokens.create_api_token, ("parent", _USER)),
    "ApiTokenService/GetApiToken": Method(api_tokens.get_api_token, ("name", _TOKEN)),
    "ApiTokenService/ListApiTokens": Method(api_tokens.list_api_tokens, ("parent", _USER)),
    "ApiTokenService/DeleteApiToken": Method(api_tokens.delete_api_token, ("name", _TOKEN)),
    "TaskService/GetTask": Method(trail.get_task, ("name", "orgs/*/tasks/*")),
    "TaskService/ListTasks": Method(trail.list_tasks, ("parent", _ORG)),
    "AuditService/ListAuditRecords": Method(trail.list_audit_records, ("parent", _ORG)),
    "SessionService/Login": Method(sessions.login),
    "SessionService/ConfirmSecondFactor": Method(sessions.confirm_second_factor),
    "SessionService/Logout": Method(sessions.logout),
}


class Watcher(Protocol):
    """Whoever counts calls."""

    def called(self, method: str, code: str, seconds: float) -> None:
        """A call has ended."""


class Dispatcher:
    """Runs calls; any number of threads at a time."""

    def __init__(self, store: Store, vault: Vault, passwords: Passwords, watcher: Watcher) -> None:
        self._store = store
        self._vault = vault
        self._passwords = passwords
        self._watcher = watcher
        self._open = OpenCall(Logins(store, vault, passwords))
        self._refusals = Refusals()

    def call(self, name: str, request: Any, authorization: str) -> tuple[bytes, Any]:
        """The answer as bytes, or b"" and the status of the failure, a ``google.rpc.Status``."""
        began = time.perf_counter()
        code = "OK"
        try:
            return self._run(name, request, authorization), None
        except Exception as error:  # noqa: BLE001 - every exception ends the call with a status
            status = errors.status_of(error)
            code = errors.code_name(status)
            return b"", status
        finally:
            self._watcher.called(name, code, time.perf_counter() - began)

    def _run(self, name: str, request: Any, authorization: str) -> bytes:
        if name in OPEN:
            return HANDLERS[name].run(request, self._open).SerializeToString()
        rule = METHODS.get(name)
        if rule is None:
            raise PermissionDeniedError("the method cannot be called")
        token = _bearer(authorization)
        with self._store.read() as state:
            caller = caller_of(state, token)
            refusal = _refusal(rule, name, request, caller)
            if refusal is None and not rule.writes:
                return HANDLERS[name].run(request, ReadCall(caller, state)).SerializeToString()
        if refusal is not None:
            self._refuse(name, caller, refusal)
        return self._write(name, request, caller, token)

    def _refuse(self, name: str, caller: Caller, refusal: ControlError) -> NoReturn:
        """Tell the trail, unless it has been told within the last minute.  Raises ``refusal``."""
        who = caller.actor
        if self._refusals.begin(who.uid, name, self._store.surroundings.now_ns()):
            try:
                with self._store.write(who) as unit:
                    # What was asked for is not repeated: it may be another organization's, or nonsense.
                    unit.record(caller.org, name, who.path, outcome=refusal.reason)
            except BaseException:
                self._refusals.forget(who.uid, name)
                raise
        raise refusal

    def _write(self, name: str, request: Any, caller: Caller, token: str) -> bytes:
        trial = bool(getattr(request, "validate_only", False))
        request_id = str(getattr(request, "request_id", ""))
        if request_id and not _REQUEST_ID.fullmatch(request_id):
            text = "expected up to 128 visible ASCII characters without spaces"
            raise ArgumentError("the request id is wrong", [("request_id", text)])
        digest = self._vault.digest(name.encode() + b"\0" + request.SerializeToString(deterministic=True))
        # Hashing takes long: not while others wait to write.
        one_time = self._passwords.new_one_time() if HANDLERS[name].one_time else ("", "")
        with self._store.write(caller.actor, keep=not trial) as unit:
            if caller_of(unit, token) != caller:
                raise UnauthenticatedError("the caller has changed meanwhile: log in")
            known = unit.answered(request_id) if request_id and not trial else None
            if known is not None:
                return self._again(known, digest, _place(caller, request_id))
            call = WriteCall(caller, unit, one_time, trial)
            answer = HANDLERS[name].run(request, call).SerializeToString()
            _record(unit, name, call, request_id)
            if request_id and not trial:
                unit.remember(request_id, digest, self._vault.seal(answer, _place(caller, request_id)))
        return answer

    def _again(self, known: tuple[str, bytes], digest: str, place: str) -> bytes:
        if known[0] != digest:
            raise RequestIdReusedError("the request id stands for another request of the last 24 hours")
        return self._vault.open(known[1], place)


def _bearer(authorization: str) -> str:
    kind, _, token = authorization.partition(" ")
    return token if kind.lower() == "bearer" else ""


def _target(name: str, request: Any) -> str:
    """What a request is about, '' if that is no object that is there.  Raises ArgumentError for what is no name."""
    target = HANDLERS[name].target
    if target is None:
        return ""
    field, form = target
    found = request
    for part in field.split("."):
        found = getattr(found, part)
    return names.parse(found, form, field)


def _allowed(rule: Rule, name: str, request: Any, caller: Caller) -> bool:
    """May the role?  Does not look at whether the object is there."""
    if rule.permission is None or caller.may(rule.permission):
        return True
    if rule.own is None or not caller.may(rule.own):
        return False
    return f"{_target(name, request)}/".startswith(f"{caller.actor.path}/")


def _refusal(rule: Rule, name: str, request: Any, caller: Caller) -> ControlError | None:
    """Why the caller may not, None if they may.  What lies in another organization is not there."""
    if not _allowed(rule, name, request, caller):
        return PermissionDeniedError("the role does not allow it")
    if rule.session and not caller.session:
        return PermissionDeniedError("it takes a session: an API token does not suffice")
    target = _target(name, request)
    if target and names.organization(target) != caller.org and not caller.may(Permission.EVERY_ORG):
        return NoSuchObjectError(target)
    return None


def _record(unit: WriteUnit, name: str, call: WriteCall, request_id: str) -> None:
    assert call.noted is not None, f"{name} does not say what it changed"
    path, place, details = call.noted
    unit.record(place, name, path, details=details, request_id=request_id)


def _place(caller: Caller, request_id: str) -> str:
    return f"answer:{caller.actor.uid}:{request_id}"
