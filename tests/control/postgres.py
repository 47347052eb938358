"""A PostgreSQL server of the tests' own: a Unix socket in a directory of its own, run by a user without rights."""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

VERSIONS = Path("/usr/lib/postgresql")


def programs() -> Path | None:
    """Where the newest server's programs are."""
    found = sorted(VERSIONS.glob("*/bin/initdb"), key=lambda path: int(path.parents[1].name))
    return found[-1].parent if found else None


@dataclass(frozen=True)
class Database:
    """A server; ``{name}`` in ``url`` stands for a database."""

    url: str
    start: Callable[[], None]
    stop: Callable[[], None]


@contextlib.contextmanager
def server() -> Iterator[str]:
    """The URL of a server that ends with the block; ``{name}`` in it stands for a database."""
    with restartable() as found:
        yield found.url


@contextlib.contextmanager
def restartable() -> Iterator[Database]:
    """A server that ends with the block, and may before."""
    where = programs()
    assert where is not None
    directory = Path(tempfile.mkdtemp(prefix="t1edge-pg-"))
    account = "nobody" if os.geteuid() == 0 else None
    if account:
        entry = pwd.getpwnam(account)
        os.chown(directory, entry.pw_uid, entry.pw_gid)

    def run(*command: str) -> None:
        subprocess.run(
            [str(where / command[0]), *command[1:]], check=True, user=account, cwd=directory,
            capture_output=True, timeout=120, env={**os.environ, "LC_ALL": "C.UTF-8"},
            extra_groups=[] if account else None,
        )  # fmt: skip

    data = directory / "data"
    try:
        run("initdb", "--pgdata", str(data), "--username", "t1edge", "--auth", "trust", "--no-sync")
        # What was written survives every end of the server's, if not the machine's: that is enough here.
        options = f"-c listen_addresses='' -c unix_socket_directories='{directory}' -c autovacuum=off -c fsync=off"
        at = ("--wait", "--pgdata", str(data))

        def start() -> None:
            run("pg_ctl", "start", *at, "--log", str(directory / "log"), "--options", options)

        def stop() -> None:
            run("pg_ctl", "stop", *at, "--mode", "immediate")

        start()
        try:
            yield Database(f"postgresql://t1edge@/{{name}}?host={directory}", start, stop)
        finally:
            stop()
    finally:
        shutil.rmtree(directory)
