#!/usr/bin/env python3
"""The edge between two network namespaces, beside the kernel's own router with the same policy in nftables.

    client ---- veth ---- edge or router ---- veth ---- sink
    CPU 0                      CPU 1

The kernel's router works on the CPU of whoever sends, or, steered by RPS, on the second one; the better of both counts.

The policy: 1,000 firewall rules that do not match before one that does, and SNAT.  Packets are UDP of 64 bytes in 100
flows, sent as fast as the client can; what arrives at the sink is counted.  Trials of both routers take turns.  TCP is
one connection of iperf3 (a Debian package; without it that figure is missing), latency the median of pings every 2 ms.

Prints one JSON document, medians and the least and the most of the trials; needs root.  Other load on the machine
changes the figures of both.  `--realtime` keeps it from those of packets, but not from the router that is steered: a
thread of the kernel works for it.  What the edge spends includes waiting for more frames.
"""

from __future__ import annotations

import argparse
import ctypes
import json
import os
import shutil
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from edge.forwarder import Forwarder  # noqa: E402
from edge.guard import InterfaceGuard  # noqa: E402
from edge.packets.build import build_frame  # noqa: E402
from edge.packets.text import parse_packet  # noqa: E402
from edge.ports import PortSpec  # noqa: E402
from edge.runtime import Edge  # noqa: E402
from tests.netns.lab import Space, run, wait_for  # noqa: E402
from tests.support import edge_config, nat, network, rule, uplink  # noqa: E402

CLIENT, OUTSIDE, SERVER = "10.20.0.10", "203.0.113.10", "198.51.100.5"
FLOWS = 100
BATCH = 64


def rules(count: int) -> list[str]:
    """Networks that no packet goes to."""
    return [f"100.{64 + number // 256}.{number % 256}.0/24" for number in range(count)]


def forward(count: int) -> None:
    """The edge as a process: until standard input ends."""
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    config = edge_config(
        uplinks=[uplink("INTERNET", f"203.0.113.1/24 {OUTSIDE}-{OUTSIDE}")],
        networks=[network("LAN", "10.20.0.1/24")],
        firewall=[
            *(rule(f"r{number}", destination=there) for number, there in enumerate(rules(count))),
            rule("out", source="10.20.0.0/24"),
        ],
        nat_rules=[nat("internet", "SNAT", OUTSIDE, "10.20.0.0/24")],
    )
    specs = [PortSpec.parse("LAN=link:e0"), PortSpec.parse("INTERNET=link:e1")]
    with Forwarder(Edge(config), specs):
        print("ready", flush=True)
        sys.stdin.read()


def ruleset(count: int) -> str:
    """The same for nftables."""
    lines = [f"ip daddr {there} accept" for there in rules(count)]
    body = "\n".join(lines)
    return f"""
table ip edge {{
  chain passing {{
    type filter hook forward priority 0; policy drop;
    ct state established,related accept
    {body}
    ip saddr 10.20.0.0/24 accept
  }}
  chain leaving {{
    type nat hook postrouting priority 100;
    oifname "e1" ip saddr 10.20.0.0/24 snat to {OUTSIDE}
  }}
}}
"""


class Road:
    """Client, router and sink; the middle is bare."""

    def __init__(self) -> None:
        self.client, self.middle, self.sink = (Space(role) for role in ("client", "router", "sink"))
        for space, device, port in ((self.client, "c0", "e0"), (self.sink, "s0", "e1")):
            run("ip", "link", "add", device, "netns", space.name, "type", "veth", "peer", "name", port, "netns",
                self.middle.name)  # fmt: skip
            space.run("ip", "link", "set", device, "up")
        self.client.run("ip", "address", "add", f"{CLIENT}/24", "dev", "c0")
        self.client.run("ip", "route", "add", "default", "via", "10.20.0.1")
        self.sink.run("ip", "address", "add", "203.0.113.1/24", "dev", "s0")
        self.sink.run("ip", "address", "add", f"{SERVER}/32", "dev", "lo")

    def received(self) -> int:
        """Packets that have arrived at the sink."""
        return int(self.sink.run("cat", "/sys/class/net/s0/statistics/rx_packets"))

    def threads(self) -> list[int]:
        """The router's, as far as it is a process."""
        return []

    def spent(self) -> float:
        """Seconds of processor that these have had."""
        return sum(
            int(Path(f"/proc/{thread}/schedstat").read_text(encoding="ascii").split()[0]) / 1e9
            for thread in self.threads()
        )

    def reach(self) -> None:
        """Until pings come back: everybody knows everybody."""
        wait_for(
            "a way through",
            lambda: " 0% packet loss" in self.client.run("ping", "-c", "1", "-W", "1", SERVER, check=False),
        )

    def answer(self, ask: Callable[[], object]) -> None:
        """Have the server answer one packet of each flow, without which they are not established to the kernel."""
        with self.sink.socket(socket.AF_INET, socket.SOCK_DGRAM, (SERVER, 9)) as server:
            ask()
            heard = set()
            while len(heard) < FLOWS:
                _, flow = server.recvfrom(100)
                server.sendto(b"", flow)
                heard.add(flow)

    def drop(self) -> InterfaceGuard:
        """What the sink drops as soon as it has been counted costs it little, until this is closed."""
        with self.sink.inside():
            return InterfaceGuard("s0", socket.if_nametoindex("s0"))

    def remove(self) -> None:
        """Leave nothing."""
        for space in (self.client, self.middle, self.sink):
            space.remove()


