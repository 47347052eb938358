"""Text to plain data (dicts, lists, texts, numbers, booleans, None), and back from a path to a line and a column.

Two readers, one result.  JSON goes through the standard library's C scanner.  YAML goes through libyaml's events with
the scalars of YAML 1.2's core schema, so that ``on``, ``yes`` and ``NO`` stay texts.  Both tell keys that are given
twice, keep the first and go on.  Nothing here keeps positions while all is well: they are looked up afterwards, for the
paths that need them.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from json.decoder import scanstring  # type: ignore[attr-defined]  # the C scanner behind JSONDecoder
from math import isinf
from typing import Any, Final

from edge.document.problems import Finding, Path, quoted
from edge.printable import printable

Trie = dict[str | int, "Trie"]
Places = dict[tuple[Path, bool], tuple[int, int]]

MAX_DEPTH: Final = 100
"""Deeper nesting is refused; the deepest document that means anything has 9 levels."""

_FALLBACK_LENGTH: Final = 1_000_000
_WHITESPACE = re.compile(r"[ \t\n\r]*")
_SURROGATE_ESCAPE = re.compile(r"\\u[dD][89a-fA-F]")
_ODD_NUMBERS = re.compile(
    r'"(?:[^"\\]|\\.)*"|(NaN|-?Infinity|-?[0-9]{4000,}|-?[0-9.]{300,}|-?[0-9.]+[eE]\+?0*[0-9]{3,})', re.ASCII
)
_ESCAPES = re.compile(
    r"\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}"  # a pair
    r"|(\\u[dD][89a-fA-F][0-9a-fA-F]{2})"  # half of one
    r"|\\."
)


class TextError(Exception):
    """A text that is not a document; carries the findings and the places of those that have one."""

    def __init__(self, findings: list[Finding], places: Places) -> None:
        super().__init__(findings)
        self.findings = findings
        self.places = places


def syntax_error(message: str, place: tuple[int, int] | None = None, code: str = "SYNTAX") -> TextError:
    """A TextError with one finding, at the top of the document's paths."""
    return TextError([Finding(code, (), message)], {((), False): place} if place else {})


@dataclass(frozen=True, slots=True)
class Source:
    """A text that was read: ``data`` is what it says, ``syntax`` is ``json`` or ``yaml``."""

    text: str = field(repr=False)
    syntax: str
    data: Any = field(repr=False)
    duplicates: tuple[tuple[Finding, tuple[int, int]], ...] = ()
    """Keys that are given again, each with its place; ``data`` has what the first of them says."""

    def places(self, wanted: Iterable[tuple[Path, bool]]) -> Places:
        """Line and column, from 1, of each (path, at key); a path that is not there gets its nearest ancestor's."""
        requests = set(wanted)
        trie: Trie = {}
        for path, _ in requests:
            node = trie
            for step in path:
                node = node.setdefault(step, {})
        if self.syntax == "json":
            found = _json_places(self.text, trie)
        else:
            from edge.document.yaml_text import yaml_places

            found = yaml_places(self.text, trie)
        places: Places = {}
        for path, at_key in requests:
            known = path
            while known and known not in found:
                known = known[:-1]
            if known in found:
                key, value = found[known]
                places[path, at_key] = key if at_key and known == path else value
        return places


def decode(raw: bytes) -> str:
    """UTF-8, with or without a byte order mark.  Raises TextError."""
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        before = raw[: error.start].decode("utf-8", "replace")
        line, column = line_and_column(before, len(before))
        raise syntax_error(f"byte 0x{raw[error.start]:02x} is not UTF-8 text", (line, column)) from None


def parse(text: str, file: str | None) -> Source:
    """Read a text as what its name and its first character say it is.  Raises TextError."""
    text = text.removeprefix("\ufeff")
    _refuse_bad_characters(text)
    start = _WHITESPACE.match(text).end()  # type: ignore[union-attr]  # an empty match is a match
    if start == len(text):
        raise syntax_error("the document is empty", (1, 1))
    name = (file or "").lower()
    if name.endswith(".json") or text[start] in "{[":
        try:
            return Source(text, "json", *_parse_json(text))
        except _NotJsonError as error:
            # YAML's flow style starts like JSON.  A long text, or one that quotes its first key as JSON does, is JSON
            # with a mistake in it: the JSON reader has the better message, and has it sooner.
            inside = _WHITESPACE.match(text, start + 1).end()  # type: ignore[union-attr]
            is_json = len(text) > _FALLBACK_LENGTH or text[inside : inside + 1] == '"'
            if name.endswith(".json") or (is_json and not name.endswith((".yaml", ".yml"))):
                raise error.shown from None
    from edge.document.yaml_text import parse_yaml

    return Source(text, "yaml", *parse_yaml(text))


def line_and_column(text: str, offset: int) -> tuple[int, int]:
    """Both from 1, the column in characters."""
    return text.count("\n", 0, offset) + 1, offset - text.rfind("\n", 0, offset)


def _refuse_bad_characters(text: str) -> None:
    at = text.find("\0")
    if at >= 0:
        raise syntax_error("a NUL character is not text", line_and_column(text, at))
    try:
        text.encode()
    except UnicodeEncodeError as error:
        place = line_and_column(text, error.start)
        raise syntax_error("half of a surrogate pair stands for no character", place) from None


# JSON


class _NotJsonError(Exception):
    """Raised inside, so that a text that begins like JSON can be tried as YAML."""

    def __init__(self, shown: TextError) -> None:
        super().__init__(shown)
        self.shown = shown


