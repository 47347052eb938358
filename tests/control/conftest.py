"""Control planes for tests, on SQLite and on PostgreSQL."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from tests.control.postgres import server
from tests.control.world import World, world_at

_numbers = itertools.count()


@pytest.fixture(scope="session")
def postgres() -> Iterator[str]:
    """The server of this run."""
    with server() as url:
        yield url


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.needs("postgres"))])
def database(request: pytest.FixtureRequest) -> str:
    """The URL of an empty database, '' for SQLite."""
    if request.param == "sqlite":
        return ""
    url: str = request.getfixturevalue("postgres")
    name = f"control{next(_numbers)}"
    with psycopg.connect(url.format(name="postgres"), autocommit=True) as db:
        db.execute(f"CREATE DATABASE {name}")
    return url.format(name=name)


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    """On SQLite."""
    with world_at(tmp_path / "data") as found:
        yield found


@pytest.fixture
def either(tmp_path: Path, database: str) -> Iterator[World]:
    """On each database in turn."""
    with world_at(tmp_path / "data", database) as found:
        yield found


@pytest.fixture
def admin(world: World) -> str:
    """The token of the provider's administrator."""
    return world.administrator()
