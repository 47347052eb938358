"""The demo: ends well, keeps what it should, and nothing else."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from click.testing import CliRunner

from edge.cli.main import cli
from tests.control.test_commands import serving


def test_what_is_kept_can_be_served_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("T1EDGE_TOKEN", "")
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    kept = tmp_path / "kept"
    shown = CliRunner().invoke(cli, ["control", "demo", "--keep", str(kept)])
    assert shown.exit_code == 0, shown.output
    assert f"t1edge control serve --data {kept}/data" in shown.output
    assert (kept / "logins").stat().st_mode & 0o777 == 0o600
    users = [line.split()[3] for line in (kept / "logins").read_text().splitlines()]
    assert users == ["administrator", "berta", "maria", "berta", "maria", "sam"]
    assert [path.name for path in tmp_path.iterdir()] == ["kept"]
    again = CliRunner().invoke(cli, ["control", "demo", "--keep", str(kept)])
    assert again.exit_code == 2
    assert "is there already" in again.output
    with serving(kept, "--metrics", "none") as served:
        served.stop()


def test_a_demo_that_is_told_to_stop_leaves_nothing(tmp_path: Path) -> None:
    told = os.environ | {"TMPDIR": str(tmp_path), "PYTHONUNBUFFERED": "1"}
    command = [sys.executable, "-m", "edge.cli", "control", "demo"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=told) as process:
        assert process.stdout is not None
        while "Two tenants" not in process.stdout.readline():
            assert process.poll() is None
        (folder,) = tmp_path.iterdir()
        process.terminate()
    assert process.returncode == 128 + signal.SIGTERM
    assert not folder.exists()
    others = subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True, check=True).stdout
    assert str(folder) not in others
