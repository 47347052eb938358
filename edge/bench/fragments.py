"""What fragments cost the packets beside them."""

from __future__ import annotations

import random
import statistics
from array import array
from collections.abc import Sequence
from dataclasses import dataclass

from edge.bench.established import BURST, DRAWS, KINDS, check, draw, established_edge, time_packets
from edge.bench.frames import two_pieces
from edge.bench.machine import tick_rate
from edge.bench.measurement import SEED, BenchmarkError, Measurement, middle
from edge.verdicts import Reason

FRAGMENTED = 0.1
"""Share of the datagrams that come in two pieces."""


@dataclass(frozen=True, slots=True)
class Turns:
    """Bursts with fragments, of the others alone and of fragments alone, by turns.

    The first two change places each time, so that neither always finds the caches as fragments left them: of six bursts
    0 and 4 have fragments, 1 and 3 have none, 2 and 5 have nothing else.
    """

    frames: array[int]
    aside: bytes
    """By packet: 1 for a fragment among others, and for the packet of the next burst that stands where it does."""

    fragments: int
    """How many are among others; each datagram has two."""


@dataclass(frozen=True, slots=True)
class Clocks:
    """Clocks a packet of those that are no fragments; of a trial's bursts the middle half counts."""

    undisturbed: float
    among_fragments: float
    """Each packet timed by itself, with what reading the clock takes."""

    among_others: float
    """The same where packets like them are in the fragments' place."""

    remaining: float
    """What is left of bursts without what their fragments take alone."""


def fragments(sessions: int, trials: int, draws: int = DRAWS) -> Measurement:
    """The packets of :func:`established` while every tenth datagram comes as two fragments: clocks of the others.

    Each packet is timed by itself, without a branch that would tell the processor which comes next, and once more in
    bursts that have packets like the others in the fragments' place: the difference is what fragments cost the others.
    It is told on top of what a packet takes in bursts without fragments that are timed as a whole.  The details have
    another account, bursts as a whole less what fragments take alone, which charges the others with what fragments
    themselves take longer where they are rare.

    Raises BenchmarkError when a datagram does not become whole, or a packet does not belong to its session.
    """
    generator = random.Random(SEED)  # noqa: S311 - repeatable, not secret
    kind = KINDS["udp"]
    edge, flows = established_edge(sessions, generator, kind)
    frames, ports, order = draw(edge, flows, generator, draws, kind, ((1, 64),))
    check(edge, frames, ports, kind)
    pairs = _draw_pairs(frames, ports)
    before = edge.stats()
    clocks = []
    firsts = packets = 0
    size = draws // (trials + 1) // BURST * BURST
    for trial in range(trials + 1):
        turns = _turns(order[trial * size : (trial + 1) * size], pairs, generator)
        bursts = len(turns.frames) // BURST
        whole = time_packets(edge, frames, ports, turns.frames, trials=bursts, bursts=1)
        each = time_packets(edge, frames, ports, turns.frames, trials=bursts, bursts=1, aside=turns.aside)
        packets += 2 * len(turns.frames)
        firsts += turns.fragments + len(turns.frames) // 3
        if trial:  # the first one warms caches and branch predictors
            clocks.append(_clocks(turns, whole, each))
    after = edge.stats()
    done = after.reasons[Reason.SESSION] - before.reasons[Reason.SESSION]
    if after.datagrams_reassembled != firsts or done != packets - firsts or after.sessions_created != sessions:
        raise BenchmarkError("not every datagram in pieces became whole and belonged to an established session")
    disturbed = [trial.undisturbed + trial.among_fragments - trial.among_others for trial in clocks]
    rate = tick_rate()
    return Measurement(
        "fragments_10pct",
        tuple(rate / sample for sample in disturbed),
        tuple(disturbed),
        tuple(trial.undisturbed for trial in clocks),
        details={
            "timedEach": {
                "amongFragments": round(statistics.median(trial.among_fragments for trial in clocks), 1),
                "amongOthers": round(statistics.median(trial.among_others for trial in clocks), 1),
            },
            "wholeLessFragmentsAlone": round(statistics.median(trial.remaining for trial in clocks), 1),
        },
    )


def _clocks(turns: Turns, whole: Sequence[int], each: Sequence[int]) -> Clocks:
    """Of a trial, from the clocks of its bursts as a whole and of the packets in them that are not set aside."""
    others = [BURST - sum(turns.aside[first : first + BURST]) for first in range(0, len(turns.aside), BURST)]
    of_one = [clocks / count for clocks, count in zip(each, others, strict=True)]
    pieces = middle(whole[2::3]) / BURST
    share = turns.fragments / (len(turns.frames) // 3)
    return Clocks(
        undisturbed=middle([*whole[1::6], *whole[3::6]]) / BURST,
        among_fragments=middle([*of_one[0::6], *of_one[4::6]]),
        among_others=middle([*of_one[1::6], *of_one[3::6]]),
        remaining=(middle([*whole[0::6], *whole[4::6]]) / BURST - pieces * share) / (1 - share),
    )


def _draw_pairs(frames: list[bytes], ports: list[str]) -> list[tuple[int, int]]:
    """Adds to the frames the two halves of each: their numbers."""
    pairs = []
    for number in range(len(frames)):
        pairs.append((len(frames), len(frames) + 1))
        frames += two_pieces(frames[number], number & 0xFFFF)
        ports += [ports[number]] * 2
    return pairs


def _turns(order: Sequence[int], pairs: Sequence[tuple[int, int]], generator: random.Random) -> Turns:
    """Every tenth datagram among others is one of the pairs, so that of the packets of ``order`` not all are needed."""
    frames = array("I")
    aside = bytearray()
    drawn = iter(order)
    fragments = 0
    for number in range(len(order) // BURST):
        mixed: list[int] = []
        marks: list[int] = []
        while len(mixed) < BURST:
            if generator.random() < FRAGMENTED and len(mixed) < BURST - 1:
                mixed += generator.choice(pairs)
                marks += [1, 1]
            else:
                mixed.append(next(drawn))
                marks.append(0)
        fragments += sum(marks)
        others = generator.choices(order, k=BURST)
        for burst in (mixed, others) if number % 2 == 0 else (others, mixed):
            frames.extend(burst)
            aside += bytes(marks)
        for pair in generator.choices(pairs, k=BURST // 2):
            frames.extend(pair)
        aside += bytes(BURST)
    return Turns(frames, bytes(aside), fragments)
