"""ARP on a served edge's links, byte by byte."""

from __future__ import annotations

import pytest

from native.neighbour import LinkCount, LinkVerdict, NeighbourState
from tests.links import BROADCAST, EDGE_MAC, HOST_MAC, OTHER_MAC, SECOND, Bench, packet, reply, request
from tests.support import acme, nat, network, uplink

UP, LAN = 0, 1
TAKEN, DROPPED = LinkVerdict.L_TAKEN, LinkVerdict.L_DROPPED


def hexed(text: str) -> bytes:
    return bytes.fromhex(text)


def test_a_request_for_the_gateway_is_answered() -> None:
    bench = Bench(acme())
    frame = hexed("ffffffffffff 0250de000001 0806 0001 0800 06 04 0001 0250de000001 0a14000a 000000000000 0a140001")
    assert request("10.20.0.10", "10.20.0.1") == frame
    assert bench.input(LAN, frame) == (
        TAKEN,
        [hexed("0250de000001 02e000000001 0806 0001 0800 06 04 0002 02e000000001 0a140001 0250de000001 0a14000a")],
    )
    assert bench.table.neighbours(bench.now) == [(LAN, 4, 0x0A14000A, HOST_MAC, NeighbourState.N_STALE, 0)]


@pytest.mark.needs("scapy")
def test_scapy_reads_the_answer_alike() -> None:
    from scapy.layers import l2 as layers

    _, (answer,) = Bench(acme()).input(LAN, request("10.20.0.10", "10.20.0.1"))
    arp = layers.Ether(answer)[layers.ARP]
    assert (arp.op, arp.hwsrc, arp.psrc, arp.hwdst, arp.pdst) == (
        *(2, "02:e0:00:00:00:01", "10.20.0.1"),
        *("02:50:de:00:00:01", "10.20.0.10"),
    )
    asked = layers.Ether(dst="ff:ff:ff:ff:ff:ff", src="02:50:de:00:00:01") / layers.ARP(
        op=1, hwsrc="02:50:de:00:00:01", psrc="10.20.0.10", hwdst="00:00:00:00:00:00", pdst="10.20.0.1"
    )
    assert bytes(asked) == request("10.20.0.10", "10.20.0.1")


@pytest.mark.parametrize(
    ("target", "answered"),
    [
        ("203.0.113.10", True),  # primary
        ("203.0.113.11", True),  # allocated
        ("203.0.113.40", True),  # external address of a NAT rule, not allocated
        ("203.0.113.41", False),  # of one that is not enabled
        ("203.0.113.42", False),  # named by NO_DNAT
        ("203.0.113.12", False),  # nobody's
        ("203.0.113.1", False),  # the provider's router, although a pool covers it
        ("203.0.113.0", False),
        ("203.0.113.255", False),
        ("198.18.0.9", False),  # external, but in no subnet of the uplink
        ("10.20.0.1", False),  # the edge's, but on another link
    ],
)
def test_an_uplink_answers_for_what_the_edge_owns_there(target: str, answered: bool) -> None:
    rules = [
        nat("one", "DNAT", "203.0.113.40", "10.20.0.10"),
        nat("off", "DNAT", "203.0.113.41", "10.20.0.10", enabled=False),
        nat("not", "NO_DNAT", "203.0.113.42"),
        nat("pool", "SNAT", "203.0.113.0/31", "10.20.0.0/24"),
        nat("last", "SNAT", "203.0.113.255", "10.20.0.0/24"),
        nat("elsewhere", "REFLEXIVE", "198.18.0.9", "10.20.0.11"),
    ]
    _, answers = Bench(acme(nat_rules=rules)).input(UP, request("203.0.113.1", target))
    assert bool(answers) is answered


def test_an_isolated_network_is_not_attached() -> None:
    bench = Bench(acme(networks=[network("CAGE", "10.9.0.1/24", kind="ISOLATED")]))
    assert bench.input(1, request("10.9.0.5", "10.9.0.1")) == (TAKEN, [])
    assert bench.output(1, packet("udp 203.0.113.10:1 > 10.9.0.5:2"))[::2] == (DROPPED, [])


def test_an_address_probe_is_answered_and_teaches_nothing() -> None:
    bench = Bench(acme())
    _, (answer,) = bench.input(LAN, request("0.0.0.0", "10.20.0.1"))
    assert answer == HOST_MAC + EDGE_MAC + hexed(
        "0806 0001 0800 06 04 0002 02e000000001 0a140001 0250de000001 00000000"
    )
    assert bench.states(LAN) == {}


def test_who_asks_by_an_address_of_another_network_is_answered_and_not_remembered() -> None:
    """Linux does, by the address that the packet has which is to be sent, unless arp_announce says otherwise."""
    bench = Bench(acme())
    _, (answer,) = bench.input(LAN, request("10.21.0.5", "10.20.0.1"))
    assert answer == HOST_MAC + EDGE_MAC + hexed(
        "0806 0001 0800 06 04 0002 02e000000001 0a140001 0250de000001 0a150005"
    )
    assert bench.states(LAN) == {}
    assert bench.count(LAN, LinkCount.LC_REPLIES_OUT) == 1
    assert bench.input(LAN, request("10.21.0.5", "10.20.0.99")) == (TAKEN, [])


@pytest.mark.parametrize("sender", ["10.20.0.0", "10.20.0.255", "224.0.0.1", "255.255.255.255", "127.0.0.1", "0.0.0.5"])
def test_a_sender_that_no_station_can_be_is_ignored(sender: str) -> None:
    bench = Bench(acme())
    assert bench.input(LAN, request(sender, "10.20.0.1")) == (TAKEN, [])
    assert bench.states(LAN) == {}
    assert bench.count(LAN, LinkCount.LC_IGNORED) == 1


