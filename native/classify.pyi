from edge.flat import FlatRules

class RuleTable:
    def __init__(self, flat: FlatRules) -> None: ...
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
