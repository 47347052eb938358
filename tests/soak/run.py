"""An edge that is served for a while, under mixed traffic and a change of its configuration every second.

Connections begin, talk and end, datagrams come and go, scans and damaged packets are dropped, somebody follows the
events, somebody lists sessions; and probes tell which configuration judged them, through the API and, as root, between
network namespaces.  Fails if a probe was judged by a mixture of two configurations, by another one than the edge says,
or is lost; if a connection or a call breaks; or if memory grows once its buffers are full.
"""

from __future__ import annotations

import argparse
import os
import random
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

from edge.api.client import Conditions, UnreachableError
from edge.events import MAX_EVENTS
from edge.v1 import edge_service_pb2 as pb
from edge.v1 import packet_pb2
from edge.verdicts import Reason, Verdict
from tests.netns.lab import Lab
from tests.netns.served import known, populated
from tests.serve.process import Service, Wire, frame
from tests.soak.memory import Observer, Sample, trend
from tests.soak.revisions import FIRST, INSIDE, NAMES, PROBED, SECOND, document, judged_by, probes
from tests.soak.wire import WireProbes
from tests.waiting import wait_for

STEADY = range(4000, 4050)
BATCH, PROBES = 100, 20
MOST_GROWTH = 0.02
"""Share of its memory that an edge may gain from the first tenth of the time after warming up to the last."""

Frames = list[tuple[str, bytes]]


def noise(rng: random.Random, count: int) -> list[Frames]:
    """Batches of all kinds of packets, some of them damaged."""
    batches = []
    for _ in range(count):
        batch = []
        for _ in range(BATCH):
            host, port = rng.randrange(21, 250), rng.randrange(1024, 65_536)
            text = rng.choice(
                (
                    f"udp 10.20.0.{host}:{port} > 198.51.100.{rng.randrange(10, 255)}:53",
                    f"tcp 10.20.0.{host}:{port} > 198.51.100.{rng.randrange(10, 255)}:443 S",
                    f"tcp 198.51.100.{host}:{port} > 203.0.113.11:80 S",
                    f"tcp 198.51.100.{host}:{port} > 203.0.113.10:{port} S",
                    f"icmp 10.20.0.{host} > 198.51.100.7 echo-request id={port} seq=1",
                )
            )
            data = bytearray(frame(text))
            if rng.random() < 0.1:
                data[rng.randrange(14, len(data))] ^= 1 << rng.randrange(8)
            batch.append(("LAN" if " 10.20." in text.partition(">")[0] else "INTERNET", bytes(data)))
        batches.append(batch)
    return batches


def connect(wire: Wire, port: int) -> None:
    """A TCP connection to the web server."""
    wire.send("INTERNET", f"tcp 198.51.100.9:{port} > 203.0.113.11:80 S seq=100")
    wire.send("LAN", f"tcp 10.20.0.20:8080 > 198.51.100.9:{port} SA seq=900 ack=101")
    wire.send("INTERNET", f"tcp 198.51.100.9:{port} > 203.0.113.11:80 A seq=101 ack=901")


def broken(wire: Wire) -> int:
    """How many of the connections do not go on."""
    there = wire.send("INTERNET", *(f"tcp 198.51.100.9:{port} > 203.0.113.11:80 A seq=101 ack=901" for port in STEADY))
    return len(STEADY) - there.count(Reason.SESSION)


class Watcher:
    """Somebody who follows the events."""

    def __init__(self, service: Service) -> None:
        self.events = self.lost = 0
        self.stopping = False
        self.failure: BaseException | None = None
        self._service = service
        self._thread = threading.Thread(target=self._work, daemon=True)
        self._thread.start()

    def _work(self) -> None:
        try:
            with self._service.client() as client:
                for batch in client.events():
                    self.events += len(batch.events)
                    self.lost += sum(int(event.get("gap", {}).get("lost", 0)) for event in batch.events)
            ended: BaseException = RuntimeError("the stream of events has ended")
        except UnreachableError as error:
            ended = error
        except BaseException as error:
            self.failure = error
            raise
        if not self.stopping:
            self.failure = ended

    def join(self) -> None:
        """Wait until the edge has ended the stream."""
        self._thread.join(20)


