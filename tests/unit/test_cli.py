"""The command line as such: what happens before and after a command does its work.

Called through click's runner where that is enough, and as a process of its own where streams and signals matter.
"""

import contextlib
import json
import os
import pty
import signal
import subprocess
import sys
from importlib.metadata import entry_points, version
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from edge.cli import common
from edge.cli.main import COMMANDS, cli, main

ROOT = Path(__file__).resolve().parents[2]
EDGE = str(ROOT / "examples" / "acme" / "edge.yaml")
PACKET = "udp 10.20.0.50:4000 > 198.51.100.53:53"
T1EDGE = [sys.executable, "-m", "edge.cli"]


def run(*arguments: str, **options: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(  # type: ignore[call-overload,no-any-return]
        [*T1EDGE, *arguments], text=True, cwd=ROOT, timeout=60, check=False, **options
    )


def shell(script: str) -> subprocess.CompletedProcess[str]:
    """Run a script of bash in which ``t1edge`` is the command."""
    function = f't1edge() {{ "{sys.executable}" -m edge.cli "$@"; }}; set -o pipefail; '
    return subprocess.run(
        ["bash", "-c", function + script], capture_output=True, text=True, cwd=ROOT, timeout=60, check=False
    )


def test_version() -> None:
    result = CliRunner().invoke(cli, ["--version"])
    assert (result.exit_code, result.output) == (0, f"t1edge {version('t1edge')}\n")


def test_no_command_shows_the_help_and_is_a_usage_error() -> None:
    result = CliRunner().invoke(cli, [])
    assert result.exit_code == 2
    assert "Commands:" in result.stderr
    assert result.stdout == ""


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_a_help_text_with_an_example(name: str) -> None:
    result = CliRunner().invoke(cli, [name, "--help"])
    assert result.exit_code == 0
    assert f"Example:  t1edge {name}" in result.output
    assert result.output.startswith(f"Usage: t1edge {name} ")


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["nonsense"], "No such command 'nonsense'"),
        (["--nonsense"], "No such option"),
        (["check"], "Missing argument 'EDGE'"),
        (["check", EDGE, "more"], "unexpected extra argument"),
        (["check", EDGE, "--jsonn"], "No such option"),
        (["trace", EDGE], "Missing argument 'PACKET...'"),
        (["test"], "Missing argument 'PATH...'"),
        (["test", "--junit"], "requires an argument"),
        (["diff", EDGE], "Missing argument 'EDGE2'"),
        (["completion", "tcsh"], "'tcsh' is not one of"),
    ],
)
def test_wrong_command_lines_exit_2_on_stderr(arguments: list[str], complaint: str) -> None:
    result = CliRunner().invoke(cli, arguments)
    assert result.exit_code == 2
    assert complaint in result.stderr
    assert result.stdout == ""


@pytest.mark.parametrize("shell_name", ["bash", "zsh", "fish"])
def test_completion_prints_the_script_of_a_shell(shell_name: str) -> None:
    result = CliRunner().invoke(cli, ["completion", shell_name])
    assert result.exit_code == 0
    assert "_T1EDGE_COMPLETE" in result.stdout


def test_completion_completes_commands_and_options() -> None:
    environment = os.environ | {"_T1EDGE_COMPLETE": "bash_complete", "COMP_WORDS": "t1edge tr", "COMP_CWORD": "1"}
    assert run(capture_output=True, env=environment).stdout == "plain,trace\n"
    environment |= {"COMP_WORDS": "t1edge check --st", "COMP_CWORD": "2"}
    assert run(capture_output=True, env=environment).stdout == "plain,--strict\n"


def test_what_cannot_be_read_is_one_line_on_stderr(tmp_path: Path) -> None:
    for path in ("nowhere.yaml", str(tmp_path), "\udcff.yaml", ""):
        for command in (["check", path], ["trace", path, PACKET], ["diff", path, EDGE], ["test", path]):
            result = CliRunner().invoke(cli, command)
            assert result.exit_code == 2, command
            assert len(result.stderr.splitlines()) == 1, command
            assert result.stdout == ""


