"""What is told of objects and edges, in pages and as it comes."""

from __future__ import annotations

import json
from typing import Any

import pytest

from control.fleet.book import EPOCH, LeadershipLostError, Outcome, StoreBook
from control.store import unit
from control.store.unit import PROVIDER
from tests.control.samples import SAMPLES, filled, plant
from tests.control.world import RefusedError, World

ORG = "orgs/US1"
EDGE = f"{ORG}/edges/one"
DRIFT = "it ran something that nobody wanted, and is changed back"


def edge_of(world: World) -> str:
    """A tenant with an edge; the token of its administrator."""
    token = world.administrator()
    _, own = world.tenant(token, "US1")
    for sample in SAMPLES:
        plant(world, sample.kind, sample.parent(ORG), sample.name(ORG).rpartition("/")[2], **filled(sample.fields, ORG))
        if sample.kind == "edge_gateway":
            break
    return own


def watched(world: World, own: str, resume: str = "") -> dict[str, Any]:
    return world.call("EventService/WatchEvents", {"parent": ORG, "resumeToken": resume}, own)


def test_whoever_watches_is_told_of_every_change_once(either: World) -> None:
    own = edge_of(either)
    begin = watched(either, own)
    assert begin["events"] == []
    change = {"name": EDGE, "description": "x"}
    either.call("EdgeGatewayService/UpdateEdgeGateway", {"edgeGateway": change, "updateMask": "description"}, own)
    told = watched(either, own, begin["resumeToken"])
    assert [(event["kind"], event["object"]) for event in told["events"]] == [("OBJECT_CHANGED", EDGE)]
    details = json.loads(told["events"][0]["details"])
    assert details == {"kind": "edge_gateway", "actor": f"{ORG}/users/maria"}
    assert watched(either, own, told["resumeToken"])["events"] == []
    page = either.call("EventService/ListEvents", {"parent": ORG, "filter": f'object = "{EDGE}"'}, own)
    assert [event["kind"] for event in page["events"]] == ["OBJECT_CREATED", "OBJECT_CHANGED"]
    numbers = [event["number"] for event in either.call("EventService/ListEvents", {"parent": ORG}, own)["events"]]
    assert numbers == [str(number) for number in range(1, len(numbers) + 1)]


def test_who_the_providers_people_are_is_not_told(world: World) -> None:
    own = edge_of(world)
    world.now_s += 60  # another code
    admin = world.login("orgs/system/users/administrator")["session"]["token"]
    begin = watched(world, own)["resumeToken"]
    request = {"org": {"name": ORG, "displayName": "x"}, "updateMask": "displayName"}
    task = world.call("OrgService/UpdateOrg", request, admin)["task"]["name"]
    for token, who in ((own, "orgs/system"), (admin, "orgs/system/users/administrator")):
        listed = world.call("EventService/ListEvents", {"parent": ORG, "pageSize": 100}, token)["events"]
        seen = watched(world, token, begin)["events"]
        for event in (seen[-1], next(each for each in listed if each["number"] == seen[-1]["number"])):
            assert json.loads(event["details"])["actor"] == who
        assert world.call("TaskService/GetTask", {"name": task}, token)["task"]["initiator"] == who
        tasks = world.call("TaskService/ListTasks", {"parent": ORG, "pageSize": 100}, token)["tasks"]
        assert next(each for each in tasks if each["name"] == task)["initiator"] == who


def test_who_the_providers_people_are_cannot_be_guessed(either: World) -> None:
    own = edge_of(either)
    either.now_s += 60
    person = "orgs/system/users/administrator"
    admin = either.login(person)["session"]["token"]
    request = {"org": {"name": ORG, "displayName": "x"}, "updateMask": "displayName"}
    task = either.call("OrgService/UpdateOrg", request, admin)["task"]["name"]

    def found(who: str, token: str) -> list[str]:
        query = {"parent": ORG, "filter": f'initiator = "{who}" AND operation = "Update Organization"'}
        return [each["name"] for each in either.call("TaskService/ListTasks", query, token)["tasks"]]

    assert (found(person, own), found("orgs/system", own)) == ([], [task])
    assert (found(person, admin), found("orgs/system", admin)) == ([task], [])


def test_a_trial_and_users_are_not_told_of(either: World) -> None:
    own = edge_of(either)
    begin = watched(either, own)["resumeToken"]
    change = {"edgeGateway": {"name": EDGE, "description": "x"}, "updateMask": "description", "validateOnly": True}
    either.call("EdgeGatewayService/UpdateEdgeGateway", change, own)
    either.create_user(own, ORG, "somebody", "ROLE_STAFF")
    assert watched(either, own, begin)["events"] == []


