"""Endpoint-independent mappings of the profile strict-rfc, and the limit of sessions per source.

Each test runs on the native edge and on the readable one.
"""

from __future__ import annotations

from dataclasses import replace

import pytest

from edge.addresses import AddressRange, PortRange
from edge.model import STRICT_RFC_TIMERS, BlockedPorts, EdgeConfig, Profile, SessionsOnChange, Timers
from edge.nat.config import NatRule
from tests.reference_bench import Bench, MakeEdge, left, stages, why
from tests.support import acme, default_rule, edge_config, nat, uplink, with_options

RESOLVERS = ("8.8.8.8:53", "8.8.4.4:53", "8.8.8.8:54", "1.1.1.1:53")
SNAT = nat("s", "SNAT", "203.0.113.10", "10.20.0.0/24")
POOL = nat("s", "SNAT", "203.0.113.12-203.0.113.14", "10.20.0.0/24")
EVERYTHING = [default_rule("ALLOW")]


def edge(*rules: NatRule, **options: object) -> EdgeConfig:
    config = acme(
        uplinks=[uplink("INTERNET", "203.0.113.1/24 203.0.113.10-203.0.113.19")],
        nat_rules=list(rules),
        firewall=EVERYTHING,
    )
    return with_options(config, **({"profile": Profile.STRICT_RFC, "timers": STRICT_RFC_TIMERS} | options))


def source(bench: Bench, text: str) -> str:
    """The source that a packet leaves with; the reason where it does not leave."""
    outcome = bench.send(text)
    words = left(outcome)[0][1].split() if outcome.verdict.name == "ALLOW" else ["", why(outcome)[1]]
    return words[1]


def udp(bench: Bench, source_port: int, far: str = "8.8.8.8:53", machine: int = 10) -> str:
    return source(bench, f"udp 10.20.0.{machine}:{source_port} > {far}")


def identifier(bench: Bench, inside: int, far: str) -> str:
    """The identifier that an echo request leaves with."""
    return left(bench.send(f"icmp 10.20.0.10 > {far} echo-request id={inside}"))[0][1].split()[5]


# --- one endpoint ---------------------------------------------------------------------------------------------------


def test_an_endpoint_is_the_same_to_every_far_end(make: MakeEdge) -> None:
    bench = Bench(edge(SNAT), make=make)
    found = {udp(bench, 4000, far) for far in RESOLVERS}
    assert len(found) == 1
    assert udp(bench, 4002) not in found
    assert udp(bench, 4000, machine=11) not in found
    connections = {source(bench, f"tcp 10.20.0.10:4000 > {far} S") for far in RESOLVERS}
    assert len(connections) == 1
    assert connections != found
    queries = {identifier(bench, 7, far) for far in ("8.8.8.8", "8.8.4.4")}
    assert len(queries) == 1
    assert identifier(bench, 8, "8.8.8.8") not in queries


def test_nsx_draws_a_port_for_every_far_end(make: MakeEdge) -> None:
    bench = Bench(edge(SNAT, profile=Profile.NSX), make=make)
    assert len({udp(bench, 4000, far) for far in RESOLVERS}) == 4


def test_answers_come_from_whom_a_session_was_opened_to_and_nobody_else(make: MakeEdge) -> None:
    bench = Bench(edge(SNAT), make=make)
    outside = udp(bench, 4000)
    udp(bench, 4000, "8.8.4.4:53")
    for far in ("8.8.8.8:53", "8.8.4.4:53"):
        assert left(bench.send(f"udp {far} > {outside}")) == [("LAN", f"udp {far} > 10.20.0.10:4000")]
    for far in ("8.8.8.8:54", "8.8.9.9:53"):
        assert why(bench.send(f"udp {far} > {outside}")) == ("LOCAL", "LOCAL_SERVICE")


def test_a_mapping_takes_no_random_number(make: MakeEdge) -> None:
    once, twice = Bench(edge(SNAT), make=make), Bench(edge(SNAT), make=make)
    assert udp(once, 4000) == udp(twice, 4000) == udp(twice, 4000, "8.8.4.4:53")
    assert udp(once, 4002) == udp(twice, 4002)