def test_a_name_that_the_terminal_cannot_show_is_escaped() -> None:
    environment = os.environ | {"PYTHONIOENCODING": "ascii"}
    done = run("check", "caf\N{LATIN SMALL LETTER E WITH ACUTE}.yaml", capture_output=True, env=environment)
    assert done.returncode == 2
    assert done.stderr.startswith("caf\\xe9.yaml: ")


def test_control_characters_of_the_user_do_not_reach_the_terminal(tmp_path: Path) -> None:
    evil = tmp_path / "a\n\x1b[31m.yaml"
    shown = f"{tmp_path}/a\\n\\x1b[31m.yaml"
    evil.write_text(Path(EDGE).read_text(encoding="utf-8"), encoding="utf-8")
    assert CliRunner().invoke(cli, ["check", str(evil)]).stdout == f"{shown}: valid, 0 warnings\n"
    evil.write_text("natRuls: []\n", encoding="utf-8")
    for line in CliRunner().invoke(cli, ["check", str(evil)]).stderr.splitlines():
        assert line.startswith(shown)
    for arguments in (
        ["check", "no\x1b\nsuch"],
        ["trace", EDGE, f"{PACKET} in=\x1b[31m"],
        ["\x1b"],
        ["replay", EDGE, "\x1b"],
    ):
        result = CliRunner().invoke(cli, arguments)
        assert result.exit_code == 2
        assert "\\x1b" in result.stderr
        assert "\x1b" not in result.stderr


