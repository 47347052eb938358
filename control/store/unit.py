"""A unit of work: what one request changes, its task and its audit record, all or nothing."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import sqlalchemy as sa

from control import chain, names
from control.errors import (
    NoSuchObjectError,
    ObjectExistsError,
    ObjectInUseError,
    StaleObjectError,
)
from control.objects.values import Value
from control.store.reader import FAILED, RUNNING, SUCCESS, Reader
from control.store.records import (
    SEALED,
    AuditRecord,
    Credentials,
    EdgeHost,
    EdgeState,
    FormerHost,
    Record,
    SessionRow,
    TaskRecord,
    TokenRecord,
)
from control.store.schema import (
    API_TOKENS,
    ATTEMPTS,
    AUDIT,
    CREDENTIALS,
    EDGE_HOSTS,
    EDGE_STATES,
    EVENTS,
    FACTS,
    FORMER_HOSTS,
    OBJECTS,
    PUBLIC_ADDRESSES,
    REFS,
    REQUESTS,
    SESSIONS,
    TASK_WAITS,
    TASKS,
)
from control.surroundings import SECOND_NS, Surroundings

EVENTS_KEPT = 10_000
"""So many of the newest events of an organization, and a few more, are kept."""
_EVENTS_AT_ONCE = 100
REQUESTS_KEPT_NS = 24 * 3600 * SECOND_NS
ATTEMPTS_KEPT_NS = 24 * 3600 * SECOND_NS


_RENUMBERED = sa.update(OBJECTS).where(OBJECTS.c.path == sa.bindparam("at")).values(position=sa.bindparam("number"))


@dataclass(frozen=True, slots=True)
class Actor:
    """Who changes something: the name of a user, and the uid that no later user of that name has."""

    path: str
    uid: str


PROVIDER = Actor(names.SYSTEM, "")
"""The service itself, at its first start."""


class WriteUnit(Reader):
    """The one writer's view.  Nothing of it holds before its block has ended well."""

    def __init__(self, db: sa.Connection, actor: Actor, surroundings: Surroundings) -> None:
        super().__init__(db, surroundings.now_ns())
        self.actor = actor
        self.surroundings = surroundings
        self.places: dict[str, str] = {}
        """The objects that the unit made or changed, each with the field of the request that says so."""
        self._edges: dict[str, None] = {}
        self._events: dict[str, int] = {}
        self._running: list[str] = []
        self._awaited: dict[str, int] = {}

    # ------------------------------------------------------------------ objects

    def create(
        self,
        kind: str,
        path: str,
        value: Value,
        refs: Iterable[tuple[str, str]] = (),
        *,
        name: str = "",
        sealed: Mapping[str, str] | None = None,
        position: int = 0,
    ) -> Record:
        """A new object; ``refs`` are pairs of an object that it needs and the field that says so, ``name`` is unique
        among its like, its id by default.

        Raises ObjectExistsError, and NoSuchObjectError for what it lies in or needs.
        """
        parent, name = names.parent(path), name or names.last(path)
        needed = {*refs, *([(parent, "parent")] if parent else [])}
        for target, _ in needed:
            self.get(target)
        if self.find(path) is not None:
            raise ObjectExistsError(f"{path} is there already")
        self._check_name(kind, parent, name)
        record = Record(
            path, self.surroundings.id(), kind, names.organization(path), parent, name,
            1, self.now_ns, self.now_ns, _body(value, sealed), position,
        )  # fmt: skip
        self.db.execute(sa.insert(OBJECTS), record.columns())
        self._need(path, needed)
        self._happened("OBJECT_CREATED", record)
        return record

    def update(
        self,
        known: Record,
        value: Value,
        etag: str,
        refs: Iterable[tuple[str, str]] | None = None,
        *,
        name: str = "",
        sealed: Mapping[str, str] | None = None,
    ) -> Record:
        """Another value for an object, and what it needs then, by default the same as before; secrets that are not
        given stay.

        Raises StaleObjectError if ``etag`` is given and another one, and what ``create`` does.
        """
        _check_etag(known, etag)
        body, name = _body(value, {**known.sealed, **(sealed or {})}), name or known.name
        if body == known.body:
            return known
        if name != known.name:
            self._check_name(known.kind, known.parent, name)
        if refs is not None:
            needed = set(refs)
            for target, _ in needed:
                self.get(target)
            self.db.execute(sa.delete(REFS).where(REFS.c.source == known.path, REFS.c.field != "parent"))
            self._need(known.path, needed)
        return self._changed(known, name=name, body=body)

    def move(self, known: Record, position: int) -> Record:
        """Another place in the order."""
        return self._changed(known, position=position)

    def renumber(self, paths: Iterable[str], gap: int) -> None:
        """Other numbers for the places of objects that stay in their order, or are all told of as a list: their
        versions stay."""
        rows = [{"at": path, "number": index * gap} for index, path in enumerate(paths, 1)]
        if rows:
            self.db.execute(_RENUMBERED, rows)

    def _changed(self, known: Record, **columns: Any) -> Record:
        later = max(self.now_ns, known.updated_ns)  # the clock may have been set back
        changed = {**columns, "version": known.version + 1, "updated_ns": later}
        self.db.execute(sa.update(OBJECTS).where(OBJECTS.c.path == known.path).values(changed))
        self._happened("OBJECT_CHANGED", known)
        return replace(known, **changed)

    def _need(self, path: str, needed: Collection[tuple[str, str]]) -> None:
        if needed:
            rows = [{"source": path, "target": target, "field": field} for target, field in sorted(needed)]
            self.db.execute(sa.insert(REFS), rows)

    def _check_name(self, kind: str, parent: str, name: str) -> None:
        """Raises ObjectExistsError for a name that another object has."""
        other = self.named(kind, parent, name)
        if other is not None:
            raise ObjectExistsError(f"{other.path} has the name {name!r}")

    def delete(self, known: Record, etag: str) -> None:
        """An object that nobody needs.  Raises StaleObjectError or ObjectInUseError."""
        _check_etag(known, etag)
        needed_by = sa.select(REFS.c.source, REFS.c.field).where(REFS.c.target == known.path).order_by(REFS.c.source)
        users = [(source, field) for source, field in self.db.execute(needed_by.limit(1_000))]
        if users:
            raise ObjectInUseError(known.path, users)
        if known.kind == "edge_gateway":
            self._leave(known.path, "")
        self.db.execute(sa.delete(OBJECTS).where(OBJECTS.c.path == known.path))
        self._stop_waiting(TASK_WAITS.c.edge == known.path)
        self._happened("OBJECT_DELETED", known)

    # ------------------------------------------------------------------ edges

    def touch(self, edge: str) -> None:
        """What an edge should have is changed by this unit."""
        self._edges[edge] = None

    def touched(self) -> tuple[str, ...]:
        """The edges that have been touched, and are there."""
        return tuple(edge for edge in self._edges if self.find(edge) is not None)

    def await_job(self, subject: str, number: int) -> None:
        """The unit's tasks wait for this job of something that is no edge, too."""
        self._awaited[subject] = number

    @property
    def awaited(self) -> Collection[str]:
        """Whose jobs the unit's tasks wait for."""
        return tuple(self._awaited)

    def finished(self, subject: str, number: int) -> None:
        """A job is done: tasks that waited for no more have ended."""
        self._stop_waiting(TASK_WAITS.c.edge == subject, TASK_WAITS.c.revision <= number)

    def gave_up(self, subject: str, number: int, reason: str, message: str) -> None:
        """A job cannot be done: the tasks that wait for it have failed."""
        waiting = (TASK_WAITS.c.edge == subject, TASK_WAITS.c.revision <= number)
        tasks = TASKS.c.path.in_(sa.select(TASK_WAITS.c.task).where(*waiting))
        ended = {"status": FAILED, "end_ns": self.now_ns, "error_reason": reason, "error_message": message}
        self.db.execute(sa.update(TASKS).where(tasks, TASKS.c.status == RUNNING).values(ended))
        self.db.execute(sa.delete(TASK_WAITS).where(*waiting))

    def settle(self) -> None:
        """At the end of a unit: edges have got another wanted state, and its tasks wait for them and for jobs."""
        for task in self._running:
            for subject, number in self._awaited.items():
                self.db.execute(sa.insert(TASK_WAITS), {"task": task, "edge": subject, "revision": number})
        touched = self.touched()
        for edge in touched:
            known = self.edge_state(edge)
            revision = known.desired + 1 if known else 1
            wanted: dict[str, Any] = {
                "desired": revision,
                "desired_ns": self.now_ns,
                "status": "PENDING",
                "reason": "",
                "message": "",
            }
            if known is None:
                new = EdgeState(edge, realized=0, realized_etag="", updated_ns=self.now_ns, **wanted)
                self.db.execute(sa.insert(EDGE_STATES), new.columns())
            else:
                self.db.execute(sa.update(EDGE_STATES).where(EDGE_STATES.c.path == edge).values(wanted))
            for task in self._running:
                self.db.execute(sa.insert(TASK_WAITS), {"task": task, "edge": edge, "revision": revision})

    def realized(self, edge: str, revision: int, etag: str) -> None:
        """An edge has one of its states: tasks that waited for no more have ended."""
        known = self.edge_state(edge)
        if known is None or known.realized > revision:
            return
        status = "REALIZED" if revision == known.desired else "PENDING"
        changed = {"realized": revision, "realized_etag": etag, "status": status, "reason": "", "message": ""}
        mine = EDGE_STATES.c.path == edge
        self.db.execute(sa.update(EDGE_STATES).where(mine).values(**changed, updated_ns=self.now_ns))
        self.finished(edge, revision)

    def failed(self, edge: str, revision: int, reason: str, message: str) -> None:
        """An edge does not take one of its states: the tasks that wait for it have failed."""
        known = self.edge_state(edge)
        if known is None or known.realized > revision:
            return
        self._trouble(known, revision, "ERROR", reason, message)
        self.gave_up(edge, revision, reason, message)

    def unreached(self, edge: str, revision: int, reason: str, message: str) -> None:
        """An edge could not be asked to have one of its states: its tasks go on waiting."""
        known = self.edge_state(edge)
        if known is not None:
            self._trouble(known, revision, "PENDING", reason, message)

    def drifted(self, edge: str) -> None:
        """An edge that had what it should was seen to run something else."""
        changed = {"drifts": EDGE_STATES.c.drifts + 1, "drifted_ns": self.now_ns}
        self.db.execute(sa.update(EDGE_STATES).where(EDGE_STATES.c.path == edge).values(changed))

    def _trouble(self, known: EdgeState, revision: int, status: str, reason: str, message: str) -> None:
        if revision != known.desired:
            return  # of what is wanted by now nothing is known yet
        changed = {"status": status, "reason": reason, "message": message, "updated_ns": self.now_ns}
        self.db.execute(sa.update(EDGE_STATES).where(EDGE_STATES.c.path == known.path).values(changed))

    def set_edge_host(self, host: EdgeHost) -> None:
        """Where an edge runs from now on, or who may say so."""
        self._leave(host.path, host.address)
        self.forget_former_host(host.path, host.address)
        self.db.execute(sa.delete(EDGE_HOSTS).where(EDGE_HOSTS.c.path == host.path))
        self.db.execute(sa.insert(EDGE_HOSTS), host.columns())

    def remove_edge_host(self, edge: str) -> None:
        """It runs in the control plane's own process from now on."""
        self._leave(edge, "")
        self.db.execute(sa.delete(EDGE_HOSTS).where(EDGE_HOSTS.c.path == edge))

    def _leave(self, edge: str, address: str) -> None:
        """What an edge leaves behind where it is now, unless it stays at ``address``, is to be cleared."""
        known = self.edge_host(edge)
        if known is not None and known.address not in ("", address):
            self.forget_former_host(edge, known.address)
            left = FormerHost(edge, known.address, known.identity, self.now_ns)
            self.db.execute(sa.insert(FORMER_HOSTS), left.columns())

    def forget_former_host(self, edge: str, address: str) -> bool:
        """Nothing is left there of an edge, or nobody is to look any more.  Was it known?"""
        mine = (FORMER_HOSTS.c.edge == edge, FORMER_HOSTS.c.address == address)
        return self.db.execute(sa.delete(FORMER_HOSTS).where(*mine)).rowcount > 0

    def not_cleared(self, host: FormerHost, reason: str, message: str) -> bool:
        """Why what an edge has left there could not be cleared.  Is it still to be, and the reason another one?"""
        mine = (FORMER_HOSTS.c.edge == host.edge, FORMER_HOSTS.c.address == host.address)
        changed = sa.update(FORMER_HOSTS).where(*mine, FORMER_HOSTS.c.reason != reason)
        return self.db.execute(changed.values(reason=reason, message=message)).rowcount > 0

    def _stop_waiting(self, *which: sa.ColumnElement[bool]) -> None:
        waiting = set(self.db.execute(sa.select(TASK_WAITS.c.task).where(*which)).scalars())
        if not waiting:
            return
        self.db.execute(sa.delete(TASK_WAITS).where(*which))
        left = sa.select(TASK_WAITS.c.task).where(TASK_WAITS.c.task.in_(waiting))
        ended = (TASKS.c.path.in_(waiting), TASKS.c.path.not_in(left), TASKS.c.status == RUNNING)
        self.db.execute(sa.update(TASKS).where(*ended).values(status=SUCCESS, end_ns=self.now_ns))

    def take_addresses(self, network: str, edge: str, numbers: Iterable[int]) -> None:
        """The addresses of a provider network that an edge has from now on; no two edges have the same."""
        self.db.execute(sa.delete(PUBLIC_ADDRESSES).where(PUBLIC_ADDRESSES.c.edge == edge))
        rows = [{"network": network, "address": number, "edge": edge} for number in numbers]
        self.db.execute(sa.insert(PUBLIC_ADDRESSES), rows)

    # ------------------------------------------------------------------ what is told of it

    def done(self, operation: str, path: str, *, place: str = "") -> TaskRecord:
        """The task of what the unit does; it lies with its object, or in the organization ``place``.  It is done by
        the end of the unit, unless edges have been touched: then it goes on until they have what they should."""
        place = place or names.organization(path)
        waits = bool(self._awaited or self.touched())
        end_ns = None if waits else max(self.now_ns, self.surroundings.now_ns())
        task = TaskRecord(
            f"{place}/tasks/{self.surroundings.id()}", place, operation, RUNNING if waits else SUCCESS,
            self.actor.path, path, self.now_ns, end_ns, "", "",
        )  # fmt: skip
        self.db.execute(sa.insert(TASKS), task.columns())
        if waits:
            self._running.append(task.path)
        return task

    def record(
        self, org: str, method: str, path: str, *, outcome: str = "OK", details: str = "{}", request_id: str = ""
    ) -> AuditRecord:
        """The next audit record of an organization."""
        newest = sa.select(AUDIT.c.number, AUDIT.c.hash).where(AUDIT.c.org == org).order_by(AUDIT.c.number.desc())
        before = self.db.execute(newest.limit(1)).first()
        number, previous = (before.number, before.hash) if before else (0, chain.FIRST)
        record = AuditRecord(
            org, number + 1, self.now_ns, self.actor.path, method, path, outcome, details, request_id, previous, ""
        )
        record = replace(record, hash=chain.hash_of(record.columns()))
        self.db.execute(sa.insert(AUDIT), record.columns())
        return record

    def event(self, kind: str, path: str, /, **details: object) -> None:
        """Tell whoever watches the organization that an object lies in."""
        org = names.organization(path)
        number = self._events.get(org)
        if number is None:
            number = self.event_numbers(org)[1]
        number += 1
        self._events[org] = number
        text = json.dumps(details, sort_keys=True, ensure_ascii=False)
        row = {"org": org, "number": number, "time_ns": self.now_ns, "kind": kind, "object": path, "details": text}
        self.db.execute(sa.insert(EVENTS), row)
        if number % _EVENTS_AT_ONCE == 0:
            self.db.execute(sa.delete(EVENTS).where(EVENTS.c.org == org, EVENTS.c.number <= number - EVENTS_KEPT))

    def _happened(self, kind: str, record: Record) -> None:
        """Users are nobody's business but the administrators': the audit trail tells of them."""
        if record.kind != "user":
            self.event(kind, record.path, kind=record.kind, actor=self.actor.path)

    # ------------------------------------------------------------------ requests that come again

    def answered(self, request_id: str) -> tuple[str, bytes] | None:
        """The digest of the request that an id of this actor stands for, and the answer to it."""
        oldest = self.now_ns - REQUESTS_KEPT_NS
        mine = (REQUESTS.c.actor_uid == self.actor.uid, REQUESTS.c.request_id == request_id)
        found = self.db.execute(sa.select(REQUESTS).where(*mine, REQUESTS.c.created_ns >= oldest)).first()
        return (found.digest, found.answer) if found else None

    def remember(self, request_id: str, digest: str, answer: bytes) -> None:
        """The answer to a request, for a day."""
        self.db.execute(sa.delete(REQUESTS).where(REQUESTS.c.created_ns < self.now_ns - REQUESTS_KEPT_NS))
        row = {"actor_uid": self.actor.uid, "request_id": request_id, "digest": digest, "answer": answer}
        self.db.execute(sa.insert(REQUESTS), {**row, "created_ns": self.now_ns})

    # ------------------------------------------------------------------ credentials

    def set_credentials(self, credentials: Credentials) -> None:
        """How a user logs in from now on."""
        self.db.execute(sa.delete(CREDENTIALS).where(CREDENTIALS.c.user_uid == credentials.user_uid))
        self.db.execute(sa.insert(CREDENTIALS), credentials.columns())

    def add_session(self, session: SessionRow) -> None:
        """A session; those that have ended go."""
        self.db.execute(sa.delete(SESSIONS).where(SESSIONS.c.expires_ns <= self.now_ns))
        self.db.execute(sa.insert(SESSIONS), session.columns())

    def end_session(self, token_hash: str) -> None:
        """Log out."""
        self.db.execute(sa.delete(SESSIONS).where(SESSIONS.c.token_hash == token_hash))

    def end_sessions(self, user_uid: str, *, tokens: bool) -> None:
        """All of a user's sessions, and perhaps the API tokens."""
        self.db.execute(sa.delete(SESSIONS).where(SESSIONS.c.user_uid == user_uid))
        if tokens:
            self.db.execute(sa.delete(API_TOKENS).where(API_TOKENS.c.user_uid == user_uid))

    def add_token(self, token: TokenRecord, token_hash: str) -> None:
        """An API token.  Raises ObjectExistsError if its user has one of that name."""
        same = (API_TOKENS.c.user_uid == token.user_uid, API_TOKENS.c.name == token.name)
        if self._count(API_TOKENS, *same):
            raise ObjectExistsError(f"there is an API token {token.name!r} already")
        self.db.execute(sa.insert(API_TOKENS), {**token.columns(), "token_hash": token_hash})

    def forget_ended_tokens(self, user_uid: str) -> None:
        """A user's API tokens that have ended: neither their names nor their number stand in the way of others."""
        ended = (API_TOKENS.c.user_uid == user_uid, API_TOKENS.c.expires_ns <= self.now_ns)
        self.db.execute(sa.delete(API_TOKENS).where(*ended))

    def delete_token(self, path: str) -> None:
        """End an API token.  Raises NoSuchObjectError."""
        if self.db.execute(sa.delete(API_TOKENS).where(API_TOKENS.c.path == path)).rowcount == 0:
            raise NoSuchObjectError(path)

    def attempts(self, key: str) -> tuple[int, int]:
        """How many logins have failed since the last that did not, and when the last of them began."""
        live = (ATTEMPTS.c.key == key, ATTEMPTS.c.last_ns >= self.now_ns - ATTEMPTS_KEPT_NS)
        found = self.db.execute(sa.select(ATTEMPTS).where(*live)).first()
        return (found.failures, found.last_ns) if found else (0, 0)

    def set_attempts(self, key: str, failures: int) -> None:
        """What ``attempts`` says from now on; what is a day old is forgotten."""
        self.db.execute(sa.delete(ATTEMPTS).where(ATTEMPTS.c.last_ns < self.now_ns - ATTEMPTS_KEPT_NS))
        self.db.execute(sa.delete(ATTEMPTS).where(ATTEMPTS.c.key == key))
        if failures:
            self.db.execute(sa.insert(ATTEMPTS), {"key": key, "failures": failures, "last_ns": self.now_ns})

    def set_facts(self, facts: Mapping[str, Any]) -> None:
        """Things that there is one of."""
        for name, value in facts.items():
            self.db.execute(sa.delete(FACTS).where(FACTS.c.name == name))
            self.db.execute(sa.insert(FACTS), {"name": name, "value": value})


def _body(value: Value, sealed: Mapping[str, str] | None) -> dict[str, Any]:
    """What is kept of a value, and of its secrets."""
    said = value.model_dump(mode="json")
    return {**said, SEALED: dict(sealed)} if sealed else said


def _check_etag(known: Record, etag: str) -> None:
    if etag and etag != known.etag:
        raise StaleObjectError(f"{known.path} has been changed: it is {known.etag} now, not what the caller knows")
