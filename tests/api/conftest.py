"""A served edge for each test that asks for one."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.api.served import ServedEdge, serving


@pytest.fixture(params=[1, 3], ids=["1worker", "3workers"])
def served(request: pytest.FixtureRequest) -> Iterator[ServedEdge]:
    """tests/data/edge.yaml, served on loopback by one worker, and by several."""
    with serving(workers=request.param) as edge:
        yield edge
