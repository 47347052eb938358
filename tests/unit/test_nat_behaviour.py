"""The requirements of RFC 4787, 5382, 5508, 6888 and 7857 one by one, as docs/fidelity.md lists them.

A test shows what the edge does under each profile, be that what the RFC asks for or not.  Each runs on the native edge
and on the readable one.
"""

from __future__ import annotations

from ipaddress import ip_address
from itertools import pairwise

import pytest

from edge.addresses import PortRange
from edge.document import from_data
from edge.errors import DocumentError
from edge.firewall.system_profiles import system_profile
from edge.model import STRICT_RFC_TIMERS, EdgeConfig, Profile, Timers
from edge.nat.config import NatRule
from edge.packets import format_frame
from edge.reference import ReferenceEdge
from edge.reference_wire import internet_checksum
from edge.runtime import Edge
from edge.verdicts import Outcome
from tests.model.frames import Parts, frame, icmp
from tests.reference_bench import Bench, MakeEdge, left, why
from tests.support import SECOND, acme, default_rule, nat, rule, uplink, with_options

FARS = ("8.8.8.8:53", "8.8.4.4:53", "8.8.8.8:54")
SNAT = nat("s", "SNAT", "203.0.113.10", "10.20.0.0/24", priority=9)
POOL = nat("s", "SNAT", "203.0.113.12-203.0.113.14", "10.20.0.0/24", priority=9)
WEB = nat("d", "DNAT", "203.0.113.11", "10.20.0.20")
DEFAULT_TIMERS = {Profile.NSX: Timers(), Profile.STRICT_RFC: STRICT_RFC_TIMERS}


@pytest.fixture(params=[Edge, ReferenceEdge], ids=["native", "reference"])
def make(request: pytest.FixtureRequest) -> MakeEdge:
    return request.param


def edge(profile: Profile, *rules: NatRule, firewall: object = None, **options: object) -> EdgeConfig:
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
    return source(bench, f"udp 10.20.0.{machine}:{port} > {far}")


def tcp(bench: Bench, port: int, far: str = FARS[0], machine: int = 10) -> str:
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


# --- RFC 4787: UDP --------------------------------------------------------------------------------------------------


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


# --- RFC 5382: TCP --------------------------------------------------------------------------------------------------


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


# --- RFC 5508: ICMP -------------------------------------------------------------------------------------------------

PING = "icmp 10.20.0.10 > 8.8.8.8 echo-request id=7"


def test_5508_req_1_queries_and_their_answers(make: MakeEdge) -> None:
    for bench in both(make):
        assert why(bench.send(PING)) == ("ALLOW", "FW_DEFAULT")
        assert left(bench.reply()) == [("LAN", "icmp 8.8.8.8 > 10.20.0.10 echo-reply id=7 seq=1")]


def test_5508_req_1a_identifiers_are_independent_of_the_far_end(make: MakeEdge) -> None:
    found = [
        len({source(bench, f"icmp 10.20.0.10 > {far} echo-request id=7") for far in ("8.8.8.8", "8.8.4.4")})
        for bench in both(make)
    ]
    assert found == [2, 1]


def test_5508_req_2_query_timer(make: MakeEdge) -> None:
    found = []
    for bench in both(make):
        bench.send(PING)
        first = lasts(bench)
        bench.reply()
        found.append((first, lasts(bench)))
    assert found == [(6, 6), (60, 60)]


def test_5508_req_3_checksum_of_an_error(make: MakeEdge) -> None:
    for bench in both(make):
        data = bytearray(router_error(bench.send(PING)))
        data[36] ^= 0x55
        assert why(bench.frame("INTERNET", bytes(data))) == ("ALLOW", "RELATED")


def test_5508_req_3a_checksum_of_the_quoted_header(make: MakeEdge) -> None:
    for bench in both(make):
        sent = bench.send(PING)
        ip = bytearray(sent.outputs[0].frame[14:42])
        ip[10] ^= 0x55
        data = frame(icmp(ip_address("192.0.2.1").packed, bytes(ip[12:16]), 3, 1, 0, 0, bytes(ip)))
        assert why(bench.frame("INTERNET", data)) == ("ALLOW", "RELATED")


