"""What is done with machines, job by job: where the host fails, where the control plane is started again."""

from __future__ import annotations

import json
from datetime import datetime

import pytest

from control.errors import MachineError
from control.machines import book, keeper
from control.machines.simulated import SimulatedDriver
from control.machines.wishes import Found, Power, Wish
from control.store.schema import TASK_WAITS
from tests.control.office import DEMAND, POOL, Office, nic, refusal
from tests.control.world import World
from tests.waiting import wait_for


@pytest.fixture
def office(either: World) -> Office:
    return Office(either)


@pytest.fixture
def quick(world: World) -> Office:
    return Office(world)


class Broken(SimulatedDriver):
    """A host that refuses."""

    def power_on(self, uid: str) -> None:
        raise MachineError(f"no room for {uid} at /secret/path")


def test_what_the_host_refuses_is_told(quick: Office, caplog: pytest.LogCaptureFixture) -> None:
    name = quick.create("web")["machine"]["name"]
    quick.world.keeper._driver = broken = Broken()
    broken.define(next(iter(quick.world.driver.inventory().values())).wish)
    task = quick.task(quick.do("PowerOnMachine", name))
    assert (task["status"], task["error"]["reason"]) == ("TASK_STATUS_ERROR", "MACHINE_FAILED")
    assert "/secret/path" not in json.dumps(task)
    assert "/secret/path" in caplog.text
    found = quick.get(name)
    assert found["powerState"] == "POWER_STATE_POWERED_OFF"
    assert found["problem"]
    quick.world.keeper._driver = quick.world.driver
    quick.do("PowerOnMachine", name)
    assert not quick.get(name)["problem"]


def test_a_snapshot_counts_from_its_order_on_and_is_told_when_it_is_there(quick: Office) -> None:
    name = quick.create("web")["machine"]["name"]
    quick.world.attended = False
    made = quick.do("CreateSnapshot", name)
    assert "snapshot" not in made["machine"]
    quick.do("RevertSnapshot", name, validateOnly=True)
    quick.do("RemoveSnapshot", name)
    for method in ("RevertSnapshot", "RemoveSnapshot"):
        assert refusal(quick.do, method, name).reason == "INVALID_SNAPSHOT"
    ordered_s = quick.world.now_s
    quick.do("CreateSnapshot", name)
    quick.world.now_s += 100
    quick.world.keeper.do_all(quick.record(name).uid)
    told = datetime.fromisoformat(quick.get(name)["snapshot"]["createTime"]).timestamp()
    assert told == ordered_s + 100


class Full(SimulatedDriver):
    """A host that can neither copy nor remove files."""

    def snapshot(self, uid: str) -> None:
        raise MachineError(f"no space for {uid}")

    def drop_snapshot(self, uid: str) -> None:
        raise MachineError(f"files of {uid} cannot be removed")


def test_a_snapshot_that_fails_leaves_the_one_before(quick: Office) -> None:
    name = quick.create("web")["machine"]["name"]
    uid = quick.record(name).uid
    quick.do("CreateSnapshot", name)
    before = quick.get(name)["snapshot"]
    quick.world.keeper._driver = broken = Full()
    broken.define(quick.world.driver.inventory()[uid].wish)
    SimulatedDriver.snapshot(broken, uid)
    quick.world.now_s += 100
    for method in ("CreateSnapshot", "RemoveSnapshot"):
        assert quick.task(quick.do(method, name))["status"] == "TASK_STATUS_ERROR"
        assert quick.get(name)["snapshot"] == before
        assert quick.get(name)["problem"]
    quick.do("RevertSnapshot", name)
    assert not quick.get(name)["problem"]


def test_a_problem_is_told_until_a_job_is_done(quick: Office) -> None:
    name = quick.create("web", powerOn=True)["machine"]["name"]
    driver = quick.world.driver
    quick.world.keeper._driver = NoSpace()
    quick.update(name, "tags", tags=["a"])
    assert quick.get(name)["problem"]
    quick.world.keeper._driver = driver
    quick.update(name, "tags", tags=["b"])
    assert not quick.get(name)["problem"]


