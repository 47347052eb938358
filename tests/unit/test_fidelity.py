"""docs/fidelity.md and docs/pipeline.md keep their word: what they name exists, and nothing is left out."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from edge.suite_file import SUFFIX, read_test_file
from edge.verdicts import Reason, Stage, Verdict

TEST_ID = re.compile(r"`(tests/[^`]+?|examples/[^`]+?)::([^`]+)`")
GOLDEN_ROW = re.compile(r"^\| (\d+) \|", re.MULTILINE)
NOT_EMULATED = re.compile(r"\*\*NOT_EMULATED\*\* \(([^)]+)\)")

MISSING = [
    *("MSS clamping", "ALGs", "IPsec", "DNS", "LB", "DHCP"),
    *("SLAAC", "QoS", "BGP", "L2 VPN", "route advertisement", "DFW", "L7"),
]


@pytest.fixture(scope="module")
def fidelity(root: Path) -> str:
    return (root / "docs" / "fidelity.md").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def pipeline(root: Path) -> str:
    return (root / "docs" / "pipeline.md").read_text(encoding="utf-8")


def names_in(path: Path) -> set[str]:
    """The names that a test id may end with: functions (``Class::method`` too), or the tests of a rule-set file."""
    if path.name.endswith(SUFFIX):
        return {test.name for test in read_test_file(path).tests}
    return set(functions(ast.parse(path.read_text(encoding="utf-8")), ""))


def functions(node: ast.Module | ast.ClassDef, prefix: str) -> Iterator[str]:
    for item in node.body:
        if isinstance(item, ast.ClassDef):
            yield from functions(item, f"{item.name}::")
        elif isinstance(item, ast.FunctionDef):
            yield prefix + item.name


def rows(page: str, first_column: str) -> dict[str, list[str]]:
    """The rows of every table whose header begins with ``first_column``, by their first cell without backquotes."""
    found: dict[str, list[str]] = {}
    inside = False
    for line in page.splitlines():
        cells = [cell.strip() for cell in line.removeprefix("|").removesuffix("|").split("|")]
        inside = line.startswith(f"| {first_column} |") or (inside and line.startswith("|"))
        if inside and cells[0] != first_column and not cells[0].startswith("---"):
            found[cells[0].strip("`")] = cells[1:]
    return found


def test_every_test_named_exists(fidelity: str, root: Path) -> None:
    named = set(TEST_ID.findall(fidelity))
    assert len(named) > 40, "the page names hardly any tests: is its notation another?"
    missing = [
        f"{file}::{name}"
        for file, name in sorted(named)
        if not (root / file).is_file() or name not in names_in(root / file)
    ]
    assert missing == []


def test_every_golden_packet_has_a_row_and_a_test(fidelity: str) -> None:
    assert [int(number) for number in GOLDEN_ROW.findall(fidelity)] == list(range(1, 19))
    for number, cells in rows(fidelity, "#").items():
        assert TEST_ID.search(cells[-1]), f"golden packet {number} has no test"


def test_every_emulated_behaviour_has_a_test(fidelity: str) -> None:
    behaviours = {
        name: cells for name, cells in rows(fidelity, "behaviour").items() if len(cells) == 4 and "emulated" in cells[1]
    }
    assert len(behaviours) > 50
    untested = [
        name
        for name, cells in behaviours.items()
        if "NOT_EMULATED" not in cells[1].split(":")[0] and not TEST_ID.search(cells[3])
    ]
    assert untested == []


NAT_BEHAVIOUR = "tests/unit/test_nat_behaviour.py"
REQUIREMENTS = {
    "RFC 4787 REQ-": range(1, 15),
    "RFC 5382 REQ-": range(1, 11),
    "RFC 5508 REQ-": range(1, 12),
    "RFC 6888 REQ-": (*range(1, 9), 11, 13, 15),
    "RFC 7857 §": range(2, 13),
}


def test_every_requirement_of_nat_has_a_row_and_a_test_of_its_own(fidelity: str, root: Path) -> None:
    table = rows(fidelity, "requirement")
    assert [f"{name}{n}" for name, numbers in REQUIREMENTS.items() for n in numbers if f"{name}{n}" not in table] == []
    named = [TEST_ID.findall(cells[-1]) for cells in table.values()]
    assert all(len(tests) == 1 for tests in named)
    tests_there = functions(ast.parse((root / NAT_BEHAVIOUR).read_text(encoding="utf-8")), "")
    assert [test for (test,) in named] == [(NAT_BEHAVIOUR, name) for name in tests_there if name.startswith("test_")]
    # A test's name says whose it is: test_4787_req_3a_... is of RFC 4787 REQ-3a.
    for requirement, ((_, name),) in zip(table, named, strict=True):
        words = re.sub(r"[^a-z0-9]+", "_", requirement.lower().replace("§", "").removeprefix("rfc "))
        assert name.startswith(f"test_{words}_"), requirement


@pytest.mark.parametrize("name", MISSING)
def test_what_is_missing_is_named(fidelity: str, name: str) -> None:
    named = {part.strip() for match in NOT_EMULATED.findall(fidelity) for part in match.split(",")}
    assert name in named


def test_every_reason_is_explained(pipeline: str) -> None:
    explained = rows(pipeline, "reason")
    assert list(explained) == [reason.name for reason in Reason]
    for name, (verdict, stage, sentence) in explained.items():
        assert verdict.strip("`") in (*Verdict.__members__, "any"), name
        assert stage in Stage.__members__, name
        assert sentence.endswith("."), name


def test_every_verdict_is_explained(pipeline: str) -> None:
    assert list(rows(pipeline, "verdict")) == list(Verdict.__members__)


def test_the_drawings_name_every_stage(pipeline: str) -> None:
    drawings = "".join(re.findall(r"```text\n(.*?)```", pipeline, re.DOTALL))
    assert [stage.name for stage in Stage if not re.search(rf"\b{stage.name}\b", drawings)] == []


def test_the_timers_are_those_of_the_model(pipeline: str) -> None:
    from edge.model import Timers

    stated = dict(re.findall(r"`(\w+)` \| (\d+) \|$", pipeline, re.MULTILINE))
    snake = {re.sub(r"[A-Z]", lambda match: "_" + match[0].lower(), name): int(value) for name, value in stated.items()}
    assert snake == {name: getattr(Timers(), name) for name in Timers.__slots__}
