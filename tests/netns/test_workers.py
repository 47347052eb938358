"""Two workers between real interfaces: connections through SNAT, both ways, while changes take them to and fro.

tests/netns/lab.py draws the namespaces.
"""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from edge.v1 import config_pb2
from edge.v1 import edge_service_pb2 as pb
from tests.netns.lab import Lab
from tests.netns.peers import Answerer
from tests.netns.served import populated, serve
from tests.netns.test_forwarding import connected, transfer
from tests.netns.test_served import CLIENTS, SERVERS, policy
from tests.serve.process import Wire

pytestmark = pytest.mark.needs("netns", "nft")

FLOWS = 24
EXCHANGES = 150
CHANGES = 12
SIZE = 8_000_000


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    with populated(CLIENTS[1:], SERVERS[1:]) as made:
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

    def stop(self) -> None:
        self.stopping.set()
        self._thread.join()
        for out in self._sockets:
            out.close()


def test_connections_go_on_while_their_workers_change(lab: Lab, tmp_path: Path) -> None:
    with (
        serve(lab, tmp_path, policy(), 2) as service,
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
                transfer(near, far, SIZE)
        finally:
            exchanges.stop()
        assert exchanges.lost == []
        assert exchanges.rounds >= EXCHANGES
        listed = [session.id for session in wire.stub.ListSessions(pb.ListSessionsRequest(), timeout=60).sessions]
        assert len(set(listed)) == len(listed) >= FLOWS + 1
        assert client.config()[0].number == 1 + CHANGES
        service.stop()
