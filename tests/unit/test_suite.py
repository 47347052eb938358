"""Rule-set tests: what passes, what fails and in which words, and the three ways to run them."""

import json
import os
import subprocess
import sys
import textwrap
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from edge.cli.main import cli
from edge.errors import DocumentError, SuiteError
from edge.suite import find_test_files, load_suite, run_suite

ROOT = Path(__file__).resolve().parents[2]

EDGE = """
edgeGateway:
  name: T1
  edgeGatewayUplinks:
    - uplinkName: INTERNET
      subnets: {values: [{gateway: 203.0.113.1, prefixLength: 24, primaryIp: 203.0.113.10,
                          ipRanges: {values: [{startAddress: 203.0.113.10, endAddress: 203.0.113.11}]}}]}
orgVdcNetworks:
  - {name: LAN, networkType: NAT_ROUTED, connection: {connectionTypeValue: NON_DISTRIBUTED},
     subnets: {values: [{gateway: 10.20.0.1, prefixLength: 24}]}}
  - {name: DMZ, networkType: NAT_ROUTED, connection: {connectionTypeValue: NON_DISTRIBUTED},
     subnets: {values: [{gateway: 10.30.0.1, prefixLength: 24}]}}
firewallGroups:
  - {name: lan, typeValue: STATIC_MEMBERS, members: [LAN]}
applicationPortProfiles:
  - {name: web, applicationPorts: [{protocol: TCP, destinationPorts: ["80"]}]}
firewallRules:
  userDefinedRules:
    - {name: in-web, actionValue: ALLOW, applicationPortProfiles: [web]}
    - {name: out, actionValue: ALLOW, sourceFirewallGroups: [lan]}
natRules:
  - {name: pub-web, type: DNAT, externalAddresses: 203.0.113.11, internalAddresses: 10.30.0.10,
     applicationPortProfile: web}
  - {name: masquerade, type: SNAT, externalAddresses: 203.0.113.10, internalAddresses: 10.20.0.0/24}
"""
WEB = "tcp 198.51.100.99:40000 > 203.0.113.11:80 S"
OUT = "udp 10.20.0.10:4000 > 8.8.8.8:53"
HAIRPIN = "tcp 10.20.0.10:40000 > 203.0.113.11:80 S"


def write_suite(folder: Path, steps: str, name: str = "a.edgetest.yaml") -> Path:
    (folder / "edge.yaml").write_text(EDGE, encoding="utf-8")
    path = folder / name
    head = "edge: edge.yaml\ntests:\n  - name: the test\n    steps:\n"
    path.write_text(head + textwrap.indent(textwrap.dedent(steps), " " * 6) + "\n", encoding="utf-8")
    return path


def failure(folder: Path, steps: str) -> str | None:
    (result,) = run_suite(load_suite(write_suite(folder, steps)))
    return None if result.failure is None else result.failure.text()


def invoke(*arguments: str | Path) -> Result:
    return CliRunner().invoke(cli, ["test", *map(str, arguments)])


@pytest.mark.parametrize(
    "expect",
    [
        "{verdict: ALLOW}",
        "{reason: FW_RULE, firewallRule: out, natRule: masquerade, port: INTERNET}",
        "{natRule: [masquerade]}",
        '{output: "udp 203.0.113.10:1024-65535 > 8.8.8.8:53"}',
        '{output: ["udp * > *"]}',
        '{output: "udp 203.0.113.10:* > 8.8.8.8:53 ttl=63 len=0"}',
        "[{verdict: ALLOW}]",
    ],
)
def test_expectations_that_hold(tmp_path: Path, expect: str) -> None:
    assert failure(tmp_path, f"- send: {OUT}\n  expect: {expect}") is None


