"""The command group: a table of commands that load when they are called, and the one place that ends the process.

Exit codes are a contract: 0 as expected, 1 a check failed or a difference was found, 2 bad usage or invalid input,
3 a service could not be reached, 4 inconclusive.  Outside of it: 130 after Ctrl-C, 141 when the reader of the output
went away (what a shell reports for SIGPIPE), 70 for a bug of the program itself.
"""

from __future__ import annotations

import io
import os
import sys
import traceback
from collections.abc import Sequence
from typing import Any, NoReturn

import click

from edge.cli.common import ExitCode, discard_output, flush_output, message
from edge.cli.lazy import LazyGroup
from edge.errors import EdgeError
from edge.printable import printable

COMPLETE_VARIABLE = "_T1EDGE_COMPLETE"
"""Set by the completion scripts; its value says what the shell wants to know."""

COMMANDS = {
    "bench": "edge.cli.bench",
    "check": "edge.cli.check",
    "completion": "edge.cli.completion",
    "control": "edge.cli.control",
    "diff": "edge.cli.diff",
    "edge": "edge.cli.edge",
    "replay": "edge.cli.replay",
    "serve": "edge.cli.serve",
    "test": "edge.cli.test",
    "trace": "edge.cli.trace",
}
"""Name of a command -> the module whose ``command`` it is."""


class CommandGroup(LazyGroup):
    """Loads commands by name, and turns every way a command can end into an exit code."""

    commands_by_name = COMMANDS

    def main(  # type: ignore[override]  # there is one mode, click has overloads for two
        self, args: Sequence[str] | None = None, prog_name: str | None = None, **_: Any
    ) -> NoReturn:
        """Run ``args`` (default: ``sys.argv``) and exit; nothing but SystemExit leaves here."""
        for stream in (sys.stdout, sys.stderr):
            if isinstance(stream, io.TextIOWrapper):
                # A rule may bear a name that the terminal's encoding has no letters for.
                stream.reconfigure(errors="backslashreplace")
        sys.exit(self._run(list(sys.argv[1:] if args is None else args), prog_name or "t1edge"))

    def _run(self, args: list[str], prog_name: str) -> int:
        try:
            instruction = os.environ.get(COMPLETE_VARIABLE)
            if instruction:
                from click.shell_completion import shell_complete

                return shell_complete(self, {}, prog_name, COMPLETE_VARIABLE, instruction)
            with self.make_context(prog_name, args) as context:
                self.invoke(context)
            flush_output()
            return ExitCode.OK
        except click.exceptions.Exit as ended:
            return ended.exit_code
        except click.ClickException as error:
            _show(error)
            return ExitCode.USAGE
        except EdgeError as error:
            message(printable(str(error)))
            return ExitCode.USAGE
        except (KeyboardInterrupt, click.Abort):
            return ExitCode.INTERRUPTED
        except BrokenPipeError:
            discard_output()
            return ExitCode.BROKEN_PIPE
        except OSError as error:
            discard_output()
            place = f"{error.filename}: " if error.filename else ""
            message(printable(f"t1edge: {place}{error.strerror or error}"))
            return ExitCode.USAGE
        except Exception:  # noqa: BLE001 - what nobody foresaw must not look like "a difference was found"
            message("this is a bug of t1edge, not of your input:")
            message(traceback.format_exc())
            return ExitCode.BUG


def _show(error: click.ClickException) -> None:
    """A wrong command line in the manner of click: the usage line, where to find help, what is wrong."""
    if isinstance(error, click.exceptions.NoArgsIsHelpError):
        message(error.format_message())
        return
    if isinstance(error, click.UsageError) and error.ctx is not None:
        message(error.ctx.get_usage())
        message(f"Try '{error.ctx.command_path} --help'.")
    message(f"t1edge: {error.format_message()}")


@click.command(
    cls=CommandGroup,
    name="t1edge",
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="Example:  t1edge trace acme.yaml 'tcp 198.51.100.99:40000 > 203.0.113.11:80 S'",
)
@click.version_option(package_name="t1edge", prog_name="t1edge", message="%(prog)s %(version)s")
def cli() -> None:
    """Emulate an NSX-T tier-1 edge gateway as VMware Cloud Director shows it.

    The result of a command goes to stdout, messages and progress go to stderr.

    Exit codes: 0 as expected, 1 a check failed or a difference was found, 2 bad usage or invalid input,
    3 a service could not be reached, 4 inconclusive.
    """


def main() -> NoReturn:
    """Run the command line in ``sys.argv`` and exit with its code."""
    cli.main(prog_name="t1edge")
