"""``t1edge edge get``."""

from __future__ import annotations

from typing import Any

import click

from edge.cli.common import write_result
from edge.cli.remote import RemoteCommand, connect, to_option


@click.command("get", cls=RemoteCommand, epilog="Example:  t1edge edge get --revision 3 > before.json")
@click.option("--revision", type=click.IntRange(0), default=0, help="A stored revision (default: the running one).")
@to_option
def command(revision: int, **options: Any) -> None:
    """Print the configuration of a running edge as an edge file in JSON.

    It is complete: defaults are filled in and every object has its id. Secrets are hidden.
    """
    with connect(options) as client:
        _, document = client.config(revision)
    write_result(document)
