"""WatchEvents of a process that serves: what happens comes by itself, and goes on where a stream ended."""

from __future__ import annotations

from pathlib import Path

import pytest

from control.api.client import ControlClient
from edge.api.client import CallError
from tests.control.test_commands import Served
from tests.soak.control import EDGE, ORG, administrator, furnish


def test_events_come_as_they_happen(tmp_path: Path) -> None:
    served = Served(tmp_path, "--metrics", "none")
    try:
        token = administrator(tmp_path, served.address)
        with ControlClient(served.address, token) as client:
            client.call("OrgService/CreateOrg", {"org": {"accountId": "US2", "displayName": "x"}})
            furnish(client)
            stream = client.watch("EventService/WatchEvents", {"parent": ORG})
            begin = next(stream)["resumeToken"]
            rule = {"displayName": "out", "actionValue": "ALLOW"}
            client.call("FirewallService/CreateFirewallRule", {"parent": EDGE, "firewallRule": rule})
            told: list[tuple[str, str]] = []
            while ("OBJECT_CREATED", f"{EDGE}/firewallRules/out") not in told:
                told += [(event["kind"], event["object"]) for event in next(stream)["events"]]
            again = client.watch("EventService/WatchEvents", {"parent": ORG, "resumeToken": begin})
            assert next(again)["events"][0]["object"] == told[0][1]
        with ControlClient(served.address, "t1s_nobody") as nobody, pytest.raises(CallError) as refused:
            next(nobody.watch("EventService/WatchEvents", {"parent": ORG}))
        assert refused.value.code == "UNAUTHENTICATED"
        served.stop()
    finally:
        served.process.kill()
        served.process.communicate()
