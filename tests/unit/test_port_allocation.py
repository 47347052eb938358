"""Source ports of SNAT where most of them are taken: which are found, that none is missed, and what the native edge
knows of them.

A story runs on the native edge and on the readable one, which have to give every packet the same port; a crowd on the
native edge alone, against a plain set of what is taken.
"""

from __future__ import annotations

import random
from ipaddress import ip_network

import pytest

from edge.addresses import PortRange
from edge.bench.frames import udp_frame
from edge.model import BlockedPorts, EdgeConfig, Profile, SessionsOnChange, Timers
from edge.nat.config import NatRule
from edge.packets import build_frame, format_frame, parse_packet
from edge.reference import ReferenceEdge
from edge.runtime import Edge
from edge.state import SessionMatch
from native import control
from tests.reference_bench import AnyEdge, MakeEdge
from tests.support import SECOND, acme, default_rule, nat, network, uplink, with_options

LIFETIME = 100
INSIDE = 10 << 24 | 20 << 16
REMOTES = (8 << 24 | 8 << 16 | 8 << 8 | 8, 8 << 24 | 8 << 16 | 4 << 8 | 4)
ONE = nat("out", "SNAT", "203.0.113.10", "10.20.0.0/16")
THREE = nat("out", "SNAT", "203.0.113.10-203.0.113.12", "10.20.0.0/16")
EXHAUSTED = "NAT_PORTS_EXHAUSTED"


def config(*rules: NatRule, **options: object) -> EdgeConfig:
    found = acme(
        uplinks=[uplink("INTERNET", "203.0.113.1/24 203.0.113.10-203.0.113.60")],
        networks=[network("LAN", "10.20.0.1/16")],
        firewall=[default_rule("ALLOW")],
        nat_rules=list(rules or [ONE]),
    )
    timers = Timers(
        udp_first=LIFETIME, udp_single=LIFETIME, udp_multiple=LIFETIME, tcp_first=LIFETIME, icmp_first=LIFETIME
    )
    return with_options(found, **({"timers": timers, "provider_filter": ()} | options))


def say(edge: AnyEdge, text: str, now: int = 0) -> str:
    """The source that a packet leaves with (address:port, or address and identifier), or why it does not leave."""
    frame = build_frame(parse_packet(text))
    outcome = edge.process(edge.ingress_port(frame), frame, now * SECOND)
    if outcome.verdict.name != "ALLOW":
        return outcome.reason.name
    words = format_frame(outcome.outputs[0].frame).split()
    return words[1] if words[0] != "icmp" else f"{words[1]} {words[5]}"


def fill(edge: AnyEdge, count: int, far: str = "8.8.8.8:53", now: int = 0) -> list[str]:
    return [say(edge, f"udp 10.20.1.10:{20_000 + number} > {far}", now) for number in range(count)]


# --- all ports ------------------------------------------------------------------------------------------------------


def test_every_port_is_given_before_none_is_left(make: MakeEdge) -> None:
    edge = make(config(snat_port_range=PortRange(3950, 4249)))
    assert sorted(fill(edge, 300)) == [f"203.0.113.10:{port}" for port in range(3950, 4250)]
    assert [say(edge, f"udp 10.20.1.11:{port} > 8.8.8.8:53") for port in (1, 2)] == [EXHAUSTED] * 2


def test_a_port_may_be_had_again_the_moment_its_session_ends(make: MakeEdge) -> None:
    edge = make(config(snat_port_range=PortRange(3950, 4249)))
    given = fill(edge, 300)
    for number in (0, 150, 299):
        assert say(edge, f"udp 10.20.1.11:{number + 1} > 8.8.8.8:53") == EXHAUSTED
        edge.delete_sessions(SessionMatch(port_number=20_000 + number))
        assert say(edge, f"udp 10.20.1.11:{number + 1} > 8.8.8.8:53") == given[number]
    assert say(edge, "udp 10.20.1.11:999 > 8.8.8.8:53", LIFETIME - 1) == EXHAUSTED
    assert say(edge, "udp 10.20.1.11:999 > 8.8.8.8:53", LIFETIME) in given


