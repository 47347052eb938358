"""Captures through an edge: counts, clock, replies from behind the edge, hairpins, output and comparison."""

from __future__ import annotations

import gzip
import json
import re
import struct
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from edge.bench.frames import udp_frame
from edge.captures import CapturedFrame, PcapngWriter, open_capture
from edge.cli.main import cli
from edge.document import from_data, loads
from edge.errors import LinkTypeUnsupportedError
from edge.model import EdgeConfig
from edge.packets import build_frame, parse_packet
from edge.reference import ReferenceEdge
from edge.replay import PortUnknownError, ReplayResult, replay, replay_stepwise
from edge.runtime import Edge
from edge.verdicts import Reason, Verdict
from tests.alg_bench import WAY_OUT, ftp_edge

START_NS = 1_600_000_000_000_000_000
SECOND = 10**9

DOCUMENT: dict[str, Any] = loads("""
edgeGateway:
  name: T1-TEST
  edgeGatewayUplinks:
    - uplinkName: INTERNET
      subnets:
        - {gateway: 203.0.113.1, prefixLength: 24, primaryIp: 203.0.113.10,
           ipRanges: [{startAddress: 203.0.113.10, endAddress: 203.0.113.12}]}
orgVdcNetworks:
  - name: LAN
    networkType: NAT_ROUTED
    connection: {connectionTypeValue: INTERNAL}
    subnets: [{gateway: 10.20.0.1, prefixLength: 24}]
applicationPortProfiles:
  - {name: dns-5353, applicationPorts: [{protocol: UDP, destinationPorts: ["5353"]}]}
firewallRules:
  userDefinedRules:
    - {name: in-dns, actionValue: ALLOW, destinationFirewallIpAddresses: [10.20.0.53]}
    - {name: out, actionValue: ALLOW, sourceFirewallIpAddresses: [10.20.0.0/24]}
  defaultRules: [{name: default_rule, actionValue: DROP}]
natRules:
  - {name: pub-dns, type: DNAT, externalAddresses: 203.0.113.11, dnatExternalPort: "53", internalAddresses: 10.20.0.53,
     applicationPortProfile: dns-5353, priority: 10}
  - {name: internet, type: SNAT, externalAddresses: 203.0.113.10, internalAddresses: 10.20.0.0/24, priority: 100}
""").document


def address(text: str) -> int:
    return int(IPv4Address(text))


def udp(source: str, source_port: int, destination: str, destination_port: int) -> bytes:
    return udp_frame(address(source), source_port, address(destination), destination_port)


OUT = udp("10.20.0.9", 4000, "8.8.8.8", 53)
REPLY_BEHIND_THE_EDGE = udp("8.8.8.8", 53, "10.20.0.9", 4000)
IN = udp("198.51.100.7", 40_000, "203.0.113.11", 53)
REFUSED = udp("198.51.100.7", 40_000, "203.0.113.11", 54)
TO_ITS_OWN_PUBLIC_ADDRESS = udp("10.20.0.9", 4001, "203.0.113.11", 53)


@pytest.fixture
def config() -> EdgeConfig:
    return from_data(DOCUMENT).config


@pytest.fixture
def document(tmp_path: Path) -> Path:
    path = tmp_path / "edge.json"
    path.write_text(json.dumps(DOCUMENT), encoding="utf-8")
    return path


def capture(folder: Path, frames: Sequence[tuple[int, bytes]]) -> Path:
    """A capture of frames, each with its time in nanoseconds after START_NS."""
    path = folder / "in.pcap"
    data = struct.pack("<IHHiIII", 0xA1B23C4D, 2, 4, 0, 0, 65_535, 1)
    for after, frame in frames:
        seconds, fraction = divmod(START_NS + after, SECOND)
        data += struct.pack("<4I", seconds, fraction, len(frame), len(frame)) + frame
    path.write_bytes(data)
    return path


def both_ways(config: EdgeConfig, path: Path, *, in_port: str | None = None, raw: bool = False) -> ReplayResult:
    """The replay's result, the same for the native loop and packet by packet, natively and by the reference."""
    with open_capture(path) as reader:
        native = replay(Edge(config), reader, in_port=in_port, raw=raw)
    for edge in (Edge(config), ReferenceEdge(config)):
        with open_capture(path) as reader:
            stepwise = replay_stepwise(edge, reader, in_port=in_port, raw=raw)
        if native.error is not None:
            assert str(stepwise.error) == str(native.error)
        assert replace(stepwise, seconds=0, error=None) == replace(native, seconds=0, error=None)
    return native