class _Scanner(json.JSONDecoder):
    """The C scanner, noticing keys that are given twice and numbers that JSON does not have."""

    def __init__(self) -> None:
        self.duplicates = False
        super().__init__(object_pairs_hook=self._object, parse_constant=self._constant, parse_float=finite)

    def _object(self, pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        result = dict(pairs)
        if len(result) != len(pairs):
            self.duplicates = True
            result = dict(reversed(pairs))
        return result

    @staticmethod
    def _constant(name: str) -> None:
        raise ValueError(f"{name} is not a JSON number")


def finite(text: str) -> float:
    """A number with a fraction or an exponent.  Raises ValueError for one that is past the last."""
    number = float(text)
    if isinf(number):
        raise ValueError(f"the number {printable(text[:20])} is too large")
    return number


def duplicate_key(path: Path, place: tuple[int, int]) -> tuple[Finding, tuple[int, int]]:
    """What is said about a key that is given again."""
    message = f"the key {quoted(str(path[-1]))} is given twice; what the first one says is read"
    return Finding("DUPLICATE_KEY", path, message, at_key=True), place


def _parse_json(text: str) -> tuple[Any, tuple[tuple[Finding, tuple[int, int]], ...]]:
    scanner = _Scanner()
    try:
        data = scanner.decode(text)
        if _SURROGATE_ESCAPE.search(text):
            half = next((match for match in _ESCAPES.finditer(text) if match[1]), None)
            if half is not None:
                message = f"{half[1]} is half of a surrogate pair and stands for no character"
                raise syntax_error(message, line_and_column(text, half.start()))
    except json.JSONDecodeError as error:
        message = error.msg[:1].lower() + error.msg[1:]
        raise _NotJsonError(syntax_error(f"not JSON: {message}", (error.lineno, error.colno))) from None
    except RecursionError:
        raise _too_deep() from None
    except ValueError as error:
        reason = "a number has too many digits" if "digits" in str(error) else str(error)
        odd = next((match for match in _ODD_NUMBERS.finditer(text) if match[1]), None)
        place = line_and_column(text, odd.start()) if odd else None
        raise _NotJsonError(syntax_error(f"not JSON: {reason}", place)) from None
    found: list[tuple[Path, str, int]] = []
    if scanner.duplicates:
        _json_duplicates(text, _WHITESPACE.match(text).end(), (), found)  # type: ignore[union-attr]
    return data, tuple(duplicate_key((*path, key), line_and_column(text, offset)) for path, key, offset in found)


def _too_deep() -> TextError:
    return syntax_error(f"nested deeper than {MAX_DEPTH} levels", (1, 1))


def _members(text: str, start: int) -> Iterator[tuple[str | int, int, int]]:
    """(key or index, its offset, the value's offset) of the object or list at ``start`` of a text that is JSON.

    A value is skipped, at the scanner's speed, when the next member is asked for.
    """
    skip = _WHITESPACE.match
    scan: Any = json.JSONDecoder().scan_once  # type: ignore[attr-defined]  # typeshed leaves it out
    is_object = text[start] == "{"
    offset = skip(text, start + 1).end()  # type: ignore[union-attr]
    index = 0
    while text[offset] not in "]}":
        key: str | int = index
        key_at = value_at = offset
        if is_object:
            key, offset = scanstring(text, offset + 1)
            value_at = skip(text, skip(text, offset).end() + 1).end()  # type: ignore[union-attr]
        yield key, key_at, value_at
        offset = skip(text, scan(text, value_at)[1]).end()  # type: ignore[union-attr]
        if text[offset] == ",":
            offset = skip(text, offset + 1).end()  # type: ignore[union-attr]
        index += 1


def _json_duplicates(text: str, start: int, path: Path, found: list[tuple[Path, str, int]]) -> None:
    seen: set[str | int] = set()
    for key, key_at, value_at in _members(text, start):
        if isinstance(key, str) and key in seen:
            found.append((path, key, key_at))
        seen.add(key)
        # Only the branches that hold a duplicate are walked.
        scanner = _Scanner()
        scanner.scan_once(text, value_at)  # type: ignore[attr-defined]  # typeshed leaves it out
        if scanner.duplicates:
            if len(path) >= MAX_DEPTH:
                raise _too_deep()
            _json_duplicates(text, value_at, (*path, key), found)


def _json_places(text: str, trie: Trie) -> dict[Path, tuple[tuple[int, int], tuple[int, int]]]:
    offsets: dict[Path, tuple[int, int]] = {}

    def walk(start: int, path: Path, wanted: Trie) -> None:
        offsets.setdefault(path, (start, start))
        if not wanted or text[start] not in "{[":
            return
        missing = len(wanted)
        for key, key_at, value_at in _members(text, start):
            if key in wanted and (*path, key) not in offsets:
                offsets[(*path, key)] = (key_at, value_at)
                walk(value_at, (*path, key), wanted[key])
                missing -= 1
                if not missing:
                    return

    walk(_WHITESPACE.match(text).end(), (), trie)  # type: ignore[union-attr]
    # One pass over the text turns all offsets into lines.
    lines: dict[int, tuple[int, int]] = {}
    line, last = 1, 0
    for offset in sorted({offset for pair in offsets.values() for offset in pair}):
        line += text.count("\n", last, offset)
        last = offset
        lines[offset] = (line, offset - text.rfind("\n", 0, offset))
    return {path: (lines[key], lines[value]) for path, (key, value) in offsets.items()}
