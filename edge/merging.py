"""One table of the firewall's rules and of what small changes have laid over them, made beside all else."""

from __future__ import annotations

from collections.abc import Mapping

from edge.compiler import Compiled
from edge.firewall.overlay import FirewallBase
from native.program import FirewallPart


class Merge:
    """What a running edge has compiled, on its way to a base that the next configurations are laid over.

    ``slots`` are the counter slots of its rules.  Belongs to one thread until it is built; ``base`` is None before, and
    stays so where there is no memory for it.
    """

    base: FirewallBase | None = None
    part: FirewallPart | None = None

    def __init__(self, compiled: Compiled, slots: Mapping[str, int]) -> None:
        self._before = compiled.base
        self._made_of: tuple[Compiled, Mapping[str, int]] | None = (compiled, slots)

    def build(self) -> None:
        """All the work, once.  Raises MemoryError."""
        assert self._made_of is not None, "it is built once"
        (compiled, slots), self._made_of = self._made_of, None
        overlay = compiled.tables.overlay
        assert overlay is not None, "there is something to merge"
        base = compiled.base.merged(overlay, compiled.config.firewall.rules, compiled.firewall_ids)
        self.part = FirewallPart(base.tables, slots)
        self.base = base

    def is_of(self, compiled: Compiled) -> bool:
        """Does what an edge runs still lie over the base that this began with?"""
        return self._before is compiled.base
