"""A session whose answers would be packets of its own is not made: SNAT may give the very end that is called."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_address

import pytest

from edge.addresses import PortRange
from edge.model import STRICT_RFC_TIMERS, EdgeConfig, Options, Profile, Timers
from edge.nat.config import NatRule
from tests.model import frames
from tests.reference_bench import Bench, MakeEdge, left, stages, why
from tests.support import acme, default_rule, nat, uplink

PUBLIC = "203.0.113.11"
SIX = "2001:db8:ff::11"
OUT = nat("out", "SNAT", PUBLIC, "10.20.0.0/24")


def edge(*rules: NatRule, profile: Profile = Profile.NSX, **options: object) -> EdgeConfig:
    timers = STRICT_RFC_TIMERS if profile is Profile.STRICT_RFC else Timers()
    chosen = replace(Options(profile=profile, timers=timers, provider_filter=()), **options)  # type: ignore[arg-type]
    uplinks = [
        uplink("INTERNET", "203.0.113.1/24 203.0.113.10-203.0.113.12", f"2001:db8:ff::1/64 2001:db8:ff::10-{SIX}")
    ]
    return acme(uplinks=uplinks, nat_rules=rules or (OUT,), firewall=[default_rule("ALLOW")], options=chosen)


@pytest.mark.parametrize("profile", Profile)
@pytest.mark.parametrize("protocol", ["tcp", "udp"])
def test_the_port_that_is_called_is_not_drawn(make: MakeEdge, profile: Profile, protocol: str) -> None:
    flags = " S" if protocol == "tcp" else ""
    bench = Bench(edge(profile=profile, snat_port_range=PortRange(2001, 2001)), make=make)
    refused = bench.send(f"{protocol} 10.20.0.10:2001 > {PUBLIC}:2001{flags}")
    assert (why(refused), stages(refused)[-1]) == (("DROP", "NAT_PORTS_EXHAUSTED"), "NAT DROP out")
    assert bench.edge.sessions() == []
    passed = bench.send(f"{protocol} 10.20.0.10:2001 > {PUBLIC}:2003{flags}")
    assert passed.steps[-1].stage.name != "NAT"
    assert bench.edge.sessions()[0].translated.sport == 2001


def test_another_port_is_drawn(make: MakeEdge) -> None:
    bench = Bench(edge(snat_port_range=PortRange(2001, 2002)), make=make)
    for source in range(4000, 4004):
        bench.send(f"udp 10.20.0.10:{source} > {PUBLIC}:2001")
    assert [session.translated.sport for session in bench.edge.sessions()] == [2002]
    bench.send(f"udp 10.20.0.10:4000 > {PUBLIC}:2002")
    assert [session.translated.sport for session in bench.edge.sessions()] == [2002, 2001]


def test_the_next_address_of_the_pool_is_drawn(make: MakeEdge) -> None:
    pool = nat("out", "SNAT", "203.0.113.11-203.0.113.12", "10.20.0.0/24")
    bench = Bench(edge(pool, snat_port_range=PortRange(2001, 2001)), make=make)
    bench.send(f"udp 10.20.0.10:4000 > {PUBLIC}:2001")
    assert str(bench.edge.sessions()[0].translated.src) == "203.0.113.12"


@pytest.mark.parametrize(
    ("rule", "src", "dst"),
    [(OUT, "10.20.0.10", PUBLIC), (nat("out", "SNAT", SIX, "2001:db8:20::/64"), "2001:db8:20::a", SIX)],
    ids=["IPv4", "IPv6"],
)
def test_a_protocol_without_ports(make: MakeEdge, rule: NatRule, src: str, dst: str) -> None:
    bench = Bench(edge(rule), make=make)
    packet = frames.frame(frames.Parts(253, ip_address(src).packed, ip_address(dst).packed, b"12345678"))
    outcome = bench.edge.process("LAN", packet, 0)
    assert (why(outcome), stages(outcome)[-1]) == (("DROP", "NAT_COLLISION"), "NAT DROP out")
    assert bench.edge.sessions() == []


def test_a_protocol_without_ports_gets_the_next_address(make: MakeEdge) -> None:
    pool = nat("out", "SNAT", "203.0.113.11-203.0.113.12", "10.20.0.0/24")
    bench = Bench(edge(pool), make=make)
    parts = frames.Parts(253, ip_address("10.20.0.10").packed, ip_address(PUBLIC).packed, b"12345678")
    assert why(bench.edge.process("LAN", frames.frame(parts), 0))[0] == "ALLOW"
    assert [str(item.translated.src) for item in bench.edge.sessions()] == ["203.0.113.12"]


def test_a_ping_is_never_its_own_answer(make: MakeEdge) -> None:
    bench = Bench(edge(snat_port_range=PortRange(2048, 2048)), make=make)
    out = bench.send(f"icmp 10.20.0.10 > {PUBLIC} echo-request id=2048")
    assert why(out)[0] == "ALLOW"


def test_without_nat(make: MakeEdge) -> None:
    bench = Bench(edge(nat("in", "DNAT", PUBLIC, "10.20.0.10")), make=make)
    outcome = bench.send("tcp 10.20.0.10:80 > 10.20.0.10:80 S in=INTERNET")
    assert (why(outcome), stages(outcome)[-1]) == (("DROP", "NAT_COLLISION"), "NAT DROP")
    translated = bench.send(f"tcp 10.20.0.10:80 > {PUBLIC}:80 S in=INTERNET")
    assert (why(translated), stages(translated)[-1]) == (("DROP", "NAT_COLLISION"), "NAT DROP in")
    assert why(bench.send("tcp 10.20.0.10:81 > 10.20.0.10:80 S in=INTERNET"))[0] == "ALLOW"


def test_a_mapping_that_is_called_by_its_own_endpoint(make: MakeEdge) -> None:
    config = edge(profile=Profile.STRICT_RFC, snat_port_range=PortRange(2001, 2001))
    bench = Bench(config, make=make)
    assert left(bench.send("udp 10.20.0.10:4001 > 198.51.100.1:53")) == [
        ("INTERNET", f"udp {PUBLIC}:2001 > 198.51.100.1:53")
    ]
    assert why(bench.send(f"udp 10.20.0.10:4001 > {PUBLIC}:2001")) == ("DROP", "NAT_COLLISION")
