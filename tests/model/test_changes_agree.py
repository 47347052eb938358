"""Small changes of the firewall's rules: laid over compiled tables they do what the reference does, and what all rules
compiled anew do."""

from __future__ import annotations

from collections import Counter
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge.compiler import compile_tables
from edge.firewall import overlay
from edge.merging import Merge
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


class Merging(Edge):
    """Makes one table of what small changes have laid over it, and is done with that at any moment."""

    def __init__(self, config: EdgeConfig, *, seed: int | None = None) -> None:
        self.random = Random(str(config.firewall.rules))
        self.begun: list[Merge] = []
        self.moments: Counter[str] = Counter()
        super().__init__(config, seed=seed)

    def apply(self, config: EdgeConfig) -> None:
        """As the edge's; before it, within it and behind it merges begin and end."""
        self._moment()
        prepared = self.prepare(config)
        self._moment()
        self.commit(prepared)
        self._moment()

    def _moment(self) -> None:
        if self.random.random() < 0.5 and (merge := self.merging()) is not None:
            self.begun.append(merge)
        while self.begun and self.random.random() < 0.4:
            merge = self.begun.pop(self.random.randrange(len(self.begun)))
            if self.random.random() < 0.9:
                merge.build()
            self.moments["taken" if self.merged(merge) else "too late"] += merge.base is not None


@pytest.fixture(autouse=True, scope="module")
def _few_rules_are_many() -> object:
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(overlay, "FEWEST", 1)
        patched.setattr(overlay, "MERGED", 2)
        patched.setattr(overlay, "LAID", 8)
        patched.setattr(overlay, "MOST", 16)
        yield


@pytest.mark.parametrize(
    "pair",
    [(ReferenceEdge, Edge), (Anew, Edge), (ReferenceEdge, Merging), (Anew, Merging)],
    ids=["reference", "anew", "merging and reference", "merging and anew"],
)
@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 2**64 - 1))
def test_edited_rules_agree(pair: tuple[MakeEdge, MakeEdge], seed: int) -> None:
    _, difference, _ = explore(pair, Random(seed), 120, Edits)
    assert difference is None, str(difference)


def test_merges_end_at_any_moment() -> None:
    # What the other test would not notice: that there are none.
    moments: Counter[str] = Counter()

    class Watched(Merging):
        def __init__(self, config: EdgeConfig, *, seed: int | None = None) -> None:
            super().__init__(config, seed=seed)
            self.moments = moments

    for seed in range(20):
        explore((Anew, Watched), Random(seed), 120, Edits)
    assert moments["taken"] > 20
    assert moments["too late"] > 5


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
