from array import array
from typing import Self

from typing_extensions import disjoint_base

from native.classify import RuleTable

def differences(
    before: tuple[object, ...], now: tuple[object, ...], most: int
) -> list[tuple[int, int, int, int]] | None: ...

@disjoint_base
class OverlaidTable:
    def __new__(cls, base: RuleTable, dead: array[int], added: RuleTable, before: array[int]) -> Self: ...
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
