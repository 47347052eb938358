"""Packets of established sessions: drawn uniformly from many flows, half of them replies.

A case builds an edge, opens its sessions, and times bursts of 256 frames from raw frame to valid, rewritten frame;
counters and timers are on.  Copying frames into a burst is not timed, neither is the check that every packet did what
it should.
"""

from __future__ import annotations

import random
from array import array
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from edge.bench.documents import established_document, ipv6_document
from edge.bench.frames import (
    ACK,
    SYN,
    SYN_ACK,
    checksums_hold,
    tcp_frame,
    udp6_frame,
    udp_frame,
)
from edge.bench.machine import tick_rate
from edge.bench.measurement import SEED, BenchmarkError, Measurement
from edge.verdicts import Outcome, Reason, Verdict

if TYPE_CHECKING:
    from edge.runtime import Edge

BURST = 256
DRAWS = 4096 * BURST
"""How many packets are drawn; all trials together walk through them about once."""

IMIX = ((28, 64), (16, 570), (4, 1518))
"""Weights and sizes; a size counts the checksum that Ethernet adds behind the frame."""

FCS = 4
FIRST_BATCH = 65_536
INSIDE = 10 << 24 | 20 << 16  # 10.20.0.0/16
REMOTE = 198 << 24 | 18 << 16  # 198.18.0.0/15, the range of RFC 2544 for benchmarks
INSIDE6 = 0x2001_0DB8_0020 << 80  # 2001:db8:20::/64
REMOTE6 = 0x2001_0002 << 96  # 2001:2::/48, the range of RFC 5180 for benchmarks
REMOTE_PORT = 443
NOW_NS = 1_000_000_000

Flow = tuple[int, int, int]
"""A machine's source port above 10,000, its number, and the number of the remote address."""


@dataclass(frozen=True, slots=True)
class Kind:
    """What flows are made of: frames from inside and from outside, and those that open a session."""

    document: Callable[[], dict[str, object]]
    forward: Callable[[Flow, int], bytes]
    """A packet from inside; the number is the size of the frame."""

    backward: Callable[[Flow, int], bytes]
    opening: Callable[[Flow], tuple[tuple[bool, bytes], ...]]
    """Packets before those that are measured: from inside? and the frame."""

    translated: bool = True


def established(sessions: int, trials: int, draws: int = DRAWS, kind: str = "udp", name: str = "") -> Measurement:
    """Packets of 64 bytes with the sessions' SNAT, drawn from ``sessions`` flows; firewall of ten rules.

    Raises BenchmarkError when a packet does anything else.
    """
    return _measure(name or f"established_{short(sessions)}", KINDS[kind], sessions, ((1, 64),), trials, draws)


def imix(sessions: int, trials: int, draws: int = DRAWS) -> Measurement:
    """Likewise packets of the sizes of IMIX, one flow of TCP beside one of UDP."""
    sizes = tuple((weight, size - FCS) for weight, size in IMIX)
    return _measure("mixed_imix", KINDS["mixed"], sessions, sizes, trials, draws)


def _measure(
    name: str, kind: Kind, sessions: int, sizes: Sequence[tuple[int, int]], trials: int, draws: int
) -> Measurement:
    generator = random.Random(SEED)  # noqa: S311 - repeatable, not secret
    edge, flows = established_edge(sessions, generator, kind)
    frames, ports, order = draw(edge, flows, generator, draws, kind, sizes)
    check(edge, frames, ports, kind)
    bursts = draws // BURST // trials
    time_packets(edge, frames, ports, order, trials=1, bursts=bursts)  # warms caches and branch predictors
    before = edge.stats()
    ticks_per_second = tick_rate()
    clocks = time_packets(edge, frames, ports, order, trials=trials, bursts=bursts)
    after = edge.stats()
    packets = bursts * BURST
    if (
        after.sessions_created != sessions
        or after.reasons[Reason.SESSION] - before.reasons[Reason.SESSION] != trials * packets
    ):
        raise BenchmarkError("not every packet belonged to an established session")
    check(edge, frames, ports, kind)
    size = sum(len(frames[number]) for number in order) / len(order)
    return Measurement(
        name,
        tuple(packets * ticks_per_second / sample for sample in clocks),
        tuple(sample / packets for sample in clocks),
        details={"sessions": sessions, "rules": 10, "bytesPerPacket": round(size, 1)},
    )


