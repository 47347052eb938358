"""Programs that write until they are killed, and tell each thing that is acknowledged in a line."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def running(
    module: str, root: Path, *arguments: object, prefix: tuple[str, ...] = ()
) -> Iterator[subprocess.Popen[str]]:
    """A module as a program of its own, which is killed at the end."""
    command = [*prefix, sys.executable, "-m", module, *map(str, arguments)]
    with subprocess.Popen(command, cwd=root, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as child:
        try:
            yield child
        finally:
            child.kill()


def line(child: subprocess.Popen[str]) -> str:
    """The next line that it prints."""
    assert child.stdout is not None
    return child.stdout.readline().strip()
