"""Test files: what they may say, and every way they can be wrong, with line and column."""

from pathlib import Path

import pytest

from edge.errors import SuiteError
from edge.suite_file import Expectation, StepKind, read_test_file

FORM = "PROTO SRC[:PORT] > DST[:PORT] [FLAGS] [key=value ...]"
GOOD = """\
edge: sub/edge.yaml
tests:
  - name: first
    steps:
      - send: tcp 198.51.100.99:40000 > 203.0.113.11:80 S
        expect: {verdict: ALLOW, reason: FW_RULE, firewallRule: in-web, natRule: [a, b], port: 10,
                 output: ["tcp * > *", "udp * > *"]}
      - reply: SA
        expect: {natRule: none, output: none}
      - wait: 2.5
      - reply: true
      - send: udp 10.0.0.1:1 > 10.0.0.2:2
        expect: [{verdict: ALLOW}, {natRule: a}]
"""


def problems(path: Path, text: str) -> list[str]:
    file = path / "x.edgetest.yaml"
    file.write_text(text, encoding="utf-8")
    with pytest.raises(SuiteError) as caught:
        read_test_file(file)
    return [str(problem).removeprefix(f"{file}:") for problem in caught.value.problems]


def test_a_file_in_full(tmp_path: Path) -> None:
    path = tmp_path / "good.edgetest.yaml"
    path.write_text(GOOD, encoding="utf-8")
    file = read_test_file(path)
    assert file.edge == tmp_path / "sub/edge.yaml"
    (test,) = file.tests
    assert (test.name, test.line) == ("first", 3)
    send, reply, wait, plain, twice = test.steps
    assert send.expectations == (
        Expectation("ALLOW", "FW_RULE", "in-web", ("a", "b"), ("tcp * > *", "udp * > *"), "10"),
    )
    assert (reply.kind, reply.text, reply.expectations) == (
        StepKind.REPLY,
        "SA",
        (Expectation(nat_rules=(), outputs=()),),
    )
    assert (wait.kind, wait.seconds) == (StepKind.WAIT, 2.5)
    assert (plain.kind, plain.text, plain.line) == (StepKind.REPLY, "", 11)
    assert twice.expectations == (Expectation(verdict="ALLOW"), Expectation(nat_rules="a"))


def test_every_problem_in_one_go(tmp_path: Path) -> None:
    text = """\
edge: edge.yaml
tets: []
tests:
  - name: a
    name: b
    steps:
      - send: tcp 1.2.3.4:1 > 1.2.3.5:2 S
        expekt: {}
        expect: {verdikt: ALLOW, verdict: allow, reason: FW_RULES, output: "tcp 1.2.3.4", port: [x]}
      - wait: soon
      - wait: 1
        expect: {verdict: ALLOW}
      - {}
      - reply: false
      - send: tcp 1.2.3.4:1 > 1.2.3.5:http S
        wait: 1
      - send: tcp 1.2.3.4:1 > 1.2.3.5:http S
      - expect: {}
      - send:
  - steps: x
  - name: a
    steps: []
"""
    assert problems(tmp_path, text) == [
        "2:1: tets: UNKNOWN_FIELD: 'tets' is not known here; did you mean tests?",
        "5:5: tests[0].name: DUPLICATE_KEY: 'name' is given twice",
        "8:9: tests[0].steps[0].expekt: UNKNOWN_FIELD: 'expekt' is not known here; did you mean expect?",
        "9:18: tests[0].steps[0].expect.verdikt: UNKNOWN_FIELD: 'verdikt' is not known here; did you mean verdict?",
        "9:43: tests[0].steps[0].expect.verdict: INVALID_VALUE: 'allow' is not a verdict; did you mean ALLOW?",
        "9:58: tests[0].steps[0].expect.reason: INVALID_VALUE: 'FW_RULES' is not a reason; did you mean FW_RULE?",
        f"9:76: tests[0].steps[0].expect.output: INVALID_VALUE: 'tcp 1.2.3.4' does not read {FORM}",
        "9:97: tests[0].steps[0].expect.port: WRONG_TYPE: expected text, got a list",
        "10:15: tests[0].steps[1].wait: INVALID_VALUE: 'soon' is not a number of seconds from 0 to 999999999",
        "12:17: tests[0].steps[2].expect: UNKNOWN_FIELD: a wait has no result to expect",
        "13:9: tests[0].steps[3]: MISSING_FIELD: expected one of send, reply, wait; got none",
        "14:16: tests[0].steps[4].reply: INVALID_VALUE: expected true, or the flags of a TCP answer",
        "15:9: tests[0].steps[5]: MISSING_FIELD: expected one of send, reply, wait; got send and wait",
        "17:31: tests[0].steps[6].send: INVALID_VALUE: 'http' in 1.2.3.5:http is not a port; expected 0..65535",
        "18:9: tests[0].steps[7]: MISSING_FIELD: expected one of send, reply, wait; got none",
        "19:14: tests[0].steps[8].send: WRONG_TYPE: expected text, got nothing",
        "20:5: tests[1]: MISSING_FIELD: 'name' is missing",
        "20:12: tests[1].steps: WRONG_TYPE: expected a list, got 'x'",
        "21:1: tests[2].name: DUPLICATE_NAME: the test of line 4 is called 'a' too",
    ]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "1:1: MISSING_FIELD: the file is empty; expected edge and tests"),
        ("- 1", "1:1: WRONG_TYPE: expected the keys edge, tests; got a list"),
        ("edge: x", "1:1: MISSING_FIELD: 'tests' is missing"),
        ("edge: x\ntests: []", "2:8: tests: MISSING_FIELD: the list is empty; expected a test"),
        ("edge: x\ntests: {a: 1}", "2:8: tests: WRONG_TYPE: expected a list, got a mapping"),
        ("edge: [", "2:1: SYNTAX: not YAML: did not find expected node content"),
        ("edge: x\n---\nedge: y", "2:1: SYNTAX: not YAML: but found another document"),
        ("edge: *nowhere", "1:7: SYNTAX: not YAML: found undefined alias"),
        ("a: \x01", "1:1: SYNTAX: not YAML: unacceptable character #x0001: control characters are not allowed"),
        ("[" * 100_000, "1:21: SYNTAX: nested more than 20 deep"),
    ],
)
def test_what_is_no_test_file(tmp_path: Path, text: str, problem: str) -> None:
    assert problems(tmp_path, text) == [problem]


def test_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(SuiteError, match="cannot be read: Is a directory"):
        read_test_file(tmp_path)
    latin = tmp_path / "latin.edgetest.yaml"
    latin.write_bytes(b"edge: caf\xe9")
    with pytest.raises(SuiteError, match="is not UTF-8 at byte 9"):
        read_test_file(latin)
