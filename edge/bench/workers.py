"""Two workers beside one: processor time a packet, on the same flows in the same run, by turns.

Half of the flows leave by SNAT, half come in by DNAT; half of their packets are replies, drawn uniformly.  Each worker
is a thread on a processor of its own, and each frame comes in at some worker: at its owner, where the kernel places it
for an edge that is served (:mod:`edge.placing`), or at either, so that half of them are handed over.
"""

from __future__ import annotations

import os
import random
import statistics
from array import array
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from ipaddress import IPv4Address

from edge.bench.documents import SERVED_AS, SERVER, translated_document
from edge.bench.established import (
    BURST,
    DRAWS,
    INSIDE,
    REMOTE,
    REMOTE_PORT,
    Flow,
    Kind,
    check,
    draw,
)
from edge.bench.frames import udp_frame
from edge.bench.measurement import SEED, BenchmarkError, Measurement, ratio_of_medians
from edge.verdicts import Reason
from edge.workers import Workers

STEP_NS = 50_000
SECOND_NS = 1_000_000_000
SERVED, SERVES = int(IPv4Address(SERVED_AS)), int(IPv4Address(SERVER))


@dataclass(frozen=True, slots=True)
class Arrivals:
    """What comes in at one worker."""

    frames: list[bytes]
    ports: list[str]
    order: array[int]


