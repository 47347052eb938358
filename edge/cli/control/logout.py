"""``t1edge control logout``."""

from __future__ import annotations

from typing import Any

import click

from edge.cli.common import json_option, write_json, write_result
from edge.cli.control import session
from edge.cli.control.common import ControlCommand, connect_as_kept, to_option


@click.command("logout", cls=ControlCommand, epilog="Example:  t1edge control logout")
@to_option
@json_option
def command(as_json: bool, **options: Any) -> None:
    """End the session, here and there."""
    from edge.api.client import CallError

    connection = connect_as_kept(options)  # also beside an API token, which is no session
    with connection.client as client:
        try:
            client.call("SessionService/Logout", {})
        except CallError as error:
            if error.code != "UNAUTHENTICATED":  # it had ended by itself
                raise
    session.forget()
    if as_json:
        write_json({})
    else:
        write_result("logged out")
