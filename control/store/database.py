"""The database behind the store: connections, transactions, durability, migrations at the start."""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, SQLAlchemyError

from control.store.migrate import migrate
from control.store.reader import Reader
from control.store.trial import Below, Overlay, overlay
from control.store.unit import Actor, WriteUnit
from control.surroundings import Surroundings
from edge.errors import StoreError
from edge.store.directory import locked

DATABASE: Final = "control.sqlite3"
_BUSY_MS: Final = 10_000
_TRIALS_LAST_S: Final = 60
"""So old gets a connection with tables of its own: PostgreSQL does not clean up in these what was rolled back."""
_WRITER_LOCK: Final = 0x7431_6564_6765  # of PostgreSQL's advisory locks: one writer among all replicas


class Store:
    """SQLite in ``directory``, or the PostgreSQL database at ``url``; the directory is locked in both cases.

    Raises StoreError when it cannot be used, from here and from every block below.
    """

    def __init__(self, directory: Path, surroundings: Surroundings, url: str = "") -> None:
        self.surroundings = surroundings
        self._lock_file = locked(directory)
        self._writing = threading.Lock()
        self._path = directory / DATABASE
        try:
            place = _postgresql(url) if url else self._file()
            self._shown = str(self._path) if not url else place.render_as_string(hide_password=True)
            self._sqlite = not url
            self._place = place
            self._engine = _engine(place)
            self._trials = _engine(place, lasts_s=_TRIALS_LAST_S)
            self._overlay = overlay(self._trials.dialect)
            _prepare_trials(self._trials, self._overlay)
            self._driver_error: type[Exception] = self._engine.dialect.loaded_dbapi.Error
            try:
                with self._told():
                    migrate(self._engine)
            except BaseException:
                self._dispose()
                raise
        except BaseException:
            os.close(self._lock_file)
            raise

    def _file(self) -> URL:
        if not self._path.exists():
            try:
                os.close(os.open(self._path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600))
            except OSError as error:
                raise StoreError(f"{self._path}: {error.strerror}") from None
        return URL.create("sqlite", database=str(self._path))

    def answers(self) -> bool:
        """Can it be used at the moment?"""
        try:
            with self.read() as state:
                state.db.execute(sa.text("SELECT 1"))
        except StoreError:
            return False
        return True

    @property
    def shared(self) -> bool:
        """Can other processes use the same database?"""
        return not self._sqlite

    def connection(self) -> Any:
        """A connection to PostgreSQL beside all others, with a statement a transaction.  Raises psycopg.Error."""
        import psycopg

        return psycopg.connect(
            self._place.set(drivername="postgresql").render_as_string(hide_password=False),
            autocommit=True, connect_timeout=10,
        )  # fmt: skip

    def close(self) -> None:
        """Close the connections and give up the directory."""
        self._dispose()
        os.close(self._lock_file)

    def _dispose(self) -> None:
        self._engine.dispose()
        self._trials.dispose()

    @contextlib.contextmanager
    def _told(self) -> Iterator[None]:
        """What the database complains of becomes a StoreError that names it, and holds nothing that was given."""
        try:
            yield
        except DBAPIError as error:
            raise self._problem(error.orig) from None
        except self._driver_error as error:
            raise self._problem(error) from None
        except SQLAlchemyError as error:
            raise StoreError(f"{self._shown}: {type(error).__name__}") from None

    def _problem(self, error: object) -> StoreError:
        text = str(error).strip().partition("\n")[0] if self._sqlite else type(error).__name__
        return StoreError(f"{self._shown}: {text}")

    @contextlib.contextmanager
    def read(self) -> Iterator[Reader]:
        """The state at one moment."""
        with self._told(), self._engine.connect() as db:
            if not self._sqlite:
                db.execute(sa.text("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY"))
            yield Reader(db, self.surroundings.now_ns())

    @contextlib.contextmanager
    def attempt(self, actor: Actor, org: str) -> Iterator[tuple[WriteUnit, Reader]]:
        """A unit of work that is for nothing, and the state before it.  It keeps nobody from writing, and finds of
        objects only those of ``org`` and the provider's."""
        with self._told(), self._trials.connect() as db:
            below = quoted = "main"
            if not self._sqlite:
                # Temporary tables alone are written.
                db.execute(sa.text("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY"))
                found = db.execute(sa.text("SELECT current_schema(), quote_ident(current_schema())")).one()
                below, quoted = map(str, found)
            self._overlay.fill(db, quoted, org)
            before: Any = Below(db, below)
            yield WriteUnit(db, actor, self.surroundings), Reader(before, self.surroundings.now_ns())

    @contextlib.contextmanager
    def write(self, actor: Actor, *, keep: bool = True) -> Iterator[WriteUnit]:
        """A unit of work: it is on the disk when the block has ended, or has left no trace where the block raises.

        ``keep`` False tries, and leaves no trace either; it keeps others from writing all the same.
        """
        with self._told(), self._writing, self._engine.connect() as db:
            if self._sqlite:
                db = db.execution_options(t1edge_writing=True)  # noqa: PLW2901 - the same connection
            else:
                # A replica that hangs within a unit must not make all others hang.
                db.execute(sa.text(f"SET LOCAL lock_timeout = {_BUSY_MS}"))
                db.execute(sa.text("SELECT pg_advisory_xact_lock(:key)"), {"key": _WRITER_LOCK})
            yield WriteUnit(db, actor, self.surroundings)
            if keep:
                self._commit(db)

    def _commit(self, db: sa.Connection) -> None:
        try:
            db.commit()
        except BaseException:
            if self._sqlite:
                # What reached the log of a commit that failed later must not come back at the next start.
                with contextlib.suppress(SQLAlchemyError):
                    db.rollback()
                with contextlib.suppress(Exception):
                    raw: Any = db.connection.driver_connection
                    raw.rollback()
                    raw.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            raise


