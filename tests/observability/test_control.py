"""Dashboard and alerts of the control plane: they ask for what it exposes, and a real Prometheus has answers."""

from __future__ import annotations

import re
import socket
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass

import pytest

from control.machines.book import Action
from control.metrics import ControlMetrics
from edge.metrics_server import MetricsServer
from tests.observability import queries
from tests.observability.queries import CONTROL, METRIC, Query
from tests.observability.scene import Prometheus
from tests.observability.test_files import OF_PROMETHEUS, PAGE, promtool

JOB = "t1edge-control"
PARTS = ("_bucket", "_sum", "_count")


def replica(*, leads: bool, errors: int = 0, waiting: int = 0) -> ControlMetrics:
    """Of a control plane with five edges and two machines."""
    edges = {"REALIZED": 5 - errors - waiting, "PENDING": waiting, "ERROR": errors}
    metrics = ControlMetrics(
        lambda: {"org": 2, "edge_gateway": 5}, lambda: edges, "1.2.3", lambda: {"POWERED_ON": 1, "SUSPENDED": 1}
    )
    metrics.watch(lambda: edges["REALIZED"])
    metrics.leads(leads)
    metrics.database(up=True)
    work(metrics)
    return metrics


def work(metrics: ControlMetrics, times: int = 1) -> None:
    """What goes well."""
    for _ in range(times):
        metrics.called("OrgService/GetOrg", "OK", 0.01)
        metrics.pushed("PATCH", "OK", 0.01)
        metrics.realized(0.02)
        metrics.job_ended(Action.POWER_ON, done=True)


def stir(metrics: ControlMetrics) -> None:
    """Everything that alerts are about."""
    for method, code in (
        ("OrgService/GetOrg", "INTERNAL"), ("OrgService/ListOrgs", "OK"), ("SessionService/Login", "UNAUTHENTICATED"),
    ):  # fmt: skip
        for _ in range(1 if code == "INTERNAL" else 2_001):
            metrics.called(method, code, 2.0)
    for _ in range(100):
        metrics.pushed("WHOLE", "UNREACHABLE", 1.0)
        metrics.failed("UNREACHABLE")
        metrics.realized(45.0)
    metrics.drifted()
    metrics.job_ended(Action.POWER_ON, done=False)
    metrics.database(up=False)


def exposed() -> dict[str, tuple[str, frozenset[str]]]:
    """Family -> (type, labels)."""
    metrics = replica(leads=True)
    metrics.failed("UNREACHABLE")
    text = metrics.page().decode()
    kinds = dict(re.findall(r"^# TYPE (\w+) (\w+)$", text, re.MULTILINE))
    labels: dict[str, frozenset[str]] = {}
    for name, inner in re.findall(r"^(\w+?)(?:_bucket|_count|_sum)?(?:\{(.*)\})? \S+$", text, re.MULTILINE):
        labels[name] = labels.get(name, frozenset()) | frozenset(re.findall(r'(\w+)="', inner)) - {"le"}
    return {name: (kind, labels[name]) for name, kind in kinds.items() if not name.endswith("_created")}


def family(name: str) -> str:
    """Without what is said of a histogram's parts."""
    return re.sub(rf"(?<=_seconds)({'|'.join(PARTS)})$", "", name)


def test_every_family_is_documented_with_its_labels() -> None:
    rows = re.findall(r"^\| `(t1edge_control_\w+)` \| (\w+) \|([^|]*)\|", PAGE, re.MULTILINE)
    documented = {name: (kind, frozenset(re.findall(r"`(\w+)`", labels))) for name, kind, labels in rows}
    assert documented == {name: rest for name, rest in exposed().items() if name.startswith("t1edge_")}


@pytest.mark.parametrize(
    "query", [*queries.of_dashboard(CONTROL), *queries.of_alerts(CONTROL)], ids=lambda query: query.title
)
def test_a_query_asks_for_what_is_exposed(query: Query) -> None:
    known = exposed()
    names = {family(name) for name in METRIC.findall(query.expression)}
    assert names
    assert names <= known.keys() | OF_PROMETHEUS
    for name, selector in re.findall(r"(t1edge_\w+)\{([^}]*)\}", query.expression):
        assert set(re.findall(r"(\w+)\s*[=!]", selector)) - {"instance", "job"} <= known[family(name)][1]


