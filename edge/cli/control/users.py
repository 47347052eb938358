"""``t1edge control users``."""

from __future__ import annotations

from typing import Any

import click

from edge.cli.common import json_option
from edge.cli.control.common import (
    ControlCommand,
    add_list,
    change_options,
    connect,
    etag_option,
    org_option,
    run_order,
    show_object,
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
    user = {"username": username, "email": email, "firstName": first_name, "lastName": last_name, "role": _role(role)}
    run_order(
        options,
        "UserService/CreateUser",
        lambda connection: {"parent": connection.org(org), "user": user},
        as_json=as_json,
        secret="oneTimePassword",  # noqa: S106 - the name of a field
    )


add_list(
    command, "UserService/ListUsers", "users", _COLUMNS, text="List users.", example="--filter 'role = ROLE_STAFF'"
)


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
    given = {"email": email, "firstName": first_name, "lastName": last_name, "role": _role(role) if role else None}
    fields = {key: value for key, value in given.items() if value is not None}
    if not fields:
        raise click.UsageError("nothing to change was given")
    run_order(
        options,
        "UserService/UpdateUser",
        lambda connection: {
            "user": {"name": f"{connection.org(org)}/users/{username}", "etag": etag, **fields},
            "updateMask": ",".join(fields),
        },
        as_json=as_json,
    )


@command.command("delete", cls=ControlCommand, epilog="Example:  t1edge control users delete maria")
@click.argument("username")
@org_option
@etag_option
@change_options
@to_option
@json_option
def delete(username: str, org: str, etag: str, as_json: bool, **options: Any) -> None:
    """Delete a user with their sessions and API tokens."""
    run_order(
        options,
        "UserService/DeleteUser",
        lambda connection: {"name": f"{connection.org(org)}/users/{username}", "etag": etag},
        as_json=as_json,
    )


@command.command("reset", cls=ControlCommand, epilog="Example:  t1edge control users reset maria")
@click.argument("username")
@org_option
@change_options
@to_option
@json_option
def reset(username: str, org: str, as_json: bool, **options: Any) -> None:
    """Give a user a one-time password again: no second factor, no sessions, no API tokens."""
    run_order(
        options,
        "UserService/ResetUserCredentials",
        lambda connection: {"name": f"{connection.org(org)}/users/{username}"},
        as_json=as_json,
        secret="oneTimePassword",  # noqa: S106 - the name of a field
    )
