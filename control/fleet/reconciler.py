"""Edges are kept at what the store says of them, again and again, until both agree.

One push an edge at a time, several edges at once; what changes during a push is pushed after it.  Whoever fails is
tried again later, and later each time.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import math
import random
import time
from collections.abc import Awaitable, Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any, Final, Protocol

from control.fleet.access import Current, EdgeAccess, EdgeRefusedError, EdgeUnreachableError
from control.fleet.book import DRIFTED, Book, LeadershipLostError, Outcome, Planned, Wanted, followed
from control.fleet.clearing import NOBODY
from control.fleet.edits import edits_between
from control.fleet.leader import Leadership
from edge.errors import EdgeError, EtagMismatchError, StaleEpochError, StoreError
from edge.gateway.draft import etag_of
from edge.gateway.stored_text import as_json
from edge.patch import Edit
from edge.store.revision import packed, unpacked

POLL_S: Final = 0.25
"""How often the store is asked which edges wait."""

LIST_S: Final = 5.0
"""How often it is asked for all of them."""

LOOK_S: Final = (2.0, 4.0)
"""How long after each other an edge is looked at, whether it still runs what it should."""

BACKOFF_S: Final = (0.1, 30.0)
"""How long after a failure the next attempt comes: at first, and at most."""

TOGETHER_S: Final = 0.02
"""Those that are due so soon after each other are looked at together, unless somebody has woken one."""

PLANS: Final = 2
"""Documents that are planned at a time: it takes the processor, and nothing else."""

_log = logging.getLogger(__name__)


class Edges(Protocol):
    """Where the reconciler gets at edges."""

    async def open(self, wanted: Wanted, document: str | None) -> EdgeAccess | None:
        """The edge; None for one that is new, as long as there is no document to begin with.  Raises what EdgeAccess
        does."""

    async def forget(self, wanted: Wanted) -> None:
        """Remove what is left of an edge that was deleted."""


class Watcher(Protocol):
    """Whoever counts."""

    def pushed(self, kind: str, result: str, seconds: float) -> None:
        """A push has ended; ``kind``: PATCH or WHOLE, ``result``: OK, REFUSED, UNREACHABLE or MISMATCH."""

    def realized(self, lag_s: float) -> None:
        """An edge has what it should, so long after somebody wanted it."""

    def failed(self, reason: str) -> None:
        """An edge has not."""

    def drifted(self) -> None:
        """An edge ran something that nobody wanted."""

    def leads(self, leads: bool) -> None:
        """This replica looks after the edges, or does not any more."""


@dataclass(slots=True)
class _Tended:
    """An edge, and where things stand with it.

    ``known``: what was pushed last, its etag and the packed document; ``seen``: the etag of
    what it ran when it was reached last, '' if it could not be; ``stale``: the store says something newer than
    ``wanted``; ``agrees``: it was seen to run what it should, when it was looked at last; ``due``: when that is to be
    next, ``told``: when an outcome was last written down, both on the loop's clock.
    """

    wanted: Wanted
    due: float = 0.0
    told: float = -math.inf
    access: EdgeAccess | None = None
    known: tuple[str, bytes] | None = None
    busy: asyncio.Task[None] | None = None
    seen: str = ""
    stale: bool = False
    agrees: bool = False
    failures: int = 0

    @property
    def as_it_should(self) -> bool:
        """Is there nothing to do, as far as can be told at once?"""
        wanted = self.wanted
        if self.access is None or self.stale or not self.agrees or wanted.status != "REALIZED":
            return False
        return wanted.desired == wanted.realized and self.access.runs() == wanted.realized_etag != ""


class Reconciler:
    """The leader's work.  Belongs to one event loop."""

    def __init__(
        self,
        book: Book,
        edges: Edges,
        leadership: Leadership,
        watcher: Watcher,
        *,
        taken: Collection[str] = (),
        rng: random.Random | None = None,
        wall_ns: Callable[[], int] = time.time_ns,
    ) -> None:
        """``taken``: the addresses at which somebody else is at work just now; nothing is begun there."""
        self._book = book
        self._edges = edges
        self._leadership = leadership
        self._watcher = watcher
        self._taken = taken
        self._rng = rng or random.Random()  # noqa: S311 - only spreads the load
        self._wall_ns = wall_ns
        self._tended: dict[str, _Tended] = {}
        self._closing: set[asyncio.Task[None]] = set()
        self._planning = asyncio.Semaphore(PLANS)
        # Those of this process one after another: threads that all want the interpreter take a quarter longer on two
        # processors than on one.
        self._opening = asyncio.Semaphore(1)
        self._outcomes: list[tuple[Outcome, asyncio.Future[None]]] = []
        self._told = asyncio.Event()
        self._woken = asyncio.Event()
        self._unknown = False
        self._list_due = 0.0
        self._away = False
        self._lost: LeadershipLostError | None = None

    # ------------------------------------------------------------------ from outside

    def wake(self, edges: Collection[str]) -> None:
        """These have just been changed; on the loop's own thread."""
        for path in edges:
            tended = self._tended.get(path)
            if tended is not None:
                tended.due = 0.0
                tended.stale = True
            else:
                self._unknown = True
        self._woken.set()

    def access(self, path: str) -> EdgeAccess | None:
        """The edge as it is reached at the moment."""
        tended = self._tended.get(path)
        return tended.access if tended else None

    def running(self, path: str) -> tuple[str, bytes | None] | None:
        """What an edge was seen to run, None if it cannot be reached: the etag, and the packed document if that is
        known here.  From any thread."""
        tended = self._tended.get(path)
        if tended is None or not tended.seen:
            return None
        known = tended.known
        return tended.seen, known[1] if known is not None and known[0] == tended.seen else None

    def pushes_to(self, address: str) -> bool:
        """May something be on its way to an edge there?"""
        return any(tended.busy and tended.wanted.address == address for tended in self._tended.values())

    @property
    def agreed(self) -> int:
        """How many edges run what they should, as far as is known."""
        return sum(tended.agrees for tended in list(self._tended.values()))

    async def run(self) -> None:
        """Until it is cancelled.  Raises LeadershipLostError."""
        writing = asyncio.create_task(self._write())
        try:
            await self._follow()
        finally:
            tasks = [tended.busy for tended in self._tended.values() if tended.busy] + list(self._closing)
            for task in (writing, *tasks):
                task.cancel()
            await asyncio.gather(writing, *tasks, return_exceptions=True)
            for _, future in self._outcomes:
                future.cancel()
            await asyncio.gather(*(self._let_go(tended) for tended in self._tended.values()))

    async def _follow(self) -> None:
        """Ask the store again and again, and look after whoever is due."""
        loop = asyncio.get_running_loop()
        while True:
            asked = loop.time()
            whole = asked >= self._list_due
            try:
                found = await asyncio.to_thread(self._book.edges, waiting=not whole)
                await self._leadership.check()
            except StoreError as error:
                if not self._away:
                    _log.warning("edges are not looked after: %s", error)
                self._away = True
                await asyncio.sleep(1.0)
                continue
            self._away = False
            if whole:
                self._list_due = loop.time() + LIST_S
            self._learn(found, asked, whole=whole)
            await self._look_after(loop.time() + POLL_S)

    async def _look_after(self, until: float) -> None:
        """Whoever is due, until the store is to be asked again."""
        loop = asyncio.get_running_loop()
        self._unknown = False
        while loop.time() < until and not self._unknown:
            if self._lost is not None:
                raise self._lost
            self._woken.clear()
            self._begin(loop.time())
            soonest = min((tended.due for tended in self._tended.values() if tended.busy is None), default=until)
            soonest = max(soonest, loop.time() + TOGETHER_S)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout_at(min(soonest, until)):
                    await self._woken.wait()

    def _learn(self, found: list[Wanted], asked: float, *, whole: bool) -> None:
        """What the store said when it was asked, at that time on the loop's clock."""
        for wanted in found:
            tended = self._tended.get(wanted.path)
            if tended is not None and tended.wanted.uid != wanted.uid:
                self._drop(tended)
                tended = None
            if tended is None:
                self._tended[wanted.path] = _Tended(wanted)
                continue
            if wanted.desired > tended.wanted.desired:
                tended.due, tended.stale, tended.failures = 0.0, True, 0
            if tended.busy is None and tended.told < asked:  # else it was read before what is known
                if wanted.place != tended.wanted.place:
                    tended.due, tended.stale, tended.failures = 0.0, True, 0
                    self._close(tended)
                tended.wanted = wanted
        if whole:
            there = {wanted.path for wanted in found}
            for path in [path for path in self._tended if path not in there]:
                self._drop(self._tended[path])

    def _drop(self, tended: _Tended) -> None:
        """An edge that is no more."""
        del self._tended[tended.wanted.path]

        async def end() -> None:
            if tended.busy is not None:
                tended.busy.cancel()
                await asyncio.wait([tended.busy])
            await self._let_go(tended)
            await self._edges.forget(tended.wanted)

        task = asyncio.create_task(end())
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)

    def _close(self, tended: _Tended) -> None:
        """Another address: the former one is let go."""
        former, tended.access, tended.known = tended.access, None, None
        tended.seen, tended.agrees = "", False
        if former is not None:
            task = asyncio.create_task(former.close())
            self._closing.add(task)
            task.add_done_callback(self._closing.discard)

    async def _let_go(self, tended: _Tended) -> None:
        access, tended.access = tended.access, None
        if access is not None:
            try:
                await access.close()
            except Exception:  # noqa: BLE001 - the others are to be closed too
                _log.exception("%s could not be closed", tended.wanted.path)

    def _begin(self, now: float) -> None:
        for tended in self._tended.values():
            if tended.busy is not None or tended.due > now:
                continue
            if tended.as_it_should:
                tended.due = now + self._rng.uniform(*LOOK_S)
            elif tended.wanted.address in self._taken:
                tended.due = now + POLL_S
            else:
                tended.busy = asyncio.create_task(self._tend(tended))

    # ------------------------------------------------------------------ one edge

    async def _tend(self, tended: _Tended) -> None:
        """Compare, push if need be, write down what came of it."""
        loop = asyncio.get_running_loop()
        failed: tuple[str, str, bool] | None = None
        try:
            await self._agree(tended)
            tended.agrees = not tended.stale
        except (LeadershipLostError, StaleEpochError) as error:
            self._lost = self._lost or LeadershipLostError(str(error))
            self._woken.set()
        except StoreError as error:
            _log.warning("%s: %s", tended.wanted.path, error)
            tended.failures += 1
        except EtagMismatchError:
            tended.failures += 1  # it has been changed just now: it is looked at again
        except EdgeUnreachableError as error:
            failed = error.reason, str(error), False
        except EdgeError as error:
            failed = error.reason, str(error), True
        except Exception:  # noqa: BLE001 - a bug must not keep other edges waiting
            _log.exception("a bug of the control plane keeps %s from what it should be", tended.wanted.path)
            failed = "INTERNAL", "a bug of the control plane; its log has the traceback", True
        else:
            tended.failures = 0
        finally:
            if failed is not None:
                await self._fail(tended, *failed)
            tended.busy = None
            self._plan_next(tended, loop.time())

    def _plan_next(self, tended: _Tended, now: float) -> None:
        if tended.failures:
            first, most = BACKOFF_S
            delay = min(most, first * 2 ** min(tended.failures - 1, 20))
            tended.due = now + delay * self._rng.uniform(0.5, 1.0)
        elif tended.stale:
            tended.due = now
            self._woken.set()
        else:
            tended.due = now + self._rng.uniform(*LOOK_S)

    async def _fail(self, tended: _Tended, reason: str, message: str, refused: bool) -> None:
        tended.failures += 1
        tended.agrees = False
        if not refused:
            tended.seen = ""
        self._watcher.failed(reason)
        status = "ERROR" if refused else "PENDING"
        wanted = tended.wanted
        if (wanted.status, wanted.reason) == (status, reason):
            return  # it is written down already
        # Tenants are told a sentence: what hosts say is for whoever runs them.
        _log.warning("%s: %s: %s", wanted.path, reason, message)
        told = Outcome(wanted.path, wanted.uid, wanted.desired, reason=reason, message=message[:1_000], failed=refused)
        try:
            await self._tell(tended, told)
        except (StoreError, LeadershipLostError) as error:
            _log.warning("%s: %s", wanted.path, error)

    async def _agree(self, tended: _Tended) -> None:
        """Raises what EdgeAccess does, StoreError, LeadershipLostError."""
        epoch = self._leadership.epoch
        wanted = tended.wanted
        planned: Planned | None = None
        opened = False
        if tended.access is None:
            async with contextlib.nullcontext() if wanted.address else self._opening:
                tended.access = await self._edges.open(wanted, None)
                if tended.access is None:
                    planned = await self._planned(tended)
                    if planned is None:
                        return
                    await self._leadership.check()
                    tended.access = await self._edges.open(planned.wanted, as_json(planned.document))
                    assert tended.access is not None, "an edge with a document can be opened"
                    opened = True
        current = await tended.access.current(epoch)
        tended.seen = current.etag
        wanted = tended.wanted
        if not tended.stale and wanted.desired == wanted.realized and current.etag == wanted.realized_etag:
            if wanted.status != "REALIZED":
                await self._tell(tended, Outcome(wanted.path, wanted.uid, wanted.realized, current.etag))
            return
        planned = planned or await self._planned(tended)
        if planned is None:
            return  # where it was before it may run anything
        wanted = tended.wanted
        if tended.agrees and current.etag != wanted.realized_etag:
            _log.warning("%s runs what nobody wanted: it is made what it should be", wanted.path)
            text = "it ran something that nobody wanted, and is changed back"
            await self._tell(tended, Outcome(wanted.path, wanted.uid, wanted.realized, reason=DRIFTED, message=text))
            self._watcher.drifted()
            tended.agrees = False  # it is one drift, however often it is tried
        etag = tended.seen = await self._made(tended, planned, current, opened=opened)
        tended.agrees = False  # until that is written down: another etag is no drift
        done = Outcome(planned.wanted.path, planned.wanted.uid, planned.wanted.desired, etag)
        await self._tell(tended, done)
        self._watcher.realized(max(self._wall_ns() - planned.wanted.desired_ns, 0) / 1e9)

    async def _planned(self, tended: _Tended) -> Planned | None:
        async with self._planning:
            tended.stale = False
            planned = await asyncio.to_thread(self._book.plan, tended.wanted.path)
        if planned is None or planned.wanted.uid != tended.wanted.uid:
            self._list_due, self._unknown = 0.0, True  # it was deleted: the list says so
            return None
        moved = planned.wanted.place != tended.wanted.place
        tended.wanted = planned.wanted
        if moved:
            # What is open is where it was before: it is opened anew where it is now.
            self._close(tended)
            tended.stale = True
            return None
        return planned

    async def _made(self, tended: _Tended, planned: Planned, current: Current, *, opened: bool) -> str:
        """The edge runs what is planned: the etag of it.  ``opened`` with that document: nobody need compare."""
        _check_identity(planned.document, current)
        if opened and current.number == 1:
            return current.etag  # it has just begun, with this
        etag = await asyncio.to_thread(etag_of, planned.document)
        if current.etag != etag:
            etag = await self._pushed(tended, planned, current, etag)
        if tended.access is not None and tended.access.document() is None:
            tended.known = etag, packed(as_json(planned.document))
        return etag

    async def _pushed(self, tended: _Tended, planned: Planned, current: Current, etag: str) -> str:
        access, epoch = tended.access, self._leadership.epoch
        assert access is not None
        edits, base = None, access.document()
        if base is None and tended.known is not None and tended.known[0] == current.etag:
            base = tended.known[1]
        if base is not None:
            edits = await asyncio.to_thread(_edits, base, planned.document)
        tended.known = None
        if edits:
            try:
                found = await self._push("PATCH", lambda: access.patch(edits, current.etag, epoch))
            except EdgeRefusedError as error:
                # Edits that cannot be made are a matter of how it is said: the whole document says it too.
                _log.info("%s: a patch is refused, the whole document is sent: %s", planned.wanted.path, error)
            else:
                if found == etag:
                    return found
                current = await access.current(epoch)
        return await self._push("WHOLE", lambda: access.apply(as_json(planned.document), current.etag, epoch))

    async def _push(self, kind: str, push: Callable[[], Awaitable[str]]) -> str:
        await self._leadership.check()
        began = time.perf_counter()
        result = "REFUSED"
        try:
            etag = await push()
            result = "OK"
            return etag
        except EtagMismatchError:
            result = "MISMATCH"
            raise
        except EdgeUnreachableError:
            result = "UNREACHABLE"
            raise
        finally:
            self._watcher.pushed(kind, result, time.perf_counter() - began)

    # ------------------------------------------------------------------ outcomes

    async def _tell(self, tended: _Tended, outcome: Outcome) -> None:
        """Have an outcome written down, with those of other edges."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[None] = loop.create_future()
        self._outcomes.append((outcome, future))
        self._told.set()
        await future
        tended.told = loop.time()
        tended.wanted = followed(tended.wanted, outcome)

    async def _write(self) -> None:
        while True:
            await self._told.wait()
            self._told.clear()
            batch, self._outcomes = self._outcomes, []
            try:
                await self._leadership.check()
                await asyncio.to_thread(self._book.tell, self._leadership.epoch, [outcome for outcome, _ in batch])
            except Exception as error:  # noqa: BLE001 - whoever waits is told
                for _, future in batch:
                    if not future.done():
                        future.set_exception(error)
                continue
            except BaseException:
                for _, future in batch:
                    future.cancel()
                raise
            for _, future in batch:
                if not future.done():
                    future.set_result(None)


def _edits(base: bytes, wanted: Mapping[str, Any]) -> list[Edit] | None:
    return edits_between(json.loads(unpacked(base)), wanted)


def _check_identity(document: Mapping[str, Any], current: Current) -> None:
    """No edge gets another one's document.  Raises EdgeRefusedError."""
    wanted = document["edgeGateway"]["id"]
    if current.former_epoch and current.gateway_id not in (wanted, NOBODY):
        raise EdgeRefusedError("OTHER_EDGE", f"what answers there is the edge {current.gateway_id}, not {wanted}")