def test_every_family_is_on_the_dashboard() -> None:
    shown = {family(name) for query in queries.of_dashboard(CONTROL) for name in METRIC.findall(query.expression)}
    assert {name for name in exposed() if name.startswith("t1edge_")} - shown == set()


@pytest.mark.needs("prometheus")
def test_promtool_finds_nothing_wrong_with_the_metrics() -> None:
    promtool("check", "metrics", text=replica(leads=True).page().decode())


@dataclass(frozen=True)
class Scene:
    """A replica that does its work and one in trouble that has no database; nobody answers at ``gone``."""

    prometheus: Prometheus
    trouble: str
    gone: str


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    well, trouble = replica(leads=False, errors=1, waiting=1), replica(leads=False, errors=1, waiting=1)
    with ExitStack() as stack:
        addresses = []
        for metrics in (well, trouble):
            server = MetricsServer(metrics.page, "127.0.0.1:0")
            addresses.append(server.start())
            stack.callback(server.stop)
        nobody = stack.enter_context(socket.socket())
        nobody.bind(("127.0.0.1", 0))  # and does not listen
        gone = f"127.0.0.1:{nobody.getsockname()[1]}"
        folder = tmp_path_factory.mktemp("prometheus")
        prometheus = Prometheus(folder, [*addresses, gone], CONTROL.alerts, JOB)
        stack.callback(prometheus.stop)
        # What appears with its first value has not grown yet: each series is read once before it does.  Those of bugs
        # are there from the start.
        trouble.called("SessionService/Login", "UNAUTHENTICATED", 0.1)
        trouble.called("OrgService/ListOrgs", "OK", 0.1)
        prometheus.eventually(
            't1edge_control_request_seconds_count{method="OrgService/ListOrgs"}', lambda found: len(found) == 1
        )
        work(well)
        stir(trouble)
        yield Scene(prometheus, str(addresses[1]), gone)


@pytest.mark.needs("prometheus")
@pytest.mark.parametrize("query", queries.of_dashboard(CONTROL), ids=lambda query: query.title)
def test_every_panel_has_something_to_show(scene: Scene, query: Query) -> None:
    scene.prometheus.eventually(
        query.filled(instance=r"127\\.0\\.0\\.1:\\d+"),
        lambda found: any(value >= 0 for _, value in found),  # of what has not happened the quantiles are no numbers
    )


@pytest.mark.needs("prometheus")
@pytest.mark.parametrize("query", queries.of_alerts(CONTROL), ids=lambda query: query.title)
def test_every_alert_is_raised_by_trouble(scene: Scene, query: Query) -> None:
    who = {
        "T1ControlAbsent": {"instance": scene.gone},
        "T1ControlDatabaseAway": {"instance": scene.trouble},
        "T1ControlBug": {"job": JOB, "method": "OrgService/GetOrg"},
        "T1ControlMachineJobsFailed": {"job": JOB, "action": "POWER_ON"},
    }.get(query.title, {"job": JOB})
    scene.prometheus.eventually(
        query.filled(), lambda found: [labels.items() >= who.items() for labels, _ in found] == [True]
    )


@pytest.mark.needs("prometheus")
def test_prometheus_evaluates_the_alerts(scene: Scene) -> None:
    [group] = scene.prometheus.api("rules")["groups"]
    assert [rule["name"] for rule in group["rules"]] == [query.title for query in queries.of_alerts(CONTROL)]
    assert [rule.get("lastError", "") for rule in group["rules"]] == [""] * len(group["rules"])
    scene.prometheus.eventually('ALERTS{alertstate="firing", alertname="T1ControlDrift"}')


@pytest.mark.needs("prometheus")
def test_the_choice_of_instances_has_values(scene: Scene) -> None:
    [variable] = queries.variables(CONTROL)
    assert variable["definition"] == "label_values(t1edge_control_build_info, instance)"
    assert len(scene.prometheus.api("label/instance/values", **{"match[]": "t1edge_control_build_info"})) == 2
