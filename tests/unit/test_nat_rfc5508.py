"""The requirements of RFC 5508 (ICMP) one by one, as docs/fidelity.md lists them.

A test shows what the edge does under each profile, be that what the RFC asks for or not.  Each runs on the native edge
and on the readable one.
"""

from __future__ import annotations

from ipaddress import ip_address

from edge.packets import format_frame
from edge.reference_wire import internet_checksum
from tests.model.frames import frame, icmp
from tests.nat_bench import PING, SNAT, WEB, both, hairpins, lasts, outwards, router_error, source, udp
from tests.reference_bench import MakeEdge, left, why
from tests.support import SECOND, default_rule


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
