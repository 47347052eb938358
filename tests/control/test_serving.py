"""What the process does beside its calls."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import Any

import pytest

from control import serving
from control.fleet.fleet import Fleet


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


@pytest.mark.parametrize("part", [(Fleet, "run"), (serving, "settled"), (serving, "_watch_database")])
def test_a_service_of_which_a_part_fails_stops_and_says_so(
    part: tuple[Any, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def fails(*_: Any) -> None:
        raise ZeroDivisionError("a bug")

    monkeypatch.setattr(sys, "setswitchinterval", lambda _: None)
    monkeypatch.setattr(*part, fails)
    settings = serving.ControlSettings(tmp_path / "data", f"unix:{tmp_path}/socket")
    with pytest.raises(ZeroDivisionError, match="a bug"):
        asyncio.run(asyncio.wait_for(serving.serve(settings), 60))
    assert "ended a part of it" in caplog.text
    assert "in fails" in caplog.text
    assert not (tmp_path / "socket").exists()
