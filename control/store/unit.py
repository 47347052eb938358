"""A unit of work: what one request changes, its task and its audit record, all or nothing."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
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
from control.store.reader import Reader
from control.store.records import AuditRecord, Credentials, Record, SessionRow, TaskRecord, TokenRecord
from control.store.schema import (
    API_TOKENS,
    ATTEMPTS,
    AUDIT,
    CREDENTIALS,
    FACTS,
    OBJECTS,
    REFS,
    REQUESTS,
    SESSIONS,
    TASKS,
)
from control.surroundings import SECOND_NS, Surroundings

REQUESTS_KEPT_NS = 24 * 3600 * SECOND_NS
ATTEMPTS_KEPT_NS = 24 * 3600 * SECOND_NS


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

    # ------------------------------------------------------------------ objects

    def create(self, kind: str, path: str, value: Value, refs: Iterable[tuple[str, str]] = ()) -> Record:
        """A new object; ``refs`` are pairs of an object that it needs and the field that says so.

        Raises ObjectExistsError, and NoSuchObjectError for what it lies in or needs.
        """
        parent = names.parent(path)
        needed = [*refs, *([(parent, "parent")] if parent else [])]
        for target, _ in needed:
            self.get(target)
        if self.find(path) is not None:
            raise ObjectExistsError(f"{path} is there already")
        record = Record(
            path, self.surroundings.id(), kind, names.organization(path), parent, names.last(path),
            1, self.now_ns, self.now_ns, value.model_dump(mode="json"),
        )  # fmt: skip
        self.db.execute(sa.insert(OBJECTS), record.columns())
        for target, field in needed:
            self.db.execute(sa.insert(REFS), {"source": path, "target": target, "field": field})
        return record

    def update(self, known: Record, value: Value, etag: str) -> Record:
        """Another value for an object.  Raises StaleObjectError if ``etag`` is given and another one."""
        _check_etag(known, etag)
        body = value.model_dump(mode="json")
        if body == known.body:
            return known
        later = max(self.now_ns, known.updated_ns)  # the clock may have been set back
        record = replace(known, version=known.version + 1, updated_ns=later, body=body)
        changed = {"version": record.version, "updated_ns": later, "body": body}
        self.db.execute(sa.update(OBJECTS).where(OBJECTS.c.path == known.path).values(changed))
        return record

    def delete(self, known: Record, etag: str) -> None:
        """An object that nobody needs.  Raises StaleObjectError or ObjectInUseError."""
        _check_etag(known, etag)
        needed_by = sa.select(REFS.c.source, REFS.c.field).where(REFS.c.target == known.path).order_by(REFS.c.source)
        users = [(source, field) for source, field in self.db.execute(needed_by.limit(1_000))]
        if users:
            raise ObjectInUseError(known.path, users)
        self.db.execute(sa.delete(OBJECTS).where(OBJECTS.c.path == known.path))

    # ------------------------------------------------------------------ what is told of it

    def done(self, operation: str, path: str, *, place: str = "") -> TaskRecord:
        """The task of something that is done by the end of the unit; it lies with its object, or in the organization
        ``place``."""
        place = place or names.organization(path)
        task = TaskRecord(
            f"{place}/tasks/{self.surroundings.id()}", place, operation, "TASK_STATUS_SUCCESS", self.actor.path, path,
            self.now_ns, max(self.now_ns, self.surroundings.now_ns()), "", "",
        )  # fmt: skip
        self.db.execute(sa.insert(TASKS), task.columns())
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


def _check_etag(known: Record, etag: str) -> None:
    if etag and etag != known.etag:
        raise StaleObjectError(f"{known.path} has been changed: it is {known.etag} now, not what the caller knows")
