"""Metrics of the control plane, beside those of the process."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    PlatformCollector,
    ProcessCollector,
    generate_latest,
)
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from control.access.methods import METHODS, OPEN
from control.machines.book import Action
from control.machines.wishes import Power

EDGE_STATUSES = ("PENDING", "REALIZED", "ERROR")
JOB_RESULTS = ("DONE", "FAILED")
BUGS = ("INTERNAL", "UNKNOWN")
"""How calls end because of one."""
REASONS = frozenset(
    {
        *("UNREACHABLE", "INTERNAL", "OTHER_EDGE", "INVALID_ARGUMENT", "INVALID_DOCUMENT", "OBJECT_UNKNOWN"),
        *("RESOURCE_EXHAUSTED", "STORAGE_FAILED", "NO_PORT", "MANAGED", "CONFIRMATION_PENDING", "INVALID_CREDENTIALS"),
    }
)
"""Why edges do not have what they should; whatever else there may be is counted as OTHER."""

Count = Callable[[], Mapping[str, int] | None]
"""How many there are of each kind; None while nobody can tell."""

_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)


class _Counted(Collector):
    """A gauge with one label, counted when somebody asks."""

    def __init__(self, name: str, text: str, label: str, count: Count) -> None:
        self._described = name, text, label
        self._count = count

    def describe(self) -> Iterator[Metric]:
        """Without counting."""
        yield self._family()

    def collect(self) -> Iterator[Metric]:
        """One gauge, without values while nobody can tell them."""
        family = self._family()
        for kind, count in sorted((self._count() or {}).items()):
            family.add_metric([kind], count)
        yield family

    def _family(self) -> GaugeMetricFamily:
        name, text, label = self._described
        return GaugeMetricFamily(name, text, labels=[label])


class ControlMetrics:
    """Counts calls, pushes and jobs; ``count`` tells how many objects of each kind there are, ``edges`` how many edges
    of each status, ``machines`` how many machines of each power."""

    def __init__(
        self,
        count: Count,
        edges: Count,
        version: str,
        machines: Count = dict,
    ) -> None:
        self._registry = CollectorRegistry()
        self._calls = Counter(
            "t1edge_control_requests_total", "Calls by method and status.", ["method", "code"], registry=self._registry
        )
        self._seconds = Histogram(
            "t1edge_control_request_seconds", "How long calls took.", ["method"],
            registry=self._registry, buckets=_BUCKETS,
        )  # fmt: skip
        for method in METHODS.keys() | OPEN:
            for code in BUGS:
                self._calls.labels(method, code)  # what appears with its first value does not grow, to Prometheus
        build = GaugeMetricFamily("t1edge_control_build_info", "The version that runs.", labels=["version"])
        build.add_metric([version], 1)
        self._registry.register(_Constant(build))
        self._registry.register(_Counted("t1edge_control_objects", "Objects by kind.", "kind", count))
        of_edges = _whole(EDGE_STATUSES, edges)
        self._registry.register(_Counted("t1edge_control_edges", "Edges by status.", "status", of_edges))
        of_machines = _whole(tuple(Power), machines)
        self._registry.register(_Counted("t1edge_control_machines", "Machines by power.", "power", of_machines))
        self._jobs = Counter(
            "t1edge_control_machine_jobs_total", "Jobs of machines by action and result.", ["action", "result"],
            registry=self._registry,
        )  # fmt: skip
        for action in Action:
            for result in JOB_RESULTS:
                self._jobs.labels(action.value, result)
        self._fleet()
        ProcessCollector(registry=self._registry)
        PlatformCollector(registry=self._registry)

    def called(self, method: str, code: str, seconds: float) -> None:
        """A call has ended."""
        self._calls.labels(method, code).inc()
        self._seconds.labels(method).observe(seconds)

    def _fleet(self) -> None:
        registry = self._registry
        self._pushes = Counter(
            "t1edge_control_pushes_total", "Pushes to edges by kind and result.", ["kind", "result"], registry=registry
        )
        self._push_seconds = Histogram(
            "t1edge_control_push_seconds", "How long pushes took.", ["kind"], registry=registry, buckets=_BUCKETS
        )
        self._lag = Histogram(
            "t1edge_control_realize_seconds", "From the order of a change to the edge that has it.",
            registry=registry, buckets=(*_BUCKETS, 5.0, 10.0, 30.0, 60.0, 300.0),
        )  # fmt: skip
        self._failures = Counter(
            "t1edge_control_edge_failures_total", "Attempts that failed, by reason.", ["reason"], registry=registry
        )
        self._drifts = Counter("t1edge_control_drifts_total", "Edges that ran what nobody wanted.", registry=registry)
        self._agreed = Gauge(
            "t1edge_control_edges_agreed", "Edges that were seen to run what they should.", registry=registry
        )
        self._leads = Gauge("t1edge_control_leader", "1 where this replica looks after the edges.", registry=registry)
        self._database = Gauge("t1edge_control_database_up", "1 while the database answers.", registry=registry)
        for kind in ("PATCH", "WHOLE"):
            self._push_seconds.labels(kind)
            for result in ("OK", "REFUSED", "UNREACHABLE", "MISMATCH"):
                self._pushes.labels(kind, result)
        for reason in (*sorted(REASONS), "OTHER"):
            self._failures.labels(reason)

    def pushed(self, kind: str, result: str, seconds: float) -> None:
        """See :class:`control.fleet.reconciler.Watcher`."""
        self._pushes.labels(kind, result).inc()
        self._push_seconds.labels(kind).observe(seconds)

    def realized(self, lag_s: float) -> None:
        """See Watcher."""
        self._lag.observe(lag_s)

    def failed(self, reason: str) -> None:
        """See Watcher."""
        self._failures.labels(reason if reason in REASONS else "OTHER").inc()

    def drifted(self) -> None:
        """See Watcher."""
        self._drifts.inc()

    def job_ended(self, action: str, *, done: bool) -> None:
        """See :class:`control.machines.keeper.Keeper`."""
        self._jobs.labels(action, "DONE" if done else "FAILED").inc()

    def watch(self, agreed: Callable[[], int]) -> None:
        """``agreed`` tells how many edges are known to run what they should."""
        self._agreed.set_function(agreed)

    def leads(self, leads: bool) -> None:
        """Does this replica look after the edges?"""
        self._leads.set(leads)

    def database(self, up: bool) -> None:
        """Does the database answer?"""
        self._database.set(up)

    def page(self) -> bytes:
        """What Prometheus reads."""
        return generate_latest(self._registry)


def _whole(kinds: Collection[str], count: Count) -> Count:
    """A count that has all kinds, and no others."""

    def counted() -> Mapping[str, int] | None:
        found = count()
        return None if found is None else {str(kind): found.get(kind, 0) for kind in kinds}

    return counted


class _Constant(Collector):
    """A family that never changes."""

    def __init__(self, family: Metric) -> None:
        self._family = family

    def collect(self) -> Iterator[Metric]:
        """The family."""
        yield self._family
