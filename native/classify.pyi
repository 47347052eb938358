from array import array
from typing import Self

from typing_extensions import Buffer, disjoint_base

from edge.flat import FlatRules

def widths() -> tuple[int, ...]: ...

@disjoint_base
class RuleTable:
    @property
    def count(self) -> int: ...
    def __new__(cls, flat: FlatRules, width: int = -1, small: int = 2048, cell_words: int = 8388608) -> Self: ...
    def lookup(
        self,
        family: int,
        src: int,
        dst: int,
        protocol: int,
        sport: int = 0,
        dport: int = 0,
        icmp_type: int = 0,
        icmp_code: int = 0,
        direction: int = 0,
    ) -> int | None: ...
    def lookup_many(
        self,
        keys: Buffer,
        out: array[int] | memoryview,
        icmp: array[int] | memoryview | None = None,
        direction: int = 0,
    ) -> None: ...
    def size(self) -> int: ...
