"""``t1edge edge revisions``."""

from __future__ import annotations

from itertools import islice
from typing import Any

import click

from edge.cli.common import json_option, write_json
from edge.cli.remote import RemoteCommand, connect, to_option
from edge.cli.tables import print_table


@click.command("revisions", cls=RemoteCommand, epilog="Example:  t1edge edge revisions --limit 5")
@click.option("--limit", type=click.IntRange(1), default=20, show_default=True, help="How many.")
@to_option
@json_option
def command(limit: int, as_json: bool, **options: Any) -> None:
    """List the stored revisions of a running edge's configuration, newest first."""
    with connect(options) as client:
        found = list(islice(client.revisions(), limit))
    if as_json:
        write_json({"revisions": [revision.to_json() for revision in found]})
        return
    rows = [
        (
            str(revision.number),
            revision.created,
            f"of {revision.restored_from}" if revision.restored_from else "",
            f"until {revision.confirm_deadline}" if revision.confirm_deadline else "",
            revision.comment,
        )
        for revision in found
    ]
    print_table("revisions", ("number", "since", "restored", "unconfirmed", "comment"), rows)
