"""Results of rule-set tests as JUnit XML, in the dialect that CI servers agree on."""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING
from xml.etree.ElementTree import Element, SubElement, indent, tostring

from edge.cli.common import OutputError
from edge.errors import Problem

if TYPE_CHECKING:
    from edge.suite import TestResult

_NOT_XML = re.compile(r"[^\t\n\r -\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""Characters that XML 1.0 (section 2.2) has no way to write."""


def write_junit(path: str, results: Sequence[TestResult], problems: Sequence[Problem]) -> None:
    """Write a report: one ``testsuite`` per file, a file that cannot be used as one with an ``error``.

    Raises OutputError when the file cannot be written.
    """
    root = Element("testsuites")
    for file, group in groupby(results, key=lambda result: str(result.file.path)):
        cases = list(group)
        suite = _suite(root, file, tests=len(cases), failures=sum(case.failure is not None for case in cases), errors=0)
        suite.set("time", f"{sum(case.seconds for case in cases):.6f}")
        for result in cases:
            case = _case(suite, file, result.test.name)
            case.set("line", str(result.test.line))
            case.set("time", f"{result.seconds:.6f}")
            if result.failure is not None:
                first = result.failure.mismatches[0]
                summary = f"{first.field}: expected {first.expected}, got {first.got}"
                SubElement(case, "failure", message=_clean(summary)).text = _clean(result.failure.text())
    for file, broken in groupby(problems, key=lambda problem: problem.file or ""):
        lines = [str(problem) for problem in broken]
        suite = _suite(root, file, tests=1, failures=0, errors=1)
        case = _case(suite, file, "the file can be used")
        SubElement(case, "error", message=_clean(lines[0])).text = _clean("\n".join(lines))
    indent(root)
    try:
        Path(path).write_bytes(tostring(root, encoding="utf-8", xml_declaration=True))
    except OSError as error:
        raise OutputError(f"t1edge: {path}: {error.strerror}") from error


def _suite(root: Element, file: str, **counts: int) -> Element:
    return SubElement(root, "testsuite", {"name": _clean(file)} | {key: str(value) for key, value in counts.items()})


def _case(suite: Element, file: str, name: str) -> Element:
    return SubElement(suite, "testcase", classname=_clean(file), name=_clean(name), file=_clean(file))


def _clean(text: str) -> str:
    return _NOT_XML.sub("\ufffd", text)
