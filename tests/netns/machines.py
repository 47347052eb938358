r"""Machines around an edge, made for one test and removed with it.

    outside                      edge                         a namespace with bridges        machines
    +------------------+        +-------------------+        +------------------------+      +------------------+
    | tout 203.0.113.1 |---+    | tnet         tlan |--------| LAN  ==================|------| eth0 10.20.0.10  |
    +------------------+   |    +-------------------+        |                        |------| eth0 10.20.0.11  |
                           |       |                         |                        |      +------------------+
                           +-------+-------------------------| INTERNET               |
                                                             +------------------------+

The edge is the company of :func:`tests.support.acme`; it runs in the test's process, its ports in the namespace "edge".
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from control.machines.driver import Program, exit_code
from control.machines.netns.driver import NetnsDriver
from control.machines.wishes import Nic, Wish
from edge.forwarder import Forwarder
from edge.model import EdgeConfig
from edge.ports import PortKind, PortSpec
from edge.runtime import Edge
from tests.closing import Closing
from tests.netns.lab import Space
from tests.support import acme
from tests.waiting import wait_for

LAN, INTERNET = "1" * 32, "2" * 32
DEVICES = {"LAN": "tlan", "INTERNET": "tnet"}
NETWORKS = {"LAN": LAN, "INTERNET": INTERNET}


def card(number: int, network: str = LAN, **more: object) -> Nic:
    """A card with the address 10.20.0.NUMBER."""
    return Nic(f"00:50:56:00:00:{number:02x}", network, **{
        "addresses": (f"10.20.0.{number}/24",), "gateways": ("10.20.0.1",), **more,
    })  # type: ignore[arg-type]  # fmt: skip


def wish(number: int, name: str = "", command: str = "", **more: object) -> Wish:
    """A machine with one card."""
    return Wish(f"{number:032x}", name or f"vm{number}", (card(number, **more),), start_command=command)  # type: ignore[arg-type]


def found(_: EdgeConfig, name: str) -> PortSpec:
    """What is behind a port: a device for those that have one."""
    device = DEVICES.get(name)
    return PortSpec(name, PortKind.LINK, device) if device else PortSpec(name, PortKind.MEMORY)


class Plant(Closing):
    """``with Plant(DATA) as plant:`` has a driver, an edge that forwards, and somebody outside."""

    def __init__(self, data: Path) -> None:
        self.data = data
        data.mkdir(exist_ok=True)
        self.middle, self.outside = Space("edge"), Space("outside")
        self.forwarder: Forwarder | None = None
        self.driver = self.opened()
        try:
            for name, device in DEVICES.items():
                self.driver.attach(NETWORKS[name], device)
            self.driver.attach(INTERNET, "tout")
            self.middle.run("ip", "link", "set", "tout", "netns", self.outside.name)
            self.outside.run("ip", "address", "add", "203.0.113.1/24", "dev", "tout")
            self.outside.run("ip", "link", "set", "tout", "up")
        except BaseException:
            self.close()
            raise

    def opened(self) -> NetnsDriver:
        """A driver, as a new process has it."""
        with self.middle.inside():
            return NetnsDriver(self.data)

    def forward(self) -> Edge:
        """An edge between the networks, its ports up."""
        edge = Edge(acme())
        self.forwarder = forwarder = Forwarder(edge, [], found)
        with self.middle.inside():
            forwarder.start()
        wait_for("the ports are up", lambda: all(port.up for port in forwarder.ports.values()))
        return edge

    def close(self) -> None:
        """Leave nothing."""
        if self.forwarder is not None:
            self.forwarder.stop()
        remove_all(self.driver)
        self.driver.close()
        for space in (self.middle, self.outside):
            space.remove()


def remove_all(driver: NetnsDriver) -> None:
    """Every machine with its files, every network, every cable."""
    for uid in driver.inventory():
        driver.delete(uid)
    driver.remove_networks()


def output(program: Program) -> tuple[int, str, str]:
    """How a program ended, and what it said."""
    said = []
    for number in (program.output, program.errors):
        text = b""
        while number is not None and (part := os.read(number, 4096)):
            text += part
        said.append(text.decode())
    code = exit_code(program.life.recv(4096))
    program.close()
    return code, said[0], said[1]


def run(driver: NetnsDriver, uid: str, *argv: str) -> tuple[int, str, str]:
    """A program in a machine, from its beginning to its end."""
    return output(driver.execute(uid, argv))


def shell(driver: NetnsDriver, uid: str, text: str) -> str:
    """What a shell in a machine says of some lines; it has to like them."""
    code, said, problem = run(driver, uid, "/bin/sh", "-c", text)
    assert code == 0, problem
    return said


def pings(driver: NetnsDriver, uid: str, addresses: Sequence[str]) -> list[bool]:
    """Which addresses answer a machine."""
    return [run(driver, uid, "ping", "-c", "1", "-W", "2", address)[0] == 0 for address in addresses]
