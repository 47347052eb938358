"""Queries that every call asks: made into text once for each database, and given to its driver, since making a query
costs more than running it."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any, Protocol

import sqlalchemy as sa


class Database(Protocol):
    """A connection, or what stands for one and reads other tables."""

    def execute(self, statement: Any, parameters: Any = None) -> Any:
        """As :meth:`sqlalchemy.Connection.execute`."""


def prepared(query: sa.Select[Any]) -> Callable[..., Sequence[Any] | None]:
    """What finds the first row of a query on a connection, by the values of its parameters.  Columns are as the driver
    has them: see :func:`from_json`."""
    texts: dict[str, tuple[str, Sequence[str] | None]] = {}

    def first(db: Database, **given: str) -> Sequence[Any] | None:
        if not isinstance(db, sa.Connection):
            found: Sequence[Any] | None = db.execute(query, given).first()
            return found
        if db.dialect.name not in texts:
            compiled: Any = query.compile(dialect=db.dialect)
            texts[db.dialect.name] = str(compiled), compiled.positiontup
        text, order = texts[db.dialect.name]
        if not db.in_transaction():
            db.begin()  # else each query would see a moment of its own
        raw: Any = db.connection.driver_connection
        try:
            cursor = raw.execute(text, given if order is None else [given[name] for name in order])
            row: Sequence[Any] | None = cursor.fetchone()
        except Exception as error:
            if db.dialect.is_disconnect(error, raw, None):  # type: ignore[arg-type]
                db.invalidate(error)
            raise
        cursor.close()
        return row

    return first


def from_json(value: Any) -> Any:
    """A column of JSON as it came: PostgreSQL's driver has read it already."""
    return json.loads(value) if isinstance(value, str) else value
