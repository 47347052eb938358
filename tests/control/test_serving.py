"""What the process does beside its calls."""

from __future__ import annotations

import asyncio
import gc
import inspect
import sys
from pathlib import Path
from typing import Any

import pytest

from control import serving
from control.fleet.fleet import Fleet
from control.machines.keeper import Keeper


class Growing:
    """A fleet of which more and more edges run."""

    def __init__(self, *agreed: int) -> None:
        self._agreed = list(agreed)
        self.thresholds: list[int] = []
        """Of the garbage collector, whenever it was asked."""

    def agreed(self) -> int:
        self.thresholds.append(gc.get_threshold()[0])
        return self._agreed.pop(0)


@pytest.mark.parametrize(
    ("agreed", "asked"),
    [
        ([0, 0, 2, 5, 5, 5, 5, 5, 5, 7], 9),
        ([0, 3, 3, 3, 9, 9, 9, 9, 9, 9, 10], 10),  # nothing came for a while, and then the rest
        ([*range(1, 200)], serving.LOOKS),  # they come and come
    ],
)
def test_the_collector_rests_while_edges_are_made_and_need_not_visit_them_afterwards(
    monkeypatch: pytest.MonkeyPatch, agreed: list[int], asked: int
) -> None:
    usual, frozen = gc.get_threshold(), []
    monkeypatch.setattr(serving, "SETTLING_S", 0)
    monkeypatch.setattr(serving.gc, "freeze", lambda: frozen.append(len(fleet.thresholds)))
    fleet: Any = Growing(*agreed)
    asyncio.run(serving.settled(fleet))
    none = next(number for number, count in enumerate(agreed) if count)
    assert fleet.thresholds == [*[usual[0]] * (none + 1), *[0] * (asked - none - 1)]
    assert frozen == [asked]
    assert gc.get_threshold() == usual


def test_the_collector_works_again_where_the_wait_for_edges_is_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    usual = gc.get_threshold()
    monkeypatch.setattr(serving, "SETTLING_S", 0)
    fleet: Any = Growing(1, 2)
    with pytest.raises(IndexError):
        asyncio.run(serving.settled(fleet))
    assert fleet.thresholds == [usual[0], 0, 0]
    assert gc.get_threshold() == usual


@pytest.mark.parametrize(
    "part",
    [
        *((Fleet, "run"), (serving, "settled"), (serving, "_watch_database")),
        *((Keeper, "adopt"), (Keeper, "_watch"), (Keeper, "_work")),
    ],
)
def test_a_service_of_which_a_part_fails_stops_and_says_so(
    part: tuple[Any, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fails(*_: Any) -> None:
        raise ZeroDivisionError("a bug")

    async def fails_later(*_: Any) -> None:
        fails()

    monkeypatch.setattr(sys, "setswitchinterval", lambda _: None)
    monkeypatch.setattr(*part, fails_later if inspect.iscoroutinefunction(getattr(*part)) else fails)
    settings = serving.ControlSettings(tmp_path / "data", f"unix:{tmp_path}/socket")
    with pytest.raises(ZeroDivisionError, match="a bug"):
        asyncio.run(asyncio.wait_for(serving.serve(settings), 60))
    assert "ended a part of it" in caplog.text
    assert "in fails" in caplog.text
    assert not (tmp_path / "socket").exists()