class Unwired(SimulatedDriver):
    """A host that cannot lay the cables of a machine that is on."""

    def define(self, wish: Wish) -> None:
        found = self.inventory().get(wish.uid)
        if found is not None and found.power is not Power.OFF:
            raise MachineError("no cable")
        super().define(wish)


def test_a_machine_whose_cards_cannot_be_connected_can_be_powered_off(quick: Office) -> None:
    name = quick.create("web")["machine"]["name"]
    quick.world.keeper._driver = Unwired()
    quick.world.keeper.adopt()
    quick.do("PowerOnMachine", name)
    assert quick.task(quick.update(name, "tags", tags=["a"]))["status"] == "TASK_STATUS_ERROR"
    assert quick.task(quick.do("ResetMachine", name))["status"] == "TASK_STATUS_SUCCESS"
    assert quick.get(name)["powerState"] == "POWER_STATE_POWERED_ON"
    assert quick.task(quick.do("PowerOffMachine", name))["status"] == "TASK_STATUS_SUCCESS"
    assert quick.get(name)["powerState"] == "POWER_STATE_POWERED_OFF"


class NoSpace(SimulatedDriver):
    """A host whose disk is full, and whose files are damaged."""

    def define(self, wish: Wish) -> None:
        raise OSError(28, "No space left on device", wish.uid)

    def delete(self, uid: str) -> None:
        raise ValueError(f"{uid}: not JSON")


def test_a_start_goes_on_where_the_host_fails(quick: Office, caplog: pytest.LogCaptureFixture) -> None:
    name = quick.create("web", powerOn=True)["machine"]["name"]
    quick.world.keeper._driver = broken = NoSpace()
    SimulatedDriver.define(broken, Wish("f" * 32, "stranger"))
    quick.world.keeper.adopt()
    found = quick.get(name)
    assert (found["powerState"], bool(found["problem"])) == ("POWER_STATE_POWERED_OFF", True)
    assert "No space left" in caplog.text
    assert "not JSON" in caplog.text


def test_a_program_that_no_message_takes_is_refused_by_name(quick: Office) -> None:
    name = quick.create("web", powerOn=True)["machine"]["name"]
    for argv, most in ((["true", *["x" * 50_000] * 3], "131072 bytes in all"), (["true", "x" * 70_000], "65536")):
        refused = refusal(quick.world.call, "MachineService/Exec", {"name": name, "argv": argv}, quick.admin)
        assert refused.reason == "INVALID_ARGUMENT"
        assert most in refused.fields["argv"]
    quick.world.call("MachineService/Exec", {"name": name, "argv": ["true", *["x" * 60_000] * 2]}, quick.admin)


def test_jobs_outlive_a_restart(office: Office) -> None:
    world = office.world
    kept = office.create("kept", nics=[nic()], powerOn=True)["machine"]["name"]
    office.do("CreateSnapshot", kept)
    gone = office.create("gone")["machine"]["name"]
    world.attended = False
    answers = [office.create("late", powerOn=True), office.do("DeleteMachine", gone), office.do("SuspendMachine", kept)]
    assert {office.task(answer)["status"] for answer in answers} == {"TASK_STATUS_RUNNING"}
    assert office.get(kept)["powerState"] == "POWER_STATE_POWERED_ON"
    left = office.record(kept).uid
    world.close()
    world.open()
    there = world.driver.inventory()  # it begins with nothing: jobs are still to be done
    assert left not in there
    for uid in [subject.removeprefix("machine:") for subject in world.ordered]:
        world.keeper.do_all(uid)
    assert {office.task(answer)["status"] for answer in answers} == {"TASK_STATUS_SUCCESS"}
    assert office.get(kept)["powerState"] == "POWER_STATE_SUSPENDED"
    assert office.get(f"{POOL}/machines/late")["powerState"] == "POWER_STATE_POWERED_ON"
    world.close()
    world.open()
    there = world.driver.inventory()
    assert {found.wish.computer_name: (found.power, found.snapshot) for found in there.values()} == {
        "kept": (Power.SUSPENDED, True), "late": (Power.ON, False),
    }  # fmt: skip
    with world.store.read() as state:
        assert not book.busy(state)
        assert not list(state.db.execute(TASK_WAITS.select()))


