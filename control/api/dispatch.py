"""The way of every call, in one place, so that no method can forget a step of it.

Who calls → may the role → whose is it → the request again? → the method, in a unit of work → its audit record → the
answer, kept for a repetition → committed → answered.
"""

from __future__ import annotations

import contextlib
import json
import re
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, NoReturn, Protocol

from control import names
from control.access.callers import Caller, caller_of
from control.access.enrolment import Enrolments
from control.access.login import Logins
from control.access.methods import METHODS, OPEN
from control.access.passwords import Passwords
from control.access.vault import Vault, answer_place
from control.api import (
    api_tokens,
    change_sets,
    edge_hosts,
    errors,
    events,
    firewall,
    groups,
    kinds,
    machines,
    orders,
    orgs,
    profiles,
    sessions,
    trail,
    users,
)
from control.api.context import OpenCall, ReadCall, Stored, WriteCall
from control.api.later import Work, at_once
from control.api.method import Method
from control.api.places import placed, told_of, within
from control.api.refusals import Refusals
from control.api.rights import refusal_of, target_of
from control.errors import (
    BusyEntityError,
    ControlError,
    PermissionDeniedError,
    RequestIdReusedError,
    UnauthenticatedError,
)
from control.store import Store, WriteUnit
from control.surroundings import SECOND_NS
from edge.errors import ArgumentError, StoreError

_ORG = "orgs/*"
_USER = "orgs/*/users/*"
_TOKEN = "orgs/*/users/*/apiTokens/*"  # noqa: S105 - the form of a name
_REQUEST_ID = re.compile(r"[!-~]{1,128}")

ASK_AGAIN_S: Final = 0.02
"""How often is looked whether an edge is still busy."""
_BUSY_TIMEOUT_S: Final = 10.0
_MAX_BUSY_TIMEOUT_S: Final = 60.0


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
    "EdgeHostService/GetEdgeHost": Method(edge_hosts.get_edge_host, ("edge", "orgs/*/edges/*")),
    "EdgeHostService/SetEdgeHost": Method(edge_hosts.set_edge_host, ("edge_host.edge", "orgs/*/edges/*")),
    "EdgeHostService/CreateEnrollmentToken": Method(edge_hosts.create_enrollment_token, ("edge", "orgs/*/edges/*")),
    "EdgeHostService/ListFormerHosts": Method(edge_hosts.list_former_hosts),
    "EdgeHostService/ForgetFormerHost": Method(edge_hosts.forget_former_host, ("edge", "orgs/*/edges/*")),
    "EdgeHostService/Enroll": Method(edge_hosts.enroll),
    "EventService/ListEvents": Method(events.list_events, ("parent", _ORG)),
    "EventService/WatchEvents": Method(events.watch_events, ("parent", _ORG)),
    "SessionService/Login": Method(sessions.login),
    "SessionService/ConfirmSecondFactor": Method(sessions.confirm_second_factor),
    "SessionService/Logout": Method(sessions.logout),
    **kinds.HANDLERS,
    **machines.HANDLERS,
    **firewall.HANDLERS,
    **groups.HANDLERS,
    **profiles.HANDLERS,
    **change_sets.HANDLERS,
    **orders.HANDLERS,
}


class Watcher(Protocol):
    """Whoever counts calls."""

    def called(self, method: str, code: str, seconds: float) -> None:
        """A call has ended."""


class Fleet(Protocol):
    """Whoever brings edges to what they should have."""

    def wake(self, edges: Collection[str]) -> None:
        """What these should have has been changed, and that is on the disk.  Called from any thread; returns soon."""

    def running(self, path: str) -> tuple[str, bytes | None] | None:
        """What an edge runs, None if that is not known: the etag, and the packed document if that is.  From any thread;
        returns at once."""


class Keeper(Protocol):
    """Whoever does jobs that are no edge's."""

    def wake(self, subjects: Collection[str], edges: Collection[str]) -> None:
        """There are jobs for these, and edges whose networks may be others now, and that is on the disk.  Called from
        any thread; returns soon."""


class Unattended:
    """Nobody."""

    def wake(self, *_: Collection[str]) -> None:
        """Leave them as they are."""

    def running(self, _: str) -> None:
        """Who knows."""


def unchecked(_: WriteUnit) -> None:
    """Take everything that the objects themselves allow."""


@dataclass(frozen=True, slots=True)
class Attempt:
    """What became of a call: an answer, or a ``google.rpc.Status``.  ``busy``: the edges that it would wait for, since
    ``began``, a reading of the monotonic clock, ``until`` another."""

    answer: bytes = b""
    status: Any = None
    busy: tuple[str, ...] = ()
    began: float = 0.0
    until: float = 0.0

    @property
    def waits(self) -> bool:
        """Is the call to be tried again?"""
        return bool(self.busy)


@dataclass(frozen=True, slots=True)
class Stream:
    """A call of more than one message under way; it is about the object ``path`` with this uid."""

    name: str
    caller: Caller
    token: str
    path: str
    uid: str


