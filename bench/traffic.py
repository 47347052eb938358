"""Makes what the replay benchmark reads: a capture of UDP flows and an edge document for them, both from a seed."""

from __future__ import annotations

import json
import random
import struct
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

from edge.bench.documents import snat_document
from edge.bench.frames import udp_frame

NETWORK = 10 << 24 | 20 << 16  # 10.20.0.0/16, behind the edge
REMOTE = 198 << 24 | 18 << 16  # 198.18.0.0/15, RFC 2544's range for benchmarks
START_S = 1_700_000_000
INTERVAL_NS = 1_000
RECORDS_PER_WRITE = 65_536

_FILE_HEADER = struct.pack("<IHHiIII", 0xA1B23C4D, 2, 4, 0, 0, 65_535, 1)
_RECORD_HEADER = struct.Struct("<4I")


def flow_frames(flows: int, generator: random.Random) -> list[tuple[bytes, bytes]]:
    """For each of ``flows`` flows a packet from inside and its reply as a capture from behind the edge shows it."""
    frames = []
    for number in generator.sample(range(1 << 24), flows):
        inside = NETWORK + 256 + (number & 0x3FFF)
        remote = REMOTE + 1 + generator.randrange(1 << 16)
        port = 10_000 + (number >> 14)
        frames.append((udp_frame(inside, port, remote, 53), udp_frame(remote, 53, inside, port)))
    return frames


def records(packets: int, flows: int, replies: float, seed: int) -> Iterator[bytes]:
    """``packets`` pcap records: every flow once from inside, then drawn uniformly, a share ``replies`` in return."""
    generator = random.Random(seed)  # noqa: S311 - repeatable, not secret
    frames = flow_frames(flows, generator)
    for number in range(packets):
        if number < flows:
            frame = frames[number][0]
        else:
            frame = frames[int(generator.random() * flows)][generator.random() < replies]
        seconds, fraction = divmod(number * INTERVAL_NS, 1_000_000_000)
        yield _RECORD_HEADER.pack(START_S + seconds, fraction, len(frame), len(frame)) + frame


def write_capture(path: Path, packets: int, flows: int, replies: float, seed: int) -> None:
    """Write the capture as nanosecond pcap."""
    source = records(packets, flows, replies, seed)
    with path.open("wb") as file:
        file.write(_FILE_HEADER)
        while chunk := b"".join(islice(source, RECORDS_PER_WRITE)):
            file.write(chunk)


def write_edge(path: Path, rules: int, seed: int) -> None:
    """Write the edge: one network, SNAT to one address, ``rules`` firewall rules of which only the last one matches."""
    generator = random.Random(seed)  # noqa: S311 - repeatable, not secret
    user_rules: list[dict[str, object]] = [
        {
            "name": f"rule-{number}",
            "actionValue": "ALLOW",
            "sourceFirewallIpAddresses": ["10.20.0.0/16"],
            "destinationFirewallIpAddresses": [f"192.{generator.randrange(0, 168)}.{generator.randrange(256)}.0/24"],
            "rawPortProtocols": [
                {"layer4Item": {"protocol": "UDP", "destinationPorts": [str(generator.randrange(1, 65_536))]}}
            ],
        }
        for number in range(rules - 1)
    ]
    user_rules.append({"name": "out", "actionValue": "ALLOW", "sourceFirewallIpAddresses": ["10.20.0.0/16"]})
    document = snat_document(user_rules)
    path.write_text(json.dumps(document, indent=1), encoding="utf-8")
