"""Two results of ``t1edge bench --json``, case by case: what changed, and is it more than noise?"""

from __future__ import annotations

import json
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

from edge.bench.measurement import speed_ratio
from edge.errors import EdgeError

SAME_MACHINE = ("cpu", "cpus", "kernel", "compiler", "python", "seed")
"""What both results should agree on for a comparison of two builds to say something."""


class ResultError(EdgeError):
    """A file that is no result of ``t1edge bench --json``."""

    reason = "INVALID_RESULT"


class Found(StrEnum):
    """What the samples say of a case."""

    FASTER = "FASTER"
    SLOWER = "SLOWER"
    SAME = "SAME"
    """The interval holds 1: no difference can be told from noise."""

    FIRST_ONLY = "FIRST_ONLY"
    SECOND_ONLY = "SECOND_ONLY"
    OTHER_UNIT = "OTHER_UNIT"
    """Measured in units that differ: nothing can be said."""


@dataclass(frozen=True, slots=True)
class Compared:
    """One case of both results; ``ratio`` above 1 means that the second is faster."""

    name: str
    unit: str
    found: Found
    first: float | None
    second: float | None
    ratio: tuple[float, float, float] | None

    def to_json(self) -> dict[str, object]:
        """The object that ``--json`` prints for this case."""
        document: dict[str, object] = {"name": self.name, "unit": self.unit, "result": self.found.value}
        document |= {"first": self.first, "second": self.second}
        if self.ratio is not None:
            middle, low, high = self.ratio
            document["ratio"] = {"median": round(middle, 4), "low": round(low, 4), "high": round(high, 4)}
        return document


@dataclass(frozen=True, slots=True)
class Result:
    """What one run of the benchmarks wrote."""

    environment: dict[str, Any]
    cases: dict[str, dict[str, Any]]
    """By name."""


def load_result(path: str) -> Result:
    """Read a result.  Raises ResultError for a file that holds none, and OSError."""
    try:
        document = json.loads(Path(path).read_text(encoding="utf-8"))
        cases = {case["name"]: {"unit": case["unit"], **case} for case in document["cases"]}
        for case in cases.values():
            if not case["samples"] or not all(sample > 0 for sample in (case["median"], *case["samples"])):
                raise ResultError(f"{path}: the case {case['name']} has no samples")
        return Result(dict(document["env"]), cases)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ResultError(f"{path}: this is no result of t1edge bench --json") from error


def compare(first: Result, second: Result) -> list[Compared]:
    """Every case of either, in the order of the second; cases that only the first has come last."""
    found = []
    for name, case in second.cases.items():
        before = first.cases.get(name)
        if before is None:
            found.append(Compared(name, case["unit"], Found.SECOND_ONLY, None, case["median"], None))
            continue
        if before["unit"] != case["unit"]:
            found.append(Compared(name, case["unit"], Found.OTHER_UNIT, None, case["median"], None))
            continue
        ratio = speed_ratio(before["samples"], case["samples"], case["unit"])
        _, low, high = ratio
        told = Found.FASTER if low > 1 else Found.SLOWER if high < 1 else Found.SAME
        found.append(Compared(name, case["unit"], told, before["median"], case["median"], ratio))
    for name, case in first.cases.items():
        if name not in second.cases:
            found.append(Compared(name, case["unit"], Found.FIRST_ONLY, case["median"], None, None))
    return found


def differences_of_machine(first: Result, second: Result) -> list[str]:
    """What differs between the two runs besides the program, in words."""
    told = []
    for name in SAME_MACHINE:
        one, other = first.environment.get(name), second.environment.get(name)
        if one != other:
            told.append(f"{name}: {one} in the first, {other} in the second")
    for name, case in second.cases.items():
        unit = first.cases.get(name, case)["unit"]
        if unit != case["unit"]:
            told.append(f"{name}: in {unit} in the first, in {case['unit']} in the second: they cannot be compared")
    for name, case in second.cases.items():
        one, other = ((found.get("details") or {}).get("origin") for found in (first.cases.get(name, case), case))
        if one != other:
            told.append(f"{name}: rules {one} in the first, {other} in the second")
    return told
