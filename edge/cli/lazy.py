"""Groups of commands that are loaded when they are called."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from typing import ClassVar

import click

from edge.cli.common import write_example


class LazyGroup(click.Group):
    """A group that imports only the module of the command that was called."""

    commands_by_name: ClassVar[Mapping[str, str]] = {}
    """Name of a command -> the module whose ``command`` it is."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        """Names for the help text and for completion."""
        return list(self.commands_by_name)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002 - click's
        """The command of that name, None when there is none."""
        module = self.commands_by_name.get(cmd_name)
        if module is None:
            return None
        command: click.Command = import_module(module).command
        return command

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002 - click's
        """The example of the help text, unwrapped so that it can be copied."""
        write_example(self, formatter)