def _engine(place: URL, *, lasts_s: int = -1) -> sa.Engine:
    """Connections for as many threads as serve; what is given to queries is never part of an error or a log."""
    # A server that was away and is back has forgotten its connections: they are asked before they are used.
    ask = place.drivername != "sqlite"
    try:
        engine = sa.create_engine(
            place, hide_parameters=True, pool_size=16, max_overflow=0, pool_pre_ping=ask, pool_recycle=lasts_s
        )
    except ImportError:
        raise StoreError("PostgreSQL needs the package psycopg: pip install 't1edge[postgres]'") from None
    if ask:
        _prepare_postgresql(engine)
    else:
        _prepare_sqlite(engine)
    return engine


def _postgresql(url: str) -> URL:
    try:
        place = make_url(url)
    except ArgumentError:
        raise StoreError("the database's URL cannot be read; expected postgresql://...") from None
    if place.drivername not in {"postgresql", "postgresql+psycopg"}:
        raise StoreError("the database's URL is of another kind; expected postgresql://...")
    return place.set(drivername="postgresql+psycopg")


def _prepare_postgresql(engine: sa.Engine) -> None:
    """A replica that hangs within a transaction gives up its locks after a while."""

    @sa.event.listens_for(engine, "connect")
    def connected(raw: Any, _: Any) -> None:
        raw.execute(f"SET idle_in_transaction_session_timeout = {_BUSY_MS}")
        raw.commit()


def _prepare_trials(engine: sa.Engine, copy: Overlay) -> None:
    """Each connection has tables of its own over those of the store, empty at first."""

    @sa.event.listens_for(engine, "connect")
    def connected(raw: Any, _: Any) -> None:
        for statement in copy.tables:
            raw.execute(statement).close()
        raw.commit()


def _prepare_sqlite(engine: sa.Engine) -> None:
    """Transactions begin where SQLAlchemy says so; the driver would begin some, and not others, by itself."""

    @sa.event.listens_for(engine, "connect")
    def connected(raw: Any, _: Any) -> None:
        raw.isolation_level = None
        for pragma in (
            f"busy_timeout = {_BUSY_MS}",
            "journal_mode = WAL",
            "synchronous = FULL",
            "foreign_keys = ON",
            "temp_store = MEMORY",
            f"journal_size_limit = {1 << 26}",
        ):
            raw.execute(f"PRAGMA {pragma}").close()

    @sa.event.listens_for(engine, "begin")
    def begun(db: sa.Connection) -> None:
        if db.get_execution_options().get("t1edge_writing"):
            db.exec_driver_sql("BEGIN IMMEDIATE")
        else:
            # Nothing that could fail happens yet, and each call reads: the driver itself is quicker.
            raw: Any = db.connection.driver_connection
            raw.execute("BEGIN").close()
