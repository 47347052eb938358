"""Which of the replicas leads.

On SQLite it is the one process that has the directory.  On PostgreSQL it is whoever has an advisory lock, on a
connection of its own; the server ends that connection if nothing comes over it for a while, so that a leader that hangs
does not stay one.  Each leadership has a number, the epoch, that is higher than all before.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final, Protocol

from control.fleet.book import EPOCH, RECONCILER, LeadershipLostError
from control.store import Store
from control.surroundings import SECOND_NS

PATIENCE_S: Final = 5.0
"""How long a leader may be silent before another one can take its place."""

_LEADER_LOCK: Final = 0x7431_6564_6767  # of PostgreSQL's advisory locks
_log = logging.getLogger(__name__)


class Leadership(Protocol):
    """One replica's time as the leader."""

    epoch: int

    async def check(self) -> None:
        """Does it still last?  Raises LeadershipLostError."""


class Alone:
    """The leadership of the only process; it does not end."""

    def __init__(self, epoch: int) -> None:
        self.epoch = epoch

    async def check(self) -> None:
        """It does."""


class Locked:
    """The leadership of whoever has the lock."""

    def __init__(self, connection: Any, epoch: int) -> None:
        self._connection = connection
        self._lock = asyncio.Lock()
        self.epoch = epoch

    async def check(self) -> None:
        """See Leadership.  The lock lasts as long as the connection does."""
        import psycopg

        async with self._lock:
            try:
                await asyncio.to_thread(self._connection.execute, "SELECT 1")
            except psycopg.Error:
                raise LeadershipLostError("the connection that holds the leader's lock has ended") from None


def begin(store: Store) -> int:
    """A new epoch.  Raises StoreError."""
    with store.write(RECONCILER) as unit:
        # Not below the time: edges remember epochs that a store which came back from a backup has forgotten.
        epoch = max(int(unit.fact(EPOCH) or 0) + 1, unit.now_ns // SECOND_NS)
        unit.set_facts({EPOCH: str(epoch)})
    return epoch


@asynccontextmanager
async def leading(store: Store, *, patience_s: float = PATIENCE_S) -> AsyncIterator[Leadership]:
    """Wait until this replica leads; it does until the end of the block at most.  Raises StoreError."""
    if not store.shared:
        yield Alone(await asyncio.to_thread(begin, store))
        return
    connection = await _locked(store, patience_s)
    try:
        yield Locked(connection, await asyncio.to_thread(begin, store))
    finally:
        with contextlib.suppress(Exception):  # it may have ended long ago
            await asyncio.to_thread(connection.close)


async def _locked(store: Store, patience_s: float) -> Any:
    """A connection that has the lock; tried until it is to be had."""
    import psycopg

    connection = None
    try:
        while True:
            try:
                if connection is None:
                    connection = await asyncio.to_thread(_connected, store, patience_s)
                if await asyncio.to_thread(_taken, connection):
                    return connection
            except psycopg.Error:
                if connection is not None:
                    await asyncio.to_thread(connection.close)
                connection = None
            await asyncio.sleep(min(1.0, patience_s / 4))
    except BaseException:
        if connection is not None:
            connection.close()
        raise


def _connected(store: Store, patience_s: float) -> Any:
    connection = store.connection()
    try:
        connection.execute(f"SET idle_session_timeout = {round(patience_s * 1_000)}")
        connection.execute(f"SET statement_timeout = {round(patience_s * 1_000)}")
    except BaseException:
        connection.close()
        raise
    return connection


def _taken(connection: Any) -> bool:
    return bool(connection.execute("SELECT pg_try_advisory_lock(%s)", (_LEADER_LOCK,)).fetchone()[0])
