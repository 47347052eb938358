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
from pathlib import Path
from typing import Any, Final

from edge.errors import StoreError
from edge.store import StoredRevision
from edge.store.reading import CONFIRMED, PENDING, TAKEN_BACK, WHOLE, RevisionReader

KEPT: Final = 20
"""So many of the newest revisions of an edge."""

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


class EdgeRevisions(RevisionReader):
    """The revisions of one edge, see :class:`edge.store.Store`."""

    def __init__(self, all_of_them: Revisions, edge: str) -> None:
        self._all = all_of_them
        self._edge = edge

    def save(self, revision: StoredRevision) -> Future[None]:
        """See Store."""
        edge, number, epoch = self._edge, revision.number, revision.leader_epoch
        state = CONFIRMED if revision.confirm_deadline_ns is None else PENDING
        row = (
            edge, number, revision.etag, revision.created_ns, revision.comment, revision.confirm_deadline_ns, epoch,
            revision.restored_from, state, revision.allow_unsupported, revision.packed,
        )  # fmt: skip

        def job(db: sqlite3.Connection) -> None:
            db.execute(f"INSERT INTO revisions (edge, {WHOLE}) VALUES (?,?,?,?,?,?,?,?,?,?,?)", row)  # noqa: S608
            _note(db, edge, number, epoch)
            # The newest that were not taken back stay: one of them is what the next start comes back to.
            db.execute(
                "DELETE FROM revisions WHERE edge = ? AND number <= ? AND number < (SELECT max(number) FROM revisions "
                "WHERE edge = ? AND state = ?)",
                (edge, number - KEPT, edge, CONFIRMED),
            )

        return self._all.do(job)

    def confirm(self, number: int) -> Future[None]:
        """See Store."""
        return self._set_state(number, CONFIRMED)

    def take_back(self, number: int) -> Future[None]:
        """See Store."""
        return self._set_state(number, TAKEN_BACK)

    def _set_state(self, number: int, state: int) -> Future[None]:
        change = "UPDATE revisions SET state = ?, confirm_deadline_ns = NULL WHERE edge = ? AND number = ?"
        values = (state, self._edge, number)
        return self._all.do(lambda db: _run(db, change, values))

    def note_epoch(self, epoch: int) -> Future[None]:
        """See Store."""
        return self._all.do(lambda db: _note(db, self._edge, 0, epoch))

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

    def _select(self, columns: str, where: str, *values: int) -> list[tuple[Any, ...]]:
        return self._all.rows(f"SELECT {columns} FROM revisions WHERE edge = ? AND {where}", self._edge, *values)  # noqa: S608


def _run(db: sqlite3.Connection, query: str, values: tuple[Any, ...]) -> None:
    db.execute(query, values)


def _note(db: sqlite3.Connection, edge: str, number: int, epoch: int) -> None:
    """Both only grow."""
    db.execute(
        "INSERT INTO edges VALUES (?, ?, ?) ON CONFLICT (edge) DO UPDATE SET "
        "last_number = max(last_number, excluded.last_number), epoch = max(epoch, excluded.epoch)",
        (edge, number, epoch),
    )
