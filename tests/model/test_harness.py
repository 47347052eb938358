"""The harness itself: it agrees with itself, goes everywhere, and finds what is wrong."""

from __future__ import annotations

import pickle
from collections import Counter
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any

import pytest

from edge.reference import ReferenceEdge
from edge.state import SessionInfo
from edge.verdicts import Outcome, Reason, StepResult, Verdict
from tests.model.compare import explore, play, shrink
from tests.model.run import report, search
from tests.model.traffic import PacketEvent


class HopForgetter(ReferenceEdge):
    """Forwards without taking a hop off, when a session decided."""

    def process(self, port: str, frame: bytes, now_ns: int, **how: Any) -> Outcome:
        outcome = super().process(port, frame, now_ns, **how)
        if outcome.reason is not Reason.SESSION:
            return outcome
        return replace(outcome, outputs=tuple(replace(item, frame=item.frame[:-1]) for item in outcome.outputs))


class Sleeper(ReferenceEdge):
    """Lets sessions live a nanosecond too long, as far as it tells."""

    def sessions(self) -> list[SessionInfo]:
        return [replace(item, expires_ns=item.expires_ns + (item.protocol == 17)) for item in super().sessions()]


def test_the_reference_agrees_with_itself() -> None:
    packets, _, found = search((ReferenceEdge, ReferenceEdge), 1, packets=2000)
    assert (found, packets >= 2000) == (None, True)


def test_the_same_seed_is_the_same_story() -> None:
    make = (ReferenceEdge, ReferenceEdge)
    first, second = (explore(make, Random("7"), 100) for _ in range(2))
    assert first[0] == second[0]
    assert first[2] == second[2]


def test_packets_go_everywhere() -> None:
    seen: Counter[object] = Counter()
    for number in range(60):
        _, _, outcomes = explore((ReferenceEdge, ReferenceEdge), Random(f"everywhere:{number}"), 300)
        for outcome in outcomes:
            seen.update((outcome.verdict, outcome.reason, *(("step", step.result) for step in outcome.steps)))
            seen["hairpin"] += any(output.hairpin for output in outcome.outputs)
            seen["pieces"] += any(output.fragments for output in outcome.outputs)
            seen["hairpin in pieces"] += any(output.fragments and output.hairpin for output in outcome.outputs)
    expected = {*Reason, *Verdict, *(("step", result) for result in StepResult), "hairpin"}
    expected |= {"pieces", "hairpin in pieces"}
    never = expected - {item for item, count in seen.items() if count}
    assert never == set()


@pytest.mark.parametrize("broken", [HopForgetter, Sleeper])
def test_a_mistake_is_found_and_made_small(broken: type[ReferenceEdge], tmp_path: Path) -> None:
    make = (ReferenceEdge, broken)
    _, _, found = search(make, 1, packets=5000)
    assert found is not None
    small = shrink(make, found[0])
    assert play(make, small) is not None
    assert len([event for event in small.events if isinstance(event, PacketEvent)]) <= 4
    assert small.universe.config.routing.static_routes == ()
    path = tmp_path / "case.pickle"
    story = report(make, *found, path)
    assert pickle.loads(path.read_bytes()) == small
    assert f"--case {path}" in story
    assert "event 0:" in story
