"""Packets that leave by a link: resolution, waiting, failure, limits."""

from __future__ import annotations

from ipaddress import ip_address

import pytest

from edge.runtime import Edge
from edge.verdicts import Reason, Verdict
from native.neighbour import LinkCount, LinkVerdict, NeighbourState, OutKind
from tests.links import BROADCAST, EDGE_MAC, HOST_MAC, SECOND, Bench, advertisement, packet, reply, request
from tests.support import acme, nat, network, rule, static_route, uplink

UP, LAN = 0, 1
SEND, HELD, DROPPED = LinkVerdict.L_SEND, LinkVerdict.L_HELD, LinkVerdict.L_DROPPED


def to_host(number: int = 10, port: int = 1) -> bytes:
    return packet(f"udp 198.51.100.9:{port} > 10.20.0.{number}:53")


def test_the_first_packet_waits_until_its_neighbour_answers() -> None:
    bench = Bench(acme())
    verdict, _, ((port, kind, asked, _),) = bench.output(LAN, to_host(), bytes(range(12)))
    assert (verdict, port, kind) == (HELD, LAN, OutKind.OUT_SEND)
    assert asked == request("10.20.0.1", "10.20.0.10", mac=EDGE_MAC)
    verdict, frames = bench.table.input(bench.program, LAN, reply("10.20.0.10", "10.20.0.1"), bench.now)
    assert verdict == LinkVerdict.L_TAKEN
    assert frames == [(LAN, OutKind.OUT_SEND, HOST_MAC + EDGE_MAC + to_host()[12:], bytes(range(12)))]
    assert bench.states(LAN) == {"10.20.0.10": "REACHABLE"}
    assert bench.output(LAN, to_host()) == (SEND, HOST_MAC + EDGE_MAC + to_host()[12:], [])


def test_three_packets_wait_and_the_oldest_gives_way() -> None:
    bench = Bench(acme())
    for number in range(5):
        assert bench.output(LAN, to_host(port=number))[0] == HELD
    _, frames = bench.input(LAN, reply("10.20.0.10", "10.20.0.1"))
    assert [frame[34:36] for frame in frames] == [b"\0\2", b"\0\3", b"\0\4"]
    assert bench.count(LAN, LinkCount.LC_HELD_DROPPED) == 2
    assert bench.count(LAN, LinkCount.LC_REQUESTS_OUT) == 1


def test_whoever_waits_for_nobody_hears_host_unreachable() -> None:
    bench = Bench(acme())
    bench.output(LAN, to_host())
    sent = bench.wait(4 * SECOND)
    assert [frame[12:14] for _, kind, frame, _ in sent if kind == OutKind.OUT_SEND] == [b"\x08\x06"] * 2
    ((port, error),) = [(port, frame) for port, kind, frame, _ in sent if kind == OutKind.OUT_ERROR]
    assert port == LAN
    assert error[26:34] == ip_address("10.20.0.1").packed + ip_address("198.51.100.9").packed
    assert error[34:36] == b"\3\1"
    assert error[42:70] == to_host()[14:42]
    assert bench.states(LAN) == {"10.20.0.10": "FAILED"}
    verdict, _, ((_, kind, again, _),) = bench.output(LAN, to_host())
    assert (verdict, kind, again) == (DROPPED, OutKind.OUT_ERROR, error)
    bench.wait(3 * SECOND)
    assert bench.output(LAN, to_host())[0] == HELD, "after a while the edge asks again"


def test_ipv6_hears_address_unreachable() -> None:
    bench = Bench(acme())
    bench.output(LAN, packet("udp [2001:db8::9]:1 > [2001:db8:20::77]:2"))
    errors = [frame for _, kind, frame, _ in bench.wait(4 * SECOND) if kind == OutKind.OUT_ERROR]
    assert [frame[54:56] for frame in errors] == [b"\1\3"]


def test_about_errors_and_pieces_nobody_hears() -> None:
    bench = Bench(acme())
    bench.output(LAN, packet("icmp 198.51.100.9 > 10.20.0.10 time-exceeded"))
    bench.output(LAN, packet("udp 198.51.100.9:1 > 10.20.0.10:53 len=64 frag=0-39"))
    assert [kind for _, kind, _, _ in bench.wait(4 * SECOND) if kind == OutKind.OUT_ERROR] == []
    assert bench.count(LAN, LinkCount.LC_UNREACHABLE) == 2


