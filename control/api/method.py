"""How a method of the contract is run."""

from __future__ import annotations

from collections.abc import Callable, Sequence
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
    apply: Callable[[Any, Any], tuple[str, str]] | None = None
    """The same as a part of a change set, without a task: the object's name and its etag, '' if it is deleted."""
    parts: Callable[[Any], Sequence[tuple[str, Any]]] | None = None
    """The requests that a change set consists of, each with its method."""
