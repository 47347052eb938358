"""``t1edge serve`` between namespaces: what trace predicts is what happens to real connections.

tests/netns/lab.py draws the namespaces.
"""

from __future__ import annotations

import json
import logging
import os
import random
import socket
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from edge.v1 import config_pb2
from edge.v1 import edge_service_pb2 as pb
from tests.netns.lab import Lab, Space
from tests.netns.peers import LONG_S, REACHED, REFUSED, SHORT_S, SILENT, Answerer, Attempt
from tests.netns.prediction import predicted, traced
from tests.netns.served import populated, serve
from tests.serve.process import Wire
from tests.waiting import wait_for

pytestmark = pytest.mark.needs("netns", "nft")

ATTEMPTS = 200
CHANGES = int(os.environ.get("T1EDGE_SERVED_CHANGES", "50"))
SEED = int(os.environ.get("T1EDGE_SERVED_SEED", "1"))

CLIENTS = ("10.20.0.10", "10.20.0.11", "10.20.0.12")
SERVERS = ("198.51.100.5", "198.51.100.6", "198.51.100.7")
OUTSIDE = (*SERVERS, "203.0.113.1")
PUBLIC = ("203.0.113.10", "203.0.113.11", "203.0.113.12")
PORTS = {"tcp": (25, 80, 80, 443, 8000, 8001, 8080, 8443), "udp": (53, 53, 5353, 8000, 8001, 8443)}
OPEN = tuple(sorted({port for ports in PORTS.values() for port in ports}))

POLICY = """\
edgeGateway:
  name: T1-SERVED
  edgeGatewayUplinks:
    - uplinkName: INTERNET
      subnets: {values: [{gateway: 203.0.113.1, prefixLength: 24, primaryIp: 203.0.113.10,
                          ipRanges: {values: [{startAddress: 203.0.113.10, endAddress: 203.0.113.12}]}}]}
orgVdcNetworks:
  - {name: LAN, networkType: NAT_ROUTED, connection: {connectionTypeValue: INTERNAL},
     subnets: {values: [{gateway: 10.20.0.1, prefixLength: 24}]}}
firewallGroups:
  - {name: lan, typeValue: STATIC_MEMBERS, members: [LAN]}
  - {name: pc-10, typeValue: IP_SET, ipAddresses: [10.20.0.10]}
  - {name: pc-11, typeValue: IP_SET, ipAddresses: [10.20.0.11]}
  - {name: bad, typeValue: IP_SET, ipAddresses: [198.51.100.7]}
applicationPortProfiles:
  - {name: web, applicationPorts: [{protocol: TCP, destinationPorts: ["80", "443", "8080"]}]}
  - {name: web-8080, applicationPorts: [{protocol: TCP, destinationPorts: ["8080"]}]}
  - {name: dns, applicationPorts: [{protocol: UDP, destinationPorts: ["53"]}]}
  - {name: dns-5353, applicationPorts: [{protocol: UDP, destinationPorts: ["5353"]}]}
  - {name: smtp, applicationPorts: [{protocol: TCP, destinationPorts: ["25"]}]}
  - {name: odd, applicationPorts: [{protocol: TCP, destinationPorts: ["8000-8001"]},
                                   {protocol: UDP, destinationPorts: ["8000-8001"]}]}
  - {name: alt, applicationPorts: [{protocol: TCP, destinationPorts: ["8443"]},
                                   {protocol: UDP, destinationPorts: ["8443"]}]}
  - {name: ping, applicationPorts: [{protocol: ICMPv4}]}
PROFILES
firewallRules:
  userDefinedRules:
    - {name: nobody-to-bad, actionValue: DROP, destinationFirewallGroups: [bad]}
    - {name: from-bad, actionValue: REJECT, sourceFirewallGroups: [bad], applicationPortProfiles: [web, ping]}
    - {name: no-mail, actionValue: REJECT, sourceFirewallGroups: [lan], applicationPortProfiles: [smtp]}
    - {name: no-alt, actionValue: REJECT, applicationPortProfiles: [alt]}
    - {name: no-ping, actionValue: REJECT, sourceFirewallGroups: [pc-11], applicationPortProfiles: [ping]}
    - {name: odd-10, actionValue: ALLOW, sourceFirewallGroups: [pc-10], applicationPortProfiles: [odd]}
    - {name: out-web, actionValue: ALLOW, sourceFirewallGroups: [lan], applicationPortProfiles: [web, dns, ping]}
    - {name: in-web, actionValue: ALLOW, destinationFirewallGroups: [pc-10], applicationPortProfiles: [web-8080]}
    - {name: in-dns, actionValue: ALLOW, destinationFirewallGroups: [pc-11], applicationPortProfiles: [dns-5353]}
RULES
  defaultRules: [{name: default_rule, actionValue: DROP}]
natRules:
  - {name: pub-web, type: DNAT, externalAddresses: 203.0.113.11, dnatExternalPort: "80",
     internalAddresses: 10.20.0.10, applicationPortProfile: web-8080, priority: 10}
  - {name: pub-dns, type: DNAT, externalAddresses: 203.0.113.12, dnatExternalPort: "53",
     internalAddresses: 10.20.0.11, applicationPortProfile: dns-5353, priority: 10}
  - {name: out-12, type: SNAT, externalAddresses: 203.0.113.12, internalAddresses: 10.20.0.12, priority: 50}
  - {name: internet, type: SNAT, externalAddresses: 203.0.113.10, internalAddresses: 10.20.0.0/24, priority: 100}
options: {icmpErrorRate: 100000}
"""
FIRST_PROBE = 7000

