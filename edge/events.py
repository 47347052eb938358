"""What happens on a served edge, kept for a while, for any number of readers at their own pace.

Events stand in a ring with running numbers.  A reader that falls behind the ring, or resumes from before it, is told
by a :class:`Gap` how many it has missed; nobody ever waits for a reader.  While somebody reads, and for a while after,
events are taken from the edge every few milliseconds; otherwise rarely, and without those of sessions.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
import uuid
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final, Protocol

from edge.errors import InvalidResumeTokenError
from edge.raw import SessionRun
from edge.store import RevisionInfo

_log = logging.getLogger(__name__)

MAX_EVENTS: Final = 65_536
"""So many events are kept."""

MAX_BATCH: Final = 4_096
"""So many events are handed to a reader at once."""

PERIOD_S: Final = 0.02
"""How often the edge is asked while somebody reads."""

IDLE_PERIOD_S: Final = 0.5
"""The same while nobody does, unless the log is told otherwise: often enough for its log of packets not to run over."""

LINGER_S: Final = 60.0
"""How long sessions are watched after the last reader went: it may resume."""


class ConfigCause(StrEnum):
    """Why the configuration changed."""

    APPLIED = "APPLIED"
    ROLLED_BACK = "ROLLED_BACK"
    CONFIRMED = "CONFIRMED"
    NOT_CONFIRMED = "NOT_CONFIRMED"


@dataclass(frozen=True, slots=True)
class ConfigChanged:
    """``revision`` runs now; ``wall_ns`` is wall clock."""

    wall_ns: int
    revision: RevisionInfo
    cause: ConfigCause


@dataclass(frozen=True, slots=True)
class Gap:
    """Events are missing here: at least so many, 0 for nobody knows."""

    wall_ns: int
    lost: int


LoggedEvent = ConfigChanged | Gap | SessionRun | Any
"""One of these, or another of the runtime's own events."""


@dataclass(frozen=True, slots=True)
class Batch:
    """Events in order, alone or as runs, none after a quiet time, and the token that resumes behind them."""

    events: Sequence[LoggedEvent]
    token: str


class EventSource(Protocol):
    """What is asked of an edge."""

    watch_sessions: bool

    def take_raw_events(self) -> tuple[list[Any], int]:
        """Events and runs of events since the last call, oldest first, and how many were lost behind them.  From any
        thread."""

    def sessions_begun(self) -> int:
        """Sessions made so far."""


