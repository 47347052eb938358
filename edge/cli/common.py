"""What the commands share: output that fails properly, exit codes, options, the loading of an edge."""

from __future__ import annotations

import contextlib
import json
import os
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO, TypeVar

import click

from edge.errors import EdgeError, PacketSyntaxError, Problem, ProblemsError
from edge.printable import printable

if TYPE_CHECKING:
    from edge.document import LoadedDocument

Decorated = TypeVar("Decorated", bound=Callable[..., Any])


class ExitCode(IntEnum):
    """How a command ends; the first five are the contract."""

    OK = 0
    DIFFERENT = 1
    USAGE = 2
    UNREACHABLE = 3
    INCONCLUSIVE = 4
    BUG = 70
    INTERRUPTED = 130
    BROKEN_PIPE = 141


class OutputError(EdgeError):
    """A result that could not be written."""

    reason = "OUTPUT_FAILED"


class OverwriteError(EdgeError):
    """A result that would be written over the input it comes from."""

    reason = "OUTPUT_IS_INPUT"


@dataclass(frozen=True, slots=True)
class PacketProblem(Problem):
    """A packet of the command line that cannot be read; ``column`` is the place in ``packet``."""

    packet: str = ""

    def to_json(self) -> dict[str, object]:
        """The object that ``--json`` prints for this problem."""
        return {**Problem.to_json(self), "packet": self.packet}


def write_result(text: str) -> None:
    """Print ``text`` and a line feed on stdout, now.

    Raises OutputError when it cannot be written (stdout is closed, the disk is full), and BrokenPipeError when the
    reader has gone.
    """
    if sys.stdout is None:
        raise OutputError("t1edge: the result cannot be written: standard output is closed")
    try:
        sys.stdout.write(text + "\n")
        sys.stdout.flush()
    except BrokenPipeError:
        raise
    except OSError as error:
        discard_output()
        raise OutputError(f"t1edge: the result cannot be written: {error.strerror}") from error


def write_json(document: object) -> None:
    """Print ``document`` as the one JSON document of this run."""
    write_result(json.dumps(document, indent=2, ensure_ascii=False))


def message(text: str) -> None:
    """Print ``text`` on stderr, control characters escaped.  A stderr that cannot be written to leaves nobody to
    tell."""
    if sys.stderr is not None:
        with contextlib.suppress(OSError):
            sys.stderr.write(printable(text.rstrip("\n"), lines=True) + "\n")
            sys.stderr.flush()


def flush_output() -> None:
    """Write out what is buffered, while a failure can still be reported."""
    if sys.stdout is not None:
        sys.stdout.flush()


def discard_output() -> None:
    """Point stdout at nothing: what is still buffered cannot be written, and Python would try again on its way out."""
    with contextlib.suppress(OSError, ValueError, AttributeError):
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, sys.stdout.fileno())
        os.close(null)


def coloured(stream: TextIO | None) -> bool:
    """True when colours and progress belong on ``stream``: a terminal, and NO_COLOR unset or empty."""
    return (
        stream is not None and stream.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
    )


def paint(text: str, colour: str) -> str:
    """``text`` for stdout, bold and in ``colour`` where colours belong there."""
    return click.style(text, fg=colour, bold=True) if coloured(sys.stdout) else text


def plural(count: int, singular: str, several: str | None = None) -> str:
    """``1 rule``, ``2,000 rules``."""
    return f"{count:,} {singular if count == 1 else several or singular + 's'}"


class EdgeCommand(click.Command):
    """A command whose errors about input appear as ``--json`` asks: as text on stderr or as ``problems`` on stdout."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run the callback; errors of ours end it here, anything else is left to the group."""
        try:
            return super().invoke(ctx)
        except OutputError:
            raise
        except EdgeError as error:
            report_problems(problems_of(error), as_json=bool(ctx.params.get("as_json")), text=text_of(error))
            ctx.exit(self.exit_code(error))

    def exit_code(self, error: EdgeError) -> ExitCode:  # noqa: ARG002 - for commands that know more
        """How the command ends because of ``error``."""
        return ExitCode.USAGE

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002 - click's
        """The example of the help text, unwrapped so that it can be copied."""
        write_example(self, formatter)


def write_example(command: click.Command, formatter: click.HelpFormatter) -> None:
    """End a help text with the lines of the command's epilog as they are."""
    formatter.write_paragraph()
    for line in (command.epilog or "").splitlines():
        formatter.write(f"{line}\n")


def problems_of(error: EdgeError) -> tuple[Problem, ...]:
    """The problems that an error carries; one that carries none is a problem itself, its reason the code."""
    if isinstance(error, ProblemsError):
        return error.problems
    if isinstance(error, PacketSyntaxError):
        summary = str(error).split("\n", 1)[0]
        return (PacketProblem("SYNTAX", "", summary, column=error.position + 1, packet=error.text),)
    return (Problem(error.reason, "", str(error)),)


def text_of(error: EdgeError) -> str:
    """What a terminal shows of an error: a line for each problem, or a packet with the place underlined."""
    if isinstance(error, ProblemsError):
        return "\n".join(printable(str(problem)) for problem in error.problems)
    return str(error) if isinstance(error, PacketSyntaxError) else printable(str(error))


def refuse_overwriting(option: str, out: str, inputs: Iterable[tuple[str, str]]) -> None:
    """Raise OverwriteError if ``out`` is one of the inputs, (what it is, its path) each, by this name or another."""
    for what, path in inputs:
        with contextlib.suppress(OSError):  # what does not exist is overwritten by nobody
            if Path(out).samefile(path):
                raise OverwriteError(f"{option} {out}: this is {what}, which would be overwritten")


def report_problems(problems: Iterable[Problem], *, as_json: bool, text: str) -> None:
    """Problems in one go: as a JSON document on stdout, or as ``text`` on stderr."""
    if as_json:
        write_json({"problems": [problem.to_json() for problem in problems]})
    else:
        message(text)


def load_edge(path: str, allow_unsupported: bool) -> LoadedDocument:
    """Read an edge file and list its warnings on stderr.  Raises DocumentError."""
    from edge.document import load

    loaded = load(path, allow_unsupported=allow_unsupported)
    for problem in loaded.problems:
        message(printable(str(problem)))
    return loaded


def edge_argument(name: str = "edge", metavar: str = "EDGE") -> Callable[[Decorated], Decorated]:
    """An argument that is the path of an edge file."""
    return click.argument(name, metavar=metavar, type=click.Path())


def json_option(function: Decorated) -> Decorated:
    """``--json``, as ``as_json``."""
    return click.option("--json", "as_json", is_flag=True, help="Print one JSON document on stdout.")(function)


def allow_unsupported_option(function: Decorated) -> Decorated:
    """``--allow-unsupported``."""
    return click.option(
        "--allow-unsupported",
        is_flag=True,
        help="Turn fields and sections that are not emulated into warnings.",
    )(function)
