"""What a gateway answers, and what it asks of an edge."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from edge.diff import Change
from edge.errors import Problem
from edge.model import EdgeConfig
from edge.state import LinkCounters, RuleCounters, Stats
from edge.store import RevisionInfo
from edge.trace import TraceNeighbour, TraceResult
from edge.verdicts import Processed


@dataclass(frozen=True, slots=True)
class Applied:
    """What a change did, or would do: the revision that runs, warnings, and what differs from the one before.

    No changes: the document was equal, and no revision was made.
    """

    revision: RevisionInfo
    warnings: Sequence[Problem]
    changes: Sequence[Change]


@dataclass(frozen=True, slots=True)
class Traced:
    """Traces of packets, in order, the hairpin of each behind it.  ``revision`` is that of the configuration that
    judged them, 0 for a candidate, whose warnings are told."""

    results: Sequence[TraceResult]
    revision: int
    warnings: Sequence[Problem] = ()


@dataclass(frozen=True, slots=True)
class Counters:
    """Every counter at one burst boundary; ``rules`` by rule id, empty if they were not asked for; ``links`` by port,
    empty where nothing forwards between ports."""

    time_ns: int
    revision: int
    config: EdgeConfig
    stats: Stats
    rules: dict[str, RuleCounters]
    links: Mapping[str, LinkCounters]


class Forwarding(Protocol):
    """Whoever moves packets between ports and the edge, if somebody does."""

    def rebind(self, config: EdgeConfig) -> None:
        """The edge runs another configuration; called within the turn of the change."""

    def link_counters(self) -> Mapping[str, LinkCounters]:
        """What was lost at each port and on its link."""

    def neighbour_of(self, port: str, frame: bytes) -> TraceNeighbour | None:
        """Whom a frame with an IP packet that leaves by a port is given to; None for a group."""

    def inject(self, frames: Sequence[tuple[str, bytes]], now_ns: int, *, outputs: bool) -> list[Processed]:
        """Send frames into ports; what leaves the edge leaves by its ports."""
