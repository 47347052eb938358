"""For states that come by themselves."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

PATIENCE_S = 60.0
"""How long something may take that is expected within a second or two."""


def wait_for(what: str, ask: Callable[[], Any], patience_s: float = PATIENCE_S) -> Any:
    """The first answer that is true; AssertionError if none comes in time."""
    until = time.monotonic() + patience_s
    while True:
        answer = ask()
        if answer:
            return answer
        assert time.monotonic() < until, f"not in {patience_s} s: {what}"
        time.sleep(0.005)  # between two looks at a state, not for a time