def short(count: int) -> str:
    """1, 10k, 1m."""
    for size, letter in ((1_000_000, "m"), (1_000, "k")):
        if count >= size and count % size == 0:
            return f"{count // size}{letter}"
    return str(count)


# --- traffic --------------------------------------------------------------------------------------------------------


def _udp_forward(flow: Flow, size: int) -> bytes:
    port, host, remote = flow
    return udp_frame(INSIDE + 256 + host, 10_000 + port, REMOTE + remote, REMOTE_PORT, bytes(size - 42))


def _udp_backward(flow: Flow, size: int) -> bytes:
    port, host, remote = flow
    return udp_frame(REMOTE + remote, REMOTE_PORT, INSIDE + 256 + host, 10_000 + port, bytes(size - 42))


def _tcp_forward(flow: Flow, size: int, flags: int = ACK) -> bytes:
    port, host, remote = flow
    return tcp_frame(
        INSIDE + 256 + host,
        10_000 + port,
        REMOTE + remote,
        REMOTE_PORT,
        flags=flags,
        sequence=1000 + (flags != SYN),
        acknowledged=0 if flags == SYN else 5001,
        payload=bytes(size - 54),
    )


def _tcp_backward(flow: Flow, size: int, flags: int = ACK) -> bytes:
    port, host, remote = flow
    return tcp_frame(
        REMOTE + remote,
        REMOTE_PORT,
        INSIDE + 256 + host,
        10_000 + port,
        flags=flags,
        sequence=5000 + (flags != SYN_ACK),
        acknowledged=1001,
        payload=bytes(size - 54),
    )


def _udp6_forward(flow: Flow, size: int) -> bytes:
    port, host, remote = flow
    return udp6_frame(INSIDE6 + 256 + host, 10_000 + port, REMOTE6 + remote, REMOTE_PORT, bytes(size - 62))


def _udp6_backward(flow: Flow, size: int) -> bytes:
    port, host, remote = flow
    return udp6_frame(REMOTE6 + remote, REMOTE_PORT, INSIDE6 + 256 + host, 10_000 + port, bytes(size - 62))


def _handshake(flow: Flow) -> tuple[tuple[bool, bytes], ...]:
    """A connection's first three segments."""
    return (
        (True, _tcp_forward(flow, 54, SYN)),
        (False, _tcp_backward(flow, 54, SYN_ACK)),
        (True, _tcp_forward(flow, 54)),
    )


def _is_tcp(flow: Flow) -> bool:
    return flow[1] % 2 == 1


KINDS = {
    "udp": Kind(established_document, _udp_forward, _udp_backward, lambda flow: ((True, _udp_forward(flow, 64)),)),
    "tcp": Kind(established_document, _tcp_forward, _tcp_backward, _handshake),
    "ipv6": Kind(
        ipv6_document,
        _udp6_forward,
        _udp6_backward,
        lambda flow: ((True, _udp6_forward(flow, 64)),),
        translated=False,
    ),
    "mixed": Kind(
        established_document,
        lambda flow, size: (_tcp_forward if _is_tcp(flow) else _udp_forward)(flow, size),
        lambda flow, size: (_tcp_backward if _is_tcp(flow) else _udp_backward)(flow, size),
        lambda flow: _handshake(flow) if _is_tcp(flow) else ((True, _udp_forward(flow, 64)),),
    ),
}


def established_edge(sessions: int, generator: random.Random, kind: Kind) -> tuple[Edge, list[Flow]]:
    """An edge with that many sessions, and their flows."""
    from edge.document import from_data
    from edge.runtime import Edge

    edge = Edge(from_data(kind.document()).config, seed=SEED)
    flows = [(*divmod(number, 16_384), generator.randrange(1 << 17)) for number in range(sessions)]
    open_sessions(edge, flows, kind)
    return edge, flows


