"""A served edge for each test that asks for one."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.api.served import ServedEdge, serving


@pytest.fixture
def served() -> Iterator[ServedEdge]:
    """tests/data/edge.yaml, served on loopback."""
    with serving() as edge:
        yield edge