@pytest.mark.parametrize(
    ("expect", "words"),
    [
        ("{verdict: DROP}", ["verdict: expected DROP", "         got      ALLOW"]),
        ("{reason: FW_DEFAULT}", ["reason: expected FW_DEFAULT", "        got      FW_RULE"]),
        ("{firewallRule: none}", ["firewallRule: expected none", "              got      out"]),
        (
            "{firewallRule: outt}",
            [
                "firewallRule: expected outt  (this edge has no such firewall rule; did you mean out?)",
                "              got      out",
            ],
        ),
        (
            "{firewallRule: web}",  # which is not in-web misspelt
            ["firewallRule: expected web  (this edge has no such firewall rule)", "              got      out"],
        ),
        ("{port: WAN}", ["port: expected WAN  (this edge has no such port)", "      got      INTERNET"]),
        (
            "{natRule: MASQUERADE}",
            [
                "natRule: expected MASQUERADE  (this edge has no such NAT rule; did you mean masquerade?)",
                "         got      masquerade",
            ],
        ),
        ("{natRule: none}", ["natRule: expected none", "         got      masquerade"]),
        (
            "{natRule: [masquerade, masquerade]}",
            ["natRule: expected masquerade, masquerade", "         got      masquerade"],
        ),
        (
            "{natRule: dns}",
            ["natRule: expected dns  (this edge has no such NAT rule)", "         got      masquerade"],
        ),
        ("{port: DMZ}", ["port: expected DMZ", "      got      INTERNET"]),
        (
            "{port: INTERNAT}",
            [
                "port: expected INTERNAT  (this edge has no such port; did you mean INTERNET?)",
                "      got      INTERNET",
            ],
        ),
        ("{port: none}", ["port: expected none", "      got      INTERNET"]),
        ("{output: none}", ["output: expected none", "        got      udp 203.0.113.10:... > 8.8.8.8:53"]),
        (
            '{output: "udp * > *:54 ttl=*"}',
            ["output: expected udp * > *:54 ttl=*", "        got      udp 203.0.113.10:... > 8.8.8.8:53 ttl=63"],
        ),
        (
            '{output: ["udp * > *", "udp * > *"]}',
            ["output: expected udp * > * and udp * > *", "        got      udp 203.0.113.10:... > 8.8.8.8:53"],
        ),
        ("[{verdict: ALLOW}, {verdict: ALLOW}]", ["passes: expected 2", "        got      1"]),
    ],
)
def test_expectations_that_do_not(tmp_path: Path, expect: str, words: list[str]) -> None:
    text = failure(tmp_path, f"- send: {OUT}\n  expect: {expect}")
    assert text is not None
    head, *lines = text.splitlines()
    assert head == f"step 1 (line 5): send {OUT}"
    port = next(line for line in lines if line.startswith("    leaves by")).split(":")[2].split()[0]
    shown = [line.removeprefix("  ").replace(f":{port} ", ":... ") for line in lines[: len(words)]]
    assert shown == words
    assert lines[len(words) :][1] == f"  {OUT}"
    assert any("FIREWALL" in line for line in lines)


def test_nothing_left_and_an_answer_of_the_edge(tmp_path: Path) -> None:
    dropped = "tcp 198.51.100.99:40000 > 203.0.113.11:22 S"
    assert failure(tmp_path, f"- send: {dropped}\n  expect: {{verdict: DROP, output: none, port: none}}") is None
    ping = "icmp 10.20.0.10 > 10.20.0.1 echo-request"
    expect = "{verdict: LOCAL, port: LAN, firewallRule: none, output: icmp 10.20.0.1 > 10.20.0.10 echo-reply id=*}"
    assert failure(tmp_path, f"- send: {ping}\n  expect: {expect}") is None


def test_replies_and_waits(tmp_path: Path) -> None:
    steps = f"""
      - send: {WEB}
      - reply: SA
        expect: {{reason: SESSION, firewallRule: in-web, natRule: [pub-web],
                 output: "tcp 203.0.113.11:80 > 198.51.100.99:40000 SA"}}
      - reply: A
        expect: {{reason: SESSION, port: DMZ}}
      - send: {OUT}
      - wait: 29
      - reply: true
        expect: {{reason: SESSION, output: "udp 8.8.8.8:53 > 10.20.0.10:4000"}}
      - wait: 31
      - send: {OUT}
        expect: {{reason: FW_RULE}}
      - send: icmp 10.20.0.10 > 8.8.8.8 echo-request id=1-9
    """.replace(" id=1-9", " id=9")
    steps += "  - reply: true\n        expect: {output: icmp 8.8.8.8 > 10.20.0.10 echo-reply id=9 seq=1}\n"
    assert failure(tmp_path, steps) is None


