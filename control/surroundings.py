"""Time and randomness, which are arguments."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass

SECOND_NS = 1_000_000_000


@dataclass(frozen=True, slots=True)
class Surroundings:
    """``now_ns``: nanoseconds since 1970, by a clock that may be set back; ``random``: so many bytes that nobody can
    guess."""

    now_ns: Callable[[], int] = time.time_ns
    random: Callable[[int], bytes] = secrets.token_bytes

    def id(self) -> str:
        """A new id: 128 bits, hexadecimal."""
        return self.random(16).hex()