def test_a_mapping_ends_with_the_last_of_its_sessions(make: MakeEdge) -> None:
    bench = Bench(edge(SNAT, timers=Timers(udp_first=30)), make=make)
    first = udp(bench, 4000)
    assert source(bench, "udp 10.20.0.10:4000 > 8.8.4.4:53 wait=20") == first
    assert source(bench, "udp 10.20.0.10:4000 > 1.1.1.1:53 wait=20") == first  # the session that made it is over
    assert len(bench.edge.sessions()) == 2
    assert source(bench, "udp 10.20.0.10:4000 > 8.8.8.8:53 wait=30") != first


def test_rules_map_for_themselves(make: MakeEdge) -> None:
    rules = [
        nat("dns", "SNAT", "203.0.113.10", "10.20.0.0/24", destination="8.8.8.8"),
        nat("rest", "SNAT", "203.0.113.10", "10.20.0.0/24", priority=1),
    ]
    bench = Bench(edge(*rules), make=make)
    assert udp(bench, 4000) != udp(bench, 4000, "8.8.4.4:53")
    assert udp(bench, 4000) == udp(bench, 4000, "8.8.8.8:99")


def test_ipv6_endpoints_have_mappings_too(make: MakeEdge) -> None:
    config = acme(
        uplinks=[uplink("INTERNET", "2001:db8:ff::1/64 2001:db8:ff::10-2001:db8:ff::11")],
        nat_rules=[nat("s", "SNAT", "2001:db8:ff::11", "2001:db8:20::/64")],
        firewall=EVERYTHING,
    )
    bench = Bench(with_options(config, profile=Profile.STRICT_RFC), make=make)
    texts = [f"udp [2001:db8:20::5]:4000 > [2001:db8:beef::{far}]:53" for far in (1, 2)]
    found = [left(bench.send(text))[0][1].split()[1] for text in texts]
    assert found[0] == found[1]
    assert found[0].startswith("[2001:db8:ff::11]:")


# --- ports ----------------------------------------------------------------------------------------------------------


def test_an_external_endpoint_belongs_to_one_mapping_whatever_the_far_end(make: MakeEdge) -> None:
    def connections(profile: Profile) -> list[str]:
        bench = Bench(edge(SNAT, profile=profile, snat_port_range=PortRange(2000, 2001)), make=make)
        return [source(bench, f"tcp 10.20.0.10:{n} > 8.8.8.{n}:80 S") for n in (1, 2, 3)]

    both = ["203.0.113.10:2000", "203.0.113.10:2001"]
    assert set(connections(Profile.NSX)) <= set(both)
    *first, last = connections(Profile.STRICT_RFC)
    assert (sorted(first), last) == (both, "NAT_PORTS_EXHAUSTED")


def test_exhaustion_is_said_at_nat(make: MakeEdge) -> None:
    bench = Bench(edge(SNAT, snat_port_range=PortRange(2000, 2000)), make=make)
    udp(bench, 4000)
    outcome = bench.send("udp 10.20.0.10:4002 > 8.8.4.4:53")
    assert (why(outcome), stages(outcome)[-1]) == (("DROP", "NAT_PORTS_EXHAUSTED"), "NAT DROP s")
    assert len(bench.edge.sessions()) == 1
    assert udp(bench, 4000, "8.8.4.4:53") == "203.0.113.10:2000"


def test_mappings_of_another_rule_are_in_the_way_too(make: MakeEdge) -> None:
    rules = [
        nat("dns", "SNAT", "203.0.113.10", "10.20.0.0/24", destination="8.8.8.8"),
        nat("rest", "SNAT", "203.0.113.10", "10.20.0.0/24", priority=1),
    ]
    bench = Bench(edge(*rules, snat_port_range=PortRange(2000, 2000)), make=make)
    assert udp(bench, 4000) == "203.0.113.10:2000"
    assert udp(bench, 4000, "8.8.4.4:53") == "NAT_PORTS_EXHAUSTED"
    assert source(bench, "tcp 10.20.0.10:4000 > 8.8.4.4:53 S") == "203.0.113.10:2000"


