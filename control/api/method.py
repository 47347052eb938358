"""How a method of the contract is run."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from google.protobuf import message


@dataclass(frozen=True, slots=True)
class Method:
    """``target``: the field that names what a request is about, and the form of that name."""

    run: Callable[[Any, Any], message.Message]
    target: tuple[str, str] | None = None
    one_time: bool = False
    """Does it hand out a one-time password?"""
