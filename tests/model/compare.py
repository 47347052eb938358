"""Two edges side by side: every event to both, every result compared; a case that differs is made small."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from random import Random
from typing import Protocol

from edge.model import EdgeConfig
from edge.replay import SteppedEdge
from edge.state import RuleCounters, RuntimeEvent, SessionInfo, SessionMatch, SessionsPage
from edge.verdicts import Outcome, Processed
from tests.model.story import unlike
from tests.model.traffic import BatchEvent, ChangeEvent, DeleteEvent, Event, PacketEvent, Traffic
from tests.model.universe import Universe, universe


class AnyEdge(SteppedEdge, Protocol):
    """What :class:`edge.reference.ReferenceEdge` and :class:`edge.runtime.Edge` have in common."""

    watch_sessions: bool

    def set_pace(self, each: int, most: int) -> None: ...
    def process_batch(self, frames: Sequence[tuple[str, bytes]], now_ns: int, *, outputs: bool) -> list[Processed]: ...
    def apply(self, config: EdgeConfig) -> None: ...
    def sessions(self) -> list[SessionInfo]: ...
    def rule_counters(self) -> dict[str, RuleCounters]: ...
    def take_events(self) -> tuple[list[RuntimeEvent], int]: ...
    def sessions_page(
        self, *, after: int = 0, limit: int = 1000, match: SessionMatch | None = None
    ) -> SessionsPage: ...
    def delete_sessions(self, match: SessionMatch) -> int: ...
    def snapshot(self) -> AnyEdge: ...
    def map_reply(self, port: str, frame: bytes, now_ns: int) -> tuple[str, bytes]: ...


MakeEdge = Callable[[EdgeConfig], AnyEdge]

SNAPSHOT_EVERY = 20
"""Packets between two comparisons of sessions, counters and events."""


@dataclass(frozen=True, slots=True)
class Case:
    """A universe and what happened in it: enough to play it again."""

    universe: Universe
    events: tuple[Event, ...]


@dataclass(frozen=True, slots=True)
class Difference:
    """What two edges do not agree on, at which event (the number of events when only at the end)."""

    at: int
    what: str
    first: object
    second: object

    def __str__(self) -> str:
        return f"at event {self.at} the {self.what} differ\n{unlike(self.first, self.second)}"


class Pair:
    """Both edges."""

    def __init__(self, make: tuple[MakeEdge, MakeEdge], place: Universe) -> None:
        self.first, self.second = make[0](place.config), make[1](place.config)
        for edge in (self.first, self.second):
            edge.set_pace(*place.pace)
        self.first.watch_sessions = self.second.watch_sessions = True
        self.outcome: Outcome | None = None

    def feed(self, event: Event) -> tuple[str, object, object] | None:
        """One event to both; what differs in the results, if anything does."""
        self.outcome = None
        if isinstance(event, ChangeEvent):
            self.first.apply(event.universe.config)
            self.second.apply(event.universe.config)
            return self.snapshots()
        if isinstance(event, BatchEvent):
            return self.try_out(event) if event.on_trial else self.feed_batch(event)
        if isinstance(event, DeleteEvent):
            ended = [edge.delete_sessions(event.match) for edge in (self.first, self.second)]
            return None if ended[0] == ended[1] else ("numbers of deleted sessions", *ended)
        port, data = event.port, event.frame
        ports = self.first.ingress_port(data), self.second.ingress_port(data)
        if ports[0] != ports[1]:
            return "ingress ports", *ports
        if event.mapped:
            mapped = (
                self.first.map_reply(port, data, event.now_ns),
                self.second.map_reply(port, data, event.now_ns),
            )
            if mapped[0] != mapped[1]:
                return "mapped replies", *mapped

        def given_to(edge: AnyEdge) -> Outcome:
            return edge.process(
                port,
                data,
                event.now_ns,
                unsegmented=event.unsegmented,
                map_replies=event.mapped,
                fragmentation=event.fragmentation,
            )

        self.outcome, second = given_to(self.first), given_to(self.second)
        return None if self.outcome == second else ("outcomes", self.outcome, second)

    def feed_batch(self, event: BatchEvent) -> tuple[str, object, object] | None:
        """Many packets to both."""
        first, second = (
            edge.process_batch(event.frames, event.now_ns, outputs=True) for edge in (self.first, self.second)
        )
        return None if first == second else ("batches", first, second)

    def try_out(self, event: BatchEvent) -> tuple[str, object, object] | None:
        """Many packets to copies of both, which have to do with them what both do afterwards, and no harm to them."""
        before = [edge.stats() for edge in (self.first, self.second)]
        copies = [edge.snapshot() for edge in (self.first, self.second)]
        tried = [
            [edge.process(port, data, event.now_ns) for port, data in event.frames] for edge in (*copies, self.second)
        ]
        if tried[0] != tried[1]:
            return "outcomes of the copies", tried[0], tried[1]
        if tried[1] != tried[2]:
            return "outcomes of a copy and of the edge itself", tried[1], tried[2]
        if self.first.stats() != before[0]:
            return "totals before and after a trial", before[0], self.first.stats()
        again = [self.first.process(port, data, event.now_ns) for port, data in event.frames]
        if again != tried[2]:
            return "outcomes", again, tried[2]
        return Pair.of(copies[0], self.second).snapshots(events=False)

    @classmethod
    def of(cls, first: AnyEdge, second: AnyEdge) -> Pair:
        """Two edges that are there already."""
        pair = cls.__new__(cls)
        pair.first, pair.second, pair.outcome = first, second, None
        return pair

    def snapshots(self, *, events: bool = True) -> tuple[str, object, object] | None:
        """What differs in everything that can be asked for."""
        questions: tuple[tuple[str, Callable[[AnyEdge], object]], ...] = (
            ("sessions", lambda edge: sorted(edge.sessions(), key=repr)),
            ("sessions page by page", lambda edge: sorted(page_by_page(edge), key=repr)),
            ("rule counters", lambda edge: edge.rule_counters()),
            ("totals", lambda edge: edge.stats()),
            ("events", lambda edge: in_order(edge.take_events())),
        )
        for name, ask in questions if events else questions[:-1]:
            answers = ask(self.first), ask(self.second)
            if answers[0] != answers[1]:
                return name, *answers
        return None


def page_by_page(edge: AnyEdge) -> list[SessionInfo]:
    """All sessions, three at a time."""
    found: list[SessionInfo] = []
    after: int | None = 0
    while after is not None:
        page = edge.sessions_page(after=after, limit=3)
        found += page.sessions
        after = page.next
    return found


def in_order(taken: tuple[list[RuntimeEvent], int]) -> tuple[list[RuntimeEvent], int]:
    """What happens at the same time happens in any order; logs of packets in theirs."""
    events, lost = taken
    return sorted(events, key=lambda event: (event.now_ns, repr(event))), lost


def explore(
    make: tuple[MakeEdge, MakeEdge],
    random: Random,
    packets: int,
    happening: Callable[[Random, Universe], Traffic] = Traffic,
) -> tuple[Case, Difference | None, list[Outcome]]:
    """A new universe with so many events, until something differs; ``happening`` draws them."""
    start = universe(random)
    traffic = happening(random, start)
    pair = Pair(make, start)
    events: list[Event] = []
    outcomes: list[Outcome] = []
    for number in range(packets):
        deadlines = tuple(item.expires_ns for item in pair.first.sessions()) if number % 8 == 0 else ()
        event = traffic.event(deadlines)
        events.append(event)
        found = pair.feed(event) or (pair.snapshots() if number % SNAPSHOT_EVERY == 0 else None)
        if found:
            return Case(start, tuple(events)), Difference(number, *found), outcomes
        if isinstance(event, PacketEvent) and pair.outcome is not None:
            outcomes.append(pair.outcome)
            traffic.saw(event, pair.outcome)
    found = pair.snapshots()
    return Case(start, tuple(events)), Difference(packets, *found) if found else None, outcomes


def play(make: tuple[MakeEdge, MakeEdge], case: Case) -> Difference | None:
    """A case again, compared as closely as can be."""
    pair = Pair(make, case.universe)
    for number, event in enumerate(case.events):
        if ports_of(event) - set(ports_at(case, number)):
            continue
        found = pair.feed(event) or pair.snapshots()
        if found:
            return Difference(number, *found)
    return None


def ports_of(event: Event) -> set[str]:
    """The ports that something enters by."""
    if isinstance(event, BatchEvent):
        return {port for port, _ in event.frames}
    return {event.port} if isinstance(event, PacketEvent) else set()


def ports_at(case: Case, number: int) -> tuple[str, ...]:
    """The ports that there are when an event happens."""
    changes = [event for event in case.events[:number] if isinstance(event, ChangeEvent)]
    return (changes[-1].universe if changes else case.universe).config.ports


def shrink(make: tuple[MakeEdge, MakeEdge], case: Case, seconds: float = 20.0) -> Case:
    """A smaller case in which the same edges still differ."""
    until = time.monotonic() + seconds

    def differs(candidate: Case) -> bool:
        return time.monotonic() < until and play(make, candidate) is not None

    found = play(make, case)
    if found is None:
        return case
    case = replace(case, events=case.events[: found.at + 1])
    size = max(1, len(case.events) // 2)
    while size:
        for start in range(len(case.events) - size, -1, -size):
            candidate = replace(case, events=case.events[:start] + case.events[start + size :])
            if differs(candidate):
                case = candidate
        size //= 2
    for smaller in smaller_configurations:
        changed = True
        while changed:
            changed = False
            for candidate in smaller(case):
                if differs(candidate):
                    case, changed = candidate, True
                    break
    return case


def _everywhere(case: Case, change: Callable[[EdgeConfig], EdgeConfig]) -> Case:
    """The case with all its configurations changed alike."""

    def of(old: Universe) -> Universe:
        return replace(old, config=change(old.config))

    events = tuple(ChangeEvent(of(item.universe)) if isinstance(item, ChangeEvent) else item for item in case.events)
    return Case(of(case.universe), events)


def _configurations(case: Case) -> list[EdgeConfig]:
    return [case.universe.config, *(event.universe.config for event in case.events if isinstance(event, ChangeEvent))]


def _without_firewall_rules(case: Case) -> Iterable[Case]:
    for name in sorted({rule.id for config in _configurations(case) for rule in config.firewall.rules}):
        yield _everywhere(
            case,
            lambda config, name=name: replace(  # type: ignore[misc]
                config,
                firewall=replace(
                    config.firewall, rules=tuple(item for item in config.firewall.rules if item.id != name)
                ),
            ),
        )


def _without_nat_rules(case: Case) -> Iterable[Case]:
    for name in sorted({rule.id for config in _configurations(case) for rule in config.nat.rules}):
        yield _everywhere(
            case,
            lambda config, name=name: replace(  # type: ignore[misc]
                config, nat=replace(config.nat, rules=tuple(item for item in config.nat.rules if item.id != name))
            ),
        )


def _without_routes(case: Case) -> Iterable[Case]:
    for name in sorted({route.id for config in _configurations(case) for route in config.routing.static_routes}):
        yield _everywhere(
            case,
            lambda config, name=name: replace(  # type: ignore[misc]
                config,
                routing=replace(
                    config.routing,
                    static_routes=tuple(item for item in config.routing.static_routes if item.id != name),
                ),
            ),
        )


smaller_configurations = (_without_firewall_rules, _without_nat_rules, _without_routes)
