"""Neighbour discovery on a served edge's links, byte by byte."""

from __future__ import annotations

import pytest

from native.neighbour import LinkCount, LinkVerdict, NeighbourState
from tests.links import EDGE_MAC, HOST_MAC, OTHER_MAC, SECOND, Bench, advertisement, icmp6, packet, solicitation
from tests.support import acme

UP, LAN = 0, 1
TAKEN, DROPPED, PASS = LinkVerdict.L_TAKEN, LinkVerdict.L_DROPPED, LinkVerdict.L_PASS
LINK_LOCAL = "fe80::e0:ff:fe00:1"
HOST = "2001:db8:20::77"
GATEWAY = "2001:db8:20::1"


def hexed(text: str) -> bytes:
    return bytes.fromhex(text)


def test_a_solicitation_for_the_gateway_is_answered() -> None:
    bench = Bench(acme())
    frame = hexed(
        "3333ff000001 0250de000001 86dd 60000000 0020 3a ff"
        "20010db8002000000000000000000077 ff0200000000000000000001ff000001"
        "87 00 3d30 00000000 20010db8002000000000000000000001 01 01 0250de000001"
    )
    assert solicitation(HOST, GATEWAY)[:56] == frame[:56]
    verdict, (answer,) = bench.input(LAN, solicitation(HOST, GATEWAY))
    assert verdict == TAKEN
    assert answer[:56] + answer[58:] == hexed(
        "0250de000001 02e000000001 86dd 60000000 0020 3a ff"
        "20010db8002000000000000000000001 20010db8002000000000000000000077"
        "88 00      e0000000 20010db8002000000000000000000001 02 01 02e000000001"
    )
    assert bench.states(LAN) == {HOST: "STALE"}


@pytest.mark.needs("scapy")
def test_scapy_reads_the_answer_alike() -> None:
    from scapy.layers import inet6
    from scapy.layers import l2 as layers

    _, (answer,) = Bench(acme()).input(LAN, solicitation(HOST, GATEWAY))
    told = layers.Ether(answer)
    advertised = told[inet6.ICMPv6ND_NA]
    assert (advertised.R, advertised.S, advertised.O, advertised.tgt) == (1, 1, 1, GATEWAY)
    assert told[inet6.ICMPv6NDOptDstLLAddr].lladdr == "02:e0:00:00:00:01"
    given, advertised.cksum = advertised.cksum, None
    assert layers.Ether(bytes(told))[inet6.ICMPv6ND_NA].cksum == given
    made = (
        layers.Ether(src="02:50:de:00:00:01", dst="33:33:ff:00:00:01")
        / inet6.IPv6(src=HOST, dst="ff02::1:ff00:1", hlim=255)
        / inet6.ICMPv6ND_NS(tgt=GATEWAY)
        / inet6.ICMPv6NDOptSrcLLAddr(lladdr="02:50:de:00:00:01")
    )
    assert bytes(made) == solicitation(HOST, GATEWAY)


def test_the_link_local_address_is_of_the_port() -> None:
    bench = Bench(acme())
    _, (answer,) = bench.input(LAN, solicitation("fe80::2", LINK_LOCAL))
    assert answer[22:38].hex() == "fe8000000000000000e000fffe000001"
    assert bench.input(LAN, solicitation("fe80::2", "fe80::3")) == (TAKEN, [])
    assert bench.states(LAN) == {"fe80::2": "STALE"}


def test_who_looks_whether_an_address_is_free_is_told_with_all_others() -> None:
    _, (answer,) = Bench(acme()).input(LAN, solicitation("::", GATEWAY, option=b""))
    assert answer[:6].hex() == "333300000001"
    assert answer[38:54].hex() == "ff020000000000000000000000000001"
    assert answer[58] == 0xA0, "router, override, not solicited"


def test_without_the_option_the_sender_of_the_frame_is_answered() -> None:
    bench = Bench(acme())
    _, (answer,) = bench.input(LAN, solicitation(HOST, GATEWAY, option=b""))
    assert answer[:6] == HOST_MAC
    assert bench.states(LAN) == {}