def test_udp_keeps_the_parity_of_ports(make: MakeEdge) -> None:
    bench = Bench(edge(SNAT, snat_port_range=PortRange(2000, 2005)), make=make)
    even = {udp(bench, port) for port in (4000, 4002, 4004)}
    assert even == {f"203.0.113.10:{port}" for port in (2000, 2002, 2004)}
    assert udp(bench, 4006) == "NAT_PORTS_EXHAUSTED"
    assert {udp(bench, port) for port in (4001, 4003, 4005)} == {f"203.0.113.10:{port}" for port in (2001, 2003, 2005)}
    taken = {source(bench, f"tcp 10.20.0.10:{port} > 8.8.8.8:53 S") for port in range(4000, 4012, 2)}
    assert taken == {f"203.0.113.10:{port}" for port in range(2000, 2006)}
    queries = {identifier(bench, number, "8.8.8.8") for number in range(0, 12, 2)}
    assert queries == {f"id={number}" for number in range(2000, 2006)}


def test_ports_that_the_provider_blocks_are_left_out(make: MakeEdge) -> None:
    blocked = (BlockedPorts(17, (PortRange(2000, 2002),)),)
    config = edge(SNAT, snat_port_range=PortRange(2000, 2005), provider_filter=blocked)
    bench = Bench(config, make=make)
    assert [udp(bench, port) for port in (4000, 4002)] == ["203.0.113.10:2004", "NAT_PORTS_EXHAUSTED"]


def test_a_mapping_that_collides(make: MakeEdge) -> None:
    # Two public addresses lead to one server outside, and both calls leave from one mapped endpoint to it.
    config = edge_config(
        uplinks=[uplink("A", "203.0.113.1/24 203.0.113.10-203.0.113.12"), uplink("B", "198.18.0.1/24 198.18.0.10")],
        nat_rules=[
            nat("d", "DNAT", "203.0.113.11-203.0.113.12", "198.18.0.77"),
            nat("s", "SNAT", "198.18.0.10", "192.0.2.0/24"),
        ],
        firewall=EVERYTHING,
        options=replace(edge().options),
    )
    bench = Bench(config, make=make)
    assert why(bench.send("udp 192.0.2.1:5 > 203.0.113.11:53 in=A")) == ("ALLOW", "FW_DEFAULT")
    outcome = bench.send("udp 192.0.2.1:5 > 203.0.113.12:53 in=A")
    assert (why(outcome), stages(outcome)[-1]) == (("DROP", "NAT_COLLISION"), "NAT DROP s")
    nsx = Bench(with_options(config, profile=Profile.NSX), make=make)
    assert [why(nsx.send(f"udp 192.0.2.1:5 > 203.0.113.{n}:53 in=A"))[0] for n in (11, 12)] == ["ALLOW", "ALLOW"]


# --- addresses ------------------------------------------------------------------------------------------------------


def address(bench: Bench, text: str) -> str:
    return source(bench, text).rpartition(".")[2].partition(":")[0]


def test_a_machine_keeps_to_one_address_of_a_pool(make: MakeEdge) -> None:
    bench = Bench(edge(POOL), make=make)
    assert [address(bench, f"udp 10.20.0.10:{port} > 8.8.8.8:53") for port in (1, 2, 3)] == ["12"] * 3
    assert address(bench, "udp 10.20.0.11:1 > 8.8.8.8:53") == "13"  # the least used, then the lowest
    assert address(bench, "udp 10.20.0.12:1 > 8.8.8.8:53") == "14"
    assert address(bench, "tcp 10.20.0.10:1 > 8.8.8.8:53 S") == "12"
    assert address(bench, "icmp 10.20.0.11 > 8.8.8.8 echo-request") == "13"
    assert address(bench, "esp 10.20.0.12 > 8.8.8.8") == "14"  # without a port, but of the machine


def test_protocols_without_ports_make_no_mapping(make: MakeEdge) -> None:
    bench = Bench(edge(POOL), make=make)
    assert [address(bench, f"esp 10.20.0.10 > 8.8.8.{far}") for far in (1, 2, 3)] == ["12", "13", "14"]
    assert address(bench, "esp 10.20.0.11 > 8.8.8.1") == "13"  # .12 has this far end's answers already


def test_the_oldest_mapping_of_a_machine_names_its_address(make: MakeEdge) -> None:
    config = edge(POOL, timers=Timers(udp_first=30), snat_port_range=PortRange(2000, 2000))
    bench = Bench(config, make=make)
    texts = ["udp 10.20.0.10:2 > 8.8.8.8:53", "udp 10.20.0.10:4 > 8.8.8.8:53 wait=10"]
    assert [address(bench, text) for text in texts] == ["12", "13"]  # one port, so the second needs another address
    assert address(bench, "udp 10.20.0.10:2 > 8.8.4.4:53 wait=15") == "12"
    # The session that had made the mapping of port 2 is over; the mapping is as old as it was.
    assert address(bench, "esp 10.20.0.10 > 8.8.8.8 wait=10") == "12"
    assert address(bench, "udp 10.20.0.10:4 > 1.1.1.1:53") == "13"
    # Now the mapping of port 2 ends too.
    assert address(bench, "esp 10.20.0.10 > 8.8.4.4 wait=21") == "13"