def hits(result: ReplayResult) -> dict[str, tuple[int, int, int]]:
    """Rule name -> hits, packets, bytes, where there are any."""
    lines = (*result.firewall_rules, *result.nat_rules)
    counted = {line.name: (line.counters.hits, line.counters.packets, line.counters.bytes) for line in lines}
    return {name: counts for name, counts in counted.items() if any(counts)}


def test_rules_verdicts_and_sessions_are_counted(config: EdgeConfig, tmp_path: Path) -> None:
    frames = [OUT, OUT, IN, REFUSED, b"\0" * 60]
    result = both_ways(config, capture(tmp_path, [(number, frame) for number, frame in enumerate(frames)]))
    assert (result.packets, result.bytes, result.error) == (5, 4 * 64 + 60, None)
    assert hits(result) == {
        "out": (1, 2, 100),
        "internet": (1, 2, 100),
        "in-dns": (1, 1, 50),
        "pub-dns": (1, 1, 50),
        "default_rule": (1, 1, 50),
    }
    stats = result.stats
    assert dict(stats.verdicts) == {Verdict.ALLOW: 3, Verdict.DROP: 2}
    assert dict(stats.reasons) == {Reason.FW_RULE: 2, Reason.SESSION: 1, Reason.FW_DEFAULT: 1, Reason.NOT_IP: 1}
    assert (stats.sessions_created, stats.sessions_peak, stats.sessions_open) == (2, 2, 2)


def test_reply_from_behind_the_edge_belongs_to_its_session(config: EdgeConfig, tmp_path: Path) -> None:
    path = capture(tmp_path, [(0, OUT), (1, REPLY_BEHIND_THE_EDGE)])
    assert both_ways(config, path).stats.reasons == {Reason.FW_RULE: 1, Reason.SESSION: 1}
    assert both_ways(config, path, raw=True).stats.reasons == {Reason.FW_RULE: 1, Reason.FW_DEFAULT: 1}


def test_every_packet_enters_by_the_port_that_was_named(config: EdgeConfig, tmp_path: Path) -> None:
    result = both_ways(config, capture(tmp_path, [(0, OUT)]), in_port="INTERNET")
    assert result.stats.verdicts == {Verdict.ALLOW: 1}
    path = capture(tmp_path, [(0, OUT)])
    with open_capture(path) as reader, pytest.raises(PortUnknownError, match="its ports are INTERNET, LAN"):
        replay(Edge(config), reader, in_port="WAN")


def test_packet_to_its_own_public_address_comes_back_in(config: EdgeConfig, tmp_path: Path) -> None:
    result = both_ways(config, capture(tmp_path, [(0, TO_ITS_OWN_PUBLIC_ADDRESS)]))
    assert result.packets == 1
    assert (result.stats.verdicts, result.hairpins) == ({Verdict.ALLOW: 2}, 1)
    assert hits(result)["pub-dns"] == (1, 1, 50)


def test_time_stamps_are_the_clock_and_never_run_backwards(config: EdgeConfig, tmp_path: Path) -> None:
    expired = both_ways(config, capture(tmp_path, [(0, OUT), (31 * SECOND, OUT)]))
    assert expired.stats.sessions_created == 2
    back_and_forth = both_ways(config, capture(tmp_path, [(29 * SECOND, OUT), (0, OUT), (31 * SECOND, OUT)]))
    assert back_and_forth.stats.sessions_created == 1


def test_late_reply_from_behind_the_edge_finds_no_session(config: EdgeConfig, tmp_path: Path) -> None:
    query, answer = udp("10.20.0.53", 4000, "8.8.8.8", 53), udp("8.8.8.8", 53, "10.20.0.53", 4000)
    result = both_ways(config, capture(tmp_path, [(0, query), (31 * SECOND, answer)]))
    # As it is, and not as a reply to the public address, the packet is one that a rule lets in.
    assert hits(result)["in-dns"] == (1, 1, 50)


