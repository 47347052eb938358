"""A change that sessions follow a few at a time: packets that come in between find what they would find if all had
followed at once, as they do in the reference."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from random import Random

from hypothesis import given, settings
from hypothesis import strategies as st

from edge.addresses import PortRange
from edge.model import EdgeConfig
from edge.nat.config import NatType
from edge.reference import ReferenceEdge
from edge.runtime import Edge
from edge.state import LimitReached, RuntimeEvent, SessionEndCause, SessionEnded
from edge.verdicts import Outcome, Verdict
from tests.changing import Between
from tests.model.traffic import PacketEvent, Traffic
from tests.model.universe import Universe, changed_universe, slightly_changed_universe, universe

FEW, MANY = (1, 1), (2, 128)
"""Steps of eight sessions, or of two that end, and those of an edge to which nobody says anything."""


def roomy(found: Universe) -> Universe:
    """A universe where nobody is refused for want of a port or a place: sessions that have still to end hold theirs."""
    options = replace(
        found.config.options,
        snat_port_range=PortRange(1024, 65535),
        max_sessions=1_000_000,
        max_half_open=1_000_000,
        max_sessions_per_source=None,
        icmp_error_rate=0,
    )
    rules = tuple(
        replace(rule, external=replace(rule.external, last=rule.external.first))
        if rule.type is NatType.SNAT and rule.external is not None
        else rule
        for rule in found.config.nat.rules
    )
    config = replace(found.config, options=options, nat=replace(found.config.nat, rules=rules))
    return replace(found, config=config, pace=MANY)


def packets(traffic: Traffic, count: int, now_ns: int | None = None) -> Iterator[PacketEvent]:
    """Packets as they are before an edge, or all of one moment."""
    while count:
        event = traffic.event()
        if isinstance(event, PacketEvent) and not event.mapped:
            count -= 1
            yield event if now_ns is None else replace(event, now_ns=now_ns)


def given_to(edge: Edge | ReferenceEdge, event: PacketEvent) -> Outcome:
    return edge.process(
        event.port, event.frame, event.now_ns, unsegmented=event.unsegmented, fragmentation=event.fragmentation
    )


def given_meanwhile(edge: Between, config: EdgeConfig, coming: list[PacketEvent], seen: Counter[str]) -> list[Outcome]:
    """What becomes of packets, one after each step of a change, the others behind it."""
    outcomes: list[Outcome] = []

    def between() -> None:
        seen["steps"] += 1
        if len(outcomes) < len(coming):
            outcomes.append(given_to(edge, coming[len(outcomes)]))
            seen[outcomes[-1].reason.name] += 1

    edge.between = between
    edge.set_pace(*FEW)
    edge.apply(config)
    edge.set_pace(*MANY)
    return outcomes + [given_to(edge, event) for event in coming[len(outcomes) :]]


def told(edge: Edge | ReferenceEdge) -> tuple[list[RuntimeEvent], int]:
    """Events in some order, but for limits, which are looked at again when all sessions have followed."""
    events, lost = edge.take_events()
    found = [event for event in events if not isinstance(event, LimitReached)]
    return sorted(found, key=lambda event: (event.now_ns, repr(event))), lost


def follow(seed: int, seen: Counter[str]) -> None:
    """A few changes in one universe; ``seen`` counts what happened in them."""
    random = Random(seed)
    place = roomy(universe(random))
    native, reference = Between(place.config), ReferenceEdge(place.config)
    edges = native, reference
    for edge in edges:
        edge.watch_sessions = True
    traffic = Traffic(random, place)
    for _ in range(4):
        now_ns = 0
        known: list[PacketEvent] = []
        for event in packets(traffic, 120):
            if event.port not in place.config.ports:
                continue
            now_ns = event.now_ns
            first, second = given_to(native, event), given_to(reference, event)
            assert first == second
            traffic.saw(event, first)
            if first.verdict is Verdict.ALLOW:
                known.append(event)
        assert told(native) == told(reference)
        change = random.choice((changed_universe, slightly_changed_universe, slightly_changed_universe))
        traffic.universe = place = roomy(change(random, place))
        again = (replace(event, now_ns=now_ns) for event in random.sample(known, min(len(known), 30)))
        coming = [event for event in (*again, *packets(traffic, 30, now_ns)) if event.port in place.config.ports]
        random.shuffle(coming)
        reference.apply(place.config)
        expected = [given_to(reference, event) for event in coming]
        outcomes = given_meanwhile(native, place.config, coming, seen)
        reference.set_pace(*MANY)
        assert outcomes == expected
        for event, outcome in zip(coming, outcomes, strict=True):
            traffic.saw(event, outcome)
        assert sorted(native.sessions(), key=repr) == sorted(reference.sessions(), key=repr)
        assert native.rule_counters() == reference.rule_counters()
        assert replace(native.stats(), sessions_peak=0) == replace(reference.stats(), sessions_peak=0)
        happened = told(native)
        assert happened == told(reference)
        for item in happened[0]:
            if isinstance(item, SessionEnded) and item.cause is SessionEndCause.CONFIG:
                seen["ended"] += 1


@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 2**64 - 1))
def test_packets_between_two_steps_find_what_the_reference_finds(seed: int) -> None:
    follow(seed, Counter())


def test_there_are_such_packets() -> None:
    # What the other test would not notice: that nothing happens in between.
    seen: Counter[str] = Counter()
    for seed in range(20):
        follow(seed, seen)
    assert seen["steps"] > 20
    assert seen["SESSION"] > 1
    assert seen["ended"] > 30