def test_a_reply_to_nothing_fails_the_step(tmp_path: Path) -> None:
    text = failure(tmp_path, "- send: tcp 198.51.100.99:1 > 203.0.113.11:22 S\n- reply: SA")
    assert text is not None
    assert text.splitlines() == [
        "step 2 (line 6): reply SA",
        "  reply: expected a packet that can be sent",
        "         got      there is nothing to reply to: the last packet left no output",
    ]


@pytest.mark.parametrize(("step", "complaint"), [("reply: true", "flags"), ("reply: Z", "Z is not a set of TCP flags")])
def test_a_reply_that_cannot_be_built_fails_the_step(tmp_path: Path, step: str, complaint: str) -> None:
    text = failure(tmp_path, f"- send: {WEB}\n- {step}")
    assert text is not None
    assert complaint in text


def test_a_hairpin_is_judged_at_its_end_or_pass_by_pass(tmp_path: Path) -> None:
    hairpin = HAIRPIN
    edge = EDGE.replace("NON_DISTRIBUTED", "INTERNAL")
    path = write_suite(
        tmp_path,
        f"""
        - send: {hairpin}
          expect: {{natRule: pub-web, port: DMZ}}
        - reply: SA
          expect: [{{port: INTERNET}}, {{port: LAN, output: "tcp 203.0.113.11:80 > 10.20.0.10:40000 SA"}}]
        """,
    )
    (tmp_path / "edge.yaml").write_text(edge, encoding="utf-8")
    (result,) = run_suite(load_suite(path))
    assert result.failure is None, result.failure.text()


def test_each_test_begins_with_no_sessions(tmp_path: Path) -> None:
    path = write_suite(tmp_path, f"- send: {OUT}\n  expect: {{reason: FW_RULE}}")
    text = path.read_text(encoding="utf-8")
    path.write_text(text + text.split("tests:\n")[1].replace("the test", "again"), encoding="utf-8")
    assert [result.failure for result in run_suite(load_suite(path))] == [None, None]


def test_directories_are_searched_and_files_taken_as_they_are(tmp_path: Path) -> None:
    (tmp_path / "sub" / "deep").mkdir(parents=True)
    first = write_suite(tmp_path / "sub" / "deep", f"- send: {OUT}")
    second = write_suite(tmp_path, f"- send: {OUT}", "b.yaml")
    assert find_test_files([tmp_path]) == [first]
    assert find_test_files([second, tmp_path, first]) == [second, first]
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(SuiteError) as caught:
        find_test_files([empty, tmp_path / "nowhere", tmp_path])
    assert [str(problem) for problem in caught.value.problems] == [
        f"{empty}: UNREADABLE: no *.edgetest.yaml below this directory",
        f"{tmp_path / 'nowhere'}: UNREADABLE: no such file or directory",
    ]


def test_the_edge_that_a_file_names(tmp_path: Path) -> None:
    path = write_suite(tmp_path, f"- send: {OUT}")
    text = path.read_text(encoding="utf-8")
    for name in ("nowhere.yaml", ".", '"a\\0b"'):
        path.write_text(text.replace("edge.yaml", name), encoding="utf-8")
        with pytest.raises(SuiteError, match="1:7: edge: DANGLING_REFERENCE: there is no edge file"):
            load_suite(path)
    path.write_text(text, encoding="utf-8")
    (tmp_path / "edge.yaml").write_text(EDGE + "natRuls: []\ndns: {enabled: true}\n", encoding="utf-8")
    with pytest.raises(DocumentError, match="UNKNOWN_FIELD"):
        load_suite(path)
    (tmp_path / "edge.yaml").write_text(EDGE + "dns: {enabled: true}\n", encoding="utf-8")
    with pytest.raises(DocumentError, match="NOT_EMULATED"):
        load_suite(path)
    assert [problem.code for problem in load_suite(path, allow_unsupported=True).warnings] == ["NOT_EMULATED"]


# --- t1edge test ------------------------------------------------------------------------------------------------------


