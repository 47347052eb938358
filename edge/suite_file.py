"""Rule-set test files (``*.edgetest.yaml``): from text to tests, every problem with its line and column.

A file names an edge file, relative to itself, and lists independent tests; a test is a list of steps.  What each key
means is said in ``docs/cli.md``; running the tests is the work of :mod:`edge.suite`.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Protocol

import yaml

from edge.errors import PacketSyntaxError, Problem, SuiteError
from edge.packets import parse_packet
from edge.packets.text import MAX_WAIT_S, parse_seconds
from edge.patterns import PacketPattern
from edge.verdicts import Reason, Verdict

SUFFIX = ".edgetest.yaml"
"""Directories are searched for files whose names end so."""

NONE = "none"
"""``output: none``, ``natRule: none``, ``firewallRule: none``: nothing left, no such rule took part."""

_MAX_DEPTH = 20
"""A test file needs six levels."""

_SHORT_WORD = 3
_ALIKE = 0.75
"""How much of two words must agree (difflib's ratio) for one to be taken for the other: in-web and out-web do not."""


class StepKind(StrEnum):
    """What a step does."""

    SEND = "send"
    REPLY = "reply"
    WAIT = "wait"


@dataclass(frozen=True, slots=True)
class Expectation:
    """What should become of one packet; None is a thing that the test does not speak of.

    ``outputs`` are patterns of what leaves, in order, () for nothing at all.  ``nat_rules`` is a name that must be
    among the NAT rules hit, or a tuple: exactly these, in order.
    """

    verdict: str | None = None
    reason: str | None = None
    firewall_rule: str | None = None
    nat_rules: str | tuple[str, ...] | None = None
    outputs: tuple[str, ...] | None = None
    port: str | None = None


@dataclass(frozen=True, slots=True)
class TestStep:
    """One step.  ``text`` is the packet to send, or what the reply consists of ('' for a plain answer); ``seconds`` is
    what a wait lasts.  Several ``expectations`` speak of the passes of a packet that hairpins, in order."""

    __test__ = False  # a name that pytest would take for a test class

    kind: StepKind
    line: int
    text: str = ""
    seconds: float = 0.0
    expectations: tuple[Expectation, ...] = ()


@dataclass(frozen=True, slots=True)
class EdgeTest:
    """One test: a name, where it stands, its steps."""

    name: str
    line: int
    steps: tuple[TestStep, ...]


@dataclass(frozen=True, slots=True)
class TestFile:
    """One file: ``edge`` is the path of the edge file, ``edge_place`` the line and column where it is named."""

    __test__ = False

    path: Path
    edge: Path
    edge_place: tuple[int, int]
    tests: tuple[EdgeTest, ...]


def read_test_file(path: Path) -> TestFile:
    """Read one file.  Raises SuiteError with every problem found, and with one problem when it cannot be read."""
    reader = _Reader(str(path))
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise SuiteError([Problem("UNREADABLE", "", f"cannot be read: {error.strerror}", file=str(path))]) from error
    except UnicodeDecodeError as error:
        message = f"is not UTF-8 at byte {error.start}"
        raise SuiteError([Problem("SYNTAX", "", message, file=str(path))]) from error
    root = reader.compose(text)
    result = reader.file(path, root) if root is not None else None
    if result is None or reader.problems:
        raise SuiteError(sorted(reader.problems, key=lambda problem: (problem.line or 0, problem.column or 0)))
    return result


class _Reader:
    """Walks the YAML nodes of one file and collects problems instead of stopping at the first."""

    def __init__(self, file: str) -> None:
        self.file_name = file
        self.problems: list[Problem] = []

    def compose(self, text: str) -> yaml.Node | None:
        """The root node, None (and a problem) when the text is not one YAML document."""
        loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
        try:
            depth = 0
            for event in yaml.parse(text, Loader=loader):
                depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
                if depth > _MAX_DEPTH:
                    # The composer of libyaml recurses on the C stack, without a limit of its own.
                    place = _mark_place(event.start_mark)
                    self._add("SYNTAX", place, "", f"nested more than {_MAX_DEPTH} deep")
                    return None
            root: yaml.Node | None = yaml.compose(text, Loader=loader)
        except yaml.MarkedYAMLError as error:
            place = _mark_place(error.problem_mark)
            self._add("SYNTAX", place, "", f"not YAML: {error.problem or error.context}")
            return None
        except yaml.YAMLError as error:
            self._add("SYNTAX", (1, 1), "", f"not YAML: {str(error).splitlines()[0]}")
            return None
        if root is None:
            self._add("MISSING_FIELD", (1, 1), "", "the file is empty; expected edge and tests")
        return root

    def file(self, path: Path, root: yaml.Node) -> TestFile | None:
        """The whole file; None when it lacks what it is made of."""
        fields = self._mapping(root, "", required=("edge", "tests"))
        if "edge" not in fields or "tests" not in fields:
            return None
        edge = self._text(fields["edge"], "edge")
        tests = tuple(
            self._test(node, f"tests[{number}]") for number, node in enumerate(self._items(fields["tests"], "tests"))
        )
        if not tests and not self.problems:
            self._add("MISSING_FIELD", _place(fields["tests"]), "tests", "the list is empty; expected a test")
        names: dict[str, int] = {}
        for number, test in enumerate(tests):
            if test.name in names:
                message = f"the test of line {names[test.name]} is called {test.name!r} too"
                self._add("DUPLICATE_NAME", (test.line, 1), f"tests[{number}].name", message)
            names.setdefault(test.name, test.line)
        return TestFile(path, path.parent / edge, _place(fields["edge"]), tests)

    def _test(self, node: yaml.Node, path: str) -> EdgeTest:
        fields = self._mapping(node, path, required=("name", "steps"))
        name = self._text(fields["name"], f"{path}.name") if "name" in fields else ""
        steps: tuple[TestStep, ...] = ()
        if "steps" in fields:
            items = self._items(fields["steps"], f"{path}.steps")
            steps = tuple(self._step(item, f"{path}.steps[{number}]") for number, item in enumerate(items))
        return EdgeTest(name, _place(node)[0], steps)

    def _step(self, node: yaml.Node, path: str) -> TestStep:
        fields = self._mapping(node, path, optional=("send", "reply", "wait", "expect"))
        kinds = [kind for kind in StepKind if kind in fields]
        line = _place(node)[0]
        if len(kinds) != 1:
            if isinstance(node, yaml.MappingNode):
                got = " and ".join(kinds) or "none"
                self._add("MISSING_FIELD", _place(node), path, f"expected one of send, reply, wait; got {got}")
            return TestStep(StepKind.WAIT, line)
        kind = kinds[0]
        value, value_path = fields[kind], f"{path}.{kind}"
        expectations = self._expectations(fields["expect"], f"{path}.expect") if "expect" in fields else ()
        if kind is StepKind.WAIT:
            if "expect" in fields:
                self._add("UNKNOWN_FIELD", _place(fields["expect"]), f"{path}.expect", "a wait has no result to expect")
            return TestStep(kind, line, seconds=self._seconds(value, value_path))
        if kind is StepKind.REPLY and _tag(value) == "bool":
            if str(value.value).lower() not in ("true", "yes", "on"):
                self._add("INVALID_VALUE", _place(value), value_path, "expected true, or the flags of a TCP answer")
            return TestStep(kind, line, expectations=expectations)
        text = self._packet(value, value_path) if kind is StepKind.SEND else self._text(value, value_path)
        return TestStep(kind, line, text, expectations=expectations)

    def _packet(self, node: yaml.Node, path: str) -> str:
        text = self._text(node, path)
        try:
            if text:
                parse_packet(text)
        except PacketSyntaxError as error:
            line, column = _place(node)
            if isinstance(node, yaml.ScalarNode) and not node.style:
                column += error.position  # written plainly: the word itself can be pointed at
            self._add("INVALID_VALUE", (line, column), path, str(error).split("\n", 1)[0])
        return text

    def _expectations(self, node: yaml.Node, path: str) -> tuple[Expectation, ...]:
        if isinstance(node, yaml.SequenceNode):
            return tuple(self._expectation(item, f"{path}[{number}]") for number, item in enumerate(node.value))
        return (self._expectation(node, path),)

    def _expectation(self, node: yaml.Node, path: str) -> Expectation:
        keys = ("verdict", "reason", "firewallRule", "natRule", "output", "port")
        fields = self._mapping(node, path, optional=keys)
        if isinstance(node, yaml.MappingNode) and not node.value:
            self._add("MISSING_FIELD", _place(node), path, f"expected something: {', '.join(keys)}")
        names = {key: self._text(fields[key], f"{path}.{key}") for key in ("firewallRule", "port") if key in fields}
        return Expectation(
            verdict=self._choice(fields.get("verdict"), f"{path}.verdict", Verdict.__members__),
            reason=self._choice(fields.get("reason"), f"{path}.reason", Reason.__members__),
            firewall_rule=names.get("firewallRule"),
            nat_rules=self._nat_rules(fields["natRule"], f"{path}.natRule") if "natRule" in fields else None,
            outputs=self._outputs(fields["output"], f"{path}.output") if "output" in fields else None,
            port=names.get("port"),
        )

    def _nat_rules(self, node: yaml.Node, path: str) -> str | tuple[str, ...]:
        if isinstance(node, yaml.SequenceNode):
            return tuple(self._text(item, f"{path}[{number}]") for number, item in enumerate(node.value))
        name = self._text(node, path)
        return () if name == NONE else name

    def _outputs(self, node: yaml.Node, path: str) -> tuple[str, ...]:
        if not isinstance(node, yaml.SequenceNode) and self._text(node, path) == NONE:
            return ()
        items = node.value if isinstance(node, yaml.SequenceNode) else [node]
        patterns = []
        for item in items:
            text = self._text(item, path)
            try:
                PacketPattern.parse(text)
            except ValueError as error:
                if text:
                    self._add("INVALID_VALUE", _place(item), path, str(error))
            patterns.append(text)
        return tuple(patterns)

    def _seconds(self, node: yaml.Node, path: str) -> float:
        text = self._text(node, path)
        seconds = parse_seconds(text)
        if seconds is None and text:
            message = f"{text!r} is not a number of seconds from 0 to {MAX_WAIT_S}"
            self._add("INVALID_VALUE", _place(node), path, message)
        return seconds or 0.0

    def _choice(self, node: yaml.Node | None, path: str, known: Iterable[str]) -> str | None:
        if node is None:
            return None
        text = self._text(node, path)
        if text and text not in known:
            kind = path.rpartition(".")[2]
            self._add("INVALID_VALUE", _place(node), path, f"{text!r} is not a {kind}{_hint(text, known)}")
        return text

    def _text(self, node: yaml.Node, path: str) -> str:
        """The text of a scalar as it was written, so that a port may be named 10; '' and a problem otherwise."""
        if not isinstance(node, yaml.ScalarNode) or _tag(node) == "null" or not node.value.strip():
            self._add("WRONG_TYPE", _place(node), path, f"expected text, got {_describe(node)}")
            return ""
        return str(node.value).strip()

    def _items(self, node: yaml.Node, path: str) -> list[yaml.Node]:
        if isinstance(node, yaml.SequenceNode):
            return list(node.value)
        self._add("WRONG_TYPE", _place(node), path, f"expected a list, got {_describe(node)}")
        return []

    def _mapping(
        self, node: yaml.Node, path: str, required: tuple[str, ...] = (), optional: tuple[str, ...] = ()
    ) -> dict[str, yaml.Node]:
        """Known keys with their nodes.  An unknown, repeated or missing key is a problem of its own."""
        if not isinstance(node, yaml.MappingNode):
            names = ", ".join((*required, *optional))
            self._add("WRONG_TYPE", _place(node), path, f"expected the keys {names}; got {_describe(node)}")
            return {}
        known = (*required, *optional)
        fields: dict[str, yaml.Node] = {}
        for key_node, value in node.value:
            key = str(key_node.value) if isinstance(key_node, yaml.ScalarNode) else _describe(key_node)
            key_path = f"{path}.{key}" if path else key
            if key not in known:
                self._add("UNKNOWN_FIELD", _place(key_node), key_path, f"{key!r} is not known here{_hint(key, known)}")
            elif key in fields:
                self._add("DUPLICATE_KEY", _place(key_node), key_path, f"{key!r} is given twice")
            else:
                fields[key] = value
        for key in required:
            if key not in fields:
                self._add("MISSING_FIELD", _place(node), path, f"{key!r} is missing")
        return fields

    def _add(self, code: str, place: tuple[int, int], path: str, message: str) -> None:
        self.problems.append(Problem(code, path, message, file=self.file_name, line=place[0], column=place[1]))


def _place(node: yaml.Node) -> tuple[int, int]:
    return _mark_place(node.start_mark)


class _Mark(Protocol):
    """What libyaml and PyYAML both know of a place."""

    @property
    def line(self) -> int: ...

    @property
    def column(self) -> int: ...


def _mark_place(mark: _Mark | None) -> tuple[int, int]:
    """Line and column from 1; the top of the file where the parser has no mark to give."""
    return (mark.line + 1, mark.column + 1) if mark else (1, 1)


def _tag(node: yaml.Node) -> str:
    return str(node.tag).rpartition(":")[2]


def _describe(node: yaml.Node) -> str:
    if isinstance(node, yaml.MappingNode):
        return "a mapping"
    if isinstance(node, yaml.SequenceNode):
        return "a list"
    return "nothing" if _tag(node) == "null" or not node.value.strip() else repr(node.value)


def nearest(text: str, known: Iterable[str]) -> str | None:
    """The known word that ``text`` is a slip of the pen for, None where it is just another word.

    Upper and lower case are no difference.  Of three letters none may be wrong: WAN is no LAN misspelt.
    """
    words = {word.lower(): word for word in known}
    wanted = text.lower()
    if len(wanted) <= _SHORT_WORD:
        return words.get(wanted)
    near = difflib.get_close_matches(wanted, words, n=1, cutoff=_ALIKE)
    return words[near[0]] if near else None


def _hint(text: str, known: Iterable[str]) -> str:
    """``; did you mean X?``, or every known word where none is near."""
    near = nearest(text, known)
    return f"; did you mean {near}?" if near else f"; expected {', '.join(known)}"
