"""What the edges of this process ran, all in one SQLite database.

It only spares their documents being planned and sent again: after a power cut it may lack what was last written, and
the reconciler sees that by their etags.  So nothing here waits for the disk.
"""

from __future__ import annotations

import contextlib
import os
import queue
import sqlite3
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from edge.errors import StoreError
from edge.store import RevisionInfo, StoredRevision

KEPT: Final = 20
"""So many of the newest revisions of an edge."""

_CONFIRMED, _PENDING, _TAKEN_BACK = range(3)
_INFO: Final = "number, etag, created_ns, comment, confirm_deadline_ns, leader_epoch, restored_from, state"
_WHOLE: Final = f"{_INFO}, document, allow_unsupported"
_SCHEMA: Final = """
    CREATE TABLE IF NOT EXISTS revisions (
        edge TEXT NOT NULL,
        number INTEGER NOT NULL,
        etag TEXT NOT NULL,
        created_ns INTEGER NOT NULL,
        comment TEXT NOT NULL,
        confirm_deadline_ns INTEGER,
        leader_epoch INTEGER NOT NULL,
        restored_from INTEGER NOT NULL,
        state INTEGER NOT NULL,
        document BLOB NOT NULL,
        allow_unsupported INTEGER NOT NULL,
        PRIMARY KEY (edge, number)
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE IF NOT EXISTS edges (edge TEXT PRIMARY KEY, last_number INTEGER NOT NULL, epoch INTEGER NOT NULL)
        STRICT, WITHOUT ROWID;
"""

Job = Callable[[sqlite3.Connection], None]


class Revisions:
    """The database at ``path``.  Raises StoreError where it cannot be used."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._reading = threading.Lock()
        self._jobs: queue.SimpleQueue[tuple[Job, Future[None]] | None] = queue.SimpleQueue()
        with self._told():
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            os.close(os.open(path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600))
            self._writer, self._reader = self._connected(), self._connected()
        self._thread = threading.Thread(target=self._write, name="edge-revisions", daemon=True)
        self._thread.start()

    def _connected(self) -> sqlite3.Connection:
        db = sqlite3.connect(self._path, isolation_level=None, check_same_thread=False)
        try:
            db.execute("PRAGMA journal_mode = WAL")
            db.execute("PRAGMA synchronous = NORMAL")
            db.executescript(_SCHEMA)
        except BaseException:
            db.close()
            raise
        return db

    @contextlib.contextmanager
    def _told(self) -> Iterator[None]:
        try:
            yield
        except (sqlite3.Error, OSError) as error:
            raise StoreError(f"{self._path}: {error}") from error

    def of(self, edge: str) -> EdgeRevisions:
        """Those of one edge."""
        return EdgeRevisions(self, edge)

    def edges(self) -> set[str]:
        """All that have any."""
        return {str(row[0]) for row in self.rows("SELECT edge FROM edges")}

    def forget(self, edge: str) -> Future[None]:
        """Remove those of an edge."""

        def job(db: sqlite3.Connection) -> None:
            db.execute("DELETE FROM revisions WHERE edge = ?", (edge,))
            db.execute("DELETE FROM edges WHERE edge = ?", (edge,))

        return self.do(job)

    def close(self) -> None:
        """Write what waits, and let go."""
        self._jobs.put(None)
        self._thread.join()
        self._reader.close()
        self._writer.close()

    def rows(self, query: str, *values: Any) -> list[tuple[Any, ...]]:
        """What a query finds."""
        with self._reading, self._told():
            return self._reader.execute(query, values).fetchall()

    def do(self, job: Job) -> Future[None]:
        """Have something written."""
        future: Future[None] = Future()
        self._jobs.put((job, future))
        return future

    def _write(self) -> None:
        """The writer's thread: what waits together is one transaction."""
        last = False
        while not last:
            waiting = [self._jobs.get()]
            while not self._jobs.empty():
                waiting.append(self._jobs.get())
            last = None in waiting
            batch = [item for item in waiting if item is not None and item[1].set_running_or_notify_cancel()]
            try:
                self._writer.execute("BEGIN IMMEDIATE")
                for job, _ in batch:
                    job(self._writer)
                self._writer.execute("COMMIT")
            except Exception as error:  # noqa: BLE001 - whatever it is, those who wait are told, and the thread lives on
                with contextlib.suppress(sqlite3.Error):
                    self._writer.execute("ROLLBACK")
                for _, future in batch:
                    future.set_exception(StoreError(f"{self._path}: {error}"))
            else:
                for _, future in batch:
                    future.set_result(None)