@pytest.mark.parametrize(
    "change",
    [
        (14, hexed("0006")),  # hardware
        (16, hexed("86dd")),  # protocol
        (18, hexed("08")),
        (19, hexed("10")),
        (20, hexed("0003")),  # operation
        (22, BROADCAST),
        (22, bytes(6)),
    ],
)
def test_nonsense_is_dropped(change: tuple[int, bytes]) -> None:
    at, value = change
    frame = bytearray(request("10.20.0.10", "10.20.0.1"))
    frame[at : at + len(value)] = value
    bench = Bench(acme())
    assert bench.input(LAN, bytes(frame)) == (DROPPED, [])
    assert bench.input(LAN, bytes(frame[:41])) == (DROPPED, [])
    assert bench.count(LAN, LinkCount.LC_INVALID) == 2


def test_of_strangers_nothing_is_learned() -> None:
    bench = Bench(acme())
    bench.input(LAN, reply("10.20.0.77", "10.20.0.1"))
    bench.input(LAN, request("10.20.0.77", "10.20.0.77"))
    bench.input(LAN, request("10.20.0.77", "10.20.0.78"))
    assert bench.states(LAN) == {}
    assert bench.count(LAN, LinkCount.LC_IGNORED) == 3


def test_an_unasked_reply_does_not_make_a_neighbour_reachable() -> None:
    bench = Bench(acme())
    bench.input(LAN, request("10.20.0.10", "10.20.0.1"))
    bench.input(LAN, reply("10.20.0.10", "10.20.0.1"))
    assert bench.states(LAN) == {"10.20.0.10": "STALE"}
    bench.input(LAN, reply("10.20.0.10", "10.20.0.10", mac=OTHER_MAC, to=BROADCAST))
    assert bench.table.neighbours(bench.now)[0][3:5] == (OTHER_MAC, NeighbourState.N_STALE)


def test_a_duplicate_of_an_own_address_is_contradicted_every_ten_seconds() -> None:
    bench = Bench(acme())
    thief = request("10.20.0.1", "10.20.0.1", mac=OTHER_MAC)
    announcement = BROADCAST + EDGE_MAC + hexed("0806 0001 0800 06 04 0001 02e000000001 0a140001 000000000000 0a140001")
    assert bench.input(LAN, thief) == (TAKEN, [announcement])
    bench.now += 10 * SECOND - 1
    assert bench.input(LAN, thief) == (TAKEN, [])
    bench.now += 1
    assert bench.input(LAN, thief) == (TAKEN, [announcement])
    assert bench.count(LAN, LinkCount.LC_DUPLICATES) == 3
    assert bench.states(LAN) == {}


def test_a_port_that_comes_up_announces_every_address_twice() -> None:
    bench = Bench(acme(uplinks=[uplink("INTERNET", "203.0.113.1/24 203.0.113.10-203.0.113.12")]), quiet=False)
    ticks = [(frames, bench.now // SECOND) for _ in range(50) for frames in [bench.wait(SECOND // 10)]]
    sent = [(second, frame) for frames, second in ticks for port, _, frame, _ in frames if port == UP]
    assert [frame[28:32] for _, frame in sent] == [bytes([203, 0, 113, last]) for last in (10, 11, 12)] * 2
    assert all(frame[:6] == BROADCAST and frame[28:32] == frame[38:42] for _, frame in sent)
    assert sent[3][0] - sent[0][0] == 2


def test_announcements_are_paced() -> None:
    bench = Bench(acme(uplinks=[uplink("INTERNET", "203.0.0.1/16 203.0.1.0-203.0.200.255")], networks=[]), quiet=False)
    ticks = []
    while len(ticks) < 900:
        bench.now += SECOND // 100
        ticks.append(len(bench.table.tick(bench.program, bench.now)))
    assert max(ticks) == 16
    assert sum(ticks) == 2 * 4096, "those beyond do not announce themselves"


def test_a_program_that_brings_addresses_announces_them() -> None:
    bench = Bench(acme())
    more = acme(uplinks=[uplink("INTERNET", "203.0.113.1/24 203.0.113.10-203.0.113.12")])
    new = Bench(more).program
    bench.input(LAN, request("10.20.0.10", "10.20.0.1"))
    bench.table.reserve(new)
    bench.table.swap(bench.program, new, [0, 1], bench.now)
    bench.program = new
    assert {(port, frame[28:32]) for port, _, frame, _ in bench.wait(SECOND)} == {
        (UP, bytes([203, 0, 113, last])) for last in (10, 11, 12)
    }
    assert bench.states(LAN) == {"10.20.0.10": "STALE"}


def test_neighbours_follow_their_port_to_another_number() -> None:
    bench = Bench(acme())
    bench.input(LAN, request("10.20.0.10", "10.20.0.1"))
    bench.input(UP, request("203.0.113.1", "203.0.113.10"))
    new = Bench(acme(networks=[network("NEW", "10.30.0.1/24"), network("LAN", "10.20.0.1/24")])).program
    bench.table.reserve(new)
    bench.table.swap(bench.program, new, [None, 2], bench.now)
    assert [(row[0], row[2]) for row in bench.table.neighbours(bench.now)] == [(2, 0x0A14000A)]
    assert bench.table.states(2)[NeighbourState.N_STALE] == 1
    bench.program = new
    assert bench.output(2, packet("udp 203.0.113.10:1 > 10.20.0.10:2"))[0] == LinkVerdict.L_SEND
