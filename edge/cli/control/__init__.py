"""``t1edge control``: the control plane and its client."""

from __future__ import annotations

import click

from edge.cli.lazy import LazyGroup

COMMANDS = {
    "audit": "edge.cli.control.audit",
    "login": "edge.cli.control.login",
    "logout": "edge.cli.control.logout",
    "orgs": "edge.cli.control.orgs",
    "serve": "edge.cli.control.serve",
    "tasks": "edge.cli.control.tasks",
    "tokens": "edge.cli.control.tokens",
    "users": "edge.cli.control.users",
}


class ControlGroup(LazyGroup):
    """The group; its commands load when they are called."""

    commands_by_name = COMMANDS


@click.group("control", cls=ControlGroup, epilog="Example:  t1edge control login --org US1134362 --user maria")
def command() -> None:
    """Run and use a control plane: organizations, users, tokens, tasks, the audit trail.

    A session begins with login and is kept in a file of the user; programs put an API token into T1EDGE_TOKEN. Exit
    codes: 0 done, 1 the control plane refused, 2 bad usage or invalid input, 3 it cannot be reached.
    """
