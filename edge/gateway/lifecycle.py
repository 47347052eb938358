"""The life of a served edge's configuration: checked, compiled, stored, swapped in, confirmed or taken back."""

from __future__ import annotations

import asyncio
import logging
import secrets
import time
from collections import Counter
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, Literal, TypeVar

from edge.compiler import Tables, compile_tables
from edge.errors import (
    ArgumentError,
    ConfirmationPendingError,
    EdgeError,
    EtagMismatchError,
    ManagedError,
    MissingEtagError,
    NothingPendingError,
    RevisionUnknownError,
    StaleEpochError,
)
from edge.events import IDLE_PERIOD_S, ConfigCause, ConfigChanged, EventLog
from edge.gateway.conditions import Conditions
from edge.gateway.draft import Base, Known, Order, draft, read_back
from edge.gateway.retire import retire
from edge.gateway.values import Applied, Forwarding
from edge.gateway.workshop import Drafted, Workshop
from edge.merging import Merge
from edge.model import EdgeConfig
from edge.patch import Edit
from edge.runtime import Edge
from edge.store import MemoryStore, RevisionInfo, Store, StoredRevision
from edge.workers import Workers

T = TypeVar("T")
Result = Literal["applied", "unchanged", "refused", "failed", "not_confirmed"]

RETRY_S: Final = 1.0
"""How long after a change could not be taken back that is tried again."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Held:
    """A configuration that runs, or one to come back to.  ``known`` is its document, read to that very configuration,
    None for a large one; ``tables`` are kept only to come back to."""

    info: RevisionInfo
    stored: Base
    config: EdgeConfig
    known: Known | None
    tables: Tables | None = None


class Lifecycle:
    """Every change of one edge's configuration.  Belongs to one event loop.

    ``edge`` may be asked from any thread.  ``forwarding`` is set by whoever moves packets between ports and the edge.
    Times are nanoseconds: ``now_ns`` on the edge's clock, which only goes forward, the others on the wall's.
    """

    edge: Edge
    events: EventLog

    def __init__(
        self,
        store: Store | None = None,
        *,
        seed: int | None = None,
        clock: Callable[[], int] = time.monotonic_ns,
        workshop: Workshop | None = None,
        workers: int = 1,
        idle_period_s: float = IDLE_PERIOD_S,
    ) -> None:
        """``idle_period_s``: see :class:`edge.events.EventLog`."""
        self.store = store or MemoryStore()
        self.forwarding: Forwarding | None = None
        self.since_ns = time.time_ns()
        self.applies: Counter[Result] = Counter()
        self.now_ns = clock
        self._seed = seed
        self._workers = workers
        self._idle_period_s = idle_period_s
        self._workshop = workshop or Workshop()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._lock = asyncio.Lock()
        self._tasks: set[asyncio.Task[Any]] = set()
        self._number = 0
        self._epoch = 0
        self._held: Held | None = None
        self._fallback: Held | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._merging = False

    @property
    def _running(self) -> Held:
        assert self._held is not None, "start() comes first"
        return self._held

    @property
    def running(self) -> RevisionInfo:
        """The revision that runs."""
        return self._running.info

    @property
    def stored(self) -> Base:
        """Its document."""
        return self._running.stored

    # ------------------------------------------------------------------ beginning and end

    async def start(self, text: str, *, file: str | None = None, allow_unsupported: bool = False) -> None:
        """Run what the store says is the last confirmed configuration, or, if it knows none, the document ``text`` as
        its first revision.

        Raises DocumentError, StoreError, and what making an edge raises.
        """
        self._loop = asyncio.get_running_loop()
        self._epoch = self.store.leader_epoch()
        self._number = self.store.last_number()
        kept = self.store.latest_confirmed() if self._number else None
        if kept is None:
            order = Order(text, allow_unsupported, file)
            stored, known, self.edge = await asyncio.to_thread(self._begun, order, self._number + 1)
            info = self._info(stored.etag, Conditions("", False, None, "", 0), 0)
            await self._save(info, stored)
        else:
            info, stored = kept.info, Base(kept.etag, kept.packed, kept.allow_unsupported)
            _, known, self.edge = await asyncio.to_thread(self._begun, stored, info.number)
        before, self._number = self._number, max(self._number, info.number)
        config = known.loaded.config
        self._tell_reasons([])
        self._held = Held(info, stored, config, None if self._workshop.is_large(stored) else known)
        self.events = EventLog(self.edge, idle_period_s=self._idle_period_s)
        self.events.start()
        for waiting in self.store.page(None, 100) if before else ():
            if waiting.confirm_deadline_ns is not None:
                self._forget_failure(self.store.take_back(waiting.number))

    def _begun(self, wanted: Order | Base, revision: int) -> tuple[Base, Known, Edge]:
        """What is to run first, and the edge that runs it under that number."""
        tables = None
        if isinstance(wanted, Base):
            stored, known = wanted, Known(read_back(wanted))
        else:
            made = draft(wanted, None, None)
            stored, known, tables = made.stored, made.known, made.tables
        config = known.loaded.config
        seed = next((value for value in (self._seed, config.options.seed) if value is not None), secrets.randbits(63))
        if self._workers == 1:
            return stored, known, Edge(config, seed=seed, revision=revision, tables=tables)
        return stored, known, Workers(config, self._workers, seed=seed, revision=revision, tables=tables)

    def _tell_reasons(self, before: Sequence[str]) -> None:
        """Why one of several workers does everything, or that it does no longer."""
        reasons = self.edge.reasons_for_one
        if reasons and reasons != before:
            _log.warning("one of %d workers does everything: %s", self.edge.workers, "; ".join(reasons))
        elif before and not reasons:
            _log.info("%d workers divide the packets again", self.edge.workers)

    async def close(self) -> None:
        """End what is under way.  A change that waits to be confirmed is not confirmed: the next start does without."""
        if self._timer is not None:
            self._timer.cancel()
        while self._tasks:
            await asyncio.wait(self._tasks)
        if self._held is not None:
            await self.events.close()
        await self._workshop.close()
        await asyncio.to_thread(self.store.close)

    # ------------------------------------------------------------------ changes

    async def apply(
        self,
        text: str,
        *,
        etag: str = "",
        validate_only: bool = False,
        allow_unsupported: bool = False,
        confirm_within_s: float | None = None,
        comment: str = "",
        leader_epoch: int = 0,
        file: str | None = None,
        told: bool = True,
    ) -> Applied:
        """Replace the whole configuration.  ``told`` False: without warnings and changes, which take a while.

        Raises DocumentError, EtagMismatchError, ManagedError, StaleEpochError, ConfirmationPendingError, ArgumentError,
        ResourceError, NoPortError, StoreError: then nothing has changed.
        """
        conditions = Conditions(etag, validate_only, confirm_within_s, comment, leader_epoch)
        return await self._exclusive(self._change(Order(text, allow_unsupported, file), conditions, told=told))

    async def patch(
        self,
        edits: Sequence[Edit],
        *,
        etag: str,
        validate_only: bool = False,
        allow_unsupported: bool = False,
        confirm_within_s: float | None = None,
        comment: str = "",
        leader_epoch: int = 0,
        told: bool = True,
    ) -> Applied:
        """Change single objects; ``told`` as for :meth:`apply`.  Raises what that does, MissingEtagError and
        ObjectUnknownError."""
        if not etag:
            raise MissingEtagError("a patch needs the etag of the configuration that it is made to")
        conditions = Conditions(etag, validate_only, confirm_within_s, comment, leader_epoch)
        return await self._exclusive(self._change(Order(tuple(edits), allow_unsupported), conditions, told=told))

    async def rollback(
        self,
        number: int = 0,
        *,
        etag: str = "",
        validate_only: bool = False,
        confirm_within_s: float | None = None,
        comment: str = "",
        leader_epoch: int = 0,
    ) -> Applied:
        """Apply an earlier revision again as a new one; 0: the one before the running one.  Raises what :meth:`apply`
        does, and RevisionUnknownError."""
        conditions = Conditions(etag, validate_only, confirm_within_s, comment, leader_epoch)
        return await self._exclusive(self._rollback(number, conditions))

    async def _rollback(self, number: int, conditions: Conditions) -> Applied:
        try:
            found = await self._to_restore(number, conditions)
        except EdgeError:
            if not conditions.validate_only:
                self.applies["refused"] += 1
            raise
        again = Base(found.etag, found.packed, found.allow_unsupported)
        return await self._change(Order(again, found.allow_unsupported), conditions, found.number)

    async def _to_restore(self, number: int, conditions: Conditions) -> StoredRevision:
        """The revision that is meant.  Raises RevisionUnknownError, and what :meth:`_admit` does."""
        self._admit(conditions)
        running = self._running.info.number
        if number:
            found = await asyncio.to_thread(self.store.get, number)
        else:
            found = await asyncio.to_thread(self.store.confirmed_before, running)
        if found is None:
            which = f"no revision {number} is stored" if number else f"there is none before revision {running}"
            raise RevisionUnknownError(which)
        return found

    async def manage(self, leader_epoch: int) -> int:
        """Obey no older leader from now on; the highest epoch that was known before.  Raises StaleEpochError,
        ArgumentError, StoreError."""
        conditions = Conditions("", False, None, "", leader_epoch)
        conditions.check()
        if not leader_epoch:
            raise ArgumentError("leader_epoch: expected 1 or more", [("leader_epoch", "expected 1 or more")])
        return await self._exclusive(self._manage(leader_epoch))

    async def _manage(self, leader_epoch: int) -> int:
        former = self._epoch
        self._check_epoch(leader_epoch)
        await self._note_epoch(leader_epoch)
        return former

    async def confirm(self, etag: str) -> RevisionInfo:
        """Keep a change that waits for it.  Raises MissingEtagError, EtagMismatchError,
        NothingPendingError, StoreError."""
        if not etag:
            raise MissingEtagError("a confirmation needs the etag of the configuration that is to stay")
        return await self._exclusive(self._confirm(etag))

    async def _confirm(self, etag: str) -> RevisionInfo:
        held, fallback = self._running, self._fallback
        if fallback is None:
            raise NothingPendingError("no change waits to be confirmed: it was confirmed already, or taken back")
        self._check_etag(etag)
        await asyncio.wrap_future(self.store.confirm(held.info.number))
        self._end_pending()
        info = replace(held.info, confirm_deadline_ns=None)
        self._held = replace(held, info=info)
        self._retire(fallback.config)
        self.events.add(ConfigChanged(time.time_ns(), info, ConfigCause.CONFIRMED))
        return info

    async def _change(
        self, order: Order, conditions: Conditions, restored_from: int = 0, *, told: bool = True
    ) -> Applied:
        """One change, from what is wanted to what runs; under the lock."""
        result: Result = "refused"
        drafted = None
        try:
            conditions.check()
            self._admit(conditions)
            held = self._running
            if isinstance(order.wanted, tuple):
                self._check_etag(conditions.etag)
            drafted = await self._workshop.draft(order, held.stored, held.known, held.config)
            self._check_etag(conditions.etag)
            if drafted.equal:
                result = "unchanged"
                return await self._unchanged(drafted, conditions, told=told)
            if not conditions.validate_only:
                result = "failed"
                held = await self._install(drafted, conditions, restored_from)
                result = "applied"
            warnings, changes = await drafted.told() if told else ([], [])
            return Applied(held.info, warnings, changes)
        finally:
            if not conditions.validate_only:
                self.applies[result] += 1
            if drafted is not None and drafted.config is not self._running.config:
                self._retire(drafted.config)

    def _admit(self, conditions: Conditions) -> None:
        """May this caller make a change now?"""
        self._check_epoch(conditions.leader_epoch)
        if self._fallback is not None:
            raise ConfirmationPendingError(
                f"revision {self._running.info.number} waits to be confirmed; until then nothing else changes"
            )

    def _check_epoch(self, epoch: int) -> None:
        if epoch == 0 and self._epoch:
            raise ManagedError("a control plane manages this edge; changes go through it")
        if epoch < self._epoch:
            raise StaleEpochError(f"leader {epoch} has been followed by leader {self._epoch}")

    def _check_etag(self, etag: str) -> None:
        running = self._running.info
        if etag and etag != running.etag:
            raise EtagMismatchError(
                f"the running configuration is revision {running.number}, etag {running.etag}, not {etag[:80]}"
            )

    async def _unchanged(self, drafted: Drafted, conditions: Conditions, *, told: bool) -> Applied:
        if not conditions.validate_only:
            await self._note_epoch(conditions.leader_epoch)
        warnings, _ = await drafted.told() if told else ([], [])
        return Applied(self._running.info, warnings, [])

    async def _install(self, drafted: Drafted, conditions: Conditions, restored_from: int) -> Held:
        """Prepare, store, swap: whatever fails does so before anything has changed."""
        before = self._running
        info = self._info(drafted.stored.etag, conditions, restored_from)
        prepared = await asyncio.to_thread(
            self.edge.prepare, drafted.config, tables=drafted.tables, revision=info.number
        )
        tables = None
        if info.confirm_deadline_ns is not None and drafted.tables is not None:
            tables = await asyncio.to_thread(compile_tables, before.config)
        await self._save(info, drafted.stored)
        self._number = info.number
        self._epoch = max(self._epoch, conditions.leader_epoch)
        known = None if self._workshop.is_large(drafted.stored) else drafted.known
        held = Held(info, drafted.stored, drafted.config, known)
        self._swap(prepared, held, ConfigCause.ROLLED_BACK if restored_from else ConfigCause.APPLIED)
        if conditions.confirm_within_s is not None:
            self._fallback = replace(before, tables=tables)
            loop = asyncio.get_running_loop()
            self._timer = loop.call_later(conditions.confirm_within_s, self._not_confirmed, info.number)
        else:
            self._retire(before.config)
        return held

    def _swap(self, prepared: Any, held: Held, cause: ConfigCause) -> None:
        reasons = self.edge.reasons_for_one
        with self.edge.turn():
            self.edge.commit(prepared)
            if self.forwarding is not None:
                self.forwarding.rebind(held.config)
        self._held = held
        self._tell_reasons(reasons)
        self.events.add(ConfigChanged(time.time_ns(), held.info, cause))
        merge = None if self._merging else self.edge.merging()
        if merge is not None:
            self._merging = True
            self._background(self._merge(merge))

    async def _merge(self, merge: Merge) -> None:
        """Make one table of what many small changes have laid over another, while more of them come."""
        try:
            await asyncio.to_thread(merge.build)
        except Exception:  # noqa: BLE001 - whatever it was: changes lie over the old table as before
            _log.exception("no table could be made of many small changes; they go on lying over the old one")
        finally:
            self._merging = False
        self.edge.merged(merge)

    def _info(self, etag: str, conditions: Conditions, restored_from: int) -> RevisionInfo:
        now = time.time_ns()
        within = conditions.confirm_within_s
        return RevisionInfo(
            number=self._number + 1,
            etag=etag,
            created_ns=now,
            comment=conditions.comment,
            confirm_deadline_ns=None if within is None else now + round(within * 1e9),
            leader_epoch=conditions.leader_epoch,
            restored_from=restored_from,
        )

    async def _save(self, info: RevisionInfo, stored: Base) -> None:
        fields = {name: getattr(info, name) for name in RevisionInfo.__dataclass_fields__}
        revision = StoredRevision(**fields, packed=stored.packed, allow_unsupported=stored.allow_unsupported)
        await asyncio.wrap_future(self.store.save(revision))

    async def _note_epoch(self, epoch: int) -> None:
        if epoch > self._epoch:
            await asyncio.wrap_future(self.store.note_epoch(epoch))
            self._epoch = epoch

    # ------------------------------------------------------------------ taking back

    def _not_confirmed(self, number: int) -> None:
        self._timer = None
        self._background(self._exclusive(self._take_back(number)))

    async def _take_back(self, number: int) -> None:
        """Nobody confirmed in time: run what ran before."""
        fallback, held = self._fallback, self._running
        if fallback is None or held.info.number != number:
            return
        try:
            prepared = await asyncio.to_thread(
                self.edge.prepare, fallback.config, tables=fallback.tables, revision=fallback.info.number
            )
            self._swap(prepared, replace(fallback, tables=None), ConfigCause.NOT_CONFIRMED)
        except Exception:  # noqa: BLE001 - whatever it was: what nobody confirmed must not stay
            _log.exception("revision %d could not be taken back; trying again", number)
            self._timer = asyncio.get_running_loop().call_later(RETRY_S, self._not_confirmed, number)
            return
        self._end_pending()
        self.applies["not_confirmed"] += 1
        self._retire(held.config)
        # Behind the swap: a full disk is no reason to go on with what nobody confirmed, and the next start does not.
        self._forget_failure(self.store.take_back(number))

    def _end_pending(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = None
        self._fallback = None

    def _forget_failure(self, future: Any) -> None:
        def told(done: Any) -> None:
            if done.exception() is not None:
                _log.error("a revision that was taken back could not be marked so: %s", done.exception())

        future.add_done_callback(told)

    # ------------------------------------------------------------------ tasks

    async def _exclusive(self, work: Coroutine[Any, Any, T]) -> T:
        """One at a time.  What has begun is carried through even if the caller goes away."""
        try:
            await self._lock.acquire()
        except BaseException:
            work.close()
            raise
        task = self._background(work)
        task.add_done_callback(lambda _: self._lock.release())
        return await asyncio.shield(task)

    def _background(self, work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._over)
        return task

    def _over(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if not task.cancelled():
            task.exception()  # whoever waits is told; if nobody does any more, so be it

    def _retire(self, config: EdgeConfig) -> None:
        self._background(retire(config))
