"""What goes wrong around a served edge, or is done to it: traffic goes on, the reason is counted, memory is bounded."""

from __future__ import annotations

import contextlib
import os
import random
import resource
import struct
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest

from edge.api.client import CallError, Conditions
from edge.v1 import edge_service_pb2 as pb
from edge.verdicts import Reason
from tests.conftest import skip_unless
from tests.serve.process import MAX_BATCH, Service, Wire, frame
from tests.support import SAMPLE

MIB = 1 << 20
WEB = "203.0.113.11"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "edge.yaml"
    path.write_text(SAMPLE)
    return path


def batches(frames: Iterator[tuple[str, bytes]]) -> Iterator[list[tuple[str, bytes]]]:
    batch: list[tuple[str, bytes]] = []
    for item in frames:
        batch.append(item)
        if len(batch) == MAX_BATCH:
            yield batch
            batch = []
    if batch:
        yield batch


def counted(wire: Wire, frames: Iterator[tuple[str, bytes]]) -> Counter[Reason]:
    """What became of frames."""
    found: Counter[Reason] = Counter()
    for reasons in wire.inject(batches(frames)):
        found.update(reasons)
    return found


def connect(wire: Wire, port: int) -> None:
    """A TCP connection from 198.51.100.9 to the published web server, three packets."""
    assert wire.send("INTERNET", f"tcp 198.51.100.9:{port} > {WEB}:80 S seq=100") == [Reason.FW_RULE]
    assert wire.send("LAN-ACME", f"tcp 10.20.0.10:8080 > 198.51.100.9:{port} SA seq=900 ack=101") == [Reason.SESSION]
    assert talks(wire, port)


def talks(wire: Wire, port: int) -> bool:
    """Does the connection go on, in both directions?"""
    there = wire.send("INTERNET", f"tcp 198.51.100.9:{port} > {WEB}:80 A seq=101 ack=901")
    back = wire.send("LAN-ACME", f"tcp 10.20.0.10:8080 > 198.51.100.9:{port} A seq=901 ack=101")
    return there == back == [Reason.SESSION]


# ---------------------------------------------------------------------- the disk


@contextmanager
def limited(service: Service, _: Path) -> Iterator[None]:
    """The process may write into no file."""
    _, hard = resource.prlimit(service.process.pid, resource.RLIMIT_FSIZE)
    resource.prlimit(service.process.pid, resource.RLIMIT_FSIZE, (0, hard))
    try:
        yield
    finally:
        resource.prlimit(service.process.pid, resource.RLIMIT_FSIZE, (hard, hard))


@contextmanager
def filled(service: Service, data: Path) -> Iterator[None]:
    """Its file system, which is small and its own, has no room."""
    ballast = Path(f"/proc/{service.process.pid}/root{data}/ballast")
    with ballast.open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while True:
            file.write(bytes(512))
    assert os.statvfs(ballast).f_bfree == 0
    try:
        yield
    finally:
        ballast.unlink()


SMALL_DISK = (
    "unshare", "--mount", "--propagation", "private",
    "sh", "-c", 'mount -t tmpfs -o size=256k tmpfs "$0" && exec "$@"',
)  # fmt: skip
Full = Callable[[Service, Path], AbstractContextManager[None]]


@pytest.mark.parametrize(("full", "small"), [(limited, False), (filled, True)], ids=["no-write", "no-space"])
def test_a_full_disk_keeps_the_configuration_and_the_traffic(
    tmp_path: Path, file: Path, full: Full, small: bool
) -> None:
    if small:
        skip_unless(["netns"])  # root, who may also mount
    data = tmp_path / "data"
    data.mkdir()
    prefix = (*SMALL_DISK, str(data)) if small else ()
    with Service(tmp_path, file, "--data", str(data), prefix=prefix) as service, Wire(service) as wire:
        with service.client() as client:
            connect(wire, 5000)
            with full(service, data):
                for _ in range(3):
                    with pytest.raises(CallError) as raised:
                        client.apply(SAMPLE.replace("name: out,", "name: way-out,"), Conditions())
                    assert raised.value.code == "STORAGE_FAILED"
                    assert str(data) in str(raised.value)
                assert talks(wire, 5000)
                connect(wire, 5001)
                revision, document = client.config()
                assert revision.number == 1
                assert "way-out" not in document
            applied = client.apply(SAMPLE.replace("name: out,", "name: way-out,"), Conditions())
            assert applied.changes
            assert talks(wire, 5000)
            numbers = [revision.number for revision in client.revisions()]
            assert numbers == [applied.revision.number, 1]
        service.stop()
    if not small:  # whose file system went with it
        with Service(tmp_path, file, "--data", str(data)) as service, service.client() as client:
            assert client.config()[0].number == applied.revision.number


# ---------------------------------------------------------------------- floods


