"""The requirements of RFC 7857 (updates) one by one, as docs/fidelity.md lists them.

A test shows what the edge does under each profile, be that what the RFC asks for or not.  Each runs on the native edge
and on the readable one.
"""

from __future__ import annotations

from edge.addresses import PortRange
from edge.model import Profile, Timers
from tests.model.frames import frame
from tests.nat_bench import FARS, PING, POOL, SNAT, WEB, both, edge, hairpins, lasts, outwards, source, tcp, udp
from tests.reference_bench import Bench, MakeEdge, left, why


def test_7857_2_tcp_states(make: MakeEdge) -> None:
    for bench in both(make):
        bench.send("tcp 10.20.0.10:4000 > 8.8.8.8:80 S")
        states = [bench.edge.sessions()[0].state]
        for flags in ("SA", "A", "FA", "A"):
            bench.reply(flags)
            states.append(bench.edge.sessions()[0].state)
        assert states == [
            "SYN_SENT:CLOSED",
            "ESTABLISHED:SYN_SENT",
            "ESTABLISHED:ESTABLISHED",
            "ESTABLISHED:CLOSING",
            "ESTABLISHED:FIN_WAIT_2",
        ]


def test_7857_2_1_transitory_timeouts_are_set_one_by_one(make: MakeEdge) -> None:
    timers = Timers(tcp_first=241, tcp_opening=242, tcp_closing=243)
    for bench in both(make, timers=timers):
        bench.send("tcp 10.20.0.10:4000 > 8.8.8.8:80 S")
        found = [lasts(bench)]
        for flags in ("SA", "A", "FA"):
            bench.reply(flags)
            found.append(lasts(bench))
        assert found == [241, 242, 7200, 243]


def test_7857_2_2_a_reset_is_translated_and_waited_upon(make: MakeEdge) -> None:
    found = []
    for bench in both(make):
        bench.send("tcp 10.20.0.10:4000 > 8.8.8.8:80 S")
        ((port, text),) = left(bench.reply("RA"))
        assert (port, text) == ("LAN", "tcp 8.8.8.8:80 > 10.20.0.10:4000 RA")
        found.append(lasts(bench))
    assert found == [2, 240]


def test_7857_3_overlapping_ports(make: MakeEdge) -> None:
    found = [
        [tcp(bench, 4000, FARS[0]), tcp(bench, 4002, FARS[1])]
        for bench in both(make, snat_port_range=PortRange(2000, 2000))
    ]
    assert found == [["203.0.113.10:2000"] * 2, ["203.0.113.10:2000", "NAT_PORTS_EXHAUSTED"]]


def test_7857_4_pairs_hand_over_when_no_port_is_left(make: MakeEdge) -> None:
    _, strict = both(make, POOL, snat_port_range=PortRange(2000, 2001))
    used = [tcp(strict, port).partition(":")[0] for port in range(3)]
    assert used == ["203.0.113.12", "203.0.113.12", "203.0.113.13"]


def test_7857_5_mappings_are_of_one_protocol(make: MakeEdge) -> None:
    for bench in both(make):
        assert udp(bench, 4000) != tcp(bench, 4000)


def test_7857_6_filtering_is_by_protocol(make: MakeEdge) -> None:
    for bench in both(make):
        outside = udp(bench, 4000)
        assert why(bench.send(f"tcp 8.8.8.8:53 > {outside} S"))[1] != "SESSION"


def test_7857_7_strangers_refresh_nothing(make: MakeEdge) -> None:
    for bench in both(make):
        outside = udp(bench, 4000)
        (before,) = bench.edge.sessions()
        bench.send(f"udp 1.1.1.1:53 > {outside} wait=5")
        (after,) = bench.edge.sessions()
        assert after.expires_ns == before.expires_ns


def test_7857_7_1_errors_and_resets_outwards(make: MakeEdge) -> None:
    for bench in both(make, WEB, SNAT):
        ((_, arrived),) = left(bench.send("udp 198.51.100.9:7 > 203.0.113.11:53"))
        (before,) = bench.edge.sessions()
        error = f'icmp 10.20.0.20 > 198.51.100.9 port-unreachable of="{arrived}" wait=5'
        assert why(bench.send(error)) == ("ALLOW", "RELATED")
        (after,) = bench.edge.sessions()
        assert after.expires_ns == before.expires_ns
    for bench, seconds in zip(both(make, WEB, SNAT), (2, 240), strict=True):
        bench.send("tcp 198.51.100.9:7 > 203.0.113.11:80 S")
        bench.reply("SA")
        bench.reply("A")
        bench.reply("RA")
        assert lasts(bench) == seconds  # less than the connection had, and starting anew


def test_7857_8_port_parity(make: MakeEdge) -> None:
    _, strict = both(make)
    assert [int(udp(strict, port).rpartition(":")[2]) % 2 for port in (4001, 4003, 4004)] == [1, 1, 0]
    ports = [int(tcp(strict, port).rpartition(":")[2]) for port in range(4000, 4040, 2)]
    assert {port % 2 for port in ports} == {0, 1}  # TCP has no parity to keep


def test_7857_9_ports_are_random(make: MakeEdge) -> None:
    for profile in Profile:
        ports = {udp(Bench(edge(profile), seed, make), 4000) for seed in range(10)}
        assert len(ports) == 10


def test_7857_10_identification_stays(make: MakeEdge) -> None:
    for bench in both(make):
        data = outwards(17, bytes.fromhex("0fa0003500080000"))
        (output,) = bench.frame("LAN", frame(data, identification=0x1234)).outputs
        assert output.frame[18:20] == b"\x12\x34"


def test_7857_11_query_mappings_end_with_their_sessions(make: MakeEdge) -> None:
    for bench in both(make, snat_port_range=PortRange(2000, 2000)):
        assert source(bench, PING) == "id=2000"
        assert source(bench, "icmp 10.20.0.11 > 8.8.8.8 echo-request id=9 wait=60") == "id=2000"


def test_7857_12_queries_hairpin_through_port_translation(make: MakeEdge) -> None:
    for bench in both(make, WEB, SNAT):
        text = hairpins(bench, bench.send("icmp 10.20.0.10 > 203.0.113.11 echo-request id=7"))
        assert text.startswith("icmp 203.0.113.10 > 10.20.0.20 echo-request id=")
        assert hairpins(bench, bench.reply()).startswith("icmp 203.0.113.11 > 10.20.0.10 echo-reply id=7 seq=1")
