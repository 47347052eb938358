"""The process behind ``t1edge control serve``: the store, gRPC and metrics, from start to a clean end."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from control import names
from control.access.authority import OwnCertificate, authority_of
from control.access.login import begin_anew
from control.access.passwords import Passwords
from control.access.vault import Vault, open_vault, write_private
from control.checking import checked, planned
from control.errors import KeyFileError, MachineError
from control.kinds.catalog import add_sizes, fill_region
from control.kinds.changes import Changes
from control.kinds.regions import REGION
from control.machines import book
from control.machines.cables import Cables, LinkProvider
from control.machines.driver import NEEDS_ROOT, Driver
from control.machines.keeper import Keeper, Watcher
from control.machines.simulated import SimulatedDriver
from control.objects import SYSTEM_ORG, Role, User
from control.store import Reader, Store, WriteUnit
from control.store.unit import PROVIDER
from control.surroundings import Surroundings
from edge.errors import StoreError
from edge.listening import Address, AddressError, check_local, metrics_address, parse_address

if TYPE_CHECKING:
    from control.api.server import ControlServer
    from control.fleet.fleet import Fleet
    from control.metrics import ControlMetrics
    from edge.api.tls import TlsFiles

_log = logging.getLogger("t1edge")

KEYS = "keys"
FIRST_LOGIN = "first-login"
ADMINISTRATOR = "administrator"
EDGES = "edges.sqlite3"
DATABASE_S: Final = 1.0
"""How often the database is asked whether it answers."""
PROOF = "key-proof"
SWITCH_S: Final = 0.0005
"""How long a thread keeps the interpreter from others.  Whoever writes lets go of it for each query, and all others who
write wait until they have it back."""
SETTLING_S: Final = 1.0
"""How often is looked whether more edges run than before."""
ADOPTED_S: Final = 0.02
"""How often is looked, at the start, whether machines are as they should be."""
QUIET: Final = 5
"""After so many looks at which no other edges run, all do that can."""
LOOKS: Final = 120
"""The garbage collector does not rest for longer, whatever comes."""
_CATALOG = "catalog"


@dataclass(frozen=True, slots=True)
class ControlSettings:
    """What the command line said.  ``database`` '': SQLite in ``data``; ``metrics`` None: nobody scrapes; ``machines``:
    simulated, netns or none; ``uplinks``: see :class:`control.machines.cables.Cables`."""

    data: Path
    listen: str
    metrics: str | None = None
    database: str = ""
    key_file: Path | None = None
    tls: TlsFiles | None = None
    machines: str = "simulated"
    uplinks: Mapping[str, str] = field(default_factory=dict)
    enroll: str = ""
    """Where edges on other machines enrol, '': only where gRPC listens."""


@dataclass(frozen=True, slots=True)
class Opened:
    """A store that is ready to be served."""

    store: Store
    vault: Vault
    passwords: Passwords


@contextlib.contextmanager
def opened(
    settings: ControlSettings, surroundings: Surroundings, passwords: Passwords | None = None
) -> Iterator[Opened]:
    """The store of a data directory, made and given its first administrator if it is new, and a way in if nobody has
    one.

    Raises StoreError and KeyFileError.
    """
    store = Store(settings.data, surroundings, settings.database)
    with contextlib.closing(store):
        with store.read() as state:
            proof = state.fact(PROOF)
        # A new key file beside an old store would only hide that the right one is missing.
        keys = settings.key_file or settings.data / KEYS
        fresh = proof is None and not keys.exists()
        vault = open_vault(keys, surroundings.random, make=proof is None)
        passwords = passwords or Passwords(surroundings.random)
        _first_start(store, vault, passwords, settings.data / FIRST_LOGIN)
        with store.read() as state:
            known = state.fact(PROOF) or ""
        try:
            vault.check(known)
        except KeyFileError:
            if fresh:  # another replica has made its own meanwhile, and this one has encrypted nothing
                keys.unlink()
            raise
        _recover(store, vault, passwords, settings.data / FIRST_LOGIN)
        _offer(store, vault)
        yield Opened(store, vault, passwords)


def _first_start(store: Store, vault: Vault, passwords: Passwords, file: Path) -> None:
    """A provider, and how its first administrator logs in.  Raises KeyFileError."""
    with store.read() as state:
        if state.find(names.SYSTEM) is not None:
            return
    one_time = passwords.new_one_time()
    path = f"{names.SYSTEM}/users/{ADMINISTRATOR}"
    with store.write(PROVIDER) as unit:
        if unit.find(names.SYSTEM) is not None:
            return  # another replica was quicker
        unit.create("org", names.SYSTEM, SYSTEM_ORG)
        begin_anew(unit, vault, unit.create("user", path, _administrator()), one_time)
        unit.set_facts({PROOF: vault.proof()})
        _fill_catalog(unit, vault)
        unit.record(names.SYSTEM, "start", path)
        _write_first_login(file, one_time[0])


def _offer(store: Store, vault: Vault) -> None:
    """What a provider has from the first start on, in a store that is older than that."""
    with store.read() as state:
        if state.fact(_CATALOG) is not None:
            return
    with store.write(PROVIDER) as unit:
        if unit.fact(_CATALOG) is not None:
            return  # another replica was quicker
        _fill_catalog(unit, vault)
        unit.record(names.SYSTEM, "offer", names.SYSTEM)


def _fill_catalog(unit: WriteUnit, vault: Vault) -> None:
    changes = Changes(unit, vault)
    add_sizes(changes)
    for region in unit.every(REGION.name):
        fill_region(changes, None, region)
    unit.set_facts({_CATALOG: "1"})


def _recover(store: Store, vault: Vault, passwords: Passwords, file: Path) -> None:
    """A first login again where no system administrator can log in: who can read the directory is let in.

    Raises KeyFileError.
    """
    with store.read() as state:
        if not _locked_out(state):
            return
    one_time = passwords.new_one_time()
    path = f"{names.SYSTEM}/users/{ADMINISTRATOR}"
    with store.write(PROVIDER) as unit:
        if not _locked_out(unit):
            return  # another replica was quicker
        user = unit.find(path) or unit.create("user", path, _administrator())
        begin_anew(unit, vault, user, one_time)
        unit.record(names.SYSTEM, "recover", path)
        _write_first_login(file, one_time[0])


def _locked_out(state: Reader) -> bool:
    who = (names.SYSTEM, Role.SYSTEM_ADMINISTRATOR)
    return state.count_confirmed(*who) == 0 and not state.can_begin(*who)


def _administrator() -> User:
    return User(
        username=ADMINISTRATOR, email="administrator@localhost.localdomain", first_name="System",
        last_name="Administrator", role=Role.SYSTEM_ADMINISTRATOR,
    )  # fmt: skip


def _write_first_login(file: Path, password: str) -> None:
    file.unlink(missing_ok=True)  # of a start that was cut off, or of an earlier login
    try:
        write_private(file, f"{password}\n")
    except FileExistsError:
        raise KeyFileError(f"{file}: somebody else has just made it") from None
    _log.info("first login: organization system, user %s, one-time password in %s", ADMINISTRATOR, file)


@dataclass(frozen=True, slots=True)
class Machines:
    """What runs machines, and gives edges of this process their interfaces where it can."""

    driver: Driver
    keeper: Keeper
    links: LinkProvider | None


def made_machines(settings: ControlSettings, store: Store, watcher: Watcher | None = None) -> Machines | None:
    """It begins with the leadership; None where others do it.  Raises MachineError."""
    if settings.machines == "none":
        return None
    if settings.machines == "simulated":
        simulated = SimulatedDriver()
        return Machines(simulated, Keeper(store, simulated, watcher=watcher), None)
    from control.machines.netns.driver import NetnsDriver

    driver = NetnsDriver(settings.data, hidden=_secrets(settings))
    cables = Cables(store, driver, settings.data, settings.uplinks)
    return Machines(driver, Keeper(store, driver, cables.lay, watcher), cables)


def _secrets(settings: ControlSettings) -> list[Path]:
    """What machines do not see of this host, besides the data directory: private keys, wherever they lie."""
    return [Path(path) for path in (settings.key_file, settings.tls and settings.tls.key) if path]


async def serve(settings: ControlSettings) -> None:
    """Serve until SIGTERM or SIGINT.  Raises EdgeErrors for whatever keeps it from starting, and what ended a part of
    it: a service that takes changes no edge gets is worse than none."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    logging.getLogger("alembic").setLevel(logging.WARNING)  # how it works is nobody's business at each start
    address = _checked(settings)
    sys.setswitchinterval(SWITCH_S)
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopping.set)
    async with AsyncExitStack() as stack:
        from control.api.dispatch import Dispatcher
        from control.api.door import DOOR, DoorCredentials
        from control.api.later import Later
        from control.api.remote_edge import dialled
        from control.api.server import ControlServer
        from control.fleet.fleet import Fleet
        from control.fleet.plans import Plans
        from control.metrics import ControlMetrics
        from edge.metrics_server import MetricsServer

        found = stack.enter_context(opened(settings, Surroundings()))

        store = found.store
        metrics = ControlMetrics(
            lambda: _counted(store, Reader.object_counts),
            lambda: _counted(store, Reader.edge_counts),
            version("t1edge"),
            lambda: _counted(store, book.power_counts),
        )
        if settings.metrics is not None:
            exposition = MetricsServer(metrics.page, settings.metrics)
            stack.callback(exposition.stop)
            _log.info("metrics on http://%s/metrics", exposition.start())
        run = await asyncio.to_thread(made_machines, settings, store, metrics)
        if run is not None:
            stack.push_async_callback(asyncio.to_thread, run.keeper.stop)
            _log.info("machines: %s", settings.machines)
        plans = Plans(checked)
        fleet = Fleet(
            store,
            settings.data / EDGES,
            planned,
            metrics,
            partial(dialled, own=_own(found, server=False)),
            plans=plans,
            links=run.links if run else None,
            machines=run.keeper if run else None,
        )
        metrics.watch(fleet.agreed)
        later = Later()
        stack.push_async_callback(asyncio.to_thread, later.close)
        dispatcher = Dispatcher(
            store, found.vault, found.passwords, metrics,
            check=plans.check, fleet=fleet, keeper=run.keeper if run else None, later=later,
        )  # fmt: skip
        server = ControlServer(dispatcher, address, settings.tls, run.driver if run else None)
        stack.push_async_callback(server.stop)
        listening = await server.start()
        where = "clients show certificates" if settings.tls else "without TLS: only this machine can connect"
        _log.info("gRPC on %s, %s", listening, where)
        if settings.enroll:
            own = await asyncio.to_thread(_prepared, found)
            door = ControlServer(dispatcher, parse_address(settings.enroll), DoorCredentials(own), only=DOOR)
            stack.push_async_callback(door.stop)
            _log.info("edges enrol on %s", await door.start())
        works = [fleet.run(), settled(fleet), _watch_database(store, server, metrics)]
        if run is not None:
            works.append(_attended(run.keeper))
        for work in works:
            await stack.enter_async_context(_beside(work, stopping.set))
        if run is not None and not store.shared:
            while not (run.keeper.adopted.is_set() or stopping.is_set()):
                await asyncio.sleep(ADOPTED_S)
        _log.info("the control plane serves %s", "control.v1")
        await stopping.wait()
        _log.info("stopping")


