"""Where documents are read, checked, compared and compiled while the edge goes on: in a thread, or, what is large, in
the helper process."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

from edge.compiler import Tables
from edge.diff import Change
from edge.errors import Problem
from edge.gateway.draft import Base, Draft, Known, Order, draft, keeping, read_back
from edge.gateway.helper import Helper
from edge.model import EdgeConfig
from edge.store import is_longer

LARGE_TEXT: Final = 1 << 19
"""A text of more characters, about 2,400 rules, is read in the helper."""

LARGE_STORED: Final = LARGE_TEXT
"""So is a stored document whose text has more bytes."""


@dataclass(frozen=True, slots=True)
class Drafted:
    """A configuration that could run; see :class:`edge.gateway.draft.Draft`.  ``known`` is its document, where it is
    kept in this process."""

    stored: Base
    config: EdgeConfig
    tables: Tables | None
    equal: bool
    known: Known | None
    _told: Draft | tuple[Sequence[Problem], Sequence[Change]]

    async def told(self) -> tuple[Sequence[Problem], Sequence[Change]]:
        """Warnings and changes."""
        if isinstance(self._told, Draft):
            return await asyncio.to_thread(self._told.told)
        return self._told


class Workshop:
    """Belongs to one event loop.  The helper is started when it is first needed, and kept."""

    def __init__(self, *, large_text: int = LARGE_TEXT, large_stored: int = LARGE_STORED) -> None:
        self._large_text = large_text
        self._large_stored = large_stored
        self._helper = Helper()

    async def close(self) -> None:
        """End the helper."""
        await self._helper.close()

    def is_large(self, stored: Base) -> bool:
        """Is the document to be kept out of this process?"""
        return is_longer(stored.packed, self._large_stored)

    async def known(self, stored: Base, running: EdgeConfig | None = None) -> Known:
        """A stored document of no great size, with the objects of its configuration that runs."""

        def read() -> Known:
            loaded = read_back(stored)
            return Known(loaded if running is None else replace(loaded, config=keeping(running, loaded.config)))

        return await asyncio.to_thread(read)

    async def draft(
        self, order: Order, base: Base | None, known: Known | None, config: EdgeConfig | None = None
    ) -> Drafted:
        """What an order makes of the base.  ``config`` is the base's where the draft is for the edge that runs it: its
        objects are kept, and a small change has no tables then.  Raises what :func:`edge.gateway.draft.draft` does, and
        ResourceError if the helper came to an end."""
        wanted = order.wanted
        large = isinstance(wanted, str) and len(wanted) > self._large_text
        large |= isinstance(wanted, Base) and self.is_large(wanted)
        large |= base is not None and known is None and self.is_large(base)
        if large:
            answer = await self._helper.draft(order, base, config)
            return Drafted(answer.stored, answer.config, answer.tables, answer.equal, None, answer.told)
        if base is not None and known is None:
            known = await self.known(base, config)
        made = await asyncio.to_thread(draft, order, base, known, config)
        return Drafted(made.stored, made.config, made.tables, made.equal, made.known, made)

    async def complete(self, stored: Base, known: Known | None) -> str:
        """The complete document of a stored one, JSON."""
        if known is None and self.is_large(stored):
            return await self._helper.complete(stored)
        if known is None:
            known = await self.known(stored)
        return await asyncio.to_thread(getattr, known, "complete")
