"""Captures that come compressed, through pipes or on standard input: what arrives, and what is said when it breaks."""

from __future__ import annotations

import bz2
import contextlib
import fcntl
import gzip
import io
import lzma
import os
import random
import resource
import signal
import struct
import subprocess
import sys
import termios
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from edge.captures import PcapngWriter, open_capture
from edge.errors import CaptureError

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

FRAMES = [bytes.fromhex("020000000100 020000000200 0800") + bytes([number] * (46 + number)) for number in range(200)]
SKIPPABLE = b"\x57\x2a\x4d\x18" + struct.pack("<I", 5) + b"aside"


def pcap(frames: list[bytes]) -> bytes:
    records = (struct.pack("<4I", 1_600_000_000, 0, len(frame), len(frame)) + frame for frame in frames)
    return struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 65_535, 1) + b"".join(records)


def pcapng(frames: list[bytes], folder: Path) -> bytes:
    path = folder / "written.pcapng"
    with PcapngWriter(path, ["LAN"]) as writer:
        for frame in frames:
            writer.write("LAN", frame, 1_600_000_000 * 10**9)
    return path.read_bytes()


def unchanged(data: bytes) -> bytes:
    return data


def with_checksum(data: bytes) -> bytes:
    return zstd.compress(data, options={zstd.CompressionParameter.checksum_flag: 1})


Pack = Callable[[bytes], bytes]
PACKS: dict[str, Pack] = {"plain": unchanged, "gzip": gzip.compress, "zstd": with_checksum}
COMPRESSED = pytest.mark.parametrize("name", ["gzip", "zstd"])


def read(path: str | Path) -> tuple[list[bytes], str]:
    """The frames that were delivered, and the message that ended it ('' at the end of the capture)."""
    frames: list[bytes] = []
    try:
        with open_capture(path) as reader:
            for record in reader:
                frames.append(record.frame)  # noqa: PERF401 - what came before an error counts
    except CaptureError as error:
        return frames, str(error)
    return frames, ""


@contextlib.contextmanager
def as_standard_input(descriptor: int) -> Iterator[None]:
    kept = os.dup(0)
    os.dup2(descriptor, 0)
    try:
        yield
    finally:
        os.dup2(kept, 0)
        os.close(kept)


@contextlib.contextmanager
def fed(data: bytes) -> Iterator[int]:
    """The reading end of a pipe into which ``data`` goes in small pieces."""
    reading, writing = os.pipe()

    def feed() -> None:
        with io.FileIO(writing, "wb") as pipe, contextlib.suppress(BrokenPipeError):
            pipe.writelines(data[start : start + 1_009] for start in range(0, len(data), 1_009))

    writer = threading.Thread(target=feed)
    writer.start()
    try:
        yield reading
    finally:
        os.close(reading)
        writer.join()


# --- every format by every way --------------------------------------------------------------------------------------


@pytest.mark.parametrize("pack", PACKS.values(), ids=PACKS)
@pytest.mark.parametrize("kind", ["pcap", "pcapng"])
class TestEveryWay:
    @pytest.fixture
    def packed(self, kind: str, pack: Pack, tmp_path: Path) -> bytes:
        return pack(pcap(FRAMES) if kind == "pcap" else pcapng(FRAMES, tmp_path))

    def test_file(self, packed: bytes, tmp_path: Path) -> None:
        path = tmp_path / "the name says nothing.txt"
        path.write_bytes(packed)
        with open_capture(path) as reader:
            assert [record.frame for record in reader] == FRAMES
            assert reader.bytes_read == reader.size == len(packed)

    def test_file_on_standard_input(self, packed: bytes, saved: Callable[[bytes], Path]) -> None:
        with saved(packed).open("rb") as file, as_standard_input(file.fileno()), open_capture("-") as reader:
            assert [record.frame for record in reader] == FRAMES
            assert reader.bytes_read == reader.size == len(packed)

    def test_pipe_on_standard_input(self, packed: bytes) -> None:
        with fed(packed) as pipe, as_standard_input(pipe), open_capture("-") as reader:
            assert reader.size is None
            assert [record.frame for record in reader] == FRAMES
            assert reader.bytes_read == len(packed)

    def test_pipe_with_a_name(self, packed: bytes) -> None:
        with fed(packed) as pipe:
            assert read(f"/dev/fd/{pipe}") == (FRAMES, "")

    def test_pipe_that_does_not_block(self, packed: bytes) -> None:
        with fed(packed) as pipe:
            os.set_blocking(pipe, False)
            with as_standard_input(pipe):
                assert read("-") == (FRAMES, "")


