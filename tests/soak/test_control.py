"""A few of the kills of :mod:`tests.soak.control`."""

from __future__ import annotations

from pathlib import Path

from tests.soak.control import soak

KILLS = 10


def test_a_control_plane_that_is_killed_loses_nothing_that_it_acknowledged(tmp_path: Path) -> None:
    assert soak(tmp_path, KILLS, seed=4).calls > KILLS
