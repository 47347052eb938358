#!/usr/bin/env python3
"""How much memory a session takes, everything included: the index, the heap of deadlines, ports.

An edge opens --sessions UDP sessions through SNAT.  Prints one JSON document: the anonymous memory that the process has
more than before, by session.
"""

from __future__ import annotations

import argparse
import gc
import json
import re
import sys
from array import array
from pathlib import Path

from edge.bench.documents import established_document
from edge.bench.established import BURST, INSIDE, REMOTE
from edge.bench.frames import udp_frame
from edge.bench.measurement import SEED
from edge.document import from_data
from edge.runtime import Edge

BATCH = 65_536


def anonymous_bytes() -> int:
    """What of this process's memory is in no file."""
    found = re.search(
        r"^Anonymous:\s+(\d+) kB", Path("/proc/self/smaps_rollup").read_text(encoding="ascii"), re.MULTILINE
    )
    assert found is not None
    return int(found[1]) * 1024


def open_sessions(edge: Edge, first: int, count: int) -> None:
    """As many sessions, from number ``first`` on."""
    frames = [
        udp_frame(INSIDE + 256 + number // 32_768, 10_000 + number % 32_768, REMOTE + number % 256, 53)
        for number in range(first, first + count)
    ]
    edge.time_bursts(frames, ["LAN"] * count, array("I", range(count)), trials=1, bursts=count // BURST, step_ns=0)


def main() -> int:
    """Open them, and say what that took."""
    parser = argparse.ArgumentParser(description="How much memory a session takes.")
    parser.add_argument("--sessions", type=int, default=1 << 22, help="a multiple of 65,536")
    wanted: int = parser.parse_args().sessions // BATCH * BATCH
    document = established_document()
    document["options"] = {"limits": "report", "maxSessions": wanted + BATCH}
    edge = Edge(from_data(document).config, seed=SEED)
    open_sessions(edge, 0, BATCH)  # Python's own memory for a batch is there from now on
    before, sessions = anonymous_bytes(), edge.stats().sessions_open
    for first in range(BATCH, wanted, BATCH):
        open_sessions(edge, first, BATCH)
    gc.collect()
    opened = edge.stats().sessions_open
    assert opened == wanted, f"{opened:,} of {wanted:,} sessions are open"
    bytes_each = (anonymous_bytes() - before) / (opened - sessions)
    json.dump({"sessions": opened, "bytes_each": round(bytes_each, 1)}, sys.stdout)
    sys.stdout.write("\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