class Dispatcher:
    """Runs calls; any number of threads at a time.

    ``check`` looks at a unit's edges as they would be, and raises for what they would not take; ``later`` does what a
    call leaves behind, or has no room for it.
    """

    def __init__(
        self,
        store: Store,
        vault: Vault,
        passwords: Passwords,
        watcher: Watcher,
        *,
        check: Callable[[WriteUnit], None] = unchecked,
        fleet: Fleet | None = None,
        keeper: Keeper | None = None,
        later: Callable[[Work], bool] = at_once,
    ) -> None:
        self._store = store
        self._vault = vault
        self._passwords = passwords
        self._watcher = watcher
        self._check = check
        self._fleet = fleet or Unattended()
        self._keeper = keeper or Unattended()
        self._open = OpenCall(Logins(store, vault, passwords), Enrolments(store, vault))
        self._refusals = Refusals()
        self._later = later

    def call(self, name: str, request: Any, authorization: str) -> tuple[bytes, Any]:
        """The answer as bytes, or b"" and the status of the failure, a ``google.rpc.Status``."""
        done = self.attempt(name, request, authorization)
        while done.waits:
            time.sleep(ASK_AGAIN_S)
            done = self.attempt(name, request, authorization, done)
        return done.answer, done.status

    def attempt(self, name: str, request: Any, authorization: str, before: Attempt | None = None) -> Attempt:
        """One try, or the next one after ``before``: for who can wait without keeping a thread."""
        now = time.monotonic()
        began = before.began if before else now
        code, status, answer = "OK", None, b""
        try:
            if before is not None and now < before.until and self._still_busy(before.busy):
                return before
            answer = self._run(name, request, authorization)
        except BusyEntityError as error:
            until = before.until if before else began + _patience(request)
            if time.monotonic() < until:
                return Attempt(busy=error.edges, began=began, until=until)
            code, status = _failure(error)
        except Exception as error:  # noqa: BLE001 - every exception ends the call with a status
            code, status = _failure(error)
        self._watcher.called(name, code, time.monotonic() - began)
        return Attempt(answer, status)

    def look(self, name: str, request: Any, authorization: str) -> Attempt:
        """One of many reads of a call that goes on: it is counted by :meth:`called` when it has ended."""
        try:
            return Attempt(self._run(name, request, authorization))
        except Exception as error:  # noqa: BLE001 - every exception ends the call with a status
            return Attempt(status=_failure(error)[1])

    def called(self, name: str, code: str, seconds: float) -> None:
        """A call has ended that the dispatcher did not see the end of."""
        self._watcher.called(name, code, seconds)

    def organization_of(self, authorization: str) -> str | None:
        """Whose caller it is, None if that is nobody, or cannot be told now."""
        try:
            with self._store.read() as state:
                return caller_of(state, _bearer(authorization)).org
        except (UnauthenticatedError, StoreError):
            return None

    def begin(self, name: str, request: Any, authorization: str) -> Stream:
        """A call of more than one message: checked as every call, and in the trail.  Raises EdgeError."""
        token = _bearer(authorization)
        with self._store.read() as state:
            caller = caller_of(state, token)
        refusal = _refusal(name, request, caller)
        if refusal is not None:
            self._refuse(name, caller, refusal)
        with self._store.write(caller.actor) as unit:
            if caller_of(unit, token) != caller:
                raise UnauthenticatedError("the caller has changed meanwhile: log in")
            HANDLERS[name].run(request, ReadCall(caller, unit))
            record = unit.get(target_of(HANDLERS[name], request))
            unit.record(record.org, name, record.path, details=_details(began=True))
        return Stream(name, caller, token, record.path, record.uid)

    def holds(self, stream: Stream) -> bool:
        """May it go on?  Not when its session has ended, the caller's role has changed, or the object is another."""
        with self._store.read() as state:
            try:
                same = caller_of(state, stream.token) == stream.caller
            except UnauthenticatedError:
                return False
            known = state.find(stream.path)
        return same and known is not None and known.uid == stream.uid

    def end(self, stream: Stream, outcome: str, **details: object) -> None:
        """That it has ended is in the trail; ``outcome`` is OK or a reason.  Raises StoreError."""
        with self._store.write(stream.caller.actor) as unit:
            org = names.organization(stream.path)
            unit.record(org, stream.name, stream.path, outcome=outcome, details=_details(ended=True, **details))

    def _still_busy(self, edges: Collection[str]) -> bool:
        with self._store.read() as state:
            return state.busy(edges) is not None

    def _run(self, name: str, request: Any, authorization: str) -> bytes:
        if name in OPEN:
            return HANDLERS[name].run(request, self._open).SerializeToString()
        rule = METHODS.get(name)
        if rule is None:
            raise PermissionDeniedError("the method cannot be called")
        token = _bearer(authorization)
        with self._store.read() as state:
            caller = caller_of(state, token)
            refusal = _refusal(name, request, caller)
            if refusal is None and not rule.writes:
                return HANDLERS[name].run(request, ReadCall(caller, state)).SerializeToString()
        if refusal is not None:
            self._refuse(name, caller, refusal)
        return self._write(name, request, caller, token)

    def _refuse(self, name: str, caller: Caller, refusal: ControlError) -> NoReturn:
        """Tell the trail, unless it has been told within the last minute.  Raises ``refusal``."""
        who = caller.actor

        def record() -> None:
            try:
                with self._store.write(who) as unit:
                    # What was asked for is not repeated: it may be another organization's, or nonsense.
                    unit.record(caller.org, name, who.path, outcome=refusal.reason)
            except BaseException:
                self._refusals.forget(who.uid, name)
                raise

        # Who only reads does not wait to write.
        if self._refusals.begin(who.uid, name, self._store.surroundings.now_ns()) and not self._later(record):
            self._refusals.forget(who.uid, name)
        raise refusal

    def _write(self, name: str, request: Any, caller: Caller, token: str) -> bytes:
        trial = bool(getattr(request, "validate_only", False))
        request_id = str(getattr(request, "request_id", ""))
        if request_id and not _REQUEST_ID.fullmatch(request_id):
            text = "expected up to 128 visible ASCII characters without spaces"
            raise ArgumentError("the request id is wrong", [("request_id", text)])
        content = name.encode() + b"\0" + request.SerializeToString(deterministic=True)
        # Hashing takes long: not while others wait to write.
        one_time = self._passwords.new_one_time() if HANDLERS[name].one_time else ("", "")
        with self._unit(name, request, caller, trial=trial) as (unit, before):
            if caller_of(unit, token) != caller:
                raise UnauthenticatedError("the caller has changed meanwhile: log in")
            known = unit.answered(request_id) if request_id and not trial else None
            if known is not None:
                return self._again(known, content, answer_place(caller.actor.uid, request_id))
            call = WriteCall(caller, unit, one_time, trial, self._vault, before, self._fleet.running, HANDLERS)
            answer = HANDLERS[name].run(request, call).SerializeToString()
            edges = unit.touched()
            if edges:
                self._check(unit)
                if not trial:
                    _check_busy(unit, edges)
            unit.settle()
            _record(unit, name, call, request_id)
            if request_id and not trial:
                place = answer_place(caller.actor.uid, request_id)
                unit.remember(request_id, self._vault.digest(content), self._vault.seal(answer, place))
        if edges and not trial:
            self._fleet.wake(edges)
        if (unit.awaited or edges) and not trial:
            self._keeper.wake(unit.awaited, edges)
        return answer

    @contextlib.contextmanager
    def _unit(self, name: str, request: Any, caller: Caller, *, trial: bool) -> Iterator[tuple[WriteUnit, Stored]]:
        """Where a call is done, and how the state before it is read."""
        org = names.organization(target_of(HANDLERS[name], request) or names.SYSTEM)
        if trial and org != names.SYSTEM:
            with self._store.attempt(caller.actor, org) as (unit, before):
                yield unit, lambda: contextlib.nullcontext(before)
            return
        # What the provider offers is every organization's: a trial of that is rare, and small.
        with self._store.write(caller.actor, keep=not trial) as unit:
            yield unit, self._store.read

    def _again(self, known: tuple[str, bytes], content: bytes, place: str) -> bytes:
        if not self._vault.is_digest(known[0], content):
            raise RequestIdReusedError("the request id stands for another request of the last 24 hours")
        return self._vault.open(known[1], place)


