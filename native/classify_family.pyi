from typing import Self

from typing_extensions import disjoint_base

from edge.flat import FlatRules
from native.classify_services import PortSets

@disjoint_base
class Placing:
    def __new__(cls, flat: FlatRules, which: int, small: int, rows: int, ports: PortSets | None) -> Self: ...
