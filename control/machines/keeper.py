"""Brings machines to what the store wants of them: does jobs in order, finds out at the start what is there.

The store has every job until it is done.  A job may be done twice after a crash: drivers take everything again.  Of
several replicas the one that leads does so, and for one that was followed nothing is left to do.
"""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from concurrent.futures import Future, InvalidStateError
from contextlib import contextmanager, suppress
from types import MappingProxyType
from typing import Final, Protocol

from control.errors import ControlError, MachineError
from control.fleet.book import LeadershipLostError, check_epoch
from control.machines import book
from control.machines.book import Action, Job, State
from control.machines.driver import Driver
from control.machines.wishes import Found, Power, Wish
from control.store import Reader, Store, WriteUnit
from control.store.unit import PROVIDER
from edge.errors import StoreError

_log = logging.getLogger("t1edge")


class Watcher(Protocol):
    """Whoever counts jobs."""

    def job_ended(self, action: str, *, done: bool) -> None:
        """One was done, or could not be."""


WORKERS: Final = 4
AGAIN_S: Final = 1.0
"""When is tried again what the store kept from being done."""
WATCH_S: Final = 2.0
"""How often is looked whether machines have ended by themselves."""
_REFUSALS: Final = (ControlError, OSError, ValueError)
"""What a driver says, and what the host says of the driver's files."""
_AFTERWARDS: Final[Mapping[str, Power]] = MappingProxyType(
    {
        Action.POWER_ON: Power.ON,
        Action.POWER_OFF: Power.OFF,
        Action.RESET: Power.ON,
        Action.SUSPEND: Power.SUSPENDED,
        Action.REVERT: Power.OFF,
    }
)
"""The power of a machine with which this was done; after what is not here it is as before."""
_PREFIX = book.subject("")
_STOP: Final = ""


