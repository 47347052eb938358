"""Trials, which may take long and hold nothing: of each organization one at a time, and some that wait."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from concurrent.futures import Executor, Future
from typing import Final, ParamSpec, TypeVar

from control.errors import TooManyTrialsError

MOST: Final = 8
"""Trials of one organization, the one that runs included."""

_Given = ParamSpec("_Given")
_Answer = TypeVar("_Answer")


class _Line:
    def __init__(self) -> None:
        self.length = 0
        self.turn = asyncio.Lock()


class Turn:
    """Whose it is may do one thing after the other in threads."""

    def __init__(self) -> None:
        self.work: Future[object] | None = None

    async def run(
        self, pool: Executor, work: Callable[_Given, _Answer], *given: _Given.args, **named: _Given.kwargs
    ) -> _Answer:
        """What ``work`` returns.  Whoever is cancelled meanwhile cannot stop it: the turn lasts until its end."""
        begun = pool.submit(work, *given, **named)
        self.work = begun  # type: ignore[assignment]
        return await asyncio.wrap_future(begun)


class Turns:
    """Belongs to one event loop."""

    def __init__(self) -> None:
        self._lines: dict[str, _Line] = {}

    @contextlib.asynccontextmanager
    async def take(self, org: str) -> AsyncIterator[Turn]:
        """Wait for the organization's turn.  Raises TooManyTrialsError."""
        line = self._lines.setdefault(org, _Line())
        if line.length >= MOST:
            raise TooManyTrialsError(org, line.length)
        line.length += 1
        try:
            await line.turn.acquire()
        except BaseException:
            self._leave(org, line)
            raise
        turn = Turn()
        try:
            yield turn
        finally:
            loop = asyncio.get_running_loop()
            if turn.work is None or turn.work.done():
                self._end(org, line)
            else:
                turn.work.add_done_callback(lambda _: loop.call_soon_threadsafe(self._end, org, line))

    def _end(self, org: str, line: _Line) -> None:
        line.turn.release()
        self._leave(org, line)

    def _leave(self, org: str, line: _Line) -> None:
        line.length -= 1
        if not line.length:
            del self._lines[org]
