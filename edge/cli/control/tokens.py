"""``t1edge control tokens``."""

from __future__ import annotations

from typing import Any

import click

from edge.cli.common import json_option, write_json, write_result
from edge.cli.control.common import (
    Connection,
    ControlCommand,
    change_options,
    collect,
    connect,
    list_options,
    show_list,
    taken_change,
    to_option,
)
from edge.printable import printable


def _owner(connection: Connection, user: str) -> str:
    """Whose tokens: ``user`` of the caller's organization, or the caller."""
    if user:
        return f"{connection.org('')}/users/{user}"
    if not connection.user:
        raise click.UsageError("whose tokens is not known: --user names them")
    return connection.user


_user_option = click.option("--user", default="", metavar="USERNAME", help="Whose (default: the caller's).")


@click.group("tokens")
def command() -> None:
    """API tokens, with which programs are their user."""


@command.command("create", cls=ControlCommand, epilog="Example:  t1edge control tokens create pipeline --days 30")
@click.argument("name")
@click.option("--days", type=click.IntRange(1, 366), default=90, show_default=True, help="How long it lives.")
@change_options
@to_option
@json_option
def create(name: str, days: int, as_json: bool, **options: Any) -> None:
    """Make one; its secret is shown once, and belongs into T1EDGE_TOKEN."""
    from datetime import UTC, datetime, timedelta

    change = taken_change(options)
    connection = connect(options)
    # A minute less: this machine's clock is not the server's.
    end = datetime.now(UTC) + timedelta(days=days) - timedelta(minutes=1)
    token = {"displayName": name, "expireTime": end.isoformat().replace("+00:00", "Z")}
    with connection.client as client:
        request = {"parent": _owner(connection, ""), "apiToken": token, **change}
        answer = client.call("ApiTokenService/CreateApiToken", request)
    if as_json:
        write_json(answer)
    elif change["validateOnly"]:
        write_result(printable(f"{name}: could be made"))
    else:
        write_result(printable(answer["secret"]))


@command.command("list", cls=ControlCommand, epilog="Example:  t1edge control tokens list")
@_user_option
@list_options
@to_option
@json_option
def list_(user: str, as_json: bool, **options: Any) -> None:
    """List them, without their secrets."""
    connection = connect(options)
    with connection.client:
        parent = _owner(connection, user)
        found = collect(connection, "ApiTokenService/ListApiTokens", "apiTokens", options, parent=parent)
    show_list("apiTokens", found, ("displayName", "createTime", "expireTime", "name"), as_json=as_json)


@command.command("delete", cls=ControlCommand, epilog="Example:  t1edge control tokens delete pipeline")
@click.argument("name")
@_user_option
@change_options
@to_option
@json_option
def delete(name: str, user: str, as_json: bool, **options: Any) -> None:
    """End the token of that display name at once."""
    change = taken_change(options)
    connection = connect(options)
    with connection.client as client:
        every = client.pages("ApiTokenService/ListApiTokens", {"parent": _owner(connection, user)}, "apiTokens")
        found = next((token["name"] for token in every if token["displayName"] == name), None)
        if found is None:
            raise click.UsageError(f"there is no API token {name!r}")
        answer = client.call("ApiTokenService/DeleteApiToken", {"name": found, **change})
    if as_json:
        write_json(answer)
    else:
        write_result(printable(f"{name}: could be ended" if change["validateOnly"] else f"{name}: ended"))
