"""Trials, which may take long and hold nothing: of each organization one at a time, and some that wait."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Final

from control.errors import TooManyTrialsError

MOST: Final = 8
"""Trials of one organization, the one that runs included."""


class _Line:
    def __init__(self) -> None:
        self.length = 0
        self.turn = asyncio.Lock()


class Turns:
    """Belongs to one event loop."""

    def __init__(self) -> None:
        self._lines: dict[str, _Line] = {}

    @contextlib.asynccontextmanager
    async def take(self, org: str) -> AsyncIterator[None]:
        """Wait for the organization's turn.  Raises TooManyTrialsError."""
        line = self._lines.setdefault(org, _Line())
        if line.length >= MOST:
            raise TooManyTrialsError(org, line.length)
        line.length += 1
        try:
            async with line.turn:
                yield
        finally:
            line.length -= 1
            if not line.length:
                del self._lines[org]
