"""The pytest plugin: collects ``*.edgetest.yaml``, one item per test, failures in the words of ``t1edge test``.

It is installed with the package and does nothing where there are no such files.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from edge.printable import printable

if TYPE_CHECKING:
    from edge.suite import StepFailure, Suite
    from edge.suite_file import EdgeTest

_SUFFIX = ".edgetest.yaml"  # edge.suite_file.SUFFIX; imported only once there is such a file


def pytest_addoption(parser: pytest.Parser) -> None:
    """Adds ``--edge-allow-unsupported``."""
    parser.getgroup("t1edge").addoption(
        "--edge-allow-unsupported",
        action="store_true",
        help="for *.edgetest.yaml: turn what the edge files have and is not emulated into warnings",
    )


def pytest_collect_file(file_path: Path, parent: pytest.Collector) -> pytest.Collector | None:
    """Takes test files of rule sets, leaves everything else to others."""
    if file_path.name.endswith(_SUFFIX):
        return EdgeTestFile.from_parent(parent, path=file_path)
    return None


class EdgeTestFile(pytest.File):
    """One ``*.edgetest.yaml``."""

    def collect(self) -> Iterable[EdgeTestItem]:
        """One item per test.  Raises CollectError with every problem when the file or its edge cannot be used."""
        from edge.errors import DocumentError, SuiteError
        from edge.suite import load_suite

        try:
            suite = load_suite(self.path, allow_unsupported=bool(self.config.getoption("--edge-allow-unsupported")))
        except (SuiteError, DocumentError) as error:
            raise self.CollectError(printable(str(error), lines=True)) from error
        for warning in suite.warnings:
            self.warn(pytest.PytestCollectionWarning(printable(str(warning))))
        for test in suite.file.tests:
            yield EdgeTestItem.from_parent(self, name=printable(test.name), suite=suite, test=test)


class RuleSetFailure(Exception):  # noqa: N818 - not an error of the program: the test it carries has failed
    """A rule-set test failed."""

    def __init__(self, failure: StepFailure) -> None:
        super().__init__(failure)
        self.failure = failure


class EdgeTestItem(pytest.Item):
    """One test of a file."""

    def __init__(self, *, suite: Suite, test: EdgeTest, **kwargs: object) -> None:
        super().__init__(**kwargs)  # type: ignore[arg-type]
        self._suite = suite
        self._test = test

    def runtest(self) -> None:
        """Runs the test on an edge of its own."""
        from edge.suite import run_test

        failure = run_test(self._suite, self._test).failure
        if failure is not None:
            raise RuleSetFailure(failure)

    def repr_failure(self, excinfo: pytest.ExceptionInfo[BaseException], *args: object, **kwargs: object) -> str:
        """The failure as ``t1edge test`` prints it; a bug keeps its traceback."""
        if isinstance(excinfo.value, RuleSetFailure):
            return printable(excinfo.value.failure.text(), lines=True)
        return str(super().repr_failure(excinfo, *args, **kwargs))  # type: ignore[arg-type]

    def reportinfo(self) -> tuple[Path, int, str]:
        """File, line (from 0) and the headline of a failure."""
        return self.path, self._test.line - 1, self.name
