"""Documents that a unit of work has planned and checked already: the reconciler need not plan them again."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Collection, Mapping
from typing import Any, Final

from control.store import WriteUnit

MOST: Final = 1_000
"""So many wait to be taken."""

Key = tuple[str, str, int]
"""An edge, its uid, and which of its wanted states a document is of."""


class Plans:
    """From any thread.  ``check`` plans what a unit makes of an edge, and raises for what cannot be."""

    def __init__(self, check: Callable[[WriteUnit, str], Mapping[str, Any]]) -> None:
        self._check = check
        self._unit = threading.local()
        self._lock = threading.Lock()
        self._kept: OrderedDict[Key, Mapping[str, Any]] = OrderedDict()

    def check(self, unit: WriteUnit) -> None:
        """Plan the edges of a unit that is about to end, and hold them against what edges take."""
        found = self._unit.found = {}
        for edge in unit.touched():
            document = self._check(unit, edge)
            state = unit.edge_state(edge)
            found[edge, unit.get(edge).uid, state.desired + 1 if state else 1] = document

    def keep(self, edges: Collection[str]) -> None:
        """The unit that this thread has checked last is on the disk."""
        found: dict[Key, Mapping[str, Any]] = getattr(self._unit, "found", {})
        self._unit.found = {}
        with self._lock:
            self._kept.update((key, document) for key, document in found.items() if key[0] in edges)
            while len(self._kept) > MOST:
                self._kept.popitem(last=False)

    def take(self, key: Key) -> Mapping[str, Any] | None:
        """A document, once."""
        with self._lock:
            return self._kept.pop(key, None)
