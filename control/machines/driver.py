"""The interface of what runs machines."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import socket
import struct
import termios
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from control.machines.wishes import Found, Wish

NEEDS_ROOT = "machines in network namespaces need root: --machines simulated does without"


@dataclass(slots=True)
class Program:
    """A program that runs in a machine.  ``output`` and ``errors`` are pipes, or ``output`` is the terminal and
    ``errors`` None; closing it ends the program."""

    life: socket.socket
    output: int
    errors: int | None = None

    def resize(self, rows: int, columns: int) -> None:
        """The terminal's window."""
        fcntl.ioctl(self.output, termios.TIOCSWINSZ, struct.pack("=HHHH", rows, columns, 0, 0))

    def close(self) -> None:
        """End it, if it has not ended."""
        for number in (self.output, self.errors):
            if number is not None:
                with contextlib.suppress(OSError):
                    os.close(number)
        self.life.close()


def exit_code(said: bytes) -> int:
    """What ``life`` tells of the end, b"" if whoever should tell was killed, as a code: 128 and the number of a
    signal, as shells say."""
    return int(json.loads(said)["exit"]) if said else 128 + 9


class Driver(Protocol):
    """Runs machines, each known by its uid.  Calls may come from several threads, those about one machine one after
    the other.  Whatever was cut off can be asked for again.  All raise MachineError for what the host refuses."""

    @property
    def lasting(self) -> bool:
        """Are machines and snapshots still there when this process has ended and another one begins?"""

    def inventory(self) -> Mapping[str, Found]:
        """What is there, by uid: after a start, what an earlier process has left."""

    def define(self, wish: Wish) -> None:
        """There is such a machine, as it is wished; network cards of one that runs follow at once."""

    def power_on(self, uid: str) -> None:
        """Start a machine, or go on with a suspended one."""

    def power_off(self, uid: str) -> None:
        """Everything in it ends at once.  One that is not there is no error."""

    def suspend(self, uid: str) -> None:
        """Stop a running one where it is."""

    def snapshot(self, uid: str) -> None:
        """Keep its files as they are, instead of what was kept before.  Memory is not kept."""

    def revert(self, uid: str) -> None:
        """Its files as they were kept.  The machine is off afterwards."""

    def drop_snapshot(self, uid: str) -> None:
        """Keep them no longer."""

    def delete(self, uid: str) -> None:
        """Nothing is left of it.  One that is not there is no error."""

    def execute(self, uid: str, argv: Sequence[str]) -> Program:
        """Run a program in a machine that is on."""

    def console(self, uid: str, rows: int, columns: int) -> Program:
        """A shell on a terminal."""

    def attach(self, network: str, device: str) -> None:
        """An interface of that name in this process's network namespace is on the network, uid; it is made if it is
        not there."""

    def retain(self, networks: Collection[str], devices: Collection[str]) -> None:
        """Remove the networks and the attached interfaces that are none of these."""

    def close(self) -> None:
        """Let go of the machines: they run on where they can."""


def device_name(prefix: str, *parts: str) -> str:
    """A name for an interface: ``prefix`` of at most 7 characters, the same for the same parts."""
    return prefix + hashlib.sha256("\0".join(parts).encode()).hexdigest()[: 15 - len(prefix)]
