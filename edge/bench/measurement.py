"""A measured case, and what its samples say."""

from __future__ import annotations

import random
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from edge.errors import EdgeError

SEED = 1
TRIALS = 21
RESAMPLES = 2000
CONFIDENCE = 0.95

PACKETS = "packets/s"
SESSIONS = "sessions/s"
LOOKUPS = "lookups/s"
SECONDS = "s"
"""The unit of what takes time; of every other unit, more is better."""


class BenchmarkError(EdgeError):
    """A case that cannot be measured: the packets did not do what the case says they do."""

    reason = "BENCHMARK_FAILED"


@dataclass(frozen=True, slots=True)
class PeerMeasurement:
    """Another program on the same work in the same run, its trials by turns with ours."""

    name: str
    samples: tuple[float, ...]
    clocks_per_packet: tuple[float, ...] = ()
    details: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Measurement:
    """One case, one sample a trial."""

    name: str
    samples: tuple[float, ...]
    clocks_per_packet: tuple[float, ...] = ()
    clocks_undisturbed: tuple[float, ...] = ()
    """Of a case that is about how some packets disturb others: clocks a packet of the others by themselves."""

    unit: str = PACKETS
    details: Mapping[str, object] = field(default_factory=dict)
    """What the case was made of, and how its answers were checked."""

    peers: tuple[PeerMeasurement, ...] = ()

    def to_json(self) -> dict[str, object]:
        """The object that ``--json`` prints for this case."""
        document: dict[str, object] = {"name": self.name, "unit": self.unit, **summary(self.samples, self.unit)}
        if self.clocks_per_packet:
            document["clocksPerPacket"] = summary(self.clocks_per_packet)
        if self.clocks_undisturbed:
            document["clocksUndisturbed"] = summary(self.clocks_undisturbed)
        if self.details:
            document["details"] = dict(self.details)
        if self.peers:
            document["peers"] = [self._peer(peer) for peer in self.peers]
        return document

    def ratio(self, peer: PeerMeasurement) -> tuple[float, float, float]:
        """How many times as fast as the peer this is, with its interval: see :func:`ratio_of_medians`."""
        return speed_ratio(peer.samples, self.samples, self.unit)

    def _peer(self, peer: PeerMeasurement) -> dict[str, object]:
        middle, low, high = self.ratio(peer)
        document: dict[str, object] = {"name": peer.name, **summary(peer.samples, self.unit)}
        if peer.clocks_per_packet:
            document["clocksPerPacket"] = summary(peer.clocks_per_packet)
        document["ratio"] = {"median": round(middle, 4), "low": round(low, 4), "high": round(high, 4)}
        return {**document, "details": dict(peer.details)}


@dataclass(frozen=True, slots=True)
class Case:
    """Something to measure: its name, and what does it in so many trials."""

    name: str
    measure: Callable[[int], Measurement]


def summary(samples: Sequence[float], unit: str = "clocks") -> dict[str, object]:
    """Median, spread and samples, as precise as the unit deserves."""
    digits = 6 if unit == SECONDS else 1 if unit == "clocks" else 0

    def rounded(value: float) -> float:
        return round(value, digits) if digits else round(value)

    return {
        "median": rounded(statistics.median(samples)),
        "spread": round(spread(samples), 4),
        "samples": [rounded(sample) for sample in samples],
    }


def spread(samples: Sequence[float]) -> float:
    """The middle half of the samples, from end to end, as a share of the median; 0 for one sample."""
    if len(samples) < 2:
        return 0.0
    low, middle, high = statistics.quantiles(samples, n=4, method="inclusive")
    return (high - low) / middle


def middle(samples: Sequence[float]) -> float:
    """The mean of the middle half of the samples, which whatever else the machine did has not touched."""
    ranked = sorted(samples)
    quarter = len(ranked) // 4
    return statistics.fmean(ranked[quarter : len(ranked) - quarter])


def speed_ratio(before: Sequence[float], after: Sequence[float], unit: str) -> tuple[float, float, float]:
    """How many times as fast ``after`` is as ``before``, with its interval: above 1 is better, whatever the unit."""
    return ratio_of_medians(after, before) if unit == SECONDS else ratio_of_medians(before, after)


def ratio_of_medians(below: Sequence[float], above: Sequence[float]) -> tuple[float, float, float]:
    """Median of ``above`` by median of ``below``, and the ends of its bootstrap interval of 95 %.

    Both sides are drawn again and again from their own samples, with replacement; the interval holds the middle of the
    ratios that come of it (the percentile method).  The same samples have the same interval.
    """
    generator = random.Random(SEED)  # noqa: S311 - repeatable, not secret
    ratios = sorted(
        statistics.median(generator.choices(above, k=len(above)))
        / statistics.median(generator.choices(below, k=len(below)))
        for _ in range(RESAMPLES)
    )
    tail = round(RESAMPLES * (1 - CONFIDENCE) / 2)
    return statistics.median(above) / statistics.median(below), ratios[tail], ratios[-1 - tail]
