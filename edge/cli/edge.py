"""``t1edge edge``: the commands that talk to a running edge."""

from __future__ import annotations

import click

from edge.cli.lazy import LazyGroup

COMMANDS = {
    "apply": "edge.cli.remote.apply",
    "confirm": "edge.cli.remote.confirm",
    "diff": "edge.cli.remote.diff",
    "enroll": "edge.cli.remote.enroll",
    "events": "edge.cli.remote.events",
    "get": "edge.cli.remote.get",
    "revisions": "edge.cli.remote.revisions",
    "rollback": "edge.cli.remote.rollback",
    "sessions": "edge.cli.remote.sessions",
    "trace": "edge.cli.remote.trace",
}


class RemoteGroup(LazyGroup):
    """The group; its commands load when they are called."""

    commands_by_name = COMMANDS


@click.group("edge", cls=RemoteGroup, epilog="Example:  t1edge edge apply acme.yaml --to 127.0.0.1:7440")
def command() -> None:
    """Talk to a running edge (t1edge serve).

    --to names it: HOST:PORT or unix:PATH, 127.0.0.1:7440 if it is not given. Exit codes: 0 done, 1 the edge refused or
    there is a difference, 2 bad usage or an invalid document, 3 the edge cannot be reached.
    """
