"""The lab of ``tools/record_example.py``: four network namespaces, a router between them, and what runs inside."""

# ruff: noqa: S603, S607 - to run the programs of this machine is what this file is for

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

READY_TIMEOUT_S = 10.0
OFFLOADS = ("rx", "off", "tx", "off", "tso", "off", "gso", "off", "gro", "off")

ADDRESSES: dict[str, dict[str, list[str]]] = {
    "router": {
        "up0": [*(f"203.0.113.{n}/24" for n in range(10, 16)), "2001:db8:0:ff::10/64"],
        "office0": ["10.20.0.1/24", "2001:db8:20::1/64"],
        "dmz0": ["10.20.10.1/24", "2001:db8:21::1/64"],
    },
    "internet": {
        "eth0": ["203.0.113.1/24", "2001:db8:0:ff::1/64"],
        "lo": [
            "198.51.100.5/32",  # an administrator of the partner
            "198.51.100.53/32",  # the resolver that ACME may ask
            "198.51.100.80/32",  # a web site
            "198.51.100.99/32",  # a visitor
            "198.51.100.123/32",  # a time server that is down
            "198.51.100.200/32",  # the monitoring probe
            "192.0.2.25/32",  # somebody else's mail server
            "192.0.2.53/32",  # a resolver that ACME may not ask
            "192.0.2.66/32",  # a scanner on the blocklist
            "192.0.2.80/32",  # the SIP provider, called by the PBX
            "192.0.2.81/32",  # the SIP provider, calling
            "2001:db8:feed::53/128",
            "2001:db8:feed::80/128",
            "2001:db8:feed::99/128",
            "2001:db8:feed::200/128",
            "2001:db8:bad::66/128",
        ],
    },
    "office": {
        "eth0": [
            "10.20.0.10/24",  # an administrator's PC
            "10.20.0.30/24",  # the ERP database
            "10.20.0.50/24",  # a PC
            "10.20.0.51/24",  # another
            "10.20.0.201/24",  # a printer
            "2001:db8:20::10/64",
            "2001:db8:20::50/64",
        ]
    },
    "dmz": {
        "eth0": [
            "10.20.10.10/24",  # web
            "10.20.10.22/24",  # bastion
            "10.20.10.25/24",  # mail
            "10.20.10.30/24",  # media relay and speed test
            "10.20.10.40/24",  # PBX
            "10.20.10.53/24",  # name server
            "2001:db8:21::10/64",
            "2001:db8:21::25/64",
            "2001:db8:21::53/64",
        ]
    },
}

RULES = """
table ip nat {
  chain prerouting {
    type nat hook prerouting priority dstnat;
    iifname { up0, office0 } ip daddr 203.0.113.11 tcp dport 80 dnat to 10.20.10.10:8080
    iifname up0 ip daddr 203.0.113.11 tcp dport 443 dnat to 10.20.10.10:8443
    iifname up0 ip daddr 203.0.113.12 tcp dport { 25, 587 } dnat to 10.20.10.25
    iifname up0 ip daddr 203.0.113.13 udp dport 53 dnat to 10.20.10.53
    iifname up0 ip daddr 203.0.113.13 tcp dport 53 dnat to 10.20.10.53
    iifname up0 ip daddr 203.0.113.14 tcp dport 2222 dnat to 10.20.10.22:22
    iifname up0 ip daddr 203.0.113.14 tcp dport 5201 dnat to 10.20.10.30
    iifname up0 ip daddr 203.0.113.14 udp dport 20004 dnat to 10.20.10.30:10004
    iifname up0 ip daddr 203.0.113.15 dnat to 10.20.10.40
  }
  chain postrouting {
    type nat hook postrouting priority srcnat;
    oifname up0 ip saddr 10.20.10.25 snat to 203.0.113.12
    oifname up0 ip saddr 10.20.10.40 snat to 203.0.113.15
    oifname up0 ip saddr 10.20.0.0/16 snat to 203.0.113.10
    iifname office0 oifname dmz0 ct status dnat snat to 203.0.113.10
  }
}
table inet filter {
  chain input {
    type filter hook input priority filter; policy drop;
    ct state established accept
    icmp type echo-request accept
    icmpv6 type { echo-request, nd-neighbor-solicit, nd-neighbor-advert } accept
  }
  chain forward {
    type filter hook forward priority filter; policy drop;
    ct state established,related accept
    ip saddr 192.0.2.66 tcp dport != 5201 drop
    ip daddr 192.0.2.66 drop
    iifname up0 ip daddr 10.20.10.22 ip saddr != 198.51.100.0/28 drop
    ct status dnat accept
    iifname up0 ip6 saddr 2001:db8:bad::/48 drop
    iifname up0 ip6 daddr 2001:db8:21::10 tcp dport { 80, 443 } accept
    iifname up0 ip6 daddr 2001:db8:21::10 icmpv6 type echo-request accept
    iifname up0 ip6 daddr 2001:db8:21::25 tcp dport { 25, 587 } accept
    iifname up0 ip6 daddr 2001:db8:21::53 meta l4proto { tcp, udp } th dport 53 accept
    oifname up0 ip saddr 10.20.0.200-10.20.0.219 drop
    oifname up0 ip daddr 198.51.100.53 meta l4proto { tcp, udp } th dport 53 accept
    oifname up0 ip6 daddr 2001:db8:feed::53 meta l4proto { tcp, udp } th dport 53 accept
    oifname up0 ip saddr 10.20.10.25 tcp dport 25 accept
    oifname up0 ip saddr 10.20.10.40 udp dport 5060 accept
    oifname up0 tcp dport { 80, 443 } accept
    oifname up0 udp dport 123 accept
    oifname up0 meta l4proto { icmp, ipv6-icmp } accept
    iifname office0 oifname up0 tcp dport 5201 accept
    iifname office0 oifname dmz0 ip daddr 10.20.10.10 tcp dport 8080 accept
    iifname office0 oifname dmz0 ip6 daddr 2001:db8:21::10 tcp dport 80 accept
    iifname office0 oifname dmz0 tcp dport 587 accept
    iifname office0 oifname dmz0 ip saddr 10.20.0.10 meta l4proto icmp accept
    iifname office0 oifname dmz0 ip saddr 10.20.0.10 tcp dport 22 accept
    iifname dmz0 oifname office0 ip saddr 10.20.10.10 ip daddr 10.20.0.30 tcp dport 5432 accept
  }
}
"""