def test_standard_input_stays_open(saved: Callable[[bytes], Path]) -> None:
    with saved(pcap(FRAMES)).open("rb") as file, as_standard_input(file.fileno()):
        open_capture("-").close()
        assert os.fstat(0).st_size == len(pcap(FRAMES))


def test_a_terminal_is_no_capture() -> None:
    outer, inner = os.openpty()
    with as_standard_input(inner):
        assert read("-") == ([], "standard input: is a terminal, not a capture")
    os.close(inner)
    os.close(outer)


# --- members and what is around them --------------------------------------------------------------------------------


@COMPRESSED
def test_members_are_one_capture(name: str, saved: Callable[[bytes], Path]) -> None:
    data, pack = pcap(FRAMES), PACKS[name]
    members = [pack(data[start : start + 777]) for start in range(0, len(data), 777)]
    assert read(saved(b"".join(members))) == (FRAMES, "")
    assert read(saved(pack(b"") + b"".join(members) + pack(b""))) == (FRAMES, "")
    with fed(b"".join(members)) as pipe:
        assert read(f"/dev/fd/{pipe}") == (FRAMES, "")


def test_skippable_frames_are_skipped(saved: Callable[[bytes], Path]) -> None:
    data = pcap(FRAMES)
    parts = [SKIPPABLE, zstd.compress(data[:999]), SKIPPABLE, zstd.compress(data[999:]), SKIPPABLE]
    assert read(saved(b"".join(parts))) == (FRAMES, "")


@COMPRESSED
@pytest.mark.parametrize("zeros", [1, 3, 512, 500_000])
def test_zeros_behind_the_end_are_padding(name: str, zeros: int, saved: Callable[[bytes], Path]) -> None:
    assert read(saved(PACKS[name](pcap(FRAMES)) + bytes(zeros))) == (FRAMES, "")


@COMPRESSED
@pytest.mark.parametrize("garbage", [b"x", b"garbage", b"\0\0garbage", pcap(FRAMES[:1]), bz2.compress(b"")])
def test_anything_else_behind_the_end_is_an_error(name: str, garbage: bytes, saved: Callable[[bytes], Path]) -> None:
    packed = PACKS[name](pcap(FRAMES))
    frames, message = read(saved(packed + garbage))
    place = len(packed) + len(garbage) - len(garbage.lstrip(b"\0"))
    assert frames == FRAMES
    assert message.endswith(f"the {name} data ends at byte {place:,}, and something else follows")


def test_one_compression_does_not_follow_the_other(saved: Callable[[bytes], Path]) -> None:
    data = pcap(FRAMES)
    frames, message = read(saved(gzip.compress(data[:-100]) + zstd.compress(data[-100:])))
    assert frames == FRAMES[:-1]
    assert "something else follows" in message


@pytest.mark.parametrize("inner", ["gzip", "zstd"])
@pytest.mark.parametrize("outer", ["gzip", "zstd"])
def test_a_second_layer_is_refused(inner: str, outer: str, saved: Callable[[bytes], Path]) -> None:
    path = saved(PACKS[outer](PACKS[inner](pcap(FRAMES))))
    assert read(path) == ([], f"{path}: is compressed twice, {inner} inside {outer}: unpack it once")


@pytest.mark.parametrize(("name", "pack"), [("bzip2", bz2.compress), ("xz", lzma.compress)])
def test_what_is_not_unpacked_is_named(name: str, pack: Pack, saved: Callable[[bytes], Path]) -> None:
    for data in (pack(pcap(FRAMES)), gzip.compress(pack(pcap(FRAMES)))):
        path = saved(data)
        message = f"{path}: is compressed with {name}; gzip and zstd are unpacked, {name} is not"
        assert read(path) == ([], message)


# --- broken ---------------------------------------------------------------------------------------------------------


@COMPRESSED
def test_nothing_inside_is_no_capture(name: str, saved: Callable[[bytes], Path]) -> None:
    path = saved(PACKS[name](b""))
    assert read(path) == ([], f"{path}: unpacks to nothing, not to a capture")
    path = saved(PACKS[name](b"no capture either"))
    assert read(path) == ([], f"{path}: is neither pcap nor pcapng: it begins with 6e6f2063")


def test_empty_pipe() -> None:
    with fed(b"") as pipe, as_standard_input(pipe):
        assert read("-") == ([], "standard input: is empty, not a capture")


@COMPRESSED
def test_truncated_anywhere_is_an_error(name: str, saved: Callable[[bytes], Path]) -> None:
    packed = PACKS[name](pcap(FRAMES[:3]))
    for size in range(len(packed)):
        path = saved(packed[:size])
        frames, message = read(path)
        assert message.startswith(f"{path}: "), size
        assert frames == FRAMES[: len(frames)]
        if size >= 4:
            assert message.endswith(f"the {name} data breaks off after {size} bytes")


