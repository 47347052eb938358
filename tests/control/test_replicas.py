"""Several replicas on one PostgreSQL: one leads, and whoever was paused while it led changes nothing afterwards."""

from __future__ import annotations

import json
import random
import select
import signal
import time
from collections.abc import Sequence
from contextlib import ExitStack, closing
from functools import partial
from pathlib import Path
from subprocess import Popen

import psycopg
import pytest

from control.machines import book
from control.machines.wishes import Power
from control.store import Store
from control.surroundings import Surroundings
from tests.control.office import DEMAND, Office
from tests.control.paper import document
from tests.control.replica import has, want
from tests.control.world import World, world_at
from tests.serve.process import Service
from tests.waiting import wait_for
from tests.writing import line, running

pytestmark = pytest.mark.needs("postgres")

EDGE = "orgs/US1/edges/T1"
PAUSES = 4
replica = partial(running, "tests.control.replica")


@pytest.fixture
def url(postgres: str) -> str:
    """An empty database."""
    with psycopg.connect(postgres.format(name="postgres"), autocommit=True) as db:
        db.execute("DROP DATABASE IF EXISTS replicas")
        db.execute("CREATE DATABASE replicas")
    return postgres.format(name="replicas")


def test_a_leader_that_was_paused_changes_nothing_afterwards(root: Path, tmp_path: Path, url: str) -> None:
    rng = random.Random(3)
    file = tmp_path / "edge.json"
    file.write_text(json.dumps(document("orgs/nobody/edges/NEW")))
    with ExitStack() as stack:
        store = stack.enter_context(closing(Store(tmp_path / "store", Surroundings(), url)))
        edge = stack.enter_context(Service(tmp_path, file, "--data", str(tmp_path / "edge")))
        number = want(store, EDGE, address=edge.address)
        replicas = [stack.enter_context(replica(root, tmp_path / name, "--database", url)) for name in ("a", "b")]
        wait_for("the edge is there", lambda: has(store, EDGE, number))
        first = leading(replicas)
        for _ in range(PAUSES):
            now, then = replicas[first], replicas[1 - first]
            for _ in range(rng.randrange(1, 4)):
                number = want(store, EDGE)
                time.sleep(rng.random() * 0.05)  # somewhere in a push, or between two
            now.send_signal(signal.SIGSTOP)
            number = want(store, EDGE)
            epoch = int(line(then).removeprefix("leads "))
            wait_for("the other one has brought it there", lambda number=number: has(store, EDGE, number))
            before = newest(edge)
            now.send_signal(signal.SIGCONT)
            assert line(now) == "follows"
            number = want(store, EDGE)
            wait_for("the new one has brought it there", lambda number=number: has(store, EDGE, number))
            with edge.client() as client:
                made = [item for item in client.revisions() if item.number > before]
                rules = json.loads(client.config()[1])["firewallRules"]["userDefinedRules"]
            assert [item.leader_epoch for item in made] == [epoch] * len(made)
            assert [rule["name"] for rule in rules] == [f"r{number}"]
            first = 1 - first


def test_machines_are_the_leaders_and_each_job_is_done_once(root: Path, tmp_path: Path, url: str) -> None:
    files = [tmp_path / name for name in ("a.jobs", "b.jobs")]
    for file in files:
        file.touch()
    with ExitStack() as stack:
        world = stack.enter_context(world_at(tmp_path / "world", url))
        world.attended = False  # this one only orders
        office = Office(world)
        replicas = [
            stack.enter_context(replica(root, file.with_suffix(""), "--database", url, "--machines", file))
            for file in files
        ]
        first = leading(replicas)
        names = [f"m{number}" for number in range(12)]
        made = [office.create(name, vdc=DEMAND, powerOn=True)["machine"]["name"] for name in names]
        uids = {office.record(name).uid for name in made}
        wait_for("all are on", lambda: powers(world) == {Power.ON: 12})
        assert done(files[first]) == sorted(f"power_on {uid}" for uid in uids)
        assert done(files[1 - first]) == []

        replicas[first].send_signal(signal.SIGSTOP)
        for name in made[:6]:
            office.do("PowerOffMachine", name)
        assert line(replicas[1 - first]).startswith("leads ")
        wait_for("the other one has done it", lambda: powers(world) == {Power.ON: 6, Power.OFF: 6})
        # What runs by itself there begins with all that is wanted, then come the jobs.
        offs = [text for text in done(files[1 - first]) if text.startswith("power_off")]
        assert offs == sorted(f"power_off {office.record(name).uid}" for name in made[:6])
        before = done(files[first])
        replicas[first].send_signal(signal.SIGCONT)
        assert line(replicas[first]) == "follows"
        for name in made[6:]:
            office.do("PowerOffMachine", name)
        wait_for("all are off", lambda: powers(world) == {Power.OFF: 12})
        assert done(files[first]) == before
        offs = [text for text in done(files[1 - first]) if text.startswith("power_off")]
        assert offs == sorted(f"power_off {uid}" for uid in uids)


def powers(world: World) -> dict[str, int]:
    """How many machines have which, if nothing is to be done."""
    with world.store.read() as state:
        return {} if book.busy(state) else book.power_counts(state)


def done(file: Path) -> list[str]:
    """What a replica has done with machines."""
    return sorted(file.read_text().splitlines())


def leading(replicas: Sequence[Popen[str]]) -> int:
    """Which of them leads: the one that has said so."""
    ready, _, _ = select.select([child.stdout for child in replicas], [], [], 30)
    first = next(place for place, child in enumerate(replicas) if child.stdout is ready[0])
    assert line(replicas[first]).startswith("leads ")
    return first


def newest(edge: Service) -> int:
    """The number of the newest revision."""
    with edge.client() as client:
        return next(iter(client.revisions())).number
