"""``t1edge control demo``: a control plane for a moment, two tenants in it, and a tour through one of them."""

from __future__ import annotations

import contextlib
import signal
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import click

from edge.cli.control.common import ControlCommand


@click.command("demo", cls=ControlCommand, epilog="Example:  t1edge control demo --keep /tmp/demo")
@click.option(
    "--keep",
    metavar="DIR",
    type=click.Path(file_okay=False),
    help="Keep the data in DIR, a new directory, with how to log in.",
)
def command(keep: str | None) -> None:
    """Run a control plane for a moment, fill it with two tenants, and show what it does.

    Needs no root: edges are in memory, machines are simulated. Nothing of it stays without --keep.
    """
    from edge.cli.control.demo.tour import tour

    with _told_to_stop(), _folder(keep) as folder:
        tour(folder, kept=keep is not None)


@contextlib.contextmanager
def _told_to_stop() -> Iterator[None]:
    """What the block began ends with it, also on SIGTERM."""
    before = signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


@contextlib.contextmanager
def _folder(keep: str | None) -> Iterator[Path]:
    if keep is None:
        with tempfile.TemporaryDirectory(prefix="t1edge-demo-") as found:
            yield Path(found)
        return
    folder = Path(keep)
    try:
        folder.mkdir(mode=0o700, parents=True)
    except FileExistsError:
        raise click.BadParameter(f"{keep} is there already", param_hint="--keep") from None
    yield folder