@pytest.fixture
def mixed(tmp_path: Path) -> Path:
    """A directory with a test that passes, one that fails, and a file that cannot be used."""
    path = write_suite(tmp_path, f"- send: {OUT}\n  expect: {{verdict: ALLOW}}")
    path.write_text(
        path.read_text(encoding="utf-8")
        + f"  - name: \"fails & <b> \\x07\"\n    steps: [{{send: '{OUT}', expect: {{verdict: DROP}}}}]\n",
        encoding="utf-8",
    )
    (tmp_path / "z.edgetest.yaml").write_text("edge: edge.yaml\ntest: []\n", encoding="utf-8")
    return tmp_path


def test_the_command_passes(tmp_path: Path) -> None:
    path = write_suite(tmp_path, f"- send: {OUT}")
    result = invoke(path)
    assert (result.exit_code, result.stderr) == (0, "")
    assert result.stdout.splitlines() == [str(path), "  ok    the test", "1 test: 1 passed, 0 failed"]


def test_the_command_fails(mixed: Path) -> None:
    result = invoke(mixed / "a.edgetest.yaml")
    assert (result.exit_code, result.stderr) == (1, "")
    lines = result.stdout.splitlines()
    assert lines[:5] == [
        str(mixed / "a.edgetest.yaml"),
        "  ok    the test",
        "  FAIL  fails & <b> \\x07",
        f"        step 1 (line 8): send {OUT}",
        "          verdict: expected DROP",
    ]
    assert lines[-1] == "2 tests: 1 passed, 1 failed"


def test_a_broken_file_exits_2_and_the_others_run(mixed: Path) -> None:
    result = invoke(mixed)
    assert result.exit_code == 2
    assert result.stderr.splitlines() == [
        f"{mixed / 'z.edgetest.yaml'}:1:1: MISSING_FIELD: 'tests' is missing",
        f"{mixed / 'z.edgetest.yaml'}:2:1: test: UNKNOWN_FIELD: 'test' is not known here; did you mean tests?",
    ]
    assert result.stdout.splitlines()[-1] == "2 tests: 1 passed, 1 failed"


def test_json(mixed: Path) -> None:
    result = invoke("--json", mixed)
    assert (result.exit_code, result.stderr) == (2, "")
    document = json.loads(result.stdout)
    assert list(document) == ["passed", "failed", "tests", "problems"]
    assert (document["passed"], document["failed"]) == (1, 1)
    good, bad = document["tests"]
    assert good == {
        "file": str(mixed / "a.edgetest.yaml"),
        "line": 3,
        "name": "the test",
        "passed": True,
        "failure": None,
    }
    assert bad["failure"]["mismatches"] == [{"field": "verdict", "expected": "DROP", "got": "ALLOW"}]
    assert bad["failure"]["packets"][0]["packet"] == OUT
    assert [problem["code"] for problem in document["problems"]] == ["MISSING_FIELD", "UNKNOWN_FIELD"]


def test_junit(mixed: Path) -> None:
    report = mixed / "report.xml"
    assert invoke("--junit", report, mixed).exit_code == 2
    run, broken = ET.parse(report).getroot()
    assert {key: run.get(key) for key in ("tests", "failures", "errors")} == {
        "tests": "2", "failures": "1", "errors": "0",
    }  # fmt: skip
    good, bad = run
    assert (good.get("name"), list(good)) == ("the test", [])
    assert bad.get("name") == "fails & <b> \N{REPLACEMENT CHARACTER}"
    assert bad[0].get("message") == "verdict: expected DROP, got ALLOW"
    assert "FIREWALL" in (bad[0].text or "")
    assert broken.get("errors") == "1"
    assert "UNKNOWN_FIELD" in (broken[0][0].text or "")


def test_a_report_is_not_written_over_what_was_read(tmp_path: Path) -> None:
    path = write_suite(tmp_path, f"- send: {OUT}")
    (tmp_path / "hard").hardlink_to(tmp_path / "edge.yaml")
    before = {file: file.read_bytes() for file in tmp_path.iterdir()}
    for report, what in ((path, "a test file"), (tmp_path / "hard", "the edge file of a test")):
        result = invoke("--junit", report, path)
        assert (result.exit_code, result.stdout) == (2, "")
        assert result.stderr == f"--junit {report}: this is {what}, which would be overwritten\n"
    assert {file: file.read_bytes() for file in tmp_path.iterdir()} == before


