"""Hosts that edges have left: they forward nothing any more, and whoever serves another edge by then is left alone."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from control.api.remote_edge import RemoteEdge
from control.checking import planned
from control.fleet import clearing
from control.fleet.access import EdgeUnreachableError, Seen
from control.fleet.book import EPOCH, LeadershipLostError
from control.fleet.clearing import NOBODY, Clearing, StoreHosts
from control.fleet.fleet import Fleet
from control.fleet.leader import Alone, begin
from control.objects import Org
from control.planner import object_id
from control.store import Store, WriteUnit
from control.store.records import EdgeHost, FormerHost
from control.store.unit import PROVIDER
from edge.errors import EtagMismatchError, StaleEpochError
from tests.control.cloud import Cloud
from tests.control.fleets import Manned, manned
from tests.control.paper import PATIENCE_S, Counts, until
from tests.control.served import served
from tests.control.test_enrolment import free_address, hosted, on_host, run_enroll, token_for
from tests.control.test_fleet import EDGE, OUT, allow, ended
from tests.control.world import World
from tests.gateways import run
from tests.serve.process import Service
from tests.support import SAMPLE
from tests.waiting import wait_for

OTHER = "orgs/US1/edges/other"
A, B = "127.0.0.1:7001", "127.0.0.1:7002"


@dataclass
class Host:
    """A process at an address."""

    edge: str = EDGE
    failures: list[Exception] = field(default_factory=list)
    applied: list[tuple[str, str, int]] = field(default_factory=list)
    looks: int = 0

    async def look(self) -> Seen:
        self.looks += 1
        if self.failures:
            raise self.failures.pop(0)
        return Seen(f"etag-{len(self.applied)}", object_id(self.edge) if self.edge else NOBODY)

    async def apply(self, text: str, etag: str, epoch: int) -> str:
        if self.failures:
            raise self.failures.pop(0)
        self.applied.append((json.loads(text)["edgeGateway"]["id"], etag, epoch))
        self.edge = ""
        return "new"

    async def close(self) -> None:
        pass


@pytest.fixture
def store(either: World) -> Store:
    """With two edges."""
    with either.store.write(PROVIDER) as unit:
        unit.create("org", "orgs/US1", Org(account_id="US1", display_name="x"))
        for path in (EDGE, OTHER):
            unit.create("edge_gateway", path, Org(account_id="US1", display_name=path))
    return either.store


def write(store: Store, change: Callable[[WriteUnit], object]) -> None:
    with store.write(PROVIDER) as unit:
        change(unit)


def former(store: Store) -> list[tuple[str, str, str]]:
    with store.read() as state:
        return [(host.edge, host.address, host.identity) for host in state.former_hosts()]


def kinds(store: Store) -> list[str]:
    with store.read() as state:
        events = state.events_after("orgs/US1", 0, 100)
    return [event.kind for event in events if event.kind.startswith("EDGE_HOST")]


@asynccontextmanager
async def clears(
    store: Store,
    hosts: dict[str, Any],
    busy: Callable[[str], bool] = lambda _: False,
    taken: set[str] | None = None,
) -> AsyncIterator[int]:
    """A leader at work; its epoch."""
    epoch = begin(store)
    sends = set() if taken is None else taken
    work = Clearing(StoreHosts(store), lambda address, _: hosts[address], Alone(epoch), busy, sends)
    task = asyncio.create_task(work.run())
    try:
        yield epoch
    finally:
        task.cancel()
        await asyncio.wait([task])


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clearing, "ASK_S", 0.01)
    monkeypatch.setattr(clearing, "BACKOFF_S", (0.01, 0.02))


# ------------------------------------------------------------------ the list


def test_who_moves_or_is_deleted_leaves_a_host(store: Store) -> None:
    write(store, lambda unit: unit.set_edge_host(EdgeHost(EDGE, A, "first")))
    assert former(store) == []
    write(store, lambda unit: unit.set_edge_host(EdgeHost(EDGE, A, "second")))  # another certificate, the same host
    assert former(store) == []
    write(store, lambda unit: unit.set_edge_host(EdgeHost(EDGE, B)))
    assert former(store) == [(EDGE, A, "second")]
    write(store, lambda unit: unit.set_edge_host(EdgeHost(EDGE, A)))  # it is back: there is nothing to clear
    assert former(store) == [(EDGE, B, "")]
    write(store, lambda unit: unit.remove_edge_host(EDGE))
    write(store, lambda unit: unit.remove_edge_host(EDGE))
    assert former(store) == [(EDGE, A, ""), (EDGE, B, "")] or former(store) == [(EDGE, B, ""), (EDGE, A, "")]
    write(store, lambda unit: unit.set_edge_host(EdgeHost(OTHER, "", token_hash="x", token_address=A)))
    write(store, lambda unit: unit.delete(unit.get(OTHER), ""))  # nobody has enrolled
    assert {edge for edge, _, _ in former(store)} == {EDGE}


def test_a_host_that_has_another_certificate_by_now_is_known_by_that(store: Store) -> None:
    write(store, lambda unit: unit.set_edge_host(EdgeHost(EDGE, A, "first")))
    write(store, lambda unit: unit.delete(unit.get(EDGE), ""))
    assert former(store) == [(EDGE, A, "first")]
    write(store, lambda unit: unit.set_edge_host(EdgeHost(OTHER, A, "second")))
    assert former(store) == [(EDGE, A, "second")]


# ------------------------------------------------------------------ what is done with it


def leave(store: Store) -> None:
    write(store, lambda unit: unit.set_edge_host(EdgeHost(EDGE, A)))
    write(store, lambda unit: unit.delete(unit.get(EDGE), ""))


def test_a_host_that_answers_at_last_is_cleared(store: Store) -> None:
    async def test() -> None:
        leave(store)
        away = EdgeUnreachableError("nobody answers")
        host = Host(failures=[away, away, EtagMismatchError("just changed"), StaleEpochError("a later one"), away])
        async with clears(store, {A: host}) as epoch:
            await until("it is cleared", lambda: not former(store))
        assert host.applied == [(NOBODY, "etag-0", epoch)]
        assert kinds(store) == [
            "EDGE_HOST_NOT_CLEARED", "EDGE_HOST_NOT_CLEARED", "EDGE_HOST_NOT_CLEARED", "EDGE_HOST_CLEARED",
        ]  # fmt: skip

    run(test)


@pytest.mark.parametrize("by_now", [OTHER, ""])
def test_whoever_serves_another_edge_by_now_is_left_alone(store: Store, by_now: str) -> None:
    async def test() -> None:
        leave(store)
        host = Host(by_now)
        async with clears(store, {A: host}):
            await until("there is nothing to clear", lambda: not former(store))
        assert host.applied == []

    run(test)


def test_while_something_is_on_its_way_there_it_waits(store: Store) -> None:
    async def test() -> None:
        leave(store)
        host, busy = Host(), [A]
        async with clears(store, {A: host}, busy.__contains__):
            await asyncio.sleep(0.1)
            assert host.looks == 0
            busy.clear()
            await until("it is cleared", lambda: not former(store))

    run(test)


def come_back(store: Store) -> None:
    """An edge of the same name is made at the same address."""

    def change(unit: WriteUnit) -> None:
        unit.create("edge_gateway", EDGE, Org(account_id="US1", display_name=EDGE))
        unit.set_edge_host(EdgeHost(EDGE, A))

    write(store, change)


@dataclass
class Slow(Host):
    """It says what it is a while after it was asked, and takes a document a while after that was sent."""

    asked: asyncio.Event = field(default_factory=asyncio.Event)
    answers: asyncio.Event = field(default_factory=asyncio.Event)
    sent: asyncio.Event = field(default_factory=asyncio.Event)
    takes: asyncio.Event = field(default_factory=asyncio.Event)

    async def look(self) -> Seen:
        found = await super().look()
        self.asked.set()
        await self.answers.wait()
        return found

    async def apply(self, text: str, etag: str, epoch: int) -> str:
        self.sent.set()
        await self.takes.wait()
        return await super().apply(text, etag, epoch)


def test_an_edge_that_comes_back_while_other_hosts_are_asked_is_left_alone(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(clearing, "AT_ONCE", 1)

    async def test() -> None:
        write(store, lambda unit: unit.set_edge_host(EdgeHost(OTHER, B)))
        write(store, lambda unit: unit.remove_edge_host(OTHER))
        away, host = Slow(OTHER), Host()
        async with clears(store, {B: away, A: host}):
            await asyncio.wait_for(away.asked.wait(), PATIENCE_S)
            leave(store)
            await asyncio.sleep(0.2)  # it is its turn, but for the other one
            come_back(store)
            away.takes.set()
            away.answers.set()
            await until("there is nothing to clear", lambda: not former(store))
            await asyncio.sleep(0.1)
        assert host.applied == []
        assert kinds(store) == ["EDGE_HOST_CLEARED"]  # the other one

    run(test)


def test_an_edge_that_comes_back_while_it_is_looked_for_is_left_alone(store: Store) -> None:
    async def test() -> None:
        leave(store)
        host = Slow()
        async with clears(store, {A: host}):
            await asyncio.wait_for(host.asked.wait(), PATIENCE_S)
            come_back(store)
            host.takes.set()
            host.answers.set()
            await asyncio.sleep(0.2)
        assert host.applied == []
        assert kinds(store) == []

    run(test)


def test_a_push_that_begins_while_the_host_is_looked_at_comes_first(store: Store) -> None:
    async def test() -> None:
        leave(store)
        host, busy = Slow(), set[str]()
        async with clears(store, {A: host}, busy.__contains__):
            await asyncio.wait_for(host.asked.wait(), PATIENCE_S)
            busy.add(A)
            host.answers.set()
            await asyncio.sleep(0.1)
            assert not host.sent.is_set()
            busy.clear()
            host.takes.set()
            await until("it is cleared", lambda: not former(store))

    run(test)


def test_an_address_is_taken_as_long_as_something_is_sent_there(store: Store) -> None:
    async def test() -> None:
        leave(store)
        host, taken = Slow(), set[str]()
        host.answers.set()
        async with clears(store, {A: host}, taken=taken):
            await asyncio.wait_for(host.sent.wait(), PATIENCE_S)
            assert taken == {A}
            host.takes.set()
            await until("it is cleared", lambda: not former(store))
            assert taken == set()

    run(test)


def test_a_leader_that_was_followed_writes_nothing(store: Store) -> None:
    leave(store)
    book, epoch = StoreHosts(store), begin(store)
    begin(store)
    host = book.former()[0]
    with pytest.raises(LeadershipLostError):
        book.cleared(epoch, host)
    with pytest.raises(LeadershipLostError):
        book.not_cleared(epoch, host, "UNREACHABLE", "x")
    assert book.former() == [host]

    async def test() -> None:
        async with clears(store, {A: Host()}) as now:
            write(store, lambda unit: unit.set_facts({EPOCH: str(now + 1)}))
            await asyncio.sleep(0.2)
        assert former(store) == [(EDGE, A, "")]

    run(test)


def test_a_bug_in_it_ends_the_whole_fleet(store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(_: StoreHosts) -> list[FormerHost]:
        raise RuntimeError("a bug")

    def nobody(address: str, _: str) -> RemoteEdge:
        raise AssertionError(f"{address} is nobody's")

    monkeypatch.setattr(StoreHosts, "former", broken)
    counts = Counts()
    fleet = Fleet(store, tmp_path / "edges.sqlite3", planned, counts, nobody)

    async def test() -> None:
        with pytest.raises(RuntimeError, match="a bug"):
            await asyncio.wait_for(fleet.run(), PATIENCE_S)
        assert (fleet.epoch, counts.leader) == (0, False)

    run(test)


# ------------------------------------------------------------------ with edges that run


def hosts_of(cloud: Cloud) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = cloud.call("EdgeHostService/ListFormerHosts", {}, cloud.admin)["formerHosts"]
    return found


def audit_of_system(cloud: Cloud) -> dict[str, Any]:
    """The newest record."""
    request = {"parent": "orgs/system", "orderBy": "number desc", "pageSize": 1}
    found: dict[str, Any] = cloud.call("AuditService/ListAuditRecords", request, cloud.admin)["records"][0]
    return found


def move(cloud: Cloud, address: str = "", edge: str = EDGE) -> dict[str, Any]:
    request = {"edgeHost": {"edge": edge, "address": address}}
    found: dict[str, Any] = cloud.call("EdgeHostService/SetEdgeHost", request, cloud.admin)["task"]
    return found


def verdict_at(service: Service) -> str:
    with service.client() as client:
        return str(client.trace([OUT], ignore_sessions=True).results[0].verdict.name)


def gateway_at(service: Service) -> str:
    with service.client() as client:
        return str(json.loads(client.config()[1])["edgeGateway"]["id"])


@pytest.fixture
def file(tmp_path: Path) -> Path:
    found = tmp_path / "edge.yaml"
    found.write_text(SAMPLE)
    return found


def ready(world: Manned, address: str) -> Cloud:
    """With an edge at an address that lets everything pass."""
    cloud = Cloud(world)
    cloud.vdc()
    world.settled()
    assert ended(cloud, move(cloud, address))["status"] == "TASK_STATUS_SUCCESS"
    ended(cloud, allow(cloud))
    return cloud


def test_a_host_that_an_edge_has_left_forwards_nothing_and_takes_another_edge(tmp_path: Path, file: Path) -> None:
    with manned(tmp_path / "data") as world, Service(tmp_path, file, "--data", str(tmp_path / "edge")) as service:
        cloud = ready(world, service.address)
        assert verdict_at(service) == "ALLOW"
        ended(cloud, move(cloud))
        wait_for("it is cleared", lambda: hosts_of(cloud) == [])
        assert verdict_at(service) == "DROP"
        assert gateway_at(service) == NOBODY
        more = {"parent": cloud.org, "vdc": cloud.names("VdcService", "Vdcs")[0], "gatewayCidr": "10.77.0.1/24",
                "lanName": "two", "wanAccess": "WAN_ACCESS_INTERNET"}  # fmt: skip
        cloud.call("OrderService/AddEdgeGateway", more)
        other = next(name for name in cloud.names("EdgeGatewayService", "EdgeGateways") if name != EDGE)
        assert ended(cloud, move(cloud, service.address, other))["status"] == "TASK_STATUS_SUCCESS"
        assert gateway_at(service) == object_id(other)
        task = ended(cloud, move(cloud, service.address))  # the process there is the other's by now
        assert (task["status"], task["error"]["reason"]) == ("TASK_STATUS_ERROR", "OTHER_EDGE")
        assert gateway_at(service) == object_id(other)


def test_a_host_that_was_away_is_cleared_after_a_restart(tmp_path: Path, file: Path) -> None:
    data = str(tmp_path / "edge")
    with manned(tmp_path / "data") as world:
        with Service(tmp_path, file, "--data", data) as service:
            cloud = ready(world, service.address)
            cloud.call("FirewallService/DeleteFirewallRule", {"name": f"{EDGE}/firewallRules/out"})
            network = cloud.names("NetworkService", "Networks")[0]
            ended(cloud, cloud.call("NetworkService/DeleteNetwork", {"name": network})["task"])
            assert gateway_at(service) == object_id(EDGE)
            service.kill()
        cloud.call("EdgeGatewayService/DeleteEdgeGateway", {"name": EDGE})
        wait_for("that is seen", lambda: [host["reason"] for host in hosts_of(cloud)] == ["UNREACHABLE"])
        world.close()
        world.open()
        assert [(host["edge"], host["address"]) for host in hosts_of(cloud)] == [(EDGE, service.address)]
        with Service(tmp_path, file, "--data", data, listen=service.address) as again:
            wait_for("it is cleared", lambda: hosts_of(cloud) == [])
            assert gateway_at(again) == NOBODY
            again.kill()
        with Service(tmp_path, file, "--data", data, listen=service.address) as third:
            assert gateway_at(third) == NOBODY  # it stays so


def test_a_host_that_is_gone_is_forgotten_when_the_provider_says_so(tmp_path: Path) -> None:
    with manned(tmp_path / "data") as world:
        cloud = Cloud(world)
        cloud.vdc()
        world.settled()
        move(cloud, "127.0.0.1:1")
        world.now_s += 20
        move(cloud)
        assert [host["address"] for host in hosts_of(cloud)] == ["127.0.0.1:1"]
        forget = {"edge": EDGE, "address": "127.0.0.1:1"}
        cloud.call("EdgeHostService/ForgetFormerHost", {**forget, "validateOnly": True}, cloud.admin)
        assert len(hosts_of(cloud)) == 1
        cloud.call("EdgeHostService/ForgetFormerHost", forget, cloud.admin)
        assert hosts_of(cloud) == []
        assert cloud.refused("EdgeHostService/ForgetFormerHost", forget, cloud.admin).reason == "OBJECT_UNKNOWN"
        assert audit_of_system(cloud)["object"] == EDGE


def test_an_enrolled_host_is_cleared(tmp_path: Path) -> None:
    files, address = tmp_path / "tls", free_address()
    with hosted(tmp_path) as (world, cloud, control):
        run_enroll(control, token_for(cloud, address), files)
        with on_host(tmp_path / "host", address, files) as service:
            world.settled()
            ended(cloud, move(cloud))
            wait_for("it is cleared", lambda: hosts_of(cloud) == [])
            service.kill()


def test_the_commands_for_hosts_that_edges_have_left(world: World, tmp_path: Path) -> None:
    with served(world, tmp_path) as commands:
        cloud = Cloud(world)
        cloud.vdc()
        world.realize([EDGE])
        empty = commands.run(cloud.admin, "edges", "former-hosts", "--json").output
        assert json.loads(empty) == {"formerHosts": []}
        write(world.store, lambda unit: unit.set_edge_host(EdgeHost(EDGE, A)))
        write(world.store, lambda unit: unit.remove_edge_host(EDGE))
        shown = commands.run(cloud.admin, "edges", "former-hosts").output
        assert EDGE in shown
        assert A in shown
        forget = ("edges", "forget-host", EDGE, A)
        assert commands.run(cloud.admin, *forget, "--validate-only").output == f"{A}: could be forgotten\n"
        assert commands.run(cloud.admin, *forget).output == f"{A}: forgotten\n"
        assert former(world.store) == []
        assert "OBJECT_UNKNOWN" in commands.run(cloud.admin, *forget, "--json", code=1).output
        assert "PERMISSION_DENIED" in commands.run(cloud.maria, "edges", "former-hosts", code=1).output