class EdgeRoad(Road):
    """With the edge in the middle."""

    def __init__(self, count: int) -> None:
        super().__init__()
        command = ["ip", "netns", "exec", self.middle.name, sys.executable, __file__, "--serve", str(count)]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert self.process.stdout is not None
        if self.process.stdout.readline() != "ready\n":
            raise SystemExit("the edge did not start")
        self.reach()

    def threads(self) -> list[int]:
        """All of the edge's."""
        return [int(task.name) for task in Path(f"/proc/{self.process.pid}/task").iterdir()]

    def remove(self) -> None:
        """The edge first."""
        self.process.communicate()
        super().remove()


class KernelRoad(Road):
    """With nftables in the middle: on the CPU of whoever sends, or on the second CPU (``steered``)."""

    def __init__(self, count: int, *, steered: bool) -> None:
        super().__init__()
        for device, address in (("e0", "10.20.0.1/24"), ("e1", f"{OUTSIDE}/24")):
            self.middle.run("ip", "link", "set", device, "up")
            self.middle.run("ip", "address", "add", address, "dev", device)
            mask = f"{1 << max(os.sched_getaffinity(0)):x}" if steered else "0"
            self.middle.run("sh", "-c", f"echo {mask} > /sys/class/net/{device}/queues/rx-0/rps_cpus")
        self.middle.run("ip", "route", "add", "default", "via", "203.0.113.1")
        self.middle.run("sh", "-c", "echo 1 > /proc/sys/net/ipv4/ip_forward")
        with self.middle.inside():
            subprocess.run(["nft", "-f", "-"], input=ruleset(count), text=True, check=True)
        self.reach()


class Message(ctypes.Structure):
    """struct mmsghdr."""

    _fields_ = [
        ("name", ctypes.c_void_p), ("name_size", ctypes.c_uint), ("parts", ctypes.c_void_p),
        ("part_count", ctypes.c_size_t), ("control", ctypes.c_void_p), ("control_size", ctypes.c_size_t),
        ("flags", ctypes.c_int), ("padding", ctypes.c_int), ("size", ctypes.c_uint),
    ]  # fmt: skip


def packet_rate(road: Road, seconds: float) -> tuple[float, float, float]:
    """Packets a second that are offered, and that arrive, and seconds of the router's processor for each of these."""
    mac = bytes.fromhex(road.middle.run("cat", "/sys/class/net/e0/address").strip().replace(":", ""))
    own = bytes.fromhex(road.client.run("cat", "/sys/class/net/c0/address").strip().replace(":", ""))
    frames = [
        ctypes.create_string_buffer(
            mac + own + build_frame(parse_packet(f"udp {CLIENT}:{20_000 + flow} > {SERVER}:9"))[12:].ljust(48, b"\0"),
            60,
        )
        for flow in range(FLOWS)
    ]
    batches = []
    for first in range(0, FLOWS * BATCH, BATCH):
        messages = (Message * BATCH)()
        parts = ((ctypes.c_size_t * 2) * BATCH)()
        for place in range(BATCH):
            frame = frames[(first + place) % FLOWS]
            parts[place][0], parts[place][1] = ctypes.addressof(frame), 60
            messages[place].parts = ctypes.addressof(parts[place])
            messages[place].part_count = 1
        batches.append((messages, parts))
    send = ctypes.CDLL(None).sendmmsg
    with road.client.inside():
        out = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
        out.bind(("c0", 0))
    offered = 0
    with out:
        road.answer(lambda: send(out.fileno(), batches[0][0], BATCH, 0) + send(out.fileno(), batches[1][0], BATCH, 0))
        with road.drop():
            busy, before, begun = road.spent(), road.received(), time.perf_counter()
            while time.perf_counter() - begun < seconds:
                for messages, _ in batches[:10]:
                    offered += max(0, send(out.fileno(), messages, BATCH, 0))
            spent = time.perf_counter() - begun
            time.sleep(0.05)
            arrived = road.received() - before
            return offered / spent, arrived / spent, (road.spent() - busy) / max(arrived, 1)


