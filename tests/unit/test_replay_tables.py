"""Tables for people: plain where output is kept, drawn and coloured on a terminal."""

from __future__ import annotations

import os
import pty
import struct
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from edge.cli.tables import print_table


def test_plain_table_is_aligned(capsys: pytest.CaptureFixture[str]) -> None:
    print_table("Rules", ("rule", "hits", "share"), [("out", 1_234_567, "9%"), ("a longer name", 0, "100%")])
    assert capsys.readouterr().out == (
        "Rules\n  rule                hits  share\n  out            1,234,567  9%\n  a longer name          0  100%\n\n"
    )


def test_table_without_rows_has_its_columns(capsys: pytest.CaptureFixture[str]) -> None:
    print_table("Rules", ("rule", "hits"), [])
    assert capsys.readouterr().out == "Rules\n  rule  hits\n\n"


def on_a_terminal(command: Sequence[str | Path], root: Path, **environment: str) -> str:
    """What Python, run like this, shows on a pseudo-terminal."""
    outer, inner = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, *command],
        stdout=inner,
        stderr=subprocess.STDOUT,
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(root), "TERM": "xterm", **environment},
    )
    os.close(inner)
    shown = b""
    while True:
        try:
            piece = os.read(outer, 4096)
        except OSError:  # how Linux says that the other end is closed
            break
        if not piece:
            break
        shown += piece
    os.close(outer)
    assert process.wait() == 0
    return shown.decode()


def test_table_on_a_terminal_is_drawn_and_takes_names_literally(root: Path) -> None:
    code = "from edge.cli.tables import print_table; print_table('Rules', ('rule', 'hits'), [('[red]x', 1000)])"
    shown = on_a_terminal(["-c", code], root)
    assert "[red]x" in shown
    assert "1,000" in shown
    assert "\x1b[1m" in shown
    assert "\x1b" not in on_a_terminal(["-c", code], root, NO_COLOR="1")


def test_replay_on_a_terminal_shows_progress_and_drawn_tables(root: Path, tmp_path: Path) -> None:
    edge, capture = tmp_path / "edge.yaml", tmp_path / "empty.pcap"
    edge.write_text("edgeGateway: {name: T1, edgeGatewayUplinks: [{uplinkName: U}]}\n", encoding="utf-8")
    capture.write_bytes(struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 65_535, 1))
    shown = on_a_terminal(["-m", "edge.cli", "replay", edge, capture], root)
    assert "replaying" in shown
    assert "default_rule" in shown
    assert "\x1b[" in shown