def open_sessions(edge: Edge, flows: Sequence[Flow], kind: Kind) -> None:
    """The packets that open each flow; a last burst that is not full begins again at the first flow."""
    uplink = edge.config.routing.uplinks[0].name
    for start in range(0, len(flows), FIRST_BATCH):
        batch = [kind.opening(flow) for flow in flows[start : start + FIRST_BATCH]]
        for step in range(max(map(len, batch))):
            packets = [
                ("LAN", opening[step][1]) if opening[step][0] else edge.map_reply(uplink, opening[step][1], 0)
                for opening in batch
                if step < len(opening)
            ]
            frames, ports = [frame for _, frame in packets], [port for port, _ in packets]
            bursts = -(-len(frames) // BURST)
            time_packets(edge, frames, ports, range(len(frames)), trials=1, bursts=bursts)
    if edge.stats().sessions_open != len(flows):
        raise BenchmarkError(f"{edge.stats().sessions_open:,} sessions opened; {len(flows):,} were expected")


def draw(
    edge: Edge,
    flows: Sequence[Flow],
    generator: random.Random,
    draws: int,
    kind: Kind,
    sizes: Sequence[tuple[int, int]],
) -> tuple[list[bytes], list[str], array[int]]:
    """Frames, their ports, and which of them each drawn packet is: half of them replies to what NAT made of a flow."""
    uplink = edge.config.routing.uplinks[0].name
    frames: list[bytes] = []
    ports: list[str] = []
    known: dict[tuple[int, int], int] = {}
    order = array("I")
    drawn_sizes = generator.choices([size for _, size in sizes], weights=[weight for weight, _ in sizes], k=draws)
    for size in drawn_sizes:
        draw = generator.randrange(2 * len(flows)), size
        number = known.get(draw)
        if number is None:
            number = known[draw] = len(frames)
            flow = flows[draw[0] >> 1]
            if draw[0] & 1:
                port, frame = "LAN", kind.forward(flow, size)
            else:
                port, frame = edge.map_reply(uplink, kind.backward(flow, size), 0)
            frames.append(frame)
            ports.append(port)
        order.append(number)
    return frames, ports, order


def time_packets(
    edge: Edge,
    frames: Sequence[bytes],
    ports: Sequence[str],
    order: Sequence[int],
    *,
    trials: int,
    bursts: int,
    aside: bytes | None = None,
) -> list[int]:
    """Clocks of each trial; BenchmarkError when a packet was not allowed."""
    try:
        return edge.time_bursts(frames, ports, order, trials=trials, bursts=bursts, aside=aside)
    except ValueError as error:
        raise BenchmarkError(str(error)) from error


def check(edge: Edge, frames: Sequence[bytes], ports: Sequence[str], kind: Kind) -> None:
    """Send some of the frames one by one, and look at what comes out."""
    step = max(1, len(frames) // 64)
    for frame, port in zip(frames[::step], ports[::step], strict=True):
        outcome = edge.process(port, frame, NOW_NS)
        if (outcome.verdict, outcome.reason) != (Verdict.ALLOW, Reason.SESSION) or not _rewritten(port, outcome, kind):
            raise BenchmarkError(f"a packet of an established session ended as {outcome.reason.name}")


def _rewritten(port: str, outcome: Outcome, kind: Kind) -> bool:
    """Did the packet leave on the other side, with its public address there, and with right checksums?"""
    (output,) = outcome.outputs
    out = port == "LAN"
    if (output.port == "LAN") == out or not checksums_hold(output.frame):
        return False
    if not kind.translated:
        return True
    inside = INSIDE.to_bytes(4, "big")[:2]
    ip = output.frame[14:]
    return not ip[12:16].startswith(inside) if out else ip[16:20].startswith(inside)
