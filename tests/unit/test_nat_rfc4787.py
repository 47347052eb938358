"""The requirements of RFC 4787 (UDP) one by one, as docs/fidelity.md lists them.

A test shows what the edge does under each profile, be that what the RFC asks for or not.  Each runs on the native edge
and on the readable one.
"""

from __future__ import annotations

import pytest

from edge.addresses import PortRange
from edge.document import from_data
from edge.errors import DocumentError
from edge.firewall.system_profiles import system_profile
from edge.model import Profile, Timers
from tests.model.frames import frame
from tests.nat_bench import FARS, POOL, SNAT, WEB, both, edge, hairpins, lasts, outwards, router_error, udp
from tests.reference_bench import Bench, MakeEdge, left, why


def test_4787_req_1_endpoint_independent_mapping(make: MakeEdge) -> None:
    found = [len({udp(bench, 4000, far) for far in FARS}) for bench in both(make)]
    assert found == [3, 1]


def test_4787_req_2_paired_pooling(make: MakeEdge) -> None:
    found = [{udp(bench, port).partition(":")[0] for port in (1, 2, 3)} for bench in both(make, POOL)]
    assert [len(addresses) for addresses in found] == [3, 1]


def test_4787_req_3_no_port_overloading(make: MakeEdge) -> None:
    found = [
        [udp(bench, 4000, FARS[0]), udp(bench, 4000, FARS[1], machine=11)]
        for bench in both(make, snat_port_range=PortRange(2000, 2000))
    ]
    assert found == [["203.0.113.10:2000"] * 2, ["203.0.113.10:2000", "NAT_PORTS_EXHAUSTED"]]


def test_4787_req_3a_ports_stay_well_known_or_not(make: MakeEdge) -> None:
    for bench in both(make):
        assert min(int(udp(bench, port).rpartition(":")[2]) for port in (500, 501, 4000, 65535)) >= 1024


def test_4787_req_4_port_parity(make: MakeEdge) -> None:
    kept = [
        [int(udp(bench, port).rpartition(":")[2]) % 2 == port % 2 for port in range(4000, 4020)] for bench in both(make)
    ]
    assert not all(kept[0])
    assert all(kept[1])


def test_4787_req_5_udp_timer(make: MakeEdge) -> None:
    nsx, strict = both(make)
    for bench in (nsx, strict):
        udp(bench, 4000)
        bench.reply()
    assert (lasts(nsx), lasts(strict)) == (30, 300)
    configured = Bench(edge(Profile.STRICT_RFC, timers=Timers(udp_first=121)), make=make)
    udp(configured, 4000)
    assert lasts(configured) == 121


def test_4787_req_6_packets_outwards_and_inwards_refresh(make: MakeEdge) -> None:
    for bench, seconds in zip(both(make), (30, 300), strict=True):
        outside = udp(bench, 4000)
        assert udp(bench, 4000) == "203.0.113.10:" + outside.rpartition(":")[2]
        for text in (f"udp {FARS[0]} > {outside} wait=20", f"udp 10.20.0.10:4000 > {FARS[0]} wait=20"):
            assert why(bench.send(text)) == ("ALLOW", "SESSION")
            assert lasts(bench) == seconds


@pytest.mark.parametrize("profile", list(Profile))
def test_4787_req_7_inside_and_outside_do_not_overlap(profile: Profile) -> None:
    subnets = {"values": [{"gateway": "10.20.0.1", "prefixLength": 24}]}
    ranges = {"values": [{"startAddress": "10.20.0.5", "endAddress": "10.20.0.5"}]}
    outside = {"values": [{**subnets["values"][0], "gateway": "10.20.0.2", "ipRanges": ranges}]}
    document = {
        "edgeGateway": {"name": "E", "edgeGatewayUplinks": [{"uplinkName": "INTERNET", "subnets": outside}]},
        "orgVdcNetworks": [{"name": "LAN", "subnets": subnets}],
        "options": {"profile": profile.value},
    }
    with pytest.raises(DocumentError) as caught:
        from_data(document)
    assert "CONFLICT" in {problem.code for problem in caught.value.problems}


def test_4787_req_8_filtering(make: MakeEdge) -> None:
    for bench in both(make):
        outside = udp(bench, 4000)
        found = [why(bench.send(f"udp {far} > {outside}"))[1] for far in ("8.8.8.8:53", "8.8.8.8:99", "1.1.1.1:53")]
        assert found == ["SESSION", "LOCAL_SERVICE", "LOCAL_SERVICE"]


def test_4787_req_9_hairpinning(make: MakeEdge) -> None:
    nsx, strict = both(make, WEB, SNAT)
    for bench in (nsx, strict):
        text = hairpins(bench, bench.send("udp 10.20.0.10:4000 > 203.0.113.11:53"))
        assert text.split()[3] == "10.20.0.20:53"
    assert nsx.edge.stats().verdicts != strict.edge.stats().verdicts  # two packets, one packet