def test_a_bug_is_called_a_bug_and_no_verdict_on_the_input(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise ZeroDivisionError("oops")

    monkeypatch.setattr("edge.cli.check.write_result", fail)
    result = CliRunner().invoke(cli, ["check", EDGE])
    assert result.exit_code == 70
    assert "bug of t1edge" in result.stderr
    assert "ZeroDivisionError: oops" in result.stderr


def test_full_disk_closed_stdout_and_a_reader_that_left() -> None:
    full = shell(f"t1edge check {EDGE} > /dev/full")
    assert (full.returncode, full.stderr.splitlines()[-1]) == (
        2, "t1edge: the result cannot be written: No space left on device",
    )  # fmt: skip
    closed = shell(f"t1edge check {EDGE} >&-")
    assert (closed.returncode, closed.stderr.splitlines()[-1]) == (
        2, "t1edge: the result cannot be written: standard output is closed",
    )  # fmt: skip
    left = shell("{ sleep 0.5; t1edge completion bash; } | true")
    assert (left.returncode, left.stderr) == (141, "")
    mute = shell("t1edge check nowhere.yaml 2>&-")
    assert (mute.returncode, mute.stdout) == (2, "")


def test_ctrl_c_ends_without_a_traceback(tmp_path: Path) -> None:
    fifo = tmp_path / "edge.yaml"
    os.mkfifo(fifo)
    process = subprocess.Popen(
        [*T1EDGE, "check", str(fifo)], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    # Opening a FIFO to write waits for its reader; once it returns, the command is at work, and waits for a line.
    with fifo.open("w"):
        process.send_signal(signal.SIGINT)
        stdout, stderr = process.communicate(timeout=20)
    assert (process.returncode, stdout, stderr) == (130, "", "")


class Terminal:
    """A stream that is (or is not) a terminal."""

    def __init__(self, *, tty: bool) -> None:
        self._tty = tty

    def isatty(self) -> bool:
        return self._tty


def test_colours_only_on_a_terminal_and_never_under_no_color(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr(sys, "stdout", Terminal(tty=True))
    assert common.paint("DROP", "red") == click.style("DROP", fg="red", bold=True)
    monkeypatch.setenv("NO_COLOR", "")
    assert common.paint("DROP", "red") != "DROP"
    monkeypatch.setenv("NO_COLOR", "1")
    assert common.paint("DROP", "red") == "DROP"
    monkeypatch.delenv("NO_COLOR")
    monkeypatch.setenv("TERM", "dumb")
    assert common.paint("DROP", "red") == "DROP"
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr(sys, "stdout", Terminal(tty=False))
    assert common.paint("DROP", "red") == "DROP"


def test_plural() -> None:
    assert [common.plural(count, "rule") for count in (0, 1, 2000)] == ["0 rules", "1 rule", "2,000 rules"]
    assert common.plural(2, "entry", "entries") == "2 entries"


def on_a_terminal(*arguments: str, **environment: str) -> str:
    """Everything that a command prints when both its streams are a terminal."""
    master, slave = pty.openpty()
    settings = {key: value for key, value in os.environ.items() if key != "NO_COLOR"}
    process = subprocess.Popen(
        [*T1EDGE, *arguments], cwd=ROOT, stdout=slave, stderr=slave, env=settings | {"TERM": "xterm"} | environment
    )
    os.close(slave)
    chunks = []
    # On Linux reading the master fails with EIO once the last writer has gone.
    with contextlib.suppress(OSError):
        while chunk := os.read(master, 4096):
            chunks.append(chunk)
    os.close(master)
    assert process.wait(timeout=20) == 0
    return b"".join(chunks).decode()


def test_a_terminal_gets_colours_and_a_progress_bar() -> None:
    suite = str(ROOT / "examples" / "acme" / "acme.edgetest.yaml")
    watched = on_a_terminal("test", suite)
    assert "\x1b[32m\x1b[1mok\x1b[0m" in watched
    assert "\x1b[2K" in watched  # the bar, erased when it is done
    plain = on_a_terminal("test", suite, NO_COLOR="1")
    assert "\x1b" not in plain
    assert "25 passed" in plain
    assert "\x1b[32m\x1b[1mALLOW" in on_a_terminal("trace", EDGE, PACKET)
    assert "\x1b" not in on_a_terminal("trace", "--json", EDGE, PACKET)


def test_the_installed_command_is_this_one() -> None:
    (entry,) = entry_points(group="console_scripts", name="t1edge")
    assert entry.load() is main


def test_warnings_of_a_document_go_to_stderr_as_they_are(tmp_path: Path) -> None:
    path = tmp_path / "edge.yaml"
    gateway = "edgeGateway: {name: T1, edgeGatewayUplinks: [{uplinkName: U}]}"
    path.write_text(f"{gateway}\ndns: {{enabled: true}}\n", encoding="utf-8")
    refused = CliRunner().invoke(cli, ["check", str(path)])
    assert refused.exit_code == 2
    assert refused.stderr.startswith(f"{path}:2:")
    allowed = CliRunner().invoke(cli, ["check", "--allow-unsupported", str(path)])
    assert (allowed.exit_code, allowed.stdout) == (0, f"{path}: valid, 1 warning\n")
    assert allowed.stderr.startswith(f"{path}:2:")
    strict = CliRunner().invoke(cli, ["check", "--allow-unsupported", "--strict", "--json", str(path)])
    assert (strict.exit_code, strict.stderr) == (1, "")
    (problem,) = json.loads(strict.stdout)["problems"]
    assert list(problem) == ["file", "line", "column", "path", "code", "message", "severity"]
    assert (problem["code"], problem["severity"], problem["line"]) == ("NOT_EMULATED", "warning", 2)
    broken = CliRunner().invoke(cli, ["check", "--json", str(path)])
    assert (broken.exit_code, broken.stderr) == (2, "")
    assert json.loads(broken.stdout)["problems"][0]["severity"] == "error"


def test_diff_exits_1_when_there_is_one() -> None:
    planned = str(Path(EDGE).with_name("planned.yaml"))
    same = CliRunner().invoke(cli, ["diff", EDGE, EDGE])
    assert (same.exit_code, same.stdout) == (0, "no difference\n")
    assert json.loads(CliRunner().invoke(cli, ["diff", "--json", EDGE, EDGE]).stdout) == {"changes": []}
    changed = CliRunner().invoke(cli, ["diff", EDGE, planned])
    assert changed.exit_code == 1
    document = json.loads(CliRunner().invoke(cli, ["diff", "--json", EDGE, planned]).stdout)
    assert {change["name"] for change in document["changes"]} == {"out-quic", "web-https", "speedtest-public"}
