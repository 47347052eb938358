"""How a replica comes to lead, without a database."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any

import psycopg
import pytest

from control.fleet import leader


class Connection:
    """One on which nothing can be set."""

    def __init__(self) -> None:
        self.closed = False

    def execute(self, query: str, *_: object) -> None:
        raise psycopg.OperationalError(query)

    def close(self) -> None:
        self.closed = True


class Database:
    """One to which others can be made."""

    shared = True

    def __init__(self) -> None:
        self.made: list[Connection] = []

    def connection(self) -> Connection:
        self.made.append(Connection())
        return self.made[-1]


def test_a_connection_that_is_of_no_use_is_closed() -> None:
    async def test() -> None:
        database: Any = Database()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(0.5), leader.leading(database, patience_s=0.04):
                pytest.fail("nobody can lead")
        assert len(database.made) > 1
        assert all(connection.closed for connection in database.made)

    asyncio.run(test())
