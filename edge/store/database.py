"""Revisions in a directory: SQLite in WAL mode, one writing thread, one process."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from pathlib import Path
from queue import SimpleQueue
from typing import Final

from edge.errors import StoreError
from edge.store.directory import locked
from edge.store.reading import CONFIRMED, PENDING, TAKEN_BACK, WHOLE, RevisionReader
from edge.store.revision import MAX_BYTES, MAX_REVISIONS, StoredRevision

DATABASE: Final = "revisions.sqlite3"

Job = Callable[[sqlite3.Connection], None]


# The schema: each step leads from its index to the next version, and is never changed once released.


def _first_schema(db: sqlite3.Connection) -> None:
    db.execute("""
        CREATE TABLE revisions (
            number INTEGER PRIMARY KEY,
            etag TEXT NOT NULL,
            created_ns INTEGER NOT NULL,
            comment TEXT NOT NULL,
            confirm_deadline_ns INTEGER,
            leader_epoch INTEGER NOT NULL,
            restored_from INTEGER NOT NULL,
            state INTEGER NOT NULL,  -- 0 confirmed, 1 pending, 2 taken back
            allow_unsupported INTEGER NOT NULL,
            size INTEGER NOT NULL,
            document BLOB NOT NULL  -- JSON in UTF-8, zlib
        ) STRICT""")
    db.execute("CREATE TABLE facts (name TEXT PRIMARY KEY, value INTEGER NOT NULL) STRICT")


STEPS: Final[tuple[Job, ...]] = (_first_schema,)


def upgrade(db: sqlite3.Connection, steps: tuple[Job, ...] = STEPS) -> None:
    """Bring a database to the newest schema, all or nothing.  Raises StoreError for one that is newer still."""
    (version,) = db.execute("PRAGMA user_version").fetchone()
    if version > len(steps):
        raise StoreError(f"made by a newer version of t1edge (schema {version}; this one knows {len(steps)})")
    if version == len(steps):
        return
    db.execute("BEGIN IMMEDIATE")
    try:
        for step in steps[version:]:
            step(db)
        db.execute(f"PRAGMA user_version = {len(steps)}")
        db.execute("COMMIT")
    except BaseException:
        db.execute("ROLLBACK")
        raise


class RevisionStore(RevisionReader):
    """Revisions in a directory, which one process uses at a time.

    Raises StoreError, which names the path, when the directory cannot be used: another process has it, it cannot be
    written, or what is there is not a store of this version or an older one.
    """

    def __init__(self, directory: Path, *, max_revisions: int = MAX_REVISIONS, max_bytes: int = MAX_BYTES) -> None:
        self._path = directory / DATABASE
        self._bounds = max_revisions, max_bytes
        self._lock_file = locked(directory)
        try:
            self._writer = self._connected()
            self._reader = self._connected()
        except BaseException:
            os.close(self._lock_file)
            raise
        self._reading = threading.Lock()
        self._closed = False
        self._jobs: SimpleQueue[tuple[Job, Future[None]] | None] = SimpleQueue()
        self._thread = threading.Thread(target=self._write, name="t1edge-store", daemon=True)
        self._thread.start()

    def _connected(self) -> sqlite3.Connection:
        with self._told():
            known = self._path.exists()
            if not known:
                os.close(os.open(self._path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600))
            db = sqlite3.connect(self._path, isolation_level=None, check_same_thread=False)
            try:
                db.execute("PRAGMA journal_mode = WAL")
                db.execute("PRAGMA synchronous = FULL")
                db.execute(f"PRAGMA journal_size_limit = {1 << 24}")
                upgrade(db)
            except BaseException:
                db.close()
                raise
            return db

    @contextlib.contextmanager
    def _told(self) -> Iterator[None]:
        """Whatever goes wrong becomes a StoreError that names the database."""
        try:
            yield
        except (sqlite3.Error, OSError) as error:
            raise StoreError(f"{self._path}: {error}") from error
        except StoreError as error:
            raise StoreError(f"{self._path}: {error}") from None

    # ------------------------------------------------------------------ writing

    def save(self, revision: StoredRevision) -> Future[None]:
        """See Store."""
        state = CONFIRMED if revision.confirm_deadline_ns is None else PENDING
        row = (
            revision.number,
            revision.etag,
            revision.created_ns,
            revision.comment,
            revision.confirm_deadline_ns,
            revision.leader_epoch,
            revision.restored_from,
            state,
            revision.allow_unsupported,
            revision.packed,
            len(revision.packed),
        )

        def job(db: sqlite3.Connection) -> None:
            db.execute(f"INSERT INTO revisions ({WHOLE}, size) VALUES (?,?,?,?,?,?,?,?,?,?,?)", row)  # noqa: S608
            _set_fact(db, "last_number", revision.number)
            _set_fact(db, "leader_epoch", revision.leader_epoch)
            _prune(db, *self._bounds)

        return self._do(job)

    def confirm(self, number: int) -> Future[None]:
        """See Store."""
        return self._do(lambda db: _set_state(db, number, CONFIRMED))

    def take_back(self, number: int) -> Future[None]:
        """See Store."""
        return self._do(lambda db: _set_state(db, number, TAKEN_BACK))

    def note_epoch(self, epoch: int) -> Future[None]:
        """See Store."""
        return self._do(lambda db: _set_fact(db, "leader_epoch", epoch))

    def _do(self, job: Job) -> Future[None]:
        future: Future[None] = Future()
        if self._closed:
            future.set_exception(StoreError(f"{self._path}: the store is closed"))
        else:
            self._jobs.put((job, future))
        return future

    def _write(self) -> None:
        """The writer's thread."""
        last = False
        while not last:
            waiting = [self._jobs.get()]
            while not self._jobs.empty():
                waiting.append(self._jobs.get())
            last = None in waiting
            batch = [item for item in waiting if item is not None and item[1].set_running_or_notify_cancel()]
            if not self._committed(batch) and len(batch) > 1:
                # What one of them asked for is not to be had: the others may fit without it.
                for item in batch:
                    self._committed([item], tell=True)

    def _committed(self, batch: list[tuple[Job, Future[None]]], *, tell: bool = False) -> bool:
        """One transaction.  Its failure is told to those who wait if there is but one, or on request."""
        db = self._writer
        try:
            if batch:
                db.execute("BEGIN IMMEDIATE")
                for job, _ in batch:
                    job(db)
                db.execute("COMMIT")
        except Exception as error:  # noqa: BLE001  # whatever it is, those who wait are told, and the thread lives on
            with contextlib.suppress(sqlite3.Error):
                if db.in_transaction:
                    db.execute("ROLLBACK")
            # What reached the log of a commit that failed later must not come back at the next start.
            with contextlib.suppress(sqlite3.Error):
                db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            if tell or len(batch) == 1:
                for _, future in batch:
                    future.set_exception(StoreError(f"{self._path}: {error}"))
            return False
        for _, future in batch:
            future.set_result(None)
        return True

    # ------------------------------------------------------------------ reading

    def last_number(self) -> int:
        """See Store."""
        return self._fact("last_number")

    def leader_epoch(self) -> int:
        """See Store."""
        return self._fact("leader_epoch")

    def _fact(self, name: str) -> int:
        rows = self._rows("SELECT value FROM facts WHERE name = ?", name)
        return int(str(rows[0][0])) if rows else 0

    def _select(self, columns: str, where: str, *values: int) -> list[tuple[object, ...]]:
        return self._rows(f"SELECT {columns} FROM revisions WHERE {where}", *values)  # noqa: S608

    def _rows(self, query: str, *values: int | str) -> list[tuple[object, ...]]:
        with self._reading, self._told():
            return self._reader.execute(query, values).fetchall()

    def close(self) -> None:
        """See Store."""
        if not self._closed:
            self._closed = True
            self._jobs.put(None)
            self._thread.join()
            self._reader.close()
            self._writer.close()
            os.close(self._lock_file)


def _set_state(db: sqlite3.Connection, number: int, state: int) -> None:
    db.execute("UPDATE revisions SET state = ?, confirm_deadline_ns = NULL WHERE number = ?", (state, number))


def _set_fact(db: sqlite3.Connection, name: str, value: int) -> None:
    """Facts only grow."""
    db.execute(
        "INSERT INTO facts VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET value = max(value, excluded.value)",
        (name, value),
    )


def _prune(db: sqlite3.Connection, most: int, most_bytes: int) -> None:
    """Give up the oldest revisions that are too many or too large together."""
    count = size = 0
    (kept,) = db.execute("SELECT max(number) FROM revisions WHERE state = ?", (CONFIRMED,)).fetchone()
    rows = db.execute("SELECT number, size FROM revisions ORDER BY number DESC").fetchall()
    newest = rows[0][0]
    for number, length in rows:
        count, size = count + 1, size + length
        if number not in (kept, newest) and (count > most or size > most_bytes):
            db.execute("DELETE FROM revisions WHERE number = ?", (number,))
