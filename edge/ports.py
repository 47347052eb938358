"""The edge's ports on this machine: how they are written, and the devices behind them.

A **link** is an interface that is there already.  The edge has it to itself: it is up, its frames reach neither the
host's IP stack nor anything else behind the packet socket, and it speaks no IPv6 of its own.  What was changed is noted
in the interface's alias, so that a process that comes after one that was killed knows what to restore.
A **TAP** device is made, and goes with the process; the host's side of it is for whoever is to be connected.
A **memory** port has no device.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import re
import socket
import struct
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Self

from edge.errors import PortError, PortSpecError
from edge.guard import InterfaceGuard

if TYPE_CHECKING:
    from pyroute2 import IPRoute

IFF_UP, IFF_RUNNING = 0x1, 0x40
SIOCGIFFLAGS, SIOCGIFMTU, SIOCGIFHWADDR, SIOCGIFINDEX = 0x8913, 0x8921, 0x8927, 0x8933
LONGEST_NAME = 15
ALIAS_SIZE = 255
MARK = re.compile(r" ?t1edge\(was=(up|down),ipv6=(on|off)\)$")
SCOPE_LINK = 253
ETHERNET = 1
"""ARPHRD_ETHER."""


class PortKind(StrEnum):
    """What is behind a port."""

    MEMORY = "memory"
    TAP = "tap"
    LINK = "link"


@dataclass(frozen=True, slots=True)
class PortSpec:
    """``NAME=KIND[:DEVICE]`` of the command line: the edge's port NAME is the TAP device or the interface DEVICE."""

    name: str
    kind: PortKind
    device: str = ""

    @classmethod
    def parse(cls, text: str) -> Self:
        """Raises PortSpecError, whose text says what was meant to be there."""
        name, equals, rest = text.rpartition("=")
        kind, colon, device = rest.partition(":")
        if not equals or not name:
            raise PortSpecError(f"{text!r} is no port: NAME=KIND[:DEVICE] is, as in LAN=link:eth1")
        if kind not in list(PortKind):
            raise PortSpecError(f"{text!r}: {kind!r} is no kind of port; there are {', '.join(PortKind)}")
        if kind == PortKind.MEMORY:
            if colon:
                raise PortSpecError(f"{text!r}: a port in memory has no device")
        elif not device:
            raise PortSpecError(f"{text!r}: the device is missing, as in {name}={kind}:eth1")
        elif len(device.encode()) > LONGEST_NAME or "/" in device or any(char.isspace() for char in device):
            raise PortSpecError(f"{text!r}: {device!r} cannot be the name of a device")
        return cls(name, PortKind(kind), device)

    def __str__(self) -> str:
        return f"{self.name}={self.kind}" + (f":{self.device}" if self.device else "")


def check_specs(specs: list[PortSpec]) -> None:
    """Raises PortSpecError where a name or a device is given twice."""
    names = [spec.name for spec in specs]
    devices = [spec.device for spec in specs if spec.device]
    for what, found in (("port", names), ("device", devices)):
        for item in found:
            if found.count(item) > 1:
                raise PortSpecError(f"the {what} {item!r} is given twice")


def made_mac(edge_id: str, port: str) -> bytes:
    """The MAC address of a port whose device has none for it: locally administered, the same each time."""
    return b"\x02" + hashlib.sha256(f"{edge_id}\0{port}".encode()).digest()[:5]


@dataclass(frozen=True, slots=True)
class Device:
    """An interface as it is at the moment."""

    index: int
    name: str
    mac: bytes
    mtu: int
    up: bool
    carrier: bool


