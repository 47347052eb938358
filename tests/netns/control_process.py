"""``t1edge control serve --machines netns`` as a process."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from tests.netns.cloud import OUTER
from tests.netns.lab import ROOT, Space


class ControlProcess:
    """In a namespace, on the socket DATA.sock, with the uplinks of the cloud."""

    def __init__(self, space: Space, data: Path) -> None:
        uplinks = [f"--uplink={network}={device}" for network, device in OUTER.items()]
        self.address = f"unix:{data}.sock"
        self.process = subprocess.Popen(
            [
                "nsenter", f"--net=/run/netns/{space.name}", sys.executable, "-m", "edge.cli", "control", "serve",
                "--data", str(data), "--listen", self.address, "--metrics", "none",
                "--machines", "netns", *uplinks,
            ],
            cwd=ROOT, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        assert self.process.stderr is not None
        lines = []
        for line in self.process.stderr:
            lines.append(line)
            if "serves control.v1" in line:
                return
        raise AssertionError("".join(lines))

    def end(self, number: int) -> str:
        """What it said since it serves."""
        self.process.send_signal(number)
        return self.process.communicate(timeout=60)[1]


def machines_of(data: Path) -> dict[str, int]:
    """The uids of machines of a data directory, and the numbers of their first processes."""
    places = (data / "machines").glob("*/pid.json")
    return {place.parent.name: json.loads(place.read_text())["pid"] for place in places}