def test_capture_that_breaks_off_is_replayed_up_to_there(config: EdgeConfig, tmp_path: Path) -> None:
    path = capture(tmp_path, [(0, OUT), (1, OUT)])
    path.write_bytes(path.read_bytes()[:-1])
    result = both_ways(config, path)
    assert result.packets == 1
    assert "record 2 at offset 104" in str(result.error)


def test_public_captures_are_judged_alike_by_engine_and_reference(config: EdgeConfig, data: Path) -> None:
    judged = 0
    for path in sorted((data / "captures" / "tcpdump").glob("[d-i]*.pcap*")):
        try:
            with open_capture(path) as reader:
                next(reader, None)
        except LinkTypeUnsupportedError:
            continue
        judged += both_ways(config, path).packets
    assert judged > 300


# --- what comes out -------------------------------------------------------------------------------------------------


def comments(path: Path) -> list[str]:
    """The packet comments of a pcapng file, found by their option code."""
    found = []
    data = path.read_bytes()
    at = 0
    while at < len(data):
        kind, size = struct.unpack_from("<2I", data, at)
        if kind == 6:
            captured = struct.unpack_from("<I", data, at + 20)[0]
            code, length = struct.unpack_from("<2H", data, at + 28 + captured + (-captured & 3))
            assert code == 1
            start = at + 32 + captured + (-captured & 3)
            found.append(data[start : start + length].decode())
        at += size
    return found


def test_output_bears_verdict_rules_and_rewrite(config: EdgeConfig, tmp_path: Path) -> None:
    path = capture(tmp_path, [(5, OUT), (6, REFUSED), (7, REPLY_BEHIND_THE_EDGE), (2, IN)])
    written = tmp_path / "out.pcapng"
    with open_capture(path) as reader, PcapngWriter(written, config.ports) as writer:
        replay_stepwise(Edge(config), reader, writer=writer)
    with open_capture(written) as reader:
        records: list[CapturedFrame] = list(reader)
    assert [(record.ts_ns - START_NS, config.ports[record.interface]) for record in records] == [
        (5, "INTERNET"),
        (7, "LAN"),
        (7, "LAN"),
    ]
    port = struct.unpack_from("!H", records[0].frame, 34)[0]
    assert comments(written) == [
        f"ALLOW FW_RULE, SNAT rule internet, firewall rule out, rewritten to 203.0.113.10:{port} > 8.8.8.8:53",
        "ALLOW SESSION, firewall rule out, SNAT rule internet, rewritten to 8.8.8.8:53 > 10.20.0.9:4000",
        "ALLOW FW_RULE, DNAT rule pub-dns, firewall rule in-dns, rewritten to 198.51.100.7:40000 > 10.20.0.53:5353",
    ]


def test_an_announcement_is_no_rewrite_of_the_packet_that_makes_it(tmp_path: Path) -> None:
    request = build_frame(parse_packet("udp 10.20.0.50:4000 > 198.51.100.9:69 len=20"))
    path, written, edge = capture(tmp_path, [(5, request)]), tmp_path / "out.pcapng", ftp_edge(WAY_OUT)
    with open_capture(path) as reader, PcapngWriter(written, edge.ports) as writer:
        replay_stepwise(Edge(edge), reader, writer=writer)
    (comment,) = comments(written)
    assert re.search(r"rewritten to 203\.0\.113\.10:\d+ > 198\.51\.100\.9:69$", comment)


# --- two edges ------------------------------------------------------------------------------------------------------


def changed(**sections: Any) -> dict[str, Any]:
    return {**DOCUMENT, **sections}


def compare(tmp_path: Path, second: dict[str, Any], frames: Sequence[bytes]) -> ReplayResult:
    path = capture(tmp_path, [(number, frame) for number, frame in enumerate(frames)])
    first_edge, second_edge = Edge(from_data(DOCUMENT).config), Edge(from_data(second).config)
    with open_capture(path) as reader:
        return replay_stepwise(first_edge, reader, other=second_edge)


def test_an_edge_does_not_differ_from_itself(tmp_path: Path) -> None:
    frames = [OUT, REPLY_BEHIND_THE_EDGE, IN, REFUSED, TO_ITS_OWN_PUBLIC_ADDRESS]
    assert compare(tmp_path, DOCUMENT, frames).differences == ()