def test_remote_ends_protocols_and_addresses_do_not_disturb_each_other(make: MakeEdge) -> None:
    edge = make(config(snat_port_range=PortRange(2000, 2199)))
    everything = [f"203.0.113.10:{port}" for port in range(2000, 2200)]
    for far in ("8.8.8.8:53", "8.8.8.8:54", "8.8.4.4:53"):
        assert sorted(fill(edge, 200, far)) == everything
        assert say(edge, f"udp 10.20.1.11:1 > {far}") == EXHAUSTED
    assert sorted(say(edge, f"tcp 10.20.1.10:{20_000 + n} > 8.8.8.8:53 S") for n in range(200)) == everything
    assert say(edge, "tcp 10.20.1.11:1 > 8.8.8.8:53 S") == EXHAUSTED
    queries = {say(edge, f"icmp 10.20.1.10 > 8.8.8.8 echo-request id={n}") for n in range(200)}
    assert queries == {f"203.0.113.10 id={number}" for number in range(2000, 2200)}
    assert say(edge, "icmp 10.20.1.11 > 8.8.8.8 echo-request id=1") == EXHAUSTED


def test_a_pool_is_used_up_when_each_of_its_addresses_is(make: MakeEdge) -> None:
    edge = make(config(THREE, snat_port_range=PortRange(2000, 2099)))
    given = fill(edge, 300)
    assert sorted(given) == [f"203.0.113.{last}:{port}" for last in (10, 11, 12) for port in range(2000, 2100)]
    assert say(edge, "udp 10.20.1.11:1 > 8.8.8.8:53") == EXHAUSTED
    edge.delete_sessions(SessionMatch(port_number=20_123))
    assert say(edge, "udp 10.20.1.11:1 > 8.8.8.8:53") == given[123]
    assert say(edge, "udp 10.20.1.11:2 > 8.8.8.8:53") == EXHAUSTED


def test_blocked_ports_are_left_out(make: MakeEdge) -> None:
    blocked = (BlockedPorts(17, (PortRange(2010, 2089), PortRange(2150, 2150))),)
    edge = make(config(snat_port_range=PortRange(2000, 2199), provider_filter=blocked))
    open_ports = [*range(2000, 2010), *range(2090, 2150), *range(2151, 2200)]
    assert sorted(fill(edge, len(open_ports))) == [f"203.0.113.10:{port}" for port in open_ports]
    assert say(edge, "udp 10.20.1.11:1 > 8.8.8.8:53") == EXHAUSTED


@pytest.mark.parametrize(("first", "last"), [(1, 200), (65336, 65535), (4095, 4096), (8191, 8191)])
def test_ranges_at_the_ends(make: MakeEdge, first: int, last: int) -> None:
    edge = make(config(snat_port_range=PortRange(first, last)))
    count = last - first + 1
    assert sorted(fill(edge, count)) == sorted(f"203.0.113.10:{port}" for port in range(first, last + 1))
    assert say(edge, "udp 10.20.1.11:1 > 8.8.8.8:53") == EXHAUSTED


def test_sessions_that_came_in_hold_ports_too(make: MakeEdge) -> None:
    published = nat("in", "DNAT", "203.0.113.10", "10.20.0.9")
    edge = make(config(ONE, published, snat_port_range=PortRange(2000, 2199)))
    for port in range(2000, 2200, 2):
        assert say(edge, f"udp 8.8.8.8:53 > 203.0.113.10:{port}") == "8.8.8.8:53"
    assert sorted(fill(edge, 100)) == [f"203.0.113.10:{port}" for port in range(2001, 2200, 2)]
    assert say(edge, "udp 10.20.1.11:1 > 8.8.8.8:53") == EXHAUSTED
    edge.delete_sessions(SessionMatch(port_number=2050))
    assert say(edge, "udp 10.20.1.11:1 > 8.8.8.8:53") == "203.0.113.10:2050"