_log = logging.getLogger(__name__)


def policy(*, probes: int = 0, rules: int = 0) -> str:
    """The policy; with profiles probe-0 and so on for a UDP port each, and more rules that match nothing here."""
    profiles = [
        f"  - {{name: probe-{number}, applicationPorts: "
        f'[{{protocol: UDP, destinationPorts: ["{FIRST_PROBE + number}"]}}]}}\n'
        for number in range(probes)
    ]
    more = [
        f"    - {{name: more-{number}, actionValue: ALLOW, sourceFirewallGroups: [bad], "
        "applicationPortProfiles: [dns]}\n"
        for number in range(rules)
    ]
    return POLICY.replace("PROFILES\n", "".join(profiles)).replace("RULES\n", "".join(more))


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    with populated(CLIENTS[1:], SERVERS[1:]) as made:
        yield made


def random_attempts(lab: Lab, rng: random.Random) -> Iterator[Attempt]:
    """Connections of all kinds, each with a source port of its own."""
    ports = rng.sample(range(20_000, 32_000), ATTEMPTS)  # below those that the kernel gives to others
    for source_port in ports:
        protocol = rng.choice(("tcp", "tcp", "udp", "udp", "icmp"))
        outward = rng.random() < 0.6
        space, sources = (lab.client, CLIENTS) if outward else (lab.server, OUTSIDE)
        destinations = (*SERVERS, *SERVERS, *PUBLIC, "203.0.113.1", "10.20.0.1") if outward else PUBLIC
        source, destination = rng.choice(sources), rng.choice(destinations)
        if protocol == "icmp":
            yield Attempt(space, protocol, source, 0, destination, 0)
        else:
            yield Attempt(space, protocol, source, source_port, destination, rng.choice(PORTS[protocol]))


@pytest.mark.parametrize("workers", [1, 2])
def test_what_trace_predicts_happens_to_real_connections(lab: Lab, tmp_path: Path, workers: int) -> None:
    rng = random.Random(SEED)
    attempts = list(random_attempts(lab, rng))
    with serve(lab, tmp_path, policy(), workers) as service:
        with service.client() as client:
            grouped = traced(client, [str(attempt) for attempt in attempts])
        expected = [predicted(results) for results in grouped]
        assert len(expected) == ATTEMPTS
        with (
            Answerer(lab.server, OUTSIDE, OPEN),
            Answerer(lab.client, CLIENTS, OPEN),
            ThreadPoolExecutor(16) as pool,
        ):
            made = list(
                pool.map(
                    lambda attempt, what: attempt.made(SHORT_S if what[0] == SILENT else LONG_S), attempts, expected
                )
            )
        kinds: Counter[tuple[str, str]] = Counter()
        wrong = []
        for attempt, what, results, found in zip(attempts, expected, grouped, made, strict=True):
            kinds[attempt.protocol, what[0]] += 1
            if found[0] != what[0] or (what[0] == REACHED and found[1] != what[1]):
                wrong.append((str(attempt), what, found, results[-1].reason.name, results[-1].explanation))
        _log.info("%d connections: %s", ATTEMPTS, dict(kinds))
        assert not wrong, "\n".join(map(str, wrong))
        for protocol in ("tcp", "udp", "icmp"):
            for what in (REACHED, REFUSED, SILENT):
                assert kinds[protocol, what], (protocol, what, kinds)
        service.stop()


class Stream:
    """Datagrams of a permitted flow, numbered, every few milliseconds; and probes, each from a port of its own."""

    def __init__(self, space: Space) -> None:
        self.sent = 0
        self.probe = FIRST_PROBE
        self._space = space
        self._stopping = threading.Event()
        self._threads = [threading.Thread(target=work) for work in (self._flow, self._probes)]
        for thread in self._threads:
            thread.start()

    def _flow(self) -> None:
        with self._space.socket(socket.AF_INET, socket.SOCK_DGRAM, (CLIENTS[0], 40_000)) as out:
            while not self._stopping.wait(0.002):
                out.sendto(str(self.sent).encode(), (SERVERS[0], 8000))
                self.sent += 1

    def _probes(self) -> None:
        with self._space.inside():
            while not self._stopping.wait(0.001):
                with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as out:
                    out.sendto(b"probe", (SERVERS[0], self.probe))

    def stop(self) -> None:
        self._stopping.set()
        for thread in self._threads:
            thread.join()


