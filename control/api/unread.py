"""Streams that nobody reads: what they would say cannot be said, not even that they have ended."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

LOOK_S: Final = 1.0
"""How often is looked whether the caller of a stream that nobody reads may go on."""


class Unread:
    """Watches over the task of one call while it waits for its reader, and ends it when the caller may not go on: the
    reader gets CANCELLED."""

    def __init__(self) -> None:
        self._call = asyncio.current_task()
        self._watching: asyncio.Task[None] | None = None

    def begin(self, may_go_on: Callable[[], Awaitable[bool]]) -> None:
        """It is to be read from now on."""
        self._watching = asyncio.create_task(self._watch(may_go_on))

    def end(self) -> None:
        """It has been read."""
        if self._watching is not None:
            self._watching.cancel()
            self._watching = None

    async def _watch(self, may_go_on: Callable[[], Awaitable[bool]]) -> None:
        await asyncio.sleep(LOOK_S)
        while await may_go_on():
            await asyncio.sleep(LOOK_S)
        if self._call is not None:
            self._call.cancel()
