"""Edges in the control plane's own process, on ports in memory."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from control.fleet.access import Current, EdgeRefusedError
from control.fleet.revisions import Revisions
from control.machines.cables import LinkProvider
from edge.errors import DocumentError, EdgeError, EtagMismatchError, StaleEpochError, StoreError
from edge.forwarder import Forwarder
from edge.gateway import Gateway
from edge.patch import Edit

EVENTS_S: Final = 30.0
"""How often each is asked for events: nobody reads them, and a thousand edges are many."""

_log = logging.getLogger(__name__)


@contextlib.contextmanager
def _told() -> Iterator[None]:
    """Whatever an edge refuses for is told as such."""
    try:
        yield
    except (EtagMismatchError, StaleEpochError):
        raise
    except EdgeError as error:
        raise EdgeRefusedError(error.reason, str(error)) from None


class EmbeddedEdge:
    """A gateway of this process as the control plane reaches it."""

    def __init__(self, gateway: Gateway, forwarder: Forwarder | None = None) -> None:
        self.gateway = gateway
        self._forwarder = forwarder

    async def current(self, epoch: int) -> Current:
        """See EdgeAccess."""
        running = self.gateway.running
        return Current(running.etag, running.number, self.gateway.edge.config.id, former_epoch=epoch)

    async def apply(self, text: str, etag: str, epoch: int) -> str:
        """See EdgeAccess."""
        with _told():
            return (await self.gateway.apply(text, etag=etag, leader_epoch=epoch, told=False)).revision.etag

    async def patch(self, edits: Sequence[Edit], etag: str, epoch: int) -> str:
        """See EdgeAccess."""
        with _told():
            return (await self.gateway.patch(edits, etag=etag, leader_epoch=epoch, told=False)).revision.etag

    def runs(self) -> str:
        """See EdgeAccess."""
        return self.gateway.running.etag

    def document(self) -> bytes | None:
        """See EdgeAccess."""
        return self.gateway.stored.packed

    async def close(self) -> None:
        """See EdgeAccess."""
        if self._forwarder is not None:
            self.gateway.forwarding = None
            await asyncio.to_thread(self._forwarder.stop)
        await self.gateway.close()


class EmbeddedEdges:
    """Those whose revisions are in a database, each under its uid, so that none ever runs what another one with its
    name ran.  Belongs to one event loop."""

    def __init__(self, path: Path, links: LinkProvider | None = None) -> None:
        """``links`` says which interfaces they have; None: their ports are in memory.  Raises StoreError."""
        self._links = links
        self._revisions = Revisions(path)

    async def open(self, uid: str, document: str | None, etag: str = "") -> EmbeddedEdge | None:
        """The edge as it ran last, or a new one that runs ``document``; None if there is no document and it is new or
        has run anything but ``etag`` since: elsewhere, or while another replica led.

        Raises EdgeRefusedError.
        """
        store = self._revisions.of(uid)
        with _told():
            if document is None:
                last = await asyncio.to_thread(store.page, None, 1)
                if not last:
                    return None
                if last[0].etag != etag:
                    await self.forget(uid)
                    return None
            gateway = Gateway(store, idle_period_s=EVENTS_S)
            try:
                await gateway.start(document or "")
            except (DocumentError, StoreError) as error:
                await gateway.close()
                if document is not None:
                    raise
                _log.warning("%s begins anew, its revisions cannot be used: %s", uid, error)
                await self.forget(uid)
                return None
            except BaseException:
                await gateway.close()
                raise
            if self._links is None:
                return EmbeddedEdge(gateway)
            return EmbeddedEdge(gateway, await self._forwarding(gateway, self._links))

    async def _forwarding(self, gateway: Gateway, links: LinkProvider) -> Forwarder:
        """It forwards from now on.  Raises PortError; it is closed then."""
        forwarder = Forwarder(gateway.edge, [], links.port)
        try:
            await asyncio.to_thread(forwarder.start)
        except BaseException:
            await gateway.close()
            raise
        gateway.forwarding = forwarder
        return forwarder

    async def forget(self, uid: str) -> None:
        """Remove what is left of an edge that was closed and is to be no more."""
        await asyncio.wrap_future(self._revisions.forget(uid))

    async def left(self) -> set[str]:
        """The uids of all that have ever run here.  Raises StoreError."""
        return await asyncio.to_thread(self._revisions.edges)

    async def close(self) -> None:
        """When all of them are closed."""
        await asyncio.to_thread(self._revisions.close)
