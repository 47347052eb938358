"""One ``t1edge serve`` of a test, and what a client asks of it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Self

import grpc

from edge.api.client import EdgeClient
from edge.packets.build import build_frame
from edge.packets.text import parse_packet
from edge.v1 import edge_service_pb2 as pb
from edge.v1 import edge_service_pb2_grpc, packet_pb2
from edge.verdicts import Reason
from tests.closing import Closing
from tests.waiting import PATIENCE_S, wait_for

MAX_BATCH = 256
COMMAND = (sys.executable, "-m", "edge.cli", "serve")


class Service(Closing):
    """A process that serves ``file`` on a Unix socket in ``folder``; ``with`` ends it, however it is.

    ``prefix`` are words before the command: a namespace, a limit.
    """

    def __init__(
        self,
        folder: Path,
        file: Path,
        *options: str,
        prefix: Iterable[str] = (),
        environment: Mapping[str, str] | None = None,
        listen: str | None = None,
        ready: bool = True,
    ) -> None:
        self.socket = folder / "edge.sock"
        self.address = listen or f"unix:{self.socket}"
        self.began = time.monotonic()
        metrics = () if "--metrics" in options else ("--metrics", "none")
        self.process = subprocess.Popen(
            [*prefix, *COMMAND, str(file), "--listen", self.address, *metrics, *options],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, **(environment or {})},
        )  # fmt: skip
        self._lines: list[str] = []
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        if ready:
            try:
                self.line("serves revision")
            except BaseException:
                self.end()
                raise
            self.started_in = time.monotonic() - self.began

    def _read(self) -> None:
        assert self.process.stderr is not None
        self._lines.extend(iter(self.process.stderr.readline, ""))  # a line at a time

    @property
    def log(self) -> str:
        """What it has said so far."""
        return "".join(self._lines)

    def line(self, text: str, *, times: int = 1) -> str:
        """The line of the log with ``text``, the ``times``-th one; waits for it."""

        def found() -> str | None:
            lines = [line for line in self._lines if text in line]
            if len(lines) < times:
                assert self.process.poll() is None, f"ended with {self.process.returncode}:\n{self.log}"
                return None
            return lines[times - 1]

        return str(wait_for(f"{text!r} in the log:\n{self.log}", found))

    # ------------------------------------------------------------------ its end

    def send_signal(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    def wait(self) -> int:
        """How it ended; its log is complete then."""
        code = self.process.wait(PATIENCE_S)
        self._reader.join()
        return code

    def stop(self, number: signal.Signals = signal.SIGTERM) -> float:
        """End it in good order; the seconds that took."""
        began = time.monotonic()
        self.send_signal(number)
        assert self.wait() == 0, self.log
        return time.monotonic() - began

    def kill(self) -> None:
        """kill -9."""
        self.process.kill()
        self.wait()

    def end(self) -> None:
        """Whatever it does: it ends."""
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        self._reader.join()
        if self.process.stderr is not None:
            self.process.stderr.close()

    def close(self) -> None:
        """The end of a ``with`` block."""
        self.end()

    # ------------------------------------------------------------------ what is asked of it

    def client(self) -> EdgeClient:
        return EdgeClient(self.address)

    def resident(self) -> int:
        """Bytes of memory that the process has."""
        for row in Path(f"/proc/{self.process.pid}/status").read_text(encoding="ascii").splitlines():
            if row.startswith("VmRSS:"):
                return int(row.split()[1]) * 1024
        raise AssertionError("there is no VmRSS")


class Wire:
    """A raw connection to a service: packets, counters, streams."""

    def __init__(self, service: Service) -> None:
        self.channel = grpc.insecure_channel(
            service.address if service.address.startswith("unix:") else f"dns:///{service.address}"
        )
        self.stub: Any = edge_service_pb2_grpc.EdgeServiceStub(self.channel)  # type: ignore[no-untyped-call]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.channel.close()

    def inject(self, batches: Iterable[list[tuple[str, bytes]]]) -> Iterator[list[Reason]]:
        """The reasons of each batch."""
        requests = (
            pb.InjectPacketsRequest(frames=[packet_pb2.Frame(port=port, data=data) for port, data in batch])
            for batch in batches
        )
        for answer in self.stub.InjectPackets(requests, timeout=PATIENCE_S * 4):
            yield [Reason(outcome.reason - 1) for outcome in answer.outcomes]

    def send(self, port: str, *packets: str) -> list[Reason]:
        """What becomes of packets in words."""
        return next(self.inject([[(port, frame(text)) for text in packets]]))

    def stats(self) -> Any:
        return self.stub.GetStats(pb.GetStatsRequest(), timeout=PATIENCE_S).stats

    def drops(self) -> dict[str, int]:
        """Dropped packets by reason."""
        found: dict[str, int] = {}
        for row in self.stats().drops:
            name = Reason(row.reason - 1).name
            found[name] = found.get(name, 0) + row.packets
        return found


def frame(text: str) -> bytes:
    """A packet in words as Ethernet."""
    return build_frame(parse_packet(text))