def test_pairs_are_of_one_rule(make: MakeEdge) -> None:
    rules = [
        nat("dns", "SNAT", "203.0.113.13", "10.20.0.0/24", destination="8.8.8.8"),
        nat("rest", "SNAT", "203.0.113.12-203.0.113.14", "10.20.0.0/24", priority=1),
    ]
    bench = Bench(edge(*rules), make=make)
    assert address(bench, "udp 10.20.0.10:1 > 8.8.8.8:53") == "13"
    assert address(bench, "udp 10.20.0.10:1 > 8.8.4.4:53") == "12"


@pytest.mark.parametrize("profile", [Profile.NSX, Profile.STRICT_RFC])
def test_the_firewall_sees_the_address_of_the_mapping(make: MakeEdge, profile: Profile) -> None:
    bench = Bench(edge(replace(POOL, firewall_match=BY_EXTERNAL), profile=profile), make=make)
    saw = []
    for port, far in ((1, "8.8.8.8"), (1, "8.8.4.4"), (2, "8.8.8.8")):
        outcome = bench.send(f"udp 10.20.0.10:{port} > {far}:53")
        saw += [str(step.saw.src) for step in outcome.steps if step.saw is not None]
    assert saw == (["203.0.113.12"] * 3 if profile is Profile.STRICT_RFC else [f"203.0.113.{n}" for n in (12, 13, 14)])


BY_EXTERNAL = nat("", "SNAT", match="MATCH_EXTERNAL_ADDRESS").firewall_match


# --- changes --------------------------------------------------------------------------------------------------------


def test_a_session_from_a_time_under_nsx_holds_no_mapping(make: MakeEdge) -> None:
    nsx, strict = edge(SNAT, profile=Profile.NSX), edge(SNAT)
    bench = Bench(nsx, make=make)
    old = udp(bench, 4000)
    bench.edge.apply(strict)
    new = udp(bench, 4000, "8.8.4.4:53")
    assert new != old
    assert udp(bench, 4000) == old  # a packet of the session itself
    assert udp(bench, 4000, "1.1.1.1:53") == new


def test_the_end_of_a_session_without_mapping_releases_none(make: MakeEdge) -> None:
    # Both sessions are of one machine's port and one public port: only the second holds that as a mapping.
    options = {"snat_port_range": PortRange(2000, 2000), "timers": Timers(udp_first=30)}
    bench = Bench(edge(SNAT, profile=Profile.NSX, **options), make=make)
    udp(bench, 4000)
    bench.edge.apply(edge(SNAT, **options))
    assert source(bench, "udp 10.20.0.10:4000 > 8.8.4.4:53 wait=20") == "203.0.113.10:2000"
    assert source(bench, "udp 10.20.0.11:4000 > 8.8.8.8:53 wait=20") == "NAT_PORTS_EXHAUSTED"
    assert udp(bench, 4000, "1.1.1.1:53") == "203.0.113.10:2000"


def test_mappings_outlive_a_time_under_nsx(make: MakeEdge) -> None:
    nsx, strict = edge(SNAT, profile=Profile.NSX), edge(SNAT)
    bench = Bench(strict, make=make)
    mapped = udp(bench, 4000)
    bench.edge.apply(nsx)
    assert udp(bench, 4000, "8.8.4.4:53") != mapped
    bench.edge.apply(strict)
    assert udp(bench, 4000, "1.1.1.1:53") == mapped


def test_a_session_that_ends_under_nsx_releases_its_mapping(make: MakeEdge) -> None:
    options = {"snat_port_range": PortRange(2000, 2000), "timers": Timers(udp_first=30)}
    bench = Bench(edge(SNAT, **options), make=make)
    udp(bench, 4000)
    bench.edge.apply(edge(SNAT, profile=Profile.NSX, **options))
    bench.send("udp 10.20.0.12:4000 > 1.1.1.1:53 wait=31")
    bench.edge.apply(edge(SNAT, **options))
    assert udp(bench, 4000, machine=11) == "203.0.113.10:2000"


