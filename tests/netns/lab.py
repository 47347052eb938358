r"""Three network namespaces in a row, made for one test and removed with it.

    client                        edge                                server
    +------------------+         +------------------------+          +-------------------------------+
    |  c0 10.20.0.10   |=========| e0                  e1 |==========| s0 203.0.113.1   provider     |
    |     2001:db8:20::10        |   t1edge, a process    |          |    2001:db8:ff::1             |
    +------------------+  veth   +------------------------+   veth   | lo 198.51.100.5  the internet |
                                                                     |    2001:db8:5::5              |
                                                                     +-------------------------------+

The edge is the company of :func:`tests.support.acme`: LAN is e0, INTERNET is e1.
"""

from __future__ import annotations

import ctypes
import fcntl
import itertools
import json
import os
import socket
import struct
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.closing import Closing
from tests.waiting import wait_for

ROOT = Path(__file__).resolve().parents[2]
CLONE_NEWNET = 0x40000000
PATIENCE = 20.0
"""Seconds that a state may take to come."""

SIOCETHTOOL = 0x8946
ETHTOOL_STXCSUM, ETHTOOL_STSO, ETHTOOL_SGSO = 0x17, 0x1F, 0x24

NUMBERS = itertools.count()
LIBC = ctypes.CDLL(None, use_errno=True)


def run(*command: str, check: bool = True) -> str:
    """What a command says."""
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert not check or done.returncode == 0, f"{' '.join(command)}: {done.stderr.strip()}"
    return done.stdout


def switch_off(device: str, command: int) -> None:
    """An offload of a device in this thread's namespace."""
    value = ctypes.create_string_buffer(struct.pack("=II", command, 0))
    request = struct.pack("16sP16x", device.encode(), ctypes.addressof(value))
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking:
        fcntl.ioctl(asking, SIOCETHTOOL, request)


class Space:
    """One namespace, by name."""

    def __init__(self, role: str) -> None:
        self.name = f"t1edge-{os.getpid()}-{next(NUMBERS)}-{role}"
        run("ip", "netns", "add", self.name)
        self.run("ip", "link", "set", "lo", "up")

    def run(self, *command: str, check: bool = True) -> str:
        """What a command says inside."""
        return run("ip", "netns", "exec", self.name, *command, check=check)

    @contextmanager
    def inside(self) -> Iterator[None]:
        """This thread is in the namespace; sockets that it makes stay there."""
        with Path("/proc/thread-self/ns/net").open("rb") as home, Path("/run/netns", self.name).open("rb") as there:
            assert LIBC.setns(there.fileno(), CLONE_NEWNET) == 0, os.strerror(ctypes.get_errno())
            try:
                yield
            finally:
                assert LIBC.setns(home.fileno(), CLONE_NEWNET) == 0, os.strerror(ctypes.get_errno())

    def socket(self, family: int, kind: int, address: tuple[str, int] | None = None) -> socket.socket:
        """A socket inside, bound to an address."""
        with self.inside():
            made = socket.socket(family, kind)
        made.settimeout(PATIENCE)
        if address is not None:
            made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            made.bind(address)
        return made

    def ping(self, address: str, *options: str) -> list[str]:
        """What three echo requests of one session hear, each asked when the one before is done with.

        Alone each waits for its answer.  The last of several ping(8) gives only as long as the slowest before took, or
        the interval: less than a busy machine may need.
        """
        command = ("ping", "-c", "1", "-W", str(round(PATIENCE)), "-e", str(next(NUMBERS) % 65_535 + 1), *options)
        return [self.run(*command, address, check=False) for _ in range(3)]

    def remove(self) -> None:
        run("ip", "netns", "delete", self.name, check=False)


