from typing import Self

from typing_extensions import disjoint_base

from edge.flat import FlatRules

@disjoint_base
class PortSets:
    def __new__(cls, flat: FlatRules) -> Self: ...

@disjoint_base
class Columns: ...
