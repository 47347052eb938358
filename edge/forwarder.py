"""An edge at work: a thread that forwards between its ports, and one that keeps the devices behind them."""

from __future__ import annotations

import atexit
import logging
import secrets
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

from edge.errors import ForwardingError, PortError
from edge.model import EdgeConfig
from edge.port_group import PortGroup
from edge.ports import (
    Device,
    PortKind,
    PortSpec,
    TakenLink,
    bring_up,
    check_specs,
    find_device,
    made_mac,
)
from edge.raw import make_address
from edge.routing.neighbour_table import LinkCount, NeighbourState
from edge.runtime import Edge
from edge.state import LINK_DROPS, LinkCounters
from edge.trace import TraceNeighbour
from edge.verdicts import Processed
from native.neighbour import NeighbourTable

if TYPE_CHECKING:
    from pyroute2 import IPRoute

LOG = logging.getLogger(__name__)

WATCH_SECONDS = 1.0
"""How often the devices are looked at."""


@dataclass(frozen=True, slots=True)
class DeviceCounters:
    """Frames and bytes received and sent; dropped: those that found no room or cannot be for the edge, and those that
    the device did not take."""

    rx_packets: int = 0
    rx_bytes: int = 0
    rx_dropped: int = 0
    tx_packets: int = 0
    tx_bytes: int = 0
    tx_dropped: int = 0


@dataclass(frozen=True, slots=True)
class PortStatus:
    """A port of this machine: ``up`` if frames can pass between it and the edge, else ``problem`` may say why not;
    ``mac`` is the edge's."""

    kind: PortKind
    device: str
    up: bool
    mac: str
    counters: DeviceCounters
    problem: str | None = None


class _Port:
    """One place of the native table, and what is known of its device."""

    def __init__(self, slot: int, spec: PortSpec, mac: bytes) -> None:
        self.slot = slot
        self.spec = spec
        self.mac = mac
        self.number: int | None = None
        self.opened = False
        self.up = False
        self.device: Device | None = None
        self.taken: TakenLink | None = None
        self.problem: str | None = None

    def status(self, counters: tuple[int, ...]) -> PortStatus:
        return PortStatus(
            self.spec.kind,
            self.spec.device,
            self.up and self.number is not None,
            self.mac.hex(":"),
            DeviceCounters(*counters),
            self.problem,
        )


