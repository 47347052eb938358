"""Rule-set tests: finding the files, running each test on an edge of its own, saying what differed.

:mod:`edge.suite_file` reads the files; ``t1edge test`` and :mod:`edge.pytest_plugin` show the results, in the words of
:meth:`StepFailure.text`.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from edge.errors import DocumentError, EdgeError, Problem, SuiteError
from edge.model import EdgeConfig
from edge.packets import format_frame
from edge.patterns import PacketPattern
from edge.printable import printable
from edge.suite_file import (
    NONE,
    SUFFIX,
    EdgeTest,
    Expectation,
    StepKind,
    TestFile,
    TestStep,
    nearest,
    read_test_file,
)
from edge.trace import Tracer, TraceResult, new_edge, render


@dataclass(frozen=True, slots=True)
class Mismatch:
    """One thing that was not as expected; ``note`` helps, '' where there is nothing to add."""

    field: str
    expected: str
    got: str
    note: str = ""


@dataclass(frozen=True, slots=True)
class StepFailure:
    """The step at which a test failed.  ``number`` counts from 1; ``results`` are the passes of its packet."""

    number: int
    step: TestStep
    mismatches: tuple[Mismatch, ...]
    results: tuple[TraceResult, ...]

    def text(self) -> str:
        """The step, what was expected, what came, and the whole trace of that step, as lines."""
        what = printable(f"{self.step.kind} {self.step.text}".rstrip())
        lines = [f"step {self.number} (line {self.step.line}): {what}"]
        for mismatch in self.mismatches:
            note = f"  ({mismatch.note})" if mismatch.note else ""
            lines.append(f"  {mismatch.field}: expected {printable(mismatch.expected + note)}")
            lines.append(f"  {' ' * len(mismatch.field)}  got      {printable(mismatch.got)}")
        for result in self.results:
            lines.append("")
            lines.extend(f"  {line}" for line in render(result).splitlines())
        return "\n".join(lines)

    def to_json(self) -> dict[str, object]:
        """The object that ``--json`` prints for this failure."""
        return {
            "step": self.number,
            "line": self.step.line,
            "action": self.step.kind.value,
            "packet": self.step.text,
            "mismatches": [
                {"field": item.field, "expected": item.expected, "got": item.got} for item in self.mismatches
            ],
            "packets": [result.to_json() for result in self.results],
        }


@dataclass(frozen=True, slots=True)
class TestResult:
    """What became of one test; ``failure`` is None when it passed."""

    __test__ = False  # a name that pytest would take for a test class

    file: TestFile
    test: EdgeTest
    failure: StepFailure | None
    seconds: float

    @property
    def name(self) -> str:
        """The name of the test."""
        return self.test.name

    def to_json(self) -> dict[str, object]:
        """The object that ``--json`` prints for this test."""
        return {
            "file": str(self.file.path),
            "line": self.test.line,
            "name": self.name,
            "passed": self.failure is None,
            "failure": self.failure.to_json() if self.failure else None,
        }


@dataclass(frozen=True, slots=True)
class Suite:
    """A test file together with the edge that it names."""

    file: TestFile
    config: EdgeConfig
    warnings: tuple[Problem, ...]


def find_test_files(paths: Sequence[str | Path]) -> list[Path]:
    """Files as given, directories searched for ``*.edgetest.yaml``, each file once.

    Raises SuiteError when a path does not exist or a directory holds no test.
    """
    found: dict[Path, None] = {}
    problems: list[Problem] = []
    for given in paths:
        path = Path(given)
        if not str(given):
            problems.append(Problem("UNREADABLE", "", "a path is empty"))
        elif path.is_dir():
            inside = sorted(item for item in path.rglob(f"*{SUFFIX}") if item.is_file())
            if not inside:
                problems.append(Problem("UNREADABLE", "", f"no *{SUFFIX} below this directory", file=str(path)))
            found.update(dict.fromkeys(inside))
        elif path.exists():
            found[path] = None
        else:
            problems.append(Problem("UNREADABLE", "", "no such file or directory", file=str(path)))
    if problems:
        raise SuiteError(problems)
    return list(found)


def load_suite(path: Path, *, allow_unsupported: bool = False) -> Suite:
    """Read a test file and the edge that it names.  Raises SuiteError, or DocumentError for the edge."""
    from edge.document import load

    file = read_test_file(path)
    if not file.edge.is_file():
        line, column = file.edge_place
        message = f"there is no edge file {str(file.edge)!r} (the path is relative to the test file)"
        raise SuiteError([Problem("DANGLING_REFERENCE", "edge", message, file=str(path), line=line, column=column)])
    loaded = load(str(file.edge), allow_unsupported=allow_unsupported)
    return Suite(file, loaded.config, tuple(loaded.problems))


def load_suites(paths: Iterable[Path], *, allow_unsupported: bool = False) -> tuple[list[Suite], list[Problem]]:
    """Every file that can be run, and the problems of those that cannot."""
    suites: list[Suite] = []
    problems: list[Problem] = []
    for path in paths:
        try:
            suites.append(load_suite(path, allow_unsupported=allow_unsupported))
        except (SuiteError, DocumentError) as error:
            problems.extend(error.problems)
    return suites, problems


def run_suite(suite: Suite) -> Iterator[TestResult]:
    """Run the tests of one file, in order; each begins with no sessions and its clock at 0."""
    for test in suite.file.tests:
        yield run_test(suite, test)


def run_test(suite: Suite, test: EdgeTest) -> TestResult:
    """Run one test up to the first step that fails."""
    began = time.perf_counter()
    tracer = Tracer(new_edge(suite.config))
    failure = None
    for number, step in enumerate(test.steps, 1):
        failure = _run_step(suite.config, tracer, number, step)
        if failure:
            break
    return TestResult(suite.file, test, failure, time.perf_counter() - began)


def _run_step(config: EdgeConfig, tracer: Tracer, number: int, step: TestStep) -> StepFailure | None:
    try:
        if step.kind is StepKind.WAIT:
            tracer.wait(step.seconds)
            return None
        results = tracer.send(step.text) if step.kind is StepKind.SEND else tracer.reply(step.text)
    except EdgeError as error:
        wanted = "a time that can pass" if step.kind is StepKind.WAIT else "a packet that can be sent"
        mismatch = Mismatch(step.kind.value, wanted, str(error).split("\n", 1)[0])
        return StepFailure(number, step, (mismatch,), ())
    mismatches = _compare(config, step.expectations, results)
    return StepFailure(number, step, mismatches, tuple(results)) if mismatches else None


def _compare(
    config: EdgeConfig, expectations: tuple[Expectation, ...], results: Sequence[TraceResult]
) -> tuple[Mismatch, ...]:
    """One expectation speaks of what became of the packet in the end; several, of each of its passes in order."""
    if len(expectations) <= 1:
        return tuple(mismatch for expected in expectations for mismatch in _compare_one(config, expected, results[-1]))
    if len(expectations) != len(results):
        return (Mismatch("passes", str(len(expectations)), str(len(results))),)
    return tuple(
        mismatch
        for expected, result in zip(expectations, results, strict=True)
        for mismatch in _compare_one(config, expected, result)
    )


def _compare_one(config: EdgeConfig, expected: Expectation, got: TraceResult) -> Iterator[Mismatch]:
    if expected.verdict not in (None, got.verdict.name):
        yield Mismatch("verdict", str(expected.verdict), got.verdict.name)
    if expected.reason not in (None, got.reason.name):
        yield Mismatch("reason", str(expected.reason), got.reason.name)
    if expected.firewall_rule is not None:
        yield from _compare_firewall_rule(config, expected.firewall_rule, got)
    if expected.nat_rules is not None:
        yield from _compare_nat_rules(config, expected.nat_rules, got)
    if expected.outputs is not None:
        yield from _compare_outputs(expected.outputs, got)
    if expected.port is not None and [expected.port] != [output.port for output in got.outputs]:
        ports = ", ".join(output.port for output in got.outputs) or NONE
        if not (expected.port == NONE and ports == NONE):
            yield Mismatch("port", expected.port, ports, _unknown("port", expected.port, (*config.ports, NONE)))


def _compare_firewall_rule(config: EdgeConfig, expected: str, got: TraceResult) -> Iterator[Mismatch]:
    rule = got.firewall_rule
    if expected in (rule or (NONE,)):
        return
    rules = config.firewall.rules
    note = _unknown("firewall rule", expected, [*(item.name for item in rules), NONE], [item.id for item in rules])
    yield Mismatch("firewallRule", expected, rule[0] if rule else NONE, note)


def _compare_nat_rules(config: EdgeConfig, expected: str | tuple[str, ...], got: TraceResult) -> Iterator[Mismatch]:
    hit = got.nat_rules
    if isinstance(expected, str):
        fits = any(expected in rule for rule in hit)
    else:
        fits = len(hit) == len(expected) and all(name in rule for name, rule in zip(expected, hit, strict=True))
    if fits:
        return
    names, ids = [item.name for item in config.nat.rules], [item.id for item in config.nat.rules]
    wanted = (expected,) if isinstance(expected, str) else expected
    notes = filter(None, (_unknown("NAT rule", name, names, ids) for name in wanted))
    shown = ", ".join(rule[0] for rule in hit) or NONE
    yield Mismatch("natRule", ", ".join(wanted) or NONE, shown, "; ".join(notes))


def _compare_outputs(expected: tuple[str, ...], got: TraceResult) -> Iterator[Mismatch]:
    patterns = [PacketPattern.parse(text) for text in expected]
    shown = [
        format_frame(output.frame, pattern.keys) for output, pattern in zip(got.outputs, patterns, strict=False)
    ] + [output.packet for output in got.outputs[len(patterns) :]]
    fits = len(patterns) == len(shown) and all(
        pattern.accepts(PacketPattern.parse(text)) for pattern, text in zip(patterns, shown, strict=True)
    )
    if not fits:
        yield Mismatch("output", " and ".join(expected) or NONE, " and ".join(shown) or NONE)


def _unknown(kind: str, name: str, known: Sequence[str], ids: Sequence[str] = ()) -> str:
    """A note when the edge has nothing of that name or id, with the name that was perhaps meant."""
    if name in known or name in ids:
        return ""
    near = nearest(name, known)
    return f"this edge has no such {kind}" + (f"; did you mean {near}?" if near else "")
