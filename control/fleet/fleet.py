"""The fleet of a control plane: waits for the leadership, reconciles while it lasts, waits again."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Collection, Coroutine, Mapping
from pathlib import Path
from typing import Any, Protocol

from control.fleet.access import EdgeAccess, EdgeRefusedError, HostAccess
from control.fleet.book import Book, LeadershipLostError, StoreBook, Wanted
from control.fleet.clearing import Clearing, StoreHosts
from control.fleet.embedded import EmbeddedEdge, EmbeddedEdges
from control.fleet.leader import PATIENCE_S, Leadership, leading
from control.fleet.plans import Plans
from control.fleet.reconciler import Reconciler, Watcher
from control.machines.cables import LinkProvider
from control.store import Reader, Store
from edge.errors import EdgeError, StoreError
from edge.gateway import Gateway


class RemoteAccess(EdgeAccess, HostAccess, Protocol):
    """What is elsewhere, whatever it is."""


Dial = Callable[[str, str], RemoteAccess]
"""Makes an access to the edge at an address, with the name that its certificate has to bear, '' without TLS.  Raises
EdgeErrors where that cannot be."""

AGAIN_S = 1.0
"""How long after a leadership has ended, or could not begin, the next one is tried for."""

_log = logging.getLogger(__name__)


class Attendant(Protocol):
    """Whoever looks after what is no edge, while this replica leads."""

    def start(self, epoch: int) -> None:
        """From now on; returns soon."""

    def pause(self) -> None:
        """No longer; when it returns, that is so."""


class Places:
    """Where edges are: in this process, or at their addresses."""

    def __init__(self, embedded: EmbeddedEdges, book: Book, dial: Dial) -> None:
        self._embedded = embedded
        self._dial = dial
        self._book = book

    async def open(self, wanted: Wanted, document: str | None) -> EdgeAccess | None:
        """See Edges."""
        if not wanted.address:
            return await self._embedded.open(wanted.uid, document, wanted.realized_etag)
        try:
            return self._dial(*wanted.place)
        except EdgeError as error:
            raise EdgeRefusedError(error.reason, str(error)) from None

    async def forget(self, wanted: Wanted) -> None:
        """See Edges."""
        await self._embedded.forget(wanted.uid)

    async def close(self) -> None:
        """When all of them are closed."""
        await self._embedded.close()

    async def tidy(self) -> None:
        """Remove what is left of edges that were deleted while nobody looked.  Raises StoreError."""
        left = await self._embedded.left()
        there = {wanted.uid for wanted in await asyncio.to_thread(lambda: self._book.edges(waiting=False))}
        for uid in left - there:
            await self._embedded.forget(uid)


class Fleet:
    """Belongs to one event loop, but for :meth:`wake`."""

    def __init__(
        self,
        store: Store,
        revisions: Path,
        plan_edge: Callable[[Reader, str], Mapping[str, Any]],
        watcher: Watcher,
        dial: Dial,
        *,
        plans: Plans | None = None,
        links: LinkProvider | None = None,
        machines: Attendant | None = None,
        patience_s: float = PATIENCE_S,
    ) -> None:
        """``dial`` reaches an edge at an address; ``revisions`` is the database of what edges in this process ran, and
        ``links`` says which interfaces these have, None: none; ``machines`` are looked after, too;
        ``patience_s``: see :mod:`control.fleet.leader`."""
        self._store = store
        self._revisions = revisions
        self._book = StoreBook(store, plan_edge, plans)
        self._plans = plans
        self._watcher = watcher
        self._dial = dial
        self._links = links
        self._machines = machines
        self._patience_s = patience_s
        self._loop: asyncio.AbstractEventLoop | None = None
        self._reconciler: Reconciler | None = None
        self.epoch = 0
        """That of this replica's leadership, 0 while another one leads."""

    def wake(self, edges: Collection[str]) -> None:
        """What these should have has been changed, and that is on the disk.  From any thread."""
        loop, paths = self._loop, tuple(edges)
        if self._plans is not None:
            self._plans.keep(paths if self.epoch else ())
        if loop is not None and not loop.is_closed():
            loop.call_soon_threadsafe(self._wake, paths)

    def _wake(self, paths: tuple[str, ...]) -> None:
        if self._reconciler is not None:
            self._reconciler.wake(paths)

    def gateway(self, path: str) -> Gateway | None:
        """An edge of this process that runs."""
        access = self._reconciler.access(path) if self._reconciler else None
        return access.gateway if isinstance(access, EmbeddedEdge) else None

    def running(self, path: str) -> tuple[str, bytes | None] | None:
        """What an edge runs, as far as is known here: the etag, and perhaps the packed document.  From any thread."""
        reconciler, gateway = self._reconciler, self.gateway(path)
        if gateway is not None:
            stored = gateway.stored
            return stored.etag, stored.packed
        return reconciler.running(path) if reconciler else None

    def agreed(self) -> int:
        """How many edges are known to run what they should; 0 where another replica leads.  From any thread."""
        reconciler = self._reconciler
        return reconciler.agreed if reconciler else 0

    async def run(self) -> None:
        """Until it is cancelled."""
        self._loop = asyncio.get_running_loop()
        while True:
            try:
                async with leading(self._store, patience_s=self._patience_s) as leadership:
                    await self._lead(leadership)
            except LeadershipLostError as error:
                _log.warning("this replica does not lead any more: %s", error)
            except StoreError as error:
                _log.warning("edges are not looked after: %s", error)
            await asyncio.sleep(AGAIN_S)

    async def _lead(self, leadership: Leadership) -> None:
        _log.info("this replica leads, epoch %d", leadership.epoch)
        places = Places(EmbeddedEdges(self._revisions, self._links), self._book, self._dial)
        try:
            await places.tidy()
            taken: set[str] = set()
            self._reconciler = Reconciler(self._book, places, leadership, self._watcher, taken=taken)
            self.epoch = leadership.epoch
            self._watcher.leads(True)
            if self._machines is not None:
                self._machines.start(leadership.epoch)
            hosts = Clearing(StoreHosts(self._store), self._dial, leadership, self._reconciler.pushes_to, taken)
            await _together(hosts.run(), self._reconciler.run())
        finally:
            self._watcher.leads(False)
            self.epoch, self._reconciler = 0, None
            try:
                await places.close()
            finally:
                if self._machines is not None:
                    await asyncio.to_thread(self._machines.pause)


async def _together(*works: Coroutine[Any, Any, None]) -> None:
    """Until all have ended, or one with an error: that ends the others, and is raised.  Of several it is the first's in
    the order given."""
    tasks = [asyncio.create_task(work) for work in works]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_EXCEPTION)
    finally:
        for task in tasks:
            task.cancel()
        ended = await asyncio.gather(*tasks, return_exceptions=True)
    for error in ended:
        if isinstance(error, BaseException) and not isinstance(error, asyncio.CancelledError):
            raise error
