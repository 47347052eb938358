"""The documentation tells the truth: every ``console`` block is run, every link leads somewhere.

A block is a session: lines that begin with ``$`` are run in a copy of ``examples/``, ``\\`` continues them, and what
follows is the expected output (stdout and stderr).  Only ``t1edge ...`` and ``echo $?`` are understood.  ``...`` stands
for any text within a line, and alone on a line for any number of lines.
"""

import re
import shlex
import shutil
from dataclasses import dataclass
from pathlib import Path

import pytest
from click.testing import CliRunner

from edge.cli.main import cli

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted([ROOT / "README.md", *(ROOT / "docs").rglob("*.md"), *(ROOT / "examples").rglob("*.md")])

BLOCK = re.compile(r"^```console\n(.*?)^```$", re.MULTILINE | re.DOTALL)
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
    for exchange in exchanges(block):
        if exchange.command == "echo $?":
            assert exchange.expected == [str(exit_code)]
            continue
        name, *arguments = shlex.split(exchange.command)
        assert name == "t1edge", f"cannot run {exchange.command!r}; a block that is not to be run is no console block"
        result = CliRunner().invoke(cli, arguments)
        exit_code = result.exit_code
        got = result.output.splitlines()
        assert fits(exchange.expected, got), f"$ {exchange.command}\n{result.output}"


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
