"""What Prometheus is told of the fleet: closed sets of labels, there from the beginning."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable

from google.rpc import code_pb2

from control.api.contract import REQUESTS
from control.errors import MachineError
from control.kinds import BY_NAME
from control.machines import book
from control.machines.book import Action
from control.machines.keeper import Keeper
from control.machines.simulated import SimulatedDriver
from control.machines.wishes import Power
from control.metrics import EDGE_STATUSES, JOB_RESULTS, REASONS, ControlMetrics
from control.store import Reader
from tests.control.office import ORG, Office
from tests.control.world import RefusedError, World


def series(metrics: ControlMetrics, name: str) -> dict[str, float]:
    """Labels -> value."""
    found = re.findall(rf"^{name}({{.*}})? (\S+)$", metrics.page().decode(), re.MULTILINE)
    return {labels: float(value) for labels, value in found}


def test_of_pushes_failures_and_lag() -> None:
    metrics = ControlMetrics(dict, lambda: {"ERROR": 2}, "1")
    metrics.watch(lambda: 7)
    assert series(metrics, "t1edge_control_edges") == {
        '{status="PENDING"}': 0, '{status="REALIZED"}': 0, '{status="ERROR"}': 2,
    }  # fmt: skip
    assert series(metrics, "t1edge_control_edges_agreed") == {"": 7}
    before = series(metrics, "t1edge_control_pushes_total")
    assert len(before) == 8
    assert not any(before.values())
    metrics.pushed("PATCH", "OK", 0.01)
    assert series(metrics, "t1edge_control_pushes_total")['{kind="PATCH",result="OK"}'] == 1
    metrics.realized(0.02)
    assert series(metrics, "t1edge_control_realize_seconds_count") == {"": 1}
    for reason in ("UNREACHABLE", "WHATEVER_AN_EDGE_SAYS", "ANOTHER"):
        metrics.failed(reason)
    failures = series(metrics, "t1edge_control_edge_failures_total")
    assert (failures['{reason="UNREACHABLE"}'], failures['{reason="OTHER"}']) == (1, 2)
    metrics.drifted()
    metrics.leads(leads=True)
    metrics.database(up=False)
    assert series(metrics, "t1edge_control_drifts_total") == {"": 1}
    assert series(metrics, "t1edge_control_leader") == {"": 1}
    assert series(metrics, "t1edge_control_database_up") == {"": 0}


def test_bugs_are_counted_from_the_start_on() -> None:
    before = series(ControlMetrics(dict, dict, "1"), "t1edge_control_requests_total")
    codes = ("INTERNAL", "UNKNOWN")
    assert before == {f'{{code="{code}",method="{method}"}}': 0 for code in codes for method in REQUESTS}


def test_of_machines() -> None:
    metrics = ControlMetrics(dict, dict, "1", lambda: {"POWERED_ON": 2, "WHATEVER": 1})
    assert series(metrics, "t1edge_control_machines") == {
        '{power="POWERED_ON"}': 2, '{power="POWERED_OFF"}': 0, '{power="SUSPENDED"}': 0,
    }  # fmt: skip
    before = series(metrics, "t1edge_control_machine_jobs_total")
    assert len(before) == 2 * len(Action)
    assert not any(before.values())
    metrics.job_ended("POWER_ON", done=True)
    metrics.job_ended("DELETE", done=False)
    after = series(metrics, "t1edge_control_machine_jobs_total")
    assert {labels for labels, value in after.items() if value} == {
        '{action="POWER_ON",result="DONE"}', '{action="DELETE",result="FAILED"}',
    }  # fmt: skip


def test_what_nobody_can_count_has_no_value() -> None:
    nobody: Callable[[], None] = lambda: None  # noqa: E731 - a database that is away
    metrics = ControlMetrics(nobody, nobody, "1", nobody)
    for name in ("objects", "edges", "machines"):
        assert series(metrics, f"t1edge_control_{name}") == {}
        assert f"# TYPE t1edge_control_{name} gauge" in metrics.page().decode()


def test_jobs_are_counted_by_how_they_end(world: World) -> None:
    ended: list[tuple[str, bool]] = []

    class Counts:
        def job_ended(self, action: str, *, done: bool) -> None:
            ended.append((action, done))

    class Full(SimulatedDriver):
        def power_on(self, uid: str) -> None:
            raise MachineError(f"no room for {uid}")

    office = Office(world)
    world.keeper = Keeper(world.store, Full(), watcher=Counts())
    name = office.create("web")["machine"]["name"]
    office.do("PowerOnMachine", name)
    assert ended == [("DEFINE", True), ("POWER_ON", False)]


def test_labels_have_closed_sets_without_names_or_secrets(world: World) -> None:
    office = Office(world)
    metrics = ControlMetrics(
        lambda: count(world, Reader.object_counts), lambda: count(world, Reader.edge_counts), "1.2.3",
        lambda: count(world, book.power_counts),
    )  # fmt: skip
    name = office.create("secretive")["machine"]["name"]
    password = office.do("TakePassword", name)["password"]
    for given in (name, f"{ORG}/vdcs/unheard-of"):
        with contextlib.suppress(RefusedError):
            office.get(given)
    for method, code in world.calls:
        metrics.called(method, code, 0.1)
    for reason in ("UNREACHABLE", f"{ORG} has said {password}"):
        metrics.failed(reason)
    found: dict[str, set[str]] = {}
    for labels in re.findall(r"^t1edge_control_\w+{(.*)}", metrics.page().decode(), re.MULTILINE):
        for label, value in re.findall(r'(\w+)="([^"]*)"', labels):
            found.setdefault(label, set()).add(value)
    closed = {
        "method": set(REQUESTS), "code": set(code_pb2.Code.keys()), "kind": {*BY_NAME, "org", "user", "PATCH", "WHOLE"},
        "status": set(EDGE_STATUSES), "power": set(Power), "action": set(Action), "reason": {*REASONS, "OTHER"},
        "result": {*JOB_RESULTS, "OK", "REFUSED", "UNREACHABLE", "MISMATCH"}, "version": {"1.2.3"},
    }  # fmt: skip
    assert found.keys() - {"le"} == closed.keys()
    assert {label: values - closed[label] for label, values in found.items() if label != "le"} == {
        label: set() for label in closed
    }
    page = metrics.page().decode()
    assert [text for text in ("US1", "maria", "secretive", password, office.token) if text in page] == []


def count(world: World, ask: Callable[[Reader], dict[str, int]]) -> dict[str, int]:
    with world.store.read() as state:
        return ask(state)