def test_what_is_taken_survives_a_change_of_the_configuration(make: MakeEdge) -> None:
    narrow = config(snat_port_range=PortRange(2000, 2199))
    edge = make(narrow)
    fill(edge, 200)
    assert say(edge, "udp 10.20.1.11:1 > 8.8.8.8:53") == EXHAUSTED
    edge.apply(config(snat_port_range=PortRange(1999, 2200)))
    found = {say(edge, f"udp 10.20.1.11:{port} > 8.8.8.8:53") for port in (1, 2)}
    assert found == {"203.0.113.10:1999", "203.0.113.10:2200"}
    assert say(edge, "udp 10.20.1.11:3 > 8.8.8.8:53") == EXHAUSTED
    edge.apply(with_options(narrow, sessions_on_change=SessionsOnChange.FLUSH))
    assert len(set(fill(edge, 200))) == 200
    assert say(edge, "udp 10.20.1.11:1 > 8.8.8.8:53") == EXHAUSTED


def test_a_copy_goes_its_own_way() -> None:
    edge = Edge(config(snat_port_range=PortRange(2000, 2199)))
    given = fill(edge, 200)
    assert say(edge, "udp 10.20.1.11:1 > 8.8.8.8:53") == EXHAUSTED
    copy = edge.snapshot()
    copy.delete_sessions(SessionMatch(port_number=20_007))
    edge.delete_sessions(SessionMatch(port_number=20_100))
    assert [say(item, "udp 10.20.1.11:2 > 8.8.8.8:53") for item in (copy, edge)] == [given[7], given[100]]
    assert [say(item, "udp 10.20.1.11:3 > 8.8.8.8:53") for item in (copy, edge)] == [EXHAUSTED] * 2


# --- strict-rfc -----------------------------------------------------------------------------------------------------


def test_mapped_ports_of_one_parity_are_used_up(make: MakeEdge) -> None:
    edge = make(config(profile=Profile.STRICT_RFC, snat_port_range=PortRange(2000, 2399)))
    even = [say(edge, f"udp 10.20.1.10:{4000 + 2 * n} > 8.8.8.8:53") for n in range(200)]
    assert sorted(even) == [f"203.0.113.10:{port}" for port in range(2000, 2400, 2)]
    assert say(edge, "udp 10.20.1.11:2 > 8.8.4.4:53") == EXHAUSTED  # a mapping is in the way to any remote end
    odd = [say(edge, f"udp 10.20.1.10:{4001 + 2 * n} > 8.8.4.4:53") for n in range(200)]
    assert sorted(odd) == [f"203.0.113.10:{port}" for port in range(2001, 2400, 2)]
    edge.delete_sessions(SessionMatch(port_number=4101))
    assert say(edge, "udp 10.20.1.11:2 > 8.8.8.8:53") == EXHAUSTED
    assert say(edge, "udp 10.20.1.11:1 > 8.8.8.8:53") == odd[50]


def test_a_mapping_of_two_sessions_is_free_with_the_last(make: MakeEdge) -> None:
    edge = make(config(profile=Profile.STRICT_RFC, snat_port_range=PortRange(2000, 2399)))
    given = [say(edge, f"udp 10.20.1.10:{4000 + 2 * n} > 8.8.8.8:53") for n in range(200)]
    assert say(edge, "udp 10.20.1.10:4000 > 8.8.4.4:53", 1) == given[0]
    edge.delete_sessions(SessionMatch(port_number=4000, address=ip_network("8.8.8.8")))
    assert say(edge, "udp 10.20.1.11:2 > 1.1.1.1:53", 1) == EXHAUSTED
    edge.delete_sessions(SessionMatch(port_number=4000))
    assert say(edge, "udp 10.20.1.11:2 > 1.1.1.1:53", 1) == given[0]


