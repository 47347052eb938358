"""``t1edge check``."""

from __future__ import annotations

import click

from edge.cli.common import (
    EdgeCommand,
    ExitCode,
    allow_unsupported_option,
    edge_argument,
    json_option,
    message,
    plural,
    write_json,
    write_result,
)
from edge.printable import printable


@click.command("check", cls=EdgeCommand, epilog="Example:  t1edge check --strict acme.yaml")
@edge_argument()
@click.option("--strict", is_flag=True, help="Exit 1 when there are warnings.")
@allow_unsupported_option
@json_option
def command(edge: str, strict: bool, allow_unsupported: bool, as_json: bool) -> None:
    """Validate the edge file EDGE.

    Errors are listed in one go and exit 2.  What is legal but dangerous (shadowed rules, ports that NAT ignores, ties
    of priority, addresses that the edge does not own ...) is listed as warnings and exits 0, or 1 with --strict.
    """
    from edge.checks import check
    from edge.document import load

    loaded = load(edge, allow_unsupported=allow_unsupported)
    problems = [*loaded.problems, *check(loaded.config, loaded)]
    if as_json:
        write_json({"problems": [problem.to_json() for problem in problems]})
    else:
        for problem in problems:
            message(printable(str(problem)))
        write_result(f"{printable(edge)}: valid, {plural(len(problems), 'warning')}")
    if strict and problems:
        raise click.exceptions.Exit(ExitCode.DIFFERENT)