def _details(**details: object) -> str:
    return json.dumps(details, sort_keys=True)


def _bearer(authorization: str) -> str:
    kind, _, token = authorization.partition(" ")
    return token if kind.lower() == "bearer" else ""


def _refusal(name: str, request: Any, caller: Caller) -> ControlError | None:
    """Why the caller may not, or may not do a part of it; None if they may."""
    method = HANDLERS[name]
    refusal = refusal_of(METHODS[name], method, request, caller)
    if refusal is not None or method.parts is None:
        return refusal
    for index, (part, inner) in enumerate(method.parts(request)):
        place = f"requests[{index}]"
        with placed(within(place), place):
            refusal = refusal_of(METHODS[part], HANDLERS[part], inner, caller)
        if refusal is not None:
            return told_of(refusal, place)
    return None


def _failure(error: Exception) -> tuple[str, Any]:
    status = errors.status_of(error)
    return errors.code_name(status), status


def _patience(request: Any) -> float:
    """For how many seconds a call waits for busy edges."""
    given = getattr(request, "busy_timeout", None)
    if given is None or not request.HasField("busy_timeout"):
        return _BUSY_TIMEOUT_S
    return float(min(given.seconds + given.nanos / SECOND_NS, _MAX_BUSY_TIMEOUT_S))


def _check_busy(unit: WriteUnit, edges: Collection[str]) -> None:
    """Raises BusyEntityError if one of the edges is busy with another task than this unit's."""
    task = unit.busy(edges)
    if task is not None:
        raise BusyEntityError(tuple(edges), task.path, task.operation)


def _record(unit: WriteUnit, name: str, call: WriteCall, request_id: str) -> None:
    assert call.noted is not None, f"{name} does not say what it changed"
    path, place, details = call.noted
    unit.record(place, name, path, details=details, request_id=request_id)
