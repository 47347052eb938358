from typing import Self

from typing_extensions import disjoint_base

from native.engine import Engine
from native.team import Team

@disjoint_base
class Blank:
    def __new__(cls, engine: Engine) -> Self: ...

def copy_engine(engine: Engine, blank: Blank) -> Engine: ...
def copy_team(team: Team, blanks: list[Blank]) -> Team: ...