def test_a_reader_that_stalls_holds_nobody_up(tmp_path: Path, file: Path) -> None:
    """It finds a gap that says how many events it has missed."""
    count = 150_000

    def flows() -> Iterator[tuple[str, bytes]]:
        packet = frame("udp 10.20.0.5:4000 > 198.51.100.7:53")
        head, tail = packet[:26], packet[34:]
        for number in range(count):  # a session each
            addresses = struct.pack("!II", 0x0A140064 + number % 100, 0xC6336400 + number % 100)
            yield "LAN-ACME", recounted(head + addresses + tail, number)

    with Service(tmp_path, file) as service, Wire(service) as wire, Wire(service) as stalled:
        stream = stalled.stub.WatchEvents(pb.WatchEventsRequest())
        with service.client() as client:
            client.apply(SAMPLE.replace("name: out,", "name: way-out,"), Conditions())
        assert next(stream).events[0].HasField("config")  # it has begun, and reads no further
        before = service.resident()
        found = counted(wire, flows())
        assert sum(found.values()) == count
        begun = found[Reason.FW_RULE]
        assert begun == count, found  # more than is kept, and on its way
        assert service.resident() - before < 400 * MIB
        told = lost = 0
        while told + lost < begun:
            for event in next(stream).events:
                told += event.HasField("session_started")
                lost += event.gap.lost
        assert told + lost == begun
        assert lost
        stream.cancel()
        service.stop()


def recounted(packet: bytes, number: int) -> bytes:
    """The UDP packet with other ports, without a UDP checksum and with the IPv4 header's right."""
    header = bytearray(packet[14:34])
    header[10:12] = bytes(2)
    total = sum(struct.unpack("!10H", header))
    total = (total & 0xFFFF) + (total >> 16)
    total = (total & 0xFFFF) + (total >> 16)
    header[10:12] = struct.pack("!H", total ^ 0xFFFF)
    ports = struct.pack("!HH", 1024 + number // 100 % 60_000, 53)
    return packet[:14] + bytes(header) + ports + packet[38:40] + bytes(2) + packet[42:]


def test_a_flood_of_syns_leaves_what_is_established(tmp_path: Path, file: Path) -> None:
    limit, half_open = 2_000, 500
    file.write_text(SAMPLE.replace("options: {}", f"options: {{maxSessions: {limit}, maxHalfOpen: {half_open}}}"))

    def syns(count: int) -> Iterator[tuple[str, bytes]]:
        for number in range(count):
            yield "INTERNET", frame(f"tcp 198.18.{number >> 8 & 255}.{number & 255}:{1024 + number} > {WEB}:80 S")

    with Service(tmp_path, file) as service, Wire(service) as wire:
        for port in range(5000, 5020):
            connect(wire, port)
        counted(wire, syns(256))
        before = service.resident()
        found = counted(wire, syns(10 * limit))
        assert found[Reason.SESSION_LIMIT] >= 10 * limit - limit
        assert set(found) <= {Reason.FW_RULE, Reason.SESSION_LIMIT, Reason.SESSION}
        assert wire.drops()["SESSION_LIMIT"] >= found[Reason.SESSION_LIMIT]
        sessions = wire.stats().sessions
        assert sessions.half_open <= half_open
        assert sessions.open <= limit
        assert all(talks(wire, port) for port in range(5000, 5020))
        assert service.resident() - before < 64 * MIB


def malformed(count: int, seed: int) -> Iterator[tuple[str, bytes]]:
    """Packets that are damaged in their headers, cut, or noise."""
    rng = random.Random(seed)
    whole = [
        frame("tcp 10.20.0.5:4000 > 198.51.100.7:443 S"),
        frame("udp 10.20.0.5:4000 > 198.51.100.7:53"),
        frame("icmp 10.20.0.5 > 198.51.100.7 echo-request id=7 seq=1"),
    ]
    for _ in range(count):
        packet = bytearray(rng.choice(whole))
        kind = rng.randrange(4)
        if kind == 0:
            del packet[rng.randrange(14, len(packet)) :]
        elif kind == 1:
            packet[14] = rng.randrange(256) & 0xF | 0x40 if rng.random() < 0.5 else rng.randrange(256)
        elif kind == 2:
            packet[16:18] = rng.randbytes(2)
        else:
            packet[14:] = rng.randbytes(rng.randrange(60))
        yield "LAN-ACME", bytes(packet)


def test_malformed_packets_are_counted_and_forgotten(tmp_path: Path, file: Path) -> None:
    with Service(tmp_path, file) as service, Wire(service) as wire:
        connect(wire, 5000)
        counted(wire, malformed(20_000, seed=1))
        before, earlier = service.resident(), wire.drops()
        found = counted(wire, malformed(200_000, seed=2))
        assert sum(found.values()) == 200_000
        assert found[Reason.MALFORMED] > 100_000
        later = wire.drops()
        dropped = {reason.name for reason in found} & set(later)
        assert {"MALFORMED"} <= dropped
        for name in dropped:
            assert later[name] - earlier.get(name, 0) == found[Reason[name]], name
        assert service.resident() - before < 16 * MIB
        assert talks(wire, 5000)
