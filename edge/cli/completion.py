"""``t1edge completion``."""

from __future__ import annotations

import click

from edge.cli.common import EdgeCommand, write_result


@click.command(
    "completion",
    cls=EdgeCommand,
    epilog="Example:  t1edge completion bash > ~/.local/share/bash-completion/completions/t1edge",
)
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def command(ctx: click.Context, shell: str) -> None:
    """Print the script that makes SHELL complete commands, options and file names of t1edge."""
    from click.shell_completion import get_completion_class

    from edge.cli.main import COMPLETE_VARIABLE

    completion = get_completion_class(shell)
    if completion is None:
        raise click.UsageError(f"this version of click has no completion for {shell}")
    write_result(completion(ctx.find_root().command, {}, "t1edge", COMPLETE_VARIABLE).source())