def two_workers(sessions: int, trials: int, draws: int = DRAWS) -> Measurement:
    """Packets of 64 bytes of ``sessions`` flows.  The samples are packets a second of processor time with two workers;
    the details have the ratios of processor time a packet: to that with one worker, for frames that come in at their
    owner and for frames that come in anywhere.

    Raises BenchmarkError when a packet does anything but belong to its session.
    """
    one, alone = _established(1, sessions, draws)
    two, placed = _established(2, sessions, draws)
    scattered = _scattered(placed)
    bursts = draws // BURST // trials
    if bursts < 2:
        raise BenchmarkError(f"{draws} packets are too few for {trials} trials of two workers")
    costs: list[list[float]] = [[], [], []]
    shares = [0.0, 0.0, 0.0]
    for _ in range(trials + 1):
        turns = ((one, alone, bursts), (two, placed, bursts // 2), (two, scattered, bursts // 2))
        for place, (workers, arrivals, count) in enumerate(turns):
            cost, shares[place] = _time(workers, arrivals, count)
            costs[place].append(cost)
    measured = [tuple(found[1:]) for found in costs]  # the first one warms caches and branch predictors
    for workers, arrivals in ((one, alone), (two, placed)):
        _check(workers, arrivals)
    return Measurement(
        "two_workers",
        tuple(SECOND_NS / cost for cost in measured[1]),
        details={
            "sessions": sessions,
            "rules": 11,
            "natRules": 2,
            "nsPerPacketOneWorker": round(statistics.median(measured[0]), 2),
            "nsPerPacketTwoWorkers": round(statistics.median(measured[1]), 2),
            "nsPerPacketHandedOver": round(statistics.median(measured[2]), 2),
            "ratio": _ratio(measured[0], measured[1]),
            "ratioHandedOver": _ratio(measured[0], measured[2]),
            "processors": min(2, os.cpu_count() or 1),
            "handedOver": [round(share, 3) for share in shares[1:]],
        },
    )


def _ratio(one: Sequence[float], two: Sequence[float]) -> dict[str, float]:
    middle, low, high = ratio_of_medians(one, two)
    return {"median": round(middle, 3), "low": round(low, 3), "high": round(high, 3)}


def _established(workers: int, sessions: int, draws: int) -> tuple[Workers, list[Arrivals]]:
    """An edge with that many sessions, and what comes in at each worker: packets of its own sessions."""
    from edge.document import from_data

    generator = random.Random(SEED)  # noqa: S311 - repeatable, not secret
    edge = Workers(from_data(translated_document()).config, workers, seed=SEED)
    flows = [(*divmod(number, 16_384), generator.randrange(1 << 17)) for number in range(sessions)]
    _open(edge, flows)
    arrivals = []
    for number in range(edge.workers):
        mine = [flow for flow in flows if edge.owner(_forward(flow, 64)) == number]
        arrivals.append(Arrivals(*draw(edge, mine, generator, draws // workers, TRANSLATED, ((1, 64),))))
    _check(edge, arrivals)
    return edge, arrivals


def _open(edge: Workers, flows: Sequence[Flow]) -> None:
    uplink = edge.config.routing.uplinks[0].name
    packets = [
        ("LAN", frame) if inside else edge.map_reply(uplink, frame, 0)
        for flow in flows
        for inside, frame in TRANSLATED.opening(flow)
    ]
    for first in range(0, len(packets), BURST):
        edge.process_batch(packets[first : first + BURST], 0, outputs=False)
    if edge.stats().sessions_open != len(flows):
        raise BenchmarkError(f"{edge.stats().sessions_open:,} sessions opened; {len(flows):,} were expected")


def _scattered(placed: Sequence[Arrivals]) -> list[Arrivals]:
    """The same packets, each at a worker drawn at random."""
    generator = random.Random(SEED)  # noqa: S311 - repeatable, not secret
    frames = [frame for item in placed for frame in item.frames]
    ports = [port for item in placed for port in item.ports]
    order = array("I")
    first = 0
    for item in placed:
        order.extend(first + number for number in item.order)
        first += len(item.frames)
    return [Arrivals(frames, ports, array("I", generator.sample(order, len(order)))) for _ in placed]


def _time(workers: Workers, arrivals: Sequence[Arrivals], bursts: int) -> tuple[float, float]:
    """Nanoseconds of processor time a packet, of all workers together, and the share of packets handed over."""
    before = _of_sessions(workers)
    with ThreadPoolExecutor(len(arrivals)) as threads:
        running = [
            threads.submit(_run, workers, number, item, bursts, len(arrivals)) for number, item in enumerate(arrivals)
        ]
        done = [item.result() for item in running]
    packets = bursts * BURST * len(arrivals)
    if _of_sessions(workers) - before != packets:
        raise BenchmarkError("not every packet belonged to an established session")
    return sum(spent for spent, _ in done) / packets, sum(handed for _, handed in done) / packets


def _run(workers: Workers, number: int, arrivals: Arrivals, bursts: int, threads: int) -> tuple[int, int]:
    """One worker, on its own processor where the machine has enough: the first ones, whatever the process was given."""
    if threads > 1 and (os.cpu_count() or 1) >= threads:
        try:
            os.sched_setaffinity(0, {number})
        except OSError as error:
            raise BenchmarkError(f"processor {number} is not to be had, and two workers need one each") from error
    ports = array("H", [workers.port_number(port) for port in arrivals.ports])
    try:
        return workers.lane(number).time_bursts(arrivals.frames, ports, arrivals.order, 0, bursts, STEP_NS)
    except ValueError as error:
        raise BenchmarkError(str(error)) from error


def _of_sessions(workers: Workers) -> int:
    return workers.stats().reasons.get(Reason.SESSION, 0)


def _check(workers: Workers, arrivals: Sequence[Arrivals]) -> None:
    for item in arrivals:
        check(workers, item.frames, item.ports, TRANSLATED)


# --- traffic --------------------------------------------------------------------------------------------------------


def _comes_in(flow: Flow) -> bool:
    return flow[1] % 2 == 1


def _forward(flow: Flow, size: int) -> bytes:
    """From inside: a request of a machine, or the server's answer."""
    port, host, remote = flow
    payload = bytes(size - 42)
    if _comes_in(flow):
        return udp_frame(SERVES, REMOTE_PORT + port, REMOTE + remote, 10_000 + host, payload)
    return udp_frame(INSIDE + 256 + host, 10_000 + port, REMOTE + remote, REMOTE_PORT, payload)


def _backward(flow: Flow, size: int) -> bytes:
    """From outside: what answers a machine, as that would see it, or a request to the server."""
    port, host, remote = flow
    payload = bytes(size - 42)
    if _comes_in(flow):
        return udp_frame(REMOTE + remote, 10_000 + host, SERVED, REMOTE_PORT + port, payload)
    return udp_frame(REMOTE + remote, REMOTE_PORT, INSIDE + 256 + host, 10_000 + port, payload)


def _opening(flow: Flow) -> tuple[tuple[bool, bytes], ...]:
    return ((False, _backward(flow, 64)),) if _comes_in(flow) else ((True, _forward(flow, 64)),)


TRANSLATED = Kind(translated_document, _forward, _backward, _opening)
