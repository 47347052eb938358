"""Problems on their way from whoever finds them to whoever reads them: collecting, wording, naming the place."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from itertools import islice

from edge.errors import Problem, Severity
from edge.printable import printable

Path = tuple[str | int, ...]
"""The keys and indexes that lead from the top of a document to a value, as its author wrote them."""

SHOWN_LENGTH = 60
"""Longer texts are cut when a message quotes them."""

_PLAIN_KEY = re.compile(r"[A-Za-z0-9_/$-]{1,60}", re.ASCII)


_HINT_WORDS = 2_000
_HINT_CUTOFF = 0.75  # of difflib's ratio: one letter wrong in four, or a short word within a long one, is no likeness


@dataclass(frozen=True, slots=True)
class Finding:
    """A problem before its line and column are known.  ``at_key`` points at the key rather than at its value."""

    code: str
    path: Path
    message: str
    severity: Severity = "error"
    at_key: bool = False


class Findings:
    """Collects findings; nothing stops at the first one."""

    def __init__(self) -> None:
        self.items: list[Finding] = []
        self.failed = False
        self._muted: set[Path] = set()
        self._hints_left = 100  # finding a near word is slow, and a document with more mistakes than that has others

    def error(self, code: str, path: Path, message: str, *, at_key: bool = False) -> None:
        """Note something that makes the document unusable."""
        if self._is_muted(path):
            return
        self.items.append(Finding(code, path, message, "error", at_key))
        self.failed = True

    def missing(self, path: Path, name: str, other_name: str) -> None:
        """Note that an object has no field ``name``, unless there is an error about that, or about the field's other
        name, already."""
        if not self._is_muted((*path, other_name)):
            self.error("MISSING_FIELD", (*path, name), f"the field {quoted(name)} is required")

    def _is_muted(self, path: Path) -> bool:
        return bool(self._muted) and any(path[:length] in self._muted for length in range(1, len(path) + 1))

    def mute(self, path: Path) -> None:
        """Take no further errors at or below a path: it has one, and the others only follow from that."""
        self._muted.add(path)

    def warning(self, code: str, path: Path, message: str, *, at_key: bool = False) -> None:
        """Note something the document may have, but should not go unsaid."""
        self.items.append(Finding(code, path, message, "warning", at_key))

    def nearest(self, word: str, known: Iterable[str]) -> str:
        """A hint that names the known word most like this one, or ''."""
        if len(word) > SHOWN_LENGTH or not self._hints_left:
            return ""
        self._hints_left -= 1
        lowered = {name.lower(): name for name in islice(known, _HINT_WORDS)}
        close = get_close_matches(word.lower(), lowered, n=1, cutoff=_HINT_CUTOFF)
        return f"; did you mean {quoted(lowered[close[0]])}?" if close else ""


def path_text(path: Path) -> str:
    """``natRules[3].externalAddresses``: the path as messages print it."""
    parts: list[str] = []
    for step in path:
        if isinstance(step, int):
            parts.append(f"[{step}]")
        elif _PLAIN_KEY.fullmatch(step):
            parts.append(f".{step}" if parts else step)
        else:
            parts.append(f"[{quoted(step)}]")
    return "".join(parts)


def written_path(document: object, path: Path) -> Path:
    """The path with ``values`` put in wherever the author wrapped a list; parts of it need not exist."""
    steps: list[str | int] = []
    node = document
    for step in path:
        if isinstance(step, int):
            if isinstance(node, dict) and "values" in node:
                steps.append("values")
                node = node["values"]
            node = node[step] if isinstance(node, list) and step < len(node) else None
        else:
            node = node.get(step) if isinstance(node, dict) else None
        steps.append(step)
    return tuple(steps)


def quoted(text: str) -> str:
    """A text in single quotes, cut to a readable length, control characters escaped."""
    cut = text if len(text) <= SHOWN_LENGTH else text[:SHOWN_LENGTH] + "…"
    return f"'{printable(cut)}'"


def described(value: object) -> str:
    """What a value is, for the end of a sentence such as "expected a list, not …"."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return f"the number {value}" if value.bit_length() < 200 else "a number of more than 60 digits"
    if isinstance(value, float):
        return f"the number {value}"
    if isinstance(value, str):
        return f"the text {quoted(value)}"
    if isinstance(value, list):
        return "a list"
    return "an object" if isinstance(value, dict) else f"a {type(value).__name__}"


def with_article(word: str) -> str:
    """``an SNAT``, ``a DNAT``."""
    return f"{'an' if word[0] in 'AEIO' or word.startswith('SNAT') else 'a'} {word}"


def one_of(words: Iterable[str]) -> str:
    """``A, B or C``."""
    *most, last = words
    return f"{', '.join(most)} or {last}" if most else last


def to_problems(
    findings: Iterable[Finding], file: str | None, places: Mapping[tuple[Path, bool], tuple[int, int]]
) -> list[Problem]:
    """Join findings with their places; a finding whose place is not known has neither line nor column."""
    problems = []
    for finding in findings:
        line, column = places.get((finding.path, finding.at_key), (None, None))
        problems.append(
            Problem(finding.code, path_text(finding.path), finding.message, finding.severity, file, line, column)
        )
    return problems
