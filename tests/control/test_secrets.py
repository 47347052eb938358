"""Secrets are nowhere but where they belong; keys, and what was encrypted with them."""

from __future__ import annotations

import errno
import json
import logging
from base64 import b32encode
from pathlib import Path
from typing import Any

import pytest

from control.access.vault import Vault, open_vault
from control.errors import KeyFileError, SealBrokenError
from control.metrics import ControlMetrics
from control.store import Reader
from tests.control.world import PASSWORD, RefusedError, World, user, world_at


def test_planted_secrets_are_nowhere(world: World, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    metrics = ControlMetrics(dict, dict, "1")
    outputs: list[str] = []

    def call(name: str, request: dict[str, Any], token: str = "") -> None:
        try:
            outputs.append(json.dumps(world.call(name, request, token)))
        except RefusedError as refused:
            outputs.append(repr(refused.raw) + str(refused))

    one_time = (world.data / "first-login").read_text().strip()
    admin = world.administrator()
    org, maria = world.tenant(admin, "US1")
    request = {"parent": org, "user": user("eva"), "requestId": "r"}
    eva = world.call("UserService/CreateUser", request, maria)["oneTimePassword"]
    made = {"parent": f"{org}/users/maria", "apiToken": {"displayName": "ci"}, "requestId": "t"}
    api = world.call("ApiTokenService/CreateApiToken", made, maria)["secret"]
    canary = "canary-password-81"
    call("SessionService/Login", {"org": org, "username": "maria", "password": canary, "code": "918273"})
    call("SessionService/Login", {"org": org, "username": "eva", "password": eva, "newPassword": canary[:11]})
    typed = "canary-username-82"  # a password in the wrong field
    for place in (org, "orgs/US9"):
        call("SessionService/Login", {"org": place, "username": typed, "password": canary})
    call("AuditService/ListAuditRecords", {"parent": "orgs/system"}, admin)
    for token in (admin, maria, api):
        for name in ("UserService/ListUsers", "AuditService/ListAuditRecords", "TaskService/ListTasks"):
            call(name, {"parent": org}, token)
        call("UserService/GetUser", {"name": f"{org}/users/maria"}, token)
        call("ApiTokenService/ListApiTokens", {"parent": f"{org}/users/maria"}, token)
        call("UserService/CreateUser", {"parent": org, "user": user("eva")}, token)
    for method, code in world.calls:
        metrics.called(method, code, 0.1)
    outputs += [metrics.page().decode(), caplog.text]
    secrets = {one_time, PASSWORD, eva, api, maria, admin, canary, typed}
    secrets |= {b32encode(seed).decode().rstrip("=") for seed in world.seeds.values()}
    keys = (world.data / "keys").read_text().split()[1]
    world.close()
    text = "\n".join(outputs)
    assert [secret for secret in [*secrets, keys] if secret in text] == []
    stored = b"".join(path.read_bytes() for path in world.data.glob("control.sqlite3*"))
    raw = {secret.encode() for secret in secrets} | set(world.seeds.values())
    assert [secret for secret in raw if secret in stored] == []
    assert b"orgs/US1/users/maria" in stored
    world.open()


def test_what_is_sealed_opens_at_its_place_only(world: World) -> None:
    sealed = world.vault.seal(b"geheim", "a")
    assert b"geheim" not in sealed
    assert sealed != world.vault.seal(b"geheim", "a")
    assert world.vault.open(sealed, "a") == b"geheim"
    for broken, place in ((sealed, "b"), (sealed[:-1] + bytes([sealed[-1] ^ 1]), "a"), (sealed[:20], "a")):
        with pytest.raises(SealBrokenError):
            world.vault.open(broken, place)
    with pytest.raises(KeyFileError, match="is not in the key file"):
        world.vault.open(bytes(40), "a")


def test_a_new_key_goes_on_top(world: World) -> None:
    random = world.surroundings.random
    old, new = "0" * 16, "1" * 16
    sealed = Vault({old: bytes(32)}, random).seal(b"geheim", "a")
    both = Vault({new: b"x" * 32, old: bytes(32)}, random)
    assert both.open(sealed, "a") == b"geheim"
    assert both.seal(b"geheim", "a").startswith(bytes.fromhex(new))


def test_another_key_file_is_noticed_at_the_start(tmp_path: Path) -> None:
    with world_at(tmp_path / "data") as world:
        world.administrator()
    keys = tmp_path / "data" / "keys"
    right = keys.read_text()
    assert keys.stat().st_mode & 0o777 == 0o600
    key_id, key = right.split()
    for wrong in (f"{key_id} {'A' * 43}=\n", f"{'0' * 16} {key}\n", "", "nonsense\n", "ñ\n"):
        keys.write_text(wrong)
        with pytest.raises(KeyFileError), world_at(tmp_path / "data"):
            pass
    keys.unlink()
    with pytest.raises(KeyFileError, match="No such file"), world_at(tmp_path / "data"):
        pass
    assert not keys.exists()
    keys.write_text(right)
    keys.chmod(0o644)
    with pytest.raises(KeyFileError, match="others can read it"), world_at(tmp_path / "data"):
        pass
    keys.chmod(0o600)
    with world_at(tmp_path / "data") as world:
        assert world.store is not None


def test_a_key_file_is_made_once(tmp_path: Path, world: World) -> None:
    path = tmp_path / "k"
    first = open_vault(path, world.surroundings.random, make=True)
    second = open_vault(path, world.surroundings.random, make=True)
    assert second.open(first.seal(b"x", "a"), "a") == b"x"


def test_a_key_file_that_is_there_is_whole(tmp_path: Path, world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    path = tmp_path / "k"
    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(KeyFileError, match="No space left"):
        open_vault(path, world.surroundings.random, make=True)
    monkeypatch.undo()
    assert list(tmp_path.glob("*k*")) == []
    assert open_vault(path, world.surroundings.random, make=True)
    assert list(tmp_path.glob("*k*")) == [path]
    assert path.stat().st_mode & 0o777 == 0o600


@pytest.mark.needs("postgres")
@pytest.mark.parametrize("database", ["postgres"], indirect=True)
def test_the_slower_of_two_first_replicas_keeps_no_keys_of_its_own(
    tmp_path: Path, database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    quicker, slower = tmp_path / "quicker", tmp_path / "slower"
    with world_at(quicker, database):
        # What it sees of an empty database, before the other has begun.
        seen = iter([None])
        ask = Reader.fact

        def early(self: Reader, name: str) -> str | None:
            return next(seen, ask(self, name))

        monkeypatch.setattr(Reader, "fact", early)
        with pytest.raises(KeyFileError, match="not in the key file"):
            World(slower, database, seed=2)
    assert (quicker / "keys").exists()
    assert not (slower / "keys").exists()
