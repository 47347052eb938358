"""What ``t1edge control vms`` has besides the commands of every kind: programs and a console."""

from __future__ import annotations

import base64
import contextlib
import os
import queue
import select
import shutil
import signal
import sys
import threading
from collections.abc import Iterator, Mapping
from typing import Any

import click

from edge.cli.common import message
from edge.cli.control.common import Connection, ControlCommand, connect, org_option, to_option
from edge.cli.remote import options_together

_DETACH = b"\x1d"  # Ctrl-]
_CHUNK = 4_096
_LOOK_S = 0.1

_machine_options = options_together(
    org_option, click.option("--vdc", metavar="VDC", help="The data center (default: wherever it is)."), to_option
)


class ExecCommand(ControlCommand):
    """Options stand before NAME or behind it, up to ``--`` or the program: what follows is the program's."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """See click."""
        options, rest = self._split(args)
        if rest:
            more, program = self._split(rest[1:])
            args = [*options, *more, "--", rest[0], *program]
        return super().parse_args(ctx, args)

    def collect_usage_pieces(self, ctx: click.Context) -> list[str]:
        """See click."""
        options, name, *program = super().collect_usage_pieces(ctx)
        return [name, options, "[--]", *program]

    def _split(self, args: list[str]) -> tuple[list[str], list[str]]:
        """The options at the beginning, and what is behind them, without a ``--`` between."""
        valued = {name for option in self.params if isinstance(option, click.Option) for name in option.opts}
        at = 0
        while at < len(args) and args[at] not in {"-", "--"} and args[at].startswith("-"):
            at += 2 if args[at] in valued else 1
        return args[:at], args[at + 1 :] if args[at : at + 1] == ["--"] else args[at:]


@click.command(
    "exec",
    cls=ExecCommand,
    epilog="Example:  t1edge control vms exec web1 --vdc USMIA01P-US1134362P1349404 -- ip -brief address",
)
@_machine_options
@click.argument("name")
@click.argument("argv", metavar="PROGRAM [ARGUMENT]...", nargs=-1, required=True, type=click.UNPROCESSED)
def exec_(name: str, argv: tuple[str, ...], org: str, vdc: str | None, **options: Any) -> None:
    """Run a program in a machine that is on, with its output here; exits as the program does."""
    connection = connect(options)
    code = 0
    with connection.client as client:
        request = {"name": _named(connection, name, org, vdc), "argv": list(argv)}
        for said in client.watch("MachineService/Exec", request):
            code = int(said.get("exitCode", code))
            for field, stream in (("output", sys.stdout), ("errors", sys.stderr)):
                _write(stream, said.get(field, ""))
    raise click.exceptions.Exit(code)


@click.command("console", cls=ControlCommand, epilog="Example:  t1edge control vms console web1")
@_machine_options
@click.argument("name")
def console(name: str, org: str, vdc: str | None, **options: Any) -> None:
    """Open a shell on a terminal in a machine that is on; Ctrl-] leaves it."""
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        raise click.UsageError("a console needs a terminal: exec runs programs without one")
    connection = connect(options)
    with connection.client:
        code = converse(connection, _named(connection, name, org, vdc))
    message("the console is closed")
    raise click.exceptions.Exit(code)


def converse(connection: Connection, machine: str) -> int:
    """What is typed there, what is shown here, until either side ends; the shell's exit code."""
    typed: queue.SimpleQueue[Mapping[str, Any] | None] = queue.SimpleQueue()
    typed.put({"open": {"name": machine, "window": _window()}})

    def requests() -> Iterator[Mapping[str, Any]]:
        while (found := typed.get()) is not None:
            yield found

    ended = threading.Event()
    reader = threading.Thread(target=_read_keys, args=(typed, ended), daemon=True)
    with _raw_terminal(lambda: typed.put({"window": _window()})):
        reader.start()
        try:
            for said in connection.client.converse("MachineService/Console", requests()):
                if "exitCode" in said:
                    return int(said["exitCode"])
                _write(sys.stdout, said.get("output", ""))
        finally:
            ended.set()
            typed.put(None)
            reader.join()
    return 0


def _read_keys(typed: queue.SimpleQueue[Mapping[str, Any] | None], ended: threading.Event) -> None:
    number = sys.stdin.fileno()
    while not ended.is_set():
        if not select.select([number], [], [], _LOOK_S)[0]:
            continue
        keys, left, _ = os.read(number, _CHUNK).partition(_DETACH)
        if keys:
            typed.put({"input": base64.b64encode(keys).decode()})
        if left or not keys:
            typed.put(None)
            return


def _window() -> dict[str, int]:
    size = shutil.get_terminal_size()
    return {"rows": size.lines, "columns": size.columns}


@contextlib.contextmanager
def _raw_terminal(resized: Any) -> Iterator[None]:
    """Every key goes through, until the end of the block."""
    import termios
    import tty

    number = sys.stdin.fileno()
    before = termios.tcgetattr(number)
    handler = signal.signal(signal.SIGWINCH, lambda *_: resized())
    tty.setraw(number)
    try:
        yield
    finally:
        termios.tcsetattr(number, termios.TCSADRAIN, before)
        signal.signal(signal.SIGWINCH, handler)


def _write(stream: Any, encoded: str) -> None:
    """Bytes as they came."""
    if encoded:
        stream.flush()
        stream.buffer.write(base64.b64decode(encoded))
        stream.buffer.flush()


def _named(connection: Connection, name: str, org: str, vdc: str | None) -> str:
    from edge.cli.control.finder import Finder

    return Finder(connection, {"org": org, "vdc": vdc}).find(["machine"], name)


COMMANDS = {"vms exec": exec_, "vms console": console}
