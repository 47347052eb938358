"""``t1edge control stop-machines``."""

from __future__ import annotations

import click

from edge.cli.common import plural, write_result
from edge.cli.control.serve import ServeCommand


@click.command(
    "stop-machines", cls=ServeCommand, epilog="Example:  t1edge control stop-machines --data /var/lib/t1edge/control"
)
@click.option(
    "--data", metavar="DIR", required=True, type=click.Path(exists=True, file_okay=False),
    help="The directory of a control plane that does not run.",
)  # fmt: skip
def command(data: str) -> None:
    """End the machines in namespaces that a control plane has left running, and their networks.

    Needs root. Files and the store stay: serve --machines netns powers on again what was on.
    """
    from pathlib import Path

    from control.machines.netns.driver import stop_all

    write_result(f"{plural(stop_all(Path(data)), 'machine')} ended")
