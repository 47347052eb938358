"""What callers may write, what happens to a request that comes again, and what becomes of bad ones."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from control.access.totp import code_at
from control.filters import read_query
from control.store.listing import USERS
from edge.errors import StoreError
from tests.control.world import PASSWORD, RefusedError, World, seed_of, user, world_at


def refusal(world: World, name: str, request: dict[str, Any], token: str) -> RefusedError:
    with pytest.raises(RefusedError) as caught:
        world.call(name, request, token)
    return caught.value


def state(world: World, token: str) -> tuple[Any, ...]:
    """Everything that a change would change."""
    users = world.call("UserService/ListUsers", {"parent": "orgs/system"}, token)["users"]
    orgs = world.call("OrgService/ListOrgs", {}, token)["orgs"]
    tasks = world.call("TaskService/ListTasks", {"parent": "orgs/system"}, token)["tasks"]
    audit = world.call("AuditService/ListAuditRecords", {"parent": "orgs/system"}, token)["records"]
    return users, orgs, tasks, len(audit)


@pytest.mark.parametrize(
    ("field", "value", "path"),
    [
        ("username", "", "user.username"),
        ("username", "Maria", "user.username"),
        ("username", "../../etc", "user.username"),
        ("username", "a/users/b", "user.username"),
        ("username", "x" * 65, "user.username"),
        ("username", "maria\n", "user.username"),
        ("email", "nobody", "user.email"),
        ("email", "a\x00@b", "user.email"),
        ("firstName", "", "user.first_name"),
        ("firstName", "bell\x07", "user.first_name"),
        ("firstName", "\u202egnp.exe", "user.first_name"),
        ("firstName", " Maria", "user.first_name"),
        ("lastName", "x" * 129, "user.last_name"),
        ("lastName", "x" * 500_000, "user.last_name"),
        ("role", "ROLE_UNSPECIFIED", "user.role"),
        ("role", 99, "user.role"),
        ("role", "ROLE_STAFF", "user.role"),
    ],
)
def test_bad_fields_are_named_in_the_callers_words(
    world: World, admin: str, field: str, value: object, path: str
) -> None:
    given: dict[str, Any] = {**user("newone", "ROLE_SYSTEM_ADMINISTRATOR"), field: value}
    before = state(world, admin)
    refused = refusal(world, "UserService/CreateUser", {"parent": "orgs/system", "user": given}, admin)
    assert (refused.code, refused.reason, list(refused.fields)) == ("INVALID_ARGUMENT", "INVALID_ARGUMENT", [path])
    assert len(refused.raw) < 1_000
    assert state(world, admin) == before


def test_all_problems_are_told_at_once(world: World, admin: str) -> None:
    request = {"parent": "orgs/system", "user": {"role": "ROLE_SYSTEM_ADMINISTRATOR"}}
    refused = refusal(world, "UserService/CreateUser", request, admin)
    assert list(refused.fields) == ["user.username", "user.email", "user.first_name", "user.last_name"]


@pytest.mark.parametrize("account", ["us1", "US", "US12345678901234", "", "U1", "US1/users/x", "US1\n", "ÑÑ1"])
def test_accounts_look_like_accounts(world: World, admin: str, account: str) -> None:
    request = {"org": {"accountId": account, "displayName": "x"}}
    assert list(refusal(world, "OrgService/CreateOrg", request, admin).fields) == ["org.account_id"]


def test_the_providers_organization_is_made_once(world: World, admin: str) -> None:
    request = {"org": {"accountId": "system", "displayName": "x"}}
    assert refusal(world, "OrgService/CreateOrg", request, admin).reason == "OBJECT_EXISTS"
    assert refusal(world, "OrgService/DeleteOrg", {"name": "orgs/system"}, admin).reason == "OBJECT_IN_USE"


@pytest.mark.parametrize("name", ["", "orgs", "orgs/", "orgs/a/b", "orgs//users/x", "orgs/../users/x", "orgs/%/users/x",
                                  "x" * 600, "orgs/a\n/users/x", "ORGS/a/users/x"])  # fmt: skip
def test_names_that_are_none(world: World, admin: str, name: str) -> None:
    refused = refusal(world, "UserService/GetUser", {"name": name}, admin)
    assert refused.fields == {"name": "expected orgs/*/users/*"}


def forged(value: object, key: object, order: str = "username") -> str:
    """A page token of the list of the provider's users, as nobody was given it."""
    query = read_query(
        "orgs/system/users", filter_text="", order_by=order, page_size=0, page_token="",
        fields=USERS.fields, orders=USERS.orders, default_order="",
    )  # fmt: skip
    return query.token(value, key)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"filter": "role"}, "filter"),
        ({"filter": "role = "}, "filter"),
        ({"filter": 'role = "A" OR role = "B"'}, "filter"),
        ({"filter": 'role = "A" AND '}, "filter"),
        ({"filter": 'password = "A"'}, "filter"),
        ({"filter": "x" * 2_000}, "filter"),
        ({"filter": 'role = "\x00"'}, "filter"),
        ({"orderBy": "role"}, "order_by"),
        ({"orderBy": "username; DROP TABLE objects"}, "order_by"),
        ({"pageSize": -1}, "page_size"),
        ({"pageToken": "x"}, "page_token"),
        ({"pageToken": "WyIiLCAxLCAyXQ=="}, "page_token"),
        ({"pageToken": "ñ"}, "page_token"),
        ({"pageToken": "W1tbW1tb" * 2_000}, "page_token"),
        ({"pageToken": forged(1, "orgs/system/users/a")}, "page_token"),
        ({"pageToken": forged("a", 1)}, "page_token"),
        ({"pageToken": forged("a\0", "orgs/system/users/a")}, "page_token"),
        ({"pageToken": forged("a", "\ud800")}, "page_token"),
        ({"orderBy": "create_time", "pageToken": forged("a", "orgs/system/users/a", "create_time")}, "page_token"),
    ],
)
def test_lists_that_cannot_be_meant(world: World, admin: str, change: dict[str, Any], field: str) -> None:
    refused = refusal(world, "UserService/ListUsers", {"parent": "orgs/system", **change}, admin)
    assert (refused.code, list(refused.fields)) == ("INVALID_ARGUMENT", [field])


