"""The benchmark frame: what it reports, and that it refuses to report what did not happen."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from edge.bench import established as packets
from edge.bench import fragments as pieces
from edge.bench import peers, suite
from edge.bench.changes import change_all_rules, change_one_rule
from edge.bench.documents import established_document
from edge.bench.established import BURST, established, imix
from edge.bench.fragments import fragments
from edge.bench.frames import ACK, checksums_hold, tcp_frame, two_pieces, udp6_frame, udp_frame
from edge.bench.measurement import TRIALS, BenchmarkError, Case, Measurement, spread
from edge.bench.new_sessions import nat_rules, new_sessions
from edge.bench.workers import two_workers
from edge.cli.main import cli

QUICK_DRAWS = 64 * BURST
NAMES = [
    "established_1",
    "established_10k",
    "established_1m",
    "established_ipv6_10k",
    "established_tcp_10k",
    "mixed_imix",
    "fragments_10pct",
    "two_workers",
    "new_sessions_10_rules",
    "new_sessions_1k_rules",
    "new_sessions_10k_rules",
    "nat_rules_10k",
    *(f"classify_{kind}_{size}" for size in ("1k", "10k", "100k") for kind in ("acl1", "fw1", "ipc1")),
    "classify_ipset_30k",
    "ipset_30k_beside_prefix",
    "build_fw1_10k",
    "build_fw1_100k",
    "change_one_rule_100k",
    "change_all_rules_100k",
]


def quick(trials: int) -> Measurement:
    return established(100, trials, QUICK_DRAWS)


def have_cases(monkeypatch: pytest.MonkeyPatch, *names: str) -> None:
    monkeypatch.setattr(suite, "cases", lambda _: tuple(Case(name, quick) for name in names))


@pytest.fixture
def quick_cases(monkeypatch: pytest.MonkeyPatch) -> None:
    have_cases(monkeypatch, "quick_a", "quick_b")


def with_document(monkeypatch: pytest.MonkeyPatch, **changes: object) -> None:
    """The edge of established sessions with other sections."""
    kind = replace(packets.KINDS["udp"], document=lambda: {**established_document(), **changes})
    monkeypatch.setitem(packets.KINDS, "udp", kind)


def test_a_case_measures_every_trial() -> None:
    measurement = established(300, 11, QUICK_DRAWS)
    assert measurement.name == "established_300"
    assert len(measurement.samples) == len(measurement.clocks_per_packet) == 11
    assert all(clocks > 0 for clocks in measurement.clocks_per_packet)
    shown = measurement.to_json()
    assert list(shown) == ["name", "unit", "median", "spread", "samples", "clocksPerPacket", "details"]
    assert shown["unit"] == "packets/s"


def test_cases_are_named_after_their_traffic() -> None:
    assert [case.name for case in suite.cases(suite.classify.Peer())] == NAMES
    assert [established(size, 11, 11 * BURST).name for size in (1, 10_000)] == ["established_1", "established_10k"]
    assert TRIALS >= suite.FEW_TRIALS >= 11


@pytest.mark.parametrize(("kind", "size"), [("tcp", 64.0), ("ipv6", 64.0)])
def test_other_packets_of_established_sessions(kind: str, size: float) -> None:
    measurement = established(300, 3, QUICK_DRAWS, kind=kind, name=f"established_{kind}")
    assert measurement.name == f"established_{kind}"
    assert measurement.details == {"sessions": 300, "rules": 10, "bytesPerPacket": size}
    assert len(measurement.samples) == 3


def test_imix_has_three_sizes() -> None:
    measurement = imix(300, 3, QUICK_DRAWS)
    assert measurement.name == "mixed_imix"
    mean = (28 * 64 + 16 * 570 + 4 * 1518) / 48 - packets.FCS
    assert measurement.details["bytesPerPacket"] == pytest.approx(mean, rel=0.1)


def test_two_workers_are_measured_beside_one() -> None:
    measurement = two_workers(300, 3, QUICK_DRAWS)
    assert measurement.name == "two_workers"
    assert len(measurement.samples) == 3
    owned, anywhere = measurement.details["handedOver"]  # type: ignore[misc]
    assert owned == 0
    assert 0.4 < anywhere < 0.6
    for name in ("ratio", "ratioHandedOver"):
        ratio: Any = measurement.details[name]
        assert 0 < ratio["low"] <= ratio["median"] <= ratio["high"]


def test_two_workers_refuse_packets_of_no_session(monkeypatch: pytest.MonkeyPatch) -> None:
    from edge.bench import workers

    monkeypatch.setattr(workers, "_of_sessions", lambda _: 0)
    with pytest.raises(BenchmarkError, match="not every packet belonged"):
        two_workers(20, 3, QUICK_DRAWS)


def test_fragments_are_measured_by_what_they_do_to_others() -> None:
    measurement = fragments(300, 3, QUICK_DRAWS)
    assert measurement.name == "fragments_10pct"
    assert len(measurement.clocks_per_packet) == len(measurement.clocks_undisturbed) == 3
    assert all(clocks > 0 for clocks in measurement.clocks_undisturbed)
    shown = measurement.to_json()
    assert list(shown)[-2:] == ["clocksUndisturbed", "details"]
    timed = measurement.details["timedEach"]
    assert isinstance(timed, dict)
    assert min(timed["amongFragments"], timed["amongOthers"]) > max(measurement.clocks_undisturbed)


def test_datagrams_that_do_not_become_whole_are_not_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pieces, "two_pieces", lambda frame, number: (two_pieces(frame, number)[0],) * 2)
    with pytest.raises(BenchmarkError, match="not every datagram in pieces became whole"):
        fragments(10, 3, QUICK_DRAWS)


def test_packets_that_end_otherwise_are_not_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    with_document(monkeypatch, natRules=[])
    with pytest.raises(BenchmarkError, match="ended as SESSION"):
        established(10, 11, QUICK_DRAWS)


def test_packets_that_are_not_allowed_are_not_timed(monkeypatch: pytest.MonkeyPatch) -> None:
    with_document(monkeypatch, options={"maxSessions": 5})
    with pytest.raises(BenchmarkError, match="packets of a trial were not allowed"):
        established(10, 11, QUICK_DRAWS)


@pytest.mark.parametrize(("measure", "name"), [(new_sessions, "new_sessions_20_rules"), (nat_rules, "nat_rules_20")])
def test_as_many_sessions_end_as_begin(measure: Any, name: str) -> None:
    measurement = measure(20, 3, live=4000)
    assert measurement.name == name
    assert measurement.unit == "sessions/s"
    assert measurement.details["sessionsLive"] == pytest.approx(4000, rel=0.1)
    assert len(measurement.samples) == 3


@pytest.mark.parametrize(("change", "what"), [(change_one_rule, "one_rule"), (change_all_rules, "all_rules")])
def test_a_changed_rule_is_timed_until_it_counts(change: Callable[[int, int], Measurement], what: str) -> None:
    measurement = change(300, 3)
    assert measurement.name == f"change_{what}_300"
    assert measurement.unit == "s"
    assert len(measurement.samples) == 3
    assert "clocksPerPacket" not in measurement.to_json()


def test_spread_is_the_middle_half() -> None:
    assert spread([1.0, 2.0, 3.0, 4.0, 5.0]) == pytest.approx(2 / 3)
    assert spread([7.0] * 11) == 0
    assert spread([7.0]) == 0


def test_frames_are_valid() -> None:
    frame = udp_frame(0x0A140105, 10_000, 0xC6120001, 443)
    assert len(frame) == 64
    assert frame[14:24] == bytes.fromhex("4500 0032 0000 4000 4011")
    words = [int.from_bytes(frame[at : at + 2], "big") for at in range(14, 64, 2)]
    header, segment = words[:10], words[10:]
    assert sum(header) % 0xFFFF == 0
    assert (sum(header[6:]) + 17 + 30 + sum(segment)) % 0xFFFF == 0


@pytest.mark.parametrize(
    "frame",
    [
        udp_frame(0x0A140105, 10_000, 0xC6120001, 443, bytes(5)),
        tcp_frame(0x0A140105, 10_000, 0xC6120001, 443, flags=ACK, sequence=1 << 31, acknowledged=7, payload=bytes(9)),
        udp6_frame(1 << 120 | 5, 10_000, 1 << 121 | 9, 443, bytes(3)),
    ],
)
def test_checksums_are_looked_at(frame: bytes) -> None:
    assert checksums_hold(frame)
    for place in (30, len(frame) - 1):
        assert not checksums_hold(frame[:place] + bytes([frame[place] ^ 1]) + frame[place + 1 :])


@pytest.mark.usefixtures("quick_cases")
def test_unknown_case_names_those_there_are() -> None:
    with pytest.raises(BenchmarkError, match="'nothing' in its name; there are quick_a, quick_b"):
        suite.run("nothing")
    done = CliRunner().invoke(cli, ["bench", "--filter", "nothing"])
    assert done.exit_code == 2
    done = CliRunner().invoke(cli, ["bench", "--filter", "nothing", "--json"])
    assert done.exit_code == 2
    assert json.loads(done.stdout)["problems"][0]["code"] == "BENCHMARK_FAILED"


def test_a_name_written_out_is_that_case_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[str] = []
    have_cases(monkeypatch, "quick_1", "quick_10")
    suite.run("quick_1", trials=11, started=started.append)
    assert started == ["quick_1"]
    suite.run("quick", trials=11, started=started.append)
    assert started == ["quick_1", "quick_1", "quick_10"]


@pytest.mark.usefixtures("quick_cases")
def test_json_names_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(peers, "rte_acl_missing", lambda: "it is not installed")
    done = CliRunner().invoke(cli, ["bench", "--filter", "quick_b", "--peers", "--json"])
    assert done.exit_code == 0
    shown: dict[str, Any] = json.loads(done.stdout)
    assert [case["name"] for case in shown["cases"]] == ["established_100"]
    assert len(shown["cases"][0]["clocksPerPacket"]["samples"]) == TRIALS
    assert {"cpu", "cpuFlags", "kernel", "python", "compiler", "loadAverage", "measuredOn"} <= shown["env"].keys()
    assert shown["env"]["python"] == ".".join(map(str, sys.version_info[:3]))
    assert shown["env"]["ticksPerSecond"] > 1_000_000
    assert [peer["name"] for peer in shown["peers"]] == ["rte_acl", "nftables", "iptables", "VPP"]
    assert shown["peers"][0] == {"name": "rte_acl", "status": "ABSENT", "detail": "it is not installed"}


def test_absent_peers_are_named_absent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.which", lambda _: None)
    assert {peer["status"] for peer in peers.found(measured=False)} == {"ABSENT"}
    monkeypatch.setattr(peers, "rte_acl_missing", lambda: "")
    monkeypatch.setattr("shutil.which", lambda command: f"/usr/sbin/{command}")
    assert {peer["status"] for peer in peers.found(measured=False)} == {"NOT_MEASURED"}
    assert peers.found(measured=True)[0]["status"] == "MEASURED"


def test_a_peer_without_its_source_is_absent(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(peers, "SOURCE", tmp_path / "acl.c")
    assert "in the sources of t1edge" in peers.rte_acl_missing()


@pytest.mark.usefixtures("quick_cases")
def test_text_lists_the_cases() -> None:
    done = CliRunner().invoke(cli, ["bench"])
    assert done.exit_code == 0
    assert done.stdout.count("established_100") == 2
    assert "compiler: " in done.stdout


def test_rate_of_a_whole_replay(root: Path) -> None:
    command = [sys.executable, str(root / "bench" / "replay_rate.py")]
    options = ["--packets", "3000", "--flows", "100", "--rules", "20", "--trials", "1"]
    done = subprocess.run(
        [*command, *options], capture_output=True, text=True, check=False, cwd=root, env={"PYTHONPATH": str(root)}
    )
    assert done.returncode == 0, done.stderr
    shown = json.loads(done.stdout)
    assert shown["packetsPerSecond"]["median"] > 0
    assert 1_000_000 < shown["maxResidentBytes"] < 300_000_000