def test_what_nobody_wants_is_removed(quick: Office) -> None:
    name = quick.create("web", powerOn=True)["machine"]["name"]
    uid = quick.record(name).uid
    wish = quick.world.driver.inventory()[uid].wish
    stranger = "f" * 32
    quick.world.driver.define(type(wish)(stranger, "stranger"))
    quick.world.driver.power_off(uid)
    quick.world.driver.define(type(wish)(uid, "another-name"))
    quick.world.keeper.adopt()
    there = quick.world.driver.inventory()
    assert list(there) == [uid]
    assert (there[uid].wish, there[uid].power) == (wish, Power.ON)


def test_a_keeper_works_in_its_own_threads(quick: Office) -> None:
    world = quick.world
    world.attended = False
    world.keeper.start()
    try:
        answers = [quick.create(f"m{number}", vdc=DEMAND, powerOn=True) for number in range(20)]
        world.keeper.wake(world.ordered, [])
    finally:
        world.keeper.stop()
    # What was not done before the end is done later; nothing is done twice or lost.
    world.close()
    world.open()
    world.keeper.start()
    wait_for("every task", lambda: {quick.task(each)["status"] for each in answers} == {"TASK_STATUS_SUCCESS"})
    world.keeper.stop()
    assert {found.power for found in world.driver.inventory().values()} == {Power.ON}


class Lasting(SimulatedDriver):
    """Machines that may end by themselves."""

    lasting = True


def test_machines_are_looked_at_also_while_edges_change_all_the_time(
    quick: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keeper, "WATCH_S", 0.2)
    driver = Lasting()
    watching = keeper.Keeper(quick.world.store, driver, lambda: watching.wake([], ["an edge"]))
    quick.world.keeper = watching
    name = quick.create("web", powerOn=True)["machine"]["name"]
    watching.start()
    try:
        driver.power_off(quick.record(name).uid)
        wait_for("what has ended is off", lambda: quick.get(name)["powerState"] == "POWER_STATE_POWERED_OFF", 10)
    finally:
        watching.stop()


class Wrong(SimulatedDriver):
    """A driver with bugs; without machines it can be begun with."""

    def inventory(self) -> dict[str, Found]:
        there = dict(super().inventory())
        if there:
            raise TypeError("a wish of another version")
        return there

    def power_on(self, uid: str) -> None:
        raise KeyError(uid)


def test_a_job_that_a_bug_ends_has_failed_and_others_go_on(quick: Office, caplog: pytest.LogCaptureFixture) -> None:
    world = quick.world
    world.attended = False
    watching = keeper.Keeper(world.store, Wrong())
    watching.start()
    try:
        wait_for("it works", watching.adopted.is_set)
        for number in range(keeper.WORKERS + 1):
            answer = quick.create(f"m{number}", powerOn=True)
            watching.wake(world.ordered, [])
            wait_for("it has failed", lambda answer=answer: quick.task(answer)["status"] == "TASK_STATUS_ERROR")
    finally:
        watching.stop()
    assert "a wish of another version" in caplog.text
    assert not watching.broken.done()


def test_a_bug_where_no_job_can_be_told_as_failed_ends_the_service(
    quick: Office, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def wrong(*_: object) -> None:
        raise TypeError("a job of another version")

    world = quick.world
    world.attended = False
    watching = keeper.Keeper(world.store, SimulatedDriver())
    watching.start()
    try:
        wait_for("it works", watching.adopted.is_set)
        monkeypatch.setattr(book, "next_job", wrong)
        quick.create("web", powerOn=True)
        watching.wake(world.ordered, [])
        with pytest.raises(TypeError, match="of another version"):
            watching.broken.result(10)
        wait_for("others can have it", lambda: not watching._at)
    finally:
        watching.stop()
    assert "ended a part of what" in caplog.text
