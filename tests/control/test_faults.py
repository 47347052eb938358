"""Kills and full disks: what was acknowledged is there, wholly; what was not is there wholly or not at all."""

from __future__ import annotations

import random
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from functools import partial
from pathlib import Path

import psycopg
import pytest
import sqlalchemy as sa

from control import chain
from control.errors import KeyFileError
from control.objects import Org
from control.store import Actor, Store, database
from control.surroundings import Surroundings
from edge.errors import StoreError
from tests.control.world import World, world_at
from tests.control.writer import change, newest
from tests.writing import line, running

KILLS = 20
writer = partial(running, "tests.control.writer")


def whole(store: Store) -> int:
    """How many changes are there; each with its task and its record, and the chain holds."""
    number = newest(store)
    with store.read() as state:
        counts = [
            state.db.execute(sa.text(f"SELECT count(*) FROM {table}")).scalar()
            for table in ("objects", "tasks", "audit")
        ]
        assert counts == [number] * 3
        rows = state.db.execute(sa.text("SELECT * FROM audit ORDER BY number")).mappings()
        heads = chain.verify(chain.exported(dict(row)) for row in rows)
    assert sum(head.number for head in heads.values()) == number
    return number


def test_a_kill_at_any_moment_loses_nothing_that_was_acknowledged(root: Path, tmp_path: Path) -> None:
    rng = random.Random(6)
    acknowledged = 0
    for _ in range(KILLS):
        with writer(root, tmp_path) as child:
            assert line(child) == f"open {acknowledged}"
            told = [line(child) for _ in range(rng.randrange(8))]
            time.sleep(rng.random() * 0.02)
            child.kill()
            assert child.stdout is not None
            told += child.stdout.read().splitlines()
        acknowledged = max([acknowledged, *(int(text.removeprefix("saved ")) for text in told)])
        with closing(Store(tmp_path, Surroundings())) as store:
            found = whole(store)
        # One more may have reached the disk without its writer having lived to say so.
        assert acknowledged <= found <= acknowledged + 1
        acknowledged = found
    assert acknowledged > KILLS


def test_a_full_disk_is_told_changes_nothing_and_passes(root: Path, tmp_path: Path) -> None:
    with writer(root, tmp_path, "--limit", 600_000) as child:
        assert line(child) == "open 0"
        saved = 0
        while (text := line(child)).startswith("saved "):
            saved = int(text.removeprefix("saved "))
        assert text.startswith(f"full {saved + 1} {tmp_path}/control.sqlite3: ")
        assert saved > 3
        assert child.stdin is not None
        child.stdin.write("there is room again\n")
        child.stdin.flush()
        assert [line(child), line(child)] == [f"saved {saved + 1}", f"saved {saved + 2}"]
    with closing(Store(tmp_path, Surroundings())) as store:
        assert whole(store) >= saved + 2


def test_what_a_full_disk_refused_does_not_come_back(root: Path, tmp_path: Path) -> None:
    with writer(root, tmp_path, "--limit", 600_000) as child:
        while not (text := line(child)).startswith("full "):
            assert text
    with closing(Store(tmp_path, Surroundings())) as store:
        assert whole(store) == int(text.split()[1]) - 1


def test_a_first_start_that_was_cut_off_begins_again(tmp_path: Path) -> None:
    """The file of the first login is there, the database does not know of it."""
    with closing(Store(tmp_path / "data", Surroundings())):
        (tmp_path / "data" / "first-login").write_text("of an earlier try\n")
    with world_at(tmp_path / "data") as world:
        assert world.administrator()


@pytest.mark.parametrize("database", [pytest.param("postgres", marks=pytest.mark.needs("postgres"))], indirect=True)
def test_replicas_share_a_database_and_a_key_file(tmp_path: Path, either: World) -> None:
    admin = either.administrator()
    with pytest.raises(KeyFileError, match="No such file"):
        World(tmp_path / "second", either.database)
    (tmp_path / "second" / "keys").touch(0o600)
    (tmp_path / "second" / "keys").write_text((either.data / "keys").read_text())
    second = World(tmp_path / "second", either.database, seed=2)
    replicas = (either, second)

    def create(number: int) -> None:
        org = {"org": {"accountId": f"US{number}", "displayName": "x"}}
        replicas[number % 2].call("OrgService/CreateOrg", org, admin)

    with closing(second), ThreadPoolExecutor(6) as pool:
        list(pool.map(create, range(1, 31)))
        with second.store.read() as state:
            rows = state.db.execute(sa.text("SELECT * FROM audit ORDER BY number")).mappings()
            assert chain.verify(chain.exported(dict(row)) for row in rows)["orgs/system"].number == 33
        assert len(second.call("OrgService/ListOrgs", {}, admin)["orgs"]) == 31


@pytest.mark.parametrize("database", [pytest.param("postgres", marks=pytest.mark.needs("postgres"))], indirect=True)
def test_a_database_that_was_away_is_used_again(either: World) -> None:
    admin = either.administrator()
    ended = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database()"
    with psycopg.connect(either.database, autocommit=True) as db:
        found = db.execute(f"{ended} AND pid <> pg_backend_pid()").fetchall()
    assert len(found) > 0
    either.call("OrgService/CreateOrg", {"org": {"accountId": "US1", "displayName": "x"}}, admin)
    assert len(either.call("OrgService/ListOrgs", {}, admin)["orgs"]) == 2


@pytest.mark.parametrize("database", [pytest.param("postgres", marks=pytest.mark.needs("postgres"))], indirect=True)
def test_a_database_that_goes_in_mid_write_leaves_nothing(either: World) -> None:
    admin = either.administrator()
    with pytest.raises(StoreError) as caught:
        cut_off(either)
    assert str(caught.value).endswith("AdminShutdown")
    assert len(either.call("OrgService/ListOrgs", {}, admin)["orgs"]) == 1


def cut_off(world: World) -> None:
    """A unit whose connection ends before it does."""
    with world.store.write(Actor("x", "u")) as unit:
        unit.create("org", "orgs/US1", Org(account_id="US1", display_name="x"))
        pid = unit.db.execute(sa.text("SELECT pg_backend_pid()")).scalar()
        with psycopg.connect(world.database, autocommit=True) as db:
            db.execute("SELECT pg_terminate_backend(%s)", (pid,))
        unit.find("orgs/US1")


@pytest.mark.parametrize("database", [pytest.param("postgres", marks=pytest.mark.needs("postgres"))], indirect=True)
def test_a_replica_that_hangs_does_not_make_others_hang(either: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(database, "_BUSY_MS", 50)
    with psycopg.connect(either.database) as db:
        db.execute("SELECT pg_advisory_xact_lock(%s)", (database._WRITER_LOCK,))
        with pytest.raises(StoreError, match="LockNotAvailable"), either.store.write(Actor("x", "u")):
            pass
    assert either.administrator()


def test_writers_take_turns(tmp_path: Path) -> None:
    with closing(Store(tmp_path, Surroundings())) as store, ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda number: change(store, number), range(1, 41)))
        assert whole(store) == 40
