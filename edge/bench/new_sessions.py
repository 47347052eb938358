"""First packets of sessions, while as many others end: what firewall, NAT and routing cost together.

A million sessions are live all the time.  Each packet opens one more; the edge's clock moves so fast that as many have
had no second packet for as long as they may and end, which gives their ports back.  That is part of what is timed.
"""

from __future__ import annotations

import random
from array import array
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from edge.bench.documents import PUBLIC, established_document, snat_document
from edge.bench.established import BURST, INSIDE, REMOTE, short
from edge.bench.frames import checksums_hold, udp_frame
from edge.bench.machine import tick_rate
from edge.bench.measurement import SEED, SESSIONS, BenchmarkError, Measurement
from edge.verdicts import Outcome, Verdict

if TYPE_CHECKING:
    from edge.model import EdgeConfig
    from edge.reference import ReferenceEdge
    from edge.runtime import Edge

LIVE = 1_000_000
SPARE = 1.3
"""How many flows there are for each live session: one comes again when its last session has ended."""

IDLE_S = 30
"""How long a session lives on one packet: the default of ``udpFirst``."""

FREE_PORT = 30_000
"""From here on the provider filters no port."""

TRIAL = 64 * BURST
CHECKED = 48
TOLERANCE = 0.05
NAT_ADDRESSES = 100
NAT_PORTS = 50


@dataclass(frozen=True, slots=True)
class Work:
    """An edge's document and a maker of packets, each the first of a session: the port it enters by, and the frame."""

    document: dict[str, Any]
    draw: Callable[[random.Random], tuple[str, bytes]]
    details: dict[str, object]


def new_sessions(rules: int, trials: int, live: int = LIVE) -> Measurement:
    """One session after another through ``rules`` firewall rules, of which each admits as many, and SNAT.

    Raises BenchmarkError when a packet does anything else.
    """
    return measure(f"new_sessions_{short(rules)}_rules", rules_work(rules), trials, live)


def nat_rules(rules: int, trials: int, live: int = LIVE) -> Measurement:
    """Likewise through ten firewall rules and ``rules`` NAT rules, half of them DNAT, each asked for as often."""
    return measure(f"nat_rules_{short(rules)}", nat_work(rules), trials, live)