def _own(found: Opened, *, server: bool) -> OwnCertificate:
    return OwnCertificate(
        lambda: authority_of(found.store, found.vault), found.store.surroundings.now_ns, server=server
    )  # fmt: skip


def _prepared(found: Opened) -> OwnCertificate:
    """What edges meet that enrol: it is there, or is not going to be.  Raises StoreError, KeyFileError."""
    own = _own(found, server=True)
    own.get()
    return own


async def settled(fleet: Fleet) -> None:
    """Until those edges run that there are at the start: the garbage collector rests while they are made, and need not
    visit them afterwards.  They stay, and to look at a thousand of them takes it a second, again and again."""
    usual = gc.get_threshold()
    before = quiet = looks = 0
    try:
        while quiet < QUIET and looks < LOOKS:
            await asyncio.sleep(SETTLING_S)
            now = fleet.agreed()
            quiet = quiet + 1 if now == before else 0
            if now == before == 0:
                quiet = 0  # another replica leads, or there are none yet
                continue
            looks += 1
            before = now
            gc.set_threshold(0)  # not disable(): reading documents turns that on again, each in its thread
        gc.freeze()
    finally:
        gc.set_threshold(*usual)


def _counted(store: Store, count: Callable[[Reader], dict[str, int]]) -> dict[str, int] | None:
    """None while the database is away."""
    try:
        with store.read() as state:
            return count(state)
    except StoreError:
        return None