class EventLog:
    """The ring.  Belongs to one event loop."""

    def __init__(
        self, source: EventSource | None, *, size: int = MAX_EVENTS, idle_period_s: float = IDLE_PERIOD_S
    ) -> None:
        """``idle_period_s``: how often the edge is asked while nobody reads."""
        self._idle_period_s = idle_period_s
        self._source = source
        self._size = size
        self._ring: list[LoggedEvent] = []
        self._places: list[int] = []  # for each, the number of its first event
        self._first = 0
        self._end = 0
        self._id = uuid.uuid4().hex
        self._readers = 0
        self._left = -LINGER_S  # when the last reader went
        self._unseen_from: int | None = 0  # sessions that had begun when watching them ended
        self._news = asyncio.Event()
        self._started = asyncio.Event()
        self._pump: asyncio.Task[None] | None = None
        self.lost = 0
        """Events that the edge had no room for, so far."""

    @property
    def end(self) -> int:
        """The number that the next event gets."""
        return self._end

    def start(self) -> None:
        """Take events from the edge from now on."""
        self._pump = asyncio.create_task(self._run())

    async def close(self) -> None:
        """Take no more."""
        if self._pump is not None:
            self._pump.cancel()
            await asyncio.wait([self._pump])
            self._pump = None

    def add(self, event: LoggedEvent) -> None:
        """Something happened."""
        self._extend([event])

    def _extend(self, events: Sequence[LoggedEvent]) -> None:
        for event in events:
            self._ring.append(event)
            self._places.append(self._end)
            self._end += _size(event)
        # An eighth more, then cut to the size: taking one off the front of a long list for each event would be slow.
        if self._end - self._first >= self._size + self._size // 8:
            surplus = bisect_right(self._places, self._end - self._size) - 1
            del self._ring[:surplus], self._places[:surplus]
            self._first = self._places[0]
        self._news.set()
        self._news = asyncio.Event()

    async def _take(self) -> None:
        """Take what the edge has.  It may have much: in a thread, and others have their turns."""
        if self._source is None:
            return
        events, lost = await asyncio.to_thread(self._source.take_raw_events)
        if events:
            self._extend(events)
        if lost:
            self.lost += lost
            self.add(Gap(time.time_ns(), lost))

    async def _run(self) -> None:
        while True:
            try:
                await self._take()
            except Exception:  # noqa: BLE001 - readers are told of a gap sooner or later; nobody else would start this again
                _log.exception("events could not be taken from the edge")
            if self._readers:
                await asyncio.sleep(PERIOD_S)
                continue
            if self._source is not None and self._source.watch_sessions and self._idle():
                self._source.watch_sessions = False
                self._unseen_from = self._source.sessions_begun()
            self._started.clear()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._started.wait(), self._idle_period_s)

    def _idle(self) -> bool:
        return time.monotonic() - self._left > LINGER_S

    # ------------------------------------------------------------------ reading

    @contextmanager
    def watch(self, token: str = "") -> Iterator[EventReader]:
        """A reader from now on, or from where a token says.  Raises InvalidResumeTokenError."""
        at = self._place(token) if token else self.end
        self._begin_watching()
        if not token:
            at = self.end
        try:
            yield EventReader(self, at)
        finally:
            self._readers -= 1
            self._left = time.monotonic()

    def _begin_watching(self) -> None:
        self._readers += 1
        self._started.set()
        source = self._source
        if source is None or source.watch_sessions:
            return
        unseen = source.sessions_begun() - (self._unseen_from or 0)
        source.watch_sessions = True
        if unseen:
            # Who resumes from before was not told of these.
            self.add(Gap(time.time_ns(), unseen))

    def _place(self, token: str) -> int:
        """The number that a token stands for; -1 for one of an earlier process."""
        process, _, number = token.partition(":")
        known = len(process) == 32 and all(letter in "0123456789abcdef" for letter in process)
        if not known or not number.isascii() or not number.isdecimal() or len(number) > 19:
            raise InvalidResumeTokenError(
                "this resume token was never handed out", [("resume_token", "expected resume_token of a batch")]
            )
        if process != self._id:
            return -1
        if int(number) > self.end:
            raise InvalidResumeTokenError(
                "this resume token was never handed out", [("resume_token", "it is ahead of every event")]
            )
        return int(number)

    def take(self, at: int) -> tuple[list[LoggedEvent], int]:
        """Events from a place on, with a gap first where some are missing, and the place behind them."""
        found: list[LoggedEvent] = []
        if at < 0:
            return [Gap(time.time_ns(), 0)], self._first
        if at < self._first:
            found.append(Gap(time.time_ns(), self._first - at))
            at = self._first
        place, most = bisect_right(self._places, at) - 1, at + MAX_BATCH
        while at < min(most, self._end):
            event, begin = self._ring[place], self._places[place]
            size = _size(event)
            found.append(event.part(at - begin, most - begin) if isinstance(event, SessionRun) else event)
            at = min(begin + size, most)
            place += 1
        return found, at

    def token(self, at: int) -> str:
        """The token of a place."""
        return f"{self._id}:{at}"

    async def wait(self, at: int) -> None:
        """Until there is an event at a place."""
        while self.end <= at:
            await self._news.wait()


def _size(event: LoggedEvent) -> int:
    return len(event) if isinstance(event, SessionRun) else 1


class EventReader:
    """One reader's place."""

    def __init__(self, log: EventLog, at: int) -> None:
        self._log = log
        self._at = at

    async def next(self, timeout_s: float, stopping: asyncio.Event | None = None) -> Batch:
        """The next events, at most MAX_BATCH; none if nothing happened in time, or once ``stopping`` is set."""
        if self._at >= 0:
            waiting = [asyncio.ensure_future(self._log.wait(self._at))]
            if stopping is not None:
                waiting.append(asyncio.ensure_future(_set(stopping)))
            try:
                await asyncio.wait(waiting, timeout=timeout_s, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for task in waiting:
                    task.cancel()
        events, self._at = self._log.take(self._at)
        return Batch(events, self._log.token(self._at))


async def _set(event: asyncio.Event) -> None:
    await event.wait()
