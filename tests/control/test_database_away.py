"""A PostgreSQL that is stopped and started: nothing is lost, edges go on, and whoever asks is told."""

from __future__ import annotations

from pathlib import Path

import pytest

from edge.errors import StoreError
from tests.control.cloud import Cloud
from tests.control.fleets import manned
from tests.control.postgres import restartable
from tests.control.samples import plant
from tests.control.test_fleet import EDGE, verdict
from tests.control.world import RefusedError

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
