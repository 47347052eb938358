"""Tasks, followed until they end."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import click

from edge.cli.common import coloured
from edge.cli.remote import options_together
from edge.errors import EdgeError, Problem, ProblemsError

if TYPE_CHECKING:
    from control.api.client import ControlClient

_SHORTEST_S = 0.02
_LONGEST_S = 0.5

wait_options = options_together(
    click.option("--no-wait", is_flag=True, help="Do not wait for the task to end."),
)
"""Options of what begins a task."""


class TaskFailedError(ProblemsError):
    """A task that ended without success."""

    reason = "TASK_FAILED"


class TaskRunsOnError(EdgeError):
    """A task that has not ended in time."""

    reason = "TASK_RUNS_ON"


def followed(client: ControlClient, task: Mapping[str, Any], timeout_s: float) -> dict[str, Any]:
    """The task at its end, shown on a terminal meanwhile.  Raises TaskFailedError or TaskRunsOnError."""
    found = dict(task)
    if not _ended(found):
        end, pause = time.monotonic() + timeout_s, _SHORTEST_S
        with _shown(f"{found['operation']} {found['object']}"):
            while not _ended(found):
                if time.monotonic() > end:
                    told = f"t1edge control tasks get {found['name']}"
                    raise TaskRunsOnError(f"{found['operation']} {found['object']}: it still runs; {told} shows it")
                time.sleep(pause)
                pause = min(pause * 1.5, _LONGEST_S)
                found = dict(client.call("TaskService/GetTask", {"name": found["name"]})["task"])
    if found["status"] == "TASK_STATUS_ERROR":
        error = found.get("error", {})
        raise TaskFailedError([Problem(error.get("reason", "ERROR"), found["object"], error.get("message", ""))])
    return found


def _ended(task: Mapping[str, Any]) -> bool:
    return task["status"] in {"TASK_STATUS_SUCCESS", "TASK_STATUS_ERROR"}


@contextlib.contextmanager
def _shown(text: str) -> Iterator[None]:
    """A bar that moves, on a terminal."""
    if not coloured(sys.stderr):
        yield
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (TextColumn("{task.description}", markup=False), BarColumn(), TimeElapsedColumn())
    with Progress(*columns, console=Console(file=sys.stderr), transient=True) as progress:
        progress.add_task(text, total=None)
        yield
