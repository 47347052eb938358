"""What ``t1edge bench`` measures: the engine's work on packets of established sessions, in clocks and packets a second.

A case is named after its traffic.  It builds an edge, opens its sessions by sending one packet each, and then times
bursts of 256 frames from raw frame to valid, rewritten frame: flows are drawn uniformly from a seed, half of the
packets are replies, counters and timers are on.  Copying frames into a burst is not timed, neither is the check that
every packet did what it should.
"""

from __future__ import annotations

import os
import platform
import random
import shutil
import statistics
import struct
import time
from array import array
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from edge.errors import EdgeError
from edge.verdicts import Outcome, Reason, Verdict

if TYPE_CHECKING:
    from edge.runtime import Edge

SEED = 1
TRIALS = 21
BURST = 256
DRAWS = 4096 * BURST
"""How many packets are drawn; all trials together walk through them about once."""

FRAGMENTED = 0.1
"""Share of the datagrams that come in two pieces."""

FIRST_BATCH = 65_536
INSIDE = 10 << 24 | 20 << 16  # 10.20.0.0/16
REMOTE = 198 << 24 | 18 << 16  # 198.18.0.0/15, the range of RFC 2544 for benchmarks
REMOTE_PORT = 443
NOW_NS = 1_000_000_000
PAYLOAD = bytes(22)


class BenchmarkError(EdgeError):
    """A case that cannot be measured: the packets did not do what the case says they do."""

    reason = "BENCHMARK_FAILED"


@dataclass(frozen=True, slots=True)
class Measurement:
    """One case: packets a second and clocks a packet, one sample a trial."""

    name: str
    packets_per_second: tuple[float, ...]
    clocks_per_packet: tuple[float, ...]
    clocks_undisturbed: tuple[float, ...] = ()
    """Of a case that is about how some packets disturb others: clocks a packet of the others by themselves."""

    def to_json(self) -> dict[str, object]:
        """The object that ``--json`` prints for this case."""
        document: dict[str, object] = {
            "name": self.name,
            "unit": "packets/s",
            "median": round(statistics.median(self.packets_per_second)),
            "spread": round(spread(self.packets_per_second), 4),
            "samples": [round(sample) for sample in self.packets_per_second],
            "clocksPerPacket": {
                "median": round(statistics.median(self.clocks_per_packet), 1),
                "spread": round(spread(self.clocks_per_packet), 4),
                "samples": [round(sample, 1) for sample in self.clocks_per_packet],
            },
        }
        if self.clocks_undisturbed:
            document["clocksUndisturbed"] = {
                "median": round(statistics.median(self.clocks_undisturbed), 1),
                "spread": round(spread(self.clocks_undisturbed), 4),
                "samples": [round(sample, 1) for sample in self.clocks_undisturbed],
            }
        return document


def spread(samples: Sequence[float]) -> float:
    """The middle half of the samples, from end to end, as a share of the median."""
    low, middle, high = statistics.quantiles(samples, n=4, method="inclusive")
    return (high - low) / middle


def middle(samples: Sequence[int]) -> float:
    """The mean of the middle half of the samples, which whatever else the machine did has not touched."""
    ranked = sorted(samples)
    quarter = len(ranked) // 4
    return statistics.fmean(ranked[quarter : len(ranked) - quarter])


Case = tuple[str, Callable[[int], Measurement]]
"""Name, and what measures it in so many trials."""


