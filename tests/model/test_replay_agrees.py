"""The native replay loop, burst by burst, gives what packet by packet gives; no other random test goes that way."""

from __future__ import annotations

import struct
from pathlib import Path
from random import Random

import pytest

from edge.captures import open_capture
from edge.model import EdgeConfig
from edge.reference import ReferenceEdge
from edge.replay import replay, replay_stepwise
from edge.runtime import Edge
from tests.model.compare import explore
from tests.model.crowds import Crowds
from tests.model.traffic import PacketEvent, Traffic
from tests.model.universe import PACES
from tests.support import edge_config, nat, network, rule, uplink

SECOND = 1_000_000_000
PACKETS = 1000  # several bursts


def written(path: Path, packets: list[tuple[int, bytes]]) -> Path:
    """A pcap file with nanoseconds."""
    data = struct.pack("<IHHiIII", 0xA1B23C4D, 2, 4, 0, 0, 262144, 1)
    for now_ns, frame in packets:
        data += struct.pack("<IIII", *divmod(now_ns, SECOND), len(frame), len(frame)) + frame
    path.write_bytes(data)
    return path


def replay_everywhere(
    config: EdgeConfig,
    path: Path,
    *,
    in_port: str | None = None,
    raw: bool = False,
    pace: tuple[int, int] = (2, 128),
) -> Edge:
    """Replays a capture three ways that have to agree; the edge of the native one."""
    edge, stepped, reference = Edge(config), Edge(config), ReferenceEdge(config)
    for each in (edge, stepped, reference):
        each.set_pace(*pace)
    with open_capture(path) as reader:
        result = replay(edge, reader, in_port=in_port, raw=raw)
    for other in (stepped, reference):
        with open_capture(path) as reader:
            again = replay_stepwise(other, reader, in_port=in_port, raw=raw)
        assert (again.packets, again.stats) == (result.packets, result.stats)
        assert other.rule_counters() == edge.rule_counters()
        assert sorted(other.sessions(), key=repr) == sorted(edge.sessions(), key=repr)
    return edge


@pytest.mark.parametrize("seed", range(12))
def test_replay_of_random_traffic(seed: int, tmp_path: Path) -> None:
    happening = Crowds if seed % 4 else Traffic
    case, _, _ = explore((ReferenceEdge, ReferenceEdge), Random(f"replay {seed}"), PACKETS, happening)
    packets = [(event.now_ns, event.frame) for event in case.events if isinstance(event, PacketEvent)]
    assert len(packets) > PACKETS // 2
    path = written(tmp_path / "traffic.pcap", packets)
    replay_everywhere(case.universe.config, path, raw=bool(seed & 1), pace=PACES[seed % len(PACES)])


def test_an_answer_that_comes_back_and_is_answered(tmp_path: Path) -> None:
    # A reset to an address of the edge itself hairpins, DNAT turns it into an isolated network: that is answered too.
    config = edge_config(
        uplinks=[uplink("INTERNET", "203.0.113.1/24 203.0.113.10-203.0.113.12")],
        networks=[network("LAN", "10.0.0.1/24"), network("CAGE", "10.99.0.1/24", kind="ISOLATED")],
        firewall=[rule("any")],
        nat_rules=[nat("into-the-cage", "DNAT", "203.0.113.11", "10.99.0.5")],
    )
    ip = struct.pack("!BBHHHBBH4s4s", 0x45, 0, 40, 0, 0, 64, 6, 0, bytes((203, 0, 113, 11)), bytes((203, 0, 113, 10)))
    total = sum(struct.unpack("!10H", ip))
    ip = ip[:10] + struct.pack("!H", 0xFFFF - (total % 0xFFFF)) + ip[12:]
    syn = bytes(12) + b"\x08\x00" + ip + struct.pack("!HHIIBBHHH", 1234, 80, 1, 0, 0x50, 2, 1000, 0, 0)
    edge = replay_everywhere(config, written(tmp_path / "syn.pcap", [(SECOND, syn)]), in_port="INTERNET", raw=True)
    reasons = {reason.name: count for reason, count in edge.stats().reasons.items()}
    # The SYN and its RST; the net-unreachable that the RST earns is an ICMP error, and goes nowhere.
    assert reasons["LOCAL_SERVICE"] == 1
    assert reasons["ISOLATED"] == 1
    assert sum(reasons.values()) == 3
