from edge.compiler import Tables

class Program:
    def __init__(
        self, tables: Tables, slots: dict[str, int], usage: dict[tuple[int, int], int], generation: int
    ) -> None: ...
