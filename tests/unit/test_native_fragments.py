"""Datagrams in pieces through the native engine: its memory, its order of doubts, its cuts.

What a verdict should be, tests/model holds against the reference; here are the corners that random traffic seldom
meets.
"""

from __future__ import annotations

import random
import struct
from dataclasses import replace
from ipaddress import ip_address
from itertools import permutations

import pytest

from edge.model import EdgeConfig
from edge.runtime import Edge
from edge.verdicts import Fragmentation, Outcome, Output, Reason, Stage, StepResult, Verdict
from tests.support import SECOND, acme, default_rule, edge_config, nat, network, uplink, with_options

MACHINE, RESOLVER = "10.20.0.10", "8.8.8.8"
MACHINE6, RESOLVER6 = "fd00:20::10", "2001:db8:1::1"


def checksum(data: bytes) -> int:
    data += bytes(len(data) % 2)
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total > 0xFFFF:
        total = (total & 0xFFFF) + (total >> 16)
    return total ^ 0xFFFF


def udp_data(size: int, sport: int = 4000) -> bytes:
    """A UDP datagram of so many bytes, without a checksum (IPv4) or with any (IPv6)."""
    body = random.Random(size).randbytes(size - 8)
    return struct.pack("!HHHH", sport, 53, size, 0) + body


