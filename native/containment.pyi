from array import array
from typing import Self

from typing_extensions import disjoint_base

from edge.flat import FlatRanges, FlatRules

def contained(flat: FlatRules, number: int, inside: bool) -> array[int]: ...

@disjoint_base
class Ranges:
    def __new__(cls, ranges: FlatRanges, which: int) -> Self: ...
