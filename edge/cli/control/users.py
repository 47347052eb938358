"""``t1edge control users``."""

from __future__ import annotations

from typing import Any

import click

from edge.cli.common import json_option
from edge.cli.control.common import (
    ControlCommand,
    change_options,
    collect,
    connect,
    etag_option,
    list_options,
    org_option,
    show_list,
    show_object,
    show_task,
    taken_change,
    to_option,
)

_COLUMNS = ("username", "role", "email", "firstName", "lastName", "etag")
_ROLES = (
    "administrator",
    "organization-administrator",
    "technical-administrator",
    "staff",
    "system-administrator",
)


def _role(name: str) -> str:
    return f"ROLE_{name.replace('-', '_').upper()}"


@click.group("users")
def command() -> None:
    """The people of an organization."""


@command.command("create", cls=ControlCommand, epilog="Example:  t1edge control users create maria --role staff ...")
@click.argument("username")
@click.option("--email", required=True, help="Several users may share one.")
@click.option("--first-name", required=True, help="First name.")
@click.option("--last-name", required=True, help="Last name.")
@click.option("--role", required=True, type=click.Choice(_ROLES), help="What they may do.")
@org_option
@change_options
@to_option
@json_option
def create(
    username: str, email: str, first_name: str, last_name: str, role: str, org: str, as_json: bool, **options: Any
) -> None:
    """Add a user; the one-time password of their first login is shown once."""
    change = taken_change(options)
    connection = connect(options)
    user = {"username": username, "email": email, "firstName": first_name, "lastName": last_name, "role": _role(role)}
    with connection.client as client:
        answer = client.call("UserService/CreateUser", {"parent": connection.org(org), "user": user, **change})
    show_task(answer, as_json=as_json, validate_only=change["validateOnly"], secret="oneTimePassword")  # noqa: S106


@command.command("list", cls=ControlCommand, epilog="Example:  t1edge control users list --filter 'role = ROLE_STAFF'")
@org_option
@list_options
@to_option
@json_option
def list_(org: str, as_json: bool, **options: Any) -> None:
    """List users."""
    connection = connect(options)
    with connection.client:
        found = collect(connection, "UserService/ListUsers", "users", options, parent=connection.org(org))
    show_list("users", found, _COLUMNS, as_json=as_json)


@command.command("get", cls=ControlCommand, epilog="Example:  t1edge control users get maria")
@click.argument("username")
@org_option
@to_option
@json_option
def get(username: str, org: str, as_json: bool, **options: Any) -> None:
    """Show one."""
    connection = connect(options)
    with connection.client as client:
        answer = client.call("UserService/GetUser", {"name": f"{connection.org(org)}/users/{username}"})
    show_object(answer["user"], as_json=as_json)


@command.command("update", cls=ControlCommand, epilog="Example:  t1edge control users update maria --role staff")
@click.argument("username")
@click.option("--email", help="The address.")
@click.option("--first-name", help="First name.")
@click.option("--last-name", help="Last name.")
@click.option("--role", type=click.Choice(_ROLES), help="What they may do, from the next call on.")
@org_option
@etag_option
@change_options
@to_option
@json_option
def update(
    username: str,
    email: str | None,
    first_name: str | None,
    last_name: str | None,
    role: str | None,
    org: str,
    etag: str,
    as_json: bool,
    **options: Any,
) -> None:
    """Change a user: only what is given."""
    change = taken_change(options)
    given = {"email": email, "firstName": first_name, "lastName": last_name, "role": _role(role) if role else None}
    fields = {key: value for key, value in given.items() if value is not None}
    if not fields:
        raise click.UsageError("nothing to change was given")
    connection = connect(options)
    with connection.client as client:
        user = {"name": f"{connection.org(org)}/users/{username}", "etag": etag, **fields}
        answer = client.call("UserService/UpdateUser", {"user": user, "updateMask": ",".join(fields), **change})
    show_task(answer, as_json=as_json, validate_only=change["validateOnly"])


@command.command("delete", cls=ControlCommand, epilog="Example:  t1edge control users delete maria")
@click.argument("username")
@org_option
@etag_option
@change_options
@to_option
@json_option
def delete(username: str, org: str, etag: str, as_json: bool, **options: Any) -> None:
    """Delete a user with their sessions and API tokens."""
    change = taken_change(options)
    connection = connect(options)
    with connection.client as client:
        name = f"{connection.org(org)}/users/{username}"
        answer = client.call("UserService/DeleteUser", {"name": name, "etag": etag, **change})
    show_task(answer, as_json=as_json, validate_only=change["validateOnly"])


@command.command("reset", cls=ControlCommand, epilog="Example:  t1edge control users reset maria")
@click.argument("username")
@org_option
@change_options
@to_option
@json_option
def reset(username: str, org: str, as_json: bool, **options: Any) -> None:
    """Give a user a one-time password again: no second factor, no sessions, no API tokens."""
    change = taken_change(options)
    connection = connect(options)
    with connection.client as client:
        name = f"{connection.org(org)}/users/{username}"
        answer = client.call("UserService/ResetUserCredentials", {"name": name, **change})
    show_task(answer, as_json=as_json, validate_only=change["validateOnly"], secret="oneTimePassword")  # noqa: S106
