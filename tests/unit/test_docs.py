"""The documentation tells the truth: every ``console`` block is run, every link leads somewhere.

A block is a session: lines that begin with ``$`` are run in a copy of ``examples/``, ``\\`` continues them, and what
follows is the expected output (stdout and stderr).  Only ``t1edge ...`` and ``echo $?`` are understood.  ``...`` stands
for any text within a line, and alone on a line for any number of lines.  ``t1edge serve ... &`` runs until the block
ends; the block goes on when the edge answers.

The ``python`` blocks of docs/api.md are one program, which is run against such an edge.
"""

import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from click.testing import CliRunner

from edge.cli.main import cli

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted([ROOT / "README.md", *(ROOT / "docs").rglob("*.md"), *(ROOT / "examples").rglob("*.md")])

BLOCK = re.compile(r"^```console\n(.*?)^```$", re.MULTILINE | re.DOTALL)
PYTHON = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\]\(([^)#\s]+)(?:#[^)]*)?\)")
FENCED = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True)
class Exchange:
    command: str
    expected: list[str]


def sessions() -> list[object]:
    return [
        pytest.param(match[1], id=f"{page.relative_to(ROOT)}:{page.read_text()[: match.start()].count(chr(10)) + 1}")
        for page in PAGES
        for match in BLOCK.finditer(page.read_text())
    ]


def exchanges(block: str) -> list[Exchange]:
    found: list[Exchange] = []
    for line in block.replace("\\\n", " ").splitlines():
        if line.startswith("$ "):
            found.append(Exchange(line[2:], []))
        else:
            found[-1].expected.append(line.rstrip())
    return found


def fits(expected: list[str], got: list[str]) -> bool:
    pattern = "".join(
        r"(?:.*\n)*?" if line == "..." else ".*".join(map(re.escape, line.split("..."))) + r"\n" for line in expected
    )
    return re.fullmatch(pattern, "".join(f"{line.rstrip()}\n" for line in got)) is not None


@pytest.mark.parametrize("block", sessions())
def test_console_block(block: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copytree(ROOT / "examples", tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    exit_code = 0
    with ExitStack() as stack:
        for exchange in exchanges(block):
            if exchange.command == "echo $?":
                assert exchange.expected == [str(exit_code)]
                continue
            name, *arguments = shlex.split(exchange.command)
            assert name == "t1edge", (
                f"cannot run {exchange.command!r}; a block that is not to be run is no console block"
            )
            if arguments[-1] == "&":
                stack.enter_context(in_background(arguments[:-1]))
                continue
            result = CliRunner().invoke(cli, arguments)
            exit_code = result.exit_code
            got = result.output.splitlines()
            assert fits(exchange.expected, got), f"$ {exchange.command}\n{result.output}"


def test_the_page_on_grpc_is_a_program_that_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copytree(ROOT / "examples", tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    page = ROOT / "docs" / "api.md"
    program = "\n".join(match[1] for match in PYTHON.finditer(page.read_text()))
    with in_background(["serve", "acme/edge.yaml", "--listen", "unix:edge.sock", "--metrics", "none"]):
        done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr


@contextmanager
def in_background(arguments: list[str]) -> Iterator[None]:
    command = [sys.executable, "-m", "edge.cli", *arguments]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, cwd=Path.cwd()) as process:
        try:
            assert process.stderr is not None
            seen = []
            for line in process.stderr:
                seen.append(line)
                if "serves revision" in line:
                    break
            else:
                raise AssertionError("".join(seen))
            yield
        finally:
            process.terminate()
            process.communicate(timeout=30)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_to_files(page: Path) -> None:
    links = LINK.findall(FENCED.sub("", page.read_text()))
    missing = [link for link in links if "://" not in link and not (page.parent / link).exists()]
    assert missing == []


def test_wildcards() -> None:
    assert fits(["a ... c", "...", "z"], ["a b c", "x", "y", "z"])
    assert fits(["...", "z"], ["z"])
    assert not fits(["a ... c"], ["a b d"])
    assert not fits(["a"], ["a", "b"])
