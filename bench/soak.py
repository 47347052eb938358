"""An edge that is served for a while, under mixed traffic and a change of its configuration every second.

    python bench/soak.py --seconds 60

Needs no root: packets are injected.  Connections begin, talk and end, datagrams come and go, scans and damaged packets
are dropped, somebody follows the events, somebody lists sessions.  Prints memory at the start and at the end, and what
was done meanwhile; fails if a connection breaks or a call does.
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from edge.api.client import Conditions, UnreachableError  # noqa: E402
from edge.verdicts import Reason  # noqa: E402
from tests.serve.process import Service, Wire, frame  # noqa: E402
from tests.support import SAMPLE  # noqa: E402

POLICY = SAMPLE.replace("options: {}", "options: {maxSessions: 20000}")
STEADY = range(4000, 4050)


def prepared(rng: random.Random, count: int) -> list[list[tuple[str, bytes]]]:
    """Batches of all kinds of packets, some of them damaged."""
    batches = []
    for _ in range(count):
        batch = []
        for _ in range(200):
            host, port = rng.randrange(5, 250), rng.randrange(1024, 65_536)
            text = rng.choice(
                (
                    f"udp 10.20.0.{host}:{port} > 198.51.100.{rng.randrange(1, 255)}:53",
                    f"tcp 10.20.0.{host}:{port} > 198.51.100.{rng.randrange(1, 255)}:443 S",
                    f"tcp 198.51.100.{host}:{port} > 203.0.113.11:80 S",
                    f"tcp 198.51.100.{host}:{port} > 203.0.113.10:{port} S",
                    f"icmp 10.20.0.{host} > 198.51.100.7 echo-request id={port} seq=1",
                )
            )
            data = bytearray(frame(text))
            if rng.random() < 0.1:
                data[rng.randrange(14, len(data))] ^= 1 << rng.randrange(8)
            batch.append(("LAN-ACME" if " 10.20." in text.partition(">")[0] else "INTERNET", bytes(data)))
        batches.append(batch)
    return batches


def connect(wire: Wire, port: int) -> None:
    """A TCP connection to the web server."""
    wire.send("INTERNET", f"tcp 198.51.100.9:{port} > 203.0.113.11:80 S seq=100")
    wire.send("LAN-ACME", f"tcp 10.20.0.10:8080 > 198.51.100.9:{port} SA seq=900 ack=101")
    wire.send("INTERNET", f"tcp 198.51.100.9:{port} > 203.0.113.11:80 A seq=101 ack=901")


def broken(wire: Wire) -> int:
    """How many of the connections do not go on."""
    there = wire.send("INTERNET", *(f"tcp 198.51.100.9:{port} > 203.0.113.11:80 A seq=101 ack=901" for port in STEADY))
    return len(STEADY) - there.count(Reason.SESSION)


class Watcher:
    """Somebody who follows the events."""

    def __init__(self, service: Service) -> None:
        self.events = self.lost = 0
        self._service = service
        self._thread = threading.Thread(target=self._work, daemon=True)
        self._thread.start()

    def _work(self) -> None:
        try:
            with self._service.client() as client:
                for batch in client.events():
                    self.events += len(batch.events)
                    self.lost += sum(int(event.get("gap", {}).get("lost", 0)) for event in batch.events)
        except UnreachableError:
            return  # the edge has stopped

    def join(self) -> None:
        """Wait until the edge has ended the stream."""
        self._thread.join(20)


def soak(service: Service, seconds: float, rng: random.Random) -> bool:
    """Everything at once, for so long."""
    found: Counter[Reason] = Counter()
    changes = listed = 0
    watcher = Watcher(service)
    batches = prepared(rng, 300)
    with Wire(service) as wire, service.client() as client:
        for port in STEADY:
            connect(wire, port)
        until = time.monotonic() + seconds

        def packets() -> Iterator[list[tuple[str, bytes]]]:
            while time.monotonic() < until:
                yield rng.choice(batches)
                time.sleep(0.01)

        def inject() -> None:
            for reasons in wire.inject(packets()):
                found.update(reasons)

        injecting = threading.Thread(target=inject)
        injecting.start()
        time.sleep(min(5.0, seconds / 4))
        memory = [service.resident()]
        marks = [until - seconds / 2, until - seconds / 4]
        while injecting.is_alive():
            begun = time.monotonic()
            changes += 1
            text = POLICY.replace("{name: out,", f"{{name: out-{changes},")
            client.apply(text, Conditions(comment=f"change {changes}"))
            if changes % 10 == 0:
                listed = sum(1 for _ in client.sessions({}))
            if marks and begun >= marks[0]:
                memory.append(service.resident())
                del marks[0]
            injecting.join(max(0.0, begun + 1 - time.monotonic()))
        memory.append(service.resident())
        lost = broken(wire)
    stopped = service.stop()
    watcher.join()
    print(f"packets     {sum(found.values()):,}: " + ", ".join(f"{r.name} {n:,}" for r, n in found.most_common()))
    print(f"changes     {changes}; sessions listed {listed:,}; connections that broke {lost}")
    print(f"events      {watcher.events:,}, lost {watcher.lost:,}")
    print("memory      " + ", ".join(f"{size >> 20} MiB" for size in memory) + ": start, half, three quarters, end")
    print(f"stopped in  {stopped:.2f} s")
    return not lost and "Traceback" not in service.log


def main() -> int:
    """Serve, disturb, report."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])  # type: ignore[union-attr]
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "edge.yaml").write_text(POLICY, encoding="utf-8")
        with Service(folder, folder / "edge.yaml", "--data", str(folder / "data")) as service:
            whole = soak(service, given.seconds, random.Random(given.seed))  # noqa: S311 - traffic, no secret
            if not whole:
                print(service.log)
    return 0 if whole else 1


if __name__ == "__main__":
    sys.exit(main())