def test_a_page_token_belongs_to_its_list(world: World, admin: str) -> None:
    for org in ("US1", "US2"):
        world.tenant(admin, org)
        for name in "abc":
            world.create_user(admin, f"orgs/{org}", name, "ROLE_STAFF")
    page = world.call("UserService/ListUsers", {"parent": "orgs/US1", "pageSize": 2}, admin)
    again = {"parent": "orgs/US1", "pageSize": 2, "pageToken": page["nextPageToken"]}
    names = [item["username"] for item in page["users"] + world.call("UserService/ListUsers", again, admin)["users"]]
    assert names == ["a", "b", "c", "maria"]
    refused = refusal(world, "UserService/ListUsers", {**again, "parent": "orgs/US2"}, admin)
    assert refused.reason == "INVALID_PAGE_TOKEN"


def test_masks_say_what_changes(world: World, admin: str) -> None:
    org, _ = world.tenant(admin, "US1")
    name = f"{org}/users/maria"
    change = {"user": {"name": name, "email": "new@example.com"}, "updateMask": "email"}
    changed = world.call("UserService/UpdateUser", change, admin)
    assert changed["task"]["operation"] == "Update User"
    assert (changed["user"]["email"], changed["user"]["firstName"]) == ("new@example.com", "María")
    for field in ("username", "name", "etag", "password", "createTime"):
        refused = refusal(world, "UserService/UpdateUser", {**change, "updateMask": field}, admin)
        assert list(refused.fields) == ["update_mask"]
    other = {"user": {"name": name, "username": "eva"}, "updateMask": "email"}
    assert list(refusal(world, "UserService/UpdateUser", other, admin).fields) == ["user.username"]
    moved = {"org": {"name": org, "accountId": "US2", "displayName": "x"}}
    assert list(refusal(world, "OrgService/UpdateOrg", moved, admin).fields) == ["org.account_id"]


def test_a_role_that_changes_holds_from_the_next_call_on(world: World, admin: str) -> None:
    org, maria = world.tenant(admin, "US1")
    change = {"user": {"name": f"{org}/users/maria", "role": "ROLE_STAFF"}, "updateMask": "role"}
    assert world.call("UserService/UpdateUser", change, admin)["task"]["operation"] == "Modify User Role"
    assert refusal(world, "UserService/ListUsers", {"parent": org}, maria).reason == "PERMISSION_DENIED"
    change["user"]["role"] = "ROLE_SYSTEM_ADMINISTRATOR"  # type: ignore[index]
    assert list(refusal(world, "UserService/UpdateUser", change, admin).fields) == ["user.role"]