@asynccontextmanager
async def _beside(work: Coroutine[Any, Any, None], failed: Callable[[], None]) -> AsyncIterator[None]:
    """``work`` is done meanwhile.  If it fails, that is logged, ``failed`` called, and raised at the end."""

    def ended(task: asyncio.Task[None]) -> None:
        if not task.cancelled() and (error := task.exception()) is not None:
            _log.critical("a bug of the control plane ended a part of it: it stops", exc_info=error)
            failed()

    task = asyncio.create_task(work)
    task.add_done_callback(ended)
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait([task])
        if not task.cancelled():
            task.result()


async def _attended(keeper: Keeper) -> None:
    """Raises the bug that ends one of the keeper's threads."""
    await asyncio.wrap_future(keeper.broken)


async def _watch_database(store: Store, server: ControlServer, metrics: ControlMetrics) -> None:
    """Whoever asks for the health is told whether the database answers."""
    answered = True
    while True:
        answers = await asyncio.to_thread(store.answers)
        metrics.database(answers)
        if answers != answered:
            _log.log(logging.INFO if answers else logging.ERROR, "the database %s", "is back" if answers else "is away")
            await server.set_serving(answers)
        answered = answers
        await asyncio.sleep(DATABASE_S)


def _checked(settings: ControlSettings) -> Address:
    """Where gRPC listens.  Raises EdgeErrors for options that cannot be meant, before a directory is made."""
    address = parse_address(settings.listen)
    if settings.tls is None:
        check_local(address)
    else:
        from edge.api.host import credentials_for

        credentials_for(address, settings.tls)
    if settings.metrics is not None:
        metrics_address(settings.metrics)
    if settings.machines == "netns" and settings.database:
        raise MachineError(
            "--machines netns needs a control plane alone with its data: with --database, edges run in the replica "
            "that leads, and machines only in the one that has them"
        )
    if settings.enroll and parse_address(settings.enroll).path:
        raise AddressError(f"{settings.enroll}: edges enrol over TLS, from other machines: expected HOST:PORT")
    if settings.machines == "netns" and os.geteuid() != 0:
        raise MachineError(NEEDS_ROOT)
    return address