class Injector:
    """Noise and probes through the API, as fast as the edge takes them; every probe's outcome is kept."""

    def __init__(self, wire: Wire, rng: random.Random) -> None:
        self.reasons: Counter[Reason] = Counter()
        self.passed: Counter[tuple[int, int]] = Counter()
        """(revision, which configuration) of the probes that passed."""
        self.illegal = 0
        self._wire = wire
        self._batches = noise(rng, 300)
        self._rng = rng
        self._probes = probes()
        self._waiting: list[list[str]] = []
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._work, daemon=True)
        self._thread.start()

    def _requests(self) -> Iterator[pb.InjectPacketsRequest]:
        while not self._closing.wait(0.01):
            asked = list(islice(self._probes, PROBES))
            self._waiting.append([port for port, _ in asked])
            frames = [packet_pb2.Frame(port=port, data=data) for port, data in asked + self._rng.choice(self._batches)]
            yield pb.InjectPacketsRequest(frames=frames, return_outputs=True)

    def _work(self) -> None:
        for answer in self._wire.stub.InjectPackets(self._requests()):
            asked = self._waiting.pop(0)
            for port, outcome in zip(asked, answer.outcomes[: len(asked)], strict=True):
                left = outcome.outputs[0].data if outcome.outputs else b""
                which = judged_by(port, Verdict(outcome.verdict - 1), left)
                if which is None:
                    self.illegal += 1
                else:
                    self.passed[answer.revision, which] += 1
            self.reasons.update(Reason(outcome.reason - 1) for outcome in answer.outcomes)

    def running(self) -> bool:
        return self._thread.is_alive()

    def close(self) -> None:
        """No more."""
        self._closing.set()
        self._thread.join()
        self.illegal += sum(len(asked) for asked in self._waiting)  # nobody has answered

    def foreign(self, revisions: dict[int, int]) -> int:
        """Probes that another configuration judged than that of the revision which the edge names."""
        return sum(count for (number, which), count in self.passed.items() if revisions[number] != which)


@dataclass
class Found:
    """What a soak has found."""

    reasons: Counter[Reason]
    passed: Counter[int]
    illegal: int
    foreign: int
    changes: int
    broken: int
    rejected: int
    """Packets that rules dropped or rejected: none may."""
    warm_s: float
    watching: str = ""
    """Why nobody followed the events to the end."""
    samples: list[Sample] = field(default_factory=list)
    wire: str = "no probes on the wire: that takes root"
    wire_wrong: list[str] = field(default_factory=list)

    def problems(self) -> list[str]:
        """What must not be."""
        counts = {
            "probes that no single configuration permits": self.illegal,
            "probes judged by another configuration than the edge says": self.foreign,
            "probes on the wire that did not arrive exactly once": len(self.wire_wrong),
            "packets that met a rule for mixtures": self.rejected,
            "connections that broke": self.broken,
        }
        found = [f"{count} {text}" for text, count in counts.items() if count]
        if self.watching:
            found.append(f"nobody followed the events: {self.watching}")
        if len(self.samples) < 2:
            found.append("memory was not looked at")
        return found if all(self.passed.values()) and self.passed else [*found, "no probe passed"]


def soak(service: Service, seconds: float, rng: random.Random, wire_probes: WireProbes | None) -> Found:
    """Everything at once, for so long, once the buffers are full."""
    revisions = {1: FIRST}
    watcher, observer = Watcher(service), Observer(service)
    began = time.monotonic()
    warm_s, listed = 0.0, 0
    with Wire(service) as wire, service.client() as client:
        for port in STEADY:
            connect(wire, port)
        injector = Injector(wire, rng)
        while not warm_s or time.monotonic() < began + warm_s + seconds:
            turn = time.monotonic()
            which = SECOND if len(revisions) % 2 else FIRST
            revisions[len(revisions) + 1] = which
            answer = client.apply(document(which, len(revisions)), Conditions(comment=f"change {len(revisions)}"))
            if answer.revision.number != len(revisions):
                raise AssertionError(f"revision {answer.revision.number} instead of {len(revisions)}")
            if len(revisions) % 10 == 0:
                listed = sum(1 for _ in client.sessions({}))
            # The list of events fills before it is cut for the first time; what is allocated around it settles while it
            # is replaced a few times more.
            if not warm_s and (watcher.events + watcher.lost > 12 * MAX_EVENTS or turn > began + seconds):
                warm_s = turn - began
            if not injector.running():
                raise AssertionError("injecting has ended")
            time.sleep(max(0.0, turn + 1 - time.monotonic()))
        injector.close()
        observer.close()
        passed = Counter(dict.fromkeys((FIRST, SECOND), 0))
        for (_, which), count in injector.passed.items():
            passed[which] += count
        found = Found(
            injector.reasons, passed, injector.illegal, injector.foreign(revisions), len(revisions) - 1, 0, 0, warm_s
        )
        if wire_probes is not None:
            heard, sent, found.wire_wrong = wire_probes.finish()
            found.wire = "; ".join(
                f"{way} {sent[way]:,} sent, "
                + ", ".join(f"{NAMES[one]}-{NAMES[one]} {heard[way][one]:,}" for one in (0, 1))
                for way in sent
            )
        found.broken, found.rejected = broken(wire), wire.drops().get("FW_RULE", 0)
    found.samples = [sample for sample in observer.samples if sample.at_s >= began + warm_s]
    watcher.stopping = True
    stopped = service.stop()
    watcher.join()
    found.watching = "" if watcher.failure is None else repr(watcher.failure)
    say(
        f"events      {watcher.events:,}, lost {watcher.lost:,}; sessions listed {listed:,}; stopped in {stopped:.2f} s"
    )
    return found


