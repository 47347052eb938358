"""``t1edge control``: the control plane and its client."""

from __future__ import annotations

import click

from edge.cli.control.nouns import NOUNS
from edge.cli.lazy import LazyGroup

COMMANDS = {
    "apply": "edge.cli.control.apply",
    "audit": "edge.cli.control.audit",
    "demo": "edge.cli.control.demo",
    "events": "edge.cli.control.events",
    "login": "edge.cli.control.login",
    "logout": "edge.cli.control.logout",
    "orgs": "edge.cli.control.orgs",
    "rekey": "edge.cli.control.rekey",
    "serve": "edge.cli.control.serve",
    "stop-machines": "edge.cli.control.stop_machines",
    "tasks": "edge.cli.control.tasks",
    "tokens": "edge.cli.control.tokens",
    "users": "edge.cli.control.users",
}


class ControlGroup(LazyGroup):
    """The group; its commands load when they are called."""

    commands_by_name = COMMANDS

    def list_commands(self, ctx: click.Context) -> list[str]:
        """What runs and who may, then what tenants have."""
        return [*super().list_commands(ctx), *NOUNS]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command of that name, None when there is none."""
        if cmd_name in NOUNS:
            from edge.cli.control.generic import NounGroup

            return NounGroup(cmd_name, NOUNS[cmd_name])
        return super().get_command(ctx, cmd_name)


@click.group("control", cls=ControlGroup, epilog="Example:  t1edge control login --org US1134362 --user maria")
def command() -> None:
    """Run and use a control plane: organizations, people, data centers, networks, edges and their rules, machines.

    A session begins with login and is kept in a file of the user; programs put an API token into T1EDGE_TOKEN. Exit
    codes: 0 done, 1 the control plane refused or a task failed, 2 bad usage or invalid input, 3 it cannot be reached,
    4 a task has not ended in time.
    """