def test_5508_req_3b_options_of_the_quoted_header(make: MakeEdge) -> None:
    for bench in both(make):
        data = outwards(17, bytes.fromhex("0fa0003500080000"))
        sent = bench.frame("LAN", frame(data, options=b"\x01\x01\x01\x00"))
        ((_, text),) = left(bench.frame("INTERNET", router_error(sent, quote=32)))
        assert 'of="udp 10.20.0.10:4000 > 8.8.8.8:53' in text


def test_5508_req_3c_quoted_transport_checksums_are_not_validated(make: MakeEdge) -> None:
    for bench in both(make):
        sent = bench.send("udp 10.20.0.10:4000 > 8.8.8.8:53")
        ip = bytearray(sent.outputs[0].frame[14:42])
        ip[26] ^= 0x55
        data = frame(icmp(ip_address("192.0.2.1").packed, bytes(ip[12:16]), 3, 1, 0, 0, bytes(ip)))
        assert why(bench.frame("INTERNET", data)) == ("ALLOW", "RELATED")


def test_5508_req_3d_extensions_of_an_error(make: MakeEdge) -> None:
    for bench in both(make):
        sent = bench.send("udp 10.20.0.10:4000 > 8.8.8.8:53")
        ip = sent.outputs[0].frame[14:]
        extension = bytes.fromhex("2000dfff 00080101 00010101")
        payload = ip[:28].ljust(128, b"\0") + extension
        data = frame(icmp(ip_address("192.0.2.1").packed, ip[12:16], 11, 0, 0, 0, payload))
        outcome = bench.frame("INTERNET", data)
        assert why(outcome) == ("ALLOW", "RELATED")
        assert outcome.outputs[0].frame.endswith(extension)
        assert internet_checksum(outcome.outputs[0].frame[34:]) == 0


def test_5508_req_4_errors_from_outside(make: MakeEdge) -> None:
    for bench in both(make):
        sent = bench.send("udp 10.20.0.10:4000 > 8.8.8.8:53")
        (output,) = bench.frame("INTERNET", router_error(sent, 11, 0)).outputs
        assert format_frame(output.frame) == (
            'icmp 192.0.2.1 > 10.20.0.10 time-exceeded of="udp 10.20.0.10:4000 > 8.8.8.8:53"'
        )
        quoted = bytearray(sent.outputs[0].frame)
        quoted[34:36] = b"\x04\x04"  # another source port, to which there is no mapping
        unknown = frame(icmp(ip_address("192.0.2.1").packed, bytes(quoted[26:30]), 11, 0, 0, 0, bytes(quoted[14:42])))
        outcome = bench.frame("INTERNET", unknown)
        assert (why(outcome), left(outcome)) == (("DROP", "ICMP_UNRELATED"), [])


def test_5508_req_5_errors_from_inside(make: MakeEdge) -> None:
    for bench in both(make, WEB, SNAT):
        ((_, arrived),) = left(bench.send("udp 198.51.100.9:7 > 203.0.113.11:53"))
        # A router of the inside answers for the machine; outside, it has the address that was called.
        outcome = bench.send(f'icmp 10.20.0.77 > 198.51.100.9 port-unreachable of="{arrived}"')
        assert left(outcome) == [
            ("INTERNET", 'icmp 203.0.113.11 > 198.51.100.9 port-unreachable of="udp 198.51.100.9:7 > 203.0.113.11:53"')
        ]
        stranger = arrived.replace(":7 ", ":8 ")
        outcome = bench.send(f'icmp 10.20.0.77 > 198.51.100.9 port-unreachable of="{stranger}"')
        assert (why(outcome), left(outcome)) == (("DROP", "ICMP_UNRELATED"), [])


def test_5508_req_6_errors_do_not_refresh_queries(make: MakeEdge) -> None:
    for bench in both(make):
        sent = bench.send(PING)
        (before,) = bench.edge.sessions()
        bench.now_ns += 3 * SECOND
        assert why(bench.frame("INTERNET", router_error(sent))) == ("ALLOW", "RELATED")
        (after,) = bench.edge.sessions()
        assert after.expires_ns == before.expires_ns


