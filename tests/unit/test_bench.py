"""The benchmark frame: what it reports, and that it refuses to report what did not happen."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from edge import benchmarks
from edge.benchmarks import BURST, BenchmarkError, Measurement, established, fragments, spread, udp_frame
from edge.cli.main import cli

QUICK_DRAWS = 64 * BURST


def quick(trials: int) -> Measurement:
    return established(100, trials, QUICK_DRAWS)


@pytest.fixture
def quick_cases(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(benchmarks, "CASES", (("quick_a", quick), ("quick_b", quick)))


def test_a_case_measures_every_trial() -> None:
    measurement = established(300, 11, QUICK_DRAWS)
    assert measurement.name == "established_300"
    assert len(measurement.packets_per_second) == len(measurement.clocks_per_packet) == 11
    assert all(clocks > 0 for clocks in measurement.clocks_per_packet)
    shown = measurement.to_json()
    assert list(shown) == ["name", "unit", "median", "spread", "samples", "clocksPerPacket"]
    assert shown["unit"] == "packets/s"


def test_cases_are_named_after_their_traffic() -> None:
    names = ["established_1", "established_10k", "established_1m", "fragments_10pct"]
    assert [name for name, _ in benchmarks.CASES] == names
    assert [established(size, 11, 11 * BURST).name for size in (1, 10_000)] == ["established_1", "established_10k"]
    assert benchmarks.TRIALS >= 11


def test_fragments_are_measured_by_what_they_do_to_others() -> None:
    measurement = fragments(300, 3, QUICK_DRAWS)
    assert measurement.name == "fragments_10pct"
    assert len(measurement.clocks_per_packet) == len(measurement.clocks_undisturbed) == 3
    assert all(clocks > 0 for clocks in measurement.clocks_undisturbed)
    shown = measurement.to_json()
    assert list(shown)[-1] == "clocksUndisturbed"


def test_datagrams_that_do_not_become_whole_are_not_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = benchmarks._two_pieces
    monkeypatch.setattr(benchmarks, "_two_pieces", lambda frame, number: (whole(frame, number)[0],) * 2)
    with pytest.raises(BenchmarkError, match="not every datagram in pieces became whole"):
        fragments(10, 3, QUICK_DRAWS)


def test_packets_that_end_otherwise_are_not_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    document = benchmarks._document()
    monkeypatch.setattr(benchmarks, "_document", lambda: {**document, "natRules": []})
    with pytest.raises(BenchmarkError, match="ended as SESSION"):
        established(10, 11, QUICK_DRAWS)


def test_packets_that_are_not_allowed_are_not_timed(monkeypatch: pytest.MonkeyPatch) -> None:
    document = benchmarks._document()
    monkeypatch.setattr(benchmarks, "_document", lambda: {**document, "options": {"maxSessions": 5}})
    with pytest.raises(BenchmarkError, match="packets of a trial were not allowed"):
        established(10, 11, QUICK_DRAWS)


def test_spread_is_the_middle_half() -> None:
    assert spread([1.0, 2.0, 3.0, 4.0, 5.0]) == pytest.approx(2 / 3)
    assert spread([7.0] * 11) == 0


def test_frames_are_valid() -> None:
    frame = udp_frame(0x0A140105, 10_000, 0xC6120001, 443)
    assert len(frame) == 64
    assert frame[14:24] == bytes.fromhex("4500 0032 0000 4000 4011")
    words = [int.from_bytes(frame[at : at + 2], "big") for at in range(14, 64, 2)]
    header, segment = words[:10], words[10:]
    assert sum(header) % 0xFFFF == 0
    assert (sum(header[6:]) + 17 + 30 + sum(segment)) % 0xFFFF == 0


@pytest.mark.usefixtures("quick_cases")
def test_unknown_case_names_those_there_are() -> None:
    with pytest.raises(BenchmarkError, match="'nothing' in its name; there are quick_a, quick_b"):
        benchmarks.run("nothing")
    done = CliRunner().invoke(cli, ["bench", "--filter", "nothing"])
    assert done.exit_code == 2


def test_a_name_written_out_is_that_case_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[str] = []
    monkeypatch.setattr(benchmarks, "CASES", (("quick_1", quick), ("quick_10", quick)))
    benchmarks.run("quick_1", trials=11, started=started.append)
    assert started == ["quick_1"]
    benchmarks.run("quick", trials=11, started=started.append)
    assert started == ["quick_1", "quick_1", "quick_10"]


@pytest.mark.usefixtures("quick_cases")
def test_json_names_the_environment() -> None:
    done = CliRunner().invoke(cli, ["bench", "--filter", "quick_b", "--peers", "--json"])
    assert done.exit_code == 0
    shown: dict[str, Any] = json.loads(done.stdout)
    assert [case["name"] for case in shown["cases"]] == ["established_100"]
    assert len(shown["cases"][0]["clocksPerPacket"]["samples"]) == benchmarks.TRIALS
    assert {"cpu", "cpuFlags", "kernel", "python", "compiler"} <= shown["env"].keys()
    assert shown["env"]["python"] == ".".join(map(str, sys.version_info[:3]))
    assert shown["env"]["ticksPerSecond"] > 1_000_000
    assert {peer["name"] for peer in shown["peers"]} == {name for name, _ in benchmarks.PEERS}


def test_absent_peers_are_named_absent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.which", lambda _: None)
    assert {peer["status"] for peer in benchmarks.peers()} == {"ABSENT"}
    monkeypatch.setattr("shutil.which", lambda command: f"/usr/sbin/{command}")
    assert {peer["status"] for peer in benchmarks.peers()} == {"NOT_MEASURED"}


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
