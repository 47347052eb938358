"""``t1edge test``."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import click

from edge.cli.common import (
    EdgeCommand,
    ExitCode,
    allow_unsupported_option,
    coloured,
    json_option,
    message,
    paint,
    plural,
    refuse_overwriting,
    write_json,
    write_result,
)
from edge.printable import printable

if TYPE_CHECKING:
    from edge.suite import Suite, TestResult


@click.command("test", cls=EdgeCommand, epilog="Example:  t1edge test --junit report.xml acme.edgetest.yaml tests/")
@click.argument("paths", metavar="PATH...", nargs=-1, required=True, type=click.Path())
@click.option("--junit", metavar="FILE", type=click.Path(dir_okay=False), help="Write a JUnit XML report to FILE.")
@allow_unsupported_option
@json_option
def command(paths: tuple[str, ...], junit: str | None, allow_unsupported: bool, as_json: bool) -> None:
    """Run the rule-set tests of each PATH: a test file, or a directory that is searched for *.edgetest.yaml.

    Exits 1 when a test fails, and 2 when a file cannot be used; the tests of the other files are run all the same.
    """
    from edge.suite import find_test_files, load_suites

    files = find_test_files(paths)
    suites, problems = load_suites(files, allow_unsupported=allow_unsupported)
    if junit is not None:
        inputs = [("a test file", str(file)) for file in files]
        inputs += [("the edge file of a test", str(suite.file.edge)) for suite in suites]
        refuse_overwriting("--junit", junit, inputs)
    for problem in dict.fromkeys(warning for suite in suites for warning in suite.warnings):
        message(printable(str(problem)))
    if not as_json:
        for problem in problems:
            message(printable(str(problem)))
    results = list(_progress(suites))
    failed = sum(result.failure is not None for result in results)
    if junit is not None:
        from edge.cli.junit import write_junit

        write_junit(junit, results, problems)
    if as_json:
        write_json(
            {
                "passed": len(results) - failed,
                "failed": failed,
                "tests": [result.to_json() for result in results],
                "problems": [problem.to_json() for problem in problems],
            }
        )
    else:
        write_result("\n".join(_report(results)))
    if problems:
        raise click.exceptions.Exit(ExitCode.USAGE)
    if failed:
        raise click.exceptions.Exit(ExitCode.DIFFERENT)


def _progress(suites: Sequence[Suite]) -> Iterator[TestResult]:
    """The results as they come, with a bar on stderr while somebody watches."""
    from edge.suite import run_suite

    if not coloured(sys.stderr):
        for suite in suites:
            yield from run_suite(suite)
        return
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("tests", total=sum(len(suite.file.tests) for suite in suites))
        for suite in suites:
            for result in run_suite(suite):
                bar.advance(task)
                yield result


def _report(results: Sequence[TestResult]) -> Iterator[str]:
    file = None
    for result in results:
        if result.file.path != file:
            file = result.file.path
            yield printable(str(file))
        if result.failure is None:
            yield f"  {paint('ok', 'green')}    {printable(result.test.name)}"
        else:
            yield f"  {paint('FAIL', 'red')}  {printable(result.test.name)}"
            yield from (f"        {line}".rstrip() for line in result.failure.text().splitlines())
    failed = sum(result.failure is not None for result in results)
    yield f"{plural(len(results), 'test')}: {len(results) - failed} passed, {failed} failed"
