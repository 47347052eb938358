"""What a driver is told of a machine, and what it says of one."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Power(StrEnum):
    """How a machine is, in CloudAPI's words."""

    ON = "POWERED_ON"
    OFF = "POWERED_OFF"
    SUSPENDED = "SUSPENDED"


@dataclass(frozen=True, slots=True)
class Nic:
    """A network card.  ``network`` is the uid of a network, '' for none; ``addresses`` are as in "10.20.0.10/24",
    ``gateways`` where the primary card's machine sends what is for elsewhere: at most one address a family."""

    mac: str
    network: str = ""
    connected: bool = True
    addresses: tuple[str, ...] = ()
    gateways: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Wish:
    """A machine as it should be but for its power.  ``nics``: eth0, eth1 and so on; ``start_command`` is given to a
    shell each time the machine is powered on, '' for none."""

    uid: str
    computer_name: str
    nics: tuple[Nic, ...] = ()
    dns: tuple[str, ...] = ()
    dns_suffix: str = ""
    start_command: str = ""


@dataclass(frozen=True, slots=True)
class Found:
    """A machine that is there.  ``snapshot``: it has one."""

    wish: Wish
    power: Power = Power.OFF
    snapshot: bool = False
