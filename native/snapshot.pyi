from typing import Self

from typing_extensions import disjoint_base

from native.engine import Engine

@disjoint_base
class Blank:
    def __new__(cls, engine: Engine) -> Self: ...

def copy_engine(engine: Engine, blank: Blank) -> Engine: ...