@pytest.mark.parametrize("workers", [1, 2])
def test_changes_under_traffic_lose_no_packet(lab: Lab, tmp_path: Path, workers: int) -> None:
    """One rule of a thousand is changed again and again, so that it opens another port each time."""
    heard: dict[int, float] = {}
    numbers: list[int] = []

    def note(_: str, port: int, data: bytes) -> None:
        if port == 8000:
            numbers.append(int(data))
        else:
            heard.setdefault(port, time.monotonic())

    probes = range(FIRST_PROBE, FIRST_PROBE + CHANGES)
    latencies: list[float] = []
    with (
        serve(lab, tmp_path, policy(probes=CHANGES, rules=990), workers) as service,
        Wire(service) as wire,
        service.client() as client,
        Answerer(lab.server, SERVERS[:1], (8000, *probes), note),
    ):
        etag = client.config()[0].etag
        stream = Stream(lab.client)
        try:
            wait_for("the flow", lambda: numbers)
            for number, port in enumerate(probes):
                stream.probe = port
                before = len(numbers)
                wait_for("traffic before the change", lambda before=before: len(numbers) > before + 5)
                assert port not in heard
                begun = time.monotonic()
                etag = patched(wire, etag, f"probe-{number}")
                wait_for("the new rule", lambda port=port: port in heard)
                latencies.append(heard[port] - begun)
        finally:
            stream.stop()
        wait_for("the last packet", lambda: len(numbers) >= stream.sent)
        assert numbers == list(range(stream.sent)), "lost, doubled or out of order"
        assert client.config()[0].number == 1 + CHANGES
        latencies.sort()
        _log.info(
            "%d packets, none lost; first changed verdict: median of %d %.1f ms, 99th percentile %.1f ms, most %.1f ms",
            stream.sent, CHANGES, *(latencies[place] * 1e3 for place in (CHANGES // 2, CHANGES * 99 // 100, -1)),
        )  # fmt: skip
        service.stop()


def patched(wire: Wire, etag: str, profile: str) -> str:
    """The rule ``probe`` opens what ``profile`` says; the new etag."""
    rule = {"name": "probe", "actionValue": "ALLOW", "applicationPortProfiles": [profile]}
    edit = config_pb2.Edit(section="firewallRules.userDefinedRules", upsert=config_pb2.Upsert(object=json.dumps(rule)))
    answer: Any = wire.stub.PatchConfig(pb.PatchConfigRequest(etag=etag, edits=[edit]), timeout=60)
    return str(answer.revision.etag)


@pytest.mark.parametrize("workers", [1, 2])
def test_a_storm_on_a_link_leaves_the_others_alone(lab: Lab, tmp_path: Path, workers: int) -> None:
    """Broadcasts, requests for addresses, from many stations."""
    rng = random.Random(SEED)
    with (
        serve(lab, tmp_path, policy(), workers) as service,
        Wire(service) as wire,
        Answerer(lab.server, OUTSIDE, (80,)),
    ):
        for number in range(5):
            assert Attempt(lab.client, "tcp", CLIENTS[0], 33_000 + number, SERVERS[0], 80).made(LONG_S)[0] == REACHED
        before = service.resident()
        with lab.client.inside():
            out = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
        with out:
            out.bind(("c0", 0))
            out.settimeout(60)
            for _ in range(100_000):
                out.send(rng.choice((arp_request, broadcast))(rng))
        for number in range(5):
            assert Attempt(lab.client, "tcp", CLIENTS[0], 33_010 + number, SERVERS[0], 80).made(LONG_S)[0] == REACHED
        assert service.resident() - before < 32 << 20
        assert wire.stats().revision == 1
        service.stop()


def arp_request(rng: random.Random) -> bytes:
    """Somebody on the link asks for somebody, now and then for the edge."""
    mac = b"\x02" + rng.randbytes(5)
    wanted = socket.inet_aton("10.20.0.1") if rng.random() < 0.5 else bytes((10, 20, 0, rng.randrange(256)))
    sender = mac + bytes((10, 20, 0, rng.randrange(20, 256)))
    head = b"\xff" * 6 + mac + bytes.fromhex("0806000108000604") + b"\x00\x01"
    return (head + sender + bytes(6) + wanted).ljust(60, b"\0")


def broadcast(rng: random.Random) -> bytes:
    """A datagram to everybody, or to one address by a broadcast frame."""
    from edge.packets.build import build_frame
    from edge.packets.text import parse_packet

    to = rng.choice(("10.20.0.255", "255.255.255.255", "198.51.100.5"))
    frame = build_frame(parse_packet(f"udp 10.20.0.{rng.randrange(20, 255)}:67 > {to}:53"))
    return b"\xff" * 6 + frame[6:]