def piece4(
    data: bytes,
    first: int,
    end: int,
    *,
    ident: int = 7,
    more: bool | None = None,
    df: bool = False,
    options: bytes = b"",
    protocol: int = 17,
    source: str = MACHINE,
    target: str = RESOLVER,
) -> bytes:
    """An Ethernet frame with bytes ``first`` to ``end`` of an IPv4 datagram's data."""
    more = end < len(data) if more is None else more
    payload = data[first:end]
    header = 20 + len(options)
    flags = first >> 3 | (0x2000 if more else 0) | (0x4000 if df else 0)
    ends = ip_address(source).packed + ip_address(target).packed
    head = struct.pack("!BBHHHBBH", 0x40 | header // 4, 0, header + len(payload), ident, flags, 64, protocol, 0)
    head = head[:10] + struct.pack("!H", checksum(head + ends + options)) + ends + options
    return bytes(12) + b"\x08\x00" + head + payload


def piece6(
    data: bytes,
    first: int,
    end: int,
    *,
    ident: int = 7,
    more: bool | None = None,
    before: bytes = b"",
    types: tuple[int, int] = (44, 17),
    source: str = MACHINE6,
    target: str = RESOLVER6,
) -> bytes:
    """Likewise of IPv6; ``before`` are headers before the Fragment header, ``types`` the first header's and that of
    the data."""
    more = end < len(data) if more is None else more
    payload = before + struct.pack("!BBHI", types[1], 0, first | more, ident) + data[first:end]
    ends = ip_address(source).packed + ip_address(target).packed
    return bytes(12) + b"\x86\xdd" + struct.pack("!IHBB", 6 << 28, len(payload), types[0], 64) + ends + payload


def dual(**options: object) -> EdgeConfig:
    config = edge_config(
        uplinks=[uplink("INTERNET", "203.0.113.1/24 203.0.113.10-203.0.113.11", "2001:db8::1/64 2001:db8::10")],
        networks=[network("LAN", "10.20.0.1/24", "fd00:20::1/64"), network("DMZ", "10.30.0.1/24")],
        firewall=[default_rule("ALLOW")],
    )
    return with_options(config, **options)


def why(outcome: Outcome) -> tuple[Verdict, Reason]:
    return outcome.verdict, outcome.reason


HELD = (Verdict.HELD, Reason.FRAGMENT_HELD)
ERROR = (Verdict.DROP, Reason.FRAGMENT_ERROR)
LIMIT = (Verdict.DROP, Reason.FRAGMENT_LIMIT)
ALLOWED = (Verdict.ALLOW, Reason.FW_DEFAULT)


def only(outcome: Outcome) -> Output:
    (output,) = outcome.outputs
    return output


def held(edge: Edge) -> int:
    return edge.stats().fragments_held


# ------------------------------------------------------------------------------------------------------ joining


@pytest.mark.parametrize("order", list(permutations(range(4))))
@pytest.mark.parametrize("version", [4, 6])
def test_pieces_may_come_in_any_order(order: tuple[int, ...], version: int) -> None:
    data = udp_data(3900)
    cut = piece4 if version == 4 else piece6
    frames = [cut(data, first, min(first + 1000, 3900)) for first in (0, 1000, 2000, 3000)]
    edge = Edge(dual())
    outcomes = [edge.process("LAN", frames[number], 0) for number in order]
    assert [why(outcome) for outcome in outcomes] == [HELD] * 3 + [ALLOWED]
    assert [(step.stage, step.result) for step in outcomes[3].steps][:2] == [
        (Stage.REASSEMBLY, StepResult.COMPLETE),
        (Stage.SESSION, StepResult.MISS),
    ]
    output = only(outcomes[3])
    header = 20 if version == 4 else 40
    assert output.frame[14 + header :] == data
    assert output.fragmentation == Fragmentation(1020 if version == 4 else 1048, 7, 0 if version == 4 else 40)
    assert len(output.fragments) == 4
    assert held(edge) == 0
    assert edge.stats().datagrams_reassembled == 1
    assert edge.sessions()[0].bytes == (header + 3900, 0)


def test_the_largest_datagrams() -> None:
    edge = Edge(dual())
    data = udp_data(65515)
    pieces = [(first, min(first + 1480, 65515)) for first in range(0, 65515, 1480)]
    outcomes = [edge.process("LAN", piece4(data, *ends), 0) for ends in pieces]
    output = only(outcomes[-1])
    assert (len(output.frame), output.frame[34:], len(output.fragments)) == (14 + 65535, data, 45)
    assert max(map(len, output.fragments)) == 14 + 1500
    data = udp_data(65535)
    pieces = [(first, min(first + 1448, 65535)) for first in range(0, 65535, 1448)]
    outcomes = [edge.process("LAN", piece6(data, *ends), 0) for ends in pieces]
    output = only(outcomes[-1])
    assert (len(output.frame), output.frame[54:], len(output.fragments)) == (14 + 65575, data, 46)
    # It may enter again as it is.
    again = Edge(dual()).process("LAN", output.frame, 0, fragmentation=output.fragmentation)
    assert [len(frame) for frame in only(again).fragments] == [len(frame) for frame in output.fragments]


def test_headers_that_make_it_too_long_are_found_at_the_end() -> None:
    edge = Edge(dual())
    data = udp_data(65515)
    outcomes = [edge.process("LAN", piece4(data, 32760, 65515), 0)]
    outcomes += [edge.process("LAN", piece4(data, 0, 32760, options=b"\x01\x01\x01\x00"), 0)]
    assert [why(outcome) for outcome in outcomes] == [HELD, ERROR]
    assert [(step.stage, step.result) for step in outcomes[1].steps] == [(Stage.REASSEMBLY, StepResult.DROP)]
    assert held(edge) == 1
    data = udp_data(65535)
    options = struct.pack("!BBIH", 44, 0, 0, 0)
    outcomes = [edge.process("LAN", piece6(data, 32760, 65535), 0)]
    outcomes += [edge.process("LAN", piece6(data, 0, 32760, before=options, types=(60, 17)), 0)]
    assert [why(outcome) for outcome in outcomes] == [HELD, ERROR]


def test_what_a_whole_takes_from_its_pieces() -> None:
    edge = Edge(dual())
    data = udp_data(32)
    edge.process("LAN", piece4(data, 16, 32, df=True, options=b"\x94\x04\x00\x00"), 0)
    output = only(edge.process("LAN", piece4(data, 0, 16, options=b"\x07\x04\x04\x00"), 0))
    ip = output.frame[14:]
    assert ip[:9] == struct.pack("!BBHHHB", 0x46, 0, 24 + 32, 7, 0x4000, 63)
    assert (checksum(ip[:24]), ip[20:24], ip[24:]) == (0, b"\x07\x04\x04\x00", data)
    assert output.fragmentation == Fragmentation(40, 7, 0)
    assert [(frame[14], struct.unpack("!HHH", frame[16:22])) for frame in output.fragments] == [
        (0x46, (40, 7, 0x6000)),
        (0x45, (36, 7, 0x4002)),
    ]
    assert all(checksum(frame[14 : 14 + (frame[14] & 15) * 4]) == 0 for frame in output.fragments)


def test_ipv6_headers_before_and_behind_the_fragment_header() -> None:
    hop, routing = b"\x2b\x00" + b"\x01\x04" + bytes(4), b"\x2c\x00\x00\x00" + bytes(4)
    behind = b"\x11\x00\x01\x04" + bytes(4)
    data = behind + udp_data(40)
    edge = Edge(dual())
    edge.process("LAN", piece6(data, 24, 48, before=hop + routing, types=(0, 60)), 0)
    output = only(edge.process("LAN", piece6(data, 0, 24, before=hop + routing, types=(0, 60), ident=7), 0))
    assert output.frame[54:] == hop + b"\x3c" + routing[1:] + data
    assert output.fragmentation == Fragmentation(56 + 8 + 24, 7, 56)
    assert [frame[54:] for frame in output.fragments] == [
        hop + routing + struct.pack("!BBHI", 60, 0, first | more, 7) + data[first : first + 24]
        for first, more in ((0, 1), (24, 0))
    ]


def test_an_atomic_fragment_is_a_packet() -> None:
    edge = Edge(dual())
    frame = piece6(udp_data(20), 0, 20)
    output = only(edge.process("LAN", frame, 0))
    assert output.frame[54:] == frame[54:]
    assert (output.fragments, output.fragmentation) == ((), None)
    assert edge.sessions()[0].original.sport == 4000


def test_a_whole_that_does_not_parse() -> None:
    edge = Edge(dual())
    data = struct.pack("!HHHH", 4000, 53, 999, 0) + bytes(16)
    edge.process("LAN", piece4(data, 0, 16), 0)
    outcome = edge.process("LAN", piece4(data, 16, 24), 0)
    assert why(outcome) == (Verdict.DROP, Reason.MALFORMED)
    assert [(step.stage, step.result) for step in outcome.steps] == [
        (Stage.REASSEMBLY, StepResult.COMPLETE),
        (Stage.PARSE, StepResult.DROP),
    ]


# ------------------------------------------------------------------------------------------------------ faults


def test_pieces_that_contradict_each_other_end_the_datagram() -> None:
    data = udp_data(64)
    changed = data[:40] + b"!" + data[41:]
    for wrong in (
        piece4(data, 8, 24),  # overlaps
        piece4(changed, 32, 48),  # the same place, other bytes
        piece4(data, 32, 48, more=False),  # the same, but the last
        piece4(data, 48, 60, more=False),  # another end than 64
        piece4(data + bytes(8), 64, 72, more=False),
        piece4(data + bytes(8), 64, 72, more=True),
        piece4(data, 24, 31, more=True),  # faulty by itself
        piece4(data, 24, 24, more=True),
        piece4(data, 0, 0, more=True),
    ):
        edge = Edge(dual())
        for ends in ((0, 16), (32, 48), (56, 64)):
            assert why(edge.process("LAN", piece4(data, *ends), 0)) == HELD
        assert why(edge.process("LAN", piece4(data, 32, 48), 0)) == HELD  # once more
        assert held(edge) == 3
        outcome = edge.process("LAN", wrong, 0)
        assert why(outcome) == ERROR
        assert [(step.stage, step.result) for step in outcome.steps] == [(Stage.REASSEMBLY, StepResult.DROP)]
        assert held(edge) == 1
        assert why(edge.process("LAN", piece4(data, 16, 32), 0)) == ERROR
        assert why(edge.process("LAN", piece4(data, 16, 32), 30 * SECOND)) == HELD
        assert edge.stats().datagrams_timed_out == 0


def test_a_last_piece_before_what_is_there() -> None:
    edge = Edge(dual())
    data = udp_data(64)
    edge.process("LAN", piece4(data, 32, 48), 0)
    assert why(edge.process("LAN", piece4(data, 16, 24, more=False), 0)) == ERROR


@pytest.mark.parametrize(
    "wrong",
    [
        piece4(bytes(65528), 65512, 65528, more=True),
        piece4(bytes(65516), 65512, 65516),
        piece4(udp_data(64), 0, 16, protocol=6),
        piece4(udp_data(64), 0, 0, more=True),
        piece6(bytes(65544), 65528, 65536, more=True),
        piece6(udp_data(64), 0, 16, types=(44, 6)),
        piece6(udp_data(64), 0, 16, types=(44, 0)),
        piece6(udp_data(64), 0, 16, types=(44, 44)),
        piece6(b"\x2c" + bytes(63), 0, 16, types=(44, 60)),
        piece6(b"\x11" + bytes(63), 0, 8, types=(44, 60)),
        piece6(b"\x11\x02" + bytes(62), 0, 16, types=(44, 60)),
        piece6(bytes(63) + b"\x01", 8, 16, before=b"\x2c\x9b" + bytes(1246), types=(60, 17)),
    ],
)
def test_a_piece_that_is_wrong_by_itself_leaves_nothing(wrong: bytes) -> None:
    edge = Edge(dual())
    assert why(edge.process("LAN", wrong, 0)) == ERROR
    assert held(edge) == 0


@pytest.mark.parametrize(
    "fine",
    [
        piece4(udp_data(64), 0, 8),
        piece4(udp_data(64), 0, 24, protocol=6),
        piece4(udp_data(64), 0, 8, protocol=47),
        piece4(bytes(65515), 65512, 65515),
        piece6(udp_data(64), 0, 8, types=(44, 47)),
        piece6(b"\x2f" + bytes(63), 0, 8, types=(44, 60)),
        piece6(b"\x3a" + bytes(63), 0, 16, types=(44, 43)),
        piece6(bytes(65544), 65528, 65535, more=False),
        piece6(bytes(64), 8, 16, before=b"\x2c\x9a" + bytes(1238), types=(60, 17)),
    ],
)
def test_a_piece_that_is_just_right(fine: bytes) -> None:
    assert why(Edge(dual()).process("LAN", fine, 0)) == HELD


# ------------------------------------------------------------------------------------------------------ room and time


def test_sixty_four_pieces_and_no_more() -> None:
    data = udp_data(65 * 8)
    edge = Edge(dual())
    for number in range(63):
        assert why(edge.process("LAN", piece4(data[:512], number * 8, number * 8 + 8), 0)) == HELD
    assert why(edge.process("LAN", piece4(data[:512], 504, 512), 0)) == (Verdict.DROP, Reason.MALFORMED)
    assert edge.stats().datagrams_reassembled == 1
    for number in range(64):
        assert why(edge.process("LAN", piece4(data, number * 8, number * 8 + 8), 0)) == HELD
    assert held(edge) == 64
    assert why(edge.process("LAN", piece4(data, 512, 520), 0)) == LIMIT
    assert held(edge) == 1
    assert why(edge.process("LAN", piece4(data, 512, 520), 0)) == ERROR


def test_the_room_is_exact() -> None:
    edge = Edge(dual(max_fragments=5))
    data = udp_data(8000)
    assert why(edge.process("LAN", piece4(data, 0, 2032), 0)) == HELD  # 2,052 bytes of IP
    assert held(edge) == 2
    assert why(edge.process("LAN", piece4(data, 2032, 4056), 0)) == HELD  # 2,044
    assert why(edge.process("LAN", piece4(data, 4056, 6088), 0)) == HELD
    assert held(edge) == 5
    full = edge.process("LAN", piece4(data, 0, 2024, ident=8), 0)
    assert why(full) == LIMIT
    assert [(step.stage, step.result) for step in full.steps] == [(Stage.REASSEMBLY, StepResult.DROP)]
    assert why(edge.process("LAN", piece4(data, 7000, 8000), 0)) == LIMIT  # nothing has changed by it:
    assert why(edge.process("LAN", piece4(data, 0, 2032), 0)) == HELD
    assert why(edge.process("LAN", piece4(data, 0, 16, protocol=6), 0)) == ERROR  # of an unknown one
    assert held(edge) == 5
    assert why(edge.process("LAN", piece4(data, 6088, 8000), 0)) == ALLOWED  # the last needs no room
    assert held(edge) == 0


def test_room_is_found_again_however_it_was_lost() -> None:
    """Random datagrams that are completed, killed or forgotten; every byte of every whole is looked at."""
    rng = random.Random(5)
    edge = Edge(dual(max_fragments=64, fragment_timeout=2))
    now = whole = killed = 0
    waiting: list[tuple[bytes, int, list[tuple[int, int]]]] = []
    for number in range(3000):
        now += rng.randrange(SECOND // 20)
        if len(waiting) < 12:
            data = udp_data(rng.randrange(16, 9000), sport=number % 60000 + 1)
            at = sorted({0, *(rng.randrange(len(data)) & ~7 for _ in range(rng.randrange(1, 7)))})
            ends = list(zip(at, [*at[1:], len(data)], strict=True))
            if len(ends) > 1 and len(data) > ends[-1][0]:
                rng.shuffle(ends)
                waiting.append((data, number & 0xFFFF, ends))
        item = rng.choice(waiting)
        data, ident, ends = item
        outcome = edge.process("LAN", piece4(data, *ends.pop(), ident=ident), now)
        assert held(edge) <= 64
        if outcome.verdict is Verdict.ALLOW:
            whole += 1
            assert only(outcome).frame[34:] == data
        if outcome.reason is Reason.FRAGMENT_ERROR:
            killed += 1
        if not ends or rng.random() < 0.05:
            waiting.remove(item)
            if rng.random() < 0.3:
                killed += edge.process("LAN", piece4(data, 0, 3, more=True, ident=ident), now).verdict is Verdict.DROP
    assert whole > 300
    assert killed > 30
    assert edge.stats().datagrams_timed_out > 30
    edge.process("LAN", b"", now + 2 * SECOND)
    assert held(edge) == 0


def test_time_runs_from_the_first_piece_and_for_any_packet() -> None:
    edge = Edge(dual())
    data = udp_data(64)
    edge.process("LAN", piece4(data, 0, 16), 0)
    edge.process("LAN", piece4(data, 16, 32), 29 * SECOND)
    edge.process("LAN", piece4(data, 0, 16, ident=8), 29 * SECOND)
    assert held(edge) == 3
    edge.process("LAN", b"", 30 * SECOND - 1)
    assert held(edge) == 3
    edge.process("LAN", b"", 30 * SECOND)
    assert (held(edge), edge.stats().datagrams_timed_out) == (1, 1)
    assert why(edge.process("LAN", piece4(data, 32, 64), 30 * SECOND)) == HELD
    edge.map_reply("LAN", b"", 60 * SECOND)
    assert (held(edge), edge.stats().datagrams_timed_out) == (0, 3)


# ---------------------------------------------------------------------------------------------- a new configuration


def test_held_datagrams_survive_a_change_with_their_port() -> None:
    data = udp_data(64)
    config = dual()
    edge = Edge(config)
    lan, dmz = piece4(data, 0, 16), piece4(data, 0, 16, source="10.30.0.9", ident=8)
    edge.process("LAN", lan, 0)
    edge.process("DMZ", dmz, 0)
    more = network("FIRST", "10.40.0.1/24")
    edge.apply(replace(config, routing=replace(config.routing, networks=(more, *config.routing.networks))))
    assert held(edge) == 2
    only_lan = replace(config, routing=replace(config.routing, networks=config.routing.networks[:1]))
    edge.apply(only_lan)
    assert (held(edge), edge.stats().datagrams_timed_out) == (1, 0)
    assert why(edge.process("LAN", piece4(data, 16, 64), 0)) == ALLOWED
    edge.process("LAN", lan, 0)
    service = network("LAN", "10.20.0.1/24", kind="NON_DISTRIBUTED")
    edge.apply(replace(config, routing=replace(config.routing, networks=(service,))))
    assert held(edge) == 0


def test_room_and_time_of_a_new_configuration() -> None:
    data = udp_data(6000)
    edge = Edge(dual(max_fragments=4))
    edge.process("LAN", piece4(data, 0, 2400), 0)
    edge.process("LAN", piece4(data, 0, 2400, ident=8), 0)
    edge.apply(dual(max_fragments=1000, fragment_timeout=255))
    for ident in range(100, 900):
        assert why(edge.process("LAN", piece4(data, 0, 800, ident=ident), 40 * SECOND)) == HELD
    assert held(edge) == 804
    assert why(edge.process("LAN", piece4(data, 2400, 6000), 40 * SECOND)) == ALLOWED  # waited through the change
    edge.apply(dual(max_fragments=2, fragment_timeout=255))
    assert held(edge) == 802
    assert why(edge.process("LAN", piece4(data, 0, 800, ident=99), 40 * SECOND)) == LIMIT
    assert edge.process("LAN", piece4(data, 2400, 6000, ident=8), 40 * SECOND).verdict is Verdict.ALLOW
    assert held(edge) == 800


def test_a_shorter_time_counts_from_the_next_packet() -> None:
    data = udp_data(64)
    edge = Edge(dual(fragment_timeout=255))
    edge.process("LAN", piece4(data, 0, 16), 0)
    edge.process("LAN", b"", 40 * SECOND)
    edge.apply(dual(fragment_timeout=30))
    assert held(edge) == 1
    edge.process("LAN", b"", 40 * SECOND)
    assert (held(edge), edge.stats().datagrams_timed_out) == (0, 1)


# ------------------------------------------------------------------------------------------------------ cutting


def test_ipv4_without_df_is_cut() -> None:
    edge = Edge(dual(mtu=1280))
    data = udp_data(4000)
    options = b"\x01\x01\x82\x03\x00\x07\x04\x00\x01\x88\x04\x12\x34\x00\x00\x00"  # NOPs, security, route, stream, END
    frame = piece4(data, 0, 4000, options=options)
    output = only(edge.process("LAN", frame, 0))
    assert output.fragmentation is None
    heads = [frame[14 : 14 + (frame[14] & 15) * 4] for frame in output.fragments]
    assert heads[0][20:] == options
    assert {head[20:] for head in heads[1:]} == {b"\x82\x03\x00\x88\x04\x12\x34\x00"}
    bodies = [frame[14 + len(head) :] for frame, head in zip(output.fragments, heads, strict=True)]
    assert b"".join(bodies) == data
    assert [len(body) for body in bodies] == [1240, 1248, 1248, 264]
    offsets = [struct.unpack("!H", head[6:8])[0] for head in heads]
    assert offsets == [0x2000, 0x2000 | 155, 0x2000 | 311, 467]
    assert all(checksum(head) == 0 and head[4:6] == b"\x00\x07" and head[8] == 63 for head in heads)
    assert all(frame[:14] == output.frame[:14] for frame in output.fragments)
    assert [len(frame) - 14 for frame in output.fragments] == [
        struct.unpack("!H", frame[16:18])[0] for frame in output.fragments
    ]
    # Frames of a capture are exempt.
    assert only(edge.process("LAN", frame, 0, unsegmented=True)).frames == (output.frame,)


def test_what_stands_behind_the_end_of_the_options_is_not_copied() -> None:
    options = b"\x00\x82\x04\x00"
    output = only(Edge(dual(mtu=1280)).process("LAN", piece4(udp_data(2000), 0, 2000, options=options), 0))
    assert [frame[14] for frame in output.fragments] == [0x46, 0x45]


def test_pieces_never_leave_larger_than_they_came() -> None:
    edge = Edge(dual())
    data = udp_data(1600)
    for first in (800, 0):
        outcome = edge.process("LAN", piece4(data, first, first + 800), 0)
    assert [len(frame) for frame in only(outcome).fragments] == [14 + 820] * 2
    # ... and what fits into one leaves whole: here the later piece had more options than the first.
    short = udp_data(40)
    edge.process("LAN", piece4(short, 8, 40, options=b"\x94\x04\x00\x00"), 0)
    output = only(edge.process("LAN", piece4(short, 0, 8), 0))
    assert (len(output.fragments), output.fragmentation) == (2, Fragmentation(56, 7, 0))
    edge.process("LAN", piece4(short, 8, 40, options=b"\x94\x04\x00\x00" * 10), 0)
    output = only(edge.process("LAN", piece4(short, 0, 8), 0))
    assert (output.fragments, output.fragmentation) == ((), Fragmentation(92, 7, 0))


def test_pieces_that_are_too_big_themselves() -> None:
    data = udp_data(2800)
    for version, df, reason in ((4, False, Reason.FW_DEFAULT), (4, True, Reason.TOO_BIG), (6, False, Reason.TOO_BIG)):
        edge = Edge(dual(mtu=1280))
        for first in (0, 1400):
            if version == 4:
                outcome = edge.process("LAN", piece4(data, first, first + 1400, df=df), 0)
            else:
                outcome = edge.process("LAN", piece6(data, first, first + 1400), 0)
        assert outcome.reason is reason
        if reason is Reason.TOO_BIG:
            answer = only(outcome)
            assert (answer.port, answer.fragments, answer.fragmentation) == ("LAN", (), None)
        else:
            assert [len(frame) - 14 for frame in only(outcome).fragments] == [1276, 1276, 308]
            assert only(outcome).fragmentation == Fragmentation(1280, 7, 0)


@pytest.mark.parametrize("version", [4, 6])
def test_an_echo_reply_is_cut_as_the_request_was(version: int) -> None:
    edge = Edge(dual(mtu=1280))
    request = bytes((8 if version == 4 else 128, 0, 0, 0, 0, 1, 0, 1)) + bytes(range(200)) * 15
    if version == 4:
        frames = [
            piece4(request, first, min(first + 1400, 3008), protocol=1, target="10.20.0.1", ident=0x1234)
            for first in (0, 1400, 2800)
        ]
    else:
        hop = b"\x2c\x00\x01\x04" + bytes(4)
        frames = [
            piece6(request, first, min(first + 1400, 3008), before=hop, types=(0, 58), target="fd00:20::1", ident=99)
            for first in (0, 1400, 2800)
        ]
    outcome = [edge.process("LAN", frame, 0) for frame in frames][-1]
    assert why(outcome) == (Verdict.LOCAL, Reason.LOCAL_SERVICE)
    output = only(outcome)
    assert output.fragmentation == (Fragmentation(1280, 0x1234, 0) if version == 4 else Fragmentation(1280, 99, 40))
    header = 20 if version == 4 else 48
    assert b"".join(frame[14 + header :] for frame in output.fragments) == output.frame[-len(request) :]
    if version == 4:
        assert {frame[18:20] for frame in output.fragments} == {b"\x12\x34"}
    else:
        assert {frame[54:56] + frame[58:62] for frame in output.fragments} == {b"\x3a\x00\x00\x00\x00\x63"}
    assert max(len(frame) for frame in output.fragments) <= 14 + 1280
    assert output.frame[-3000:] == request[8:]


def test_an_echo_reply_to_a_whole_request_is_not_cut() -> None:
    request = bytes((8, 0, 0, 0, 0, 1, 0, 1)) + bytes(3000)
    output = only(Edge(dual()).process("LAN", piece4(request, 0, 3008, protocol=1, target="10.20.0.1"), 0))
    assert (output.fragments, output.fragmentation) == ((), None)


# ---------------------------------------------------------------------------------------------- in and out again


def test_fragmentations_that_cannot_be() -> None:
    edge = Edge(dual())
    four, six = piece4(udp_data(40), 0, 40), piece6(udp_data(40), 0, 40)
    for frame, came in (
        (four, Fragmentation(27, 7, 0)),
        (four, Fragmentation(100, 7, 40)),
        (four, Fragmentation(100, 1 << 16, 0)),
        (four, Fragmentation(-1, 7, 0)),
        (six, Fragmentation(100, 7, 0)),
        (six, Fragmentation(100, 7, 44)),
        (six, Fragmentation(100, 7, 56)),
        (six, Fragmentation(55, 7, 40)),
        (six, Fragmentation(100, 1 << 32, 40)),
    ):
        with pytest.raises(ValueError, match="cannot have come in pieces"):
            edge.process("LAN", frame, 0, fragmentation=came)
    assert edge.process("LAN", four, 0, fragmentation=Fragmentation(28, 7, 0)).verdict is Verdict.ALLOW
    assert edge.process("LAN", six, 0, fragmentation=Fragmentation(64, 7, 48)).verdict is Verdict.ALLOW
    assert why(edge.process("LAN", b"", 0, fragmentation=Fragmentation(0, 0, 0))) == (Verdict.DROP, Reason.MALFORMED)
    held_piece = piece4(udp_data(40), 0, 16)
    assert why(edge.process("LAN", held_piece, 0, fragmentation=Fragmentation(0, 0, 9))) == HELD


def test_replies_from_behind_the_edge_are_mapped_once_they_are_whole() -> None:
    edge = Edge(acme(nat_rules=[nat("out", "SNAT", "203.0.113.10", "10.20.0.0/24")], firewall=[default_rule("ALLOW")]))
    request = udp_data(20)
    assert edge.process("LAN", piece4(request, 0, 20), 0).verdict is Verdict.ALLOW
    reply = struct.pack("!HHHH", 53, 4000, 1000, 0) + bytes(992)
    frames = [piece4(reply, *ends, source=RESOLVER, target=MACHINE) for ends in ((0, 496), (496, 1000))]
    outcomes = [edge.process("INTERNET", frame, 0, map_replies=True) for frame in frames]
    assert [why(outcome) for outcome in outcomes] == [HELD, (Verdict.ALLOW, Reason.SESSION)]
    assert only(outcomes[1]).port == "LAN"
    assert edge.sessions()[0].packets == (1, 1)
    unmapped = [edge.process("INTERNET", frame, 0) for frame in frames]
    assert unmapped[1].reason is not Reason.SESSION
