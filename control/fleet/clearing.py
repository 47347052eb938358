"""Where edges were that are elsewhere by now, or nowhere, nothing is forwarded any more.

The store has the list of such hosts.  Each is asked what it runs, again and again, until that is not the edge that was
there: if it is, it gets a document of nobody's that has nothing.  Whoever serves another edge by then is left alone, as
its document has another id and another etag.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Protocol

from control.fleet.access import HostAccess
from control.fleet.book import RECONCILER, LeadershipLostError, check_epoch
from control.fleet.leader import Leadership
from control.planner import object_id
from control.store import Store
from control.store.records import FormerHost
from edge.errors import EdgeError, EtagMismatchError, StoreError
from edge.gateway.stored_text import as_json

ASK_S: Final = 1.0
"""How often the store is asked for hosts to be cleared."""

BACKOFF_S: Final = (0.25, 30.0)
"""How long after a failure the next attempt comes: at first, and at most."""

AT_ONCE: Final = 8
"""So many hosts are asked at a time."""

NOBODY: Final = "00000000-0000-0000-0000-000000000000"
"""The id of the edge gateway in a document without an edge: whoever has it may become any."""

_SUBNET: Final = {"gateway": "192.0.2.1", "prefixLength": 30, "primaryIp": "192.0.2.2"}  # of RFC 5737: nobody's
_UPLINK: Final = {"uplinkId": NOBODY.replace("0", "f"), "uplinkName": "cleared", "subnets": [_SUBNET]}
_EMPTY: Final = {
    # Without any port there would be no edge: this one leads nowhere.
    "edgeGateway": {"id": NOBODY, "name": "cleared", "edgeGatewayUplinks": [_UPLINK]},
    "options": {"sessionsOnChange": "FLUSH"},
}
_log = logging.getLogger(__name__)


class HostBook(Protocol):
    """From any thread.  Every method raises StoreError."""

    def former(self) -> list[FormerHost]:
        """All that are to be cleared."""

    def waits(self, host: FormerHost) -> bool:
        """Is it still to be cleared?  Not if the edge is there again, or was and has left it anew."""

    def cleared(self, epoch: int, host: FormerHost) -> None:
        """Nothing is left there.  Raises LeadershipLostError."""

    def not_cleared(self, epoch: int, host: FormerHost, reason: str, message: str) -> None:
        """It could not be done.  Raises LeadershipLostError."""


class StoreHosts:
    """The book that is the store."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def former(self) -> list[FormerHost]:
        """See HostBook."""
        with self._store.read() as state:
            return state.former_hosts()

    def waits(self, host: FormerHost) -> bool:
        """See HostBook."""
        with self._store.read() as state:
            found = state.former_hosts(host.edge)
        return (host.address, host.since_ns) in {(other.address, other.since_ns) for other in found}

    def cleared(self, epoch: int, host: FormerHost) -> None:
        """See HostBook."""
        with self._store.write(RECONCILER) as unit:
            check_epoch(unit, epoch)
            if unit.forget_former_host(host.edge, host.address):
                unit.event("EDGE_HOST_CLEARED", host.edge)

    def not_cleared(self, epoch: int, host: FormerHost, reason: str, message: str) -> None:
        """See HostBook."""
        with self._store.write(RECONCILER) as unit:
            check_epoch(unit, epoch)
            if unit.not_cleared(host, reason, message):
                unit.event("EDGE_HOST_NOT_CLEARED", host.edge, reason=reason)


@dataclass(slots=True)
class _State:
    """How often a host was tried in vain, what the store knows of that, and when it is tried again, on the loop's
    clock."""

    told: str
    failures: int = 0
    due: float = 0.0
    busy: asyncio.Task[None] | None = None


