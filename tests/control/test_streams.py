"""WatchEvents of a process that serves: what happens comes by itself, and goes on where a stream ended."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from control import limits
from control.api import unread
from control.api.client import ControlClient
from control.store.unit import PROVIDER
from edge.api.client import CallError
from tests.control.served import served
from tests.control.test_commands import Served
from tests.control.world import World
from tests.soak.control import EDGE, ORG, administrator, furnish
from tests.waiting import wait_for


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


def test_a_stream_is_counted_once_when_it_has_ended(world: World, tmp_path: Path) -> None:
    def counted() -> list[str]:
        return [code for method, code in world.calls if method == "EventService/WatchEvents"]

    org, maria = world.tenant(world.administrator(), ORG.rpartition("/")[2])
    with served(world, tmp_path) as commands, ControlClient(commands.address, maria) as client:
        stream = client.watch("EventService/WatchEvents", {"parent": org})
        next(stream)
        for _ in range(3):
            _told(world, 1)
            assert next(stream)["events"]
        assert counted() == []
        stream.close()
        wait_for("it has ended", counted)
        with pytest.raises(CallError):
            next(client.watch("EventService/WatchEvents", {"parent": "orgs/US77"}))
    assert counted() == ["CANCELLED", "NOT_FOUND"]


def _told(world: World, count: int) -> None:
    with world.store.write(PROVIDER) as unit:
        for number in range(count):
            unit.event("OBJECT_CHANGED", ORG, number=number, text="x" * 20_000)


@pytest.mark.parametrize("revoke", ["logout", "role"])
def test_a_stream_that_nobody_reads_ends_with_its_callers_rights(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, revoke: str
) -> None:
    monkeypatch.setattr(unread, "LOOK_S", 0.05)
    monkeypatch.setattr(limits, "EVENT_STREAMS", 1)
    admin = world.administrator()
    org, maria = world.tenant(admin, ORG.rpartition("/")[2])
    eva = world.add_user(admin, org, "eva", "ROLE_STAFF")
    watch = ("EventService/WatchEvents", {"parent": org})
    with (
        served(world, tmp_path) as commands,
        ControlClient(commands.address, maria) as other,
        ControlClient(commands.address, eva) as idle,
    ):
        stream = idle.watch(*watch)
        next(stream)
        _told(world, 2_000)  # more than what goes out before it is read

        def refusal() -> str:
            try:
                next(other.watch(*watch))
            except CallError as error:
                return error.code
            return ""

        assert refusal() == "TOO_MANY_STREAMS"
        wait_for("it is counted", lambda: ("EventService/WatchEvents", "RESOURCE_EXHAUSTED") in world.calls)
        time.sleep(0.5)  # it may go on: nothing ends it
        assert refusal() == "TOO_MANY_STREAMS"
        if revoke == "logout":
            world.call("SessionService/Logout", {}, eva)
        else:
            change = {"name": f"{org}/users/eva", "role": "ROLE_ADMINISTRATOR"}
            world.call("UserService/UpdateUser", {"user": change, "updateMask": "role"}, maria)
        wait_for("its place is free", lambda: refusal() == "")
