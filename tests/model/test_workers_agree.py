"""Several workers do what one does: verdicts, steps and bytes of random packets, sessions, counters and events."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge.model import EdgeConfig, Profile
from edge.nat.config import NatType
from edge.runtime import Edge
from edge.workers import Workers, reasons_for_one
from tests.model.compare import in_order
from tests.model.crowds import Crowds
from tests.model.traffic import BatchEvent, DeleteEvent, Event, PacketEvent, Traffic
from tests.model.universe import Universe, universe


def dividable(config: EdgeConfig) -> EdgeConfig:
    """The same edge without what needs one worker."""
    translating = any(rule.type is NatType.SNAT and rule.enabled for rule in config.nat.rules)
    profile = Profile.NSX if translating else config.options.profile
    return replace(config, options=replace(config.options, max_sessions_per_source=None, profile=profile))


def packets_of(event: Event) -> Iterator[PacketEvent]:
    """Those of a batch one by one; none of what is no packet."""
    if isinstance(event, PacketEvent):
        yield event
    elif isinstance(event, BatchEvent):
        for port, frame in event.frames:
            yield PacketEvent(port, frame, event.now_ns)


def given_to(edge: Edge | Workers, event: PacketEvent) -> object:
    """What an edge does with a packet."""
    mapped = edge.map_reply(event.port, event.frame, event.now_ns) if event.mapped else None
    outcome = edge.process(
        event.port,
        event.frame,
        event.now_ns,
        unsegmented=event.unsegmented,
        map_replies=event.mapped,
        fragmentation=event.fragmentation,
    )
    return mapped, outcome


def known_to(edge: Edge | Workers) -> tuple[object, ...]:
    """Everything that can be asked for."""
    sessions = sorted(edge.sessions(), key=lambda session: session.id)
    return sessions, edge.stats(), edge.rule_counters(), in_order(edge.take_events())


def play(
    random: Random, workers: int, packets: int, happening: Callable[[Random, Universe], Traffic] = Traffic
) -> set[int]:
    """A universe of so many packets at one worker and at several; how many of these had sessions at the end."""
    place = universe(random)
    place = replace(place, config=dividable(place.config))
    one, several = Edge(place.config), Workers(place.config, workers)
    assert len(several.edges) == workers
    one.watch_sessions = several.watch_sessions = True
    one.set_pace(*place.pace)
    several.set_pace(*place.pace)
    traffic = happening(random, place)
    for number in range(packets):
        deadlines = tuple(session.expires_ns for session in one.sessions()) if number % 8 == 0 else ()
        event = traffic.event(deadlines)
        if traffic.universe is not place:  # a change of the configuration
            traffic.universe = place
            continue
        if isinstance(event, DeleteEvent):
            assert several.delete_sessions(event.match) == one.delete_sessions(event.match)
        for packet in packets_of(event):
            mapped, outcome = given_to(one, packet)  # type: ignore[misc]
            assert given_to(several, packet) == (mapped, outcome)
            traffic.saw(packet, outcome)
        if number % 20 == 0:
            assert known_to(several) == known_to(one)
    assert known_to(several) == known_to(one)
    return {number for number, edge in enumerate(several.edges) if edge.stats().sessions_created}


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**64 - 1), st.integers(2, 5))
def test_several_workers_are_one_edge(seed: int, workers: int) -> None:
    play(Random(seed), workers, 120)


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 2**64 - 1), st.integers(2, 5))
def test_several_workers_end_sessions_as_one_does(seed: int, workers: int) -> None:
    play(Random(seed), workers, 120, Crowds)


def test_more_than_one_worker_has_sessions() -> None:
    """Or else the test above would say little."""
    assert max(len(play(Random(seed), 3, 120)) for seed in range(6)) == 3


@pytest.mark.parametrize("profile", list(Profile))
def test_what_cannot_be_divided_runs_with_one_worker(profile: Profile) -> None:
    place = universe(Random(3))
    options = replace(place.config.options, max_sessions_per_source=2, profile=profile)
    config = replace(place.config, options=options)
    workers = Workers(config, 4)
    assert len(workers.edges) == 1
    assert workers.reasons == reasons_for_one(config)
    assert "maxSessionsPerSource" in workers.reasons[0]
