"""``t1edge bench compare``."""

from __future__ import annotations

import click

from edge.cli.common import EdgeCommand, ExitCode, json_option, message, write_json
from edge.cli.tables import Cell, print_table


@click.command("compare", cls=EdgeCommand, epilog="Example:  t1edge bench compare before.json after.json")
@click.argument("first", metavar="RESULT1", type=click.Path())
@click.argument("second", metavar="RESULT2", type=click.Path())
@json_option
def command(first: str, second: str, as_json: bool) -> None:
    """Tell which cases are faster or slower in RESULT2 than in RESULT1, both written by t1edge bench --json.

    The ratio of the medians has a bootstrap interval of 95 %; where that holds 1, no difference can be told from the
    noise of the trials. Exits 1 when a case is slower.
    """
    from edge.bench.compare import Found, compare, differences_of_machine, load_result

    results = load_result(first), load_result(second)
    found = compare(*results)
    notes = differences_of_machine(*results)
    if as_json:
        write_json({"cases": [case.to_json() for case in found], "environmentDiffers": notes})
    else:
        for note in notes:
            message(f"not the same: {note}")
        rows: list[tuple[Cell, ...]] = []
        for case in found:
            ratio, interval = "", ""
            if case.ratio is not None:
                ratio, interval = f"{case.ratio[0]:.3f}", f"{case.ratio[1]:.3f}-{case.ratio[2]:.3f}"
            medians = _shown(case.first), _shown(case.second)
            rows.append((case.name, *medians, case.unit, ratio, interval, case.found.value))
        columns = ("case", "first", "second", "unit", "speed", "interval of 95 %", "result")
        print_table("The second as many times as fast as the first", columns, rows)
    if any(case.found is Found.SLOWER for case in found):
        raise click.exceptions.Exit(ExitCode.DIFFERENT)


def _shown(value: float | None) -> str:
    return "" if value is None else f"{value:,.0f}" if value >= 1000 else f"{value:.4g}"
