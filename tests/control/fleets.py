"""A control plane in the test's own process with its fleet in a thread beside it."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Collection, Iterator
from functools import partial
from pathlib import Path
from time import time_ns
from typing import Any

from control.access.authority import OwnCertificate, authority_of
from control.api.dispatch import Dispatcher
from control.api.remote_edge import dialled
from control.checking import checked, planned
from control.fleet.fleet import Fleet
from control.fleet.plans import Plans
from control.serving import EDGES
from edge.gateway import Gateway
from tests.control.paper import Counts
from tests.control.world import World
from tests.waiting import wait_for


class Manned(World):
    """A world whose edges run."""

    def __init__(self, data: Path, database: str = "") -> None:
        self.fleet: Fleet | None = None
        self.counts = Counts()
        super().__init__(data, database)

    def open(self) -> None:
        super().open()
        plans = Plans(checked)
        self.fleet = Fleet(
            self.store,
            self.data / EDGES,
            planned,
            self.counts,
            partial(dialled, own=OwnCertificate(lambda: authority_of(self.store, self.vault), time_ns, server=False)),
            plans=plans,
            patience_s=2.0,
        )
        self.dispatcher = Dispatcher(self.store, self.vault, self.passwords, self, check=plans.check, fleet=self.fleet)
        self._started = threading.Event()
        self._thread = threading.Thread(target=asyncio.run, args=(self._run(),), daemon=True)
        self._thread.start()
        self._started.wait()

    async def _run(self) -> None:
        assert self.fleet is not None
        self._loop = asyncio.get_running_loop()
        self._task = asyncio.create_task(self.fleet.run())
        self._started.set()
        with contextlib.suppress(asyncio.CancelledError):
            await self._task

    def close(self) -> None:
        self._loop.call_soon_threadsafe(self._task.cancel)
        self._thread.join()
        super().close()

    def realize(self, edges: Collection[str]) -> None:
        """By itself."""
        if self.fleet is not None:
            self.fleet.wake(edges)

    def agree(self) -> bool:
        """Has every edge what it should?"""
        with self.store.read() as state:
            return not set(state.edge_counts()) - {"REALIZED"}

    def settled(self) -> None:
        """Wait until that is so."""
        wait_for("every edge has what it should", self.agree)

    def gateway(self, edge: str) -> Gateway:
        """An edge that runs in this process."""
        fleet = self.fleet
        assert fleet is not None
        found: Gateway = wait_for(f"{edge} runs", lambda: fleet.gateway(edge))
        return found

    def trace(self, edge: str, packet: str) -> Any:
        """What an edge would do with a packet."""
        work = self.gateway(edge).trace([packet], ignore_sessions=True)
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(30).results[0]


@contextlib.contextmanager
def manned(data: Path, database: str = "") -> Iterator[Manned]:
    """Until the end of the block."""
    found = Manned(data, database)
    try:
        yield found
    finally:
        found.close()
