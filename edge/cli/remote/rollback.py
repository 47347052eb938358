"""``t1edge edge rollback``."""

from __future__ import annotations

from typing import Any

import click

from edge.cli.common import json_option
from edge.cli.remote import RemoteCommand, change_options, conditions_of, connect, to_option, write_applied


@click.command("rollback", cls=RemoteCommand, epilog="Example:  t1edge edge rollback 3 --comment 'web was down'")
@click.argument("revision", metavar="[REVISION]", type=click.IntRange(0), default=0)
@change_options
@to_option
@json_option
def command(revision: int, as_json: bool, **options: Any) -> None:
    """Make an earlier REVISION the configuration again, as a new revision; default: the one before."""
    conditions = conditions_of(options)
    with connect(options) as client:
        applied = client.rollback(revision, conditions)
    write_applied(applied, validate_only=conditions.validate_only, as_json=as_json)
