"""What an explanation of a difference is, and where all of them stand."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from tests.twin.compare import Difference

Predicate = Callable[[Difference], bool]


@dataclass(frozen=True, slots=True)
class Explanation:
    """Why the two differ, in one sentence, and in which cases.  ``of_pieces``: those where the engine has no whole
    datagram, of which no other explanation may speak."""

    name: str
    reason: str
    holds: Predicate
    of_pieces: bool = False


EXPLANATIONS: dict[str, Explanation] = {}


def explanation(reason: str, *, of_pieces: bool = False) -> Callable[[Predicate], Predicate]:
    """Enters a predicate under its name."""

    def enter(holds: Predicate) -> Predicate:
        name = holds.__name__.replace("_", "-")
        EXPLANATIONS[name] = Explanation(name, reason, holds, of_pieces)
        return holds

    return enter
