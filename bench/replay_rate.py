#!/usr/bin/env python3
"""How many packets a second `t1edge replay` takes, as a whole process on one processor, start and exit included.

Prints one JSON document: packets per second (median and samples) and the largest resident set of any run.  The capture
and the edge document are made from a seed in a temporary folder.  Exits 1 when the median is below --least, or memory
above --most-memory.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from traffic import write_capture, write_edge


def run_once(edge: Path, capture: Path, packets: int) -> tuple[float, int]:
    """Seconds and peak memory in bytes of one process; exits when it fails or does not judge every packet."""
    command = [sys.executable, "-m", "edge.cli", "replay", str(edge), str(capture), "--json"]
    begun = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    answer = process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - begun
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        sys.exit(f"{' '.join(command)} exited {process.returncode}")
    allowed = json.loads(answer)["verdicts"].get("ALLOW", 0)
    if allowed != packets:
        sys.exit(f"{allowed:,} packets of {packets:,} were allowed")
    return seconds, usage.ru_maxrss * 1024


def main() -> int:
    """Make the traffic, run the trials, print the result."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--packets", type=int, default=2_000_000)
    parser.add_argument("--flows", type=int, default=10_000)
    parser.add_argument("--rules", type=int, default=1_000)
    parser.add_argument("--replies", type=float, default=0.5, help="share of replies among the packets (0.5)")
    parser.add_argument("--trials", type=int, default=11)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--least", type=float, default=0.0, help="packets per second that must be reached")
    parser.add_argument("--most-memory", type=float, default=float("inf"), help="bytes that must not be exceeded")
    options = parser.parse_args()
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    with tempfile.TemporaryDirectory() as folder:
        edge, capture = Path(folder, "edge.json"), Path(folder, "traffic.pcap")
        write_edge(edge, options.rules, options.seed)
        write_capture(capture, options.packets, options.flows, options.replies, options.seed)
        runs = [run_once(edge, capture, options.packets) for _ in range(options.trials)]
    rates = [options.packets / seconds for seconds, _ in runs]
    memory = max(size for _, size in runs)
    result = {
        "packets": options.packets,
        "flows": options.flows,
        "rules": options.rules,
        "replies": options.replies,
        "seed": options.seed,
        "packetsPerSecond": {"median": round(statistics.median(rates)), "samples": [round(rate) for rate in rates]},
        "maxResidentBytes": memory,
    }
    print(json.dumps(result, indent=2))
    return int(statistics.median(rates) < options.least or memory > options.most_memory)


if __name__ == "__main__":
    sys.exit(main())
