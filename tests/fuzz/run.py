"""Searches for inputs that break something: ``./run fuzz``, or ``python -m tests.fuzz.run`` in a tree that is built.

Every target is searched in a process of its own.  One that dies, hangs or objects leaves its input in
``tests/fuzz/corpus/TARGET``, where the test suite finds it from then on.  Exit codes: 0 nothing found, 1 something
found, 2 bad usage.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import subprocess
import sys
import tempfile
import time
from importlib.util import find_spec
from pathlib import Path

from tests.fuzz.edges import edges
from tests.fuzz.search import TARGETS, corpus, runner
from tests.fuzz.shared import Shared
from tests.fuzz.story import CHANGE, FRAME, Event, events, written

HANGS_S = 60
"""How long one input may take."""
GRACE_S = 30
SHOWN = 6000
"""Characters of what a broken search said."""
TEXTS = ("documents", "packet_text")
KEEP = 5
"""Targets of frames: the last 4**0, 4**1, ... events are tried before the whole story is kept."""


def say(text: str) -> None:
    """A line, at once."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def environment(target: str) -> dict[str, str]:
    """That of a process which runs a target; T1EDGE_PRELOAD is what native code of this build needs."""
    preload = "" if target in TEXTS else os.environ.get("T1EDGE_PRELOAD", "")
    found = {**os.environ, "PYTHONMALLOC": "malloc"} if preload else dict(os.environ)
    return {**found, "LD_PRELOAD": preload} if preload else found


def search(target: str, seconds: float, seed: int, folder: Path) -> tuple[int, bytes | None]:
    """One target for so long: executions, and the input that broke it."""
    shared = Shared(folder / target, create=True)
    command = [sys.executable, "-m", "tests.fuzz.search", target, str(seconds), str(seed), str(folder / target)]
    said = folder / f"{target}.log"
    with said.open("wb") as log:
        process = subprocess.Popen(command, env=environment(target), stdout=log, stderr=log)
    until, executions, moved = time.monotonic() + seconds, 0, time.monotonic()
    while process.poll() is None:
        time.sleep(0.2)
        now = time.monotonic()
        if shared.executions != executions:
            executions, moved = shared.executions, now
        if now - moved > HANGS_S or now > until + HANGS_S + GRACE_S:
            say(f"{target}: one input has taken {now - moved:.0f} s")
            process.kill()
            process.wait()
    if process.returncode == 0:
        return shared.executions, None
    say(said.read_text(encoding="utf-8", errors="replace")[-SHOWN:])
    return shared.executions, shared.read()


def breaks(target: str, data: bytes) -> bool:
    """Does this input alone break the target?"""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "input"
        path.write_bytes(data)
        command = [sys.executable, "-m", "tests.fuzz.run", "--target", target, "--reproduce", str(path)]
        try:
            done = subprocess.run(command, capture_output=True, timeout=HANGS_S, env=environment(target), check=False)
        except subprocess.TimeoutExpired:
            return True
    return done.returncode != 0


def smaller(data: bytes) -> tuple[str, bytes]:
    """The end of a story that still breaks something, and the target it is an input of."""
    edge, story = data[0], list(events(data))
    for event in story:
        edge = event.number if event.kind == CHANGE else edge
    if story and story[-1].kind == FRAME:
        alone = bytes([edge, story[-1].number]) + story[-1].frame
        if breaks("packets", alone):
            return "packets", alone
    for power in range(KEEP + 1):
        count = 4**power
        if count >= len(story):
            break
        first = data[0]
        for event in story[:-count]:
            first = event.number if event.kind == CHANGE else first
        passed = sum(event.advance_ns for event in story[:-count])
        tail = [Event(FRAME, 0, passed), *story[-count:]] if passed else story[-count:]
        if breaks("sequences", written(first, tail)):
            return "sequences", written(first, tail)
    return "sequences", data


def keep(target: str, data: bytes, kept: Path) -> None:
    """Puts an input that broke something where the test suite finds it."""
    if target in ("packets", "sequences"):
        target, data = smaller(data)
    path = kept / target / hashlib.sha256(data).hexdigest()[:16]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    say(f"{target}: FOUND {path}\n  again: ./run fuzz --target {target} --reproduce {path}")


def guarded(data: bytes) -> None:
    """A story once more, each frame beside memory that may not be touched.  Raises where something is wrong."""
    from tests.fuzz.native.storm import Storm

    from edge.runtime import Edge
    from tests.fuzz.invariants import PAIR_TABLE, expect

    if not data:
        return
    edge = Edge(edges()[data[0] % len(edges())])
    storm = Storm(edge._engine, bytearray(16), PAIR_TABLE, 1)
    for event in events(data):
        if event.kind == CHANGE:
            edge.apply(edges()[event.number % len(edges())])
        elif event.kind == FRAME:
            problem = storm.play(event.number % len(edge.config.ports), event.frame, event.advance_ns)
            expect(problem is None, f"{problem}")


def reproduce(target: str, data: bytes) -> None:
    """One input.  Raises, or ends the process, where it breaks something.

    Frames lie beside memory that may not be touched where the driver is built, which it is wherever is searched.
    """
    driven = find_spec("tests.fuzz.native.storm") is not None
    if driven and target == "sequences":
        guarded(data)
    elif driven and target == "packets" and len(data) >= 2:
        ports = len(edges()[data[0] % len(edges())].ports)
        guarded(written(data[0], [Event(FRAME, data[1] % ports, 0, data[2:][:65_553])]))
    runner(target)(data)


def main() -> int:
    """The command."""
    parser = argparse.ArgumentParser(prog="./run fuzz", description="Searches for inputs that break something.")
    parser.add_argument("--seconds", type=float, default=60, help="how long, all targets together (default 60)")
    parser.add_argument("--target", choices=TARGETS, help="only this one")
    parser.add_argument("--seed", type=int, default=None, help="of everything random; default: the time")
    parser.add_argument("--reproduce", type=Path, metavar="FILE", help="only this input of --target")
    parser.add_argument("--kept", action="store_true", help="only the inputs that are kept")
    parser.add_argument("--corpus", type=Path, default=Path(__file__).with_name("corpus"), help="where findings go")
    given = parser.parse_args()
    targets = (given.target,) if given.target else TARGETS
    if given.reproduce:
        if not given.target:
            parser.error("--reproduce needs --target")
        reproduce(given.target, given.reproduce.read_bytes())
        return 0
    if given.kept:
        for target in targets:
            for data in corpus(target):
                reproduce(target, data)
            say(f"{target}: {len(corpus(target))} inputs")
        return 0
    seed = time.time_ns() % 2**31 if given.seed is None else given.seed
    say(f"seed {seed}")
    findings = 0
    with tempfile.TemporaryDirectory() as folder:
        for target in targets:
            started = time.monotonic()
            executions, data = search(target, given.seconds / len(targets), seed, Path(folder))
            seconds = time.monotonic() - started
            say(f"{target}: {executions:,} executions in {seconds:.0f} s, {executions / seconds:,.0f} a second")
            if data is None:
                continue
            findings += 1
            if executions:
                keep(target, data, given.corpus)
            else:
                say(f"{target}: FOUND: the search ended before its first input")
    say(f"{findings} findings")
    return 1 if findings else 0


if __name__ == "__main__":
    sys.exit(main())
