"""Logging in: passwords, the second factor, sessions, and what those learn who may not."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime, timedelta

import pytest
import sqlalchemy as sa

from control.access.login import MAX_DELAY_NS, ONE_TIME_NS, SESSION_NS
from control.access.passwords import Passwords, check_password
from control.access.totp import code_at, matching_step
from control.store.schema import ATTEMPTS
from control.surroundings import SECOND_NS
from edge.errors import ArgumentError
from tests.control.world import FAST, PASSWORD, RefusedError, World

ADMINISTRATOR = "orgs/system/users/administrator"


@pytest.mark.parametrize(
    ("seconds", "code"),
    [
        (59, "94287082"),
        (1111111109, "07081804"),
        (1111111111, "14050471"),
        (1234567890, "89005924"),
        (2000000000, "69279037"),
        (20000000000, "65353130"),
    ],
)
def test_codes_are_those_of_rfc_6238(seconds: int, code: str) -> None:
    assert code_at(b"12345678901234567890", seconds // 30, 8) == code


def test_a_code_holds_one_step_around_and_once() -> None:
    seed, now_ns = b"x" * 20, 3_000 * SECOND_NS
    found = {offset: matching_step(seed, code_at(seed, 100 + offset), now_ns, 0) for offset in range(-2, 3)}
    assert found == {-2: None, -1: 99, 0: 100, 1: 101, 2: None}
    assert matching_step(seed, code_at(seed, 100), now_ns, 100) is None
    assert matching_step(seed, code_at(seed, 99), now_ns, 100) is None
    assert matching_step(seed, "", now_ns, 0) is None
    assert matching_step(seed, "ñ" * 6, now_ns, 0) is None


def test_the_first_login_sets_a_password_and_a_second_factor(either: World) -> None:
    one_time = (either.data / "first-login").read_text().strip()
    assert (either.data / "first-login").stat().st_mode & 0o777 == 0o600
    request = {"org": "orgs/system", "username": "administrator", "password": one_time}
    with pytest.raises(RefusedError) as caught:
        either.call("SessionService/Login", request)
    assert (caught.value.code, caught.value.reason) == ("FAILED_PRECONDITION", "NEW_PASSWORD_REQUIRED")
    token = either.administrator()
    assert either.call("OrgService/GetOrg", {"name": "orgs/system"}, token)["org"]["accountId"] == "system"
    with pytest.raises(RefusedError) as caught:  # the one-time password was for one time
        either.call("SessionService/Login", {**request, "newPassword": "another password 1"})
    assert caught.value.reason == "INVALID_CREDENTIALS"
    either.now_s += 30
    assert either.login(ADMINISTRATOR)["session"]["user"] == ADMINISTRATOR


def test_an_enrolment_that_was_cut_off_begins_anew(world: World) -> None:
    one_time = (world.data / "first-login").read_text().strip()
    request = {"org": "orgs/system", "username": "administrator", "password": one_time, "newPassword": PASSWORD}
    first = world.call("SessionService/Login", request)["enrolment"]
    second = world.call("SessionService/Login", {**request, "password": PASSWORD, "newPassword": ""})["enrolment"]
    assert first["uri"] != second["uri"]
    with pytest.raises(RefusedError) as caught:
        world.call("SessionService/ConfirmSecondFactor", {"token": first["token"], "code": "123456"})
    assert caught.value.reason == "INVALID_CREDENTIALS"


@pytest.mark.parametrize("password", ["short", "aaaaaaaaaaaaaaaa", "administrator-1234", "x" * 129, "", "            "])
def test_bad_passwords_are_not_taken(world: World, password: str) -> None:
    with pytest.raises(ArgumentError):
        check_password(password, "administrator", "new_password")
    one_time = (world.data / "first-login").read_text().strip()
    request = {"org": "orgs/system", "username": "administrator", "password": one_time, "newPassword": password}
    with pytest.raises(RefusedError) as caught:
        world.call("SessionService/Login", request)
    assert caught.value.reason == ("INVALID_ARGUMENT" if password else "NEW_PASSWORD_REQUIRED")


def test_short_usernames_may_be_in_a_password() -> None:
    check_password(PASSWORD, "a", "new_password")
    with pytest.raises(ArgumentError):
        check_password("x-Anna-9-secret", "anna", "new_password")


def test_a_one_time_password_is_not_kept_as_ones_own(world: World) -> None:
    one_time = (world.data / "first-login").read_text().strip()
    request = {"org": "orgs/system", "username": "administrator", "password": one_time, "newPassword": one_time}
    with pytest.raises(RefusedError) as caught:
        world.call("SessionService/Login", request)
    assert caught.value.fields == {"new_password": "expected another one"}


def test_a_one_time_password_ends_after_a_week(world: World) -> None:
    world.now_s += ONE_TIME_NS / SECOND_NS
    with pytest.raises(RefusedError) as caught:
        world.administrator()
    assert caught.value.reason == "INVALID_CREDENTIALS"


def test_whatever_is_wrong_looks_the_same(world: World, admin: str) -> None:
    org, _ = world.tenant(admin, "US1")
    world.create_user(admin, org, "fresh", "ROLE_STAFF")
    path = f"{org}/users/maria"
    world.now_s += 60
    answers = set()
    attempts = [
        ("orgs/US1", "maria", "wrong password 1", world.code(path)),
        ("orgs/US1", "maria", PASSWORD, "000000"),
        ("orgs/US1", "maria", PASSWORD, ""),
        ("orgs/US1", "fresh", "wrong password 1", ""),
        ("orgs/US1", "nobody", PASSWORD, "000000"),
        ("orgs/US9", "maria", PASSWORD, "000000"),
    ]
    for org_name, username, password, code in attempts:
        request = {"org": org_name, "username": username, "password": password, "code": code}
        with pytest.raises(RefusedError) as caught:
            world.call("SessionService/Login", request)
        answers.add(caught.value.raw)
    assert len(answers) == 1


def test_users_that_do_not_exist_cost_a_hash_too(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    looked: list[bool] = []
    fits = Passwords.fits

    def counted(self: Passwords, stored: str | None, password: str) -> bool:
        looked.append(stored is not None)
        return fits(self, stored, password)

    monkeypatch.setattr(Passwords, "fits", counted)
    for username in ("administrator", "nobody"):
        with pytest.raises(RefusedError):
            world.call("SessionService/Login", {"org": "orgs/system", "username": username, "password": "x"})
    assert looked == [True, False]
    assert not Passwords(world.surroundings.random, FAST).fits(None, "x")


def test_who_has_tried_cannot_be_found_out_of_a_copy_of_the_store(world: World) -> None:
    path = "orgs/system/users/my-password"
    with pytest.raises(RefusedError):
        world.call("SessionService/Login", {"org": "orgs/system", "username": "my-password", "password": "x"})
    with world.store.read() as state:
        [key] = state.db.execute(sa.select(ATTEMPTS.c.key)).scalars()
    assert key not in {hashlib.new(kind, path.encode()).hexdigest() for kind in ("sha256", "sha512", "sha1", "md5")}
    assert world.vault.is_digest(key, b"attempts\0" + path.encode())


@pytest.mark.parametrize("username", ["administrator", "nobody"])
def test_failures_delay_the_next_attempt_more_and_more(either: World, username: str) -> None:
    request = {"org": "orgs/system", "username": username, "password": "wrong"}

    def attempt() -> RefusedError:
        with pytest.raises(RefusedError) as caught:
            either.call("SessionService/Login", request)
        return caught.value

    assert {attempt().reason for _ in range(5)} == {"INVALID_CREDENTIALS"}
    for delay in (1, 2, 4, 8):
        refused = attempt()
        assert (refused.code, refused.reason, refused.retry_s) == ("RESOURCE_EXHAUSTED", "TOO_MANY_ATTEMPTS", delay)
        either.now_s += delay
        assert attempt().reason == "INVALID_CREDENTIALS"
    either.now_s -= 86_400  # a clock that is set back makes the delay no longer than it is
    assert attempt().retry_s == 16
    either.now_s += 86_400 + MAX_DELAY_NS / SECOND_NS
    assert attempt().reason == "INVALID_CREDENTIALS"


def test_the_right_password_does_not_shorten_the_delay_and_success_ends_it(world: World, admin: str) -> None:
    assert admin
    world.now_s += 60
    for _ in range(5):
        with pytest.raises(RefusedError):
            world.login(ADMINISTRATOR, "wrong")
    with pytest.raises(RefusedError) as caught:
        world.login(ADMINISTRATOR)
    assert caught.value.reason == "TOO_MANY_ATTEMPTS"
    world.now_s += 1
    assert "session" in world.login(ADMINISTRATOR)
    with pytest.raises(RefusedError) as caught:  # a code works once
        world.login(ADMINISTRATOR)
    assert caught.value.reason == "INVALID_CREDENTIALS"


def test_sessions_end(world: World, admin: str) -> None:
    request = ("OrgService/GetOrg", {"name": "orgs/system"}, admin)
    world.now_s -= 299
    world.call(*request)
    for wrong in (-2, SESSION_NS / SECOND_NS + 299):  # too early for the token: the clock was set back; too late
        world.now_s += wrong
        with pytest.raises(RefusedError) as caught:
            world.call(*request)
        assert (caught.value.code, caught.value.reason) == ("UNAUTHENTICATED", "UNAUTHENTICATED")
        world.now_s -= wrong
    world.call("SessionService/Logout", {}, admin)
    with pytest.raises(RefusedError) as caught:
        world.call(*request)
    assert caught.value.reason == "UNAUTHENTICATED"


@pytest.mark.parametrize(
    "token", ["", "x", "t1s_", "t1s_" + "A" * 43, "t1a_" + "A" * 43, "t1e_" + "A" * 43, "t1s_" + "ñ" * 43]
)
def test_what_is_no_token_is_none(world: World, token: str) -> None:
    with pytest.raises(RefusedError) as caught:
        world.call("OrgService/ListOrgs", {}, token)
    assert caught.value.reason == "UNAUTHENTICATED"


def test_credentials_that_are_reset_end_everything(world: World, admin: str) -> None:
    org, maria = world.tenant(admin, "US1")
    path = f"{org}/users/maria"
    made = world.call("ApiTokenService/CreateApiToken", {"parent": path, "apiToken": {"displayName": "ci"}}, maria)
    world.call("OrgService/GetOrg", {"name": org}, made["secret"])
    one_time = world.call("UserService/ResetUserCredentials", {"name": path}, admin)["oneTimePassword"]
    for token in (maria, made["secret"]):
        with pytest.raises(RefusedError) as caught:
            world.call("OrgService/GetOrg", {"name": org}, token)
        assert caught.value.reason == "UNAUTHENTICATED"
    assert world.first_login(path, one_time)


def test_a_user_of_the_same_name_is_another_one(world: World, admin: str) -> None:
    org, maria = world.tenant(admin, "US1")
    world.call("UserService/DeleteUser", {"name": f"{org}/users/maria"}, admin)
    world.add_user(admin, org, "maria", "ROLE_STAFF")
    with pytest.raises(RefusedError) as caught:
        world.call("OrgService/GetOrg", {"name": org}, maria)
    assert caught.value.reason == "UNAUTHENTICATED"


def test_a_token_that_ended_gives_up_its_name(world: World, admin: str) -> None:
    end = (datetime.fromtimestamp(world.now_s, UTC) + timedelta(minutes=1)).isoformat()
    request = {"parent": ADMINISTRATOR, "apiToken": {"displayName": "ci", "expireTime": end}}
    world.call("ApiTokenService/CreateApiToken", request, admin)
    with pytest.raises(RefusedError) as caught:
        world.call("ApiTokenService/CreateApiToken", request, admin)
    assert caught.value.reason == "OBJECT_EXISTS"
    world.now_s += 60
    world.call("ApiTokenService/CreateApiToken", {**request, "apiToken": {"displayName": "ci"}}, admin)
    assert len(world.call("ApiTokenService/ListApiTokens", {"parent": ADMINISTRATOR}, admin)["apiTokens"]) == 1


def test_an_api_token_is_its_user_until_it_ends(world: World, admin: str) -> None:
    org, maria = world.tenant(admin, "US1")
    parent = {"parent": f"{org}/users/maria"}
    made = world.call("ApiTokenService/CreateApiToken", {**parent, "apiToken": {"displayName": "ci"}}, maria)
    secret = made["secret"]
    assert world.call("UserService/ListUsers", {"parent": org}, secret)["users"]
    with pytest.raises(RefusedError) as caught:  # a token makes no others
        world.call("ApiTokenService/CreateApiToken", {**parent, "apiToken": {"displayName": "cj"}}, secret)
    assert caught.value.reason == "PERMISSION_DENIED"
    with pytest.raises(RefusedError) as caught:
        world.call("SessionService/Logout", {}, secret)
    assert caught.value.reason == "INVALID_ARGUMENT"
    world.now_s += 90 * 86_400
    with pytest.raises(RefusedError) as caught:
        world.call("UserService/ListUsers", {"parent": org}, secret)
    assert caught.value.reason == "UNAUTHENTICATED"