def established(sessions: int, trials: int, draws: int = DRAWS) -> Measurement:
    """UDP packets of 64 bytes with the sessions' SNAT, drawn from ``sessions`` flows; firewall of ten rules.

    Raises BenchmarkError when a packet does anything else.
    """
    generator = random.Random(SEED)  # noqa: S311 - repeatable, not secret
    edge, flows = _established_edge(sessions, generator)
    frames, ports, order = _draw(edge, flows, generator, draws)
    _check(edge, frames, ports)
    bursts = draws // BURST // trials
    _time(edge, frames, ports, order, trials=1, bursts=bursts)  # warms caches and branch predictors
    before = edge.stats()
    ticks_per_second = tick_rate()
    clocks = _time(edge, frames, ports, order, trials=trials, bursts=bursts)
    after = edge.stats()
    packets = bursts * BURST
    if (
        after.sessions_created != sessions
        or after.reasons[Reason.SESSION] - before.reasons[Reason.SESSION] != trials * packets
    ):
        raise BenchmarkError("not every packet belonged to an established session")
    _check(edge, frames, ports)
    return Measurement(
        f"established_{_short(sessions)}",
        tuple(packets * ticks_per_second / sample for sample in clocks),
        tuple(sample / packets for sample in clocks),
    )


def fragments(sessions: int, trials: int, draws: int = DRAWS) -> Measurement:
    """The packets of :func:`established` while every tenth datagram comes as two fragments: clocks of the others.

    Bursts of all packets, of the others alone and of the fragments alone take turns.  What is reported is the cost of
    the first without that of the last, for each of the others, so that whatever the fragments do to their neighbours
    (caches, branches) shows; the second is what those take undisturbed.  Of a trial's bursts the middle half counts.
    Raises BenchmarkError when a datagram does not become whole, or a packet does not belong to its session.
    """
    generator = random.Random(SEED)  # noqa: S311 - repeatable, not secret
    edge, flows = _established_edge(sessions, generator)
    frames, ports, order = _draw(edge, flows, generator, draws)
    _check(edge, frames, ports)
    pairs = _draw_pairs(frames, ports)
    before = edge.stats()
    rate = tick_rate()
    disturbed, undisturbed = [], []
    firsts = packets = 0
    size = draws // (trials + 1) // BURST * BURST
    for trial in range(trials + 1):
        turns, share = _turns(order[trial * size : (trial + 1) * size], pairs, generator)
        clocks = _time(edge, frames, ports, turns, trials=len(turns) // BURST, bursts=1)
        packets += len(turns)
        firsts += sum(number >= pairs[0][0] and (number - pairs[0][0]) % 2 == 0 for number in turns)
        if trial:  # the first one warms caches and branch predictors
            mixed = middle([*clocks[0::6], *clocks[4::6]]) / BURST
            others = middle([*clocks[1::6], *clocks[3::6]]) / BURST
            pieces = middle(clocks[2::3]) / BURST
            disturbed.append((mixed - pieces * share) / (1 - share))
            undisturbed.append(others)
    after = edge.stats()
    done = after.reasons[Reason.SESSION] - before.reasons[Reason.SESSION]
    if after.datagrams_reassembled != firsts or done != packets - firsts or after.sessions_created != sessions:
        raise BenchmarkError("not every datagram in pieces became whole and belonged to an established session")
    return Measurement(
        "fragments_10pct", tuple(rate / sample for sample in disturbed), tuple(disturbed), tuple(undisturbed)
    )


CASES: tuple[Case, ...] = (
    ("established_1", lambda trials: established(1, trials)),
    ("established_10k", lambda trials: established(10_000, trials)),
    ("established_1m", lambda trials: established(1_000_000, trials)),
    ("fragments_10pct", lambda trials: fragments(10_000, trials)),
)

PEERS = (("nftables", "nft"), ("iptables", "iptables"), ("VPP", "vpp"))
"""Programs that users would pick instead, and the commands by which they are found."""


def run(pattern: str = "", trials: int = TRIALS, started: Callable[[str], None] | None = None) -> list[Measurement]:
    """Measure the case called ``pattern``, or those whose names contain it, on one processor; ``started`` hears of each
    before it runs.

    Raises BenchmarkError when no case has such a name, or one cannot be measured.
    """
    chosen = [case for case in CASES if case[0] == pattern] or [case for case in CASES if pattern in case[0]]
    if not chosen:
        raise BenchmarkError(f"no case has {pattern!r} in its name; there are {', '.join(name for name, _ in CASES)}")
    results = []
    with _pinned():
        for name, measure in chosen:
            if started is not None:
                started(name)
            results.append(measure(trials))
    return results


def peers() -> list[dict[str, str]]:
    """What is known about each peer: whether it is installed, and why it was not measured."""
    found = []
    for name, command in PEERS:
        if shutil.which(command) is None:
            found.append({"name": name, "status": "ABSENT", "detail": f"the command {command} is not installed"})
        else:
            detail = "forwards in its own process or in the kernel; no case of these measures that"
            found.append({"name": name, "status": "NOT_MEASURED", "detail": detail})
    return found


def environment() -> dict[str, object]:
    """Where the numbers come from: processor, kernel, Python, compiler."""
    from native.machine import COMPILER

    cpu = _cpu_info()
    return {
        "cpu": cpu.get("model name", platform.processor() or platform.machine()),
        "cpuFlags": cpu.get("flags", cpu.get("Features", "")).split(),
        "cpus": os.cpu_count(),
        "ticksPerSecond": round(tick_rate()),
        "machine": platform.machine(),
        "kernel": platform.release(),
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


# --- traffic --------------------------------------------------------------------------------------------------------

_FRAME = struct.Struct("!12sHBBHHHBBHIIHHHH")
_ETHERNET_ADDRESSES = bytes.fromhex("020000000100 020000000200")


def udp_frame(
    source: int, source_port: int, destination: int, destination_port: int, payload: bytes = PAYLOAD
) -> bytes:
    """An Ethernet frame with an IPv4 UDP packet and valid checksums; addresses are integers, ``payload`` is zeros.

    With the default payload it has 64 bytes.
    """
    length = 8 + len(payload)
    addresses = (source >> 16) + (source & 0xFFFF) + (destination >> 16) + (destination & 0xFFFF)
    header = _checksum(0x4500 + 20 + length + 0x4000 + 0x4011 + addresses)
    datagram = _checksum(addresses + 17 + 2 * length + source_port + destination_port) or 0xFFFF
    return (
        _FRAME.pack(
            _ETHERNET_ADDRESSES,
            0x0800,
            0x45,
            0,
            20 + length,
            0,
            0x4000,
            64,
            17,
            header,
            source,
            destination,
            source_port,
            destination_port,
            length,
            datagram,
        )
        + payload
    )


def _checksum(total: int) -> int:
    """The Internet checksum (RFC 1071) of words that add up to ``total``."""
    while total > 0xFFFF:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


Flow = tuple[int, int, int]
"""A machine's source port above 10,000, its number, and the number of the remote address."""


def _forward(flow: Flow) -> bytes:
    port, host, remote = flow
    return udp_frame(INSIDE + 256 + host, 10_000 + port, REMOTE + remote, REMOTE_PORT)


def _backward(flow: Flow) -> bytes:
    port, host, remote = flow
    return udp_frame(REMOTE + remote, REMOTE_PORT, INSIDE + 256 + host, 10_000 + port)


def _established_edge(sessions: int, generator: random.Random) -> tuple[Edge, list[Flow]]:
    """An edge with that many sessions, and their flows."""
    from edge.document import from_data
    from edge.runtime import Edge

    edge = Edge(from_data(_document()).config, seed=SEED)
    flows = [(*divmod(number, 16_384), generator.randrange(1 << 17)) for number in range(sessions)]
    _open_sessions(edge, flows)
    return edge, flows


def _open_sessions(edge: Edge, flows: Sequence[Flow]) -> None:
    """One packet of each flow; a last burst that is not full begins again at the first flow."""
    for start in range(0, len(flows), FIRST_BATCH):
        frames = [_forward(flow) for flow in flows[start : start + FIRST_BATCH]]
        bursts = -(-len(frames) // BURST)
        _time(edge, frames, ["LAN"] * len(frames), range(len(frames)), trials=1, bursts=bursts)
    if edge.stats().sessions_open != len(flows):
        raise BenchmarkError(f"{edge.stats().sessions_open:,} sessions opened; {len(flows):,} were expected")


def _draw(
    edge: Edge, flows: Sequence[Flow], generator: random.Random, draws: int
) -> tuple[list[bytes], list[str], array[int]]:
    """Frames, their ports, and which of them each drawn packet is: half of them replies to what NAT made of a flow."""
    uplink = edge.config.routing.uplinks[0].name
    frames: list[bytes] = []
    ports: list[str] = []
    known: dict[int, int] = {}
    order = array("I")
    for _ in range(draws):
        draw = generator.randrange(2 * len(flows))
        number = known.get(draw)
        if number is None:
            number = known[draw] = len(frames)
            flow = flows[draw >> 1]
            port, frame = ("LAN", _forward(flow)) if draw & 1 else edge.map_reply(uplink, _backward(flow), 0)
            frames.append(frame)
            ports.append(port)
        order.append(number)
    return frames, ports, order


def _draw_pairs(frames: list[bytes], ports: list[str]) -> list[tuple[int, int]]:
    """Adds to the frames the two halves of each: their numbers."""
    pairs = []
    for number in range(len(frames)):
        pairs.append((len(frames), len(frames) + 1))
        frames += _two_pieces(frames[number], number & 0xFFFF)
        ports += [ports[number]] * 2
    return pairs


def _two_pieces(frame: bytes, identification: int) -> tuple[bytes, bytes]:
    """An IPv4 datagram without options as two fragments of about the same size (RFC 791)."""
    first = (len(frame) - 34 + 8) // 16 * 8
    pieces = []
    for data, flags in ((frame[34 : 34 + first], 0x2000), (frame[34 + first :], first // 8)):
        words = list(struct.unpack("!10H", frame[14:34]))
        words[1:4] = 20 + len(data), identification, flags
        words[5] = 0
        words[5] = _checksum(sum(words))
        pieces.append(frame[:14] + struct.pack("!10H", *words) + data)
    return pieces[0], pieces[1]


def _turns(
    order: Sequence[int], pairs: Sequence[tuple[int, int]], generator: random.Random
) -> tuple[array[int], float]:
    """Bursts of all packets, of the others and of the fragments in turn, and the share of fragments in the first.

    The first two change places each time, so that neither always finds the caches as the fragments left them.
    Every tenth datagram is one of the pairs, so that of the packets of ``order`` not all are needed.
    """
    turns = array("I")
    drawn = iter(order)
    fragments = 0
    for number in range(len(order) // BURST):
        mixed: list[int] = []
        while len(mixed) < BURST:
            if generator.random() < FRAGMENTED and len(mixed) < BURST - 1:
                mixed += generator.choice(pairs)
                fragments += 2
            else:
                mixed.append(next(drawn))
        others = generator.choices(order, k=BURST)
        for burst in (mixed, others) if number % 2 == 0 else (others, mixed):
            turns.extend(burst)
        for pair in generator.choices(pairs, k=BURST // 2):
            turns.extend(pair)
    return turns, fragments / len(order)


def _time(
    edge: Edge, frames: Sequence[bytes], ports: Sequence[str], order: Sequence[int], *, trials: int, bursts: int
) -> list[int]:
    """Clocks of each trial; BenchmarkError when a packet was not allowed."""
    try:
        return edge.time_bursts(frames, ports, order, trials=trials, bursts=bursts)
    except ValueError as error:
        raise BenchmarkError(str(error)) from error


def _check(edge: Edge, frames: Sequence[bytes], ports: Sequence[str]) -> None:
    """Send some of the frames one by one, and look at what comes out."""
    step = max(1, len(frames) // 64)
    for frame, port in zip(frames[::step], ports[::step], strict=True):
        outcome = edge.process(port, frame, NOW_NS)
        if (outcome.verdict, outcome.reason) != (Verdict.ALLOW, Reason.SESSION) or not _rewritten(port, outcome):
            raise BenchmarkError(f"a packet of an established session ended as {outcome.reason.name}")


def _rewritten(port: str, outcome: Outcome) -> bool:
    """Did the packet leave on the other side, with its public address there, and with right checksums?"""
    (output,) = outcome.outputs
    ip = output.frame[14:]
    inside = INSIDE.to_bytes(4, "big")[:2]
    if port == "LAN":
        translated = output.port != "LAN" and not ip[12:16].startswith(inside)
    else:
        translated = output.port == "LAN" and ip[16:20].startswith(inside)
    words = struct.unpack(f"!{len(ip) // 2}H", ip)
    pseudo_header = sum(words[6:10]) + 17 + len(ip) - 20
    return translated and _checksum(sum(words[:10])) == 0 and _checksum(pseudo_header + sum(words[10:])) == 0


def snat_document(user_rules: list[dict[str, object]]) -> dict[str, object]:
    """An edge with one network, 10.20.0.0/16, that leaves by SNAT to one address, if these firewall rules let it."""
    subnet = {
        "gateway": "203.0.113.1",
        "prefixLength": 24,
        "primaryIp": "203.0.113.10",
        "ipRanges": [{"startAddress": "203.0.113.10", "endAddress": "203.0.113.11"}],
    }
    return {
        "edgeGateway": {"name": "T1-BENCH", "edgeGatewayUplinks": [{"uplinkName": "INTERNET", "subnets": [subnet]}]},
        "orgVdcNetworks": [
            {
                "name": "LAN",
                "networkType": "NAT_ROUTED",
                "connection": {"connectionTypeValue": "INTERNAL"},
                "subnets": [{"gateway": "10.20.0.1", "prefixLength": 16}],
            }
        ],
        "firewallRules": {"userDefinedRules": user_rules},
        "natRules": [
            {
                "name": "internet",
                "type": "SNAT",
                "externalAddresses": "203.0.113.10",
                "internalAddresses": "10.20.0.0/16",
            }
        ],
    }


def _document() -> dict[str, object]:
    """The edge of every case: ten firewall rules, the last of which lets everything out, and SNAT."""
    closed: list[dict[str, object]] = [
        {
            "name": f"service-{number}",
            "actionValue": "DROP",
            "sourceFirewallIpAddresses": [f"10.20.{200 + number}.0/24"],
            "destinationFirewallIpAddresses": [f"192.0.2.{number}"],
            "rawPortProtocols": [{"layer4Item": {"protocol": "TCP", "destinationPorts": [str(8000 + number)]}}],
        }
        for number in range(9)
    ]
    out: dict[str, object] = {"name": "out", "actionValue": "ALLOW", "sourceFirewallIpAddresses": ["10.20.0.0/16"]}
    return snat_document([*closed, out])


# --- the machine ----------------------------------------------------------------------------------------------------


def _short(count: int) -> str:
    """1, 10k, 1m."""
    for size, letter in ((1_000_000, "m"), (1_000, "k")):
        if count >= size and count % size == 0:
            return f"{count // size}{letter}"
    return str(count)


@contextmanager
def _pinned() -> Iterator[None]:
    """Keeps this process on one processor, so that caches stay warm and counters belong together."""
    allowed = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {max(allowed)})
    try:
        yield
    finally:
        os.sched_setaffinity(0, allowed)


def _cpu_info() -> dict[str, str]:
    """The fields of the first processor in /proc/cpuinfo; empty where there is none."""
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        return {}
    pairs = (line.partition(":") for line in text.split("\n\n", 1)[0].splitlines())
    return {key.strip(): value.strip() for key, _, value in pairs}
