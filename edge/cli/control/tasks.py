"""``t1edge control tasks``."""

from __future__ import annotations

from typing import Any

import click

from edge.cli.common import json_option
from edge.cli.control.common import ControlCommand, add_list, connect, show_object, to_option


@click.group("tasks")
def command() -> None:
    """What was ordered, by whom, and what became of it."""


add_list(
    command,
    "TaskService/ListTasks",
    "tasks",
    ("operation", "object", "status", "initiator", "startTime", "endTime"),
    text="List tasks, the newest first.",
    example="--limit 20",
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
