"""What the process does beside its calls."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from control import serving


class Growing:
    """A fleet of which more and more edges run."""

    def __init__(self, *agreed: int) -> None:
        self._agreed = list(agreed)

    def agreed(self) -> int:
        return self._agreed.pop(0)


def test_the_collector_is_told_of_edges_that_run_until_there_are_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    frozen = []
    monkeypatch.setattr(serving, "SETTLING_S", 0)
    monkeypatch.setattr(serving.gc, "freeze", lambda: frozen.append(True))
    fleet: Any = Growing(0, 0, 2, 5, 5, 7)
    asyncio.run(serving.settled(fleet))
    assert len(frozen) == 2
    assert fleet.agreed() == 7  # it was not asked any more