def test_flow_with_another_verdict_is_listed_once(tmp_path: Path) -> None:
    closed = changed(firewallRules={"userDefinedRules": [DOCUMENT["firewallRules"]["userDefinedRules"][0]]})
    result = compare(tmp_path, closed, [IN, OUT, OUT, REPLY_BEHIND_THE_EDGE])
    assert result.differences is not None
    (difference,) = result.differences
    assert difference.flow.startswith("udp 10.20.0.9:4000 > 8.8.8.8:53")
    assert (difference.record, difference.packets) == (2, 3)
    assert difference.first.rewrite == "203.0.113.10:* > 8.8.8.8:53"
    assert (difference.first.verdict, difference.second.verdict) == (Verdict.ALLOW, Verdict.DROP)
    assert difference.second.reason is Reason.FW_DEFAULT


def test_flow_with_another_rewrite_differs(tmp_path: Path) -> None:
    first, second = DOCUMENT["natRules"]
    result = compare(tmp_path, changed(natRules=[first, {**second, "externalAddresses": "203.0.113.12"}]), [OUT, IN])
    assert result.differences is not None
    assert [(item.first.rewrite, item.second.rewrite) for item in result.differences] == [
        ("203.0.113.10:* > 8.8.8.8:53", "203.0.113.12:* > 8.8.8.8:53")
    ]


def test_ports_drawn_at_random_are_no_difference(tmp_path: Path) -> None:
    # The second edge draws none for the first flow, so the draws of the two edges run apart from there on.
    exempt = {"name": "exempt", "type": "NO_SNAT", "snatDestinationAddresses": "8.8.8.8", "priority": 1}
    result = compare(
        tmp_path,
        changed(natRules=[*DOCUMENT["natRules"], exempt]),
        [OUT, *(udp("10.20.0.9", port, "9.9.9.9", 53) for port in range(5_000, 5_020))],
    )
    assert result.differences is not None
    assert [item.record for item in result.differences] == [1]


def test_ports_drawn_at_random_are_no_difference_on_the_way_back_in(tmp_path: Path) -> None:
    exempt = {"name": "exempt", "type": "NO_SNAT", "snatDestinationAddresses": "8.8.8.8", "priority": 1}
    result = compare(tmp_path, changed(natRules=[*DOCUMENT["natRules"], exempt]), [OUT, TO_ITS_OWN_PUBLIC_ADDRESS])
    assert result.differences is not None
    assert [item.record for item in result.differences] == [1]


def test_a_session_that_only_one_edge_still_has_is_no_difference(tmp_path: Path) -> None:
    path = capture(tmp_path, [(0, OUT), (31 * SECOND, OUT)])
    patient = changed(options={"timers": {"udpFirst": 60, "udpSingle": 60, "udpMultiple": 60}})
    for documents in ((DOCUMENT, patient), (patient, DOCUMENT)):
        first, second = (Edge(from_data(document).config) for document in documents)
        with open_capture(path) as reader:
            result = replay_stepwise(first, reader, other=second)
        assert first.stats().sessions_created != second.stats().sessions_created
        assert result.differences == ()


# --- the command ----------------------------------------------------------------------------------------------------


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(cli, ["replay", *map(str, arguments)])


def test_json_has_the_documented_shape(document: Path, tmp_path: Path) -> None:
    path = capture(tmp_path, [(0, OUT), (1, REFUSED)])
    done = run(document, path, "--json")
    assert done.exit_code == 0
    shown = json.loads(done.stdout)
    assert list(shown) == [
        "packets",
        "bytes",
        "seconds",
        "packetsPerSecond",
        "hairpins",
        "verdicts",
        "reasons",
        "firewallRules",
        "natRules",
        "sessions",
        "answersLimited",
        "fragments",
    ]
    assert (shown["packets"], shown["bytes"], shown["hairpins"]) == (2, 128, 0)
    assert shown["verdicts"] == {"ALLOW": 1, "DROP": 1}
    assert shown["reasons"] == {"FW_RULE": 1, "FW_DEFAULT": 1}
    assert shown["sessions"] == {"created": 1, "peak": 1, "open": 1}
    assert shown["fragments"] == {"held": 0, "reassembled": 0, "timedOut": 0}
    assert [list(rule) for rule in shown["firewallRules"]] == [["name", "id", "hits", "packets", "bytes"]] * 3
    assert [(rule["name"], rule["hits"]) for rule in shown["natRules"]] == [("pub-dns", 0), ("internet", 1)]