def test_5508_req_7_queries_and_errors_hairpin(make: MakeEdge) -> None:
    for bench in both(make, WEB, SNAT):
        text = hairpins(bench, bench.send("icmp 10.20.0.10 > 203.0.113.11 echo-request id=7"))
        assert text.split()[3] == "10.20.0.20"
        text = hairpins(bench, bench.send(f'icmp 10.20.0.20 > 203.0.113.10 host-unreachable of="{text}"'))
        assert text.startswith("icmp 203.0.113.11 > 10.20.0.10 host-unreachable")


def test_5508_req_7a_a_hairpinned_error_goes_to_whom_it_quotes(make: MakeEdge) -> None:
    for bench in both(make, WEB, SNAT):
        arrived = hairpins(bench, bench.send("udp 10.20.0.10:4000 > 203.0.113.11:53"))
        text = hairpins(bench, bench.send(f'icmp 10.20.0.20 > 203.0.113.10 port-unreachable of="{arrived}"'))
        head, _, quoted = text.partition(' of="')
        assert head == "icmp 203.0.113.11 > 10.20.0.10 port-unreachable"
        assert quoted.startswith("udp 10.20.0.10:4000 > 203.0.113.11:53")


def test_5508_req_8_no_room_for_a_session(make: MakeEdge) -> None:
    for bench in both(make, max_sessions=1):
        udp(bench, 4000)
        outcome = bench.send("udp 10.20.0.10:4002 > 8.8.8.8:53")
        assert (why(outcome), left(outcome)) == (("DROP", "SESSION_LIMIT"), [])
    for bench in both(make, firewall=[default_rule("REJECT")]):
        ((_, text),) = left(bench.send("udp 10.20.0.10:4000 > 8.8.8.8:53"))
        assert text.startswith("icmp 10.20.0.1 > 10.20.0.10 admin-prohibited")


def test_5508_req_9_answers_go_to_every_interface(make: MakeEdge) -> None:
    for bench in both(make):
        for text, port in (
            ("udp 10.20.0.10:4000 > 8.8.8.8:53 ttl=1", "LAN"),
            ("udp 198.51.100.9:4000 > 203.0.113.10:53", "INTERNET"),
        ):
            assert [output for output, _ in left(bench.send(text))] == [port]


def test_5508_req_10_which_messages_there_are(make: MakeEdge) -> None:
    for bench in both(make):
        sent = bench.send("udp 10.20.0.10:4000 > 8.8.8.8:53")
        passes = {
            kind: why(bench.frame("INTERNET", router_error(sent, kind, 0)))[0] == "ALLOW" for kind in (3, 4, 5, 11, 12)
        }
        # Unreachable, time exceeded and parameter problem; source quench too; no redirect.
        assert passes == {3: True, 4: True, 5: False, 11: True, 12: True}
        queries = ("echo-request", "timestamp-request", "type=15 code=0", "type=17 code=0")
        for query in queries:
            assert why(bench.send(f"icmp 10.20.0.10 > 8.8.8.8 {query}"))[0] == "ALLOW"


def test_5508_req_10d_f_how_errors_are_sent(make: MakeEdge) -> None:
    for bench in both(make):
        expired = "udp 10.20.0.10:4000 > 8.8.8.8:53 ttl=1"
        (output,) = bench.send(expired).outputs
        assert output.frame[15] == 0xC0  # precedence: internetwork control
        about_an_error = f'icmp 10.20.0.10 > 8.8.8.8 time-exceeded of="{expired}" ttl=1'
        assert left(bench.send(about_an_error)) == []
        assert sum(len(bench.send(expired).outputs) for _ in range(50)) == 50  # no limit to their rate


def test_5508_req_11_messages_that_are_neither_query_nor_error(make: MakeEdge) -> None:
    for bench in both(make):
        assert why(bench.send("icmp 10.20.0.10 > 8.8.8.8 type=9 code=0")) == ("ALLOW", "FW_DEFAULT")
        assert len(bench.edge.sessions()) == 1


# --- RFC 6888: carrier-grade NAT ------------------------------------------------------------------------------------


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


# --- RFC 7857: updates ----------------------------------------------------------------------------------------------


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
