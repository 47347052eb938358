"""Small changes of the firewall's rules: laid over compiled tables they do what the reference does, and what all rules
compiled anew do."""

from __future__ import annotations

from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge.compiler import compile_tables
from edge.firewall import overlay
from edge.model import EdgeConfig
from edge.reference import ReferenceEdge
from edge.runtime import Edge
from tests.model.compare import MakeEdge, explore
from tests.model.traffic import ChangeEvent, Event, Traffic
from tests.model.universe import Universe, edited_universe


class Edits(Traffic):
    """Traffic between which rules are edited again and again."""

    def __init__(self, random: Random, universe: Universe) -> None:
        super().__init__(random, universe)
        self.edits = 0

    def event(self, deadlines: tuple[int, ...] = ()) -> Event:
        """Every eighth event or so is a change."""
        if self.random.random() < 0.12:
            self.edits += 1
            self.universe = edited_universe(self.random, self.universe, f"new-{self.edits}")
            return ChangeEvent(self.universe)
        return super().event(deadlines)


class Anew(Edge):
    """Compiles everything at every change."""

    def apply(self, config: EdgeConfig) -> None:
        """As the edge's, only slower."""
        self.commit(self.prepare(config, tables=compile_tables(config)))


@pytest.fixture(autouse=True, scope="module")
def _few_rules_are_many() -> object:
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(overlay, "FEWEST", 1)
        patched.setattr(overlay, "MOST", 12)
        yield


@pytest.mark.parametrize("other", [ReferenceEdge, Anew])
@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 2**64 - 1))
def test_edited_rules_agree(other: MakeEdge, seed: int) -> None:
    _, difference, _ = explore((other, Edge), Random(seed), 120, Edits)
    assert difference is None, str(difference)


def test_edits_are_laid_over_tables() -> None:
    # What the other test would not notice: that nothing is ever laid over anything.
    laid: list[int] = []

    class Watched(Edge):
        def apply(self, config: EdgeConfig) -> None:
            prepared = self.prepare(config)
            found = prepared.compiled.tables.overlay
            laid.append(-1 if found is None else len(found.dead) + len(found.before))
            self.commit(prepared)

    for seed in range(20):
        explore((Anew, Watched), Random(seed), 120, Edits)
    assert min(laid) == -1
    assert max(laid) > 6
    assert sum(size > 0 for size in laid) > len(laid) // 2
