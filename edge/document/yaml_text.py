"""YAML to plain data from libyaml's events: no recursion, no constructors, no YAML 1.1 surprises.

Scalars follow the core schema of YAML 1.2 (chapter 10.3): only ``true`` and ``false`` are booleans, ``010`` is ten,
``12:30`` is a text.  Keys are always texts.  Aliases share what they name; a document whose aliases would expand to
more than MAX_ALIASED values is refused.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, Final

import yaml

from edge.document.problems import Finding, Path, quoted
from edge.document.text import MAX_DEPTH, Trie, duplicate_key, finite, syntax_error

MAX_ALIASED: Final = 100_000
"""How many values the aliases of one document may stand for."""

_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_CORE: Final = "tag:yaml.org,2002:"

_NULL = frozenset(("", "~", "null", "Null", "NULL"))
_BOOLEANS = {"true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False}
_INTEGER = re.compile(r"[-+]?[0-9]{1,1000}", re.ASCII)
_BASED = re.compile(r"0o[0-7]{1,1000}|0x[0-9a-fA-F]{1,1000}", re.ASCII)
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?", re.ASCII)
_FLOAT_WORDS = {
    sign + dot: float(sign + dot.replace(".", "").lower())
    for sign in ("", "+", "-")
    for dot in (".inf", ".Inf", ".INF")
} | {word: float("nan") for word in (".nan", ".NaN", ".NAN")}


@dataclass(slots=True)
class _Frame:
    """A list or mapping that is being read."""

    container: list[Any] | dict[str, Any]
    path: Path
    wanted: Trie | None
    start: Any
    anchor: str | None
    size: int = 1
    key: str | None = None
    key_mark: Any = None
    again: bool = False  # the key was given before: what stands there is read and not kept


class _Builder:
    """One pass over the events of one document.  ``wanted`` names the paths whose positions are recorded."""

    def __init__(self, wanted: Trie | None) -> None:
        self.wanted = wanted
        self.stack: list[_Frame] = []
        self.anchors: dict[str, tuple[Any, int]] = {}
        self.duplicates: list[tuple[Path, Any]] = []
        self.aliased = 0
        self.result: Any = None
        self.documents = 0
        self.marks: dict[Path, tuple[Any, Any]] = {}

    def run(self, text: str) -> Any:
        for event in yaml.parse(text, Loader=_LOADER):
            if isinstance(event, yaml.ScalarEvent):
                frame = self.stack[-1] if self.stack else None
                if frame is not None and frame.key is None and isinstance(frame.container, dict):
                    self._key(frame, event)
                else:
                    self._value(_scalar(event), 1, event)
            elif isinstance(event, (yaml.MappingStartEvent, yaml.SequenceStartEvent)):
                self._open(event)
            elif isinstance(event, (yaml.MappingEndEvent, yaml.SequenceEndEvent)):
                self._close()
            elif isinstance(event, yaml.AliasEvent):
                self._alias(event)
            elif isinstance(event, yaml.DocumentStartEvent):
                self.documents += 1
                if self.documents > 1:
                    raise syntax_error("a second document begins here; a file holds one edge", _place(event.start_mark))
        return self.result

    def _key(self, frame: _Frame, event: Any) -> None:
        key = event.value
        frame.again = key in frame.container
        if frame.again:
            self.duplicates.append(((*self._path(frame), key), event.start_mark))
        frame.key = key
        if frame.wanted is not None:
            frame.key_mark = event.start_mark
        if event.anchor:
            self.anchors[event.anchor] = (key, 1)

    def _path(self, frame: _Frame) -> Path:
        """Paths are only kept while positions are wanted; for a duplicate it is put together from the stack."""
        return tuple(self._step(outer) for outer in self.stack[: self.stack.index(frame)])

    def _open(self, event: Any) -> None:
        if len(self.stack) >= MAX_DEPTH:
            raise syntax_error(f"nested deeper than {MAX_DEPTH} levels", _place(event.start_mark))
        is_map = isinstance(event, yaml.MappingStartEvent)
        _check_tag(event, "map" if is_map else "seq")
        path: Path = ()
        wanted = self.wanted
        if self.stack:
            frame = self.stack[-1]
            if isinstance(frame.container, dict) and frame.key is None:
                raise syntax_error("a key must be a text, not a list or an object", _place(event.start_mark))
            step = self._step(frame)
            wanted = frame.wanted.get(step) if frame.wanted is not None and not frame.again else None
            path = (*frame.path, step) if wanted is not None else ()
        self.stack.append(_Frame({} if is_map else [], path, wanted, event.start_mark, event.anchor))
        if event.anchor:
            self.anchors.pop(event.anchor, None)

    def _close(self) -> None:
        frame = self.stack.pop()
        self._value(frame.container, frame.size, None, frame)
        if frame.anchor:
            self.anchors[frame.anchor] = (frame.container, frame.size)

    def _alias(self, event: Any) -> None:
        place = _place(event.start_mark)
        if event.anchor not in self.anchors:
            raise syntax_error(f"the alias {quoted('*' + event.anchor)} names nothing that ends before it", place)
        value, size = self.anchors[event.anchor]
        frame = self.stack[-1] if self.stack else None
        if frame is not None and isinstance(frame.container, dict) and frame.key is None:
            raise syntax_error("a key must be written out, not given by an alias", place)
        self.aliased += size
        if self.aliased > MAX_ALIASED:
            message = f"the aliases of this document stand for more than {MAX_ALIASED:,} values"
            raise syntax_error(message, place, "LIMIT_EXCEEDED")
        self._value(value, size, event)

    @staticmethod
    def _step(frame: _Frame) -> str | int:
        return len(frame.container) if isinstance(frame.container, list) else frame.key or ""

    def _value(self, value: Any, size: int, event: Any, closed: _Frame | None = None) -> None:
        if isinstance(event, yaml.ScalarEvent) and event.anchor is not None:
            self.anchors[event.anchor] = (value, 1)
        if not self.stack:
            self.result = value
            if self.wanted is not None:
                mark = closed.start if closed else event.start_mark
                self.marks[()] = (mark, mark)
            return
        frame = self.stack[-1]
        if frame.wanted is not None and not frame.again:
            step = self._step(frame)
            if step in frame.wanted:
                mark = closed.start if closed else event.start_mark
                self.marks[(*frame.path, step)] = (frame.key_mark or mark, mark)
        frame.size += size
        if isinstance(frame.container, dict):
            if not frame.again:
                frame.container[frame.key or ""] = value
            frame.key = frame.key_mark = None
            frame.again = False
        else:
            frame.container.append(value)


def parse_yaml(text: str) -> tuple[Any, tuple[tuple[Finding, tuple[int, int]], ...]]:
    """The data of a text of one YAML document, and the keys that are given again.  Raises TextError."""
    builder = _Builder(None)
    try:
        data = builder.run(text)
    except yaml.MarkedYAMLError as error:
        problem = " ".join(part for part in (error.problem, error.context) if part)
        mark = error.problem_mark or error.context_mark
        raise syntax_error(f"not YAML: {problem}", _place(mark) if mark else None) from None
    except yaml.YAMLError as error:
        # libyaml's reader speaks of a character that YAML does not allow, without a mark.
        reason = getattr(error, "reason", None) or str(error).partition("\n")[0]
        raise syntax_error(f"not YAML: {reason}", _unprintable(text)) from None
    if builder.documents == 0:
        raise syntax_error("the document is empty", (1, 1))
    return data, tuple(duplicate_key(path, _place(mark)) for path, mark in builder.duplicates)


def yaml_places(text: str, wanted: Trie) -> dict[Path, tuple[tuple[int, int], tuple[int, int]]]:
    """(key's place, value's place) for each wanted path of a text that parse_yaml has read."""
    builder = _Builder(wanted)
    builder.run(text)
    return {path: (_place(key), _place(value)) for path, (key, value) in builder.marks.items()}


def _place(mark: Any) -> tuple[int, int]:
    return mark.line + 1, mark.column + 1


def _unprintable(text: str) -> tuple[int, int] | None:
    found = re.search("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\x80-\x84\x86-\x9f\ufffe\uffff]", text)
    if found is None:
        return None
    at = found.start()
    return text.count("\n", 0, at) + 1, at - text.rfind("\n", 0, at)


def _check_tag(event: Any, *names: str) -> None:
    if event.tag and event.tag != "!" and event.tag not in {_CORE + name for name in names}:
        raise syntax_error(f"the tag {quoted(event.tag)} is not one that a document may use", _place(event.start_mark))


def _scalar(event: Any) -> Any:
    _check_tag(event, "str", "int", "float", "bool", "null")
    text: str = event.value
    if event.tag == _CORE + "str" or (event.tag != "!" and not event.implicit[0] and event.tag is None):
        return text
    if event.tag == "!":
        return text
    try:
        value = plain(text)
    except ValueError as error:
        raise syntax_error(f"not YAML: {error}", _place(event.start_mark)) from None
    wanted = {"int": int, "float": (int, float), "bool": bool, "null": type(None)}.get((event.tag or "")[len(_CORE) :])
    if wanted is not None and not isinstance(value, wanted):  # type: ignore[arg-type]
        raise syntax_error(f"{quoted(text)} is not a value of its tag", _place(event.start_mark))
    return value


def plain(text: str) -> Any:
    """What a plain (unquoted) scalar stands for under the core schema.  Raises ValueError for numbers too large."""
    if text in _NULL:
        return None
    if text in _BOOLEANS:
        return _BOOLEANS[text]
    if _INTEGER.fullmatch(text):
        return int(text)
    if _BASED.fullmatch(text):
        return int(text, 0)
    if _FLOAT.fullmatch(text):
        return finite(text)
    return _FLOAT_WORDS.get(text, text)
