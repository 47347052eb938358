"""Two workers between real interfaces: connections through SNAT, both ways, while changes take them to and fro.

tests/netns/lab.py draws the namespaces.
"""

from __future__ import annotations

import json
import re
import socket
import threading
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from edge.v1 import config_pb2
from edge.v1 import edge_service_pb2 as pb
from tests.netns.lab import EdgeProcess, Lab
from tests.netns.peers import Answerer
from tests.netns.served import populated, serve
from tests.netns.test_forwarding import INTERNET_6, connected, transfer
from tests.netns.test_served import CLIENTS, SERVERS, policy
from tests.serve.process import Wire
from tests.waiting import wait_for

pytestmark = pytest.mark.needs("netns", "nft")

FLOWS = 24
EXCHANGES = 150
CHANGES = 12
SIZE = 8_000_000
METRICS = "127.0.0.1:9464"
REMOTES = tuple(f"198.51.100.{number}" for number in range(20, 52))


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    with populated(CLIENTS[1:], (*SERVERS[1:], *REMOTES)) as made:
        yield made


def echoed(request: bytes, _: socket.SocketKind, __: str) -> bytes:
    return request


def divided_otherwise(wire: Wire, etag: str, on: bool) -> str:
    """A rule for the servers' addresses, which nobody asks for behind them, or without it; the new etag."""
    rule = {
        "name": "remote", "type": "DNAT", "enabled": on, "externalAddresses": "198.51.100.0/25",
        "internalAddresses": "10.20.0.0/25", "priority": 300,
    }  # fmt: skip
    edit = config_pb2.Edit(section="natRules", upsert=config_pb2.Upsert(object=json.dumps(rule)))
    answer: Any = wire.stub.PatchConfig(pb.PatchConfigRequest(etag=etag, edits=[edit]), timeout=60)
    return str(answer.revision.etag)


class Exchanges:
    """Datagrams of many flows, each of which is answered before the next."""

    def __init__(self, lab: Lab) -> None:
        self.lost: list[tuple[int, int]] = []
        self.rounds = 0
        self.stopping = threading.Event()
        self._sockets = [
            lab.client.socket(socket.AF_INET, socket.SOCK_DGRAM, (CLIENTS[number % 2], 41_000 + number))
            for number in range(FLOWS)
        ]
        for number, out in enumerate(self._sockets[:2]):  # few packets are held for a neighbour that nobody knows yet
            out.sendto(b"hello", (SERVERS[number], 53))
            out.recv(100)
        self._thread = threading.Thread(target=self._work)
        self._thread.start()

    def _work(self) -> None:
        while self.rounds < EXCHANGES or not self.stopping.is_set():
            texts = [b"%d/%d" % (number, self.rounds) for number in range(FLOWS)]
            for number, out in enumerate(self._sockets):
                out.sendto(texts[number], (SERVERS[number % 2], 53))
            for number, out in enumerate(self._sockets):
                try:
                    if out.recv(100) != texts[number]:
                        self.lost.append((number, self.rounds))
                except TimeoutError:
                    self.lost.append((number, self.rounds))
                    return
            self.rounds += 1

    def go_on(self) -> None:
        """Returns when each flow has had an answer to what it asked for later than now."""
        rounds = self.rounds
        wait_for("more exchanges", lambda: self.rounds > rounds + 1 or not self._thread.is_alive())

    def stop(self) -> None:
        self.stopping.set()
        self._thread.join()
        for out in self._sockets:
            out.close()


def handed_over(lab: Lab) -> float:
    """How many frames have come in at another worker than their own, as the metrics of the edge tell."""
    with lab.middle.inside(), urllib.request.urlopen(f"http://{METRICS}/metrics", timeout=60) as answer:
        page = answer.read().decode()
    (found,) = re.findall(r"^t1edge_frames_handed_over_total\{.*} (.*)$", page, re.MULTILINE)
    return float(found)


def echo(lab: Lab, address: str) -> None:
    """A datagram to a server and back, some times."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    server = lab.server.socket(family, socket.SOCK_DGRAM, (address, 5353))
    client = lab.client.socket(family, socket.SOCK_DGRAM)
    with server, client:
        for number in range(8):
            client.sendto(b"%d" % number, (address, 5353))
            text, peer = server.recvfrom(100)
            server.sendto(text, peer)
            assert client.recv(100) == b"%d" % number


def test_frames_come_in_at_the_worker_that_they_belong_to(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    """Those with segments too, pieces, and both ways; also when the interfaces have been away for a moment."""
    monkeypatch.setattr(EdgeProcess, "workers", 2)
    edge = lab.start()
    try:
        for _ in range(2):
            for address in (*REMOTES, INTERNET_6):
                echo(lab, address)
            for address in REMOTES[:4]:
                near, far, _ = connected(lab.client, lab.server, socket.AF_INET, address, 443)
                with near, far:
                    transfer(near, far, SIZE // 8)
                    transfer(far, near, SIZE // 8)
                assert all(" 0% packet loss" in text for text in lab.client.ping(address, "-s", "4000"))
            now = edge.ask()
            assert now["handed"] == 0
            assert min(now["created"]) > len(REMOTES) // 8
            for device in ("e0", "e1"):
                lab.middle.run("ip", "link", "set", device, "down")
                lab.middle.run("ip", "link", "set", device, "up")
            wait_for("the ports are up again", lambda: all(port["up"] for port in edge.ask()["ports"].values()))
    finally:
        edge.stop()


def test_connections_go_on_while_their_workers_change(lab: Lab, tmp_path: Path) -> None:
    with (
        serve(lab, tmp_path, policy(), 2, ("--metrics", METRICS)) as service,
        Wire(service) as wire,
        service.client() as client,
        Answerer(lab.server, SERVERS[:2], (53,), speak=echoed),
    ):
        etag = client.config()[0].etag
        exchanges = Exchanges(lab)
        try:
            near, far, _ = connected(lab.client, lab.server, socket.AF_INET, SERVERS[0], 443)
            with near, far:
                for number in range(CHANGES):
                    sender, receiver = (near, far) if number % 2 == 0 else (far, near)
                    thread = threading.Thread(target=sender.sendall, args=(bytes(SIZE),))
                    thread.start()
                    etag = divided_otherwise(wire, etag, number % 2 == 0)
                    left = SIZE
                    while left:
                        left -= len(receiver.recv(min(left, 1 << 20)))
                    thread.join()
                    exchanges.go_on()
                    before = handed_over(lab)
                    exchanges.go_on()
                    assert handed_over(lab) == before
                transfer(near, far, SIZE)
        finally:
            exchanges.stop()
        assert exchanges.lost == []
        assert exchanges.rounds >= EXCHANGES
        listed = [session.id for session in wire.stub.ListSessions(pb.ListSessionsRequest(), timeout=60).sessions]
        assert len(set(listed)) == len(listed) >= FLOWS + 1
        assert client.config()[0].number == 1 + CHANGES
        service.stop()
