"""Edges as a gateway uses them: the one place that knows an edge which cannot prepare, copy or tell of events yet."""

from __future__ import annotations

import contextlib
from contextlib import AbstractContextManager
from typing import Any

from edge import state
from edge.compiler import Tables
from edge.errors import NoPortError
from edge.model import EdgeConfig
from edge.runtime import Edge


def make_edge(config: EdgeConfig, *, seed: int, revision: int) -> Any:
    """An edge that runs a configuration as a revision of a certain number."""
    edge = Edge(config, seed=seed)
    if revision != 1:
        commit(edge, prepare(edge, config, None, revision))
    return edge


def prepare(edge: Any, config: EdgeConfig, tables: Tables | None, revision: int) -> Any:
    """All of a change that may fail."""
    if hasattr(edge, "prepare"):
        return edge.prepare(config, tables=tables, revision=revision)
    if not config.ports:
        raise NoPortError(f"the edge {config.name!r} has neither uplinks nor networks: no packet can enter it")
    return config


def commit(edge: Any, prepared: Any) -> None:
    """The rest of it."""
    if hasattr(edge, "commit"):
        edge.commit(prepared)
    else:
        edge.apply(prepared)


def turn(edge: Any) -> AbstractContextManager[object]:
    """While it is held, nothing else happens on the edge."""
    found: AbstractContextManager[object] = edge.turn() if hasattr(edge, "turn") else contextlib.nullcontext()
    return found


def snapshot(edge: Any, *, sessions: bool) -> Any:
    """An independent copy, with the sessions or without."""
    if not hasattr(edge, "snapshot"):
        return Edge(edge.config, seed=1)
    copy = edge.snapshot()
    if not sessions:
        copy.delete_sessions(vars(state)["SessionMatch"]())
    return copy


class EdgeEvents:
    """An edge as a source of events; see :class:`edge.events.EventSource`."""

    def __init__(self, edge: Any) -> None:
        self._edge = edge

    @property
    def watch_sessions(self) -> bool:
        """Are there events of sessions?"""
        return bool(self._edge.watch_sessions)

    @watch_sessions.setter
    def watch_sessions(self, on: bool) -> None:
        self._edge.watch_sessions = on

    def take_events(self) -> tuple[list[Any], int]:
        """Events since the last call, and how many were lost behind them."""
        events: tuple[list[Any], int] = self._edge.take_events()
        return events

    def sessions_begun(self) -> int:
        """Sessions made so far."""
        made: int = self._edge.stats().sessions_created
        return made


def events_of(edge: Any) -> EdgeEvents | None:
    """The source of an edge's events, None for one that tells of none."""
    return EdgeEvents(edge) if hasattr(edge, "take_events") else None
