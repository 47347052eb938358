"""Datagrams in pieces, in and out of ``t1edge replay``: tshark puts the same ones together on both sides."""

from __future__ import annotations

import json
import struct
import subprocess
from collections.abc import Iterable
from ipaddress import ip_address
from pathlib import Path
from random import Random

import pytest
from click.testing import CliRunner

from edge.captures import open_capture
from edge.cli.main import cli
from edge.errors import CaptureError
from edge.packets.decode import decode_frame
from tests.model.frames import Parts, frame, udp
from tests.model.pieces import Piece, taken_apart

DOCUMENT = """
edgeGateway:
  name: T1
  edgeGatewayUplinks:
    - uplinkName: INTERNET
      subnets:
        values:
          - {gateway: 203.0.113.1, prefixLength: 24, ipRanges: {values: [{startAddress: 203.0.113.10, endAddress: 203.0.113.10}]}}
          - {gateway: "2001:db8:ff::1", prefixLength: 64, ipRanges: {values: [{startAddress: "2001:db8:ff::10", endAddress: "2001:db8:ff::10"}]}}
firewallRules:
  userDefinedRules: [{name: everything, actionValue: ALLOW}]
options: {tcpStrict: false, providerFilter: false}
"""  # noqa: E501 - one subnet a line


def reassembled(path: Path) -> list[str]:
    """The data of the datagrams that tshark finds complete, in the order in which they become so, as hex digits."""
    fields = ["ip.reassembled.data", "ipv6.reassembled.data"]
    command = ["tshark", "-r", str(path), "-o", "ip.defragment:TRUE", "-o", "ipv6.defragment:TRUE", "-T", "fields"]
    for field in fields:
        command += ["-e", field]
    done = subprocess.run(
        [*command, "-Y", " or ".join(fields)], capture_output=True, text=True, check=True, timeout=120
    )
    return [line.strip() for line in done.stdout.splitlines()]


def replayed(capture: Path, folder: Path) -> tuple[Path, dict[str, int]]:
    """What leaves an edge that lets everything pass, and what it says of fragments."""
    document, out = folder / "edge.yaml", folder / "out.pcapng"
    document.write_text(DOCUMENT, encoding="utf-8")
    arguments = ["replay", str(document), str(capture), "--raw", "--out", str(out), "--json"]
    result = CliRunner().invoke(cli, arguments)
    assert result.exit_code in (0, 2), result.output  # 2: the capture breaks off
    counts: dict[str, int] = json.loads(result.stdout)["fragments"]
    return out, counts


def fragments_in(path: Path) -> list[tuple[int, int]]:
    """Bytes of IP and first byte of every fragment of a capture, as far as that can be read."""
    found = []
    try:
        with open_capture(path) as reader:
            for record in reader:
                headers = decode_frame(record.frame)
                if headers is not None and headers.part is not None:
                    found.append((len(record.frame) - 14, headers.part.first))
    except CaptureError:
        pass
    return found


def written(path: Path, frames: Iterable[bytes]) -> Path:
    """A pcap file, a millisecond from frame to frame."""
    data = struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 262144, 1)
    for number, item in enumerate(frames):
        data += struct.pack("<IIII", number // 1000, number % 1000 * 1000, len(item), len(item)) + item
    path.write_bytes(data)
    return path


@pytest.mark.needs("tshark")
def test_public_fragments_leave_as_the_datagrams_that_they_make(data: Path, tmp_path: Path) -> None:
    captures = [path for path in sorted((data / "captures").rglob("*")) if path.suffix in (".pcap", ".pcapng", ".cap")]
    with_fragments = [path for path in captures if fragments_in(path)]
    assert len(with_fragments) >= 10
    for path in with_fragments:
        out, counts = replayed(path, tmp_path)
        came = reassembled(path)
        left = reassembled(out) if fragments_in(out) else []
        assert [item for item in came if item in left] == left, path.name
        # What is not complete does not leave at all.
        assert len(left) <= counts["reassembled"] <= len(came), path.name


def pieces(random: Random, whole: Piece, limit: int) -> list[Piece]:
    """Fragments of random sizes, multiples of eight up to the limit."""
    made, start = [], 0
    while start < len(whole.data):
        end = start + random.randrange(64, limit, 8)
        end = len(whole.data) if end + 8 > len(whole.data) else end
        made.append(
            Piece(
                whole.head, whole.following, whole.data[start:end], start, end < len(whole.data), whole.identification
            )
        )
        start = end
    return made


def datagram(random: Random, number: int) -> list[bytes]:
    """The fragments of one datagram of either family, in any order, now and then with one of them twice or lost."""
    size = random.choice((200, 1500, 9000, 30_000))
    if number % 2:
        src, dst = ip_address("198.51.100.9").packed, ip_address("192.0.2.1").packed
        options = random.choice((b"", b"", b"\x94\x04\0\0", b"\x07\x07\x04\0\0\0\0\0"))
        whole = frame(udp(src, dst, 4000 + number, 53, random.randbytes(size)), fragment=0, options=options)
    else:
        src, dst = ip_address("2001:db8:9::9").packed, ip_address("2001:db8:8::1").packed
        extensions = random.choice(((), (), (60,), (43, 60)))
        whole = frame(
            Parts(17, src, dst, udp(src, dst, 4000 + number, 53, random.randbytes(size)).payload), extensions=extensions
        )
    apart = taken_apart(random, whole)
    assert apart is not None
    made = pieces(random, apart, 1400 if size > 1500 else 600)
    frames = [
        Piece(item.head, item.following, item.data, item.offset, item.more, 1000 + number).frame(whole[:14])
        for item in made
    ]
    random.shuffle(frames)
    happens = random.randrange(8)
    if happens == 0:
        frames.pop()
    elif happens == 1 and len(frames) > 1:
        frames.insert(0, frames[0])
    return frames


@pytest.mark.needs("tshark")
def test_fragments_leave_as_the_datagrams_that_they_make(tmp_path: Path) -> None:
    random = Random(20)
    frames = [item for number in range(120) for item in datagram(random, number)]
    path = written(tmp_path / "fragments.pcap", frames)
    came = reassembled(path)
    out, counts = replayed(path, tmp_path)
    assert counts["reassembled"] == len(came)
    assert 60 < len(came) < 120
    assert reassembled(out) == came
    assert max(size for size, _ in fragments_in(out)) <= 1500
