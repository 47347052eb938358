"""Where numbers come from: the machine, its clock, the processor that is measured on."""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

from edge.bench.measurement import SEED, TRIALS


def environment() -> dict[str, object]:
    """Processor, kernel, Python, compiler, and how busy the machine is."""
    from native.machine import COMPILER

    cpu = _cpu_info()
    flags = cpu.get("flags", cpu.get("Features", "")).split()
    return {
        "t1edge": version("t1edge"),
        "date": datetime.now(tz=UTC).isoformat(timespec="seconds"),
        "cpu": cpu.get("model name", platform.processor() or platform.machine()),
        "cpuFlags": flags,
        "cpus": os.cpu_count(),
        "virtual": "hypervisor" in flags,
        "measuredOn": measured_on(),
        "loadAverage": [round(load, 2) for load in os.getloadavg()],
        "ticksPerSecond": round(tick_rate()),
        "machine": platform.machine(),
        "kernel": platform.release(),
        "hugePages": _text("/sys/kernel/mm/transparent_hugepage/enabled"),
        "python": platform.python_version(),
        "compiler": COMPILER,
        "seed": SEED,
        "trials": TRIALS,
    }


def tick_rate(seconds: float = 0.02) -> float:
    """How fast the counter of native timing runs, a second."""
    from native.machine import clock_ticks

    begun, first = time.perf_counter(), clock_ticks()
    while (passed := time.perf_counter() - begun) < seconds:
        pass
    return (clock_ticks() - first) / passed


def measured_on() -> int:
    """The processor that everything is measured on: the last one that this process may use."""
    return max(os.sched_getaffinity(0))


@contextmanager
def pinned() -> Iterator[None]:
    """Keeps this process on one processor, so that caches stay warm and counters belong together."""
    allowed = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {measured_on()})
    try:
        yield
    finally:
        os.sched_setaffinity(0, allowed)


def _cpu_info() -> dict[str, str]:
    """The fields of the first processor in /proc/cpuinfo; empty where there is none."""
    pairs = (line.partition(":") for line in _text("/proc/cpuinfo").split("\n\n", 1)[0].splitlines())
    return {key.strip(): value.strip() for key, _, value in pairs}


def _text(path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8").strip()
    except OSError:
        return ""