@pytest.mark.parametrize(
    "frame",
    [
        solicitation(HOST, GATEWAY, option=b"\1\0" + HOST_MAC),  # an option without length
        solicitation(HOST, GATEWAY, option=b"\1\2" + HOST_MAC),  # a longer one than the message
        solicitation(HOST, GATEWAY, option=b"\1\1" + b"\xff" * 6),
        solicitation(HOST, GATEWAY, option=b"\1\1" + EDGE_MAC),
        solicitation("::", GATEWAY),  # nobody has no address
        solicitation(HOST, "ff02::5"),
        icmp6(HOST, GATEWAY, bytes([135, 1]) + bytes(6) + bytes(16)),  # code
        icmp6(HOST, GATEWAY, bytes([135, 0]) + bytes(6) + bytes(8)),  # cut short
        icmp6("::", GATEWAY, bytes([135, 0]) + bytes(6) + hexed("20010db8002000000000000000000001")),
        advertisement(HOST, "ff02::1", flags=0x60),  # solicited, but to all
        advertisement("ff02::5", GATEWAY),
        solicitation(HOST, GATEWAY)[:-1] + b"\0",  # checksum
    ],
)
def test_nonsense_is_dropped(frame: bytes) -> None:
    bench = Bench(acme())
    assert bench.input(LAN, frame) == (DROPPED, [])
    assert bench.count(LAN, LinkCount.LC_INVALID) == 1
    assert bench.states(LAN) == {}


def test_what_has_crossed_a_router_is_no_neighbour_discovery() -> None:
    body = bytes([135, 0]) + bytes(6) + hexed("20010db8002000000000000000000001") + b"\1\1" + HOST_MAC
    bench = Bench(acme())
    assert bench.input(LAN, icmp6(HOST, GATEWAY, body, hops=254)) == (PASS, [])
    assert bench.input(LAN, icmp6(HOST, "2001:db8:9::9", body)) == (PASS, []), "on its way to somebody else"
    assert bench.input(LAN, icmp6(HOST, GATEWAY, b"\x80\0\0\0\0\0\0\0")) == (PASS, []), "an echo request"


def test_unasked_advertisements_teach_nothing_about_strangers() -> None:
    bench = Bench(acme())
    assert bench.input(LAN, advertisement(HOST, "ff02::1", flags=0x20)) == (TAKEN, [])
    assert bench.states(LAN) == {}


def test_resolution_asks_the_group_and_sends_what_waited() -> None:
    bench = Bench(acme())
    waiting = packet(f"udp [2001:db8::9]:1 > [{HOST}]:2")
    _, _, ((_, _, asked, _),) = bench.output(LAN, waiting)
    assert asked == solicitation(GATEWAY, HOST, mac=EDGE_MAC)
    _, (frame,) = bench.input(LAN, advertisement(HOST, GATEWAY))
    assert frame == HOST_MAC + EDGE_MAC + waiting[12:]
    assert bench.states(LAN) == {HOST: "REACHABLE"}
    bench.wait(31 * SECOND)
    bench.output(LAN, waiting)
    ((_, _, probe, _),) = bench.wait(11 * SECOND // 2)
    assert probe[:6] == HOST_MAC
    assert probe[38:54] == probe[62:78], "a probe goes to the neighbour itself"


def test_a_duplicate_of_an_own_address_is_contradicted() -> None:
    bench = Bench(acme())
    verdict, (answer,) = bench.input(LAN, advertisement(GATEWAY, "ff02::1", mac=OTHER_MAC, flags=0x20))
    assert (verdict, answer[:6].hex(), answer[54], answer[58]) == (TAKEN, "333300000001", 136, 0xA0)
    assert bench.input(LAN, solicitation(GATEWAY, HOST, mac=OTHER_MAC)) == (TAKEN, [])
    assert bench.count(LAN, LinkCount.LC_DUPLICATES) == 2


def test_a_router_solicitation_teaches_and_is_not_answered() -> None:
    bench = Bench(acme())
    body = bytes([133, 0]) + bytes(6) + b"\1\1" + HOST_MAC
    assert bench.input(LAN, icmp6("fe80::2", "ff02::2", body, to=hexed("333300000002"))) == (TAKEN, [])
    assert bench.table.neighbours(bench.now)[0][3:5] == (HOST_MAC, NeighbourState.N_STALE)
    advertised = bytes([134, 0]) + bytes(14)
    assert bench.input(LAN, icmp6("fe80::3", "ff02::1", advertised, to=hexed("333300000001"))) == (TAKEN, [])


def test_multicast_listener_reports_are_left_to_the_pipeline() -> None:
    frame = hexed("333300000016 0250de000001 86dd 60000000 0024 00 01") + bytes(16) + hexed("ff02" + 13 * "00" + "16")
    frame += hexed("3a 00 0502 0000 0100") + hexed("8f00") + bytes(26)
    assert Bench(acme()).input(LAN, frame) == (PASS, [])


def test_a_port_that_comes_up_announces_itself_last_by_its_link_local_address() -> None:
    bench = Bench(acme(), quiet=False)
    targets = [frame[62:78].hex() for port, _, frame, _ in bench.wait(SECOND) if port == LAN and frame[12] == 0x86]
    assert targets == ["20010db8002000000000000000000001", "fe8000000000000000e000fffe000001"]
