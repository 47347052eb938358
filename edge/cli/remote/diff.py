"""``t1edge edge diff``."""

from __future__ import annotations

from typing import Any

import click

from edge.cli.common import (
    ExitCode,
    allow_unsupported_option,
    edge_argument,
    json_option,
    write_json,
    write_result,
)
from edge.cli.remote import RemoteCommand, connect, placed_in, to_option, warn


@click.command("diff", cls=RemoteCommand, epilog="Example:  t1edge edge diff acme.yaml")
@edge_argument()
@allow_unsupported_option
@to_option
@json_option
def command(edge: str, allow_unsupported: bool, as_json: bool, **options: Any) -> None:
    """Tell what would change on a running edge if the edge file EDGE were applied.

    Exits 1 when there is a difference.
    """
    from edge.api.client import Conditions
    from edge.document import read_text

    text = read_text(edge)
    with connect(options) as client, placed_in(edge, text, allow_unsupported):
        found = client.apply(text, Conditions(validate_only=True), allow_unsupported=allow_unsupported, file=edge)
    if as_json:
        write_json({"changes": [change.to_json() for change in found.changes]})
    else:
        warn(found.warnings)
        write_result("\n".join(str(change) for change in found.changes) or "no difference")
    if found.changes:
        raise click.exceptions.Exit(ExitCode.DIFFERENT)