def test_a_mapping_outlives_the_pool_but_pairs_do_not(make: MakeEdge) -> None:
    wide = edge(POOL)
    narrow = edge(replace(POOL, external=AddressRange.parse("203.0.113.13-203.0.113.14")))
    bench = Bench(wide, make=make)
    mapped = udp(bench, 4000)
    assert mapped.startswith("203.0.113.12:")
    bench.edge.apply(narrow)
    assert udp(bench, 4000, "8.8.4.4:53") == mapped
    assert address(bench, "udp 10.20.0.10:4002 > 8.8.4.4:53") == "13"


def test_a_rechecked_session_keeps_its_mapping(make: MakeEdge) -> None:
    recheck = {"sessions_on_change": SessionsOnChange.RECHECK}
    bench = Bench(edge(SNAT, **recheck), make=make)
    mapped = udp(bench, 4000)
    bench.edge.apply(edge(replace(SNAT, id="t", name="t"), **recheck))
    assert udp(bench, 4000) == mapped
    assert bench.edge.sessions()[0].snat_rule_id == "t"
    # The mapping is the old rule's: the new one makes its own, beside it.
    assert udp(bench, 4000, "8.8.4.4:53") != mapped
    bench.edge.apply(edge(SNAT, **recheck))
    assert udp(bench, 4000, "1.1.1.1:53") == mapped


# --- how many -------------------------------------------------------------------------------------------------------


def test_sessions_per_source(make: MakeEdge) -> None:
    bench = Bench(with_options(acme(firewall=EVERYTHING), max_sessions_per_source=2), make=make)
    texts = [
        "udp 10.20.0.10:1 > 8.8.8.8:53",
        "icmp 10.20.0.10 > 8.8.8.8 echo-request",
        "tcp 10.20.0.10:1 > 8.8.8.8:53 S",
        "udp 10.20.0.10:1 > 8.8.8.8:53",
        "udp 10.20.0.11:1 > 8.8.8.8:53",
    ]
    outcomes = [bench.send(text) for text in texts]
    assert [why(outcome)[1] for outcome in outcomes] == [
        *("FW_DEFAULT", "FW_DEFAULT", "SESSION_LIMIT", "SESSION", "FW_DEFAULT")
    ]
    assert stages(outcomes[2])[-1] == "SESSION DROP"
    # From outside too, answers to sessions of others not counted; and again once they are over.
    calls = [f"tcp 198.51.100.9:{port} > 203.0.113.11:80 S" for port in (1, 2, 3)]
    assert [why(bench.send(text))[1] for text in calls] == ["FW_DEFAULT", "FW_DEFAULT", "SESSION_LIMIT"]
    assert why(bench.send("udp 10.20.0.10:2 > 8.8.8.8:53 wait=31")) == ("ALLOW", "FW_DEFAULT")


def test_what_keeps_no_session_does_not_count(make: MakeEdge) -> None:
    config = acme(nat_rules=[nat("r", "REFLEXIVE", "203.0.113.11", "10.20.0.10")], firewall=EVERYTHING)
    bench = Bench(with_options(config, max_sessions_per_source=1), make=make)
    for port in (1, 2, 3):
        assert why(bench.send(f"udp 10.20.0.10:{port} > 8.8.8.8:53")) == ("ALLOW", "FW_DEFAULT")
        assert why(bench.send(f"udp 10.20.0.10:{port} > 10.20.0.11:53")) == ("ALLOW", "EAST_WEST")
    assert bench.edge.sessions() == []


def test_sessions_from_before_the_limit_count(make: MakeEdge) -> None:
    bench = Bench(acme(), make=make)
    for port in (1, 2, 3):
        bench.send(f"udp 10.20.0.10:{port} > 8.8.8.8:53")
    for limit, reason in ((3, "SESSION_LIMIT"), (4, "FW_RULE"), (None, "FW_RULE")):
        bench.edge.apply(with_options(acme(), max_sessions_per_source=limit))
        assert why(bench.send(f"udp 10.20.0.10:{limit or 9} > 8.8.4.4:53"))[1] == reason
    bench.edge.apply(with_options(acme(), max_sessions_per_source=5))
    assert why(bench.send("udp 10.20.0.10:77 > 8.8.4.4:53"))[1] == "SESSION_LIMIT"
