"""What ``t1edge control groups`` has besides the commands of every kind: the machines of a group."""

from __future__ import annotations

from typing import Any

import click

from control.kinds import BY_NAME
from edge.cli.common import json_option
from edge.cli.control.common import ControlCommand, collect, connect, list_options, show_list, to_option
from edge.cli.control.generic import place_options, taken_finder
from edge.cli.remote import options_together

_KIND = BY_NAME["security_group"]


@click.command(
    "machines", cls=ControlCommand, epilog="Example:  t1edge control groups machines web-tier --edge T1-ACME"
)
@click.argument("name")
@options_together(place_options(_KIND), list_options, to_option, json_option)
def machines(name: str, as_json: bool, **options: Any) -> None:
    """List the machines that the group NAME holds now, with the addresses that rules with it mean."""
    connection = connect(options)
    with connection.client:
        found = taken_finder(_KIND, connection, options).find([_KIND.name], name)
        items = collect(connection, "GroupService/ListSecurityGroupMachines", "machines", options, parent=found)
    show_list("machines", items, ("displayName", "ipAddresses", "name"), as_json=as_json)


COMMANDS = {"groups machines": machines}