class Lab:
    """Four namespaces and every process started in them; leaving the ``with`` block removes all of it.

    Raises RuntimeError when a step of the set-up fails or a server is not up within ``READY_TIMEOUT_S``.
    """

    def __init__(self, work: Path) -> None:
        self.work = work
        self.namespaces: dict[str, str] = {}
        self.processes: list[subprocess.Popen[str]] = []

    def __enter__(self) -> Self:
        try:
            self._build()
        except BaseException:
            self._remove()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._remove()

    def _build(self) -> None:
        for name in ADDRESSES:
            namespace = f"t1rec{os.getpid()}-{name}"
            command(["ip", "netns", "add", namespace])
            self.namespaces[name] = namespace
            self.must(name, ["sysctl", "-qw", "net.ipv6.conf.default.accept_dad=0", "net.ipv6.conf.all.accept_dad=0"])
            self.must(name, ["ip", "link", "set", "lo", "up"])
        switches = ["net.ipv4.ip_forward=1", "net.ipv6.conf.all.forwarding=1", "net.ipv4.conf.all.send_redirects=0"]
        self.must("router", ["sysctl", "-qw", *switches])
        for port, peer in (("up0", "internet"), ("office0", "office"), ("dmz0", "dmz")):
            self.must(
                "router",
                ["ip", "link", "add", port, "type", "veth", "peer", "name", "eth0", "netns", self.namespaces[peer]],
            )
            for name, device in (("router", port), (peer, "eth0")):
                self.must(name, ["ethtool", "-K", device, *OFFLOADS])
        for name, devices in ADDRESSES.items():
            for device, addresses in devices.items():
                for address in addresses:
                    nodad = ["nodad"] if ":" in address else []
                    self.must(name, ["ip", "address", "add", address, "dev", device, *nodad])
                self.must(name, ["ip", "link", "set", device, "up"])
        for name, *gateways in (
            ("office", "10.20.0.1", "2001:db8:20::1"),
            ("dmz", "10.20.10.1", "2001:db8:21::1"),
            ("router", "203.0.113.1", "2001:db8:0:ff::1"),
        ):
            for gateway in gateways:
                self.must(name, ["ip", "route", "add", "default", "via", gateway])
        for network in ("2001:db8:20::/64", "2001:db8:21::/64"):
            self.must("internet", ["ip", "route", "add", network, "via", "2001:db8:0:ff::10"])
        self.must("router", ["nft", "-f", "-"], text=RULES)

    def _remove(self) -> None:
        for process in reversed(self.processes):
            end(process)
        for namespace in self.namespaces.values():
            subprocess.run(["ip", "netns", "delete", namespace], check=False, capture_output=True)

    def inside(self, name: str, argv: Sequence[str]) -> list[str]:
        """The command line that runs ``argv`` in the namespace called ``name``."""
        return ["ip", "netns", "exec", self.namespaces[name], *argv]

    def must(self, name: str, argv: Sequence[str], text: str | None = None) -> None:
        """Run to the end; RuntimeError with the program's own words if it fails."""
        command(self.inside(name, argv), text)

    def start(self, name: str, argv: Sequence[str]) -> subprocess.Popen[str]:
        """Start and leave running, in a session of its own so that its children end with it."""
        process = subprocess.Popen(
            self.inside(name, argv),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        self.processes.append(process)
        return process

    def talk(self, *calls: tuple[str, str], text: str | None = None) -> None:
        """Run several clients at once, each ``(namespace, command line)``, and wait for all.  How they fare is in the
        capture: many are meant to fail."""
        running = [
            subprocess.Popen(
                self.inside(name, line.split()),
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                text=True,
                start_new_session=True,
            )
            for name, line in calls
        ]
        self.processes.extend(running)
        for process in running:
            process.communicate(text, timeout=30)
            self.processes.remove(process)

    def wait_listening(self, name: str, sockets: Iterable[str]) -> None:
        """Wait until every ``address:port`` is being listened on."""
        missing = set(sockets)
        deadline = time.monotonic() + READY_TIMEOUT_S
        while missing:
            rows = command(self.inside(name, ["ss", "-Hlntu"])).splitlines()
            missing -= {row.split()[4].replace("[", "").replace("]", "") for row in rows}
            if time.monotonic() > deadline:
                raise RuntimeError(f"nothing listens on {', '.join(sorted(missing))} in {name}")
            time.sleep(0.05)


def command(argv: Sequence[str], text: str | None = None) -> str:
    """Run to the end and return its standard output; RuntimeError with the program's own words if it fails."""
    done = subprocess.run(argv, check=False, capture_output=True, text=True, input=text)
    if done.returncode:
        raise RuntimeError(f"{' '.join(argv)}: {(done.stderr or done.stdout).strip()}")
    return done.stdout


def end(process: subprocess.Popen[str]) -> None:
    """End one process that we started, with its children: politely, then for good."""
    for sign in (signal.SIGTERM, signal.SIGKILL):
        if process.poll() is None:
            os.killpg(process.pid, sign)
            try:
                process.wait(2)
            except subprocess.TimeoutExpired:
                continue