def test_stale_etags_are_refused(world: World, admin: str) -> None:
    org, _ = world.tenant(admin, "US1")
    name = f"{org}/users/maria"
    etag = world.call("UserService/GetUser", {"name": name}, admin)["user"]["etag"]
    change = {"user": {"name": name, "email": "new@example.com", "etag": etag}, "updateMask": "email"}
    world.call("UserService/UpdateUser", change, admin)
    change["user"]["email"] = "newer@example.com"  # type: ignore[index]
    refused = refusal(world, "UserService/UpdateUser", change, admin)
    assert (refused.code, refused.reason) == ("ABORTED", "ETAG_MISMATCH")
    assert refusal(world, "UserService/DeleteUser", {"name": name, "etag": etag}, admin).code == "ABORTED"
    assert world.call("UserService/GetUser", {"name": name}, admin)["user"]["email"] == "new@example.com"


def test_what_is_used_is_not_deleted(world: World, admin: str) -> None:
    org, _ = world.tenant(admin, "US1")
    refused = refusal(world, "OrgService/DeleteOrg", {"name": org}, admin)
    assert (refused.code, refused.users) == ("FAILED_PRECONDITION", [f"{org}/users/maria"])
    world.call("UserService/DeleteUser", {"name": f"{org}/users/maria"}, admin)
    world.call("OrgService/DeleteOrg", {"name": org}, admin)
    assert refusal(world, "OrgService/GetOrg", {"name": org}, admin).reason == "OBJECT_UNKNOWN"
    trail = world.call("AuditService/ListAuditRecords", {"parent": org}, admin)["records"]
    assert trail[-1]["method"] == "UserService/DeleteUser"
    # Who comes later is told nothing of who was there.
    again = {"org": {"accountId": "US1", "displayName": "another"}}
    assert refusal(world, "OrgService/CreateOrg", again, admin).reason == "OBJECT_EXISTS"


def test_the_last_system_administrator_stays(world: World, admin: str) -> None:
    name = {"name": "orgs/system/users/administrator"}
    one_time = world.create_user(admin, "orgs/system", "second", "ROLE_SYSTEM_ADMINISTRATOR")
    for method in ("UserService/DeleteUser", "UserService/ResetUserCredentials"):
        # The second one has never logged in, and perhaps never will.
        assert refusal(world, method, name, admin).reason == "LAST_ADMINISTRATOR"
    second = world.first_login("orgs/system/users/second", one_time)
    world.call("UserService/ResetUserCredentials", name, second)
    other = {"name": "orgs/system/users/second"}
    assert refusal(world, "UserService/DeleteUser", other, second).reason == "LAST_ADMINISTRATOR"
    world.call("UserService/DeleteUser", name, second)
    assert refusal(world, "OrgService/ListOrgs", {}, admin).reason == "UNAUTHENTICATED"


def test_a_start_lets_in_who_was_locked_out(tmp_path: Path, database: str) -> None:
    with world_at(tmp_path / "data", database) as world:
        first = (world.data / "first-login").read_text()
        world.close()
        world.open()
        assert (world.data / "first-login").read_text() == first  # it holds for a week
        world.now_s += 7 * 86_400
        world.close()
        world.open()
        assert (world.data / "first-login").read_text() != first
        assert (world.data / "first-login").stat().st_mode & 0o777 == 0o600
        admin = world.administrator()
        records = world.call("AuditService/ListAuditRecords", {"parent": "orgs/system"}, admin)["records"]
        assert [record["method"] for record in records[:2]] == ["start", "recover"]
        used = (world.data / "first-login").read_text()
        world.now_s += 30 * 86_400
        world.close()
        world.open()  # who has a second factor can log in
        assert (world.data / "first-login").read_text() == used
        assert "session" in world.login("orgs/system/users/administrator")


