"""The process behind ``t1edge serve``: one gateway, its ports, gRPC and metrics, from start to a clean end."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import os
import signal
import socket
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

from edge.document import read_text
from edge.errors import EdgeError
from edge.forwarder import Forwarder
from edge.gateway import Gateway
from edge.listening import Address, check_local, metrics_address, parse_address
from edge.ports import PortSpec, check_specs
from edge.store import MemoryStore, RevisionStore, Store
from native.machine import one_heap

if TYPE_CHECKING:
    from edge.api.tls import TlsFiles
    from edge.metrics import Reading

_log = logging.getLogger("t1edge")


@dataclass(frozen=True, slots=True)
class ServeSettings:
    """What the command line said.  ``metrics`` None: nobody scrapes; ``data`` None: revisions are kept in memory."""

    file: str
    listen: str
    metrics: str | None
    data: Path | None
    ports: Sequence[str]
    tls: TlsFiles | None
    allow_unsupported: bool
    workers: int = 1


async def serve(settings: ServeSettings) -> None:
    """Serve until SIGTERM or SIGINT.

    Raises EdgeErrors for whatever keeps it from starting, and ForwardingError when it can forward no longer; nothing
    is left behind then.
    """
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    one_heap()
    address, specs = _checked(settings)
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopping.set)
    reloads: asyncio.Queue[None] = asyncio.Queue()
    loop.add_signal_handler(signal.SIGHUP, reloads.put_nowait, None)  # one that comes early waits
    async with AsyncExitStack() as stack:
        gateway = await stack.enter_async_context(_gateway(settings))
        forwarder = await stack.enter_async_context(_forwarding(gateway, specs))
        forwarder.on_failure = partial(loop.call_soon_threadsafe, stopping.set)
        if forwarder.failure is not None:
            stopping.set()
        # gRPC and metrics are loaded while packets pass already.
        from edge.api.server import Server

        if settings.metrics is not None:
            from edge.metrics import Exposition
            from edge.metrics_server import MetricsServer

            exposition = Exposition(_Source(gateway, forwarder), version=version("t1edge"))
            metrics = MetricsServer(exposition.page, settings.metrics)
            stack.callback(metrics.stop)
            _log.info("metrics on http://%s/metrics", metrics.start())
        await stack.enter_async_context(_reloading(gateway, settings, reloads))
        server = Server(gateway, address, settings.tls)
        stack.push_async_callback(server.stop)
        listening = await server.start()
        _keep()
        where = "clients show certificates" if settings.tls else "without TLS: only this machine can connect"
        _log.info("gRPC on %s, %s", listening, where)
        _tell_service_manager("READY=1")
        _log.info("edge %s serves revision %d", gateway.edge.config.name, gateway.running.number)
        await stopping.wait()
        _log.info("stopping")
        _tell_service_manager("STOPPING=1")
        failure = forwarder.failure
    if failure is not None:
        raise failure


def _checked(settings: ServeSettings) -> tuple[Address, list[PortSpec]]:
    """Where gRPC listens, and the ports.  Raises EdgeErrors for options that cannot be meant, before a directory for
    revisions is made because of them."""
    address = parse_address(settings.listen)
    specs = [PortSpec.parse(text) for text in settings.ports]
    check_specs(specs)
    if settings.tls is None:
        check_local(address)
    else:
        from edge.api.server import credentials_for

        credentials_for(address, settings.tls)
    if settings.metrics is not None:
        metrics_address(settings.metrics)
    return address, specs


@asynccontextmanager
async def _gateway(settings: ServeSettings) -> AsyncIterator[Gateway]:
    store: Store = MemoryStore() if settings.data is None else RevisionStore(settings.data)
    with contextlib.closing(store):
        if settings.data is None:
            _log.warning("no --data: revisions are kept in memory and end with this process")
        known = store.latest_confirmed()
        text = "" if known else await asyncio.to_thread(read_text, settings.file)
        gateway = Gateway(store, workers=settings.workers)
        await gateway.start(text, file=settings.file, allow_unsupported=settings.allow_unsupported)
        gc.freeze()  # the document may be large, and much is still to be loaded
        if known:
            _log.info(
                "revision %d comes from %s; SIGHUP or t1edge edge apply makes it what %s says",
                known.number, settings.data, settings.file,
            )  # fmt: skip
        try:
            yield gateway
        finally:
            await gateway.close()


@asynccontextmanager
async def _forwarding(gateway: Gateway, specs: Sequence[PortSpec]) -> AsyncIterator[Forwarder]:
    forwarder = Forwarder(gateway.edge, specs)
    await asyncio.to_thread(forwarder.start)
    gateway.forwarding = forwarder
    try:
        yield forwarder
    finally:
        gateway.forwarding = None
        await asyncio.to_thread(forwarder.stop)


@asynccontextmanager
async def _reloading(gateway: Gateway, settings: ServeSettings, wanted: asyncio.Queue[None]) -> AsyncIterator[None]:
    """Whoever puts something into the queue has the edge file applied, one after another."""

    async def follow() -> None:
        while True:
            await wanted.get()
            await _reload(gateway, settings)

    task = asyncio.create_task(follow())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait([task])


async def _reload(gateway: Gateway, settings: ServeSettings) -> None:
    try:
        text = await asyncio.to_thread(read_text, settings.file)
        applied = await gateway.apply(
            text, file=settings.file, allow_unsupported=settings.allow_unsupported, comment=f"SIGHUP: {settings.file}"
        )
    except EdgeError as error:
        for line in str(error).splitlines():
            _log.error("not reloaded: %s", line)
        return
    for problem in applied.warnings:
        _log.warning("%s", problem)
    if applied.changes:
        _log.info("reloaded %s: revision %d, %d changes", settings.file, applied.revision.number, len(applied.changes))
    else:
        _log.info("%s says what runs already", settings.file)


def _keep() -> None:
    """What there is by now stays for as long as the process does: the collector, which keeps calls waiting meanwhile,
    is not to visit it again and again.  Configurations are no cycles: also those that it leaves out are freed when they
    have been replaced."""
    gc.collect()
    gc.freeze()


class _Source:
    """What the metrics tell."""

    def __init__(self, gateway: Gateway, forwarder: Forwarder) -> None:
        self._gateway = gateway
        self._forwarder = forwarder

    def reading(self) -> Reading:
        """From the thread that answers the scrape."""
        from edge.metrics import Reading

        gateway = self._gateway
        return Reading.of(
            gateway.edge,
            applies={str(result): count for result, count in dict(gateway.applies).items()},
            neighbours=self._forwarder.neighbour_states(),
            ports_up={name: status.up for name, status in self._forwarder.ports.items()},
            links=self._forwarder.link_counters,
            events_lost=gateway.events.lost,
            pending_confirmation=gateway.running.confirm_deadline_ns is not None,
        )


def _tell_service_manager(state: str) -> None:
    """sd_notify(3), where a service manager asked for it."""
    path = os.environ.get("NOTIFY_SOCKET")
    if not path:
        return
    with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as out:
        out.connect("\0" + path[1:] if path.startswith("@") else path)
        out.sendall(state.encode())