def test_a_large_pool_is_tried_in_the_order_of_use() -> None:
    # Addresses of unlike use, some of them without a port towards one remote end; then none has one.
    pool = nat("out", "SNAT", "203.0.113.10-203.0.113.32", "10.20.0.0/16")
    told = []
    for made in (Edge(config(pool, snat_port_range=PortRange(2000, 2002))),
                 ReferenceEdge(config(pool, snat_port_range=PortRange(2000, 2002)))):  # fmt: skip
        found = [fill(made, count, far) for count, far in ((40, "8.8.8.8:53"), (30, "8.8.4.4:53"))]
        for number in (1, 2, 5, 9, 17, 31):
            made.delete_sessions(SessionMatch(port_number=20_000 + number))
        found += [fill(made, count, far) for count, far in ((60, "8.8.8.8:54"), (75, "8.8.8.8:53"))]
        assert found[-1][-1] == EXHAUSTED
        told.append((found, made.take_events()))
    assert told[0] == told[1]


# --- crowds ---------------------------------------------------------------------------------------------------------


def test_blocks_are_known_where_many_ports_are_taken_and_go_with_them() -> None:
    edge = Edge(config(snat_port_range=PortRange(1024, 12287)))
    edge.set_pace(1, 12_288)  # all that are due end before the next packet
    engine = edge._engine
    fill(edge, 20)
    assert control.port_blocks(engine) == (0, 0)
    ports = 12288 - 1024
    for number in range(20, ports):
        edge.process("LAN", udp_frame(INSIDE + 266, 20_000 + number, REMOTES[0], 53), 0)
    assert say(edge, "udp 10.20.1.11:1 > 8.8.8.8:53") == EXHAUSTED
    assert control.port_blocks(engine) == (3, 0)
    assert control.port_blocks(edge.snapshot()._engine) == (3, 0)
    assert say(edge, "udp 10.20.1.11:1 > 8.8.8.8:53", LIFETIME) != EXHAUSTED
    assert control.port_blocks(engine) == (0, 0)


def test_blocks_are_found_when_the_table_has_become_larger() -> None:
    before = config(snat_port_range=PortRange(1024, 9215), max_sessions=9000)
    edge = Edge(before)
    for number in range(9216 - 1024):
        edge.process("LAN", udp_frame(INSIDE + 266, 20_000 + number, REMOTES[0], 53), 0)
    assert say(edge, "udp 10.20.1.11:1 > 8.8.8.8:53") == EXHAUSTED
    assert control.port_blocks(edge._engine) == (3, 0)
    edge.apply(with_options(before, max_sessions=900_000))
    assert control.port_blocks(edge._engine) == (3, 0)
    copy = edge.snapshot()
    for one in (edge, copy):
        assert say(one, "udp 10.20.1.11:1 > 8.8.8.8:53") == EXHAUSTED
        one.delete_sessions(SessionMatch(address=ip_network("10.20.1.10")))
        assert control.port_blocks(one._engine) == (0, 0)
        assert say(one, "udp 10.20.1.11:1 > 8.8.8.8:53") != EXHAUSTED


def test_blocks_of_mappings_are_known_too() -> None:
    edge = Edge(config(profile=Profile.STRICT_RFC, snat_port_range=PortRange(5000, 5299)))
    fill(edge, 300)
    assert say(edge, "udp 10.20.1.11:2 > 8.8.8.8:53") == EXHAUSTED
    assert control.port_blocks(edge._engine)[1] == 1
    edge.delete_sessions(SessionMatch(address=ip_network("10.20.1.10")))
    assert control.port_blocks(edge._engine) == (0, 0)


