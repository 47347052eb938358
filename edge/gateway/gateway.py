"""Everything that callers can ask of a served edge."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import Any, Final

from edge.errors import RevisionUnknownError
from edge.events import EventReader
from edge.gateway.conditions import Conditions
from edge.gateway.draft import Base, Known, Order, read_back
from edge.gateway.lifecycle import Lifecycle
from edge.gateway.tracing import trace_packets
from edge.gateway.values import Counters, Traced
from edge.model import EdgeConfig
from edge.state import LinkCounters
from edge.store import RevisionInfo
from edge.trace import RuleNames
from edge.verdicts import Processed

WALL_STEP_NS: Final = 5_000_000
"""The wall's clock has been set if it is off by so much."""


class Gateway(Lifecycle):
    """One served edge: its configuration's life, its packets, what is known of it.  Belongs to one event loop."""

    _names: RuleNames | None = None
    _between = 0  # the edge's clock and the wall's

    # ------------------------------------------------------------------ what is known

    def revisions(self, before: int | None, limit: int) -> list[RevisionInfo]:
        """Stored revisions below a number, newest first.  From any thread."""
        return self.store.page(before, limit)

    def document(self, number: int = 0) -> tuple[RevisionInfo, str]:
        """A stored revision, 0 for the running one, and its complete document, JSON, secrets masked.

        Not from the event loop's thread, which large documents need meanwhile.  Raises RevisionUnknownError.
        """
        held = self._running
        if number in (0, held.info.number):
            return held.info, self._complete(held.stored, held.known)
        found = self.store.get(number)
        if found is None:
            raise RevisionUnknownError(f"no revision {number} is stored")
        return found.info, self._complete(Base(found.etag, found.packed, found.allow_unsupported), None)

    def _complete(self, stored: Base, known: Known | None) -> str:
        if known is None and self._workshop.is_large(stored):
            assert self._loop is not None, "start() comes first"
            return asyncio.run_coroutine_threadsafe(self._workshop.complete(stored, None), self._loop).result()
        return (known or Known(read_back(stored))).complete

    def counters(self, *, rules: bool) -> Counters:
        """Every counter, those of rules on request, all at one moment."""
        links: dict[str, LinkCounters] = {}

        def look() -> None:
            if self.forwarding is not None:
                links.update(self.forwarding.link_counters())

        time_ns, found = time.time_ns(), self.edge.counted(rules=rules, beside=look)
        return Counters(time_ns, found.revision, found.config, found.stats, found.rules, links)

    def rule_name(self, rule_id: str) -> str:
        """The name of a rule of the running configuration, '' for an id that it does not have."""
        return self._names_of(self._running.config).get(rule_id) or ""

    def _names_of(self, config: EdgeConfig) -> RuleNames:
        """Names of rules; those of the configuration that runs are kept.  From any thread."""
        kept = self._names
        if kept is None or kept.config is not config:
            kept = RuleNames(config)
            if config is self._running.config:
                self._names = kept
        return kept

    def wall_ns(self, now_ns: int) -> int:
        """A time of the edge's clock on the wall's.  The same time is told alike as long as the wall's clock is not
        set."""
        between = time.time_ns() - self.now_ns()
        if abs(between - self._between) > WALL_STEP_NS:
            self._between = between
        return now_ns + self._between

    def watch(self, token: str = "") -> AbstractContextManager[EventReader]:
        """A reader of events; see :meth:`edge.events.EventLog.watch`."""
        return self.events.watch(token)

    # ------------------------------------------------------------------ packets and sessions

    async def trace(
        self,
        packets: Sequence[str | tuple[str, bytes]],
        *,
        candidate: str | None = None,
        allow_unsupported: bool = False,
        ignore_sessions: bool = False,
    ) -> Traced:
        """What would happen to packets, in text or as (port, frame); the edge is the same afterwards.

        Raises InvalidPacketError with a violation for each packet that cannot be read or sent, DocumentError for the
        candidate.
        """
        config, tables, warnings = None, None, []
        if candidate is not None:
            held = self._running
            drafted = await self._workshop.draft(Order(candidate, allow_unsupported), held.stored, held.known)
            config, tables = drafted.config, drafted.tables
            warnings = list((await drafted.told())[0])
        revision, results = await asyncio.to_thread(
            trace_packets,
            self.edge,
            packets,
            self.now_ns(),
            config=config,
            tables=tables,
            ignore_sessions=ignore_sessions,
            names=self._names_of,
            neighbour_of=None if self.forwarding is None or config is not None else self.forwarding.neighbour_of,
        )
        if config is not None:
            self._retire(config)
        return Traced(results, revision if candidate is None else 0, warnings)

    def inject(self, frames: Sequence[tuple[str, bytes]], *, outputs: bool) -> tuple[int, list[Processed]]:
        """Send frames into ports, all under one configuration: its revision, and what became of each."""
        with self.edge.turn():
            if self.forwarding is not None:
                return self.edge.revision, self.forwarding.inject(frames, self.now_ns(), outputs=outputs)
            return self.edge.revision, self.edge.process_batch(frames, self.now_ns(), outputs=outputs)

    async def delete_sessions(self, match: Any, *, leader_epoch: int = 0) -> int:
        """End the sessions that match.  Raises ManagedError, StaleEpochError."""
        Conditions("", False, None, "", leader_epoch).check()
        return await self._exclusive(self._delete_sessions(match, leader_epoch))

    async def _delete_sessions(self, match: Any, epoch: int) -> int:
        self._check_epoch(epoch)
        await self._note_epoch(epoch)
        deleted: int = await asyncio.to_thread(self.edge.delete_sessions, match)
        return deleted
