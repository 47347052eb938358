"""``t1edge edge confirm``."""

from __future__ import annotations

from typing import Any

import click

from edge.cli.common import json_option, write_json, write_result
from edge.cli.remote import RemoteCommand, connect, to_option


@click.command("confirm", cls=RemoteCommand, epilog="Example:  t1edge edge confirm")
@click.option("--etag", default="", help="Only this change (default: whichever waits).")
@to_option
@json_option
def command(etag: str, as_json: bool, **options: Any) -> None:
    """Keep a change that was made with --confirm-within."""
    with connect(options) as client:
        revision = client.confirm(etag or client.config()[0].etag)
    if as_json:
        write_json({"revision": revision.to_json()})
    else:
        write_result(f"revision {revision.number} stays")
