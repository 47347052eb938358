"""How revisions are read from a table of SQLite: the same of one edge alone and of many in one table."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, Final

from edge.store.revision import RevisionInfo, StoredRevision

CONFIRMED, PENDING, TAKEN_BACK = range(3)
"""A revision's state, as the table has it."""

INFO: Final = "number, etag, created_ns, comment, confirm_deadline_ns, leader_epoch, restored_from, state"
WHOLE: Final = f"{INFO}, allow_unsupported, document"

_TOP: Final = (1 << 63) - 1
_NAMES: Final = tuple(INFO.split(", "))[:-1]

Row = Sequence[Any]


class RevisionReader(ABC):
    """The reading half of a :class:`edge.store.Store` over such a table."""

    @abstractmethod
    def _select(self, columns: str, where: str, *values: int) -> Sequence[Row]:
        """What a query over the revisions finds; ``where`` may go on with an order and a limit."""

    def latest_confirmed(self) -> StoredRevision | None:
        """See Store."""
        return self._one("state = ? ORDER BY number DESC LIMIT 1", CONFIRMED)

    def confirmed_before(self, number: int) -> StoredRevision | None:
        """See Store."""
        return self._one("number < ? AND state = ? ORDER BY number DESC LIMIT 1", number, CONFIRMED)

    def get(self, number: int) -> StoredRevision | None:
        """See Store."""
        return self._one("number = ?", number)

    def page(self, before: int | None, limit: int) -> list[RevisionInfo]:
        """See Store."""
        top = _TOP if before is None else min(before, _TOP)
        rows = self._select(INFO, "number < ? ORDER BY number DESC LIMIT ?", top, limit)
        return [RevisionInfo(**_fields(row)) for row in rows]

    def _one(self, where: str, *values: int) -> StoredRevision | None:
        rows = self._select(WHOLE, where, *values) if max(values) <= _TOP else ()
        for row in rows:
            *_, allow_unsupported, document = row
            return StoredRevision(**_fields(row), packed=document, allow_unsupported=bool(allow_unsupported))
        return None


def _fields(row: Row) -> dict[str, Any]:
    """Of a row of INFO, or of WHOLE; the schema is STRICT."""
    fields = dict(zip(_NAMES, row, strict=False))
    return {**fields, "taken_back": row[len(_NAMES)] == TAKEN_BACK}
