"""The rules of skipping: named, and never where the machine declares the capability."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest_plugins = ["pytester"]


@pytest.fixture
def suite(pytester: pytest.Pytester, root: Path, monkeypatch: pytest.MonkeyPatch) -> pytest.Pytester:
    """An empty project with this project's conftest, on a machine without data."""
    pytester.makeconftest((root / "tests" / "conftest.py").read_text(encoding="utf-8"))
    pytester.makeini("[pytest]\nmarkers = needs(*capabilities)\n")
    monkeypatch.setenv("T1EDGE_DATA", str(pytester.path / "nowhere"))
    monkeypatch.delenv("T1EDGE_REQUIRE", raising=False)
    return pytester


def run(suite: pytest.Pytester, body: str) -> pytest.RunResult:
    suite.makepyfile(body)
    return suite.runpytest_subprocess("-p", "no:cacheprovider", "-ra")


NEEDS_DATA = """
import pytest

@pytest.mark.needs("data")
def test_by_marker(): ...

def test_by_fixture(data): ...

def test_by_call(require):
    require("data")
"""


def test_missing_capability_skips_and_is_named(suite: pytest.Pytester) -> None:
    result = run(suite, NEEDS_DATA)
    result.assert_outcomes(skipped=3)
    result.stdout.fnmatch_lines(["SKIPPED*needs data: no public data in */nowhere; T1EDGE_DATA says where it is"])


def test_declared_capability_that_is_missing_fails(suite: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("T1EDGE_REQUIRE", "data")
    result = run(suite, NEEDS_DATA)
    # Skips of the marker and the fixture happen before the test begins, and count as errors of its setup.
    result.assert_outcomes(errors=2, failed=1)
    result.stdout.fnmatch_lines(["T1EDGE_REQUIRE declares data, and yet: *needs data: no public data*"])


def test_present_capability_runs(suite: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    (suite.path / "here" / "classbench").mkdir(parents=True)
    monkeypatch.setenv("T1EDGE_DATA", str(suite.path / "here"))
    monkeypatch.setenv("T1EDGE_REQUIRE", "data")
    run(suite, NEEDS_DATA).assert_outcomes(passed=3)


@pytest.mark.parametrize("statement", ["pytest.skip('too slow today')", "pytest.skip('needs luck: none left')"])
def test_nameless_skip_fails(suite: pytest.Pytester, statement: str) -> None:
    result = run(suite, f"import pytest\n\ndef test_something():\n    {statement}\n")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["a skip names its capability*"])


def test_nameless_skip_of_a_whole_module_fails(suite: pytest.Pytester) -> None:
    result = run(suite, "import pytest\npytest.importorskip('no_such_module')\n")
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["a skip names its capability*no_such_module*"])


def test_unknown_capability_is_refused(suite: pytest.Pytester) -> None:
    result = run(suite, "import pytest\n\n@pytest.mark.needs('luck')\ndef test_something(): ...\n")
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["*unknown capability 'luck'; known are data, *"])


def test_unknown_declaration_is_refused(suite: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("T1EDGE_REQUIRE", "data,luck")
    result = run(suite, "def test_something(): ...\n")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["*T1EDGE_REQUIRE: unknown luck; known are data, *"])
