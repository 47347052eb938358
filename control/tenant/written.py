"""Objects in a file: what they say as JSON, and where each word of it stands."""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import Any

from control.api.shapes import Shape, ShapeKind
from control.names import camel
from edge.document import read_text
from edge.document.problems import Finding, Findings, Path, described, quoted, to_problems
from edge.document.text import Source, TextError, parse
from edge.errors import DocumentError

_STEP = re.compile(r"([A-Za-z0-9_]+)|\[(\d+)\]")
_EXPECTED: dict[ShapeKind, tuple[type | tuple[type, ...], str]] = {
    ShapeKind.TEXT: (str, "a text"),
    ShapeKind.WORD: (str, "a word"),
    ShapeKind.NUMBER: (int, "a whole number"),
    ShapeKind.FRACTION: ((int, float), "a number"),
    ShapeKind.FLAG: (bool, "true or false"),
    ShapeKind.MAP: (dict, "an object"),
}


class Written:
    """A file, and what is wrong with it; every problem is collected, and :meth:`check` raises them."""

    def __init__(self, file: str, source: Source) -> None:
        self.file = file
        self.data = source.data
        self._source = source
        self._findings = Findings()

    @classmethod
    def read(cls, file: str) -> Written:
        """Raises DocumentError for a file that cannot be read, or is neither YAML nor JSON."""
        try:
            return cls(file, parse(read_text(file), file))
        except TextError as error:
            raise DocumentError(to_problems(error.findings, file, error.places)) from None

    def check(self) -> None:
        """Raises DocumentError if anything was found, or is given twice."""
        twice = [finding for finding, _ in self._source.duplicates]
        if self._findings.items or twice:
            places = {(finding.path, finding.at_key): place for finding, place in self._source.duplicates}
            self.refuse([*self._findings.items, *twice], places)

    def refuse(self, findings: list[Finding], known: dict[tuple[Path, bool], tuple[int, int]] | None = None) -> None:
        """Raises DocumentError, each finding with its line and column."""
        places = self._source.places((item.path, item.at_key) for item in findings) | (known or {})
        problems = to_problems(findings, self.file, places)
        raise DocumentError(sorted(problems, key=lambda item: (item.line or 0, item.column or 0)))

    def error(self, code: str, path: Path, message: str, *, at_key: bool = False) -> None:
        """Something that is wrong; reading goes on."""
        self._findings.error(code, path, message, at_key=at_key)

    def nearest(self, word: str, known: Collection[str]) -> str:
        """A hint that names the known word most like this one, or ''."""
        return self._findings.nearest(word, known)

    def place_of(self, path: Path, inner: str) -> Path:
        """The author's own path of a field of the object at ``path``: ``nics[0].ip_mode`` may be written ``ipMode``."""
        steps, node = list(path), self.at(path)
        for name, index in _STEP.findall(inner):
            step: str | int = int(index) if index else _written_key(node, name)
            node = _child(node, step)
            if node is None:
                break
            steps.append(step)
        return tuple(steps)

    def at(self, path: Path) -> Any:
        """The plain data at one of the author's own paths, None where there is none."""
        node = self.data
        for step in path:
            node = _child(node, step)
        return node

    def object(
        self, path: Path, data: Any, shape: Shape, allowed: Collection[str], besides: Collection[str] = ()
    ) -> dict[str, Any]:
        """An object as JSON, with no fields but those ``allowed``, by their names in the contract.

        ``besides``: keys that it may have, too, and that are read elsewhere.
        """
        if not isinstance(data, dict):
            self.error("WRONG_TYPE", path, f"expected an object, not {described(data)}")
            return {}
        found: dict[str, Any] = {}
        for key, value in data.items():
            if key in besides:
                continue
            field = shape.field(key)
            if field is None or field.name not in allowed:
                known = [*(item.key for item in shape.fields if item.name in allowed), *besides]
                hint = self.nearest(key, known)
                self.error("UNKNOWN_FIELD", (*path, key), f"there is no field {quoted(key)}{hint}", at_key=True)
            elif field.key in found:
                self.error("DUPLICATE_KEY", (*path, key), f"the field {quoted(field.key)} is given twice", at_key=True)
            elif value is not None:
                found[field.key] = self._value((*path, key), value, field)
        return found

    def list(self, path: Path, data: Any) -> list[tuple[Path, Any]]:
        """The items of a list, with their paths."""
        if not isinstance(data, list):
            self.error("WRONG_TYPE", path, f"expected a list, not {described(data)}")
            return []
        return [((*path, index), item) for index, item in enumerate(data)]

    def _value(self, path: Path, value: Any, shape: Shape) -> Any:
        if shape.many:
            return [self._one(place, item, shape) for place, item in self.list(path, value)]
        return self._one(path, value, shape)

    def _one(self, path: Path, value: Any, shape: Shape) -> Any:
        if shape.kind is ShapeKind.OBJECT:
            return self.object(path, value, shape, {field.name for field in shape.fields})
        kinds, text = _EXPECTED[shape.kind]
        if not isinstance(value, kinds) or (isinstance(value, bool) and shape.kind is not ShapeKind.FLAG):
            self.error("WRONG_TYPE", path, f"expected {text}, not {described(value)}")
        elif shape.kind is ShapeKind.WORD:
            word = str(value).upper()
            if word not in shape.words:
                self.error("INVALID_VALUE", path, f"expected one of {', '.join(shape.words)}")
            return shape.prefix + word
        return value


def _child(node: Any, step: str | int) -> Any:
    if isinstance(step, int):
        return node[step] if isinstance(node, list) and step < len(node) else None
    return node.get(step) if isinstance(node, dict) else None


def _written_key(node: Any, name: str) -> str:
    """The key by which the author calls a field of the contract."""
    other = camel(name)
    return other if isinstance(node, dict) and name not in node and other in node else name
