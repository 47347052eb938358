"""One edge by several workers: an engine each, whose sessions are its own, and one configuration for good.

:mod:`native.steer` says which worker a packet belongs to, docs/workers.md what they share.  What cannot be divided
among workers runs with one, and :func:`reasons_for_one` names it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import astuple
from typing import TypeVar

from edge.model import DEFAULT_SEED, EdgeConfig
from edge.nat.config import NatType
from edge.runtime import Edge
from edge.state import PortCounters, RuleCounters, RuntimeEvent, SessionInfo, SessionMatch, Stats
from edge.steering import touched_ranges
from edge.verdicts import Fragmentation, Outcome
from native.steer import Steerer
from native.team import Lane, Team

Key = TypeVar("Key")


def reasons_for_one(config: EdgeConfig) -> list[str]:
    """Why an edge has to have one worker; empty: it may have more."""
    found = []
    if config.options.max_sessions_per_source is not None:
        found.append("options.maxSessionsPerSource counts sessions of one machine with everybody")
    if config.options.endpoint_independent and any(
        rule.enabled and rule.type is NatType.SNAT for rule in config.nat.rules
    ):
        found.append("profile strict-rfc keeps the external port of SNAT towards everybody")
    return found


class Workers:
    """An edge with up to ``workers`` workers, in one thread: each packet is done when :meth:`process` returns.

    It does what :class:`edge.runtime.Edge` does with the same seed, bytes and random choices included.  ``reasons``
    tell why it has only one worker although more were asked for.  Raises ResourceError for lack of memory, ValueError
    for a number of workers that cannot be.
    """

    def __init__(self, config: EdgeConfig, workers: int, *, seed: int | None = None) -> None:
        self.config = config
        self.reasons = reasons_for_one(config) if workers > 1 else []
        count = 1 if self.reasons else workers
        steering_seed = next((value for value in (seed, config.options.seed) if value is not None), DEFAULT_SEED)
        self.steerer = Steerer(count, touched_ranges(config.nat), steering_seed)
        self.edges = [Edge(config, seed=seed) for _ in range(count)]
        self._team = Team([edge._engine for edge in self.edges], self.steerer)  # noqa: SLF001 - they are ours
        self._watching = False

    def set_pace(self, each: int, most: int) -> None:
        """As :meth:`edge.runtime.Edge.set_pace`."""
        self._team.set_pace(each, most)

    def process(
        self,
        port: str,
        frame: bytes,
        now_ns: int,
        *,
        unsegmented: bool = False,
        map_replies: bool = False,
        fragmentation: Fragmentation | None = None,
    ) -> Outcome:
        """As :meth:`edge.runtime.Edge.process`."""
        came = None if fragmentation is None else (fragmentation.size, fragmentation.identification, fragmentation.at)
        number = self.edges[0].port_number(port)
        owner, raw = self._team.process(number, frame, now_ns, unsegmented, map_replies, came)
        return self.edges[owner]._outcome(raw)  # noqa: SLF001 - likewise

    def map_reply(self, port: str, frame: bytes, now_ns: int) -> tuple[str, bytes]:
        """As :meth:`edge.runtime.Edge.map_reply`."""
        number, mapped = self._team.map_reply(self.edges[0].port_number(port), frame, now_ns)
        return self.config.ports[number], mapped

    def lane(self, worker: int) -> Lane:
        """A worker for a thread of its own, to measure it."""
        return self._team.lane(worker)

    # ------------------------------------------------------------------ what is known

    def sessions(self) -> list[SessionInfo]:
        """Every live session, in no order."""
        return [session for edge in self.edges for session in edge.sessions()]

    def delete_sessions(self, match: SessionMatch) -> int:
        """End the sessions that match, and tell how many those were."""
        return sum(edge.delete_sessions(match) for edge in self.edges)

    def rule_counters(self) -> dict[str, RuleCounters]:
        """Counters of every firewall and NAT rule, of all workers together."""
        counted = [edge.rule_counters() for edge in self.edges]
        return {rule_id: summed_rule(item[rule_id] for item in counted) for rule_id in counted[0]}

    def stats(self) -> Stats:
        """Every other counter, of all workers together."""
        return summed([edge.stats() for edge in self.edges], self._team.peak)

    @property
    def watch_sessions(self) -> bool:
        """Are there events of sessions that begin and end?"""
        return self._watching

    @watch_sessions.setter
    def watch_sessions(self, on: bool) -> None:
        for edge in self.edges:
            edge.watch_sessions = on
        self._watching = on

    def take_events(self) -> tuple[list[RuntimeEvent], int]:
        """What happened since the last call, oldest first, and how many events were lost."""
        taken = [edge.take_events() for edge in self.edges]
        events = sorted((event for found, _ in taken for event in found), key=lambda event: event.now_ns)
        return events, sum(lost for _, lost in taken)


def summed_rule(counters: Iterable[RuleCounters]) -> RuleCounters:
    """What one rule has counted at all workers."""
    found = list(counters)
    return RuleCounters(
        sum(item.hits for item in found), sum(item.packets for item in found), sum(item.bytes for item in found)
    )


def summed(parts: Sequence[Stats], peak: int) -> Stats:
    """The counters of workers as those of one edge; who holds an external address is known to all of them already."""
    return Stats(
        verdicts=_together(part.verdicts for part in parts),
        reasons=_together(part.reasons for part in parts),
        drops=_together(part.drops for part in parts),
        sessions_created=sum(part.sessions_created for part in parts),
        sessions_peak=peak,
        sessions_open=sum(part.sessions_open for part in parts),
        half_open=sum(part.half_open for part in parts),
        sessions_limit=parts[0].sessions_limit,
        answers_limited=sum(part.answers_limited for part in parts),
        datagrams_reassembled=sum(part.datagrams_reassembled for part in parts),
        datagrams_timed_out=sum(part.datagrams_timed_out for part in parts),
        fragments_held=sum(part.fragments_held for part in parts),
        ports={
            name: PortCounters(
                *(sum(counts) for counts in zip(*(astuple(part.ports[name]) for part in parts), strict=True))
            )
            for name in parts[0].ports
        },
        nat_addresses=parts[0].nat_addresses,
    )


def _together(counts: Iterable[Mapping[Key, int]]) -> dict[Key, int]:
    total: Counter[Key] = Counter()
    for part in counts:
        total.update(part)
    return dict(total)
