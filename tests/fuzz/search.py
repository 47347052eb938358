"""One search in one process: ``python -m tests.fuzz.search TARGET SECONDS SEED FILE``, started by tests.fuzz.run.

``FILE`` is where the input being tried can be read after the process has died of it.
"""

from __future__ import annotations

import ctypes
import os
import sys
import tempfile
import time
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from random import Random

from tests.fuzz.shared import Shared

FRAMES = 16_384
"""Frames between two fresh edges."""
COMPARED_EVENTS = 200
COMPARED_SHARE = 0.1
"""Part of the time in which the beginning of a story is played to the reference too."""
LARGEST_TEXT = 16_384
TARGETS = ("packets", "sequences", "documents", "captures", "packet_text", "neighbours", "vnet", "forwarding")
DRIVEN = ("vnet", "forwarding")
"""Targets that only the drivers reach, see tests/fuzz/native: they run where those are built."""


def corpus(target: str) -> list[bytes]:
    """The inputs that are kept."""
    return [path.read_bytes() for path in sorted(Path(__file__).with_name("corpus").joinpath(target).iterdir())]


def runner(target: str) -> Callable[[bytes], None]:
    """A target's function."""
    run: Callable[[bytes], None] = import_module(f"tests.fuzz.{target}").run
    return run


def steps_found() -> ctypes.c_uint32 | None:
    """The number that grows when code runs for the first time; None in a build that does not count."""
    try:
        return ctypes.c_uint32.in_dll(ctypes.CDLL(None), "t1_steps_found")
    except ValueError:
        return None


def search_frames(target: str, seconds: float, seed: int, shared: Shared) -> None:
    """Frames through live edges, by the native driver."""
    from tests.fuzz.native.storm import Storm

    from edge.runtime import Edge
    from tests.fuzz.edges import edges
    from tests.fuzz.invariants import PAIR_TABLE, check_edge, expect
    from tests.fuzz.seeds import traffic
    from tests.fuzz.story import Event, events, written

    random, found = Random(seed), steps_found()
    conversing = target == "sequences"
    address = 0 if found is None else ctypes.addressof(found)
    storm = Storm(Edge(edges()[0])._engine, shared.memory, PAIR_TABLE, seed, address)
    for number, config in enumerate(edges()):
        for port, frame, _ in traffic(random, number, 400):
            storm.add_seed(config.ports.index(port), frame)
    compare = runner("sequences")
    started, compared = time.monotonic(), 0.0
    while time.monotonic() - started < seconds:
        number = random.randrange(len(edges()))
        edge = Edge(edges()[number])
        most = edge.config.options.max_sessions
        shared.write(bytes([number]))
        storm.renew(edge._engine)
        before = shared.executions
        for part in range(4 if conversing else 1):
            if part:
                number = random.randrange(len(edges()))
                if not shared.extend(bytes([1, number])):
                    break
                edge.apply(edges()[number])
                most = max(edges()[number].options.max_sessions, edge.stats().sessions_open)
            problem = storm.run(random.randrange(1, FRAMES // (2 if conversing else 1)), conversing)
            expect(problem is None, f"{problem}")
        problem = storm.check_totals()
        expect(problem is None, f"{problem}")
        check_edge(edge, shared.executions - before, most)
        if compared < COMPARED_SHARE * (time.monotonic() - started):
            began = time.monotonic()
            data = shared.read()
            story = [event for event, _ in zip(events(data), range(random.randrange(COMPARED_EVENTS)), strict=False)]
            shared.write(written(data[0], [Event(e.kind, e.number, e.advance_ns, e.frame, e.how) for e in story]))
            compare(shared.read())
            compared += time.monotonic() - began


def search_files(target: str, seconds: float, seed: int, shared: Shared) -> None:
    """Files made of files; one that makes native code go a new way is kept for more."""
    from tests.fuzz.links import mutated_story
    from tests.fuzz.mutate import changed, mutated

    make = {"captures": mutated, "vnet": changed}.get(target, mutated_story)
    random, run, pool, found = Random(seed), runner(target), corpus(target), steps_found()
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        data = make(random, pool)
        before = 0 if found is None else found.value
        shared.begin(data)
        run(data)
        if found is not None and found.value != before:
            pool.append(data)


def search_texts(target: str, seconds: float, seed: int, shared: Shared) -> None:
    """Texts by atheris, which sees where the Python code goes."""
    import atheris

    with atheris.instrument_imports(include=["edge"]):
        run = runner(target)

    def one(data: bytes) -> None:
        shared.begin(data)
        run(data)

    with tempfile.TemporaryDirectory() as found:
        kept = Path(__file__).with_name("corpus") / target
        options = [f"-max_total_time={max(1, int(seconds))}", f"-seed={seed % 2**31 or 1}", f"-max_len={LARGEST_TEXT}"]
        options += ["-timeout=30", "-rss_limit_mb=4096", "-verbosity=0", f"-artifact_prefix={found}/", found, str(kept)]
        atheris.Setup([sys.argv[0], *options], one)
        atheris.Fuzz()


def main() -> int:
    """The command."""
    target, seconds, seed, path = sys.argv[1], float(sys.argv[2]), int(sys.argv[3]), Path(sys.argv[4])
    searches = {"packets": search_frames, "sequences": search_frames}
    searches |= dict.fromkeys(("captures", "neighbours", "vnet", "forwarding"), search_files)
    searches.get(target, search_texts)(target, seconds, seed, Shared(path))
    sys.stdout.flush()
    os._exit(0)  # nothing is left to be put away, and sanitizers would look for it


if __name__ == "__main__":
    sys.exit(main())
