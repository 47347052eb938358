"""``python -m tests.model.run --seconds 60 --seed 1``: the native engine against the reference for as long as you like.

Prints the seed; on a difference also the smallest case that shows it, which is saved and can be played again with
``--case FILE``.  Exit codes: 0 no difference, 1 a difference, 2 bad usage.
"""

from __future__ import annotations

import argparse
import pickle
import sys
import time
from collections import Counter
from pathlib import Path
from random import Random

from edge.reference import ReferenceEdge
from tests.model.compare import Case, Difference, MakeEdge, explore, play, shrink
from tests.model.story import describe

PACKETS_PER_UNIVERSE = 400


def sides(*, self_check: bool) -> tuple[MakeEdge, MakeEdge]:
    """The reference first, and what is held against it."""
    if self_check:
        return ReferenceEdge, ReferenceEdge
    from edge.runtime import Edge

    return ReferenceEdge, Edge


def search(
    make: tuple[MakeEdge, MakeEdge], seed: int, *, packets: int | None = None, seconds: float | None = None
) -> tuple[int, Counter[str], tuple[Case, Difference] | None]:
    """Universes until the budget is spent or something differs: packets, outcomes by reason, the difference."""
    done, number, reasons = 0, 0, Counter[str]()
    until = None if seconds is None else time.monotonic() + seconds
    while (packets is None or done < packets) and (until is None or time.monotonic() < until):
        case, difference, outcomes = explore(make, Random(f"{seed}:{number}"), PACKETS_PER_UNIVERSE)
        done, number = done + len(outcomes), number + 1
        reasons.update(f"{outcome.verdict.name} {outcome.reason.name}" for outcome in outcomes)
        if difference is not None:
            return done, reasons, (case, difference)
    return done, reasons, None


def report(make: tuple[MakeEdge, MakeEdge], case: Case, difference: Difference, path: Path) -> str:
    """The story of a difference, shrunk; the case is saved in ``path``."""
    small = shrink(make, case)
    path.write_bytes(pickle.dumps(small))
    again = play(make, small) or difference
    return (
        f"{describe(small.universe, small.events)}\n\n{again}\n\nplay it again: python -m tests.model.run --case {path}"
    )


def say(text: str) -> None:
    """A line of the result, at once."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def main() -> int:
    """The command."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.model.run", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seconds", type=float, help="how long (default: 60 if --packets is not given)")
    parser.add_argument("--packets", type=int, help="how many packets")
    parser.add_argument("--seed", type=int, default=None, help="default: the time")
    parser.add_argument("--self-check", action="store_true", help="the reference against itself")
    parser.add_argument("--case", type=Path, help="play a saved case")
    parser.add_argument("--save", type=Path, default=Path("build/model-case.pickle"), help="where a case is saved")
    given = parser.parse_args()
    make = sides(self_check=given.self_check)
    if given.case:
        case = pickle.loads(given.case.read_bytes())
        difference = play(make, case)
        say(f"{describe(case.universe, case.events)}\n\n{difference or 'no difference'}")
        return 1 if difference else 0
    seed = time.time_ns() % 2**32 if given.seed is None else given.seed
    seconds = 60.0 if given.seconds is None and given.packets is None else given.seconds
    say(f"seed {seed}")
    started = time.monotonic()
    done, reasons, found = search(make, seed, packets=given.packets, seconds=seconds)
    say(f"{done} packets in {time.monotonic() - started:.1f} s")
    for name, count in reasons.most_common():
        say(f"{count:8d}  {name}")
    if found is None:
        return 0
    given.save.parent.mkdir(parents=True, exist_ok=True)
    say(report(make, *found, given.save))
    return 1


if __name__ == "__main__":
    sys.exit(main())