def test_4787_req_9a_hairpinned_packets_bear_the_external_source(make: MakeEdge) -> None:
    for bench in both(make, WEB, SNAT):
        text = hairpins(bench, bench.send("udp 10.20.0.10:4000 > 203.0.113.11:53"))
        assert text.split()[1].startswith("203.0.113.10:")
        assert hairpins(bench, bench.reply()).split()[1] == "203.0.113.11:53"


def test_4787_req_10_no_algs(make: MakeEdge) -> None:
    assert system_profile("TFTP") is not None
    for bench in both(make):
        udp(bench, 4000, "8.8.8.8:69")
        (session,) = bench.edge.sessions()
        answer = f"udp 8.8.8.8:3000 > 203.0.113.10:{session.translated.sport}"
        assert why(bench.send(answer))[1] not in ("SESSION", "ALG")  # TFTP's data comes from another port


def test_4787_req_11_deterministic(make: MakeEdge) -> None:
    for bench in both(make, snat_port_range=PortRange(2000, 2003)):
        first = [udp(bench, port) for port in (4000, 4002, 4001, 4003)]
        while "NAT_PORTS_EXHAUSTED" not in first:
            first.append(udp(bench, 4000 + len(first)))
        # With every port taken the behaviour is what it was: nothing is overloaded, nobody loses a mapping.
        assert len({item for item in first if item != "NAT_PORTS_EXHAUSTED"}) == 4
        assert udp(bench, 4000) == first[0]


def test_4787_req_12_icmp_ends_no_mapping(make: MakeEdge) -> None:
    for bench in both(make):
        outside = udp(bench, 4000)
        assert bench.last is not None
        error = router_error(bench.last)
        assert why(bench.frame("INTERNET", error)) == ("ALLOW", "RELATED")
        assert why(bench.send(f"udp {FARS[0]} > {outside}")) == ("ALLOW", "SESSION")
        assert udp(bench, 4000) == outside


def test_4787_req_12a_icmp_from_any_source(make: MakeEdge) -> None:
    for bench in both(make):
        sent = bench.send("udp 10.20.0.10:4000 > 8.8.8.8:53")
        for router in ("192.0.2.1", "8.8.8.8", "198.51.100.77"):
            assert why(bench.frame("INTERNET", router_error(sent, router=router))) == ("ALLOW", "RELATED")


def test_4787_req_12b_destination_unreachable(make: MakeEdge) -> None:
    for bench in both(make):
        sent = bench.send("udp 10.20.0.10:4000 > 8.8.8.8:53")
        for code in (0, 1, 2, 3, 4, 13):
            outcome = bench.frame("INTERNET", router_error(sent, code=code))
            assert why(outcome) == ("ALLOW", "RELATED")
            assert outcome.outputs[0].frame[34:36] == bytes((3, code))


def test_4787_req_13_fragmentation_needed(make: MakeEdge) -> None:
    for bench in both(make, mtu=1280):
        data = outwards(253, bytes(1300))
        ((port, text),) = left(bench.frame("LAN", frame(data, fragment=0x4000)))
        assert (port, text.split(" of=")[0]) == ("LAN", "icmp 10.20.0.1 > 10.20.0.10 frag-needed mtu=1280")


def test_4787_req_13a_fragmenting(make: MakeEdge) -> None:
    for bench in both(make, mtu=1280):
        data = outwards(253, bytes(1300))
        outcome = bench.frame("LAN", frame(data, fragment=0))
        assert why(outcome)[0] == "ALLOW"
        assert [len(piece) - 14 for piece in outcome.outputs[0].fragments] == [1276, 64]


def test_4787_req_14_received_fragments(make: MakeEdge) -> None:
    for bench in both(make):
        datagram = b"\x0f\xa0\x00\x35\x00\x20\x00\x00" + bytes(24)
        pieces = [(0, datagram[:16]), (2, datagram[16:])]
        for identification, order in enumerate((pieces, pieces[::-1])):
            outcomes = [
                bench.frame(
                    "LAN",
                    frame(
                        outwards(17, data), fragment=offset | (0 if offset else 0x2000), identification=identification
                    ),
                )
                for offset, data in order
            ]
            assert [why(outcome)[0] for outcome in outcomes] == ["HELD", "ALLOW"]
            assert len(outcomes[1].outputs[0].fragments) == 2


def test_4787_req_14a_fragments_do_no_harm_to_others(make: MakeEdge) -> None:
    for bench in both(make):
        data = outwards(17, bytes(16))
        for identification in range(5000):
            bench.frame("LAN", frame(data, fragment=0x2000, identification=identification))
        assert bench.edge.stats().fragments_held == 4096
        assert bench.edge.sessions() == []
        assert udp(bench, 4000).startswith("203.0.113.10:")