def find_device(name: str) -> Device | None:
    """The interface of that name in this thread's network namespace.  Raises PortError if it is none for Ethernet.

    It is asked for again and again, hence by the calls of netdevice(7), which cost next to nothing.
    """
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking:

        def ask(call: int) -> bytes:
            return fcntl.ioctl(asking, call, struct.pack("16s24x", name.encode()))[16:]

        try:
            (index,) = struct.unpack_from("=i", ask(SIOCGIFINDEX))
            family, mac = struct.unpack_from("=H6s", ask(SIOCGIFHWADDR))
            (flags,) = struct.unpack_from("=H", ask(SIOCGIFFLAGS))
            (mtu,) = struct.unpack_from("=i", ask(SIOCGIFMTU))
        except OSError as error:
            if error.errno == errno.ENODEV:
                return None
            raise
    if family != ETHERNET:
        raise PortError(f"{name} is no Ethernet interface")
    return Device(index, name, mac, mtu, bool(flags & IFF_UP), bool(flags & IFF_RUNNING))


def bring_up(route: IPRoute, device: Device) -> None:
    """Set an interface up."""
    if not device.up:
        route.link("set", index=device.index, state="up")


class TakenLink:
    """An interface that the edge has to itself, until :meth:`restore`.

    Raises PortError: the host has addresses there, another edge has it, or it cannot be taken.
    """

    def __init__(self, route: IPRoute, device: Device) -> None:
        self.device = device
        _refuse_addresses(route, device)
        try:
            self._guard = InterfaceGuard(device.name, device.index)
        except OSError as error:
            raise PortError(f"{device.name}: cannot keep the host's IP stack off it: {error.strerror}") from error
        try:
            alias = route.link("get", index=device.index)[0].get_attr("IFLA_IFALIAS") or ""
            before = MARK.search(alias)
            self._was_up = before[1] == "up" if before else device.up
            self._had_ipv6 = before[2] == "on" if before else _speaks_ipv6(device.name)
            self._alias = MARK.sub("", alias)
            mark = f"t1edge(was={'up' if self._was_up else 'down'},ipv6={'on' if self._had_ipv6 else 'off'})"
            marked = f"{self._alias} {mark}".strip()
            if len(marked.encode()) > ALIAS_SIZE:
                raise PortError(f"{device.name}: its alias is too long to note there what the edge changes")
            route.link("set", index=device.index, ifalias=marked)
            _set_ipv6(device.name, on=False)
            bring_up(route, device)
        except BaseException:
            self._guard.close()
            raise

    def restore(self, route: IPRoute) -> None:
        """Leave the interface as it was found, if it is still there."""
        from pyroute2 import NetlinkError

        try:
            if not self._was_up:
                route.link("set", index=self.device.index, state="down")
            if self._had_ipv6:
                _set_ipv6(self.device.name, on=True)
            route.link("set", index=self.device.index, ifalias=self._alias)
        except NetlinkError as error:
            if error.code not in {errno.ENODEV, errno.ENOENT}:
                raise PortError(f"{self.device.name}: cannot be restored: {error}") from error
        finally:
            self._guard.close()

    def forget(self) -> None:
        """The interface has gone; there is nothing to restore."""
        self._guard.close()


def _refuse_addresses(route: IPRoute, device: Device) -> None:
    found = [
        f"{row.get_attr('IFA_ADDRESS')}/{row['prefixlen']}"
        for row in route.get_addr(index=device.index)
        if row["scope"] < SCOPE_LINK
    ]
    if found:
        raise PortError(
            f"{device.name} has the address {found[0]} on this machine, but the edge is to have it to itself: "
            f"ip address flush dev {device.name}"
        )


def _ipv6_switch(device: str) -> Path:
    return Path("/proc/sys/net/ipv6/conf", device, "disable_ipv6")


def _speaks_ipv6(device: str) -> bool:
    switch = _ipv6_switch(device)
    return switch.exists() and switch.read_text(encoding="ascii").strip() == "0"


def _set_ipv6(device: str, *, on: bool) -> None:
    switch = _ipv6_switch(device)
    if _speaks_ipv6(device) == on or not switch.exists():
        return
    try:
        switch.write_text("0" if on else "1", encoding="ascii")
    except OSError as error:
        wanted = f"sysctl -w net.ipv6.conf.{device}.disable_ipv6={0 if on else 1}"
        raise PortError(
            f"{device}: IPv6 of this machine cannot be switched there: {error.strerror}: {wanted}"
        ) from error
