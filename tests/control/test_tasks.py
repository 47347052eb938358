"""Changes of edges: what an edge should have, the tasks that wait for it, and who has to wait for a busy one."""

from __future__ import annotations

import asyncio
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from control.api.client import ControlClient
from control.api.dispatch import Dispatcher
from control.api.server import ControlServer
from control.store.unit import PROVIDER, WriteUnit
from edge.api.client import CallError
from edge.errors import ArgumentError
from edge.listening import parse_address
from tests.control.cloud import Cloud
from tests.control.world import RefusedError, World

EDGE = "orgs/US1/edges/T1-US1-MIA"
LAN = "orgs/US1/networks/LAN-MIA"


class Calm:
    """Nobody brings edges to what they should have, unless the test does."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.cloud = Cloud(world)
        self.cloud.vdc()
        world.attended = False
        world.woken.clear()

    def change(self, text: str, **more: Any) -> dict[str, Any]:
        request = {"network": {"name": LAN, "description": text}, "updateMask": "description", **more}
        found: dict[str, Any] = self.cloud.call("NetworkService/UpdateNetwork", request)["task"]
        return found

    def task(self, task: dict[str, Any]) -> dict[str, Any]:
        found: dict[str, Any] = self.cloud.call("TaskService/GetTask", {"name": task["name"]})["task"]
        return found

    def state(self, edge: str = EDGE) -> tuple[str, str, str]:
        found = self.cloud.call("EdgeGatewayService/GetEdgeGateway", {"name": edge})["edgeGateway"]["state"]
        return found["status"].removeprefix("EDGE_STATUS_"), found["desiredRevision"], found["realizedRevision"]


@pytest.fixture
def calm(either: World) -> Calm:
    return Calm(either)


@pytest.fixture
def quick(world: World) -> Calm:
    return Calm(world)


def test_a_task_goes_on_until_its_edge_has_what_it_should(calm: Calm) -> None:
    assert calm.state() == ("REALIZED", "1", "1")
    task = calm.change("a")
    assert task["status"] == calm.task(task)["status"] == "TASK_STATUS_RUNNING"
    assert "endTime" not in task
    assert calm.world.woken == [EDGE]
    assert calm.state() == ("PENDING", "2", "1")
    calm.world.now_s += 11
    second = calm.change("b")
    assert calm.state() == ("PENDING", "3", "1")
    with calm.world.store.write(PROVIDER) as unit:
        unit.realized(EDGE, 2, "e2")
    assert calm.task(task)["status"] == "TASK_STATUS_SUCCESS"
    assert calm.task(task)["endTime"] > task["startTime"]
    assert calm.task(second)["status"] == "TASK_STATUS_RUNNING"
    assert calm.state() == ("PENDING", "3", "2")
    with calm.world.store.write(PROVIDER) as unit:
        unit.realized(EDGE, 3, "e3")
        unit.realized(EDGE, 2, "e2")  # an answer that comes late takes nothing back
    assert calm.task(second)["status"] == "TASK_STATUS_SUCCESS"
    assert calm.state() == ("REALIZED", "3", "3")


def test_a_task_fails_with_its_edge(calm: Calm) -> None:
    task = calm.change("a")
    with calm.world.store.write(PROVIDER) as unit:
        unit.failed(EDGE, 2, "NOT_EMULATED", "the edge does not do that")
        unit.failed(EDGE, 1, "LATE", "about a state that the edge has had")
        unit.failed("orgs/US1/edges/none", 1, "X", "y")
        unit.realized("orgs/US1/edges/none", 1, "e")
    found = calm.task(task)
    assert (found["status"], found["error"]["reason"]) == ("TASK_STATUS_ERROR", "NOT_EMULATED")
    state = calm.cloud.call("EdgeGatewayService/GetEdgeGateway", {"name": EDGE})["edgeGateway"]["state"]
    assert (state["status"], state["reason"]) == ("EDGE_STATUS_ERROR", "NOT_EMULATED")
    # The next change is another state, which the edge may take.
    second = calm.change("b")
    assert calm.state() == ("PENDING", "3", "1")
    calm.world.realize([EDGE])
    assert calm.task(second)["status"] == "TASK_STATUS_SUCCESS"
    assert calm.task(task)["status"] == "TASK_STATUS_ERROR"


def group(calm: Calm) -> str:
    """A group that has two edges."""
    calm.world.attended = True
    vdc = calm.cloud.names("VdcService", "Vdcs")[0]
    request = {"parent": calm.cloud.org, "vdc": vdc, "gatewayCidr": "10.30.0.1/24", "lanName": "lan"}
    calm.cloud.call("OrderService/AddEdgeGateway", request)
    fields = {"displayName": "g", "region": "regions/MIA", "vdcs": [vdc]}
    made = calm.cloud.call("VdcService/CreateVdcGroup", {"parent": calm.cloud.org, "vdcGroup": fields})["vdcGroup"]
    for edge in (EDGE, f"{EDGE}-2"):
        move = {"edgeGateway": {"name": edge, "owner": made["name"]}, "updateMask": "owner"}
        calm.cloud.call("EdgeGatewayService/UpdateEdgeGateway", move)
    calm.world.attended = False
    return str(made["name"])


def test_a_task_waits_for_all_of_its_edges(calm: Calm) -> None:
    change = {"vdcGroup": {"name": group(calm), "description": "x"}, "updateMask": "description"}
    task = calm.cloud.call("VdcService/UpdateVdcGroup", change)["task"]
    calm.world.realize([EDGE])
    assert calm.task(task)["status"] == "TASK_STATUS_RUNNING"
    calm.world.realize([f"{EDGE}-2"])
    assert calm.task(task)["status"] == "TASK_STATUS_SUCCESS"


def test_a_task_does_not_wait_for_an_edge_that_is_gone(calm: Calm) -> None:
    name = group(calm)
    change = {"vdcGroup": {"name": name, "description": "x"}, "updateMask": "description"}
    task = calm.cloud.call("VdcService/UpdateVdcGroup", change)["task"]
    calm.world.realize([EDGE])
    calm.world.now_s += 11
    calm.cloud.call("NetworkService/DeleteNetwork", {"name": "orgs/US1/networks/lan"})
    calm.cloud.call("EdgeGatewayService/DeleteEdgeGateway", {"name": f"{EDGE}-2"})
    assert calm.task(task)["status"] == "TASK_STATUS_SUCCESS"


def test_a_busy_edge_is_told_at_once_or_waited_for(calm: Calm) -> None:
    calm.change("a")
    now = {"busyTimeout": "0s"}
    with pytest.raises(RefusedError) as caught:
        calm.change("b", **now)
    assert (caught.value.code, caught.value.reason) == ("ABORTED", "BUSY_ENTITY")
    assert "'Update Network'" in caught.value.text
    assert calm.state() == ("PENDING", "2", "1")
    # What touches no edge, and what is only tried, does not wait.
    calm.change("b", validateOnly=True, **now)
    vdc = calm.cloud.names("VdcService", "Vdcs")[0]
    calm.cloud.call("NetworkService/CreateNetwork", {**calm.cloud.network("i", vdc), **now})
    # For longer than ten seconds no task keeps others away.
    calm.world.now_s += 10.5
    calm.change("c", **now)
    timer = threading.Timer(0.2, calm.world.realize, [[EDGE]])
    began = time.monotonic()
    timer.start()
    calm.change("d")
    assert time.monotonic() - began >= 0.2
    timer.join()
    assert calm.state()[1] == "4"
    assert [code for method, code in calm.world.calls if method == "NetworkService/UpdateNetwork"] == [
        *("OK", "ABORTED", "OK", "OK", "OK"),
    ]


def test_who_waits_for_so_long_is_told(quick: Calm) -> None:
    quick.change("a")
    began = time.monotonic()
    with pytest.raises(RefusedError, match="BUSY_ENTITY"):
        quick.change("b", busyTimeout="0.150s")
    assert time.monotonic() - began >= 0.15


def test_waiting_keeps_no_thread(quick: Calm, tmp_path: Path) -> None:
    """More callers wait for an edge than there are threads that write, and others write all the same."""
    address = f"unix:{tmp_path}/control.sock"
    quick.change("a")

    def change(text: str, **more: Any) -> str:
        with ControlClient(address, quick.cloud.maria) as client:
            fields = {"network": {"name": LAN, "description": text}, "updateMask": "description", **more}
            return str(client.call("NetworkService/UpdateNetwork", fields)["task"]["name"])

    async def run() -> None:
        server = ControlServer(quick.world.dispatcher, parse_address(address))
        await server.start()
        try:
            waiting = [asyncio.create_task(asyncio.to_thread(change, f"w{number}")) for number in range(4)]
            await asyncio.sleep(0.2)
            with pytest.raises(CallError, match="busy"):
                await asyncio.to_thread(change, "b", busyTimeout="0s")
            assert not any(task.done() for task in waiting)
            quick.world.attended = True
            quick.world.realize([EDGE])
            assert len(set(await asyncio.gather(*waiting))) == 4
        finally:
            await server.stop()

    asyncio.run(run())
    assert quick.state() == ("REALIZED", "6", "6")


def test_an_edge_that_would_not_take_it_changes_nothing(quick: Calm) -> None:
    seen: list[tuple[tuple[str, ...], dict[str, str]]] = []

    def check(unit: WriteUnit) -> None:
        seen.append((unit.touched(), dict(unit.places)))
        if unit.get(LAN).body["description"] == "bad":
            raise ArgumentError("the edge would refuse it", [("network.description", "expected something else")])

    world = quick.world
    world.dispatcher = Dispatcher(world.store, world.vault, world.passwords, world, check=check, fleet=world)
    quick.change("good", validateOnly=True)
    with pytest.raises(RefusedError) as caught:
        quick.change("bad")
    assert list(caught.value.fields) == ["network.description"]
    assert seen == [((EDGE,), {LAN: "network"})] * 2
    assert quick.state() == ("REALIZED", "1", "1")
    assert world.woken == []
    quick.change("good")
    assert world.woken == [EDGE]


def test_without_a_fleet_edges_stay_as_they_are(quick: Calm) -> None:
    world = quick.world
    world.dispatcher = Dispatcher(world.store, world.vault, world.passwords, world)
    task = quick.change("a")
    assert quick.state() == ("PENDING", "2", "1")
    assert quick.task(task)["status"] == "TASK_STATUS_RUNNING"
    world.realize([EDGE])  # by another replica
    assert quick.task(task)["status"] == "TASK_STATUS_SUCCESS"