def stream_rate(road: Road, seconds: float) -> float:
    """Bits a second of one TCP connection."""
    server = subprocess.Popen(
        ["ip", "netns", "exec", road.sink.name, "iperf3", "-s", "-1", "--forceflush"], stdout=subprocess.PIPE, text=True
    )
    assert server.stdout is not None
    while "listening" not in server.stdout.readline():
        pass
    answer = road.client.run("iperf3", "-c", SERVER, "-t", str(max(1, round(seconds))), "-J")  # 0 would be for ever
    server.communicate()
    return float(json.loads(answer)["end"]["sum_received"]["bits_per_second"])


def latency(road: Road) -> float:
    """Seconds of a ping, the median."""
    answer = road.client.run("ping", "-c", "200", "-i", "0.002", SERVER)
    return (
        statistics.median(float(line.split("time=")[1].split()[0]) for line in answer.splitlines() if "time=" in line)
        / 1e3
    )


def trial(roads: dict[str, Road], measure: Callable[[Road], Any], trials: int) -> dict[str, list[Any]]:
    """Samples by router, which take turns."""
    found: dict[str, list[Any]] = {name: [] for name in roads}
    for _ in range(trials):
        for name, road in roads.items():
            found[name].append(measure(road))
    return found


def middle(found: list[tuple[float, ...]], place: int) -> int:
    """The median of one of several figures."""
    return round(statistics.median(sample[place] for sample in found))


def spread(found: list[float]) -> list[int]:
    """The least and the most."""
    return [round(min(found)), round(max(found))]


def prefer(roads: dict[str, Road]) -> None:
    """Let the sender and the routers run before all other programs: they wait for as long as a trial lasts."""
    for thread in (0, *(thread for road in roads.values() for thread in road.threads())):
        os.sched_setscheduler(thread, os.SCHED_FIFO, os.sched_param(1))


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--rules", type=int, default=1000)
    parser.add_argument("--trials", type=int, default=7)
    parser.add_argument("--seconds", type=float, default=1.0, help="of a trial (1)")
    parser.add_argument("--realtime", action="store_true", help="measure packets before all else that runs here")
    parser.add_argument("--serve", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve is not None:
        forward(options.serve)
        return 0
    cpus = sorted(os.sched_getaffinity(0))
    roads: dict[str, Road] = {}
    try:
        roads["edge"] = EdgeRoad(options.rules)
        roads["nftables"] = KernelRoad(options.rules, steered=False)
        roads["nftablesSteered"] = KernelRoad(options.rules, steered=True)
        result: dict[str, Any] = {"rules": options.rules, "flows": FLOWS, "load": os.getloadavg()[0]}
        pings = trial(roads, latency, options.trials)
        if shutil.which("iperf3"):
            streams = trial(roads, lambda road: stream_rate(road, options.seconds), options.trials)
            result["tcpBitsPerSecond"] = {name: round(statistics.median(found)) for name, found in streams.items()}
            result["tcpSpread"] = {name: spread(found) for name, found in streams.items()}
        os.sched_setaffinity(0, {cpus[0]})
        if options.realtime:
            prefer(roads)
        packets = trial(roads, lambda road: packet_rate(road, options.seconds), options.trials)
        result["offeredPerSecond"] = {name: middle(found, 0) for name, found in packets.items()}
        result["packetsPerSecond"] = {name: middle(found, 1) for name, found in packets.items()}
        result["packetsSpread"] = {name: spread([sample[1] for sample in found]) for name, found in packets.items()}
        result["edgeNanosecondsPerPacket"] = round(statistics.median(cost for _, _, cost in packets["edge"]) * 1e9)
        rates = result["packetsPerSecond"]
        result["ratio"] = round(rates["edge"] / max(rates["nftables"], rates["nftablesSteered"]), 2)
        result["pingSeconds"] = {name: round(statistics.median(found), 6) for name, found in pings.items()}
        print(json.dumps(result, indent=2))
    finally:
        for road in roads.values():
            road.remove()
    return 0


if __name__ == "__main__":
    sys.exit(main())