class EdgeRevisions:
    """The revisions of one edge, see :class:`edge.store.Store`."""

    def __init__(self, all_of_them: Revisions, edge: str) -> None:
        self._all = all_of_them
        self._edge = edge

    def save(self, revision: StoredRevision) -> Future[None]:
        """See Store."""
        edge, number, epoch = self._edge, revision.number, revision.leader_epoch
        state = _CONFIRMED if revision.confirm_deadline_ns is None else _PENDING
        row = (
            edge, number, revision.etag, revision.created_ns, revision.comment, revision.confirm_deadline_ns, epoch,
            revision.restored_from, state, revision.packed, revision.allow_unsupported,
        )  # fmt: skip

        def job(db: sqlite3.Connection) -> None:
            db.execute(f"INSERT INTO revisions (edge, {_WHOLE}) VALUES (?,?,?,?,?,?,?,?,?,?,?)", row)  # noqa: S608
            _note(db, edge, number, epoch)
            # The newest that were not taken back stay: one of them is what the next start comes back to.
            db.execute(
                "DELETE FROM revisions WHERE edge = ? AND number <= ? AND number < (SELECT max(number) FROM revisions "
                "WHERE edge = ? AND state = ?)",
                (edge, number - KEPT, edge, _CONFIRMED),
            )

        return self._all.do(job)

    def confirm(self, number: int) -> Future[None]:
        """See Store."""
        return self._set_state(number, _CONFIRMED)

    def take_back(self, number: int) -> Future[None]:
        """See Store."""
        return self._set_state(number, _TAKEN_BACK)

    def _set_state(self, number: int, state: int) -> Future[None]:
        change = "UPDATE revisions SET state = ?, confirm_deadline_ns = NULL WHERE edge = ? AND number = ?"
        values = (state, self._edge, number)
        return self._all.do(lambda db: _run(db, change, values))

    def note_epoch(self, epoch: int) -> Future[None]:
        """See Store."""
        return self._all.do(lambda db: _note(db, self._edge, 0, epoch))

    def latest_confirmed(self) -> StoredRevision | None:
        """See Store."""
        return self._one("state = ? ORDER BY number DESC LIMIT 1", _CONFIRMED)

    def confirmed_before(self, number: int) -> StoredRevision | None:
        """See Store."""
        return self._one("number < ? AND state = ? ORDER BY number DESC LIMIT 1", number, _CONFIRMED)

    def get(self, number: int) -> StoredRevision | None:
        """See Store."""
        return self._one("number = ?", number)

    def page(self, before: int | None, limit: int) -> list[RevisionInfo]:
        """See Store."""
        query = f"SELECT {_INFO} FROM revisions WHERE edge = ? AND number < ? ORDER BY number DESC LIMIT ?"  # noqa: S608
        top = (1 << 63) - 1
        rows = self._all.rows(query, self._edge, top if before is None else min(before, top), limit)
        return [_info(row) for row in rows]

    def last_number(self) -> int:
        """See Store."""
        return self._fact("last_number")

    def leader_epoch(self) -> int:
        """See Store."""
        return self._fact("epoch")

    def close(self) -> None:
        """The others go on."""

    def _fact(self, name: str) -> int:
        rows = self._all.rows(f"SELECT {name} FROM edges WHERE edge = ?", self._edge)  # noqa: S608
        return int(rows[0][0]) if rows else 0

    def _one(self, where: str, *values: int) -> StoredRevision | None:
        if max(values) >= 1 << 63:
            return None
        rows = self._all.rows(f"SELECT {_WHOLE} FROM revisions WHERE edge = ? AND {where}", self._edge, *values)  # noqa: S608
        if not rows:
            return None
        *_, document, allow_unsupported = rows[0]
        fields = {name: getattr(_info(rows[0]), name) for name in RevisionInfo.__dataclass_fields__}
        return StoredRevision(**fields, packed=document, allow_unsupported=bool(allow_unsupported))


def _run(db: sqlite3.Connection, query: str, values: tuple[Any, ...]) -> None:
    db.execute(query, values)


def _note(db: sqlite3.Connection, edge: str, number: int, epoch: int) -> None:
    """Both only grow."""
    db.execute(
        "INSERT INTO edges VALUES (?, ?, ?) ON CONFLICT (edge) DO UPDATE SET "
        "last_number = max(last_number, excluded.last_number), epoch = max(epoch, excluded.epoch)",
        (edge, number, epoch),
    )


def _info(row: tuple[Any, ...]) -> RevisionInfo:
    number, etag, created_ns, comment, deadline, epoch, restored_from, state, *_ = row
    found = RevisionInfo(
        number=number, etag=etag, created_ns=created_ns, comment=comment, confirm_deadline_ns=deadline,
        leader_epoch=epoch, restored_from=restored_from,
    )  # fmt: skip
    return replace(found, taken_back=state == _TAKEN_BACK)
