"""The border between edge documents and the model: text, CloudAPI answers and plain data in, EdgeConfig out.

>>> loaded = loads("edgeGateway: {name: T1}")
>>> loaded.config.firewall.rules[-1].name
'default_rule'

A document is read in four steps, each a module: :mod:`~edge.document.text` makes plain data of a text,
:mod:`~edge.document.validate` holds it against :mod:`~edge.document.schema`, and the resolvers
(:mod:`~edge.document.routing`, :mod:`~edge.document.firewall`, :mod:`~edge.document.nat`,
:mod:`~edge.document.options`) look up references and build the model.  Every step collects all problems it finds; the
later ones go on with whatever is well.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path as FilePath
from typing import Any

from edge.collector import collector_paused
from edge.document.problems import Finding, Path, path_text, to_problems, written_path
from edge.document.resolve import Parts, Resolved, resolve
from edge.document.text import Source, TextError, decode, parse
from edge.errors import DocumentError, Problem
from edge.model import EdgeConfig

__all__ = ["LoadedDocument", "from_data", "load", "loads", "read_text"]


@dataclass(frozen=True, slots=True)
class LoadedDocument:
    """A document that can be used.

    ``problems`` are warnings (errors are raised); ``document`` is the plain data as written, not to be changed;
    ``file`` is the name that problems give.
    """

    config: EdgeConfig
    problems: tuple[Problem, ...]
    document: Any = field(repr=False)
    file: str | None = None
    _sections: dict[str, str] = field(default_factory=dict, repr=False)
    _source: Source | None = field(default=None, repr=False)
    _parts: Parts | None = field(default=None, repr=False, compare=False)

    def path(self, section: str, *steps: str | int) -> Path:
        """The author's own path for a canonical one: ``path("natRules", 3)`` may be ``("nat/rules", "values", 3)``."""
        return written_path(self.document, (self._sections.get(section, section), *steps))

    def raw(self, path: Path) -> Any:
        """The plain data at one of the author's own paths, None where there is none."""
        node = self.document
        for step in path:
            if isinstance(step, int):
                node = node[step] if isinstance(node, list) and step < len(node) else None
            else:
                node = node.get(step) if isinstance(node, dict) else None
        return node

    def locate(self, findings: Iterable[Finding]) -> list[Problem]:
        """Findings as problems, each with file, line and column where the document came from a text."""
        return _located(list(findings), self.document, self.file, self._source)

    def changed(self, data: Any, *, allow_unsupported: bool = False) -> LoadedDocument:
        """Read plain data that share with this document all that they have in common: as :func:`from_data`, only
        sooner where a few rules differ.

        Raises DocumentError with every problem found.
        """
        from edge.document.again import many_rules, resolve_again

        may_be_told = path_text(many_rules(self._sections))
        told = all(item.code == "LIMIT_EXCEEDED" and item.path == may_be_told for item in self.problems)
        if self._parts is not None and told and isinstance(data, dict):
            with collector_paused():
                found = resolve_again(self.document, self.config, self._sections, self._parts, data, allow_unsupported)
            if found is not None:
                assert found.config is not None, "it was resolved without an error"
                problems = tuple(_located(found.findings, data, None, None))
                return LoadedDocument(found.config, problems, data, None, found.sections, None, found.parts)
        return from_data(data, allow_unsupported=allow_unsupported)


def load(path: str | os.PathLike[str], *, allow_unsupported: bool = False) -> LoadedDocument:
    """Read an edge document, YAML or JSON, from a file.

    ``allow_unsupported`` turns NOT_EMULATED errors into warnings.  Raises DocumentError with every problem found.
    """
    return loads(read_text(path), file=os.fspath(path), allow_unsupported=allow_unsupported)


def read_text(path: str | os.PathLike[str]) -> str:
    """The text of an edge file.  Raises DocumentError when it cannot be read."""
    file = os.fspath(path)
    try:
        return decode(FilePath(path).read_bytes())
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise DocumentError([Problem("UNREADABLE", "", f"cannot be read: {reason}", file=file)]) from None
    except TextError as error:
        raise DocumentError(to_problems(error.findings, file, error.places)) from None


def loads(text: str, *, file: str | None = None, allow_unsupported: bool = False) -> LoadedDocument:
    """Read an edge document from a text.  ``file`` is the name that problems give; its ending tells JSON from YAML.

    Raises DocumentError with every problem found.
    """
    with collector_paused():
        try:
            source = parse(text, file)
        except TextError as error:
            raise DocumentError(to_problems(error.findings, file, error.places)) from None
        return _finish(resolve(source.data, allow_unsupported), source.data, file, source)


def from_data(data: Any, *, file: str | None = None, allow_unsupported: bool = False) -> LoadedDocument:
    """Read an edge document from plain data, such as a parsed message; problems have no line and no column.

    Raises DocumentError with every problem found.
    """
    with collector_paused():
        return _finish(resolve(data, allow_unsupported), data, file, None)


def _finish(resolved: Resolved, data: Any, file: str | None, source: Source | None) -> LoadedDocument:
    problems = _located(resolved.findings, data, file, source)
    if source and source.duplicates:
        for finding, place in source.duplicates:
            problems += to_problems([finding], file, {(finding.path, finding.at_key): place})
        raise DocumentError(_sorted(problems))
    if resolved.config is None:
        raise DocumentError(problems)
    return LoadedDocument(resolved.config, tuple(problems), data, file, resolved.sections, source, resolved.parts)


def _located(findings: list[Finding], data: Any, file: str | None, source: Source | None) -> list[Problem]:
    """Complete the paths, look up their places, and sort as a reader meets them: by place, then as found."""
    complete = [
        Finding(item.code, written_path(data, item.path), item.message, item.severity, item.at_key) for item in findings
    ]
    places = source.places((item.path, item.at_key) for item in complete) if source and complete else {}
    return _sorted(to_problems(complete, file, places))


def _sorted(problems: list[Problem]) -> list[Problem]:
    return sorted(problems, key=lambda problem: (problem.line or 0, problem.column or 0))