def measure(name: str, work: Work, trials: int, live: int) -> Measurement:
    """Fill an edge until as many sessions end as begin, then time that."""
    from edge.document import from_data
    from edge.runtime import Edge

    generator = random.Random(SEED)  # noqa: S311 - repeatable, not secret
    document = {**work.document, "options": {"limits": "report", "maxSessions": round(live * (SPARE - 0.05))}}
    config = from_data(document).config
    frames, ports = draw_flows(work, generator, -(-round(live * SPARE) // BURST) * BURST)
    against_reference(config, frames, ports)
    edge = Edge(config, seed=SEED)
    order = array("I", range(len(frames)))
    step_ns = round(IDLE_S * 1_000_000_000 * BURST / live)

    def time(trials: int, bursts: int) -> list[int]:
        try:
            return edge.time_bursts(frames, ports, order, trials=trials, bursts=bursts, step_ns=step_ns)
        except ValueError as error:
            raise BenchmarkError(str(error)) from error

    time(1, len(frames) // BURST)  # every flow once, from here on they come again in this order
    rate = tick_rate()
    bursts = max(1, min(TRIAL, len(frames) // trials) // BURST)
    _steady(edge, live)
    before = edge.stats().sessions_created
    clocks = time(trials, bursts)
    _steady(edge, live)
    packets = bursts * BURST
    if edge.stats().sessions_created - before != packets * trials:
        raise BenchmarkError("not every packet opened a session")
    return Measurement(
        name,
        tuple(packets * rate / sample for sample in clocks),
        tuple(sample / packets for sample in clocks),
        unit=SESSIONS,
        details={"sessionsLive": edge.stats().sessions_open, **work.details},
    )


def draw_flows(work: Work, generator: random.Random, count: int) -> tuple[list[bytes], list[str]]:
    """So many first packets, no two of them alike, and the ports they enter by."""
    found: dict[bytes, str] = {}
    while len(found) < count:
        port, frame = work.draw(generator)
        found[frame] = port
    return list(found), list(found.values())


def against_reference(config: EdgeConfig, frames: Sequence[bytes], ports: Sequence[str]) -> None:
    """Some of the packets through an edge and through the readable reference: both do the same, by the same rules.

    Raises BenchmarkError where they do not, or where a packet does not leave with valid checksums.
    """
    from edge.reference import ReferenceEdge
    from edge.runtime import Edge

    edges: tuple[Edge, ReferenceEdge] = Edge(config, seed=SEED), ReferenceEdge(config, seed=SEED)
    for frame, port in zip(frames[:CHECKED], ports[:CHECKED], strict=True):
        native, reference = (edge.process(port, frame, 1_000_000_000) for edge in edges)
        if _told(native) != _told(reference):
            raise BenchmarkError(f"a packet ended as {_told(native)}; the reference says {_told(reference)}")
        if native.verdict is not Verdict.ALLOW or not checksums_hold(native.outputs[0].frame):
            raise BenchmarkError(f"a first packet ended as {native.reason.name}")


def _told(outcome: Outcome) -> tuple[object, ...]:
    rules = [step.rule_id for step in outcome.steps]
    return outcome.verdict.name, outcome.reason.name, rules, [(out.port, out.frame) for out in outcome.outputs]


def _steady(edge: Edge, live: int) -> None:
    """Raises BenchmarkError where not about as many sessions are open as there should be."""
    opened = edge.stats().sessions_open
    if abs(opened - live) > live * TOLERANCE + BURST:
        raise BenchmarkError(f"{opened:,} sessions are open; about {live:,} were expected")


# --- work -----------------------------------------------------------------------------------------------------------


def rules_work(count: int) -> Work:
    """Firewall rules with a source, a destination and a service each, and packets that each of them admits.

    A packet lies in the box of a rule that is drawn uniformly; it is admitted by that one, or by one before it.
    """
    generator = random.Random(f"rules {count}")  # noqa: S311 - repeatable, not secret
    boxes = [_box(generator) for _ in range(count - 1)]
    user_rules: list[dict[str, object]] = [
        {
            "name": f"service-{number}",
            "actionValue": "ALLOW",
            "sourceFirewallIpAddresses": [f"{_dotted(source)}/{source_length}"],
            "destinationFirewallIpAddresses": [f"{_dotted(destination)}/{length}"],
            "rawPortProtocols": [{"layer4Item": {"protocol": "UDP", "destinationPorts": [f"{low}-{high}"]}}],
        }
        for number, (source, source_length, destination, length, low, high) in enumerate(boxes)
    ]
    user_rules.append({"name": "out", "actionValue": "ALLOW", "sourceFirewallIpAddresses": ["10.20.0.0/16"]})
    boxes.append((INSIDE, 16, REMOTE, 15, FREE_PORT, 65_535))

    def draw(generator: random.Random) -> tuple[str, bytes]:
        source, source_length, destination, length, low, high = generator.choice(boxes)
        return "LAN", udp_frame(
            source | generator.getrandbits(32 - source_length),
            generator.randrange(1024, 65_536),
            destination | generator.getrandbits(32 - length),
            generator.randint(low, high),
        )

    return Work(snat_document(user_rules), draw, {"rules": count, "natRules": 1})


def _box(generator: random.Random) -> tuple[int, int, int, int, int, int]:
    source_length, length = generator.randint(18, 26), generator.randint(17, 24)
    source = INSIDE | generator.getrandbits(16) >> (32 - source_length) << (32 - source_length)
    destination = REMOTE | generator.getrandbits(17) >> (32 - length) << (32 - length)
    low = generator.randrange(FREE_PORT, 60_000)
    return source, source_length, destination, length, low, low + generator.choice((0, 0, 15, 1000))


def nat_work(count: int) -> Work:
    """DNAT rules by address and port, SNAT rules by source, and packets that each of them translates."""
    document: dict[str, Any] = established_document()
    uplink = document["edgeGateway"]["edgeGatewayUplinks"][0]["subnets"][0]
    uplink["ipRanges"] = [{"startAddress": f"{PUBLIC}.10", "endAddress": f"{PUBLIC}.{10 + NAT_ADDRESSES}"}]
    document["firewallRules"]["userDefinedRules"].append(
        {"name": "in", "actionValue": "ALLOW", "destinationFirewallIpAddresses": ["10.20.0.0/16"]}
    )
    half = min(count // 2, NAT_ADDRESSES * NAT_PORTS)
    document["applicationPortProfiles"] = [
        {
            "name": "service",
            "scope": "TENANT",
            "applicationPorts": [{"protocol": "UDP", "destinationPorts": ["4500"]}],
        }
    ]
    published = [(number // NAT_PORTS % NAT_ADDRESSES, 20_000 + number % NAT_PORTS) for number in range(half)]
    document["natRules"] = [
        {
            "name": f"service-{number}",
            "type": "DNAT",
            "externalAddresses": f"{PUBLIC}.{11 + address}",
            "dnatExternalPort": str(port),
            "internalAddresses": _dotted(INSIDE + 256 + number),
            "applicationPortProfile": {"name": "service"},
        }
        for number, (address, port) in enumerate(published)
    ] + [
        {
            "name": f"machines-{number}",
            "type": "SNAT",
            "externalAddresses": f"{PUBLIC}.{11 + number % NAT_ADDRESSES}",
            "internalAddresses": f"{_dotted(INSIDE + 8 * (32 + number))}/29",
        }
        for number in range(count - half)
    ]
    public = 203 << 24 | 113 << 8

    def draw(generator: random.Random) -> tuple[str, bytes]:
        remote, remote_port = REMOTE + generator.getrandbits(17), generator.randrange(FREE_PORT, 65_536)
        if generator.getrandbits(1):
            address, port = generator.choice(published)
            return "INTERNET", udp_frame(remote, remote_port, public + 11 + address, port)
        source = INSIDE + 8 * (32 + generator.randrange(count - half)) + generator.randrange(8)
        return "LAN", udp_frame(source, generator.randrange(1024, 65_536), remote, remote_port)

    return Work(document, draw, {"rules": 11, "natRules": count})


def _dotted(address: int) -> str:
    return ".".join(str(octet) for octet in address.to_bytes(4, "big"))
