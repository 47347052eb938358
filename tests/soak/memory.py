"""How the memory of a process goes on."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from typing import NamedTuple

from tests.serve.process import Service

PERIOD_S = 0.5


class Sample(NamedTuple):
    """Resident bytes at a time in seconds."""

    at_s: float
    size: int


class Trend(NamedTuple):
    """The straight line through some samples: bytes a minute, and from the first tenth's mean to the last tenth's."""

    slope: float
    growth: float


def trend(samples: Sequence[Sample]) -> Trend:
    """Least squares.  Raises ValueError for fewer than two."""
    if len(samples) < 2:
        raise ValueError("a trend needs two samples")
    mean_s = sum(sample.at_s for sample in samples) / len(samples)
    mean = sum(sample.size for sample in samples) / len(samples)
    spread = sum((sample.at_s - mean_s) ** 2 for sample in samples)
    slope = sum((sample.at_s - mean_s) * (sample.size - mean) for sample in samples) / spread
    tenth = max(1, len(samples) // 10)
    first, last = samples[:tenth], samples[-tenth:]
    growth = (sum(sample.size for sample in last) - sum(sample.size for sample in first)) / tenth
    return Trend(60 * slope, growth)


class Observer:
    """Takes a sample of a service's memory twice a second until it is closed."""

    def __init__(self, service: Service) -> None:
        self.samples: list[Sample] = []
        self._service = service
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._work, daemon=True)
        self._thread.start()

    def _work(self) -> None:
        while not self._closing.wait(PERIOD_S):
            self.samples.append(Sample(time.monotonic(), self._service.resident()))

    def close(self) -> None:
        """The last sample was the last."""
        self._closing.set()
        self._thread.join()
