"""IPv4 packets captured before anybody wrote their length, on the native edge and on the reference."""

from __future__ import annotations

import struct
from collections.abc import Callable
from pathlib import Path

import pytest

from edge.captures import open_capture
from edge.model import EdgeConfig
from edge.packets import format_frame
from edge.reference import ReferenceEdge
from edge.replay import replay, replay_stepwise
from edge.runtime import Edge
from tests.model.frames import checksum, frame, tcp
from tests.reference_bench import Bench, why
from tests.support import acme, default_rule, nat

MACHINE, WORLD = bytes((10, 20, 0, 10)), bytes((8, 8, 8, 8))
PUBLIC = bytes((203, 0, 113, 10))


def config() -> EdgeConfig:
    rules = [nat("out", "NO_SNAT", internal="10.20.0.0/24")]
    return acme(firewall=[default_rule("ALLOW")], nat_rules=rules)


@pytest.fixture(params=[Edge, ReferenceEdge], ids=["native", "reference"])
def bench(request: pytest.FixtureRequest) -> Bench:
    return Bench(config(), make=request.param)


def syn(data: int, *, ttl: int = 64, tags: tuple[int, ...] = ()) -> bytes:
    """A SYN with so many bytes of data, 40 with its headers."""
    return frame(tcp(MACHINE, WORLD, 5, 80, 2, 1000, 0, bytes(data)), ttl=ttl, tags=tags)


def with_length(data: bytes, total: int, at: int = 14) -> bytes:
    """The frame with another total length; its header checksum is right."""
    header = bytearray(data[at : at + 20])
    header[2:4], header[10:12] = struct.pack("!H", total), b"\0\0"
    header[10:12] = struct.pack("!H", checksum(bytes(header)))
    return data[:at] + bytes(header) + data[at + 20 :]


def unwritten(data: bytes, at: int = 14) -> bytes:
    return with_length(data, 0, at)


@pytest.mark.parametrize("data", [0, 1, 5000, 65535 - 40])
def test_the_frame_is_as_long_as_the_packet_and_what_leaves_says_so(bench: Bench, data: int) -> None:
    outcome = bench.frame("LAN", unwritten(syn(data)), unsegmented=True)
    assert why(outcome) == ("ALLOW", "FW_DEFAULT")
    assert [output.frame[14:] for output in outcome.outputs] == [syn(data, ttl=63)[14:]]
    assert bench.edge.sessions()[0].bytes == (40 + data, 0)


def test_behind_vlan_tags(bench: Bench) -> None:
    tagged = unwritten(syn(9, tags=(0x88A8, 0x8100)), at=22)
    outcome = bench.frame("LAN", tagged, unsegmented=True)
    assert [output.frame[14:] for output in outcome.outputs] == [syn(9, ttl=63)[14:]]


def test_an_error_quotes_it_with_its_length(bench: Bench) -> None:
    outcome = bench.frame("LAN", unwritten(syn(9, ttl=1)), unsegmented=True)
    assert why(outcome) == ("DROP", "TTL_EXPIRED")
    assert outcome.outputs[0].frame[14 + 28 :] == syn(9, ttl=1)[14:]


def broken(data: bytes) -> bytes:
    return data[:24] + b"\x12\x34" + data[26:]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda data: broken(unwritten(data)), "BAD_CHECKSUM"),
        (lambda data: unwritten(data)[: 14 + 39], "MALFORMED"),  # too short for TCP
        (lambda data: unwritten(data)[: 14 + 19], "MALFORMED"),
        (lambda data: with_length(data, 19), "MALFORMED"),
        (lambda data: with_length(data, 41), "MALFORMED"),
        (lambda data: unwritten(data) + bytes(65535 - 40), "FW_DEFAULT"),
        (lambda data: unwritten(data) + bytes(65536 - 40), "MALFORMED"),
    ],
)
def test_what_else_is_wrong_stays_wrong(bench: Bench, change: Callable[[bytes], bytes], reason: str) -> None:
    assert why(bench.frame("LAN", change(syn(0)), unsegmented=True))[1] == reason


def test_a_live_packet_has_a_length(bench: Bench) -> None:
    assert why(bench.frame("LAN", unwritten(syn(0)))) == ("DROP", "MALFORMED")


def test_it_enters_where_its_source_lives(bench: Bench) -> None:
    assert bench.edge.ingress_port(unwritten(syn(0))) == "LAN"


def test_a_reply_from_behind_the_edge_is_mapped(bench: Bench) -> None:
    snat = acme(firewall=[default_rule("ALLOW")], nat_rules=[nat("out", "SNAT", "203.0.113.10", "10.20.0.0/24")])
    bench.edge.apply(snat)
    bench.frame("LAN", syn(0))
    port = bench.edge.sessions()[0].translated.sport
    reply = tcp(WORLD, MACHINE, 80, 5, 18, 7, 1001, bytes(30))
    translated = tcp(WORLD, PUBLIC, 80, port, 18, 7, 1001, bytes(30))
    assert bench.edge.map_reply("LAN", unwritten(frame(reply)), 0) == ("INTERNET", frame(translated))
    stranger = unwritten(frame(tcp(WORLD, MACHINE, 81, 5, 18, 7, 1001)))
    assert bench.edge.map_reply("LAN", stranger, 0) == ("LAN", stranger)


def test_it_is_shown_as_what_it_is() -> None:
    assert format_frame(unwritten(syn(9))) == format_frame(syn(9)) == "tcp 10.20.0.10:5 > 8.8.8.8:80 S len=9"


def test_replay_takes_it_both_ways(tmp_path: Path) -> None:
    data = struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 262144, 1)
    frames = (unwritten(syn(5000)), frame(tcp(WORLD, MACHINE, 80, 5, 18, 7, 6001)))
    data += b"".join(struct.pack("<IIII", 1, 0, len(item), len(item)) + item for item in frames)
    path = tmp_path / "offload.pcap"
    path.write_bytes(data)
    edge, stepped = Edge(config()), Edge(config())
    closed = acme(firewall=[default_rule("DROP")], nat_rules=[])
    with open_capture(path) as reader:
        result = replay(edge, reader)
    with open_capture(path) as reader:
        again = replay_stepwise(stepped, reader, other=Edge(closed))
    assert result.stats == again.stats
    assert {reason.name: count for reason, count in result.stats.reasons.items()} == {"FW_DEFAULT": 1, "SESSION": 1}
    assert edge.sessions()[0].bytes == (5040, 40)
    assert again.differences is not None
    assert [difference.flow for difference in again.differences] == ["tcp 10.20.0.10:5 > 8.8.8.8:80 S len=5000"]
