"""Sessions that wait for their end: the native engine does what the reference does, whoever meets one of them."""

from __future__ import annotations

from dataclasses import replace
from random import Random

from hypothesis import given, settings
from hypothesis import strategies as st

from edge.reference import ReferenceEdge
from edge.runtime import Edge
from edge.state import RuntimeEvent, SessionEnded
from tests.model.compare import Pair, explore
from tests.model.crowds import Crowds
from tests.model.traffic import BatchEvent, PacketEvent
from tests.model.universe import PACES, universe

SIDES = (ReferenceEdge, Edge)
SLOW = [pace for pace in PACES if pace != (2, 128)]


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**64 - 1))
def test_crowds_agree(seed: int) -> None:
    _, difference, _ = explore(SIDES, Random(seed), 150, Crowds)
    assert difference is None, str(difference)


def ended(events: list[RuntimeEvent]) -> list[tuple[int, int]]:
    """The sessions that have ended, in this order: deadline and identifier."""
    return [(event.session.expires_ns, event.session.id) for event in events if isinstance(event, SessionEnded)]


def test_sessions_end_in_the_same_order() -> None:
    """In stories in which they wait for that."""
    waited = 0
    for seed in range(30):
        random = Random(seed)
        place = universe(random)
        place = replace(place, pace=SLOW[seed % len(SLOW)])
        pair = Pair(SIDES, place)
        traffic = Crowds(random, place)
        for number in range(150):
            deadlines = tuple(item.expires_ns for item in pair.first.sessions()) if number % 8 == 0 else ()
            event = traffic.event(deadlines)
            assert pair.feed(event) is None
            if isinstance(event, PacketEvent) and pair.outcome is not None:
                traffic.saw(event, pair.outcome)
            first, second = pair.first.take_events()[0], pair.second.take_events()[0]
            in_order = isinstance(event, PacketEvent | BatchEvent)  # what ends at a change does so in any
            assert not in_order or ended(first) == ended(second)
            waited += pair.first.stats().sessions_open > len(pair.first.sessions())
    assert waited > 100
