"""The audit trail: complete, and no record can be changed, removed or moved unseen."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from control import chain
from control.api.client import audit_line
from control.errors import AuditError
from tests.control.world import World, user


def lines(world: World, token: str, org: str = "orgs/system") -> list[str]:
    records = world.call("AuditService/ListAuditRecords", {"parent": org, "pageSize": 1_000}, token)["records"]
    return [audit_line(record) for record in records]


def test_every_change_has_its_record_and_its_task(either: World) -> None:
    admin = either.administrator()
    org, maria = either.tenant(admin, "US1")
    either.call("UserService/CreateUser", {"parent": org, "user": user("eva"), "requestId": "r"}, maria)
    either.call("UserService/DeleteUser", {"name": f"{org}/users/eva"}, maria)
    found = [json.loads(line) for line in lines(either, admin, org)]
    told = [(item["actor"].rpartition("/")[2], item["method"], item["object"].rpartition("/")[2]) for item in found]
    assert told == [
        ("administrator", "UserService/CreateUser", "maria"),
        ("maria", "SessionService/Login", "maria"),
        ("maria", "SessionService/ConfirmSecondFactor", "maria"),
        ("maria", "UserService/CreateUser", "eva"),
        ("maria", "UserService/DeleteUser", "eva"),
    ]
    assert found[3]["request_id"] == "r"
    assert json.loads(found[3]["details"])["fields"]["role"] == "ROLE_STAFF"
    tasks = either.call("TaskService/ListTasks", {"parent": org, "orderBy": "start_time"}, maria)["tasks"]
    assert sorted(task["operation"] for task in tasks) == ["Add User", "Add User", "Delete User"]
    assert {task["status"] for task in tasks} == {"TASK_STATUS_SUCCESS"}
    head = chain.verify(lines(either, admin, org))[org]
    assert head.number == 5
    assert chain.verify(lines(either, admin, org), str(head)) == {org: head}


def _edit(change: Callable[[dict[str, object]], None]) -> Callable[[list[str]], list[str]]:
    def edited(rows: list[str]) -> list[str]:
        record = json.loads(rows[3])
        change(record)
        return [*rows[:3], chain.exported(record), *rows[4:]]

    return edited


def _rehash(record: dict[str, object]) -> None:
    record["object"] = "orgs/US2"
    record["hash"] = chain.hash_of(record)


BROKEN = {
    "changed": (_edit(lambda record: record.update(object="orgs/US2")), "record 4 of orgs/system: it was changed"),
    "changed in time": (_edit(lambda record: record.update(time_ns=1)), "record 4 of orgs/system: it was changed"),
    "changed with its hash": (_edit(_rehash), "record 5 of orgs/system: it does not follow from record 4"),
    "removed": (lambda rows: rows[:3] + rows[4:], "record 5 of orgs/system: record 4 should stand here"),
    "the first removed": (lambda rows: rows[1:], "record 2 of orgs/system: record 1 should stand here"),
    "moved": (lambda rows: [*rows[:3], rows[4], rows[3], *rows[5:]], "record 5 of orgs/system: record 4 should"),
    "twice": (lambda rows: [*rows[:4], *rows[3:]], "record 4 of orgs/system: record 5 should stand here"),
    "no JSON": (lambda rows: [*rows, "{"], "no JSON"),
    "nested": (lambda rows: [*rows, "[" * 100_000], "no JSON"),
    "no record": (lambda rows: [*rows, "{}"], "no audit record"),
    "a field more": (_edit(lambda record: record.update(more="x")), "no audit record"),
    "no UTF-8": (lambda rows: [*rows[:-1], rows[-1].replace('"OK"', '"\\ud800"')], "no audit record"),
    "no UTF-8 as organization": (lambda rows: [rows[0].replace('"orgs/system"', '"\\ud800"')], "no audit record"),
    "a key twice": (lambda rows: [rows[0].replace("{", '{"outcome": "x", ', 1)], "a key stands there twice"),
    "a number as text": (_edit(lambda record: record.update(number="4")), "no audit record"),
}


@pytest.mark.parametrize("kind", BROKEN)
def test_a_broken_chain_is_told_with_the_record(world: World, admin: str, kind: str) -> None:
    for number in range(5):
        world.call("OrgService/CreateOrg", {"org": {"accountId": f"US{number}", "displayName": 'ñ "x"'}}, admin)
    rows = lines(world, admin)
    assert chain.verify(rows)["orgs/system"].number == len(rows) == 8
    broken, text = BROKEN[kind]
    with pytest.raises(AuditError) as caught:
        chain.verify(broken(rows))
    assert text in str(caught.value)


def test_a_shortened_chain_is_seen_by_who_knows_its_head(world: World, admin: str) -> None:
    head = str(chain.verify(lines(world, admin))["orgs/system"])
    assert chain.verify(lines(world, admin)[:-1])
    with pytest.raises(AuditError, match="is missing"):
        chain.verify(lines(world, admin)[:-1], head)


def test_failed_logins_are_in_the_trail(world: World, admin: str) -> None:
    org, _ = world.tenant(admin, "US1")
    for request in ({"org": org, "username": "maria"}, {"org": "orgs/US9", "username": "x"}):
        assert _fails(world, {**request, "password": "wrong"})
    assert json.loads(lines(world, admin, org)[-1])["outcome"] == "INVALID_CREDENTIALS"
    nobodys = json.loads(lines(world, admin)[-1])
    assert (nobodys["actor"], nobodys["object"]) == ("orgs/system", "orgs/system")
    assert _fails(world, {"org": org, "username": "x", "password": "wrong"})
    assert _fails(world, {"org": org, "username": "x", "password": "wrong"})
    first, second = map(json.loads, lines(world, admin, org)[-2:])
    assert (first["actor"], first["object"], first["outcome"]) == (org, org, "INVALID_CREDENTIALS")
    assert first["details"] == second["details"] != nobodys["details"]  # who tries the same again is seen


def _fails(world: World, request: dict[str, str]) -> bool:
    from tests.control.world import RefusedError

    with pytest.raises(RefusedError):
        world.call("SessionService/Login", request)
    return True
