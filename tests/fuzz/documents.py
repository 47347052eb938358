"""Bytes as an edge file: problems or a configuration, nothing else.

Bit 0 of byte 0: it is called .json instead of .yaml; bit 1: what is not emulated is allowed.
"""

from __future__ import annotations

from edge.checks import check
from edge.compiler import compile_tables
from edge.document import loads
from edge.document.text import TextError, decode
from edge.errors import DocumentError
from tests.fuzz.invariants import expect


def run(data: bytes) -> None:
    """Raises anything that a user would see as a traceback."""
    if not data:
        return
    name = "edge.json" if data[0] & 1 else "edge.yaml"
    try:
        text = decode(data[1:])
    except TextError as error:
        expect(bool(error.findings), "refused without a word")
        return
    try:
        loaded = loads(text, file=name, allow_unsupported=bool(data[0] & 2))
    except DocumentError as error:
        expect(bool(error.problems), "refused without a word")
        problems = list(error.problems)
    else:
        problems = [*loaded.problems, *check(loaded.config, loaded)]
        expect(all(problem.severity == "warning" for problem in problems), "an error, and accepted all the same")
        compile_tables(loaded.config)
    lines = text.count("\n") + text.count("\r") + text.count("\x85") + text.count("\u2028") + text.count("\u2029") + 1
    lines += not text.endswith("\n")  # libyaml takes the end of a line that does not end for the next line
    for problem in problems:
        expect(str(problem).isprintable(), "a problem that does something to a terminal")
        expect(str(problem).encode() != b"", "a problem without a text")
        expect(problem.line is None or 1 <= problem.line <= lines, f"line {problem.line} of {lines}")
