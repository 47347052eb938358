"""A fleet as a program of its own: ``python -m tests.control.replica DIRECTORY [--database URL] [--patience SECONDS]
[--machines FILE]``, with machines if there is a file to write down what is done with them.

Says ``leads EPOCH`` when it does, and ``follows`` when it does not any more.  Documents are those of
:func:`tests.control.paper.document` with one rule, named after the state that is wanted.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from control import names
from control.api.remote_edge import RemoteEdge
from control.fleet.fleet import Fleet
from control.machines.keeper import Keeper
from control.machines.simulated import SimulatedDriver
from control.objects import Org
from control.store import Actor, Reader, Store
from control.store.records import EdgeHost
from control.surroundings import Surroundings
from tests.control.paper import Counts, document


def plan(state: Reader, path: str) -> Mapping[str, Any]:
    """What an edge should run."""
    known = state.edge_state(path)
    assert known is not None
    return document(path, [f"r{known.desired}"])


def want(store: Store, path: str, *, address: str = "") -> int:
    """Another state of an edge is wanted, which is made if it is not there; its number."""
    with store.write(Actor("orgs/system/users/writer", "u")) as unit:
        if unit.find(path) is None:
            unit.create("org", names.organization(path), Org(account_id="US1", display_name="x"))
            unit.create("edge_gateway", path, Org(account_id="US1", display_name="x"))
            if address:
                unit.set_edge_host(EdgeHost(path, address))
        unit.touch(path)
        unit.settle()
        state = unit.edge_state(path)
        assert state is not None
        return state.desired


def has(store: Store, path: str, number: int) -> bool:
    """Has an edge this state?"""
    with store.read() as state:
        known = state.edge_state(path)
        return known is not None and known.realized >= number


def say(text: str) -> None:
    os.write(1, f"{text}\n".encode())


class Writing(SimulatedDriver):
    """Writes down what it is asked for: ``power_on UID``."""

    def __init__(self, file: Path) -> None:
        super().__init__()
        self._file = file

    def _asked(self, text: str) -> None:
        with self._file.open("a") as found:
            found.write(f"{text}\n")

    def power_on(self, uid: str) -> None:
        self._asked(f"power_on {uid}")
        super().power_on(uid)

    def power_off(self, uid: str) -> None:
        self._asked(f"power_off {uid}")
        super().power_off(uid)


async def serve(store: Store, revisions: Path, patience_s: float, machines: Path | None) -> None:
    keeper = Keeper(store, Writing(machines)) if machines else None
    fleet = Fleet(
        store, revisions, plan, Counts(), lambda address, _: RemoteEdge(address, None), machines=keeper,
        patience_s=patience_s,
    )  # fmt: skip
    task = asyncio.create_task(fleet.run())
    leads = 0
    try:
        while not task.done():
            if fleet.epoch != leads:
                leads = fleet.epoch
                say(f"leads {leads}" if leads else "follows")
            await asyncio.sleep(0.01)
        await task
    finally:
        task.cancel()
        await asyncio.wait([task])


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("directory", type=Path)
    parser.add_argument("--database", default="")
    parser.add_argument("--patience", type=float, default=2.0)
    parser.add_argument("--machines", type=Path)
    given = parser.parse_args()
    with contextlib.closing(Store(given.directory, Surroundings(), given.database)) as store:
        asyncio.run(serve(store, given.directory / "edges.sqlite3", given.patience, given.machines))


if __name__ == "__main__":
    main()
