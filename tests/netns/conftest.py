"""How many workers the edges of a module have."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.netns.lab import EdgeProcess


@pytest.fixture(scope="module", params=[1, 2], ids=["1worker", "2workers"])
def workers(request: pytest.FixtureRequest) -> Iterator[int]:
    """One and two."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(EdgeProcess, "workers", request.param)
        yield request.param
