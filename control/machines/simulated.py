"""Machines that are said to run.  No root, next to no memory; nothing can be run in them."""

from __future__ import annotations

import threading
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from typing import NoReturn

from control.errors import MachineError, NotEmulatedError
from control.machines.wishes import Found, Power, Wish


class SimulatedDriver:
    """Remembers what it was told, until it ends: at the next start the keeper tells it again."""

    lasting = False

    def __init__(self) -> None:
        self._machines: dict[str, Found] = {}
        self._lock = threading.Lock()

    def inventory(self) -> Mapping[str, Found]:
        """See Driver; as are all below."""
        with self._lock:
            return dict(self._machines)

    def define(self, wish: Wish) -> None:
        """Remember."""
        with self._lock:
            known = self._machines.get(wish.uid)
            self._machines[wish.uid] = replace(known, wish=wish) if known else Found(wish)

    def power_on(self, uid: str) -> None:
        """Said to run."""
        self._change(uid, power=Power.ON)

    def power_off(self, uid: str) -> None:
        """Said to be off."""
        if uid in self.inventory():
            self._change(uid, power=Power.OFF)

    def suspend(self, uid: str) -> None:
        """Said to be suspended."""
        self._change(uid, power=Power.SUSPENDED)

    def snapshot(self, uid: str) -> None:
        """There are no files."""
        self._change(uid, snapshot=True)

    def revert(self, uid: str) -> None:
        """There are no files."""
        self._change(uid, power=Power.OFF)

    def drop_snapshot(self, uid: str) -> None:
        """There are no files."""
        self._change(uid, snapshot=False)

    def delete(self, uid: str) -> None:
        """Forget."""
        with self._lock:
            self._machines.pop(uid, None)

    def execute(self, uid: str, argv: Sequence[str]) -> NoReturn:  # noqa: ARG002
        """Raises NotEmulatedError."""
        raise NotEmulatedError("machines are simulated: nothing runs in them")

    def console(self, uid: str, rows: int, columns: int) -> NoReturn:  # noqa: ARG002
        """Raises NotEmulatedError."""
        raise NotEmulatedError("machines are simulated: they have no console")

    def attach(self, network: str, device: str) -> None:
        """Nothing is on the wire."""

    def retain(self, networks: Collection[str], devices: Collection[str]) -> None:
        """Nothing is on the wire."""

    def close(self) -> None:
        """Nothing is open."""

    def _change(self, uid: str, *, power: Power | None = None, snapshot: bool | None = None) -> None:
        with self._lock:
            known = self._machines.get(uid)
            if known is None:
                raise MachineError("there is no such machine")
            self._machines[uid] = replace(
                known, power=power or known.power, snapshot=known.snapshot if snapshot is None else snapshot
            )
