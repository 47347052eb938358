from array import array
from collections.abc import Sequence
from typing import Any

def interned(
    parts: Sequence[tuple[array[int], Sequence[tuple[array[Any], int]]]], columns: list[array[int]], unset: int
) -> list[tuple[array[int], list[array[Any]]]]: ...