@pytest.mark.parametrize("seed", range(2))
def test_no_free_port_is_missed_in_a_crowd(seed: int) -> None:
    # Two blocks and a bit, towards two remote ends, filled and drained: a port is given if and only if one is free.
    rng = random.Random(seed)
    ports = range(4000, 8500)
    edge = Edge(config(snat_port_range=PortRange(ports[0], ports[-1])), seed=seed)
    until: list[dict[int, int]] = [{}, {}]
    refused, number = 0, 0
    for now in range(0, 6 * LIFETIME, 5):
        for held in until:
            for port in [port for port, end in held.items() if end <= now]:
                del held[port]
        for _ in range(420 if now % (3 * LIFETIME) < 2 * LIFETIME else 30):
            number += 1
            far = int(rng.random() < 0.3)
            outcome = edge.process(
                "LAN",
                udp_frame(INSIDE + 256 + number // 50_000, 1 + number % 50_000, REMOTES[far], 53),
                now * SECOND,
            )
            if not outcome.outputs:
                assert len(until[far]) == len(ports)
                refused += 1
                continue
            port = int.from_bytes(outcome.outputs[0].frame[34:36], "big")
            assert port in ports
            assert port not in until[far]
            until[far][port] = now + LIFETIME
    assert refused > 1000
    assert len(edge.sessions()) == len(until[0]) + len(until[1])


class Story:
    """Random packets, deletions and changes of the configuration, told to both edges."""

    ranges = (PortRange(2000, 2149), PortRange(4000, 4179), PortRange(4090, 4220), PortRange(1, 130))

    def __init__(self, seed: int) -> None:
        self.rng = random.Random(seed)
        self.now = 0
        begun = self.configuration()
        self.edges = [make(begun, seed=seed) for make in (ReferenceEdge, Edge)]

    def configuration(self) -> EdgeConfig:
        chosen = self.rng.choice
        published = nat("in", "DNAT", "203.0.113.10", "10.20.0.9")
        blocked = BlockedPorts(chosen((6, 17)), (PortRange(2010, 2060), PortRange(4095, 4100)))
        return config(
            chosen((ONE, nat("out", "SNAT", "203.0.113.10-203.0.113.11", "10.20.0.0/16"))),
            published,
            snat_port_range=chosen(self.ranges),
            profile=chosen((Profile.NSX, Profile.NSX, Profile.STRICT_RFC)),
            provider_filter=chosen(((), (blocked,))),
            sessions_on_change=chosen((SessionsOnChange.KEEP, SessionsOnChange.FLUSH, SessionsOnChange.RECHECK)),
        )

    def step(self) -> None:
        kind = self.rng.random()
        if kind < 0.002:
            changed = self.configuration()
            for edge in self.edges:
                edge.apply(changed)
        elif kind < 0.05:
            match = SessionMatch(port_number=self.rng.randrange(4000, 4300))
            assert len({edge.delete_sessions(match) for edge in self.edges}) == 1
        else:
            text = self.packet()
            reference, native = (say(edge, text, self.now) for edge in self.edges)
            assert native == reference, text
        if self.rng.random() < 0.01:
            self.now += self.rng.randrange(LIFETIME // 2)

    def packet(self) -> str:
        drawn = self.rng.randrange
        inside, far = f"10.20.1.{10 + drawn(2)}", f"8.8.8.{8 + (drawn(10) == 0)}"
        kind = self.rng.random()
        if kind < 0.05:
            return f"udp {far}:53 > 203.0.113.10:{drawn(4080, 4180)}"
        if kind < 0.15:
            return f"icmp {inside} > {far} echo-request id={4000 + drawn(300)}"
        if kind < 0.25:
            return f"tcp {inside}:{4000 + drawn(300)} > {far}:53 S"
        return f"udp {inside}:{4000 + drawn(300)} > {far}:53"


@pytest.mark.parametrize("seed", range(2))
def test_both_edges_give_the_same_ports(seed: int) -> None:
    story = Story(seed)
    for _ in range(1500):
        story.step()
    readable, native = ({item.id: item.translated for item in edge.sessions()} for edge in story.edges)
    assert native == readable
