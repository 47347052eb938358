"""A PostgreSQL that is stopped and started: nothing is lost, edges go on, and whoever asks is told."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from edge.errors import StoreError
from tests.control.cloud import Cloud
from tests.control.fleets import manned
from tests.control.postgres import restartable
from tests.control.samples import plant
from tests.control.test_commands import serving
from tests.control.test_fleet import EDGE, verdict
from tests.control.world import RefusedError
from tests.waiting import wait_for

pytestmark = pytest.mark.needs("postgres")


def test_a_database_that_was_away_is_gone_on_with(tmp_path: Path) -> None:
    with restartable() as database, manned(tmp_path / "data", database.url.format(name="postgres")) as world:
        cloud = Cloud(world)
        cloud.vdc()
        world.settled()
        assert world.store.answers()
        database.stop()
        assert not world.store.answers()
        with pytest.raises(RefusedError) as refused:
            cloud.call("EdgeGatewayService/GetEdgeGateway", {"name": EDGE})
        assert refused.value.reason == "STORAGE_FAILED"
        with pytest.raises(StoreError):
            plant(world, "firewall_rule", EDGE, "lost", display_name="lost", action_value="ALLOW")
        assert verdict(world) == "DROP"  # edges go on
        database.start()
        plant(world, "firewall_rule", EDGE, "out", display_name="out", action_value="ALLOW")
        world.settled()
        assert verdict(world) == "ALLOW"
        rules = cloud.call("FirewallService/ListFirewallRules", {"parent": EDGE})["firewallRules"]
        assert [rule["displayName"] for rule in rules] == ["out"]


def test_whoever_asks_for_the_health_is_told(tmp_path: Path) -> None:
    with (
        restartable() as database,
        serving(tmp_path, "--database", database.url.format(name="postgres"), "--metrics", "127.0.0.1:0") as served,
        grpc.insecure_channel(served.address) as channel,
    ):
        stub: Any = health_pb2_grpc.HealthStub(channel)  # type: ignore[no-untyped-call]
        [page] = re.findall(r"metrics on (\S+)", "".join(served.lines))

        def told(service: str, status: Any) -> bool:
            return bool(stub.Check(health_pb2.HealthCheckRequest(service=service), timeout=30).status == status)

        def metrics() -> dict[str, str]:
            with urlopen(page, timeout=60) as answer:
                return dict(re.findall(r"^(t1edge_control_\S+) (\S+)$", answer.read().decode(), re.MULTILINE))

        both = ("", "control.v1.OrgService")
        assert all(told(service, health_pb2.HealthCheckResponse.SERVING) for service in both)
        wait_for("the database answers", lambda: metrics()["t1edge_control_database_up"] == "1.0")
        assert metrics()['t1edge_control_objects{kind="user"}'] == "1.0"
        database.stop()
        for service in both:
            wait_for(
                "the health is bad", lambda service=service: told(service, health_pb2.HealthCheckResponse.NOT_SERVING)
            )
        away = metrics()
        assert away["t1edge_control_database_up"] == "0.0"
        assert [name for name in away if name.startswith(("t1edge_control_objects{", "t1edge_control_edges{"))] == []
        database.start()
        for service in both:
            wait_for(
                "the health is good", lambda service=service: told(service, health_pb2.HealthCheckResponse.SERVING)
            )
        assert metrics()["t1edge_control_database_up"] == "1.0"