def test_a_slow_reader_is_told_how_much_it_has_missed(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(unit, "EVENTS_KEPT", 100)
    own = edge_of(world)
    begin = watched(world, own)["resumeToken"]
    with world.store.write(PROVIDER) as writing:
        before = writing.event_numbers(ORG)[1]
        for number in range(350 - before):
            writing.event("OBJECT_CHANGED", EDGE, number=number)
    told = watched(world, own, begin)
    assert told["missed"] == str(200 - before)
    assert told["events"][0]["number"] == "201"
    assert len(told["events"]) == 150


@pytest.mark.parametrize("token", ["x", "eyJh", "WyJ4IiwgMV0=", "\u00e9"])
def test_a_resume_token_of_others_is_refused(world: World, token: str) -> None:
    own = edge_of(world)
    with pytest.raises(RefusedError) as refused:
        watched(world, own, token)
    assert (refused.value.code, refused.value.reason) == ("INVALID_ARGUMENT", "INVALID_RESUME_TOKEN")


def test_what_becomes_of_edges_is_written_and_told(either: World) -> None:
    own = edge_of(either)
    either.attended = False
    book = StoreBook(either.store, lambda _, path: {"edgeGateway": {"id": path}})
    with either.store.write(PROVIDER) as writing:
        writing.set_facts({EPOCH: "7"})
    [known] = book.edges(waiting=False)
    assert book.edges(waiting=True) == []
    change = {"edgeGateway": {"name": EDGE, "description": "x"}, "updateMask": "description"}
    task = either.call("EdgeGatewayService/UpdateEdgeGateway", change, own)["task"]["name"]
    [waiting] = book.edges(waiting=True)
    assert (waiting.path, waiting.uid, waiting.desired) == (EDGE, known.uid, known.desired + 1)
    planned = book.plan(EDGE)
    assert planned is not None
    assert (planned.wanted, planned.document) == (waiting, {"edgeGateway": {"id": EDGE}})
    assert book.plan(f"{ORG}/edges/none") is None
    begin = watched(either, own)["resumeToken"]

    def tell(**told: Any) -> dict[str, Any]:
        book.tell(7, [Outcome(EDGE, known.uid, waiting.desired, **told)])
        return dict(either.call("TaskService/GetTask", {"name": task}, own)["task"])

    assert tell(reason="UNREACHABLE", message="away")["status"] == "TASK_STATUS_RUNNING"
    assert book.edges(waiting=True)[0].reason == "UNREACHABLE"
    with pytest.raises(LeadershipLostError):
        book.tell(6, [Outcome(EDGE, known.uid, waiting.desired, "etag")])
    book.tell(7, [Outcome(EDGE, "of another edge of that name", waiting.desired, "etag")])
    assert book.edges(waiting=True)[0].reason == "UNREACHABLE"
    assert tell(reason="NO_MEMORY", message="no memory", failed=True)["error"]["reason"] == "NO_MEMORY"
    assert tell(etag="etag")["status"] == "TASK_STATUS_ERROR"
    assert book.edges(waiting=True) == []
    assert book.edges(waiting=False)[0].realized_etag == "etag"
    told = watched(either, own, begin)["events"]
    assert [event["kind"] for event in told] == ["EDGE_PENDING", "EDGE_ERROR", "EDGE_REALIZED"]
    assert json.loads(told[1]["details"])["reason"] == "NO_MEMORY"


def test_what_hosts_say_is_told_to_the_provider_alone(world: World) -> None:
    own = edge_of(world)
    world.now_s += 60
    admin = world.login("orgs/system/users/administrator")["session"]["token"]
    world.attended = False
    book = StoreBook(world.store, lambda _, path: {"edgeGateway": {"id": path}})
    with world.store.write(PROVIDER) as writing:
        writing.set_facts({EPOCH: "7"})
    begin = watched(world, own)["resumeToken"]
    tried = [
        ("UNREACHABLE", "10.0.0.5:50051 cannot be reached: Connection refused", "its host does not answer", False),
        ("PORT_FAILED", "/srv/x.sock is gone", "its host refuses it; the log of the control plane says why", True),
        ("INVALID_DOCUMENT", "natRules[0] is wrong", "natRules[0] is wrong", True),
        ("DRIFTED", DRIFT, DRIFT, False),
        ("INTERNAL", "10.0.0.5:50051: /srv", "a bug keeps it from that; the log of the control plane says more", True),
        ("DRIFTED", "10.0.0.5 says that, too", DRIFT, True),
    ]  # fmt: skip
    for reason, message, sentence, failed in tried:
        change = {"edgeGateway": {"name": EDGE, "description": reason}, "updateMask": "description"}
        task = world.call("EdgeGatewayService/UpdateEdgeGateway", change, own)["task"]["name"]
        [waiting] = book.edges(waiting=True)
        told = Outcome(EDGE, waiting.uid, waiting.desired, reason=reason, message=message, failed=failed)
        book.tell(7, [told])
        for token, expected in ((own, sentence), (admin, message)):
            got = world.call("EdgeGatewayService/GetEdgeGateway", {"name": EDGE}, token)["edgeGateway"]["state"]
            assert (got["reason"], got["message"]) == (reason, expected)
            [listed] = world.call("EdgeGatewayService/ListEdgeGateways", {"parent": ORG}, token)["edgeGateways"]
            assert listed["state"] == got
            seen = json.loads(watched(world, token, begin)["events"][-1]["details"])
            assert (seen["reason"], seen["message"]) == (reason, expected)
            if failed:
                for found in (
                    world.call("TaskService/GetTask", {"name": task}, token)["task"],
                    world.call("TaskService/ListTasks", {"parent": ORG}, token)["tasks"][0],
                ):
                    assert found["error"] == {"reason": reason, "message": expected}
        world.now_s += 11
    # An answer to a change tells of the state before it.
    change = {"edgeGateway": {"name": EDGE, "description": "x"}, "updateMask": "description", "validateOnly": True}
    book.tell(7, [Outcome(EDGE, waiting.uid, waiting.desired, reason="UNREACHABLE", message="10.0.0.5", failed=True)])
    answer = world.call("EdgeGatewayService/UpdateEdgeGateway", change, own)
    assert answer["edgeGateway"]["state"]["message"] == "its host does not answer"
