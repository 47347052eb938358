from typing import Self

from typing_extensions import disjoint_base

@disjoint_base
class Words: ...

@disjoint_base
class Axis: ...

@disjoint_base
class Classes: ...

@disjoint_base
class Rows:
    def __new__(cls, words: int, count: int) -> Self: ...
