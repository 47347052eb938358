from collections.abc import Mapping
from typing import Self

from typing_extensions import disjoint_base

from edge.compiler import Tables
from edge.firewall.compile import FirewallTables

@disjoint_base
class FirewallPart:
    def __new__(cls, firewall: FirewallTables, slots: Mapping[str, int]) -> Self: ...

@disjoint_base
class Program:
    def __new__(
        cls,
        tables: Tables,
        slots: Mapping[str, int],
        usage: Mapping[tuple[int, int], int],
        revision: int,
        like: Program | None = None,
        part: FirewallPart | None = None,
    ) -> Self: ...