class EdgeProcess:
    """The edge in its namespace; ``ask()`` what it knows."""

    workers = 1

    def __init__(self, space: Space, *specs: str, mtu: int = 1500) -> None:
        command = ["ip", "netns", "exec", space.name, sys.executable, "-m", "tests.netns.process"]
        command += [str(self.workers), str(mtu), *specs]
        self.process = subprocess.Popen(
            command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1
        )
        assert self._line() == "ready"

    def _line(self) -> str:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line, f"the edge ended with {self.process.wait()}"
        return line.strip()

    def ask(self) -> dict[str, Any]:
        """Ports, reasons, sessions, what workers have done."""
        assert self.process.stdin is not None
        self.process.stdin.write("\n")
        answer: dict[str, Any] = json.loads(self._line())
        return answer

    def stop(self) -> None:
        """In good order."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        assert self.process.wait(PATIENCE) == 0
        assert self.process.stdout is not None
        self.process.stdout.close()

    def kill(self) -> None:
        """kill -9."""
        self.process.kill()
        self.process.wait(PATIENCE)
        for file in (self.process.stdin, self.process.stdout):
            assert file is not None
            file.close()


class Lab(Closing):
    """``with Lab() as lab:`` has the three namespaces; ``lab.start()`` an edge between them."""

    def __init__(self, *, offload: bool = True) -> None:
        self.spaces: list[Space] = []
        self.edges: list[EdgeProcess] = []
        try:
            self.client, self.middle, self.server = (self._space(role) for role in ("client", "edge", "server"))
            self.join(self.client, "c0", "e0")
            self.join(self.server, "s0", "e1")
            self._address()
            for port in ("e0", "e1"):  # an interface that was never up has another queueing discipline
                self.middle.run("ip", "link", "set", port, "up")
                self.middle.run("ip", "link", "set", port, "down")
            if not offload:
                for space, device in ((self.client, "c0"), (self.server, "s0")):
                    with space.inside():
                        for command in (ETHTOOL_STSO, ETHTOOL_SGSO, ETHTOOL_STXCSUM):
                            switch_off(device, command)
        except BaseException:
            self.close()
            raise

    def _space(self, role: str) -> Space:
        self.spaces.append(Space(role))
        return self.spaces[-1]

    def join(self, outer: Space, device: str, port: str) -> None:
        """A cable from a namespace to the edge's."""
        run("ip", "link", "add", device, "netns", outer.name, "type", "veth", "peer", "name", port, "netns",
            self.middle.name)  # fmt: skip
        outer.run("ip", "link", "set", device, "up")

    def _address(self) -> None:
        for space, device, addresses in (
            (self.client, "c0", ("10.20.0.10/24", "2001:db8:20::10/64")),
            (self.server, "s0", ("203.0.113.1/24", "2001:db8:ff::1/64")),
            (self.server, "lo", ("198.51.100.5/32", "2001:db8:5::5/128")),
        ):
            for address in addresses:
                space.run("ip", "address", "add", address, "dev", device, *(["nodad"] if ":" in address else []))
        self.client.run("ip", "route", "add", "default", "via", "10.20.0.1")
        self.client.run("ip", "-6", "route", "add", "default", "via", "2001:db8:20::1")
        self.server.run("ip", "-6", "route", "add", "2001:db8:20::/64", "via", "2001:db8:ff::10")

    def start(self, *specs: str, mtu: int = 1500) -> EdgeProcess:
        """An edge, by default with the two cables, both up."""
        edge = EdgeProcess(self.middle, *(specs or ("LAN=link:e0", "INTERNET=link:e1")), mtu=mtu)
        self.edges.append(edge)
        wait_for("the ports are up", lambda: all(port["up"] for port in edge.ask()["ports"].values()))
        return edge

    def state(self) -> str:
        """What an edge may have changed around it: interfaces, rule sets, queueing disciplines, addresses."""
        shown = self.middle.run("ip", "-details", "link", "show")
        shown += self.middle.run("tc", "qdisc", "show") + self.middle.run("nft", "list", "ruleset")
        for device in ("e0", "e1"):
            shown += self.middle.run("cat", f"/proc/sys/net/ipv6/conf/{device}/disable_ipv6")
        return shown

    def close(self) -> None:
        """Leave nothing."""
        for edge in self.edges:
            if edge.process.poll() is None:
                edge.kill()
        for space in self.spaces:
            space.remove()
