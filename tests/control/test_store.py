"""The store keeps its word, on SQLite and on PostgreSQL."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext

from control.errors import NoSuchObjectError, ObjectExistsError, ObjectInUseError, StaleObjectError
from control.filters import ListQuery, read_query
from control.objects import Org, Role, User
from control.store import Actor, Reader, Store, WriteUnit
from control.store.listing import USERS
from control.store.schema import METADATA
from edge.errors import StoreError
from tests.control.world import World

ACTOR = Actor("orgs/system/users/test", "u")
ACME = Org(account_id="US1", display_name="Acme")


def person(name: str, role: Role = Role.STAFF) -> User:
    return User(username=name, email="a@b.example", first_name="A", last_name="B", role=role)


def users_query(**more: object) -> ListQuery:
    given = {"filter_text": "", "order_by": "", "page_size": 0, "page_token": "", **more}
    return read_query("x", **given, fields=USERS.fields, orders=USERS.orders, default_order="username")  # type: ignore[arg-type]


def fill(unit: WriteUnit, count: int) -> None:
    unit.create("org", "orgs/US1", ACME)
    for number in range(count):
        role = Role.STAFF if number % 3 else Role.ADMINISTRATOR
        unit.create("user", f"orgs/US1/users/u{number:03}", person(f"u{number:03}", role))


def test_the_schema_is_the_one_that_migrations_make(either: World) -> None:
    with either.store._engine.connect() as db:
        found = compare_metadata(MigrationContext.configure(db), METADATA)
    assert found == []


def test_objects_are_made_read_changed_and_deleted(either: World) -> None:
    store = either.store
    with store.write(ACTOR) as unit:
        made = unit.create("org", "orgs/US1", ACME)
    with store.read() as state:
        assert state.get("orgs/US1") == made
        assert made.value(Org) == ACME
    either.now_s += 5
    with store.write(ACTOR) as unit:
        changed = unit.update(made, Org(account_id="US1", display_name="Acme S.A."), made.etag)
    assert (changed.version, changed.created_ns, changed.updated_ns - made.updated_ns) == (
        2,
        made.created_ns,
        5 * 10**9,
    )
    assert changed.etag != made.etag
    with store.write(ACTOR) as unit:
        unit.delete(changed, changed.etag)
        assert unit.find("orgs/US1") is None
        again = unit.create("org", "orgs/US1", ACME)
    assert again.etag != made.etag


def make_twice(store: Store) -> None:
    with store.write(ACTOR) as unit:
        unit.create("org", "orgs/US1", ACME)
        unit.done("Create", "orgs/US1")
        unit.record("orgs/US1", "X", "orgs/US1")
        unit.create("org", "orgs/US1", ACME)


def test_a_unit_that_fails_leaves_no_trace(either: World) -> None:
    with pytest.raises(ObjectExistsError):
        make_twice(either.store)
    with either.store.write(ACTOR, keep=False) as unit:
        unit.create("org", "orgs/US1", ACME)
    with either.store.read() as state:
        assert state.find("orgs/US1") is None
        assert state.db.execute(sa.text("SELECT count(*) FROM tasks")).scalar() == 0
        assert state.db.execute(sa.text("SELECT count(*) FROM audit WHERE org = 'orgs/US1'")).scalar() == 0


def test_a_stale_etag_changes_nothing(either: World) -> None:
    with either.store.write(ACTOR) as unit:
        made = unit.create("org", "orgs/US1", ACME)
        changed = unit.update(made, Org(account_id="US1", display_name="B"), "")
        for change in (lambda: unit.update(changed, ACME, made.etag), lambda: unit.delete(changed, made.etag)):
            with pytest.raises(StaleObjectError):
                change()
        assert unit.get("orgs/US1") == changed


def test_what_is_used_stays_and_its_users_are_named(either: World) -> None:
    with either.store.write(ACTOR) as unit:
        fill(unit, 2)
        with pytest.raises(ObjectInUseError) as caught:
            unit.delete(unit.get("orgs/US1"), "")
        assert caught.value.users == (("orgs/US1/users/u000", "parent"), ("orgs/US1/users/u001", "parent"))
        other = unit.create("org", "orgs/US2", Org(account_id="US2", display_name="B"), [("orgs/US1", "peer")])
        assert other.parent == ""
        for number in range(2):
            unit.delete(unit.get(f"orgs/US1/users/u{number:03}"), "")
        with pytest.raises(ObjectInUseError) as caught:
            unit.delete(unit.get("orgs/US1"), "")
        assert caught.value.users == (("orgs/US2", "peer"),)
        unit.delete(other, "")
        unit.delete(unit.get("orgs/US1"), "")


def test_names_are_taken_once_and_lie_in_something(either: World) -> None:
    with either.store.write(ACTOR) as unit:
        unit.create("org", "orgs/US1", ACME)
        with pytest.raises(ObjectExistsError):
            unit.create("org", "orgs/US1", ACME)
        with pytest.raises(NoSuchObjectError, match=r"orgs/US9"):
            unit.create("user", "orgs/US9/users/a", person("a"))


@pytest.mark.parametrize("order", ["username", "username desc", "create_time", "update_time desc"])
def test_pages_hold_every_object_once(either: World, order: str) -> None:
    with either.store.write(ACTOR) as unit:
        fill(unit, 50)
    found: list[str] = []
    token = ""
    while True:
        with either.store.read() as state:
            rows, token = state.users("orgs/US1", users_query(order_by=order, page_size=7, page_token=token))
        found += [row.name for row in rows]
        if not token:
            break
    expected = sorted(found, reverse=order.endswith("desc"))
    assert found == expected
    assert len(set(found)) == 50


def test_filters_select_by_equality(either: World) -> None:
    with either.store.write(ACTOR) as unit:
        fill(unit, 9)
    with either.store.read() as state:
        rows, _ = state.users("orgs/US1", users_query(filter_text='role = "ROLE_ADMINISTRATOR" AND username = "u003"'))
        assert [row.name for row in rows] == ["u003"]
        assert len(state.users("orgs/US1", users_query(filter_text="role = ROLE_STAFF"))[0]) == 6
        assert state.users("orgs/US1", users_query(filter_text="""email = "' OR 1=1 --" """))[0] == []


def test_failures_that_are_a_day_old_do_not_count(either: World) -> None:
    with either.store.write(ACTOR) as unit:
        unit.set_attempts("k", 9)
    either.now_s += 24 * 3_600 + 1
    with either.store.write(ACTOR) as unit:
        assert unit.attempts("k") == (0, 0)


def test_a_clock_that_was_set_back_does_not_take_objects_back(either: World) -> None:
    with either.store.write(ACTOR) as unit:
        made = unit.create("org", "orgs/US1", ACME)
    either.now_s -= 3_600
    with either.store.write(ACTOR) as unit:
        changed = unit.update(made, Org(account_id="US1", display_name="B"), made.etag)
    assert changed.updated_ns == made.updated_ns


def test_a_directory_has_one_process(tmp_path: Path, world: World) -> None:
    with pytest.raises(StoreError, match="another process uses it"):
        Store(tmp_path / "data", world.surroundings)


def test_a_newer_schema_is_refused(tmp_path: Path, either: World) -> None:
    with either.store._engine.connect() as db:
        db.execute(sa.text("UPDATE alembic_version SET version_num = '9999'"))
        db.commit()
    either.close()
    with pytest.raises(StoreError, match="newer version of t1edge"):
        Store(tmp_path / "data", either.surroundings, either.database)


@pytest.mark.parametrize("url", ["mysql://a:geheim@b/c", "not a url", "postgresql://u:geheim@127.0.0.1:1/x"])
def test_a_database_that_cannot_be_had_is_named_without_its_password(tmp_path: Path, url: str, world: World) -> None:
    with pytest.raises(StoreError) as caught:
        Store(tmp_path / "other", world.surroundings, url)
    assert "geheim" not in str(caught.value)
    with closing(Store(tmp_path / "other", world.surroundings)) as store, store.read() as state:
        assert state.object_counts() == {}


@pytest.mark.parametrize("ask", ["object", "session", "token", "count"])
def test_what_the_database_says_no_to_is_told_without_what_was_asked(either: World, ask: str) -> None:
    with either.store._engine.connect() as db:
        for table in ("sessions", "api_tokens", "objects"):
            db.execute(sa.text(f"ALTER TABLE {table} RENAME TO lost_{table}"))
        db.commit()
    asks: dict[str, Callable[[Reader], object]] = {
        "object": lambda state: state.find("geheim"),
        "session": lambda state: state.session("geheim"),
        "token": lambda state: state.by_token("geheim"),
        "count": Reader.object_counts,
    }
    with pytest.raises(StoreError) as caught, either.store.read() as state:
        asks[ask](state)
    assert "geheim" not in str(caught.value)
    assert either.store.answers()


def test_a_reader_sees_one_moment_from_its_first_question_on(either: World) -> None:
    with either.store.write(ACTOR) as unit:
        made = unit.create("org", "orgs/US1", ACME)
    with either.store.read() as state:
        assert state.get("orgs/US1") == made
        with either.store.write(ACTOR) as unit:
            unit.update(made, Org(account_id="US1", display_name="Acme S.A."), made.etag)
        assert state.get("orgs/US1") == made
        assert made in state.every("org")


def test_a_unit_that_first_asks_and_then_writes_is_one_transaction(either: World) -> None:
    with either.store.write(ACTOR) as unit:
        unit.create("org", "orgs/US1", ACME)
    with either.store.write(ACTOR, keep=False) as unit:
        found = unit.get("orgs/US1")
        unit.update(found, Org(account_id="US1", display_name="B"), found.etag)
    with either.store.write(ACTOR) as unit:
        found = unit.get("orgs/US1")
        assert found.value(Org) == ACME
        unit.update(found, Org(account_id="US1", display_name="C"), found.etag)
    with either.store.read() as state:
        assert state.get("orgs/US1").value(Org).display_name == "C"