def say(text: str) -> None:
    """A line, at once."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def mib(size: float) -> str:
    return f"{size / 2**20:.2f} MiB"


def report(found: Found) -> list[str]:
    """Prints what was found, and returns what is wrong with it."""
    problems = found.problems()
    packets = ", ".join(f"{reason.name} {count:,}" for reason, count in found.reasons.most_common())
    say(f"packets     {sum(found.reasons.values()):,} injected: {packets}")
    say(f"changes     {found.changes}; connections that broke {found.broken}")
    probed = ", ".join(f"{NAMES[which]}-{NAMES[which]} {found.passed[which]:,}" for which in (FIRST, SECOND))
    say(f"probes      injected: {probed}, mixed or lost {found.illegal}, of another revision {found.foreign}")
    say(f"on the wire {found.wire}")
    say(f"            not exactly once {len(found.wire_wrong)} {found.wire_wrong[:10]}")
    say(f"            met a rule for mixtures {found.rejected}")
    if len(found.samples) > 1:
        line = trend(found.samples)
        first, last = found.samples[0].size, found.samples[-1].size
        say(f"memory      {mib(first)} to {mib(last)} in {len(found.samples)} samples")
        say(f"            after {found.warm_s:.0f} s of warming up")
        say(f"            slope {mib(line.slope)} a minute, first tenth to last {mib(line.growth)}")
        if line.growth > MOST_GROWTH * first:
            problems.append("memory grows")
    for problem in problems:
        say(f"WRONG       {problem}")
    return problems


def served(folder: Path, lab: Lab | None) -> Service:
    """The edge: between two interfaces of a lab, or with ports in memory."""
    file = folder / "edge.yaml"
    file.write_text(document(FIRST, 1), encoding="utf-8")
    options = ["--data", str(folder / "data")]
    if lab is None:
        return Service(folder, file, *options)
    options += ["--port", "LAN=link:e0", "--port", "INTERNET=link:e1"]
    service = Service(folder, file, *options, prefix=("ip", "netns", "exec", lab.middle.name))
    try:
        for port in ("LAN=link:e0", "INTERNET=link:e1"):
            service.line(f"port {port} is up")
        for space, target in ((lab.client, "10.20.0.1"), (lab.server, PROBED)):
            wait_for("neighbours", lambda space=space, target=target: known(space, target))
    except BaseException:
        service.end()
        raise
    return service


def run(seconds: float, seed: int, *, wired: bool) -> list[str]:
    """One soak; what is wrong."""
    laboratory: AbstractContextManager[Lab | None] = populated((INSIDE,), ()) if wired else nullcontext()
    with tempfile.TemporaryDirectory() as name, laboratory as lab, served(Path(name), lab) as service:
        try:
            probing = WireProbes(lab) if lab is not None else None
            found = soak(service, seconds, random.Random(seed), probing)
        except BaseException:
            say(service.log)
            raise
        problems = report(found)
        if "Traceback" in service.log:
            problems.append("the edge said something that it should not")
            say(service.log)
    return problems


def main() -> int:
    """The command."""
    parser = argparse.ArgumentParser(prog="./run soak", description="An edge under traffic and changes, for long.")
    parser.add_argument("--seconds", type=float, default=300, help="after its buffers are full (default 300)")
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    return 1 if run(given.seconds, given.seed, wired=os.geteuid() == 0) else 0


if __name__ == "__main__":
    sys.exit(main())
