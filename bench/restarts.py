#!/usr/bin/env python3
"""How soon a served edge that was killed passes packets again.

    python bench/restarts.py --times 10

Each time: kill -9, start again from the stored revision, and a packet through InjectPackets until one is allowed.
Prints one JSON document: wall seconds until that packet (median, least, most) and the seconds of the processor that the
process had taken by then, which do not grow with what else the machine does.  Needs no root.  Exits 1 where the median
is above --most.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from edge.verdicts import Reason  # noqa: E402
from tests.serve.process import Service, Wire  # noqa: E402
from tests.support import SAMPLE  # noqa: E402

PACKET = "tcp 10.20.0.5:4000 > 198.51.100.7:443 S"


def processor_seconds(pid: int) -> float:
    """What a process has taken, in user and in kernel mode."""
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def restart(folder: Path, file: Path) -> tuple[float, float]:
    """One start until a packet passes, then the end of it: wall seconds, seconds of the processor."""
    with Service(folder, file, "--data", str(folder / "data")) as service, Wire(service) as wire:
        assert wire.send("LAN-ACME", PACKET) == [Reason.FW_RULE]
        found = time.monotonic() - service.began, processor_seconds(service.process.pid)
        service.kill()
    return found


def spread(values: list[float]) -> dict[str, float]:
    """Median and both ends."""
    return {
        "median": round(statistics.median(values), 2),
        "least": round(min(values), 2),
        "most": round(max(values), 2),
    }


def main() -> int:
    """Restart as often as is asked for."""
    parser = argparse.ArgumentParser(description="How soon a served edge that was killed passes packets again.")
    parser.add_argument("--times", type=int, default=10)
    parser.add_argument("--most", type=float, default=2.0, help="seconds")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        file = folder / "edge.yaml"
        file.write_text(SAMPLE)
        restart(folder, file)  # the first start reads the file, those after it the store
        starts = [restart(folder, file) for _ in range(given.times)]
    wall, processor = [seconds for seconds, _ in starts], [seconds for _, seconds in starts]
    print(json.dumps({"seconds": spread(wall), "processor_seconds": spread(processor)}, indent=2))
    return int(statistics.median(wall) > given.most)


if __name__ == "__main__":
    sys.exit(main())
