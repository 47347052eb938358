"""Datagrams of every size in pieces, up to the largest that IP knows and beyond: more than the random traffic has."""

from __future__ import annotations

import struct
from dataclasses import replace
from ipaddress import ip_address
from random import Random

import pytest

from edge.model import Options
from edge.reference import ReferenceEdge
from edge.runtime import Edge
from edge.verdicts import Output, Verdict
from tests.model.frames import ETHERNET, Parts, frame, icmp, udp
from tests.model.pieces import Piece, mishap
from tests.support import SECOND, edge_config, nat, network, rule, uplink

DATAGRAMS = 200
OPTIONS = (
    b"",
    b"",
    b"\x94\x04\0\0",
    b"\x07\x07\x04\0\0\0\0\0",
    b"\x01\x83\x03\x04" * 10,
    b"\x94\x04\0\0\x44\x04\x05\0",
)
BEFORE = ((), (), (0,), (0, 43), (60,), (43, 60, 43))
BEHIND = ((), (), (60,), (43, 60))


def datagram(random: Random, number: int) -> Piece:
    """A whole one as a single piece: UDP or an echo request, to a machine, to the edge or to itself by NAT."""
    largest = random.choice((100, 3000, 20_000, 65_450, 65_535))
    size = random.randrange(largest) if random.random() < 0.7 else largest
    if number % 2:
        src = ip_address("10.0.0.5").packed
        dst = ip_address(random.choice(("198.51.100.1", "203.0.113.11", "10.0.0.1"))).packed
        head = frame(Parts(17, src, dst, b""), fragment=0, options=random.choice(OPTIONS))[14:]
        size = min(size, 65_515)
        at, protocols = 9, (1, 17)
    else:
        src = ip_address("2001:db8:20::5").packed
        dst = ip_address(random.choice(("2001:db8:99::1", "2001:db8:20::1"))).packed
        head = frame(Parts(44, src, dst, b""), extensions=random.choice(BEFORE))[14:]
        at, protocols = 0, (58, 17)
    protocol = random.choice(protocols)
    size = max(8, size)
    if protocol == 17:
        payload = udp(src, dst, 4000, 53, bytes(size - 8)).payload if size < 65_500 else bytes(size)
    else:
        payload = icmp(src, dst, 8 if number % 2 else 128, 0, 7, number % 5, random.randbytes(size - 8)).payload
    following = protocol
    if not number % 2:
        for kind in random.choice(BEHIND):
            payload, following = bytes((following, 0)) + bytes(6) + payload, kind
        payload = payload[:65_535]
    else:
        head = head[:at] + bytes((protocol,)) + head[at + 1 :]
    return Piece(head, following, payload, 0, more=False, identification=number)


def pieces_of(random: Random, whole: Piece) -> list[Piece]:
    """Fragments of random sizes, some with headers of their own."""
    room = max(8, len(whole.data) // random.choice((2, 3, 20, 40, 63))) + 7 & ~7
    starts, at = [0], 0
    while at + room < len(whole.data):
        at += random.choice((room, max(24, random.randrange(8, room + 8, 8))))
        if at < len(whole.data):
            starts.append(at)
    pieces = [
        replace(whole, data=whole.data[start:end], offset=start, more=end < len(whole.data))
        for start, end in zip(starts, [*starts[1:], len(whole.data)], strict=True)
    ]
    if random.random() < 0.3:
        pieces = mishap(random, pieces)
    random.choice((pieces.reverse, lambda: random.shuffle(pieces), lambda: None))()
    return pieces


@pytest.mark.parametrize("seed", range(4))
def test_datagrams_of_every_size(seed: int) -> None:
    random = Random(f"fragments {seed}")
    config = edge_config(
        uplinks=[uplink("INTERNET", "203.0.113.1/24 203.0.113.10-203.0.113.11", "2001:db8:ff::1/64 2001:db8:ff::10")],
        networks=[network("LAN", "10.0.0.1/24", "2001:db8:20::1/64")],
        firewall=[rule("any")],
        nat_rules=[
            nat("in", "DNAT", "203.0.113.11", "10.0.0.9", priority=10),
            nat("out", "SNAT", "203.0.113.10", "10.0.0.0/24", priority=100),
        ],
        options=Options(mtu=(1280, 1500, 9000, 65_535)[seed], max_fragments=(4096, 100, 40, 4096)[seed]),
    )
    edges = ReferenceEdge(config), Edge(config)
    verdicts = set()
    in_pieces = 0
    for number in range(DATAGRAMS):
        now_ns = number * SECOND
        waiting = [
            Output("LAN", piece.frame(ETHERNET + struct.pack("!H", 0x0800 if number % 2 else 0x86DD)))
            for piece in pieces_of(random, datagram(random, number))
        ]
        unsegmented = random.random() < 0.2
        while waiting:
            output = waiting.pop(0)
            first, second = (
                edge.process(
                    output.port, output.frame, now_ns, unsegmented=unsegmented, fragmentation=output.fragmentation
                )
                for edge in edges
            )
            assert first == second, f"datagram {number}"
            verdicts.add(first.verdict)
            in_pieces += any(item.fragments for item in first.outputs)
            waiting += [item for item in first.outputs if item.hairpin]
        assert edges[0].stats() == edges[1].stats()
    assert {Verdict.HELD, Verdict.ALLOW, Verdict.DROP, Verdict.LOCAL} <= verdicts
    assert in_pieces >= 5