def pieces(source: str, target: str, size: int, *, ident: int) -> list[bytes]:
    """A UDP datagram from port 53 to port 4000 in two fragments."""
    text = f"udp {source}:53 > {target}:4000 len={size} ipid={ident}"
    return [build_frame(parse_packet(f"{text} frag={part}")) for part in ("0-799", "800-")]


def test_fragments_are_fed_and_leave_as_datagrams(document: Path, tmp_path: Path) -> None:
    answer, late, other = (pieces("8.8.8.8", "10.20.0.9", 1200, ident=ident) for ident in (1, 2, 3))
    packets = [(0, OUT), (1, answer[1]), (2, answer[0]), (3, late[0]), (40 * SECOND, other[0])]
    path, out = capture(tmp_path, packets), tmp_path / "out.pcapng"
    both_ways(from_data(DOCUMENT).config, path)
    done = run(document, path, "--json", "--out", out)
    shown = json.loads(done.stdout)
    assert shown["fragments"] == {"held": 1, "reassembled": 1, "timedOut": 1}
    assert shown["verdicts"] == {"ALLOW": 2, "HELD": 3}
    with open_capture(out) as reader:
        frames = [record.frame for record in reader]
    assert [len(frame) for frame in frames] == [len(OUT), 14 + 820, 14 + 428]
    assert b"".join(frame[34:] for frame in frames[1:]) == answer[0][34:] + answer[1][34:]
    assert len(comments(out)) == 3
    assert "fragments: 1 datagram became whole, 1 did not in time; 1 held" in run(document, path).stdout


def test_text_is_aligned_without_escape_sequences(document: Path, tmp_path: Path) -> None:
    done = run(document, capture(tmp_path, [(0, OUT), (1, REFUSED)]))
    assert done.exit_code == 0
    assert "\x1b" not in done.output
    assert "  out           ALLOW      1        1     50\n" in done.stdout
    assert "2 packets and 128 bytes" in done.stdout


def test_broken_capture_shows_what_was_done_and_exits_2(document: Path, tmp_path: Path) -> None:
    path = capture(tmp_path, [(0, OUT), (1, OUT)])
    path.write_bytes(path.read_bytes()[:-1])
    for options in ((), ("--out", tmp_path / "out.pcapng")):
        done = run(document, path, "--json", *options)
        assert done.exit_code == 2
        shown = json.loads(done.stdout)
        (problem,) = shown["problems"]
        assert (shown["packets"], problem["code"], problem["file"]) == (1, "INVALID_CAPTURE", str(path))
        assert problem["message"].startswith("record 2 at offset 104")
        assert done.stderr == ""
        done = run(document, path, *options)
        assert "1 packet and 64 bytes" in done.stdout
        assert done.stderr.startswith(f"{path}: INVALID_CAPTURE: record 2 at offset 104")
    assert (tmp_path / "out.pcapng").exists()


def test_unsupported_link_type_exits_2_with_its_code(document: Path, tmp_path: Path) -> None:
    path = tmp_path / "wifi.pcap"
    path.write_bytes(struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 65_535, 105))
    done = run(document, path)
    assert done.exit_code == 2
    assert done.stderr.startswith(f"{path}: LINKTYPE_UNSUPPORTED: link type LINKTYPE_IEEE802_11 (105)")
    (problem,) = json.loads(run(document, path, "--json").stdout)["problems"]
    assert (problem["code"], problem["file"]) == ("LINKTYPE_UNSUPPORTED", str(path))


def test_totals_name_the_packets_that_came_back_in(document: Path, tmp_path: Path) -> None:
    path = capture(tmp_path, [(0, OUT), (1, TO_ITS_OWN_PUBLIC_ADDRESS)])
    assert "2 packets (1 of them came back in) and 128 bytes in " in run(document, path).stdout
    shown = json.loads(run(document, path, "--json").stdout)
    assert (shown["packets"], shown["hairpins"], shown["verdicts"]) == (2, 1, {"ALLOW": 3})


