"""The requirements of RFC 5382 (TCP) one by one, as docs/fidelity.md lists them.

A test shows what the edge does under each profile, be that what the RFC asks for or not.  Each runs on the native edge
and on the readable one.
"""

from __future__ import annotations

from edge.addresses import PortRange
from edge.firewall.system_profiles import system_profile
from tests.nat_bench import FARS, SNAT, WEB, both, hairpins, lasts, router_error, tcp
from tests.reference_bench import MakeEdge, left, why
from tests.support import default_rule, rule


def test_5382_req_1_endpoint_independent_mapping(make: MakeEdge) -> None:
    found = [len({tcp(bench, 4000, far) for far in FARS}) for bench in both(make)]
    assert found == [3, 1]


def test_5382_req_2_handshakes_both_ways(make: MakeEdge) -> None:
    for bench in both(make, WEB, SNAT):
        for text in ("tcp 10.20.0.10:4000 > 8.8.8.8:80 S", "tcp 198.51.100.9:4000 > 203.0.113.11:80 S"):
            assert why(bench.send(text))[0] == "ALLOW"
            for flags in ("SA", "A", "PA", "FA", "FA", "A"):
                assert why(bench.reply(flags)) == ("ALLOW", "SESSION")


def test_5382_req_2a_simultaneous_open(make: MakeEdge) -> None:
    for bench in both(make):
        outside = tcp(bench, 4000, "8.8.8.8:4000")
        assert left(bench.send(f"tcp 8.8.8.8:4000 > {outside} S seq=77")) == [
            ("LAN", "tcp 8.8.8.8:4000 > 10.20.0.10:4000 S")
        ]


def test_5382_req_3_filtering(make: MakeEdge) -> None:
    for bench in both(make):
        outside = tcp(bench, 4000)
        found = [why(bench.send(f"tcp {far} > {outside} S"))[1] for far in ("8.8.8.8:99", "1.1.1.1:53")]
        assert found == ["LOCAL_SERVICE", "LOCAL_SERVICE"]


def test_5382_req_4_unsolicited_syn(make: MakeEdge) -> None:
    strict_firewall = [rule("out", source="10.20.0.0/24"), default_rule("DROP")]
    for bench in both(make, firewall=strict_firewall):
        outcome = bench.send("tcp 198.51.100.9:4000 > 203.0.113.10:80 S")
        assert (why(outcome), left(outcome)) == (("DROP", "FW_DEFAULT"), [])
    for bench in both(make):  # a firewall that admits it: the edge has no such service and says so at once
        ((port, text),) = left(bench.send("tcp 198.51.100.9:4000 > 203.0.113.10:80 S"))
        assert (port, text) == ("INTERNET", "tcp 203.0.113.10:80 > 198.51.100.9:4000 RA")


def test_5382_req_5_idle_timeouts(make: MakeEdge) -> None:
    nsx, strict = both(make)
    found: list[list[float]] = []
    for bench in (nsx, strict):
        bench.send("tcp 10.20.0.10:4000 > 8.8.8.8:80 S")
        seconds = [lasts(bench)]
        for flags in ("SA", "A", "FA", "FA", "A"):
            bench.reply(flags)
            seconds.append(lasts(bench))
        found.append(seconds)
    assert found == [[120, 30, 7200, 900, 4, 2], [240, 240, 7440, 240, 240, 240]]


def test_5382_req_6_no_algs(make: MakeEdge) -> None:
    assert system_profile("FTP") is not None
    for bench in both(make):
        outside = tcp(bench, 4000, "8.8.8.8:21")
        data = f"tcp 8.8.8.8:20 > {outside.partition(':')[0]}:2021 S"
        assert why(bench.send(data))[1] not in ("SESSION", "ALG")


def test_5382_req_7_no_port_overloading(make: MakeEdge) -> None:
    found = [
        [tcp(bench, 4000, FARS[0]), tcp(bench, 4000, FARS[1], machine=11)]
        for bench in both(make, snat_port_range=PortRange(2000, 2000))
    ]
    assert found == [["203.0.113.10:2000"] * 2, ["203.0.113.10:2000", "NAT_PORTS_EXHAUSTED"]]


def test_5382_req_8_hairpinning(make: MakeEdge) -> None:
    for bench in both(make, WEB, SNAT):
        text = hairpins(bench, bench.send("tcp 10.20.0.10:4000 > 203.0.113.11:80 S"))
        assert text.split()[1].startswith("203.0.113.10:")
        assert text.split()[3] == "10.20.0.20:80"
        assert hairpins(bench, bench.reply("SA")).startswith("tcp 203.0.113.11:80 > 10.20.0.10:4000 SA")


def test_5382_req_9_destination_unreachable(make: MakeEdge) -> None:
    for bench in both(make):
        sent = bench.send("tcp 10.20.0.10:4000 > 8.8.8.8:80 S")
        ((port, text),) = left(bench.frame("INTERNET", router_error(sent)))
        assert (port, text.split(" of=")[0]) == ("LAN", "icmp 192.0.2.1 > 10.20.0.10 host-unreachable")
        assert 'of="tcp 10.20.0.10:4000 > 8.8.8.8:80' in text


def test_5382_req_10_icmp_ends_no_connection(make: MakeEdge) -> None:
    for bench in both(make):
        sent = bench.send("tcp 10.20.0.10:4000 > 8.8.8.8:80 S")
        before = bench.edge.sessions()[0]
        for code in (0, 1, 2, 3, 13):
            bench.frame("INTERNET", router_error(sent, code=code))
        (after,) = bench.edge.sessions()
        assert (after.state, after.expires_ns) == (before.state, before.expires_ns)
