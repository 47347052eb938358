"""What can be asked of the store."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import fields
from typing import Any, Final

import sqlalchemy as sa

from control.errors import NoSuchObjectError
from control.filters import ListQuery
from control.store import listing
from control.store.prepared import from_json, prepared
from control.store.records import (
    AuditRecord,
    Credentials,
    EdgeHost,
    EdgeState,
    EventRecord,
    FormerHost,
    Place,
    Record,
    SessionRow,
    TaskRecord,
    TokenRecord,
)
from control.store.schema import (
    API_TOKENS,
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
    SESSIONS,
    TASK_WAITS,
    TASKS,
)
from control.surroundings import SECOND_NS

BUSY_NS: Final = 10 * SECOND_NS
"""How long an edge is busy with a task at most."""

RUNNING: Final = "TASK_STATUS_RUNNING"
SUCCESS: Final = "TASK_STATUS_SUCCESS"
FAILED: Final = "TASK_STATUS_ERROR"


def _columns(table: sa.Table, kind: type[SessionRow | TokenRecord | Record | Place]) -> list[sa.Column[Any]]:
    """What a row consists of, in its order."""
    return [table.c[field.name] for field in fields(kind)]


def _record(columns: Sequence[Any]) -> Record:
    path, uid, kind, org, parent, name, version, created_ns, updated_ns, body, position = columns
    return Record(
        path, uid, kind, org, parent, name, version, created_ns, updated_ns, from_json(body), position
    )  # fmt: skip


# What every call asks, made once: making a query costs more than running it.
_OBJECTS = sa.select(*_columns(OBJECTS, Record))
_PLACES = sa.select(*_columns(OBJECTS, Place))
_OBJECT = prepared(_OBJECTS.where(OBJECTS.c.path == sa.bindparam("path")))
_EDGE_STATE = sa.select(EDGE_STATES).where(EDGE_STATES.c.path == sa.bindparam("path"))
_OWN_SESSION, _OWN_TOKEN = len(fields(SessionRow)), len(fields(TokenRecord))
_SESSION = prepared(
    sa.select(*_columns(SESSIONS, SessionRow), *_columns(OBJECTS, Record))
    .join(OBJECTS, OBJECTS.c.uid == SESSIONS.c.user_uid)
    .where(SESSIONS.c.token_hash == sa.bindparam("token_hash"))
)
_TOKEN = prepared(
    sa.select(*_columns(API_TOKENS, TokenRecord), *_columns(OBJECTS, Record))
    .join(OBJECTS, OBJECTS.c.uid == API_TOKENS.c.user_uid)
    .where(API_TOKENS.c.token_hash == sa.bindparam("token_hash"))
)


class Reader:
    """The state at one moment.  ``get`` and its like raise NoSuchObjectError."""

    def __init__(self, db: sa.Connection, now_ns: int) -> None:
        self.db = db
        self.now_ns = now_ns

    def find(self, path: str) -> Record | None:
        """An object, if it is there."""
        row = _OBJECT(self.db, path=path)
        return _record(row) if row else None

    def get(self, path: str) -> Record:
        """An object."""
        found = self.find(path)
        if found is None:
            raise NoSuchObjectError(path)
        return found

    def has_trail(self, org: str) -> bool:
        """Is anything told of an organization of this name?"""
        return any(self._count(table, table.c.org == org) for table in (AUDIT, EVENTS, TASKS))

    def orgs(self, query: ListQuery, only: str | None) -> tuple[list[Record], str]:
        """Organizations, and the token of the next page; ``only`` one of them, or all."""
        scope = [OBJECTS.c.kind == "org", OBJECTS.c.parent == ""]
        if only is not None:
            scope.append(OBJECTS.c.path == only)
        rows, token = listing.ORGS.page(self.db, scope, query)
        return [Record.of(row) for row in rows], token

    def objects(self, kind: str, parent: str, shape: listing.Listing, query: ListQuery) -> tuple[list[Record], str]:
        """A page of the objects of a kind that lie in ``parent``, '' for those that lie in nothing."""
        if parent:
            self.get(parent)
        rows, token = shape.page(self.db, [OBJECTS.c.kind == kind, OBJECTS.c.parent == parent], query)
        return [Record.of(row) for row in rows], token

    def all(self, kind: str, parent: str) -> list[Record]:
        """Every object of a kind that lies in ``parent``, in their own order, and by name where they have none."""
        found = _OBJECTS.where(OBJECTS.c.kind == kind, OBJECTS.c.parent == parent)
        return [Record(*row) for row in self.db.execute(found.order_by(OBJECTS.c.position, OBJECTS.c.path))]

    def inside(self, parent: str, kinds: Iterable[str]) -> list[Record]:
        """Every object of some kinds that lies in ``parent``, in the order of ``all``."""
        found = _OBJECTS.where(OBJECTS.c.kind.in_(tuple(kinds)), OBJECTS.c.parent == parent)
        return [Record(*row) for row in self.db.execute(found.order_by(OBJECTS.c.position, OBJECTS.c.path))]

    def places_of(self, kind: str, parent: str) -> list[Place]:
        """Where the objects of a kind in ``parent`` stand, in their order."""
        found = _PLACES.where(OBJECTS.c.kind == kind, OBJECTS.c.parent == parent)
        return [Place(*row) for row in self.db.execute(found.order_by(OBJECTS.c.position, OBJECTS.c.path))]

    def count(self, kind: str, parent: str) -> int:
        """How many objects of a kind lie in ``parent``."""
        return self._count(OBJECTS, OBJECTS.c.kind == kind, OBJECTS.c.parent == parent)

    def is_said(self, kind: str, field: str, text: str) -> bool:
        """Has an object of a kind this in a field?"""
        return self._count(OBJECTS, OBJECTS.c.kind == kind, OBJECTS.c.body[field].as_string() == text) > 0

    def every(self, kind: str) -> list[Record]:
        """Every object of a kind, by name."""
        found = _OBJECTS.where(OBJECTS.c.kind == kind).order_by(OBJECTS.c.path)
        return [Record(*row) for row in self.db.execute(found)]

    def addresses_taken(self, network: str, *, but: str = "") -> dict[int, str]:
        """The addresses of a provider network that edges have, as numbers, each with its edge; one edge's are left
        out."""
        own = (PUBLIC_ADDRESSES.c.network == network, PUBLIC_ADDRESSES.c.edge != but)
        found = sa.select(PUBLIC_ADDRESSES.c.address, PUBLIC_ADDRESSES.c.edge).where(*own)
        return {row[0]: row[1] for row in self.db.execute(found)}

    def named(self, kind: str, parent: str, name: str) -> Record | None:
        """The object of a kind in ``parent`` that has a name which no other there can have."""
        same = (OBJECTS.c.kind == kind, OBJECTS.c.parent == parent, OBJECTS.c.name == name)
        row = self.db.execute(_OBJECTS.where(*same)).first()
        return Record(*row) if row else None

    def users_of(self, path: str, kind: str = "") -> list[Record]:
        """The objects that need an object, by reference or because they lie in it; of one kind, or all."""
        found = _OBJECTS.where(OBJECTS.c.path.in_(sa.select(REFS.c.source).where(REFS.c.target == path)))
        if kind:
            # Not the bare column: SQLite would go through all of the kind, of which this has few.
            found = found.where(OBJECTS.c.kind.concat("") == kind)
        return [Record(*row) for row in self.db.execute(found.order_by(OBJECTS.c.position, OBJECTS.c.path))]

    def inside_each(self, parents: Collection[str], kinds: Iterable[str]) -> dict[str, list[Record]]:
        """Every object of some kinds that lies in one of many, by what it lies in."""
        found: dict[str, list[Record]] = {parent: [] for parent in parents}
        asked = _OBJECTS.where(OBJECTS.c.kind.in_(tuple(kinds)), OBJECTS.c.parent.in_(parents))
        for row in self.db.execute(asked.order_by(OBJECTS.c.position, OBJECTS.c.path)):
            record = Record(*row)
            found[record.parent].append(record)
        return found

    def users_of_each(self, paths: Collection[str], kind: str) -> dict[str, list[Record]]:
        """The objects of a kind that need one of many, by what they need."""
        found: dict[str, list[Record]] = {path: [] for path in paths}
        asked = sa.select(REFS.c.target, *_columns(OBJECTS, Record)).join(OBJECTS, OBJECTS.c.path == REFS.c.source)
        asked = asked.where(REFS.c.target.in_(paths), OBJECTS.c.kind == kind).order_by(OBJECTS.c.path)
        for target, *columns in self.db.execute(asked):
            found[target].append(Record(*columns))
        return found

    def edge_states(self, edges: Collection[str]) -> dict[str, EdgeState]:
        """What of many edges should have and has."""
        rows = self.db.execute(sa.select(EDGE_STATES).where(EDGE_STATES.c.path.in_(edges)))
        return {row.path: EdgeState.of(row) for row in rows}

    def edge_state(self, edge: str) -> EdgeState | None:
        """What an edge should have and has; None for no edge."""
        row = self.db.execute(_EDGE_STATE, {"path": edge}).first()
        return EdgeState.of(row) if row else None

    def busy(self, edges: Collection[str]) -> TaskRecord | None:
        """A task that one of these edges is still busy with; none is for longer than ten seconds."""
        recent = TASKS.c.start_ns.between(self.now_ns - BUSY_NS, self.now_ns)
        waiting = (TASKS.c.status == RUNNING, recent, TASK_WAITS.c.edge.in_(edges))
        found = sa.select(TASKS).join(TASK_WAITS, TASK_WAITS.c.task == TASKS.c.path).where(*waiting)
        row = self.db.execute(found.order_by(TASKS.c.start_ns).limit(1)).first()
        return TaskRecord.of(row) if row else None

    def users(self, org: str, query: ListQuery) -> tuple[list[Record], str]:
        """Users of an organization."""
        scope = [OBJECTS.c.kind == "user", OBJECTS.c.parent == self.get(org).path]
        rows, token = listing.USERS.page(self.db, scope, query)
        return [Record.of(row) for row in rows], token

    def count_confirmed(self, org: str, role: str, *, but: str = "") -> int:
        """How many users of an organization have a role and a second factor, with which they can log in; one with the
        uid ``but`` is not counted."""
        whole = OBJECTS.join(CREDENTIALS, CREDENTIALS.c.user_uid == OBJECTS.c.uid)
        return self._count(
            whole,
            *(OBJECTS.c.kind == "user", OBJECTS.c.parent == org, OBJECTS.c.body["role"].as_string() == role),
            *(OBJECTS.c.uid != but, CREDENTIALS.c.totp_confirmed),
        )

    def can_begin(self, org: str, role: str) -> bool:
        """Has one of these users a one-time password that holds, or an enrolment under way?"""
        users = sa.select(OBJECTS.c.uid).where(
            *(OBJECTS.c.kind == "user", OBJECTS.c.parent == org, OBJECTS.c.body["role"].as_string() == role)
        )
        one_time = (CREDENTIALS.c.user_uid.in_(users), CREDENTIALS.c.one_time_until_ns > self.now_ns)
        enrolment = (
            SESSIONS.c.user_uid.in_(users),
            SESSIONS.c.kind == "enrolment",
            SESSIONS.c.expires_ns > self.now_ns,
        )
        return self._count(CREDENTIALS, *one_time) + self._count(SESSIONS, *enrolment) > 0

    def tokens(self, user: str, query: ListQuery) -> tuple[list[TokenRecord], str]:
        """API tokens of a user."""
        rows, token = listing.TOKENS.page(self.db, [API_TOKENS.c.user_uid == self.get(user).uid], query)
        return [TokenRecord.of(row) for row in rows], token

    def token(self, path: str) -> TokenRecord:
        """An API token."""
        row = self.db.execute(sa.select(API_TOKENS).where(API_TOKENS.c.path == path)).first()
        if row is None:
            raise NoSuchObjectError(path)
        return TokenRecord.of(row)

    def count_tokens(self, user_uid: str) -> int:
        """How many API tokens a user has."""
        return self._count(API_TOKENS, API_TOKENS.c.user_uid == user_uid)

    def count_tokens_in(self, org: str) -> int:
        """How many API tokens that hold the users of an organization have."""
        own = (API_TOKENS.c.path > f"{org}/", API_TOKENS.c.path < f"{org}0")
        return self._count(API_TOKENS, *own, API_TOKENS.c.expires_ns > self.now_ns)

    def tasks(self, org: str, query: ListQuery, shape: listing.Listing) -> tuple[list[TaskRecord], str]:
        """Tasks of an organization."""
        rows, token = shape.page(self.db, [TASKS.c.org == self.get(org).path], query)
        return [TaskRecord.of(row) for row in rows], token

    def task(self, path: str) -> TaskRecord:
        """A task."""
        row = self.db.execute(sa.select(TASKS).where(TASKS.c.path == path)).first()
        if row is None:
            raise NoSuchObjectError(path)
        return TaskRecord.of(row)

    def edge_host(self, edge: str) -> EdgeHost | None:
        """Where an edge runs, None in the control plane's own process."""
        row = self.db.execute(sa.select(EDGE_HOSTS).where(EDGE_HOSTS.c.path == edge)).first()
        return EdgeHost.of(row) if row else None

    def former_hosts(self, edge: str | None = None) -> list[FormerHost]:
        """Where edges ran, or this one did, that are to be cleared, the oldest first.  Each has the name that the
        certificate there bears now, be it for another edge."""
        now = sa.select(EDGE_HOSTS.c.identity).where(EDGE_HOSTS.c.address == FORMER_HOSTS.c.address).limit(1)
        identity = sa.func.coalesce(now.scalar_subquery(), FORMER_HOSTS.c.identity).label("identity")
        columns = [identity if column.name == "identity" else column for column in FORMER_HOSTS.c]
        found = sa.select(*columns).order_by(FORMER_HOSTS.c.since_ns, FORMER_HOSTS.c.edge, FORMER_HOSTS.c.address)
        mine = found if edge is None else found.where(FORMER_HOSTS.c.edge == edge)
        return [FormerHost.of(row) for row in self.db.execute(mine)]

    def enrolling(self, token_hash: str) -> EdgeHost | None:
        """The edge whose host a token is for, as long as it holds."""
        holds = (EDGE_HOSTS.c.token_hash == token_hash, EDGE_HOSTS.c.token_until_ns > self.now_ns)
        row = self.db.execute(sa.select(EDGE_HOSTS).where(*holds)).first() if token_hash else None
        return EdgeHost.of(row) if row else None

    def events(self, org: str, query: ListQuery) -> tuple[list[EventRecord], str]:
        """Events of an organization."""
        rows, token = listing.EVENT_LIST.page(self.db, [EVENTS.c.org == self.get(org).path], query)
        return [EventRecord.of(row) for row in rows], token

    def events_after(self, org: str, number: int, limit: int) -> list[EventRecord]:
        """The first events of an organization behind one."""
        found = sa.select(EVENTS).where(EVENTS.c.org == org, EVENTS.c.number > number).order_by(EVENTS.c.number)
        return [EventRecord.of(row) for row in self.db.execute(found.limit(limit))]

    def event_numbers(self, org: str) -> tuple[int, int]:
        """The numbers of the oldest event of an organization that is kept and of the newest, 1 and 0 for none."""
        ends = sa.select(sa.func.min(EVENTS.c.number), sa.func.max(EVENTS.c.number)).where(EVENTS.c.org == org)
        oldest, newest = self.db.execute(ends).one()
        return (oldest, newest) if newest is not None else (1, 0)

    def audit(self, org: str, query: ListQuery) -> tuple[list[AuditRecord], str]:
        """The audit trail of an organization; that of one that was deleted is still there."""
        rows, token = listing.AUDIT_LIST.page(self.db, [AUDIT.c.org == org], query)
        if not rows:
            self.get(org)
        return [AuditRecord.of(row) for row in rows], token

    def credentials(self, user_uid: str) -> Credentials | None:
        """How a user logs in."""
        row = self.db.execute(sa.select(CREDENTIALS).where(CREDENTIALS.c.user_uid == user_uid)).first()
        return Credentials.of(row) if row else None

    def session(self, token_hash: str) -> tuple[SessionRow, Record] | None:
        """A session and its user."""
        row = _SESSION(self.db, token_hash=token_hash)
        return (SessionRow(*row[:_OWN_SESSION]), _record(row[_OWN_SESSION:])) if row else None

    def by_token(self, token_hash: str) -> tuple[TokenRecord, Record] | None:
        """An API token and its user."""
        row = _TOKEN(self.db, token_hash=token_hash)
        return (TokenRecord(*row[:_OWN_TOKEN]), _record(row[_OWN_TOKEN:])) if row else None

    def fact(self, name: str) -> str | None:
        """Something that there is one of."""
        return self.db.execute(sa.select(FACTS.c.value).where(FACTS.c.name == name)).scalar()

    def object_counts(self) -> dict[str, int]:
        """How many objects of each kind there are."""
        counted = sa.select(OBJECTS.c.kind, sa.func.count()).group_by(OBJECTS.c.kind)
        return {row[0]: row[1] for row in self.db.execute(counted)}

    def edge_counts(self) -> dict[str, int]:
        """How many edges there are of each status."""
        counted = sa.select(EDGE_STATES.c.status, sa.func.count()).group_by(EDGE_STATES.c.status)
        return {row[0]: row[1] for row in self.db.execute(counted)}

    def _count(self, table: sa.FromClause, *conditions: sa.ColumnElement[bool]) -> int:
        return int(self.db.execute(sa.select(sa.func.count()).select_from(table).where(*conditions)).scalar_one())