def test_output_is_not_written_over_what_was_read(document: Path, tmp_path: Path) -> None:
    path = capture(tmp_path, [(0, OUT)])
    second = tmp_path / "second.json"
    second.write_text(json.dumps(DOCUMENT), encoding="utf-8")
    (tmp_path / "symbolic").symlink_to(path)
    (tmp_path / "hard").hardlink_to(path)
    before = {file: file.read_bytes() for file in tmp_path.iterdir()}
    for name in (path.name, "symbolic", "hard", document.name, second.name):
        out = tmp_path / name
        what = "an edge file" if name.endswith(".json") else "the capture itself"
        done = run(document, path, "--compare", second, "--out", out)
        assert (done.exit_code, done.stdout) == (2, "")
        assert done.stderr == f"--out {out}: this is {what}, which would be overwritten\n"
        (problem,) = json.loads(run(document, path, "--compare", second, "--out", out, "--json").stdout)["problems"]
        assert problem["code"] == "OUTPUT_IS_INPUT"
    assert {file: file.read_bytes() for file in tmp_path.iterdir()} == before
    assert run(document, tmp_path / "missing.pcap", "--out", tmp_path / "missing.pcap").exit_code == 2


def test_unknown_port_and_unwritable_output_exit_2(document: Path, tmp_path: Path) -> None:
    path = capture(tmp_path, [(0, OUT)])
    done = run(document, path, "--in", "WAN")
    assert done.exit_code == 2
    assert "'WAN' is no port of T1-TEST; its ports are INTERNET, LAN" in done.stderr
    done = run(document, path, "--out", tmp_path / "missing" / "out.pcapng")
    assert done.exit_code == 2
    assert "cannot be written: No such file or directory" in done.stderr


@pytest.fixture
def closed(tmp_path: Path) -> Path:
    """DOCUMENT without its rule for what leaves."""
    path = tmp_path / "second.json"
    rules = {"userDefinedRules": DOCUMENT["firewallRules"]["userDefinedRules"][:1]}
    path.write_text(json.dumps(changed(firewallRules=rules)), encoding="utf-8")
    return path


def test_comparing_exits_1_when_a_flow_differs(document: Path, closed: Path, tmp_path: Path) -> None:
    path = capture(tmp_path, [(0, IN), (1, OUT), (2, REPLY_BEHIND_THE_EDGE)])
    done = run(document, path, "--compare", closed, "--json")
    assert (done.exit_code, done.stderr) == (1, "")
    shown = json.loads(done.stdout)
    assert shown["packets"] == 3
    assert list(shown)[-1] == "differences"
    (difference,) = shown["differences"]
    assert difference == {
        "flow": "udp 10.20.0.9:4000 > 8.8.8.8:53 len=22",
        "record": 2,
        "packets": 2,
        "first": {
            "verdict": "ALLOW",
            "reason": "FW_RULE",
            "rules": [
                {"rule": "internet", "ruleId": "9df8058b-b5b5-5c2d-9857-76ad2968202b"},
                {"rule": "out", "ruleId": "3c5c8334-68e2-5c61-9230-134a22b5f580"},
            ],
            "port": "INTERNET",
            "rewrite": "203.0.113.10:* > 8.8.8.8:53",
        },
        "second": {
            "verdict": "DROP",
            "reason": "FW_DEFAULT",
            "rules": [
                {"rule": "internet", "ruleId": "9df8058b-b5b5-5c2d-9857-76ad2968202b"},
                {"rule": "default_rule", "ruleId": "7d7dbb1d-181a-5b49-8a22-9d9e5103f2b9"},
            ],
            "port": None,
            "rewrite": None,
        },
    }
    done = run(document, path, "--compare", closed)
    assert (done.exit_code, done.stderr) == (1, "")
    assert "1 flow differs\n" in done.stdout


def test_comparing_exits_0_when_no_flow_differs(document: Path, closed: Path, tmp_path: Path) -> None:
    path = capture(tmp_path, [(0, OUT), (1, REFUSED)])
    done = run(document, path, "--compare", document, "--json")
    assert done.exit_code == 0
    assert json.loads(done.stdout)["differences"] == []
    assert "no flow differs\n" in run(document, path, "--compare", document).stdout
    assert "differences" not in json.loads(run(document, path, "--json").stdout)
    # What the second edge would treat differently does not occur.
    assert run(document, capture(tmp_path, [(0, IN)]), "--compare", closed).exit_code == 0