def test_an_enrolment_is_not_cut_off_by_a_start(world: World) -> None:
    one_time = (world.data / "first-login").read_text().strip()
    request = {"org": "orgs/system", "username": "administrator", "password": one_time, "newPassword": PASSWORD}
    enrolment = world.call("SessionService/Login", request)["enrolment"]
    world.close()
    world.open()
    code = code_at(seed_of(enrolment["uri"]), int(world.now_s) // 30)
    assert "session" in world.call("SessionService/ConfirmSecondFactor", {"token": enrolment["token"], "code": code})


def test_what_is_wrong_with_the_store_is_for_the_log(
    world: World, admin: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fails() -> None:
        raise StoreError("/var/lib/geheim: disk I/O error")

    monkeypatch.setattr(world.store, "read", fails)
    refused = refusal(world, "OrgService/ListOrgs", {}, admin)
    assert (refused.code, refused.reason) == ("RESOURCE_EXHAUSTED", "STORAGE_FAILED")
    assert b"geheim" not in refused.raw
    assert "/var/lib/geheim: disk I/O error" in caplog.text


def test_a_trial_changes_nothing_and_hands_nothing_out(world: World, admin: str) -> None:
    before = state(world, admin)
    request = {"parent": "orgs/system", "user": user("eva", "ROLE_SYSTEM_ADMINISTRATOR"), "validateOnly": True}
    answer = world.call("UserService/CreateUser", {**request, "requestId": "r1"}, admin)
    assert (answer["user"]["username"], answer["oneTimePassword"]) == ("eva", "")
    assert state(world, admin) == before
    assert world.call("UserService/CreateUser", {**request, "requestId": "r1", "validateOnly": False}, admin)


def test_a_request_that_comes_again_gets_the_first_answer(either: World) -> None:
    admin = either.administrator()
    request = {"parent": "orgs/system", "user": user("eva", "ROLE_SYSTEM_ADMINISTRATOR"), "requestId": "r-1"}
    first = either.call("UserService/CreateUser", request, admin)
    before = state(either, admin)
    either.close()
    either.open()
    assert either.call("UserService/CreateUser", request, admin) == first
    assert state(either, admin) == before
    changed = {**request, "user": user("ana", "ROLE_SYSTEM_ADMINISTRATOR")}
    assert refusal(either, "UserService/CreateUser", changed, admin).reason == "REQUEST_ID_REUSED"
    delete = {"name": "orgs/system/users/eva", "requestId": "r-1"}
    assert refusal(either, "UserService/DeleteUser", delete, admin).reason == "REQUEST_ID_REUSED"
    either.now_s += 24 * 3_600 + 1
    admin = either.login("orgs/system/users/administrator")["session"]["token"]
    assert refusal(either, "UserService/CreateUser", request, admin).reason == "OBJECT_EXISTS"


def test_a_request_that_failed_may_come_again(world: World, admin: str) -> None:
    request = {"name": "orgs/US1", "requestId": "r"}
    assert refusal(world, "OrgService/DeleteOrg", request, admin).reason == "OBJECT_UNKNOWN"
    world.call("OrgService/CreateOrg", {"org": {"accountId": "US1", "displayName": "x"}}, admin)
    assert world.call("OrgService/DeleteOrg", request, admin)["task"]["status"] == "TASK_STATUS_SUCCESS"


def test_request_ids_are_ones_own(world: World, admin: str) -> None:
    org, maria = world.tenant(admin, "US1")
    mine = {"parent": org, "user": user("eva"), "requestId": "r"}
    world.call("UserService/CreateUser", mine, maria)
    theirs = {"parent": org, "user": user("ana"), "requestId": "r"}
    assert world.call("UserService/CreateUser", theirs, admin)["user"]["username"] == "ana"


@pytest.mark.parametrize("request_id", ["x" * 129, "a b", "a\n", "ñ"])
def test_request_ids_that_are_none(world: World, admin: str, request_id: str) -> None:
    request = {"org": {"accountId": "US1", "displayName": "x"}, "requestId": request_id}
    assert list(refusal(world, "OrgService/CreateOrg", request, admin).fields) == ["request_id"]


@pytest.mark.parametrize("end", ["2020-01-01T00:00:00Z", "9999-01-01T00:00:00Z"])
def test_tokens_end_in_time(world: World, admin: str, end: str) -> None:
    token = {"displayName": "x", "expireTime": end}
    request = {"parent": "orgs/system/users/administrator", "apiToken": token}
    assert list(refusal(world, "ApiTokenService/CreateApiToken", request, admin).fields) == ["api_token.expire_time"]


def test_a_user_has_so_many_tokens(world: World, admin: str) -> None:
    request = {"parent": "orgs/system/users/administrator"}
    for number in range(100):
        named = {**request, "apiToken": {"displayName": f"t{number}"}}
        made = world.call("ApiTokenService/CreateApiToken", named, admin)
    again = refusal(world, "ApiTokenService/CreateApiToken", {**request, "apiToken": {"displayName": "x"}}, admin)
    assert again.reason == "LIMIT_REACHED"
    world.call("ApiTokenService/DeleteApiToken", {"name": made["apiToken"]["name"]}, admin)
    twice = refusal(world, "ApiTokenService/CreateApiToken", {**request, "apiToken": {"displayName": "t1"}}, admin)
    assert twice.reason == "OBJECT_EXISTS"
