"""Trials: a copy of what one organization can reach, in temporary tables over those that it is of.

Both databases look for a table among the temporary ones first, so that a unit of work runs on the copy as on the store
itself, with all constraints; it locks nothing, sees one moment of the store, and goes with its transaction.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.schema import CreateIndex, CreateTable

from control import names
from control.store.schema import METADATA

_EDGES_OF_ADDRESSES = "path IN (SELECT edge FROM {below}.public_addresses)"
_USERS: Final = "user_uid IN (SELECT uid FROM {above}.objects WHERE kind = 'user')"
_BY_PATH: Final = "path = :org OR path > :first AND path < :last"

COPIED: Final[Mapping[str, str]] = {
    # Of other organizations nothing but the edges: they have addresses that nobody else can have.
    "objects": f"{_BY_PATH} OR path = :system OR path > :system_first AND path < :system_last"
    f" OR path < 'orgs/' OR path >= 'orgs0' OR {_EDGES_OF_ADDRESSES}",
    "refs": "source > :first AND source < :last OR source > :system_first AND source < :system_last"
    " OR source < 'orgs/' OR source >= 'orgs0'",
    "public_addresses": "1 = 1",
    "credentials": _USERS,
    "sessions": _USERS,
    "api_tokens": _USERS,
    "edge_states": _BY_PATH,
    "edge_hosts": _BY_PATH,
    "machine_states": _BY_PATH,
    "machine_nics": _BY_PATH,
    "machine_jobs": _BY_PATH,
    "facts": "1 = 1",
}
"""Table -> which of its rows.  The others, tasks, events and trails, are only added to: a trial begins without them."""

_INDEXES: Final = frozenset({"public_addresses_edge", "refs_target", "sessions_user"})
"""What each deletion asks for; the others are of use to long lists alone."""


@dataclass(frozen=True, slots=True)
class Overlay:
    """How a copy is made on one kind of database: statements, to be run in order; ``tables`` once a connection."""

    tables: tuple[str, ...]
    rows: tuple[str, ...]

    def fill(self, db: sa.Connection, below: str, org: str) -> None:
        """What ``org`` can reach, from the tables in the schema ``below``, until the transaction ends."""
        given = {"org": org, "system": names.SYSTEM}
        # Everything that begins with these and a slash: 0 comes next to it.
        given |= {"first": f"{org}/", "last": f"{org}0"}
        given |= {"system_first": f"{names.SYSTEM}/", "system_last": f"{names.SYSTEM}0"}
        for text in self.rows:
            rows = sa.text(text.format(below=below))
            db.execute(rows, {name: given[name] for name in rows.compile().params})


def overlay(dialect: sa.Dialect) -> Overlay:
    """For a kind of database."""
    above = "temp" if dialect.name == "sqlite" else "pg_temp"
    tables: list[str] = []
    for table in METADATA.sorted_tables:
        made = str(CreateTable(table).compile(dialect=dialect)).strip()
        tables.append(made.replace("CREATE TABLE", "CREATE TEMPORARY TABLE", 1))
        indexes = sorted(_INDEXES & {str(index.name) for index in table.indexes})
        tables += [str(CreateIndex(_index(table, name)).compile(dialect=dialect)) for name in indexes]
    rows = []
    for table in METADATA.sorted_tables:
        if table.name in COPIED:
            columns = ", ".join(f'"{column.name}"' for column in table.columns)
            which = COPIED[table.name].format(above=above, below="{below}")
            rows.append(
                f"INSERT INTO {above}.{table.name} ({columns})"  # noqa: S608 - of constants alone
                f" SELECT {columns} FROM {{below}}.{table.name} WHERE {which}"
            )
    return Overlay(tuple(tables), tuple(rows))


def _index(table: sa.Table, name: str) -> sa.Index:
    return next(index for index in table.indexes if index.name == name)


class Below:
    """What a connection finds under its own copy: the state before a trial."""

    def __init__(self, db: sa.Connection, schema: str) -> None:
        self._db = db
        self._options: Any = {"schema_translate_map": {None: schema}}

    def execute(self, statement: Any, parameters: Any = None) -> Any:
        """As a connection does."""
        return self._db.execute(statement, parameters, execution_options=self._options)
