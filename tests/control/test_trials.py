"""Trials: what ``validate_only`` does, on a copy, in its organization's turn."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path
from typing import Any

import psycopg
import pytest

from control import names
from control.api import turns
from control.api.client import ControlClient
from control.api.dispatch import Dispatcher
from control.api.turns import Turns
from control.errors import TooManyTrialsError
from control.store import trial
from control.store.schema import METADATA
from control.store.unit import PROVIDER, WriteUnit
from edge.api.client import CallError, UnreachableError
from tests.control.cloud import Cloud
from tests.control.edges import Tenant
from tests.control.served import served
from tests.control.world import RefusedError, World, world_at

SET = {"ip_addresses": ["10.0.0.1"]}


@pytest.fixture
def tenants(either: World) -> tuple[Tenant, Tenant]:
    admin = either.administrator()
    return Tenant(either, admin, "US1"), Tenant(either, admin, "US2", 2)


def tried(tenant: Tenant, name: str, /, **request: Any) -> dict[str, Any]:
    return tenant.call(name, {**request, "validateOnly": True})


def refused(tenant: Tenant, name: str, /, **request: Any) -> str:
    with pytest.raises(RefusedError) as found:
        tried(tenant, name, **request)
    return found.value.reason


def test_others_write_while_something_is_tried(tenants: tuple[Tenant, Tenant]) -> None:
    tenant = tenants[0]
    world, written = tenant.world, []

    def write() -> None:
        with world.store.write(PROVIDER) as unit:
            unit.set_facts({"beside": "1"})
            unit.move(unit.get(tenant.lan), 7)
            written.append(True)

    def check(unit: WriteUnit) -> None:
        other = threading.Thread(target=write, daemon=True)
        other.start()
        other.join(10)
        # It is tried on the state of one moment.
        assert (unit.fact("beside"), unit.get(tenant.lan).position) == (None, 0)

    world.dispatcher = Dispatcher(world.store, world.vault, world.passwords, world, check=check)
    name, request = tenant.making("ip_set", "x", **SET)
    answer = tried(tenant, name, **request)
    assert written == [True]
    assert answer["task"]["status"] == "TASK_STATUS_RUNNING"
    with world.store.read() as state:
        assert (state.fact("beside"), state.find(f"{tenant.edge}/ipSets/x")) == ("1", None)
        with pytest.raises(Exception, match="there is no"):
            state.task(answer["task"]["name"])


def test_a_trial_is_judged_as_the_call_would_be(tenants: tuple[Tenant, Tenant]) -> None:
    tenant, other = tenants
    made = tenant.make("ip_set", "web", **SET)
    tenant.make("firewall_rule", "in", action_value="ALLOW", destination_firewall_groups=[made])
    name, request = tenant.making("ip_set", "web", **SET)
    assert refused(tenant, name, **request) == "OBJECT_EXISTS"
    assert refused(tenant, "GroupService/DeleteIpSet", name=made) == "OBJECT_IN_USE"
    change = {"name": made, "description": "x", "etag": "another"}
    assert refused(tenant, "GroupService/UpdateIpSet", ipSet=change, updateMask="description") == "ETAG_MISMATCH"
    theirs = other.make("ip_set", "web", **SET)
    assert refused(tenant, "GroupService/DeleteIpSet", name=theirs) == "OBJECT_UNKNOWN"
    # Addresses that other organizations have are taken.
    got = tried(tenant, "OrderService/AddPublicIpAddress", edge=tenant.edge, quantity=20)["addresses"]
    assert not {*got} & {*tenant.addresses, *other.addresses}
    assert tenant.call("OrderService/AddPublicIpAddress", {"edge": tenant.edge, "quantity": 20})["addresses"] == got


def test_every_table_is_copied_or_begins_empty() -> None:
    only_added_to = {"tasks", "task_waits", "events", "audit", "requests", "attempts"}
    assert {table.name for table in METADATA.sorted_tables} == only_added_to | trial.COPIED.keys()


@pytest.mark.needs("postgres")
def test_the_state_before_a_trial_is_found_in_a_schema_whose_name_needs_quotes(postgres: str, tmp_path: Path) -> None:
    with psycopg.connect(postgres.format(name="postgres"), autocommit=True) as db:
        db.execute("CREATE DATABASE quoted")
        db.execute('ALTER DATABASE quoted SET search_path = "t1-edge"')
    url = postgres.format(name="quoted")
    with psycopg.connect(url, autocommit=True) as db:
        db.execute('CREATE SCHEMA "t1-edge"')
    with world_at(tmp_path / "data", url) as world, world.store.attempt(PROVIDER, "orgs/US1") as (unit, before):
        unit.set_facts({"beside": "1"})
        assert (unit.fact("beside"), before.fact("beside")) == ("1", None)
        assert before.get(names.SYSTEM).path == names.SYSTEM


def test_every_kind_of_method_can_be_tried(either: World) -> None:
    cloud = Cloud(either)
    vdc = cloud.vdc()["vdc"]["name"]
    with either.store.read() as state:
        before = state.object_counts()
    maria = "orgs/US1/users/maria"
    user = {"username": "eva", "email": "e@example.com", "firstName": "E", "lastName": "V", "role": "ROLE_STAFF"}
    template, size = "regions/MIA/templates/debian-10", "sizingPolicies/gp.small-01"
    machine = {"displayName": "m", "template": template, "sizingPolicy": size}
    for name, request, token in (
        ("UserService/CreateUser", {"parent": "orgs/US1", "user": user}, cloud.maria),
        ("UserService/ResetUserCredentials", {"name": maria}, cloud.admin),
        ("ApiTokenService/CreateApiToken", {"parent": maria, "apiToken": {"displayName": "t"}}, cloud.maria),
        ("NetworkService/CreateNetwork", cloud.network("i", vdc), cloud.maria),
        ("MachineService/CreateMachine", {"parent": vdc, "machine": machine}, cloud.maria),
        ("OrgService/UpdateOrg", {"org": {"name": "orgs/US1", "displayName": "x"}}, cloud.maria),
    ):
        assert either.call(name, {**request, "validateOnly": True}, token)
    with either.store.read() as state:
        assert state.object_counts() == before
    assert either.call("OrgService/GetOrg", {"name": "orgs/US1"}, cloud.maria)["org"]["displayName"] != "x"


def test_an_organization_has_one_turn_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(turns, "MOST", 3)

    async def run() -> None:
        found, told, go = Turns(), [], asyncio.Event()

        async def work(org: str, number: int) -> None:
            async with found.take(org):
                told.append((org, number))
                await go.wait()

        tasks = [asyncio.create_task(work("a", number)) for number in range(3)]
        tasks.append(asyncio.create_task(work("b", 0)))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert told == [("a", 0), ("b", 0)]
        with pytest.raises(TooManyTrialsError, match="3 calls of a with"):
            await work("a", 3)
        tasks.pop(1).cancel()  # whoever goes away makes room
        await asyncio.sleep(0)
        tasks.append(asyncio.create_task(work("a", 4)))
        go.set()
        await asyncio.gather(*tasks)
        assert told == [("a", 0), ("b", 0), ("a", 2), ("a", 4)]
        async with found.take("a"):
            pass

    asyncio.run(run())


def test_one_organizations_trials_keep_no_other_waiting(world: World, tmp_path: Path) -> None:
    admin = world.administrator()
    tenant, other = Tenant(world, admin, "US1"), Tenant(world, admin, "US2", 2)
    begun, go = threading.Event(), threading.Event()

    def check(unit: WriteUnit) -> None:
        if unit.actor.path.startswith(f"{tenant.org}/"):
            begun.set()
            assert go.wait(30)

    world.dispatcher = Dispatcher(world.store, world.vault, world.passwords, world, check=check)

    def make(of: Tenant, number: int, *, trial: bool) -> str:
        name, request = of.making("ip_set", f"x{number}", **SET)
        with ControlClient(commands.address, of.token) as client:
            try:
                client.call(name, {**request, "validate_only": trial})
            except CallError as error:
                return error.code
        return "OK"

    with served(world, tmp_path) as commands:
        answers: list[str] = []
        threads = [
            threading.Thread(target=lambda number=number: answers.append(make(tenant, number, trial=True)), daemon=True)
            for number in range(turns.MOST + 1)
        ]
        for thread in threads:
            thread.start()
        assert begun.wait(10)
        assert make(other, 1, trial=True) == make(other, 1, trial=False) == "OK"
        go.set()
        for thread in threads:
            thread.join(30)
    assert sorted(answers) == ["OK"] * turns.MOST + ["TOO_MANY_TRIALS"]


def test_the_turn_of_a_call_that_is_cancelled_lasts_as_long_as_its_trial(world: World, tmp_path: Path) -> None:
    tenant = Tenant(world, world.administrator(), "US1")
    begun, go, runs = threading.Semaphore(0), threading.Event(), []

    def check(_: WriteUnit) -> None:
        runs.append(threading.current_thread())
        begun.release()
        assert go.wait(30)

    world.dispatcher = Dispatcher(world.store, world.vault, world.passwords, world, check=check)
    name, request = tenant.making("ip_set", "x", **SET)
    answers: list[dict[str, Any]] = []

    with served(world, tmp_path) as commands, ControlClient(commands.address, tenant.token) as client:
        with ControlClient(commands.address, tenant.token, timeout_s=1) as hasty, pytest.raises(UnreachableError):
            hasty.call(name, {**request, "validate_only": True})
        assert begun.acquire(timeout=10)
        call = threading.Thread(
            target=lambda: answers.append(client.call(name, {**request, "validate_only": True})), daemon=True
        )
        call.start()
        beside = begun.acquire(timeout=0.5)
        go.set()
        call.join(30)
    assert (beside, len(answers), len(runs)) == (False, 1, 2)