class Keeper:
    """Runs machines with ``driver``; any thread may call it.  ``connect`` lays the cables, before machines start."""

    def __init__(
        self,
        store: Store,
        driver: Driver,
        connect: Callable[[], None] = lambda: None,
        watcher: Watcher | None = None,
    ) -> None:
        self._store = store
        self._driver = driver
        self._connect = connect
        self._watcher = watcher
        self._queue: queue.SimpleQueue[str] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._waiting: set[str] = set()
        self._at: set[str] = set()
        self._stopping = threading.Event()
        self._rewire = threading.Event()
        self._watching: threading.Thread | None = None
        self._workers: list[threading.Thread] = []
        self._epoch = 0
        self.adopted = threading.Event()
        """Machines are as they should be, and jobs are done."""
        self.broken: Future[None] = Future()
        """A bug that ended one of the threads: the service is to stop."""

    # ------------------------------------------------------------------ life

    def start(self, epoch: int = 0) -> None:
        """Adopt what is there, remove what nobody wants, and go on with jobs, in threads of its own, as long as no
        later leader than ``epoch`` has begun; 0: there are no others."""
        self._epoch = epoch
        self._stopping.clear()
        self._watching = self._begin(self._look_after, "machines-watch")

    def _begin(self, run: Callable[[], None], name: str) -> threading.Thread:
        def guarded() -> None:
            try:
                run()
            except Exception as error:  # noqa: BLE001 - a bug, and no thread above sees it
                _log.critical("a bug of the control plane ended a part of what looks after machines", exc_info=error)
                with suppress(InvalidStateError):  # another one was first, or the service stops anyway
                    self.broken.set_exception(error)

        thread = threading.Thread(target=guarded, name=name, daemon=True)
        thread.start()
        return thread

    def pause(self) -> None:
        """Finish what is under way; machines run on."""
        if self._watching is None:
            return
        self._stopping.set()
        self._rewire.set()
        self._watching.join()
        for _ in self._workers:
            self._queue.put(_STOP)
        for thread in self._workers:
            thread.join()
        self._watching, self._workers = None, []
        self.adopted.clear()
        with self._lock:
            self._queue = queue.SimpleQueue()
            self._waiting.clear()
            self._at.clear()

    def stop(self) -> None:
        """Pause, for ever."""
        self.pause()
        self._driver.close()

    def _look_after(self) -> None:
        """All there is to do, in a thread."""
        try:
            while not self._stopping.is_set():
                try:
                    self.connect()
                    self.adopt()
                    break
                except (StoreError, MachineError, OSError, ValueError) as error:
                    _log.error("machines cannot be looked after: %s", error)
                    self._stopping.wait(AGAIN_S)
            if not self._stopping.is_set():
                self._workers = [self._begin(self._work, f"machines-{number}") for number in range(WORKERS)]
                self.adopted.set()
            self._watch()
        except LeadershipLostError as error:
            _log.warning("machines are another replica's now: %s", error)

    @contextmanager
    def _writing(self) -> Iterator[WriteUnit]:
        """Raises StoreError, LeadershipLostError."""
        with self._store.write(PROVIDER) as unit:
            self._check(unit)
            yield unit

    def _check(self, state: Reader) -> None:
        """Raises LeadershipLostError."""
        if self._epoch:
            check_epoch(state, self._epoch)

    def connect(self) -> None:
        """The networks are as the store has them.  What the host refuses is logged."""
        try:
            self._connect()
        except (MachineError, OSError, ValueError) as error:
            _log.error("networks cannot be made: %s", error)

    def wake(self, subjects: Collection[str], edges: Collection[str]) -> None:
        """There are jobs, and edges whose networks may be others now, as the dispatcher tells."""
        if self._watching is None:
            return  # whoever begins finds them
        self._enqueue(subject.removeprefix(_PREFIX) for subject in subjects)
        if edges:
            self._rewire.set()

    def _enqueue(self, uids: Iterable[str]) -> None:
        with self._lock:
            for uid in uids:
                if uid not in self._waiting:
                    self._waiting.add(uid)
                    if uid not in self._at:
                        self._queue.put(uid)

    # ------------------------------------------------------------------ jobs

    def _work(self) -> None:
        while (uid := self._queue.get()) != _STOP:
            with self._lock:
                self._waiting.discard(uid)
                self._at.add(uid)
            again = False
            try:
                self.do_all(uid)
            except StoreError as error:
                _log.error("machines wait for the store: %s", error)
                again = True
                self._stopping.wait(AGAIN_S)
            except LeadershipLostError as error:
                _log.warning("machines are another replica's now: %s", error)
            finally:
                with self._lock:
                    self._at.discard(uid)
                    if again or uid in self._waiting:
                        self._waiting.add(uid)
                        self._queue.put(uid)

    def do_all(self, uid: str) -> None:
        """Every job of a machine, in this thread.  Raises StoreError, LeadershipLostError."""
        while not self._stopping.is_set() and self._do_next(uid):
            pass

    def _do_next(self, uid: str) -> bool:
        """One job of a machine; False if there is none.  Raises StoreError, LeadershipLostError."""
        with self._store.read() as state:
            self._check(state)
            job = book.next_job(state, uid)
        if job is None:
            return False
        try:
            power = self._do(job)
            with self._writing() as unit:
                book.strike(unit, job)
                self._tell_success(unit, job, power)
                unit.finished(book.subject(job.uid), job.number)
        except (StoreError, LeadershipLostError):
            raise
        except ControlError as error:
            self._tell_failure(job, error)
        except Exception as error:  # noqa: BLE001 - a bug in one job must not keep others waiting
            _log.exception("a bug of the control plane ended a job of a machine")
            self._tell_failure(job, MachineError(str(error)))
        else:
            if self._watcher is not None:
                self._watcher.job_ended(job.action, done=True)
        return True

    def _do(self, job: Job) -> Power | None:
        """The machine's power afterwards, None if it is as before.  Raises ControlError."""
        uid, driver = job.uid, self._driver
        if job.action == Action.DELETE:
            driver.delete(uid)
            return None
        with self._store.read() as state:
            wish = book.wish(state, job.path)
        if wish is None or wish.uid != uid:
            return None  # it is to be deleted
        if job.action in (Action.POWER_OFF, Action.RESET):
            driver.power_off(uid)  # before its cards are asked for, which the host may refuse
        driver.define(wish)
        match job.action:
            case Action.POWER_ON:
                driver.power_on(uid)
            case Action.RESET:
                driver.power_on(uid)
            case Action.SUSPEND:
                driver.suspend(uid)
            case Action.REVERT:
                driver.revert(uid)
            case Action.SNAPSHOT:
                driver.snapshot(uid)
            case Action.DROP_SNAPSHOT:
                driver.drop_snapshot(uid)
        return _AFTERWARDS.get(job.action)

    @staticmethod
    def _tell_success(unit: WriteUnit, job: Job, power: Power | None) -> None:
        found = book.state(unit, job.path)
        if found is None or found.uid != job.uid:
            return  # it is to be deleted, or was; perhaps another one has its name
        changed: dict[str, object] = {"problem": ""}
        if power is not None:
            changed["power"] = power.value
        if job.action in (Action.SNAPSHOT, Action.DROP_SNAPSHOT):
            changed["snapshot_ns"] = unit.now_ns if job.action == Action.SNAPSHOT else None
        book.change(unit, job.path, **changed)

    def _tell_failure(self, job: Job, error: ControlError) -> None:
        """What a driver says is for whoever runs the host; the machine's owner is told that there is something."""
        text = str(error)
        if isinstance(error, MachineError):
            _log.error("%s of %s: %s", job.action, job.path, error)
            text = MachineError.told
        there = self._inventory().get(job.uid)
        with self._writing() as unit:
            book.strike(unit, job)
            found = book.state(unit, job.path)
            if found is not None and found.uid == job.uid:
                changed: dict[str, object] = {"problem": text}
                if there is not None:
                    changed["power"] = there.power.value
                    if book.next_job(unit, job.uid) is None:
                        changed["wanted"] = there.power.value
                    if not there.snapshot:
                        changed["snapshot_ns"] = None
                book.change(unit, job.path, **changed)
            unit.gave_up(book.subject(job.uid), job.number, error.reason, text)
        if self._watcher is not None:
            self._watcher.job_ended(job.action, done=False)

    def _inventory(self) -> dict[str, Found]:
        try:
            return dict(self._driver.inventory())
        except _REFUSALS as error:
            _log.error("machines cannot be looked at: %s", error)
        except Exception:  # noqa: BLE001 - a job has failed, and that is told
            _log.exception("a bug of the control plane keeps machines from being looked at")
        return {}

    # ------------------------------------------------------------------ what is there

    def adopt(self) -> None:
        """At the start: machines are as they should be, none is there that should not."""
        there = dict(self._driver.inventory())
        with self._store.read() as state:
            self._check(state)
            wanted, wishes, busy = book.states(state), book.wishes(state), book.busy(state)
        for uid in there.keys() - wanted.keys() - busy:
            if self._stopping.is_set():
                return
            try:
                self._driver.delete(uid)
            except _REFUSALS as error:
                _log.error("%s, which nobody wants, cannot be removed: %s", uid, error)
        for uid, found in wanted.items():
            if self._stopping.is_set():
                return
            if uid in busy:
                continue
            try:
                self._bring(there.get(uid), found, wishes)
                changed = {"power": found.wanted}
            except _REFUSALS as error:
                _log.error("%s cannot be brought back: %s", found.path, error)
                changed = {
                    "power": Power.OFF.value,
                    "wanted": Power.OFF.value,
                    "problem": "it could not be brought back",
                }
            if (found.power, found.wanted) != (changed["power"], changed.get("wanted", found.wanted)):
                with self._writing() as unit:
                    book.change(unit, found.path, **changed)
        self._enqueue(busy)

    def _bring(self, there: Found | None, found: State, wishes: Mapping[str, Wish]) -> None:
        wish = wishes[found.uid]
        if there is None or there.wish != wish:
            self._driver.define(wish)
        power = there.power if there else Power.OFF
        if found.snapshot_ns is not None and not (there and there.snapshot) and not self._driver.lasting:
            self._driver.snapshot(found.uid)
        if power == found.wanted:
            return
        match found.wanted:
            case Power.ON:
                self._driver.power_on(found.uid)
            case Power.OFF:
                self._driver.power_off(found.uid)
            case _:
                self._driver.power_on(found.uid)
                self._driver.suspend(found.uid)

    def _watch(self) -> None:
        """Cables follow the edges; machines that have ended by themselves are off; other replicas may order, too."""
        look_at = time.monotonic() + WATCH_S
        while not self._stopping.is_set():
            asked = self._rewire.wait(max(0.0, look_at - time.monotonic()))
            self._rewire.clear()
            try:
                if asked:
                    self.connect()
                if time.monotonic() >= look_at:
                    look_at = time.monotonic() + WATCH_S
                    self._look()
            except LeadershipLostError:
                raise
            except (StoreError, *_REFUSALS) as error:
                _log.error("machines cannot be watched: %s", error)

    def _look(self) -> None:
        with self._store.read() as state:
            self._check(state)
            self._enqueue(book.busy(state))
            if not self._driver.lasting:
                return
            on = {uid: found for uid, found in book.states(state).items() if found.power != Power.OFF}
        there = self._driver.inventory()
        for uid, found in on.items():
            if uid in there and there[uid].power is Power.OFF:
                with self._writing() as unit:
                    now = book.state(unit, found.path)
                    if now == found and book.next_job(unit, uid) is None:
                        book.change(unit, found.path, power=Power.OFF.value, wanted=Power.OFF.value)
