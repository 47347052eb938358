"""Requests within requests: what is wrong with one of them is said of its place in the whole."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from control.errors import ControlError
from edge.errors import ArgumentError


def told_of(error: ControlError, place: str) -> ControlError:
    """The same error, which tells of the ``place``."""
    error.args = (f"{place}: {error}",)
    return error


@contextmanager
def placed(move: Callable[[str], str], place: str) -> Iterator[None]:
    """Violations get the paths that ``move`` makes of theirs; other errors tell the ``place``."""
    try:
        yield
    except ArgumentError as error:
        violations = [(move(field), text) for field, text in error.violations]
        raise type(error)(str(error), violations or [(place, str(error))]) from None
    except ControlError as error:
        raise told_of(error, place) from None


def instead(first: str, place: str) -> Callable[[str], str]:
    """Paths that begin with the field ``first`` begin with ``place``."""

    def move(field: str) -> str:
        return place + field.removeprefix(first) if field == first or field[len(first) :][:1] in {".", "["} else field

    return move


def within(place: str) -> Callable[[str], str]:
    """Paths come after ``place``."""
    return lambda field: f"{place}.{field}" if field else place
