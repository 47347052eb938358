"""Both stores do the same; the one on disk remembers."""

from __future__ import annotations

import multiprocessing
import os
import sqlite3
import stat
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from edge.errors import StoreError
from edge.store import MemoryStore, RevisionStore, Store, packed, unpacked
from edge.store.database import DATABASE, STEPS, upgrade
from tests.store_writer import document, revision


@pytest.fixture(params=["memory", "disk"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    made: Store = MemoryStore(max_revisions=5) if request.param == "memory" else disk(tmp_path)
    yield made
    made.close()


def disk(path: Path, **bounds: int) -> RevisionStore:
    return RevisionStore(path / "data", **({"max_revisions": 5} | bounds))


def test_an_empty_store_knows_nothing(store: Store) -> None:
    assert store.latest_confirmed() is None
    assert store.get(1) is None
    assert store.page(None, 10) == []
    assert (store.last_number(), store.leader_epoch()) == (0, 0)


def test_what_was_saved_is_read_back(store: Store) -> None:
    wanted = replace(revision(1), comment="Grüße", leader_epoch=3, restored_from=7, allow_unsupported=True)
    store.save(wanted).result()
    assert store.get(1) == store.latest_confirmed() == wanted
    assert store.page(None, 10) == [wanted.info]
    assert wanted.document == document(1)
    assert store.leader_epoch() == 3


def test_a_pending_revision_is_not_what_a_restart_comes_back_to(store: Store) -> None:
    store.save(revision(1)).result()
    store.save(revision(2, deadline=99)).result()
    latest = store.latest_confirmed()
    assert latest is not None
    assert latest.number == 1
    assert [info.confirm_deadline_ns for info in store.page(None, 10)] == [99, None]
    store.confirm(2).result()
    latest = store.latest_confirmed()
    assert latest is not None
    assert (latest.number, latest.confirm_deadline_ns, latest.taken_back) == (2, None, False)


def test_a_revision_that_was_taken_back_is_listed_as_such(store: Store) -> None:
    store.save(revision(1)).result()
    store.save(revision(2, deadline=99)).result()
    store.take_back(2).result()
    latest = store.latest_confirmed()
    assert latest is not None
    assert latest.number == 1
    assert [(info.number, info.taken_back, info.confirm_deadline_ns) for info in store.page(None, 10)] == [
        (2, True, None),
        (1, False, None),
    ]
    before = store.confirmed_before(3)
    assert before is not None
    assert before.number == 1
    assert store.last_number() == 2


def test_pages_follow_one_another(store: Store) -> None:
    for number in range(1, 6):
        store.save(revision(number)).result()
    assert [info.number for info in store.page(None, 2)] == [5, 4]
    assert [info.number for info in store.page(4, 2)] == [3, 2]
    assert [info.number for info in store.page(2, 2)] == [1]
    assert store.page(1, 2) == []


def test_the_oldest_are_given_up_and_the_last_confirmed_one_is_not(store: Store) -> None:
    store.save(revision(1)).result()
    for number in range(2, 20):
        store.save(revision(number, deadline=99)).result()
        store.take_back(number).result()
    latest = store.latest_confirmed()
    assert latest is not None
    assert latest.number == 1
    assert [info.number for info in store.page(None, 100)] == [19, 18, 17, 16, 15, 1]


def test_epochs_only_grow(store: Store) -> None:
    store.note_epoch(7).result()
    store.note_epoch(5).result()
    assert store.leader_epoch() == 7


def test_numbers_past_what_the_database_holds_are_unknown(store: Store) -> None:
    assert store.get((1 << 64) - 1) is None
    assert store.page((1 << 64) - 1, 10) == []


@pytest.mark.parametrize("kind", ["memory", "disk"])
def test_documents_too_large_together_are_given_up(tmp_path: Path, kind: str) -> None:
    most = len(revision(1).packed) + 10
    store: Store = MemoryStore(max_bytes=most) if kind == "memory" else disk(tmp_path, max_bytes=most, max_revisions=9)
    for number in range(1, 4):
        store.save(replace(revision(number), packed=revision(1).packed)).result()
    assert [info.number for info in store.page(None, 100)] == [3]
    store.save(revision(4, deadline=5)).result()
    assert [info.number for info in store.page(None, 100)] == [4, 3]  # what waits, and what was confirmed last
    store.close()


def test_all_of_it_is_there_when_the_directory_is_opened_again(tmp_path: Path) -> None:
    store = disk(tmp_path)
    store.save(revision(1)).result()
    store.save(revision(2, deadline=5)).result()
    store.note_epoch(4).result()
    store.close()
    again = disk(tmp_path)
    assert again.get(1) == revision(1)
    assert again.get(2) == revision(2, deadline=5)
    assert (again.last_number(), again.leader_epoch()) == (2, 4)
    again.close()


def test_what_waits_when_the_store_closes_is_written(tmp_path: Path) -> None:
    store = disk(tmp_path, max_revisions=1000)
    futures = [store.save(revision(number)) for number in range(1, 200)]
    store.close()
    assert all(future.done() and future.exception() is None for future in futures)
    again = disk(tmp_path, max_revisions=1000)
    assert len(again.page(None, 1000)) == 199
    again.close()


def test_a_closed_store_writes_nothing(tmp_path: Path) -> None:
    store = disk(tmp_path)
    store.close()
    store.close()
    with pytest.raises(StoreError, match="closed"):
        store.save(revision(1)).result()


def test_one_of_a_group_that_cannot_be_written_does_not_keep_the_others_from_it(tmp_path: Path) -> None:
    store = disk(tmp_path)
    store.save(revision(1)).result()
    futures = [store.save(revision(number)) for number in (2, 1, 3)]
    errors = [future.exception() for future in futures]
    assert [type(error) for error in errors] == [type(None), StoreError, type(None)]
    assert [info.number for info in store.page(None, 10)] == [3, 2, 1]
    store.close()


def test_a_directory_has_one_user_at_a_time(tmp_path: Path) -> None:
    store = disk(tmp_path)
    with pytest.raises(StoreError, match=r"data: another process uses it"):
        disk(tmp_path)
    store.close()
    disk(tmp_path).close()


def _child_keeps(path: Path, opened: Callable[[], None]) -> None:
    disk(path)
    opened()
    os.kill(os.getpid(), 9)


def test_a_process_that_was_killed_leaves_no_lock(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    ready = context.Event()
    child = context.Process(target=_child_keeps, args=(tmp_path, ready.set))
    child.start()
    child.join()
    assert ready.is_set()
    disk(tmp_path).close()


def test_only_the_owner_reads_what_may_hold_secrets(tmp_path: Path) -> None:
    store = disk(tmp_path)
    store.save(revision(1)).result()
    files = [tmp_path / "data", *(tmp_path / "data").iterdir()]
    assert len(files) == 5
    assert [stat.S_IMODE(path.stat().st_mode) & 0o077 for path in files] == [0] * 5
    store.close()


def test_a_path_that_is_a_file_is_told(tmp_path: Path) -> None:
    (tmp_path / "data").write_text("x")
    with pytest.raises(StoreError, match="data: "):
        disk(tmp_path)


def test_a_file_that_is_no_database_is_told(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / DATABASE).write_bytes(b"no database" * 1000)
    with pytest.raises(StoreError, match=rf"{DATABASE}: file is not a database"):
        disk(tmp_path)
    (tmp_path / "data" / DATABASE).unlink()
    disk(tmp_path).close()


def test_a_schema_newer_than_this_version_is_refused(tmp_path: Path) -> None:
    disk(tmp_path).close()
    db = sqlite3.connect(tmp_path / "data" / DATABASE)
    db.execute("PRAGMA user_version = 99")
    db.close()
    with pytest.raises(StoreError, match=r"newer version of t1edge \(schema 99"):
        disk(tmp_path)


def test_a_schema_is_brought_up_to_date_all_or_nothing(tmp_path: Path) -> None:
    store = disk(tmp_path)
    store.save(revision(1)).result()
    store.close()
    db = sqlite3.connect(tmp_path / "data" / DATABASE, isolation_level=None)

    def adds(db: sqlite3.Connection) -> None:
        db.execute("ALTER TABLE revisions ADD COLUMN author TEXT NOT NULL DEFAULT 'nobody'")

    def fails(db: sqlite3.Connection) -> None:
        db.execute("INSERT INTO no_such_table VALUES (1)")

    with pytest.raises(sqlite3.OperationalError, match="no_such_table"):
        upgrade(db, (*STEPS, adds, fails))
    assert db.execute("PRAGMA user_version").fetchone() == (len(STEPS),)
    upgrade(db, (*STEPS, adds))
    upgrade(db, (*STEPS, adds))
    assert db.execute("PRAGMA user_version").fetchone() == (len(STEPS) + 1,)
    assert db.execute("SELECT number, author FROM revisions").fetchall() == [(1, "nobody")]
    db.close()


def test_a_damaged_document_is_told() -> None:
    assert unpacked(packed("{}")) == "{}"
    with pytest.raises(StoreError, match="damaged"):
        unpacked(b"nothing")