def test_sessions_translate_the_error_for_its_receiver() -> None:
    """A client outside that called a public address hears of it from that address, about the packet that it sent."""
    config = acme(
        firewall=[rule("in", destination="10.20.0.10")], nat_rules=[nat("web", "DNAT", "203.0.113.11", "10.20.0.10")]
    )
    edge, bench = Edge(config), Bench(config)
    called = packet("udp 198.51.100.9:1000 > 203.0.113.11:53")
    (out,) = edge.process("INTERNET", called, now_ns=SECOND).outputs
    assert bench.output(LAN, out.frame)[0] == HELD
    ((port, _, error, _),) = [frame for frame in bench.wait(4 * SECOND) if frame[1] == OutKind.OUT_ERROR]
    result = edge.process(("INTERNET", "LAN")[port], error, now_ns=2 * SECOND)
    assert (result.verdict, result.reason) == (Verdict.ALLOW, Reason.RELATED)
    (heard,) = result.outputs
    assert heard.port == "INTERNET"
    assert heard.frame[26:34] == ip_address("203.0.113.11").packed + ip_address("198.51.100.9").packed
    assert heard.frame[42 + 12 : 42 + 20] == called[26:34]


def test_a_neighbour_grows_old_and_is_asked_again() -> None:
    bench = Bench(acme())
    bench.output(LAN, to_host())
    bench.input(LAN, reply("10.20.0.10", "10.20.0.1"))
    assert bench.wait(29 * SECOND) == []
    assert bench.states(LAN) == {"10.20.0.10": "REACHABLE"}
    bench.wait(2 * SECOND)
    assert bench.states(LAN) == {"10.20.0.10": "STALE"}
    assert bench.output(LAN, to_host())[0] == SEND
    assert bench.states(LAN) == {"10.20.0.10": "DELAY"}
    probes = [frame for _, _, frame, _ in bench.wait(15 * SECOND // 2)]
    assert probes == [request("10.20.0.1", "10.20.0.10", mac=EDGE_MAC, to=HOST_MAC)] * 3
    assert bench.states(LAN) == {"10.20.0.10": "PROBE"}
    assert bench.output(LAN, to_host())[0] == SEND
    bench.wait(SECOND)
    assert bench.states(LAN) == {}, "who does not answer is forgotten"


def test_an_answered_probe_makes_it_reachable() -> None:
    bench = Bench(acme())
    bench.input(LAN, request("10.20.0.10", "10.20.0.1"))
    bench.output(LAN, to_host())
    bench.wait(6 * SECOND)
    bench.input(LAN, reply("10.20.0.10", "10.20.0.1"))
    assert bench.states(LAN) == {"10.20.0.10": "REACHABLE"}


@pytest.mark.parametrize(
    ("port", "text", "asked"),
    [
        (UP, "udp 203.0.113.10:1 > 8.8.8.8:53", "203.0.113.1"),
        (UP, "udp 203.0.113.10:1 > 203.0.113.99:53", "203.0.113.99"),
        (UP, "udp 203.0.113.10:1 > 203.0.113.11:53", "203.0.113.1"),  # back to the edge by the provider's router
        (UP, "udp 203.0.113.10:1 > 192.168.7.7:53", "203.0.113.50"),
        (LAN, "udp 8.8.8.8:53 > 192.168.8.8:1", "10.20.0.9"),
        (LAN, "udp 8.8.8.8:53 > 192.168.7.7:1", "10.20.0.8"),  # another hop of the route that prefers the uplink
        (UP, "udp 8.8.8.8:53 > 10.20.0.7:1", "203.0.113.1"),  # an answer by the way the packet came
        (UP, "udp [2001:db8:20::9]:1 > [2001:4860::8]:53", "2001:db8:ff::1"),
    ],
)
def test_the_next_hop(port: int, text: str, asked: str) -> None:
    route = static_route("192.168.7.0/24", "203.0.113.50", name="two ways")
    other = static_route("192.168.7.0/24", "10.20.0.8", distance=9, name="other")
    both = static_route("192.168.8.0/24", "10.20.0.9")
    bench = Bench(acme(routes=[route, other, both]))
    assert bench.output(port, packet(text))[0] == HELD
    assert bench.states(port) == {asked: "INCOMPLETE"}


def test_no_neighbour_leads_there() -> None:
    bench = Bench(acme())
    verdict, _, ((_, kind, frame, _),) = bench.output(LAN, packet("udp 10.20.0.5:53 > 192.168.8.8:1"))
    assert (verdict, kind, frame[34:36]) == (DROPPED, OutKind.OUT_ERROR, b"\3\1")
    assert bench.count(LAN, LinkCount.LC_NO_NEXT_HOP) == 1


@pytest.mark.parametrize(
    ("destination", "mac"),
    [
        ("224.1.2.3", "01005e010203"),
        ("239.129.2.3", "01005e010203"),
        ("255.255.255.255", "ffffffffffff"),
        ("10.20.0.255", "ffffffffffff"),
    ],
)
def test_groups_have_addresses_of_their_own(destination: str, mac: str) -> None:
    verdict, frame, _ = Bench(acme()).output(LAN, packet(f"udp 198.51.100.9:1 > {destination}:2"))
    assert (verdict, frame[:6].hex()) == (SEND, mac)
    verdict, frame, _ = Bench(acme()).output(LAN, packet("udp [2001:db8::9]:1 > [ff0e::1:2:3]:2"))
    assert (verdict, frame[:6].hex()) == (SEND, "333300020003")


def scanned(bench: Bench, addresses: range, step: int) -> None:
    for number in addresses:
        bench.output(LAN, packet(f"udp 198.51.100.9:1 > {ip_address(0x0A140000 + number)}:53"))
        bench.now += step
        bench.table.tick(bench.program, bench.now)


def test_a_scan_throws_nobody_out_who_is_in_use() -> None:
    bench = Bench(acme(networks=[network("LAN", "10.20.0.1/16")]))
    bench.output(LAN, to_host())
    bench.input(LAN, reply("10.20.0.10", "10.20.0.1"))
    bench.input(UP, request("203.0.113.1", "203.0.113.10"))
    scanned(bench, range(256, 6000), SECOND // 500)
    bench.wait(SECOND)
    assert sum(bench.table.states(LAN)) <= 1024
    assert bench.count(LAN, LinkCount.LC_EVICTED) > 4000
    assert bench.states(LAN)["10.20.0.10"] == "REACHABLE"
    assert bench.states(UP) == {"203.0.113.1": "STALE"}


def test_requests_that_a_scan_causes_are_rationed_but_for_routers() -> None:
    bench = Bench(acme(networks=[network("LAN", "10.20.0.1/16")], routes=[static_route("192.168.0.0/16", "10.20.0.9")]))
    scanned(bench, range(256, 2256), 0)
    assert bench.count(LAN, LinkCount.LC_REQUESTS_OUT) == 1000
    assert bench.count(LAN, LinkCount.LC_LIMITED) == 1000
    assert bench.output(LAN, packet("udp 198.51.100.9:1 > 192.168.3.4:53"))[0] == HELD


def test_a_storm_of_requests_is_cut_and_counted_but_routers_are_heard() -> None:
    bench = Bench(acme(networks=[network("LAN", "10.20.0.1/16")]))
    for number in range(3000):
        bench.input(UP, request(f"203.0.113.{100 + number % 100}", "203.0.113.10"))
    assert bench.count(UP, LinkCount.LC_REPLIES_OUT) == 1000
    assert bench.count(UP, LinkCount.LC_STORMS) == 1
    _, answers = bench.input(UP, request("203.0.113.1", "203.0.113.10"))
    assert len(answers) == 1
    bench.now += 2 * SECOND
    _, answers = bench.input(UP, request("203.0.113.100", "203.0.113.10"))
    assert len(answers) == 1


def test_a_router_of_the_configuration_stays_although_it_is_stale() -> None:
    bench = Bench(acme(uplinks=[uplink("INTERNET", "203.0.0.1/16 203.0.0.10")]))
    bench.input(UP, request("203.0.0.1", "203.0.0.10"))
    for number in range(2000):
        bench.input(UP, request(str(ip_address(0xCB000100 + number)), "203.0.0.10"))
        bench.now += SECOND // 100
    assert sum(bench.table.states(UP)) == 1024
    assert bench.states(UP)["203.0.0.1"] == "STALE"


def test_the_whole_table_is_bounded() -> None:
    networks = [network(f"N{number}", f"10.{number}.0.1/16") for number in range(1, 10)]
    bench = Bench(acme(networks=networks))
    for port in range(1, 10):
        for number in range(1, 1000):
            bench.input(port, request(str(ip_address((10 << 24) + (port << 16) + 255 + number)), f"10.{port}.0.1"))
            bench.now += SECOND // 1000
    assert len(bench.table.neighbours(bench.now)) == 8192
    assert (
        bench.count(LAN, LinkCount.LC_EVICTED) + sum(bench.count(port, LinkCount.LC_EVICTED) for port in range(2, 10))
        == 9 * 999 - 8192
    )


def test_all_that_waits_is_bounded() -> None:
    bench = Bench(acme(networks=[network("LAN", "10.20.0.1/16")]))
    scanned(bench, range(256, 256 + 300), 0)
    assert bench.count(LAN, LinkCount.LC_HELD) == 300
    assert bench.count(LAN, LinkCount.LC_HELD_DROPPED) == 44
    assert bench.input(LAN, reply("10.20.1.0", "10.20.0.1"))[1] == [], "the oldest gave way"
    assert len(bench.input(LAN, reply("10.20.2.43", "10.20.0.1"))[1]) == 1


def test_a_held_packet_may_be_as_large_as_a_segment_of_64_kbytes() -> None:
    bench = Bench(acme())
    large = to_host()[:34] + bytes(65535)
    bench.output(LAN, large[:65549])
    (frame,) = bench.input(LAN, reply("10.20.0.10", "10.20.0.1"))[1]
    assert frame[14:] == large[14:65549]
    assert bench.output(LAN, to_host(20) + bytes(65535))[0] == DROPPED


@pytest.mark.parametrize(
    ("frame", "verdict", "count"),
    [
        (HOST_MAC + b"\2\0\0\0\0\x09" + to_host()[12:], DROPPED, LinkCount.LC_OTHER_STATION),
        (EDGE_MAC + EDGE_MAC + to_host()[12:], DROPPED, LinkCount.LC_LOOPED),
        (EDGE_MAC + HOST_MAC + b"\x81\x00\x00\x07" + to_host()[12:], DROPPED, LinkCount.LC_OTHER_VLAN),
        (EDGE_MAC + HOST_MAC + b"\x81\x00\xe0\x00" + to_host()[12:], LinkVerdict.L_PASS, None),
        (BROADCAST + HOST_MAC + to_host()[12:], DROPPED, LinkCount.LC_LINK_BROADCAST),
        (BROADCAST + HOST_MAC + to_host(255)[12:], LinkVerdict.L_PASS, None),
        (EDGE_MAC + HOST_MAC + to_host()[12:], LinkVerdict.L_PASS, None),
        (EDGE_MAC + HOST_MAC + b"\x88\xcc", LinkVerdict.L_PASS, None),
        (EDGE_MAC, LinkVerdict.L_PASS, None),
    ],
)
def test_what_comes_in(frame: bytes, verdict: LinkVerdict, count: LinkCount | None) -> None:
    bench = Bench(acme())
    before = bench.table.counts(LAN)
    assert bench.input(LAN, frame) == (verdict, [])
    changed = {what for what in range(LinkCount.LINK_COUNTS) if bench.table.counts(LAN)[what] != before[what]}
    assert changed == (set() if count is None else {count})


def test_a_port_that_goes_down_forgets() -> None:
    bench = Bench(acme())
    bench.output(LAN, to_host())
    bench.input(LAN, request("10.20.0.11", "10.20.0.1"))
    bench.table.link_down(LAN)
    assert bench.table.neighbours(bench.now) == []
    assert bench.wait(5 * SECOND) == []
    assert sum(bench.table.states(LAN)) == 0


def test_an_override_flag_decides_about_another_address() -> None:
    bench = Bench(acme())
    bench.output(LAN, packet("udp [2001:db8::9]:1 > [2001:db8:20::77]:2"))
    bench.input(LAN, advertisement("2001:db8:20::77", "2001:db8:20::1"))
    assert bench.table.states(LAN)[NeighbourState.N_REACHABLE] == 1
    other = b"\2\0\0\0\0\x09"
    bench.input(LAN, advertisement("2001:db8:20::77", "2001:db8:20::1", mac=other, flags=0x40))
    assert bench.table.neighbours(bench.now)[0][3:5] == (HOST_MAC, NeighbourState.N_STALE)
    bench.input(LAN, advertisement("2001:db8:20::77", "2001:db8:20::1", mac=other, flags=0x60))
    assert bench.table.neighbours(bench.now)[0][3:5] == (other, NeighbourState.N_REACHABLE)
