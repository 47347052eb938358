"""What the tests of NAT by RFC share: an edge of either profile, and packets of a machine inside it."""

from __future__ import annotations

from ipaddress import ip_address

from edge.model import STRICT_RFC_TIMERS, EdgeConfig, Profile, Timers
from edge.nat.config import NatRule
from edge.packets import format_frame
from edge.verdicts import Outcome
from tests.model.frames import Parts, frame, icmp
from tests.reference_bench import Bench, MakeEdge, left, why
from tests.support import SECOND, acme, default_rule, nat, uplink, with_options

FARS = ("8.8.8.8:53", "8.8.4.4:53", "8.8.8.8:54")
SNAT = nat("s", "SNAT", "203.0.113.10", "10.20.0.0/24", priority=9)
POOL = nat("s", "SNAT", "203.0.113.12-203.0.113.14", "10.20.0.0/24", priority=9)
WEB = nat("d", "DNAT", "203.0.113.11", "10.20.0.20")
PING = "icmp 10.20.0.10 > 8.8.8.8 echo-request id=7"
DEFAULT_TIMERS = {Profile.NSX: Timers(), Profile.STRICT_RFC: STRICT_RFC_TIMERS}


def edge(profile: Profile, *rules: NatRule, firewall: object = None, **options: object) -> EdgeConfig:
    """An edge that admits everything, with the timers of its profile; ``rules`` are of NAT, SNAT if none."""
    config = acme(
        uplinks=[uplink("INTERNET", "203.0.113.1/24 203.0.113.10-203.0.113.19")],
        nat_rules=rules or (SNAT,),
        firewall=firewall or [default_rule("ALLOW")],
    )
    return with_options(config, **({"profile": profile, "timers": DEFAULT_TIMERS[profile]} | options))


def both(make: MakeEdge, *rules: NatRule, **options: object) -> tuple[Bench, Bench]:
    """An edge of each profile: nsx, strict-rfc."""
    nsx, strict = (Bench(edge(profile, *rules, **options), make=make) for profile in Profile)  # type: ignore[arg-type]
    return nsx, strict


def source(bench: Bench, text: str) -> str:
    """What a packet leaves as, address and port (of a query the identifier); the reason where it does not leave."""
    outcome = bench.send(text)
    if outcome.verdict.name != "ALLOW":
        return why(outcome)[1]
    words = format_frame(outcome.outputs[0].frame).split()
    return words[5] if words[0] == "icmp" else words[1]


def udp(bench: Bench, port: int, far: str = FARS[0], machine: int = 10) -> str:
    """What a machine inside sends from by UDP, as ``source`` has it."""
    return source(bench, f"udp 10.20.0.{machine}:{port} > {far}")


def tcp(bench: Bench, port: int, far: str = FARS[0], machine: int = 10) -> str:
    """Likewise what it opens a connection from."""
    return source(bench, f"tcp 10.20.0.{machine}:{port} > {far} S")


def lasts(bench: Bench) -> float:
    """How many seconds the only session of an edge has without packets."""
    (session,) = bench.edge.sessions()
    return (session.expires_ns - bench.now_ns) / SECOND


def hairpins(bench: Bench, outcome: Outcome) -> str:
    """What arrives at a machine inside, by whatever way it does."""
    if outcome.outputs[0].hairpin:
        assert bench.edge.config.options.profile is Profile.NSX
        outcome = bench.hairpin()
    ((port, text),) = left(outcome)
    assert port == "LAN"
    return text


def outwards(protocol: int, payload: bytes) -> Parts:
    """A packet of a machine inside to one outside."""
    return Parts(protocol, ip_address("10.20.0.10").packed, ip_address("8.8.8.8").packed, payload)


def router_error(outcome: Outcome, kind: int = 3, code: int = 1, router: str = "192.0.2.1", quote: int = 28) -> bytes:
    """The ICMP error of a router outside about the packet that left."""
    ip = outcome.outputs[0].frame[14:]
    return frame(icmp(ip_address(router).packed, ip[12:16], kind, code, 0, 0, ip[:quote]))
