"""Several workers do what one does: verdicts, steps and bytes of random packets, sessions, counters and events,
whatever configurations follow each other and wherever sessions have to go because of it."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge.model import EdgeConfig, Profile
from edge.runtime import Edge
from edge.workers import Workers, reasons_for_one
from tests.model.compare import MakeEdge, explore
from tests.model.crowds import Crowds
from tests.model.traffic import ChangeEvent, Event, Traffic
from tests.model.universe import Universe, changed_universe, slightly_changed_universe, universe


class Changes(Traffic):
    """Traffic between which configurations follow each other, few of which need one worker."""

    def __init__(self, random: Random, place: Universe) -> None:
        super().__init__(random, dividable(random, place))

    def event(self, deadlines: tuple[int, ...] = ()) -> Event:
        """Every twentieth event or so is a change."""
        event: Event
        if self.random.random() < 0.04:
            change = self.random.choice((changed_universe, slightly_changed_universe))
            event = ChangeEvent(change(self.random, self.universe))
        else:
            event = super().event(deadlines)
        if isinstance(event, ChangeEvent):
            self.universe = dividable(self.random, event.universe)
            return ChangeEvent(self.universe)
        return event


class ChangesOfCrowds(Changes, Crowds):
    """The same where many sessions are over at once, which wait for their end while they move."""


def dividable(random: Random, place: Universe) -> Universe:
    """Mostly the same edge without what needs one worker."""
    options = place.config.options
    if random.random() < 0.8:
        options = replace(options, max_sessions_per_source=None, profile=Profile.NSX)
    return replace(place, config=replace(place.config, options=options))


def by(workers: int, made: list[Workers] | None = None) -> MakeEdge:
    """Makes edges with so many workers that draw as one does."""

    def make(config: EdgeConfig) -> Workers:
        edge = Workers(config, workers, one_sequence=True)
        if made is not None:
            made.append(edge)
        return edge

    return make


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**64 - 1), st.integers(2, 5))
def test_several_workers_are_one_edge(seed: int, workers: int) -> None:
    _, difference, _ = explore((Edge, by(workers)), Random(seed), 120, Changes)
    assert difference is None, str(difference)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**64 - 1), st.integers(2, 5))
def test_several_workers_end_sessions_as_one_does(seed: int, workers: int) -> None:
    _, difference, _ = explore((Edge, by(workers)), Random(seed), 120, ChangesOfCrowds)
    assert difference is None, str(difference)


def test_sessions_are_divided_and_move() -> None:
    """Or else the test above would say little."""
    made: list[Workers] = []
    for seed in range(12):
        explore((Edge, by(3, made)), Random(seed), 150, Changes)
    assert max(sum(number > 0 for number in edge.created) for edge in made) == 3
    moved = Counter[str]()
    for edge in made:
        moved.update(edge.moved)
    assert moved["sessions"] > 20
    assert moved["datagrams"] > 0


@pytest.mark.parametrize("profile", list(Profile))
def test_what_cannot_be_divided_is_left_to_one_worker(profile: Profile) -> None:
    place = universe(Random(3))
    options = replace(place.config.options, max_sessions_per_source=2, profile=profile)
    config = replace(place.config, options=options)
    workers = Workers(config, 4)
    assert workers.reasons_for_one == reasons_for_one(config)
    assert "maxSessionsPerSource" in workers.reasons_for_one[0]
    assert workers.workers == 4
