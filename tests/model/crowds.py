"""Traffic of many sessions whose time is over at once, and of packets that meet what these held."""

from __future__ import annotations

from random import Random

from tests.model.traffic import Event, Traffic
from tests.model.universe import Universe
from tests.support import SECOND


class Crowds(Traffic):
    """Time stands still for a while, goes on past many deadlines, and the same ends are heard of again."""

    def __init__(self, random: Random, universe: Universe) -> None:
        super().__init__(random, universe)
        self._still = 0  # events until time goes on

    def event(self, deadlines: tuple[int, ...] = ()) -> Event:
        """What other traffic has, too, and storms of sessions more often."""
        if not self._storm and self.random.random() < 0.06:
            self._storm.extend(self._many())
        return super().event(deadlines)

    def _let_time_pass(self, deadlines: tuple[int, ...]) -> None:
        self._still -= 1
        if self._still > 0:
            return
        self._still = self.random.choice((1, 10, 30, 60))
        over = [deadline for deadline in deadlines if deadline > self.now_ns]
        if over and self.random.random() < 0.7:
            self.now_ns = self.random.choice((max(over), sorted(over)[len(over) // 2]))
            self._unsettled = 8  # whose sessions are over
        else:
            self.now_ns += self.random.choice((1, SECOND, 6 * SECOND, 120 * SECOND))
