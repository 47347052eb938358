"""An edge whose changes can be watched while sessions follow them."""

from __future__ import annotations

from collections.abc import Callable

from edge.model import EdgeConfig
from edge.runtime import Edge, Prepared
from native.program import Program


class Between(Edge):
    """Does something after each step of a change."""

    def __init__(self, config: EdgeConfig, *, seed: int | None = None) -> None:
        self.between: Callable[[], object] = lambda: None
        super().__init__(config, seed=seed)

    def _swap(self, prepared: Prepared, port_map: list[int | None], flush: bool, sources: bool) -> Program | None:
        self._running = prepared.running  # packets are given to it in between
        return self._engine.swap(prepared.program, port_map, flush, sources, self.between)