@COMPRESSED
def test_what_came_before_the_break_is_delivered(name: str, saved: Callable[[bytes], Path]) -> None:
    generator = random.Random(3)
    original = [generator.randbytes(1_400) for _ in range(2_000)]
    packed = PACKS[name](pcap(original))
    path = saved(packed[: len(packed) // 2])
    frames, message = read(path)
    count = len(frames)
    assert 800 < count <= 1_000
    assert frames == original[:count]
    start = f"{path}: record {count + 1} at offset {24 + count * 1_416} of the unpacked data: "
    assert message == f"{start}the {name} data breaks off after {len(packed) // 2:,} bytes"


@COMPRESSED
def test_damage_is_an_error(name: str, saved: Callable[[bytes], Path]) -> None:
    packed = bytearray(PACKS[name](pcap(FRAMES)))
    packed[-5 if name == "gzip" else -1] ^= 0x10
    path = saved(bytes(packed))
    _, message = read(path)
    assert message.startswith(f"{path}: ")
    assert f"the {name} data is damaged within its first {len(packed):,} bytes: " in message
    assert message.endswith("incorrect data check" if name == "gzip" else "doesn't match checksum")


@COMPRESSED
def test_an_error_stays(name: str, saved: Callable[[bytes], Path]) -> None:
    with open_capture(saved(PACKS[name](pcap(FRAMES)) + b"garbage")) as reader:
        for _ in FRAMES:
            next(reader)
        for _ in range(3):
            with pytest.raises(CaptureError, match="something else follows"):
                next(reader)


@COMPRESSED
def test_random_mutations_end_in_records_or_a_clean_error(name: str, saved: Callable[[bytes], Path]) -> None:
    generator = random.Random(7)
    original = PACKS[name](pcap(FRAMES[:20]))
    failed = 0
    for _ in range(500):
        data = bytearray(original)
        for _ in range(generator.randint(1, 3)):
            data[generator.randrange(len(data))] = generator.randrange(256)
        _, message = read(saved(bytes(data)))
        failed += bool(message)
    assert 400 < failed <= 500


def test_a_frame_that_wants_too_much_memory_is_refused(saved: Callable[[bytes], Path]) -> None:
    parameters = zstd.CompressionParameter
    compressor = zstd.ZstdCompressor(options={parameters.window_log: 28, parameters.content_size_flag: 0})
    path = saved(compressor.compress(pcap(FRAMES)) + compressor.flush())
    assert read(path)[1].endswith("requires too much memory for decoding")


def test_no_descriptor_is_left(saved: Callable[[bytes], Path]) -> None:
    descriptors = Path("/proc/self/fd")
    before = sorted(descriptors.iterdir())
    for data in (gzip.compress(pcap(FRAMES)), gzip.compress(pcap(FRAMES))[:-9], gzip.compress(gzip.compress(b"x"))):
        read(saved(data))
        assert sorted(descriptors.iterdir()) == before


@COMPRESSED
def test_memory_stays_flat(name: str, saved: Callable[[bytes], Path]) -> None:
    frames = 2_000
    path = saved(PACKS[name](pcap([bytes(60_000)] * frames)))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with open_capture(path) as reader:
        assert sum(1 for _ in reader) == frames
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 16 << 10


# --- waiting --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", PACKS)
def test_ctrl_c_ends_the_wait_for_more(name: str, root: Path, tmp_path: Path) -> None:
    edge, pipe = tmp_path / "edge.yaml", tmp_path / "pipe"
    edge.write_text("edgeGateway: {name: T1, edgeGatewayUplinks: [{uplinkName: U}]}\n", encoding="utf-8")
    os.mkfifo(pipe)
    command = [sys.executable, "-m", "edge.cli", "replay", str(edge), str(pipe)]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, env={**os.environ, "PYTHONPATH": path_of(root)})
    with process, pipe.open("wb", buffering=0) as feed:  # which waits until the process has opened it, too
        # The first part is read to open the capture, the second one by the replay itself.
        for part in (PACKS[name](pcap(FRAMES)), PACKS[name](pcap(FRAMES)[24:])[:-20]):
            feed.write(part)
            while unread(feed):
                assert process.poll() is None
        process.send_signal(signal.SIGINT)
        code = process.wait(timeout=20)
        assert process.stderr is not None
        assert (code, process.stderr.read()) == (130, b"")


def path_of(root: Path) -> str:
    return os.pathsep.join(filter(None, (str(root), os.environ.get("PYTHONPATH"))))


def unread(pipe: io.FileIO) -> int:
    """How many bytes lie in the pipe."""
    size: int = struct.unpack("i", fcntl.ioctl(pipe, termios.FIONREAD, bytes(4)))[0]
    return size
