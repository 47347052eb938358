"""Gateways for tests: small ones, and stores that fail on request."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from concurrent.futures import Future
from contextlib import asynccontextmanager
from typing import Any

from edge.errors import StoreError
from edge.gateway import Gateway
from edge.gateway.workshop import Workshop
from edge.store import MemoryStore, StoredRevision
from tests.support import SAMPLE

OTHER = SAMPLE.replace("actionValue: ALLOW, ipProtocol: IPV4", "actionValue: REJECT, ipProtocol: IPV4")
THIRD = SAMPLE.replace("priority: 10}", "priority: 11}")
WEB = "tcp 198.51.100.99:40000 > 203.0.113.11:80 S"


class FailingStore(MemoryStore):
    """A store whose disk is full while ``full``."""

    full = False

    def save(self, revision: StoredRevision) -> Future[None]:
        if self.full:
            failed: Future[None] = Future()
            failed.set_exception(StoreError("revisions.sqlite3: database or disk is full"))
            return failed
        return super().save(revision)

    def take_back(self, number: int) -> Future[None]:
        if self.full:
            failed: Future[None] = Future()
            failed.set_exception(StoreError("revisions.sqlite3: database or disk is full"))
            return failed
        return super().take_back(number)


@asynccontextmanager
async def served(text: str = SAMPLE, store: Any = None, **options: Any) -> AsyncIterator[Gateway]:
    """A gateway that has started; ``large`` lets its helper read whatever is longer."""
    large = options.pop("large", 1 << 20)
    gateway = Gateway(store, seed=1, workshop=Workshop(large_text=large, large_stored=large), **options)
    try:
        await gateway.start(text)
        yield gateway
    finally:
        await gateway.close()


def run(test: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """A test's own event loop."""
    asyncio.run(test())


async def verdict(gateway: Gateway) -> str:
    """What becomes of the connection ``WEB``."""
    traced = await gateway.trace([WEB])
    return traced.results[0].verdict.name