def test_names_of_files_are_shown_without_their_control_characters(tmp_path: Path) -> None:
    path = write_suite(tmp_path, f"- send: {OUT}", "a\n\x1b[31m.edgetest.yaml")
    assert invoke(path).stdout.splitlines()[0] == f"{tmp_path}/a\\n\\x1b[31m.edgetest.yaml"
    path.write_text("- 1", encoding="utf-8")
    (line,) = invoke(path).stderr.splitlines()
    assert line.startswith(f"{tmp_path}/a\\n\\x1b[31m.edgetest.yaml:1:1: WRONG_TYPE")


def test_waits_that_the_clock_cannot_hold_fail_their_step(tmp_path: Path) -> None:
    text = failure(tmp_path, "- wait: 999999999\n" * 10)
    assert text is not None
    assert text.splitlines() == [
        "step 10 (line 14): wait",
        "  wait: expected a time that can pass",
        "        got      waits add up to more than 9,000,000,000 seconds",
    ]


@pytest.mark.parametrize(
    ("path", "complaint"),
    [("/dev/full", "No space left on device"), ("no/such/folder.xml", "No such file or directory")],
)
def test_a_report_that_cannot_be_written_exits_2(tmp_path: Path, path: str, complaint: str) -> None:
    result = invoke("--junit", path, write_suite(tmp_path, f"- send: {OUT}"))
    assert result.exit_code == 2
    assert result.stderr.splitlines() == [f"t1edge: {path}: {complaint}"]


# --- pytest -----------------------------------------------------------------------------------------------------------


def run_pytest(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"PYTHONPATH": str(ROOT), "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", "PYTEST_ADDOPTS": ""}
    command = [sys.executable, "-m", "pytest", "-p", "edge.pytest_plugin", "-p", "no:cacheprovider", "--rootdir=."]
    return subprocess.run(
        [*command, *arguments], cwd=folder, env=environment, capture_output=True, text=True, timeout=60, check=False
    )


def test_pytest_collects_and_fails_in_the_same_words(mixed: Path) -> None:
    (mixed / "z.edgetest.yaml").unlink()
    done = run_pytest(mixed, "-v")
    assert done.returncode == 1, done.stdout
    assert "a.edgetest.yaml::the test PASSED" in done.stdout
    failing = failure(mixed, f"- send: {OUT}\n  expect: {{verdict: DROP}}")
    assert failing is not None
    for line in failing.splitlines()[1:]:
        assert line in done.stdout
    assert "Traceback" not in done.stdout


def test_pytest_reports_a_broken_file_as_a_collection_error(mixed: Path) -> None:
    done = run_pytest(mixed, "z.edgetest.yaml")
    assert done.returncode == 2, done.stdout
    assert "z.edgetest.yaml:2:1: test: UNKNOWN_FIELD: 'test' is not known here; did you mean tests?" in done.stdout
    assert "Traceback" not in done.stdout


def test_pytest_shows_names_of_tests_without_their_control_characters(tmp_path: Path) -> None:
    path = write_suite(tmp_path, f"- send: {OUT}\n  expect: {{verdict: DROP}}")
    text = path.read_text(encoding="utf-8")
    path.write_text(text.replace("the test", '"a\\e[31mb\\nc"'), encoding="utf-8")
    done = run_pytest(tmp_path, "-v")
    assert done.returncode == 1, done.stdout
    assert "a.edgetest.yaml::a\\x1b[31mb\\nc FAILED" in done.stdout
    assert "\x1b" not in done.stdout + done.stderr


def test_pytest_takes_the_switch_for_what_is_not_emulated(tmp_path: Path) -> None:
    write_suite(tmp_path, f"- send: {OUT}")
    (tmp_path / "edge.yaml").write_text(EDGE + "dns: {enabled: true}\n", encoding="utf-8")
    assert "NOT_EMULATED" in run_pytest(tmp_path).stdout
    done = run_pytest(tmp_path, "--edge-allow-unsupported")
    assert done.returncode == 0, done.stdout
    assert "1 passed, 1 warning" in done.stdout
