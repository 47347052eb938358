"""The requirements of RFC 6888 (carrier-grade NAT) one by one, as docs/fidelity.md lists them.

A test shows what the edge does under each profile, be that what the RFC asks for or not.  Each runs on the native edge
and on the readable one.
"""

from __future__ import annotations

from itertools import pairwise

from edge.addresses import PortRange
from edge.model import Timers
from tests.nat_bench import FARS, POOL, SNAT, both, source, tcp, udp
from tests.reference_bench import MakeEdge, left, why
from tests.support import nat


def test_6888_req_1_every_protocol_keeps_its_requirements(make: MakeEdge) -> None:
    for bench, ports in zip(both(make), (2, 1), strict=True):
        assert len({udp(bench, 4000, far) for far in FARS[:2]}) == ports
        assert len({tcp(bench, 4000, far) for far in FARS[:2]}) == ports
        fars = ("8.8.8.8", "8.8.4.4")
        assert len({source(bench, f"icmp 10.20.0.10 > {far} echo-request id=7") for far in fars}) == ports


def test_6888_req_2_pairs_across_protocols(make: MakeEdge) -> None:
    found = []
    for bench in both(make, POOL):
        used = [udp(bench, 1), tcp(bench, 1), source(bench, "esp 10.20.0.10 > 8.8.8.8")]
        found.append(len({item.partition(":")[0] for item in used}))
    assert found == [3, 1]


def test_6888_req_3_pools(make: MakeEdge) -> None:
    halves = [
        nat("low", "SNAT", "203.0.113.12-203.0.113.13", "10.20.0.0/25"),
        nat("high", "SNAT", "203.0.113.18", "10.20.0.128/25"),
    ]
    for bench in both(make, *halves):
        assert udp(bench, 1).startswith("203.0.113.12:")
        assert udp(bench, 1, machine=200).startswith("203.0.113.18:")


def test_6888_req_4_ports_of_a_source_are_limited(make: MakeEdge) -> None:
    for bench in both(make, max_sessions_per_source=2):
        found = [udp(bench, port) for port in (1, 2, 3)]
        assert found[2] == "SESSION_LIMIT"
        assert len(set(found)) == 3
        assert udp(bench, 1, machine=11).startswith("203.0.113.10:")


def test_6888_req_5_memory_of_a_source_is_limited(make: MakeEdge) -> None:
    for bench in both(make, max_sessions_per_source=2):
        for far in ("8.8.8.8", "8.8.4.4", "1.1.1.1"):
            bench.send(f"esp 10.20.0.10 > {far}")
        assert bench.edge.stats().sessions_open == 2


def test_6888_req_6_exemptions_by_destination(make: MakeEdge) -> None:
    exempt = nat("n", "NO_SNAT", internal="10.20.0.0/24", destination="8.8.8.0/24")
    for bench in both(make, exempt, SNAT):
        assert udp(bench, 4000) == "10.20.0.10:4000"
        assert udp(bench, 4000, "1.1.1.1:53").startswith("203.0.113.10:")


def test_6888_req_7_filtering(make: MakeEdge) -> None:
    for bench in both(make):
        outside = udp(bench, 4000)
        assert why(bench.send(f"udp 8.8.8.8:54 > {outside}"))[1] != "SESSION"


def test_6888_req_8_ports_are_given_anew_at_once(make: MakeEdge) -> None:
    for bench in both(make, snat_port_range=PortRange(2000, 2000), timers=Timers()):
        assert udp(bench, 4000) == "203.0.113.10:2000"
        assert source(bench, "udp 10.20.0.11:4000 > 8.8.8.8:53 wait=30") == "203.0.113.10:2000"


def test_6888_req_11_no_mapping_can_be_made(make: MakeEdge) -> None:
    for bench in both(make, snat_port_range=PortRange(2000, 2000)):
        first = udp(bench, 4000)
        outcome = bench.send("udp 10.20.0.11:4000 > 8.8.8.8:53")
        assert (why(outcome), left(outcome)) == (("DROP", "NAT_PORTS_EXHAUSTED"), [])
        assert udp(bench, 4000) == first  # nothing had to make room


def test_6888_req_13_every_port_is_used(make: MakeEdge) -> None:
    for bench in both(make, snat_port_range=PortRange(2000, 2063)):
        used = {tcp(bench, port) for port in range(64)}
        assert used == {f"203.0.113.10:{port}" for port in range(2000, 2064)}


def test_6888_req_15_ports_are_hard_to_guess(make: MakeEdge) -> None:
    for bench in both(make):
        ports = [int(tcp(bench, port).rpartition(":")[2]) for port in range(40)]
        steps = {after - before for before, after in pairwise(ports)}
        assert len(steps) > 35  # neither in sequence nor by any other stride