class Forwarder:
    """Owns the worker threads and the open ports of one edge.  ``find`` says what is behind the ports of a
    configuration that ``specs`` does not name: without it they are in memory.

    Raises PortSpecError where a port or a device is given twice.  ``with Forwarder(...):`` starts and stops it.
    """

    def __init__(
        self, edge: Edge, specs: Sequence[PortSpec], find: Callable[[EdgeConfig, str], PortSpec] | None = None
    ) -> None:
        check_specs(list(specs))
        self._edge = edge
        self._find = find
        self._specs = {spec.name: spec for spec in specs}
        self._ports: dict[str, _Port] = {}
        self._leaving: list[_Port] = []
        self._free: list[int] = []
        self._table = PortGroup(edge.workers)
        self._neighbours = NeighbourTable(secrets.randbits(63))
        self._workers: list[threading.Thread] = []
        self._keeper: threading.Thread | None = None
        self._stopping = threading.Event()
        self._ready = threading.Event()
        self._failures: list[BaseException] = []
        self._ending = False
        self._failed_with: BaseException | None = None
        self.on_failure: Callable[[], object] = lambda: None
        """Called once, by a thread of the forwarder's, when it can go on no longer.  :attr:`failure` tells why;
        :meth:`stop` still puts the interfaces back."""

    # ------------------------------------------------------------------ life

    def start(self) -> None:
        """Open the ports and forward.  Raises PortError if a device cannot be had; then nothing is left open.  One that
        is not there yet is no error: it is opened as soon as it appears."""
        if self._workers:
            raise RuntimeError("this forwarder has been started already")
        self._stopping.clear()
        self._ready.clear()
        self._failures.clear()
        self._ending, self._failed_with = False, None
        self._table.start()
        with self._edge.turn():
            self._edge.attach(self._neighbours)
            self.rebind(self._edge.config)
        self._keeper = threading.Thread(target=self._keep, name="t1edge-ports", daemon=True)
        self._keeper.start()
        self._ready.wait()
        if self._failures:
            self._keeper.join()
            raise self._failures[0]
        for name in self.unbound:
            LOG.warning("the edge has no port %r: nothing passes there until it has", name)
        for number in range(self._edge.workers):
            name = "t1edge-worker" if number == 0 else f"t1edge-worker{number}"
            self._workers.append(threading.Thread(target=self._work, args=(number,), name=name, daemon=True))
        for worker in self._workers:
            worker.start()
        while all(worker.is_alive() for worker in self._workers) and not self._edge.forwarding:
            time.sleep(0.001)
        atexit.register(self.stop)

    def _work(self, number: int) -> None:
        """A thread that forwards."""
        try:
            self._edge.forward(self._table.of(number), number)
            if self._ending:
                return
            raise ForwardingError("it was not told to stop")
        except BaseException as error:  # noqa: BLE001 - whatever it is, nothing passes any more
            self._fail(error)

    def _fail(self, error: BaseException) -> None:
        LOG.error("the edge has stopped forwarding", exc_info=error)
        if self._failed_with is None:
            self._failed_with = error
            self.on_failure()

    @property
    def failure(self) -> ForwardingError | None:
        """Why nothing is forwarded any more, though nobody has stopped it; else None."""
        if self._failed_with is None:
            return None
        return ForwardingError(f"the edge has stopped forwarding: {self._failed_with!r}")

    def stop(self) -> None:
        """End the workers, close the ports and leave the interfaces as they were found."""
        atexit.unregister(self.stop)
        self._ending = True
        self._table.stop()
        for worker in self._workers:
            worker.join()
        self._workers.clear()
        self._stopping.set()
        if self._keeper is not None:
            self._keeper.join()
            self._keeper = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def rebind(self, config: EdgeConfig) -> None:
        """Follow a configuration that the edge has just begun to run; to be called in the same turn."""
        numbers = {name: number for number, name in enumerate(config.ports)}
        wanted = {**self._specs, **{name: self._spec(config, name) for name in numbers}}
        known, self._ports = self._ports, self._kept(wanted)
        for port in set(known.values()) - set(self._ports.values()):
            self._remove(port)
        for name, spec in wanted.items():
            if name not in self._ports:
                self._add(config.id, spec)
        # One that is of another kind now is a new one to the link layer, like one that was not there.
        fresh = [
            port for name, port in self._ports.items() if name in numbers and not self._neighbours.is_up(numbers[name])
        ]
        for name, port in self._ports.items():
            port.number = numbers.get(name)
        by_slot = {port.slot: port.number for port in self._ports.values()}
        self._table.bind([by_slot.get(slot) for slot in range(self._table.count)])
        for port in fresh:
            self._announce(port)
        try:
            self._table.place(self._edge.placing)
        except OSError as error:
            LOG.warning("frames come in at workers as before, and are handed over: %s", error)

    def _spec(self, config: EdgeConfig, name: str) -> PortSpec:
        given = self._specs.get(name)
        if given is None and self._find is not None:
            return self._find(config, name)
        return given or PortSpec(name, PortKind.MEMORY)

    def _kept(self, wanted: Mapping[str, PortSpec]) -> dict[str, _Port]:
        """The ports that stay, by their names from now on: one whose device is another port's now goes on under its
        name, so that renaming a network interrupts nothing."""
        known = self._ports
        found = {name: known[name] for name, spec in wanted.items() if name in known and known[name].spec == spec}
        others = [port for port in set(known.values()) - set(found.values()) if port.spec.kind is not PortKind.MEMORY]
        by_device = {(port.spec.kind, port.spec.device): port for port in others}
        for name, spec in wanted.items():
            port = by_device.pop((spec.kind, spec.device), None) if name not in found else None
            if port is not None:
                port.spec = spec
                found[name] = port
        return found

    def _add(self, edge_id: str, spec: PortSpec) -> None:
        slot = self._free.pop() if self._free else self._table.count
        port = _Port(slot, spec, made_mac(edge_id, spec.name))
        self._table.grow(slot + 1)
        self._ports[spec.name] = port
        if spec.kind is PortKind.MEMORY:
            self._table.open_memory(port.slot, port.mac)
            port.opened = port.up = True

    def _remove(self, port: _Port) -> None:
        """A port that the configuration does not have any more, or not with this device: the keeper puts that back."""
        if port.spec.kind is PortKind.MEMORY:
            self._table.close(port.slot)
            self._free.append(port.slot)
        else:
            port.number = None
            self._leaving.append(port)

    # ------------------------------------------------------------------ packets

    def inject(self, frames: Sequence[tuple[str, bytes]], now_ns: int, *, outputs: bool = True) -> list[Processed]:
        """Send frames in by ports, as :meth:`edge.runtime.Edge.process_batch` does, and send out what leaves;
        ``outputs``: tell that, too."""
        with self._edge.turn():
            done = self._edge.process_batch(frames, now_ns, outputs=True)
            self._edge.emit(self._table.of(0), [output for item in done for output in item.outputs])
        return done if outputs else [Processed(item.verdict, item.reason, ()) for item in done]

    def feed(self, port: str, frame: bytes) -> None:
        """A frame comes in by a port in memory."""
        with self._edge.turn():
            self._table.feed(self._ports[port].slot, frame)

    def take(self, port: str) -> list[bytes]:
        """What has left by a port in memory since the last time: the latest megabyte of it."""
        with self._edge.turn():
            return self._table.take(self._ports[port].slot)

    # ------------------------------------------------------------------ what is known

    @property
    def ports(self) -> Mapping[str, PortStatus]:
        """Every port of the configuration or of the command line, by name."""
        with self._edge.turn():
            return {name: port.status(self._table.counters(port.slot)) for name, port in self._ports.items()}

    def link_counters(self) -> dict[str, LinkCounters]:
        """What was lost at every port of the configuration, by name."""
        with self._edge.turn():
            return {
                name: self._link_counters(port, port.number)
                for name, port in self._ports.items()
                if port.number is not None
            }

    def _link_counters(self, port: _Port, number: int) -> LinkCounters:
        counts = self._neighbours.counts(number)
        drops = {what.name: counts[what] for what in LinkCount if what.name in LINK_DROPS}
        device = DeviceCounters(*self._table.counters(port.slot))
        drops |= {"DEVICE_RECEIVE": device.rx_dropped, "DEVICE_SEND": device.tx_dropped}
        return LinkCounters(drops, counts[LinkCount.DUPLICATES])

    @property
    def unbound(self) -> list[str]:
        """Ports of the command line that the configuration does not have."""
        return [name for name, port in self._ports.items() if port.number is None and name in self._specs]

    @property
    def neighbours(self) -> NeighbourTable:
        """Who is on the links; to be asked in a turn."""
        return self._neighbours

    def neighbour_of(self, port: str, frame: bytes) -> TraceNeighbour | None:
        """Whom a frame with an IP packet that leaves by a port is given to; None for a group, and for a port that the
        configuration does not have any more."""
        with self._edge.turn():
            known = self._ports.get(port)
            if known is None or known.number is None:
                return None
            found = self._edge.next_hop(self._neighbours, known.number, frame)
        if found is None:
            return None
        family, address, mac, state = found
        if family == 0:
            return TraceNeighbour("", "", "NO_NEXT_HOP")
        name = "UNKNOWN" if state is None else NeighbourState(state).name
        return TraceNeighbour(str(make_address(family, address)), "" if mac is None else mac.hex(":"), name)

    def neighbour_states(self) -> dict[str, int]:
        """How many neighbours are in each state; all states are named."""
        with self._edge.turn():
            found = Counter(state for _, _, _, _, state, _ in self._neighbours.neighbours(time.monotonic_ns()))
        return {state.name: found[state] for state in NeighbourState}

    # ------------------------------------------------------------------ devices

    def _keep(self) -> None:
        """The thread that opens ports, looks after them and closes them; netlink is its own."""
        try:
            from pyroute2 import IPRoute

            with IPRoute() as route:
                try:
                    self._open_all(route)
                    self._ready.set()
                    while not self._stopping.wait(WATCH_SECONDS):
                        self._let_go(route)
                        self._watch(route)
                finally:
                    self._release(route)
        except BaseException as error:  # noqa: BLE001 - without this thread the ports are closed
            if self._ready.is_set():
                self._fail(error)
            else:
                of_netlink = isinstance(error, OSError)
                self._failures.append(PortError(f"ports cannot be looked after: {error}") if of_netlink else error)
        finally:
            self._ready.set()

    def _open_all(self, route: IPRoute) -> None:
        from pyroute2 import NetlinkError

        for port in list(self._devices()):
            try:
                self._look_after(route, port)
            except NetlinkError as error:
                raise PortError(str(error)) from error

    def _watch(self, route: IPRoute) -> None:
        from pyroute2 import NetlinkError

        for port in list(self._devices()):
            try:
                self._look_after(route, port)
            except (PortError, OSError, NetlinkError) as error:
                if port.problem != str(error):
                    LOG.warning("port %s: %s", port.spec, error)
                port.problem = str(error)

    def _let_go(self, route: IPRoute) -> None:
        """Ports that were removed: their devices are as they were, their places free."""
        while self._leaving:
            port = self._leaving.pop()
            self._put_back(route, port)
            with self._edge.turn():
                self._free.append(port.slot)

    def _devices(self) -> Iterator[_Port]:
        return (port for port in tuple(self._ports.values()) if port.spec.kind is not PortKind.MEMORY)

    def _look_after(self, route: IPRoute, port: _Port) -> None:
        """Open a port whose device is there, close one whose device has gone or is another."""
        device = find_device(port.spec.device)
        gone = device is None or (
            port.device is not None and (device.index, device.mtu, device.mac) != _identity(port.device)
        )
        if port.opened and (gone or self._failed(port)):
            LOG.warning("port %s: the device has gone or changed", port.spec)
            self._close(port, device)
        if not port.opened:
            self._open(route, port, device)
            device = find_device(port.spec.device)
        up = port.opened and device is not None and device.up and device.carrier
        if up != port.up:
            LOG.info("port %s is %s", port.spec, "up" if up else "down")
            with self._edge.turn():
                port.up = up
                self._announce(port)

    def _failed(self, port: _Port) -> bool:
        with self._edge.turn():
            return self._table.failed(port.slot)

    def _open(self, route: IPRoute, port: _Port, device: Device | None) -> None:
        """Open a port; one whose interface is not there waits for it."""
        if port.spec.kind is PortKind.TAP:
            with self._edge.turn():
                self._table.open_tap(port.slot, port.spec.device, port.mac)
            port.opened = True
            port.device = found = find_device(port.spec.device)
            if found is not None:
                bring_up(route, found)
        elif device is None:
            problem = f"there is no interface {port.spec.device}"
            if port.problem is None:
                LOG.warning("port %s: %s; it is opened when it appears", port.spec, problem)
            port.problem = problem
            return
        else:
            taken = TakenLink(route, device)
            try:
                with self._edge.turn():
                    self._table.open_link(port.slot, device.index, device.mtu, device.mac)
            except BaseException:
                taken.restore(route)
                raise
            port.opened, port.taken, port.device, port.mac = True, taken, device, device.mac
        if port.device is not None and port.device.mtu < self._edge.config.options.mtu:
            LOG.warning("port %s: its MTU is %d, less than the edge's", port.spec, port.device.mtu)
        port.problem = None
        LOG.info("port %s is open", port.spec)

    def _close(self, port: _Port, device: Device | None) -> None:
        """Close a port whose device is not what it was; ``device`` is what has that name now."""
        with self._edge.turn():
            self._table.close(port.slot)
            port.up = False
            self._announce(port)
        port.opened = False
        if port.taken is not None:
            port.taken.forget()
            port.taken = None
        port.device = None
        port.problem = None if device is not None else f"there is no device {port.spec.device}"

    def _release(self, route: IPRoute) -> None:
        """Everything as it was."""
        for port in [*self._ports.values(), *self._leaving]:
            self._put_back(route, port)

    def _put_back(self, route: IPRoute, port: _Port) -> None:
        if port.opened and port.spec.kind is not PortKind.MEMORY:
            with self._edge.turn():
                self._table.close(port.slot)
            port.opened = port.up = False
        if port.taken is not None:
            try:
                port.taken.restore(route)
            except PortError as error:
                LOG.warning("%s", error)
            port.taken = port.device = None

    def _announce(self, port: _Port) -> None:
        """Tell the link layer whether a port works; in a turn."""
        if port.number is None:
            return
        if port.up:
            self._neighbours.link_up(port.number, port.mac, time.monotonic_ns())
        else:
            self._neighbours.link_down(port.number)


def _identity(device: Device) -> tuple[int, int, bytes]:
    return device.index, device.mtu, device.mac
