"""What Prometheus is told of the fleet: closed sets of labels, there from the beginning."""

from __future__ import annotations

import re

from control.metrics import ControlMetrics


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
