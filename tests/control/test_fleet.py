"""From an order to a packet: the control plane with edges that run."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from control.fleet import reconciler
from edge.patch import Delete, ObjectRef
from tests.control.cloud import Cloud
from tests.control.fleets import Manned, manned
from tests.control.samples import plant
from tests.control.served import served
from tests.serve.process import Service
from tests.support import SAMPLE
from tests.waiting import wait_for

EDGE = "orgs/US1/edges/T1-US1-MIA"
RULES = "firewallRules.userDefinedRules"
OUT = "tcp 10.1.0.5:4000 > 198.51.100.7:443 S"


def ended(cloud: Cloud, task: dict[str, Any]) -> dict[str, Any]:
    """A task when it has ended."""

    def ask() -> dict[str, Any] | None:
        found: dict[str, Any] = cloud.call("TaskService/GetTask", {"name": task["name"]})["task"]
        return found if found["status"] not in {"TASK_STATUS_RUNNING", "TASK_STATUS_QUEUED"} else None

    found: dict[str, Any] = wait_for("the task ends", ask)
    return found


def allow(cloud: Cloud, name: str = "out") -> dict[str, Any]:
    """A rule that lets everything pass; the task."""
    rule = {"displayName": name, "actionValue": "ALLOW"}
    request = {"parent": EDGE, "firewallRule": rule, "firewallRuleId": name}
    found: dict[str, Any] = cloud.call("FirewallService/CreateFirewallRule", request)
    return found["task"]


def verdict(world: Manned) -> str:
    return str(world.trace(EDGE, OUT).verdict.name)


def test_an_order_brings_an_edge_and_a_rule_holds_when_its_task_has_ended(tmp_path: Path, database: str) -> None:
    with manned(tmp_path / "data", database) as world:
        cloud = Cloud(world)
        assert ended(cloud, cloud.vdc()["task"])["status"] == "TASK_STATUS_SUCCESS"
        assert verdict(world) == "DROP"
        assert ended(cloud, allow(cloud))["status"] == "TASK_STATUS_SUCCESS"
        assert verdict(world) == "ALLOW"
        assert world.counts.pushes == {("PATCH", "OK"): 1}
        state = cloud.call("EdgeGatewayService/GetEdgeGateway", {"name": EDGE})["edgeGateway"]["state"]
        assert state["status"] == "EDGE_STATUS_REALIZED"
        assert state["realizedRevision"] == state["desiredRevision"]
        request = {"name": f"{EDGE}/firewallRules/out"}
        ended(cloud, cloud.call("FirewallService/DeleteFirewallRule", request)["task"])
        assert verdict(world) == "DROP"


def test_after_a_restart_all_agree_and_nothing_is_pushed(tmp_path: Path) -> None:
    with manned(tmp_path / "data") as world:
        cloud = Cloud(world)
        cloud.vdc()
        world.settled()
        ended(cloud, allow(cloud))
        number = world.gateway(EDGE).running.number
        world.close()
        world.counts.pushes.clear()
        world.open()
        assert verdict(world) == "ALLOW"
        world.settled()
        assert world.gateway(EDGE).running.number == number
        assert not world.counts.pushes


def test_a_clock_that_jumps_changes_nothing(tmp_path: Path) -> None:
    with manned(tmp_path / "data") as world:
        Cloud(world).vdc()
        for name, jump in (("one", 3_000), ("two", -60_000), ("three", 3_000)):
            world.settled()
            world.now_s += jump
            plant(world, "firewall_rule", EDGE, name, display_name=name, action_value="ALLOW")
        world.settled()
        assert world.counts.pushes == {("PATCH", "OK"): 3}
        world.close()
        world.now_s -= 50_000
        world.open()
        wait_for("it leads", lambda: world.fleet is not None and world.fleet.epoch)
        assert verdict(world) == "ALLOW"


@contextmanager
def elsewhere(folder: Path) -> Iterator[tuple[Manned, Cloud, Service]]:
    """With an edge that was moved to a process of its own."""
    file = folder / "edge.yaml"
    file.write_text(SAMPLE)
    with manned(folder / "data") as world, Service(folder, file, "--data", str(folder / "edge")) as service:
        cloud = Cloud(world)
        cloud.vdc()
        world.settled()
        host = {"edge": EDGE, "address": service.address}
        moved = cloud.call("EdgeHostService/SetEdgeHost", {"edgeHost": host}, cloud.admin)
        assert ended(cloud, moved["task"])["status"] == "TASK_STATUS_SUCCESS"
        yield world, cloud, service


def test_an_edge_that_moves_to_a_host_runs_there(tmp_path: Path) -> None:
    with elsewhere(tmp_path) as (world, cloud, service):
        host = {"edge": EDGE, "address": service.address}
        assert cloud.call("EdgeHostService/GetEdgeHost", {"edge": EDGE}, cloud.admin)["edgeHost"] == host
        ended(cloud, allow(cloud))
        with service.client() as client:
            found = client.trace([OUT], ignore_sessions=True).results[0]
        assert found.verdict.name == "ALLOW"
        back = cloud.call("EdgeHostService/SetEdgeHost", {"edgeHost": {"edge": EDGE}}, cloud.admin)
        assert ended(cloud, back["task"])["status"] == "TASK_STATUS_SUCCESS"
        assert verdict(world) == "ALLOW"
        running = wait_for("it runs here", lambda: world.gateway(EDGE)).running
        assert running.number == 1, "it did not begin with what it ran here before it moved"
        wrong = {"edgeHost": {"edge": EDGE, "address": "nowhere"}}
        assert "edge_host.address" in cloud.refused("EdgeHostService/SetEdgeHost", wrong, cloud.admin).fields


def test_an_edge_that_is_deleted_is_gone(tmp_path: Path) -> None:
    with manned(tmp_path / "data") as world:
        cloud = Cloud(world)
        network = cloud.vdc()["network"]["name"]
        world.settled()
        assert world.gateway(EDGE)
        ended(cloud, cloud.call("NetworkService/DeleteNetwork", {"name": network})["task"])
        cloud.call("EdgeGatewayService/DeleteEdgeGateway", {"name": EDGE})
        wait_for("it is gone", lambda: world.fleet is not None and world.fleet.gateway(EDGE) is None)


def test_an_edge_that_drifted_is_changed_back_and_that_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reconciler, "LOOK_S", (0.01, 0.02))
    with manned(tmp_path / "data") as world:
        cloud = Cloud(world)
        cloud.vdc()
        world.settled()
        ended(cloud, allow(cloud))
        before = state_of(cloud)
        assert (before["driftCount"], "lastDriftTime" in before) == ("0", False)
        gateway, epoch = world.gateway(EDGE), world.fleet.epoch if world.fleet else 0
        wanted = gateway.running.etag
        wait_for("it was looked at", lambda: world.fleet and world.fleet.agreed())
        work = gateway.patch([Delete(RULES, ObjectRef(name="out"))], etag=wanted, leader_epoch=epoch)
        asyncio.run_coroutine_threadsafe(work, world._loop).result(30)
        wait_for("it is changed back", lambda: gateway.running.etag == wanted and state_of(cloud)["driftCount"] == "1")
        world.settled()
        after = state_of(cloud)
        assert (after["status"], after["reason"]) == ("EDGE_STATUS_REALIZED", "")
        assert after["lastDriftTime"] >= "2027"
        query = {"parent": cloud.org, "pageSize": 2, "orderBy": "number desc", "filter": f'object = "{EDGE}"'}
        found = cloud.call("EventService/ListEvents", query)["events"]
        assert [(event["kind"], json.loads(event["details"])["reason"]) for event in reversed(found)] == [
            ("EDGE_PENDING", "DRIFTED"), ("EDGE_REALIZED", ""),
        ]  # fmt: skip


def preview(cloud: Cloud) -> dict[str, Any]:
    """What is said of the running document when a rule "more" would be made."""
    rule = {"displayName": "more", "actionValue": "ALLOW"}
    request = {
        "@type": "type.googleapis.com/control.v1.CreateFirewallRuleRequest",
        "parent": EDGE,
        "firewallRule": rule,
    }
    answer = cloud.call(
        "ChangeSetService/ApplyChangeSet", {"parent": cloud.org, "requests": [request], "validateOnly": True}
    )
    (found,) = answer["previews"]
    assert [change["name"] for change in found["changes"]] == ["more"]
    running: dict[str, Any] = found["running"]
    return running


def test_a_preview_tells_what_the_edge_really_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reconciler, "LOOK_S", (600.0, 600.0))
    with manned(tmp_path / "data") as world:
        cloud = Cloud(world)
        cloud.vdc()
        world.settled()
        ended(cloud, allow(cloud))
        gateway, epoch = world.gateway(EDGE), world.fleet.epoch if world.fleet else 0
        etag = gateway.running.etag
        revision = state_of(cloud)["realizedRevision"]
        assert preview(cloud) == {"kind": "RUNNING_KIND_STORED", "revision": revision, "etag": etag, "changes": []}
        work = gateway.patch([Delete(RULES, ObjectRef(name="out"))], etag=etag, leader_epoch=epoch)
        asyncio.run_coroutine_threadsafe(work, world._loop).result(30)
        found = preview(cloud)
        assert (found["kind"], found["etag"]) == ("RUNNING_KIND_OTHER", gateway.running.etag)
        assert sorted(change["name"] for change in found["changes"]) == ["more", "out"]


def test_a_preview_of_an_edge_elsewhere(tmp_path: Path) -> None:
    with elsewhere(tmp_path) as (world, cloud, service):
        assert preview(cloud)["kind"] == "RUNNING_KIND_STORED"
        service.kill()
        wait_for("that is seen", lambda: state_of(cloud)["reason"] == "UNREACHABLE")
        gone = preview(cloud)
        assert (gone["kind"], gone["etag"]) == ("RUNNING_KIND_UNSPECIFIED", "")
        with served(world, tmp_path) as commands:
            document = tmp_path / "tenant.yaml"
            document.write_text(f"""
                organization: US1
                edges:
                  - displayName: {EDGE.rpartition("/")[2]}
                    firewallRules: [{{displayName: more, actionValue: ALLOW}}]
            """)
            said = commands.run(cloud.maria, "apply", "-f", str(document), "--validate-only").output
            assert f"{EDGE} runs what is not known here\n" in said


def state_of(cloud: Cloud) -> dict[str, Any]:
    found: dict[str, Any] = cloud.call("EdgeGatewayService/GetEdgeGateway", {"name": EDGE})["edgeGateway"]["state"]
    return found
