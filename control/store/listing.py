"""Pages of tables: conditions, an order, and where the page before ended."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import sqlalchemy as sa

from control import names
from control.filters import ListQuery, wrong_token
from control.objects.values import Value
from control.store.schema import API_TOKENS, AUDIT, EVENTS, OBJECTS, TASKS, TEXT

_ORDER = "order_value"


@dataclass(frozen=True, slots=True)
class Listing:
    """What may be listed of a table.  ``key`` is unique among the rows of one list, and ends ties."""

    table: sa.Table
    fields: Mapping[str, sa.ColumnElement[str]]
    orders: Mapping[str, sa.ColumnElement[Any]]
    key: sa.Column[Any]
    default_order: str

    def page(
        self, db: sa.Connection, scope: Sequence[sa.ColumnElement[bool]], query: ListQuery
    ) -> tuple[list[Any], str]:
        """Rows within ``scope``, and the token for those behind them, '' if there are none.

        Raises BadPageTokenError for a token whose values are of other types than the columns.
        """
        column = self.orders[query.order]
        direction = sa.desc if query.descending else sa.asc
        found = sa.select(self.table, column.label(_ORDER)).where(*scope)
        for field, value in query.conditions:
            found = found.where(self.fields[field] == value)
        if query.after is not None:
            if tuple(map(type, query.after)) != (column.type.python_type, self.key.type.python_type):
                raise wrong_token()
            here, there = sa.tuple_(column, self.key), sa.tuple_(*map(sa.literal, query.after))
            found = found.where(here < there if query.descending else here > there)
        ordered = found.order_by(direction(column), direction(self.key)).limit(query.size + 1)
        rows = list(db.execute(ordered))
        if len(rows) <= query.size:
            return rows, ""
        rows.pop()
        end = rows[-1]._mapping  # noqa: SLF001 - the public name of a row's mapping
        return rows, query.token(end[_ORDER], end[self.key.name])


def _said(field: str) -> sa.ColumnElement[str]:
    """A field of an object's body."""
    found: sa.ColumnElement[str] = OBJECTS.c.body[field].as_string()
    return found


def of_kind(model: type[Value], filters: Iterable[str], orders: Iterable[str], *, unique: bool) -> Listing:
    """The lists of a kind of objects: by ``filters`` and ``orders``, fields of its model, besides those of all kinds.

    An order of ``position`` is that of the objects themselves.  The first order is the default one.
    """
    shown = "display_name" in model.model_fields
    by_name = OBJECTS.c.name if unique or not shown else _ordered(model, "display_name")
    own = {name: OBJECTS.c.position if name == "position" else _ordered(model, name) for name in orders}
    every = {**own, ("display_name" if shown else "name"): by_name, **_TIMES}
    fields = {name: _said(name) for name in [*filters, *(["display_name"] if shown else [])]}
    return Listing(OBJECTS, fields, every, OBJECTS.c.path, next(iter(every)))


def _ordered(model: type[Value], field: str) -> sa.ColumnElement[Any]:
    """A field of a body, ordered as columns are."""
    found = OBJECTS.c.body[field]
    return found.as_integer() if model.model_fields[field].annotation is int else sa.cast(found.as_string(), TEXT)


_TIMES = {"create_time": OBJECTS.c.created_ns, "update_time": OBJECTS.c.updated_ns}

ORGS = Listing(
    OBJECTS,
    {"account_id": OBJECTS.c.name, "display_name": _said("display_name")},
    {"account_id": OBJECTS.c.name, **_TIMES},
    OBJECTS.c.path,
    "account_id",
)
USERS = Listing(
    OBJECTS,
    {"username": OBJECTS.c.name, "email": _said("email"), "role": _said("role")},
    {"username": OBJECTS.c.name, **_TIMES},
    OBJECTS.c.path,
    "username",
)
TOKENS = Listing(
    API_TOKENS,
    {"display_name": API_TOKENS.c.name},
    {"display_name": API_TOKENS.c.name, "create_time": API_TOKENS.c.created_ns, "expire_time": API_TOKENS.c.expires_ns},
    API_TOKENS.c.path,
    "display_name",
)
TASK_LIST = Listing(
    TASKS,
    {name: TASKS.c[name] for name in ("operation", "status", "initiator", "object")},
    {"start_time": TASKS.c.start_ns},
    TASKS.c.path,
    "start_time desc",
)
_PROVIDERS_PEOPLE = TASKS.c.initiator.startswith(f"{names.SYSTEM}/", autoescape=True)
# What is selected by is what is seen: else a tenant could guess the names of the provider's people.
TASKS_OF_TENANTS = replace(
    TASK_LIST,
    fields={**TASK_LIST.fields, "initiator": sa.case((_PROVIDERS_PEOPLE, names.SYSTEM), else_=TASKS.c.initiator)},
)
EVENT_LIST = Listing(
    EVENTS,
    {name: EVENTS.c[name] for name in ("kind", "object")},
    {"number": EVENTS.c.number},
    EVENTS.c.number,
    "number",
)
AUDIT_LIST = Listing(
    AUDIT,
    {name: AUDIT.c[name] for name in ("actor", "method", "object", "outcome")},
    {"number": AUDIT.c.number},
    AUDIT.c.number,
    "number",
)
