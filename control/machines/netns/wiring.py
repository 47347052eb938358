"""Cables: bridges for networks in a namespace of the control plane's own, veth pairs to machines and edges.

A bridge is b..., the bridge's end of a machine's cable n..., of an attached interface's p...; what follows is a digest
of what it belongs to, see :func:`control.machines.driver.device_name`.
"""

from __future__ import annotations

import contextlib
import errno
import ipaddress
import os
import re
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import Any

from pyroute2 import IPRoute, NetlinkError

from control.machines.driver import device_name
from control.machines.netns import calls
from control.machines.wishes import Nic

_CARD = re.compile(r"eth[0-9]{1,4}")


@contextlib.contextmanager
def within(namespace: str) -> Iterator[None]:
    """This thread is in a network namespace; sockets that it makes there stay there."""
    home = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    try:
        there = os.open(namespace, os.O_RDONLY | os.O_CLOEXEC)
        try:
            calls.setns(there, calls.CLONE_NEWNET)
        finally:
            os.close(there)
        try:
            yield
        finally:
            calls.setns(home, calls.CLONE_NEWNET)
    finally:
        os.close(home)


class Wiring:
    """The namespace at /run/netns/``name`` and what is in it; made if it is not there."""

    def __init__(self, name: str) -> None:
        self._place = Path("/run/netns", name)
        if not self._usable():
            self._make()
        with within(str(self._place)):
            for family in ("default", "all"):
                Path(f"/proc/sys/net/ipv6/conf/{family}/disable_ipv6").write_text("1", encoding="ascii")
            self._switch = IPRoute()

    def _usable(self) -> bool:
        """Is there a namespace, and not only a file that was to be one's place?"""
        try:
            with within(str(self._place)):
                return True
        except OSError:
            return False

    def _make(self) -> None:
        self._place.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
        self._place.touch(mode=0o444)
        home = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        try:
            calls.unshare(calls.CLONE_NEWNET)
            calls.mount("/proc/thread-self/ns/net", str(self._place), flags=calls.MS_BIND)
        finally:
            calls.setns(home, calls.CLONE_NEWNET)
            os.close(home)

    def remove(self) -> None:
        """The namespace, and with it every cable that ends there."""
        for name in self._names("p"):
            self._delete(name)  # a namespace ends when the kernel finds the time; what others see goes now
        self._switch.close()
        with contextlib.suppress(OSError):
            calls.unmount(str(self._place))
        self._place.unlink(missing_ok=True)

    # ------------------------------------------------------------------ networks and edges

    def attach(self, network: str, device: str) -> None:
        """See Driver."""
        end = device_name("p", device)
        bridge = self._bridge(network)
        if self._index(end) is None:
            here = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
            try:
                peer = {"ifname": device, "net_ns_fd": here}
                self._switch.link("add", ifname=end, kind="veth", peer=peer)
            finally:
                os.close(here)
        self._switch.link("set", index=self._index(end), master=bridge, state="up")

    def retain(self, networks: Collection[str], devices: Collection[str]) -> None:
        """See Driver."""
        kept = {device_name("b", network) for network in networks} | {device_name("p", device) for device in devices}
        for name in self._names("bp"):
            if name not in kept:
                self._delete(name)

    def _bridge(self, network: str) -> int:
        name = device_name("b", network)
        index = self._index(name)
        if index is None:
            self._switch.link("add", ifname=name, kind="bridge", br_forward_delay=0, br_mcast_snooping=0)
            index = self._index(name)
            assert index is not None, "it was just made"
        self._switch.link("set", index=index, state="up")
        return index

    # ------------------------------------------------------------------ machines

    def connect(self, uid: str, network: int, nics: Sequence[Nic]) -> None:
        """The cards of a machine, whose network namespace ``network`` is a descriptor of, are these."""
        with within(f"/proc/self/fd/{network}"):
            inside = IPRoute()
        with contextlib.closing(inside):
            self._address(inside, "lo", ())
            for name in [link.get_attr("IFLA_IFNAME") for link in inside.get_links()]:
                if _CARD.fullmatch(name) and int(name[3:]) >= len(nics):
                    inside.link("del", index=_one(inside, name))
            for number, nic in enumerate(nics):
                self._plug(inside, network, device_name("n", uid, str(number)), f"eth{number}", nic)

    def _plug(self, inside: IPRoute, network: int, end: str, card: str, nic: Nic) -> None:
        if _one(inside, card) is None:
            self._delete(end)  # of a run before this one, which the kernel has not cleared away yet
            peer = {"ifname": card, "net_ns_fd": network, "address": nic.mac}
            self._switch.link("add", ifname=end, kind="veth", peer=peer)
        place = self._index(end)
        live = bool(nic.network) and nic.connected
        self._switch.link("set", index=place, master=self._bridge(nic.network) if nic.network else 0)
        self._switch.link("set", index=place, state="up" if live else "down")
        index = _one(inside, card)
        if inside.link("get", index=index)[0].get_attr("IFLA_ADDRESS") != nic.mac:
            inside.link("set", index=index, state="down")
            inside.link("set", index=index, address=nic.mac)
        self._address(inside, card, nic.addresses)
        for gateway in nic.gateways:
            family = 10 if ":" in gateway else 2
            everything = "::/0" if family == 10 else "0.0.0.0/0"
            inside.route("replace", dst=everything, gateway=gateway, oif=index, family=family)

    def _address(self, inside: IPRoute, card: str, addresses: Sequence[str]) -> None:
        """Up, with these addresses and no others but those of the link."""
        index = _one(inside, card)
        inside.link("set", index=index, state="up")
        if card == "lo":
            return
        wanted = {str(ipaddress.ip_interface(text)) for text in addresses}
        have = {
            f"{row.get_attr('IFA_ADDRESS')}/{row['prefixlen']}"
            for row in inside.get_addr(index=index)
            if row["scope"] == 0
        }
        for text in have - wanted:
            address, _, length = text.partition("/")
            inside.addr("delete", index=index, address=address, prefixlen=int(length))
        for text in wanted - have:
            address, _, length = text.partition("/")
            no_waiting = {"flags": 0x02} if ":" in address else {}  # IFA_F_NODAD: the address was given to it alone
            inside.addr("add", index=index, address=address, prefixlen=int(length), **no_waiting)

    def cut(self, uid: str, nics: Sequence[Nic], *, dead: bool) -> None:
        """A machine that is suspended hears nothing; ``dead`` False: as its cards say again."""
        for number, nic in enumerate(nics):
            place = self._index(device_name("n", uid, str(number)))
            if place is not None:
                live = not dead and bool(nic.network) and nic.connected
                self._switch.link("set", index=place, state="up" if live else "down")

    def unplug(self, uid: str, count: int) -> None:
        """A machine that has ended has no cables."""
        for number in range(count):
            self._delete(device_name("n", uid, str(number)))

    # ------------------------------------------------------------------ links by name

    def _index(self, name: str) -> int | None:
        return _one(self._switch, name)

    def _names(self, kinds: str) -> list[str]:
        names: list[str] = [link.get_attr("IFLA_IFNAME") for link in self._switch.get_links()]
        return [name for name in names if name[0] in kinds and len(name) == 15]

    def _delete(self, name: str) -> None:
        try:
            index = self._index(name)
            if index is not None:
                self._switch.link("del", index=index)
        except NetlinkError as error:
            if error.code != errno.ENODEV:
                raise


def _one(route: Any, name: str) -> int | None:
    found = route.link_lookup(ifname=name)
    return found[0] if found else None
