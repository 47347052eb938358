"""``t1edge edge apply``."""

from __future__ import annotations

from typing import Any

import click

from edge.cli.common import allow_unsupported_option, edge_argument, json_option
from edge.cli.remote import (
    RemoteCommand,
    change_options,
    conditions_of,
    connect,
    placed_in,
    to_option,
    write_applied,
)


@click.command("apply", cls=RemoteCommand, epilog="Example:  t1edge edge apply acme.yaml --confirm-within 60")
@edge_argument()
@change_options
@allow_unsupported_option
@to_option
@json_option
def command(edge: str, allow_unsupported: bool, as_json: bool, **options: Any) -> None:
    """Make the edge file EDGE the configuration of a running edge.

    All of it holds when the command returns, stored durably, or none of it. Lists what changed.
    """
    from edge.document import read_text

    conditions, text = conditions_of(options), read_text(edge)
    with connect(options) as client, placed_in(edge, text, allow_unsupported):
        applied = client.apply(text, conditions, allow_unsupported=allow_unsupported, file=edge)
    write_applied(applied, validate_only=conditions.validate_only, as_json=as_json)
