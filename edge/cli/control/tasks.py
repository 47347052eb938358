"""``t1edge control tasks``."""

from __future__ import annotations

from typing import Any

import click

from edge.cli.common import json_option
from edge.cli.control.common import (
    ControlCommand,
    connect,
    list_options,
    org_option,
    run_list,
    show_object,
    to_option,
)


@click.group("tasks")
def command() -> None:
    """What was ordered, by whom, and what became of it."""


@command.command("list", cls=ControlCommand, epilog="Example:  t1edge control tasks list --limit 20")
@org_option
@list_options
@to_option
@json_option
def list_(org: str, as_json: bool, **options: Any) -> None:
    """List tasks, the newest first."""
    run_list(
        options,
        "TaskService/ListTasks",
        "tasks",
        ("operation", "object", "status", "initiator", "startTime", "endTime"),
        as_json=as_json,
        org=org,
    )


@command.command("get", cls=ControlCommand, epilog="Example:  t1edge control tasks get orgs/US1134362/tasks/ID")
@click.argument("name")
@to_option
@json_option
def get(name: str, as_json: bool, **options: Any) -> None:
    """Show one."""
    connection = connect(options)
    with connection.client as client:
        answer = client.call("TaskService/GetTask", {"name": name})
    show_object(answer["task"], as_json=as_json)
