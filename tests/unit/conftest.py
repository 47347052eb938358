"""What unit tests share."""

from __future__ import annotations

import pytest

from edge.reference import ReferenceEdge
from edge.runtime import Edge
from tests.model.compare import MakeEdge


@pytest.fixture(params=[Edge, ReferenceEdge], ids=["native", "reference"])
def make(request: pytest.FixtureRequest) -> MakeEdge:
    """Makes an edge of a configuration: the native one, and the readable one."""
    maker: MakeEdge = request.param
    return maker
