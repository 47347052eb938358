from array import array
from typing import Self

from typing_extensions import Buffer, disjoint_base

from edge.flat import FlatRules

@disjoint_base
class RuleTable:
    def __new__(cls, flat: FlatRules) -> Self: ...
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
