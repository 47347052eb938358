"""What the store says of edges, and what it is told of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, Protocol

import sqlalchemy as sa

from control import names
from control.errors import ControlError
from control.fleet.plans import Plans
from control.store import Actor, Reader, Store
from control.store.schema import EDGE_HOSTS, EDGE_STATES, OBJECTS

RECONCILER: Final = Actor(names.SYSTEM, "")
EPOCH: Final = "leader-epoch"
DRIFTED: Final = "DRIFTED"
"""The reason of an outcome: the edge ran what nobody wanted, and is about to be changed back."""


class LeadershipLostError(ControlError):
    """Another replica leads now."""

    reason = "NOT_LEADER"


def check_epoch(state: Reader, epoch: int) -> None:
    """Is this leader the last one?  Raises LeadershipLostError."""
    if state.fact(EPOCH) != str(epoch):
        raise LeadershipLostError(f"leader {epoch} has been followed by another one")


@dataclass(frozen=True, slots=True)
class Wanted:
    """An edge, which of its states it should have and which it has; ``address`` '': it is in the leader's process;
    ``identity``: the name that its certificate bears there, '' without TLS."""

    path: str
    uid: str
    desired: int
    desired_ns: int
    realized: int
    realized_etag: str
    status: str
    reason: str
    address: str = ""
    identity: str = ""

    @property
    def place(self) -> tuple[str, str]:
        """Where it is, and what it is known by there."""
        return self.address, self.identity


@dataclass(frozen=True, slots=True)
class Planned:
    """The document that an edge should run, and the state that it is of, both of one moment."""

    wanted: Wanted
    document: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of an edge: ``revision`` runs, and is called ``etag``; or with a reason, why it does not.

    ``failed``: the edge was asked and says no; else it will be tried again.
    """

    path: str
    uid: str
    revision: int
    etag: str = ""
    reason: str = ""
    message: str = ""
    failed: bool = False


class Book(Protocol):
    """From any thread.  Every method raises StoreError."""

    def edges(self, *, waiting: bool) -> list[Wanted]:
        """All edges, or those that do not have what they should."""

    def plan(self, path: str) -> Planned | None:
        """What an edge should run, None if there is none.  Raises EdgeErrors of the plan."""

    def tell(self, epoch: int, outcomes: Sequence[Outcome]) -> None:
        """Write outcomes down, all or none; tasks that waited for them end.  Raises LeadershipLostError."""


_WANTED = (
    sa.select(
        OBJECTS.c.path, OBJECTS.c.uid, EDGE_STATES.c.desired, EDGE_STATES.c.desired_ns, EDGE_STATES.c.realized,
        EDGE_STATES.c.realized_etag, EDGE_STATES.c.status, EDGE_STATES.c.reason,
        sa.func.coalesce(EDGE_HOSTS.c.address, ""),
        sa.func.coalesce(EDGE_HOSTS.c.identity, ""),
    )
    .join(OBJECTS, OBJECTS.c.path == EDGE_STATES.c.path)
    .outerjoin(EDGE_HOSTS, EDGE_HOSTS.c.path == EDGE_STATES.c.path)
)  # fmt: skip
_WAITING = _WANTED.where(EDGE_STATES.c.realized < EDGE_STATES.c.desired)
_ONE = _WANTED.where(EDGE_STATES.c.path == sa.bindparam("path"))


class StoreBook:
    """The book that is the store."""

    def __init__(
        self, store: Store, plan_edge: Callable[[Reader, str], Mapping[str, Any]], plans: Plans | None = None
    ) -> None:
        """``plans`` are made already, ``plan_edge`` makes those that are not there."""
        self._store = store
        self._plan_edge = plan_edge
        self._plans = plans

    def edges(self, *, waiting: bool) -> list[Wanted]:
        """See Book."""
        with self._store.read() as state:
            return [_wanted(row) for row in state.db.execute(_WAITING if waiting else _WANTED)]

    def plan(self, path: str) -> Planned | None:
        """See Book."""
        with self._store.read() as state:
            row = state.db.execute(_ONE, {"path": path}).first()
            if row is None:
                return None
            wanted = _wanted(row)
            known = self._plans.take((path, wanted.uid, wanted.desired)) if self._plans else None
            return Planned(wanted, self._plan_edge(state, path) if known is None else known)

    def tell(self, epoch: int, outcomes: Sequence[Outcome]) -> None:
        """See Book."""
        with self._store.write(RECONCILER) as unit:
            check_epoch(unit, epoch)
            for outcome in outcomes:
                record = unit.find(outcome.path)
                if record is None or record.uid != outcome.uid:
                    continue  # it was deleted meanwhile
                before = unit.edge_state(outcome.path)
                if not outcome.reason:
                    unit.realized(outcome.path, outcome.revision, outcome.etag)
                elif outcome.failed:
                    unit.failed(outcome.path, outcome.revision, outcome.reason, outcome.message)
                else:
                    if outcome.reason == DRIFTED:
                        unit.drifted(outcome.path)
                    unit.unreached(outcome.path, outcome.revision, outcome.reason, outcome.message)
                after = unit.edge_state(outcome.path)
                if before and after and (before.status, before.reason) != (after.status, after.reason):
                    unit.event(
                        f"EDGE_{after.status}", outcome.path, reason=after.reason, message=after.message,
                        revision=after.realized,
                    )  # fmt: skip


def _wanted(row: Any) -> Wanted:
    return Wanted(*row)


def followed(wanted: Wanted, outcome: Outcome) -> Wanted:
    """What :meth:`Book.edges` will say after an outcome."""
    if outcome.reason:
        return replace(wanted, status="ERROR" if outcome.failed else "PENDING", reason=outcome.reason)
    status = "REALIZED" if outcome.revision == wanted.desired else "PENDING"
    return replace(wanted, realized=outcome.revision, realized_etag=outcome.etag, status=status, reason="")
