"""Two results of the benchmarks beside each other, and what is made of one."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from click.testing import CliRunner

from edge.bench.compare import Found, Result, ResultError, compare, load_result
from edge.bench.measurement import Measurement, PeerMeasurement, ratio_of_medians
from edge.cli.main import cli

STEADY = [100.0, 101, 99, 100, 102, 98, 100, 101, 99, 100, 100]
NOISY = [100.0, 150, 60, 130, 70, 100, 145, 80, 120, 65, 110]


def result(samples: dict[str, list[float]], unit: str = "packets/s", **environment: object) -> dict[str, Any]:
    cases = [Measurement(name, tuple(found), unit=unit).to_json() for name, found in samples.items()]
    return {"env": {"cpu": "one", "cpus": 2, **environment}, "cases": cases}


def written(path: Path, document: object) -> str:
    path.write_text(json.dumps(document), encoding="utf-8")
    return str(path)


def told(first: list[float], second: list[float], unit: str = "packets/s") -> Found:
    results = []
    for samples in (first, second):
        document = result({"a": samples}, unit)
        results.append(Result(document["env"], {case["name"]: case for case in document["cases"]}))
    (found,) = compare(*results)
    return found.found


def test_more_packets_are_faster_and_more_seconds_slower() -> None:
    more = [1.05 * sample for sample in STEADY]
    assert told(STEADY, more) is Found.FASTER
    assert told(more, STEADY) is Found.SLOWER
    assert told(STEADY, more, "s") is Found.SLOWER


def test_what_may_be_noise_is_no_difference() -> None:
    assert told(STEADY, STEADY) is Found.SAME
    assert told(NOISY, [1.05 * sample for sample in NOISY]) is Found.SAME


def test_the_interval_is_around_the_ratio_and_repeatable() -> None:
    middle, low, high = ratio_of_medians(NOISY, STEADY)
    assert low < middle < high
    assert ratio_of_medians(NOISY, STEADY) == (middle, low, high)
    assert ratio_of_medians([5.0], [10.0]) == (2.0, 2.0, 2.0)


def test_a_peer_is_told_with_its_ratio() -> None:
    peer = PeerMeasurement("other", (50.0,) * 11, (4.0,) * 11, {"version": "1"})
    shown: Any = Measurement("a", tuple(STEADY), (2.0,) * 11, peers=(peer,)).to_json()
    assert shown["peers"][0]["ratio"]["median"] == 2.0
    assert shown["peers"][0]["clocksPerPacket"]["median"] == 4.0
    assert shown["peers"][0]["details"] == {"version": "1"}


def test_compared_on_the_command_line(tmp_path: Path) -> None:
    first = written(tmp_path / "first.json", result({"a": STEADY, "b": STEADY, "gone": STEADY}))
    slower = [0.9 * sample for sample in STEADY]
    second = written(tmp_path / "second.json", result({"a": STEADY, "b": slower, "new": STEADY}, cpu="two"))
    done = CliRunner().invoke(cli, ["bench", "compare", first, second])
    assert done.exit_code == 1
    lines = [line.split() for line in done.stdout.splitlines()]
    assert [(line[0], line[-1]) for line in lines[2:] if line] == [
        ("a", "SAME"),
        ("b", "SLOWER"),
        ("new", "SECOND_ONLY"),
        ("gone", "FIRST_ONLY"),
    ]
    assert "not the same: cpu: one in the first, two in the second" in done.stderr
    done = CliRunner().invoke(cli, ["bench", "compare", second, first, "--json"])
    assert done.exit_code == 0
    shown = json.loads(done.stdout)
    assert [(case["name"], case["result"]) for case in shown["cases"][:2]] == [("a", "SAME"), ("b", "FASTER")]
    assert shown["cases"][1]["ratio"]["low"] > 1
    assert shown["environmentDiffers"]


def test_cases_in_other_units_are_not_compared(tmp_path: Path) -> None:
    first = written(tmp_path / "first.json", result({"a": STEADY}, "s"))
    second = written(tmp_path / "second.json", result({"a": STEADY}))
    done = CliRunner().invoke(cli, ["bench", "compare", first, second])
    assert done.exit_code == 0
    assert "not the same: a: in s in the first, in packets/s in the second: they cannot be compared" in done.stderr
    assert done.stdout.split()[-1] == "OTHER_UNIT"


@pytest.mark.parametrize("document", [[], {}, {"env": {}, "cases": [{}]}, {"env": {}, "cases": [{"name": "a"}]}])
def test_what_is_no_result_is_refused(document: object, tmp_path: Path) -> None:
    path = written(tmp_path / "bad.json", document)
    with pytest.raises(ResultError, match=r"no result of t1edge bench"):
        load_result(path)
    done = CliRunner().invoke(cli, ["bench", "compare", path, path, "--json"])
    assert done.exit_code == 2
    assert json.loads(done.stdout)["problems"][0]["code"] == "INVALID_RESULT"


def test_a_case_without_samples_is_refused(tmp_path: Path) -> None:
    document = result({"a": STEADY})
    document["cases"][0]["samples"] = []
    with pytest.raises(ResultError, match="the case a has no samples"):
        load_result(written(tmp_path / "bad.json", document))


def test_options_of_a_command_come_behind_it() -> None:
    done = CliRunner().invoke(cli, ["bench", "--json", "compare", "a", "b"])
    assert done.exit_code == 2
    assert "options of compare come behind it" in done.stderr


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    done = CliRunner().invoke(cli, ["bench", "compare", str(tmp_path / "none.json"), str(tmp_path / "none.json")])
    assert done.exit_code == 2
    assert "none.json: No such file" in done.stderr


@pytest.fixture
def record(root: Path) -> ModuleType:
    """bench/record.py, which belongs to no package."""
    spec = importlib.util.spec_from_file_location("record", root / "bench" / "record.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_a_case_that_is_measured_anew_tells_when(
    record: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(record, "RESULT", tmp_path / "result.json")
    machine = dict.fromkeys(record.SAME_MACHINE, "one")
    document: dict[str, Any] = {"env": {}, "cases": [], "drawn": [], "peers": []}
    for day, name in (("Monday", "established_1"), ("Tuesday", "established_10k")):
        case = {**Measurement(name, tuple(STEADY)).to_json(), "details": {}}
        record.keep(document, {"env": {**machine, "date": day}, "cases": [case], "peers": []})
    kept = json.loads(record.RESULT.read_text(encoding="utf-8"))
    assert kept["env"]["date"] == "Monday"
    assert {case["name"]: case["env"] for case in kept["cases"]} == {
        "established_1": {},
        "established_10k": {"date": "Tuesday"},
    }


def test_the_page_has_a_place_for_every_table(
    record: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = tmp_path / "page.md"
    page.write_text(record.PAGE.read_text(encoding="utf-8"), encoding="utf-8")
    monkeypatch.setattr(record, "PAGE", page)
    monkeypatch.setattr(record, "FOLDER", tmp_path)
    monkeypatch.setattr(record, "RESULT", tmp_path / "result.json")
    monkeypatch.setattr(record, "sets", lambda: "the sets")
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: None)
    peer = PeerMeasurement("rte_acl", tuple(2 * sample for sample in STEADY))
    origin = {"origin": "classbench"}
    cases = [
        Measurement("classify_fw1_10k", tuple(STEADY), (9.0,) * 11, unit="lookups/s", details=origin, peers=(peer,)),
        Measurement("build_fw1_10k", (0.25,) * 11, unit="s"),
    ]
    environment = {"cpu": "some", "cpus": 2, "ticksPerSecond": 2_000_000_000, "kernel": "6", "python": "3"}
    environment |= {"compiler": "gcc", "date": "today", "loadAverage": [1, 2, 3]}
    drawn = Measurement("classify_fw1_10k", tuple(STEADY), unit="lookups/s", details={"origin": "generated"})
    document = {"env": environment, "cases": [case.to_json() for case in cases], "drawn": [drawn.to_json()]}
    document["cases"][1]["env"] = {"date": "tomorrow", "loadAverage": [4, 2, 3]}
    document["peers"] = [{"name": "VPP", "status": "ABSENT", "detail": "not here"}]
    monkeypatch.setattr(sys, "argv", ["record.py", "--result", written(tmp_path / "given.json", document)])
    record.main()
    text = page.read_text(encoding="utf-8")
    assert "- some, 2 processors; clocks are those of a counter of 2.000 G a second" in text
    assert "- measured from today to tomorrow, load average before a case began 1 to 4" in text
    assert "| `classify_fw1_10k` | 100 lookups/s | 9 |" in text
    assert "| `classify_fw1_10k` | rte_acl | 100 lookups/s | 200 lookups/s | 0.5 |" in text
    assert "| `build_fw1_10k` | 0.25 s |  |" in text
    assert "- VPP: absent (not here)" in text
    assert "| ClassBench fw1, 10 k | 100 | 200 |\n| drawn fw1, 10 k | 100 |  |" in text
    assert "the sets" in text


@pytest.mark.needs("matplotlib")
def test_pictures_are_drawn(root: Path, tmp_path: Path) -> None:
    names = ["classify_acl1_1k", "classify_acl1_10k", "new_sessions_10_rules", "new_sessions_1k_rules", "established_1"]
    path = written(tmp_path / "result.json", result({name: [1e6 * sample for sample in STEADY] for name in names}))
    command = [sys.executable, "-W", "ignore", str(root / "bench" / "pictures.py"), path, str(tmp_path / "pictures")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    pictures = sorted((tmp_path / "pictures").iterdir())
    assert [picture.name for picture in pictures] == ["classify.svg", "established.svg", "new-sessions.svg"]
    assert all(picture.read_text(encoding="utf-8").count("<path") > 5 for picture in pictures)
