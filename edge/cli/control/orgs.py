"""``t1edge control orgs``."""

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
    show_list,
    show_object,
    show_task,
    taken_change,
    to_option,
)

_COLUMNS = ("name", "displayName", "createTime", "etag")


@click.group("orgs")
def command() -> None:
    """Organizations, the tenants of the cloud."""


@command.command(
    "create", cls=ControlCommand, epilog="Example:  t1edge control orgs create US1134362 --display-name Acme"
)
@click.argument("account")
@click.option("--display-name", required=True, help="What people call it.")
@change_options
@to_option
@json_option
def create(account: str, display_name: str, as_json: bool, **options: Any) -> None:
    """Make the organization of the cloud account ACCOUNT."""
    change = taken_change(options)
    connection = connect(options)
    with connection.client as client:
        answer = client.call(
            "OrgService/CreateOrg", {"org": {"accountId": account, "displayName": display_name}, **change}
        )
    show_task(answer, as_json=as_json, validate_only=change["validateOnly"])


@command.command("list", cls=ControlCommand, epilog="Example:  t1edge control orgs list")
@list_options
@to_option
@json_option
def list_(as_json: bool, **options: Any) -> None:
    """List the organizations that the caller may see."""
    connection = connect(options)
    with connection.client:
        found = collect(connection, "OrgService/ListOrgs", "orgs", options)
    show_list("orgs", found, _COLUMNS, as_json=as_json)


@command.command("get", cls=ControlCommand, epilog="Example:  t1edge control orgs get US1134362")
@click.argument("account")
@to_option
@json_option
def get(account: str, as_json: bool, **options: Any) -> None:
    """Show one."""
    connection = connect(options)
    with connection.client as client:
        answer = client.call("OrgService/GetOrg", {"name": connection.org(account)})
    show_object(answer["org"], as_json=as_json)


@command.command("update", cls=ControlCommand, epilog="Example:  t1edge control orgs update US1134362 --display-name A")
@click.argument("account")
@click.option("--display-name", required=True, help="What people call it.")
@etag_option
@change_options
@to_option
@json_option
def update(account: str, display_name: str, etag: str, as_json: bool, **options: Any) -> None:
    """Change what is said of one."""
    change = taken_change(options)
    connection = connect(options)
    with connection.client as client:
        org = {"name": connection.org(account), "displayName": display_name, "etag": etag}
        answer = client.call("OrgService/UpdateOrg", {"org": org, **change})
    show_task(answer, as_json=as_json, validate_only=change["validateOnly"])


@command.command("delete", cls=ControlCommand, epilog="Example:  t1edge control orgs delete US1134362")
@click.argument("account")
@etag_option
@change_options
@to_option
@json_option
def delete(account: str, etag: str, as_json: bool, **options: Any) -> None:
    """Delete one that has nothing left."""
    change = taken_change(options)
    connection = connect(options)
    with connection.client as client:
        answer = client.call("OrgService/DeleteOrg", {"name": connection.org(account), "etag": etag, **change})
    show_task(answer, as_json=as_json, validate_only=change["validateOnly"])
