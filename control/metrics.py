"""Metrics of the control plane, beside those of the process."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Histogram,
    PlatformCollector,
    ProcessCollector,
    generate_latest,
)
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)


class _Objects(Collector):
    """Counted when somebody asks."""

    def __init__(self, count: Callable[[], Mapping[str, int]]) -> None:
        self._count = count

    def describe(self) -> Iterator[Metric]:
        """Without counting."""
        yield self._family()

    def collect(self) -> Iterator[Metric]:
        """One gauge."""
        family = self._family()
        for kind, count in sorted(self._count().items()):
            family.add_metric([kind], count)
        yield family

    def _family(self) -> GaugeMetricFamily:
        return GaugeMetricFamily("t1edge_control_objects", "Objects by kind.", labels=["kind"])


class ControlMetrics:
    """Counts calls; ``count`` tells how many objects of each kind there are."""

    def __init__(self, count: Callable[[], Mapping[str, int]], version: str) -> None:
        self._registry = CollectorRegistry()
        self._calls = Counter(
            "t1edge_control_requests_total", "Calls by method and status.", ["method", "code"], registry=self._registry
        )
        self._seconds = Histogram(
            "t1edge_control_request_seconds", "How long calls took.", ["method"],
            registry=self._registry, buckets=_BUCKETS,
        )  # fmt: skip
        build = GaugeMetricFamily("t1edge_control_build_info", "The version that runs.", labels=["version"])
        build.add_metric([version], 1)
        self._registry.register(_Constant(build))
        self._registry.register(_Objects(count))
        ProcessCollector(registry=self._registry)
        PlatformCollector(registry=self._registry)

    def called(self, method: str, code: str, seconds: float) -> None:
        """A call has ended."""
        self._calls.labels(method, code).inc()
        self._seconds.labels(method).observe(seconds)

    def page(self) -> bytes:
        """What Prometheus reads."""
        return generate_latest(self._registry)


class _Constant(Collector):
    """A family that never changes."""

    def __init__(self, family: Metric) -> None:
        self._family = family

    def collect(self) -> Iterator[Metric]:
        """The family."""
        yield self._family
