"""Where an object stands among others of its kind: numbers with gaps between, so that one can be put anywhere."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

from control.store import WriteUnit
from control.store.records import Place
from edge.errors import ArgumentError

GAP: Final = 1 << 20


@dataclass(frozen=True, slots=True)
class Wish:
    """Where to: before or behind ``other``, or all others if that is ''."""

    side: Literal["before", "after"]
    other: str = ""


LAST = Wish("after")


def position(unit: WriteUnit, kind: str, parent: str, wish: Wish, *, moved: str = "") -> int:
    """The number for a new object, or for one that is ``moved``.  Numbers that leave no gap are all made anew.

    Raises ArgumentError, a violation at the position, for another object that is not there.
    """
    others = [place for place in unit.places_of(kind, parent) if place.path != moved]
    index = _index(others, wish)
    found = _between(others, index)
    if found is None:
        unit.renumber([place.path for place in others], GAP)
        found = index * GAP + GAP // 2
    return found


def etag(places: Sequence[Place]) -> str:
    """The state of a whole list, and of all that is in it."""
    told = "\n".join(f"{place.path} {place.uid} {place.version}" for place in places)
    return hashlib.sha256(told.encode()).hexdigest()[:16]


def _index(others: Sequence[Place], wish: Wish) -> int:
    if not wish.other:
        return 0 if wish.side == "before" else len(others)
    for index, place in enumerate(others):
        if place.path == wish.other:
            return index if wish.side == "before" else index + 1
    raise ArgumentError("the position is wrong", [(f"position.{wish.side}", "expected another object of this list")])


def _between(others: Sequence[Place], index: int) -> int | None:
    """A number for what is to stand at ``index``, None where there is none left."""
    if not others:
        return GAP
    if index == 0:
        return others[0].position - GAP
    if index == len(others):
        return others[-1].position + GAP
    low, high = others[index - 1].position, others[index].position
    return (low + high) // 2 if high - low > 1 else None
