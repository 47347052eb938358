"""Tables for people: drawn by rich on a terminal, aligned columns of plain text everywhere else."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from edge.cli.common import coloured, write_result
from edge.printable import printable

Cell = str | int | float


def print_table(title: str, columns: Sequence[str], rows: Sequence[Sequence[Cell]]) -> None:
    """Print ``rows`` under ``title`` on stdout.  Numbers are aligned to the right, with thousands separated."""
    numeric = [all(not isinstance(row[index], str) for row in rows) for index in range(len(columns))]
    cells = [[printable(cell) if isinstance(cell, str) else f"{cell:,}" for cell in row] for row in rows]
    if coloured(sys.stdout):
        _print_rich(title, columns, cells, numeric)
        return
    widths = [max(len(line[index]) for line in [list(columns), *cells]) for index in range(len(columns))]
    lines = [title]
    for line in [list(columns), *cells]:
        padded = [
            cell.rjust(width) if right else cell.ljust(width)
            for cell, width, right in zip(line, widths, numeric, strict=True)
        ]
        lines.append("  " + "  ".join(padded).rstrip())
    write_result("\n".join(lines) + "\n")


def _print_rich(title: str, columns: Sequence[str], cells: list[list[str]], numeric: list[bool]) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(title=title, title_justify="left", header_style="bold")
    for column, right in zip(columns, numeric, strict=True):
        table.add_column(column, justify="right" if right else "left")
    for line in cells:
        table.add_row(*(Text(cell) for cell in line))  # names of rules may look like markup
    Console(file=sys.stdout).print(table)
