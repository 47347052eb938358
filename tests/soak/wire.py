"""Probes as real datagrams through interfaces, from a namespace on one side to sinks on the other.

See :mod:`tests.soak.revisions` for what a probe is.
"""

from __future__ import annotations

import socket
import struct
import threading
import time
from collections import Counter

from tests.listening import Listener
from tests.netns.lab import Lab, Space
from tests.soak.revisions import IN_PORT, INSIDE, OUT_PORT, OUTSIDE, PORTS, PROBED, SOURCES, TARGET

SO_RCVBUFFORCE = 33
EACH_S = 0.005
"""Between two probes of a direction."""
SOURCE_PORTS = range(33_000, 65_000)
"""One after the other; a flow is forgotten long before its port comes again."""


class Sender:
    """Numbered datagrams, each from another port."""

    def __init__(self, space: Space, source: str, destination: tuple[str, int]) -> None:
        self.sent = 0
        self._destination = destination
        with space.inside():
            self._socket = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_UDP)
        self._socket.bind((source, 0))
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._work, daemon=True)
        self._thread.start()

    def _work(self) -> None:
        due = time.monotonic()
        while not self._closing.wait(max(0.0, due - time.monotonic())):
            port = SOURCE_PORTS[self.sent % len(SOURCE_PORTS)]
            datagram = struct.pack("!HHHHQ", port, self._destination[1], 16, 0, self.sent)
            self._socket.sendto(datagram, (self._destination[0], 0))
            self.sent += 1
            due = max(due + EACH_S, time.monotonic() - 10 * EACH_S)

    def close(self) -> None:
        """No more."""
        self._closing.set()
        self._thread.join()
        self._socket.close()


class Sinks(Listener):
    """Hears what arrives: for each direction and number by which of the two configurations."""

    def __init__(self, lab: Lab) -> None:
        super().__init__()
        self.heard: dict[str, Counter[int]] = {"in": Counter(), "out": Counter()}
        self.times: dict[str, Counter[int]] = {"in": Counter(), "out": Counter()}
        """How often each number has come."""
        for which, port in enumerate(PORTS):
            self._open(lab.client, (TARGET, port), which)
        self._open(lab.server, (OUTSIDE, OUT_PORT), None)
        self.begin()

    def _open(self, space: Space, place: tuple[str, int], which: int | None) -> None:
        made = space.socket(socket.AF_INET, socket.SOCK_DGRAM, place)
        made.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, 8 << 20)
        self.listen_to(made, which)

    def hear(self, ready: socket.socket, about: int | None) -> None:
        """A probe, or some of the traffic around."""
        data, peer = ready.recvfrom(100)
        direction = "out" if about is None else "in"
        if len(data) != 8 or (about is None and peer[0] not in SOURCES):
            return
        self.heard[direction][SOURCES.index(peer[0]) if about is None else about] += 1
        self.times[direction][struct.unpack("!Q", data)[0]] += 1


class WireProbes:
    """Both directions at once, until ``finish()``."""

    def __init__(self, lab: Lab) -> None:
        self._sinks = Sinks(lab)
        self._senders = {
            "in": Sender(lab.server, OUTSIDE, (PROBED, IN_PORT)),
            "out": Sender(lab.client, INSIDE, (OUTSIDE, OUT_PORT)),
        }

    def finish(self) -> tuple[dict[str, Counter[int]], dict[str, int], list[str]]:
        """By which configuration probes of each direction passed, how many of each were sent, and how often those of
        all came that did not arrive exactly once."""
        for sender in self._senders.values():
            sender.close()
        until = time.monotonic() + 5
        sent = {direction: sender.sent for direction, sender in self._senders.items()}
        while time.monotonic() < until and any(len(self._sinks.times[way]) < sent[way] for way in sent):
            time.sleep(0.05)
        self._sinks.close()
        wrong = [
            f"{way} {n}: {self._sinks.times[way][n]}"
            for way in sent
            for n in range(sent[way])
            if self._sinks.times[way][n] != 1
        ]
        return self._sinks.heard, sent, wrong