class Clearing:
    """The leader's work besides the edges.  Belongs to one event loop."""

    def __init__(
        self,
        book: HostBook,
        dial: Callable[[str, str], HostAccess],
        leadership: Leadership,
        busy: Callable[[str], bool],
        taken: set[str],
        *,
        rng: random.Random | None = None,
    ) -> None:
        """``dial`` reaches what is at an address, by the name of its certificate.  ``busy``: may something be on its
        way to an edge at this address?  Then it is not its turn.  ``taken`` has the addresses that something is sent
        to from here, as long as that lasts: nobody else begins there."""
        self._book = book
        self._dial = dial
        self._leadership = leadership
        self._busy = busy
        self._taken = taken
        self._rng = rng or random.Random()  # noqa: S311 - only spreads the load
        self._states: dict[tuple[str, str], _State] = {}
        self._at_once = asyncio.Semaphore(AT_ONCE)
        self._lost = False

    async def run(self) -> None:
        """Until it is cancelled, or the leadership has ended."""
        try:
            while not self._lost:
                try:
                    self._begin(await asyncio.to_thread(self._book.former))
                except StoreError as error:
                    _log.warning("no hosts are cleared: %s", error)
                await asyncio.sleep(ASK_S)
        finally:
            tasks = [state.busy for state in self._states.values() if state.busy]
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    def _begin(self, found: list[FormerHost]) -> None:
        now = asyncio.get_running_loop().time()
        there = {(host.edge, host.address): host for host in found}
        known = {key: state for key, state in self._states.items() if key in there or state.busy}
        self._states = known | {key: _State(host.reason) for key, host in there.items() if key not in known}
        for key, host in there.items():
            state = self._states[key]
            if state.busy is None and state.due <= now and not self._busy(host.address):
                state.busy = asyncio.create_task(self._try(host, state))

    async def _try(self, host: FormerHost, state: _State) -> None:
        try:
            async with self._at_once:
                if not await self._clear(host):
                    return  # the next list says what is to be done
            await asyncio.to_thread(self._book.cleared, self._leadership.epoch, host)
            _log.info("what %s has left at %s is cleared", host.edge, host.address)
        except LeadershipLostError:
            self._lost = True  # whoever looks after the edges sees it, too
        except EtagMismatchError:
            self._later(state)  # it has been changed just now: it is looked at again
        except StoreError as error:
            _log.warning("%s, %s: %s", host.edge, host.address, error)
            self._later(state)
        except EdgeError as error:
            await self._fail(host, state, error.reason, str(error)[:1_000])
        except Exception:  # noqa: BLE001 - a bug must not keep other hosts waiting
            _log.exception("a bug of the control plane keeps what %s has left from being cleared", host.edge)
            await self._fail(host, state, "INTERNAL", "a bug of the control plane; its log has the traceback")
        finally:
            state.busy = None

    def _later(self, state: _State) -> None:
        first, most = BACKOFF_S
        delay = min(most, first * 2 ** min(state.failures, 20))
        state.failures += 1
        state.due = asyncio.get_running_loop().time() + delay * self._rng.uniform(0.5, 1.0)

    async def _fail(self, host: FormerHost, state: _State, reason: str, message: str) -> None:
        self._later(state)
        if reason == state.told:
            return  # it is written down already
        _log.warning("what %s has left at %s cannot be cleared: %s", host.edge, host.address, message)
        try:
            await asyncio.to_thread(self._book.not_cleared, self._leadership.epoch, host, reason, message)
            state.told = reason
        except (StoreError, LeadershipLostError) as error:
            _log.warning("%s, %s: %s", host.edge, host.address, error)

    async def _clear(self, host: FormerHost) -> bool:
        """Is nothing left there?  False: it is not its turn, or not to be cleared any more.  Raises StoreError,
        LeadershipLostError and what HostAccess does."""
        if not await self._its_turn(host):
            return False
        access = self._dial(host.address, host.identity)
        try:
            seen = await access.look()
            if seen.gateway_id != object_id(host.edge):
                return True
            if host.address in self._taken:
                return False
            self._taken.add(host.address)
            try:
                # The edge may be back since it was asked, and even run what it ran then.
                if not await self._its_turn(host):
                    return False
                await self._leadership.check()
                await access.apply(as_json(_EMPTY), seen.etag, self._leadership.epoch)
            finally:
                self._taken.discard(host.address)
        finally:
            await access.close()
        return True

    async def _its_turn(self, host: FormerHost) -> bool:
        return not self._busy(host.address) and await asyncio.to_thread(self._book.waits, host)
