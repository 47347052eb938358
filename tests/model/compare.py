"""Two edges side by side: every event to both, every result compared; a case that differs is made small."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from random import Random
from typing import Protocol

from edge.model import EdgeConfig
from edge.state import LogEvent, RuleCounters, SessionInfo, Stats
from edge.verdicts import Outcome
from tests.model.story import unlike
from tests.model.traffic import ChangeEvent, Event, PacketEvent, Traffic
from tests.model.universe import Universe, universe


class AnyEdge(Protocol):
    """What :class:`edge.reference.ReferenceEdge` and :class:`edge.runtime.Edge` have in common."""

    def process(self, port: str, frame: bytes, now_ns: int, *, unsegmented: bool = False) -> Outcome: ...
    def apply(self, config: EdgeConfig) -> None: ...
    def sessions(self) -> list[SessionInfo]: ...
    def rule_counters(self) -> dict[str, RuleCounters]: ...
    def stats(self) -> Stats: ...
    def events(self) -> list[LogEvent]: ...
    def map_reply(self, port: str, frame: bytes, now_ns: int) -> tuple[str, bytes]: ...
    def ingress_port(self, frame: bytes) -> str: ...


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

    def __init__(self, make: tuple[MakeEdge, MakeEdge], config: EdgeConfig) -> None:
        self.first, self.second = make[0](config), make[1](config)
        self.outcome: Outcome | None = None

    def feed(self, event: Event) -> tuple[str, object, object] | None:
        """One event to both; what differs in the results, if anything does."""
        self.outcome = None
        if isinstance(event, ChangeEvent):
            self.first.apply(event.universe.config)
            self.second.apply(event.universe.config)
            return self.snapshots()
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
            port, data = mapped[0]
        self.outcome = self.first.process(port, data, event.now_ns, unsegmented=event.unsegmented)
        second = self.second.process(port, data, event.now_ns, unsegmented=event.unsegmented)
        return None if self.outcome == second else ("outcomes", self.outcome, second)

    def snapshots(self) -> tuple[str, object, object] | None:
        """What differs in everything that can be asked for."""
        questions: tuple[tuple[str, Callable[[AnyEdge], object]], ...] = (
            ("sessions", lambda edge: sorted(edge.sessions(), key=repr)),
            ("rule counters", lambda edge: edge.rule_counters()),
            ("totals", lambda edge: edge.stats()),
            ("events", lambda edge: edge.events()),
        )
        for name, ask in questions:
            answers = ask(self.first), ask(self.second)
            if answers[0] != answers[1]:
                return name, *answers
        return None


def explore(
    make: tuple[MakeEdge, MakeEdge], random: Random, packets: int
) -> tuple[Case, Difference | None, list[Outcome]]:
    """A new universe with so many events, until something differs."""
    start = universe(random)
    traffic = Traffic(random, start)
    pair = Pair(make, start.config)
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
    pair = Pair(make, case.universe.config)
    for number, event in enumerate(case.events):
        if isinstance(event, PacketEvent) and event.port not in ports_at(case, number):
            continue
        found = pair.feed(event) or pair.snapshots()
        if found:
            return Difference(number, *found)
    return None


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
