"""``t1edge control orgs``."""

from __future__ import annotations

from typing import Any

import click

from edge.cli.common import json_option
from edge.cli.control.common import (
    ControlCommand,
    change_options,
    connect,
    etag_option,
    list_options,
    run_list,
    run_order,
    show_object,
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
    run_order(
        options,
        "OrgService/CreateOrg",
        lambda _: {"org": {"accountId": account, "displayName": display_name}},
        as_json=as_json,
    )


@command.command("list", cls=ControlCommand, epilog="Example:  t1edge control orgs list")
@list_options
@to_option
@json_option
def list_(as_json: bool, **options: Any) -> None:
    """List the organizations that the caller may see."""
    run_list(options, "OrgService/ListOrgs", "orgs", _COLUMNS, as_json=as_json)


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
    run_order(
        options,
        "OrgService/UpdateOrg",
        lambda connection: {"org": {"name": connection.org(account), "displayName": display_name, "etag": etag}},
        as_json=as_json,
    )


@command.command("delete", cls=ControlCommand, epilog="Example:  t1edge control orgs delete US1134362")
@click.argument("account")
@etag_option
@change_options
@to_option
@json_option
def delete(account: str, etag: str, as_json: bool, **options: Any) -> None:
    """Delete one that has nothing left."""
    run_order(
        options,
        "OrgService/DeleteOrg",
        lambda connection: {"name": connection.org(account), "etag": etag},
        as_json=as_json,
    )