def test_comparing_a_capture_that_breaks_off_exits_2(document: Path, closed: Path, tmp_path: Path) -> None:
    path = capture(tmp_path, [(0, OUT), (1, OUT)])
    path.write_bytes(path.read_bytes()[:-1])
    done = run(document, path, "--compare", closed, "--json")
    assert done.exit_code == 2
    shown = json.loads(done.stdout)
    assert [difference["record"] for difference in shown["differences"]] == [1]
    assert [problem["message"][:8] for problem in shown["problems"]] == ["record 2"]


def test_comparing_with_what_is_no_edge_exits_2(document: Path, tmp_path: Path) -> None:
    path, second = capture(tmp_path, [(0, OUT)]), tmp_path / "second.json"
    for text in (None, "{]", '{"edgeGateway": {"naem": "x"}}'):
        if text is not None:
            second.write_text(text, encoding="utf-8")
        done = run(document, path, "--compare", second, "--json")
        assert done.exit_code == 2
        assert {problem["file"] for problem in json.loads(done.stdout)["problems"]} == {str(second)}


def test_a_port_that_only_one_edge_has_exits_2(document: Path, tmp_path: Path) -> None:
    path, second = capture(tmp_path, [(0, OUT)]), tmp_path / "second.json"
    second.write_text(
        json.dumps({"edgeGateway": {"name": "T1-OTHER", "edgeGatewayUplinks": [{"uplinkName": "WAN"}]}}),
        encoding="utf-8",
    )
    done = run(document, path, "--in", "LAN", "--compare", second)
    assert done.exit_code == 2
    assert "'LAN' is no port of T1-OTHER" in done.stderr


# --- compressed and on standard input -------------------------------------------------------------------------------


@pytest.mark.parametrize("options", [(), ("--compare",)], ids=["alone", "compared"])
def test_compressed_capture_on_standard_input(
    document: Path, tmp_path: Path, root: Path, options: tuple[str, ...]
) -> None:
    packed = gzip.compress(capture(tmp_path, [(0, OUT), (1, REFUSED)]).read_bytes())
    second = [str(document) for _ in options]
    command = [sys.executable, "-m", "edge.cli", "replay", str(document), "-", "--json", *options, *second]
    done = subprocess.run(command, input=packed, capture_output=True, check=False, cwd=root)
    assert (done.returncode, done.stderr) == (0, b"")
    assert json.loads(done.stdout)["verdicts"] == {"ALLOW": 1, "DROP": 1}


def test_broken_compression_shows_what_was_done_and_exits_2(document: Path, tmp_path: Path) -> None:
    path = capture(tmp_path, [(0, OUT), (1, REFUSED)])
    path.write_bytes(gzip.compress(path.read_bytes())[:-8])
    both: list[tuple[str, ...]] = [(), ("--compare", str(document))]
    for options in both:
        done = run(document, path, "--json", *options)
        assert done.exit_code == 2
        shown = json.loads(done.stdout)
        assert shown["packets"] == 2
        (problem,) = shown["problems"]
        assert (problem["file"], problem["code"]) == (str(path), "INVALID_CAPTURE")
        assert problem["message"].startswith("record 3 at offset 184 of the unpacked data: the gzip")


def test_no_capture_on_standard_input_is_named(document: Path, root: Path) -> None:
    command = [sys.executable, "-m", "edge.cli", "replay", str(document), "-", "--json"]
    done = subprocess.run(command, input=b"", capture_output=True, check=False, cwd=root)
    assert done.returncode == 2
    (problem,) = json.loads(done.stdout)["problems"]
    assert (problem["file"], problem["code"]) == ("standard input", "INVALID_CAPTURE")
    assert problem["message"] == "is empty, not a capture"


def test_a_file_name_with_a_colon_is_told_whole(document: Path, tmp_path: Path) -> None:
    path = tmp_path / "monday: noon.pcap"
    path.write_bytes(b"no capture")
    (problem,) = json.loads(run(document, path, "--json").stdout)["problems"]
    assert problem["file"] == str(path)
