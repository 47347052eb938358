"""Fragments on the readable edge, sentence by sentence of ``docs/pipeline.md``."""

from __future__ import annotations

import itertools
import struct
from dataclasses import replace
from ipaddress import ip_address

import pytest

from edge.model import EdgeConfig, Options
from edge.packets import build_frame, parse_packet
from edge.reference import ReferenceEdge
from edge.reference_cut import cut_ipv4, later_header
from edge.reference_wire import internet_checksum
from edge.verdicts import Fragmentation, Outcome, Output
from tests.reference_bench import Bench, left, stages, why
from tests.support import SECOND, acme, default_rule, edge_config, nat, network, rule, uplink

LAN = "10.20.0.10"
FAR = "198.51.100.53"
LAN6, FAR6 = "2001:db8:20::10", "2001:db8:99::1"

HELD = ("HELD", "FRAGMENT_HELD")
ERROR = ("DROP", "FRAGMENT_ERROR")
LIMIT = ("DROP", "FRAGMENT_LIMIT")
ALLOW = ("ALLOW", "FW_DEFAULT")


def open_edge(**options: object) -> EdgeConfig:
    """One uplink, one network, everything allowed, no NAT."""
    return edge_config(
        uplinks=[uplink("INTERNET", "203.0.113.1/24 203.0.113.10-203.0.113.11", "2001:db8:ff::1/64 2001:db8:ff::10")],
        networks=[network("LAN", "10.20.0.1/24", "2001:db8:20::1/64")],
        firewall=[default_rule("ALLOW")],
        options=Options(**options),  # type: ignore[arg-type]
    )


def ipv4(
    data: bytes,
    offset: int,
    *,
    more: bool,
    ident: int = 7,
    protocol: int = 17,
    flags: int = 0,
    ttl: int = 64,
    options: bytes = b"",
    src: str = LAN,
    dst: str = FAR,
) -> bytes:
    """A fragment in its frame."""
    word = flags | more << 13 | offset // 8
    length = 20 + len(options)
    head = struct.pack("!BBHHHBBH", 0x40 | length // 4, 0, length + len(data), ident, word, ttl, protocol, 0)
    head += ip_address(src).packed + ip_address(dst).packed + options
    return bytes(12) + b"\x08\0" + head[:10] + struct.pack("!H", internet_checksum(head)) + head[12:] + data


def ipv6(
    data: bytes,
    offset: int,
    *,
    more: bool,
    ident: int = 7,
    following: int = 17,
    reserved: int = 0,
    before: bytes = b"",
    first: int = 44,
    src: str = LAN6,
    dst: str = FAR6,
) -> bytes:
    """Likewise; ``before`` are extension headers, the first of which is of type ``first``."""
    body = before + struct.pack("!BBHI", following, 0, offset | more | reserved, ident) + data
    addresses = ip_address(src).packed + ip_address(dst).packed
    return bytes(12) + b"\x86\xdd" + struct.pack("!IHBB", 6 << 28, len(body), first, 64) + addresses + body


def udp(size: int) -> bytes:
    """A UDP datagram of so many bytes in all, without a checksum."""
    return struct.pack("!HHHH", 4000, 53, size, 0) + bytes(i % 251 for i in range(size - 8))


def cut(data: bytes, *starts: int, make: object = ipv4, **how: object) -> list[bytes]:
    """Fragments that begin at 0 and at each start."""
    return [
        make(data[start:end], start, more=end < len(data), **how)  # type: ignore[operator]
        for start, end in zip((0, *starts), (*starts, len(data)), strict=True)
    ]


def told(bench: Bench, frames: list[bytes], port: str = "LAN") -> list[tuple[str, str]]:
    return [why(bench.frame(port, frame)) for frame in frames]


def payload(frame: bytes) -> bytes:
    """What a frame without options or extension headers carries."""
    return frame[34:] if frame[12] == 8 else frame[54:]


def only(outcome: Outcome) -> Output:
    (output,) = outcome.outputs
    return output


# --- what is a fragment ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("order", list(itertools.permutations(range(4))))
@pytest.mark.parametrize("make", [ipv4, ipv6])
def test_every_order_makes_the_same_datagram(order: tuple[int, ...], make: object) -> None:
    data = udp(100)
    frames = cut(data, 24, 48, 80, make=make)
    bench = Bench(open_edge())
    assert told(bench, [frames[i] for i in order]) == [HELD] * 3 + [ALLOW]
    assert bench.last is not None
    assert stages(bench.last)[:2] == ["REASSEMBLY COMPLETE", "SESSION MISS"]
    assert payload(only(bench.last).frame) == data
    assert bench.edge.stats().datagrams_reassembled == 1
    assert bench.edge.stats().fragments_held == 0


def test_a_held_fragment_leaves_nothing_but_its_step() -> None:
    bench = Bench(open_edge())
    outcome = bench.frame("LAN", cut(udp(100), 24)[0])
    assert (why(outcome), stages(outcome), outcome.outputs) == (HELD, ["REASSEMBLY HELD"], ())
    assert (bench.edge.sessions(), bench.edge.stats().fragments_held) == ([], 1)


@pytest.mark.parametrize(
    "change",
    [
        {"ident": 8},
        {"protocol": 47},
        {"src": "10.20.0.11"},
        {"dst": "198.51.100.54"},
    ],
)
def test_what_tells_datagrams_apart(change: dict[str, object]) -> None:
    first, second = udp(48)[:24], udp(48)[24:]
    bench = Bench(open_edge())
    frames = [ipv4(first, 0, more=True), ipv4(second, 24, more=False, **change)]  # type: ignore[arg-type]
    assert told(bench, frames) == [HELD, HELD]


def test_the_port_tells_datagrams_apart() -> None:
    first, second = cut(udp(48), 24)
    bench = Bench(open_edge())
    assert [why(bench.frame(port, frame)) for port, frame in (("LAN", first), ("INTERNET", second))] == [HELD, HELD]
    assert why(bench.frame("LAN", second)) == ALLOW


def test_ipv6_fragments_need_not_agree_on_the_next_header() -> None:
    data = udp(48)
    bench = Bench(open_edge())
    assert told(bench, [ipv6(data[24:], 24, more=False, following=6), ipv6(data[:24], 0, more=True)]) == [HELD, ALLOW]
    assert bench.last is not None
    assert only(bench.last).frame[20] == 17


@pytest.mark.parametrize("reserved", [0, 2, 4, 6])
def test_an_atomic_fragment_is_a_packet_and_stays_one(reserved: int) -> None:
    bench = Bench(open_edge())
    frame = ipv6(udp(40), 0, more=False, reserved=reserved)
    outcome = bench.frame("LAN", frame)
    assert (why(outcome), stages(outcome)[0]) == (ALLOW, "SESSION MISS")
    output = only(outcome)
    assert output.frame[14:21] + output.frame[22:] == frame[14:21] + frame[22:]
    assert (output.fragments, output.fragmentation) == ((), None)


def test_an_atomic_fragment_counts_among_the_eight_headers() -> None:
    chain = bytes((60, 0)) + bytes(6)
    last = bytes((44, 0)) + bytes(6)
    bench = Bench(open_edge())
    for others, expected in ((7, ALLOW), (8, ("DROP", "MALFORMED"))):
        before = chain * (others - 1) + last
        assert why(bench.frame("LAN", ipv6(udp(40), 0, more=False, before=before, first=60))) == expected
    # A fragment proper ends the walk: its header may be the ninth.
    assert why(bench.frame("LAN", ipv6(udp(40), 0, more=True, before=chain * 7 + last, first=60))) == HELD


def test_faults_of_its_own_headers_come_first() -> None:
    frame = ipv4(b"", 0, more=True)
    bench = Bench(open_edge())
    assert why(bench.frame("LAN", frame[:24] + b"\x12\x34" + frame[26:])) == ("DROP", "BAD_CHECKSUM")
    assert why(bench.frame("LAN", ipv6(bytes(24), 0, more=True)[: 14 + 47])) == ("DROP", "MALFORMED")


@pytest.mark.parametrize("flags", [0, 0x8000])
def test_reserved_bits_of_ipv4_are_ignored(flags: int) -> None:
    bench = Bench(open_edge())
    assert told(bench, cut(udp(48), 24, flags=flags)) == [HELD, ALLOW]
    assert bench.last is not None
    assert only(bench.last).frame[20:22] == b"\0\0"


# --- faults ---------------------------------------------------------------------------------------------------------

FAULTS = {
    "no data": ipv4(b"", 48, more=False),
    "not a multiple of eight": ipv4(bytes(25), 48, more=True),
    "beyond the end": ipv4(bytes(16), 65504, more=False),
    "tiny TCP": ipv4(bytes(16), 0, more=True, protocol=6),
    "no data in IPv6": ipv6(b"", 48, more=False),
    "not a multiple of eight in IPv6": ipv6(bytes(9), 48, more=True),
    "beyond the end in IPv6": ipv6(bytes(8), 65528, more=False),
    "tiny TCP in IPv6": ipv6(bytes(16), 0, more=True, following=6),
    "tiny TCP behind options": ipv6(bytes((6, 0)) + bytes(22), 0, more=True, following=60),
    "options that do not end": ipv6(bytes((17, 3)) + bytes(22), 0, more=True, following=60),
    "nothing behind options but TCP": ipv6(bytes((6, 0)) + bytes(6), 0, more=True, following=43),
    "hop-by-hop behind": ipv6(bytes((17, 0)) + bytes(30), 0, more=True, following=0),
    "two Fragment headers": ipv6(bytes((17, 0)) + bytes(30), 0, more=True, following=44),
    "another behind options": ipv6(bytes((44, 0)) + bytes(30), 0, more=True, following=60),
    "too many headers": ipv6(bytes(16), 8, more=True, before=(bytes((44, 155)) + bytes(1246)), first=60),
}


@pytest.mark.parametrize("frame", FAULTS.values(), ids=FAULTS.keys())
def test_a_fragment_that_is_wrong_by_itself(frame: bytes) -> None:
    bench = Bench(open_edge())
    outcome = bench.frame("LAN", frame)
    assert (why(outcome), stages(outcome), outcome.outputs) == (ERROR, ["REASSEMBLY DROP"], ())
    assert bench.edge.stats().fragments_held == 0  # nobody remembers it
    known = ipv4(bytes(24), 96, more=True, protocol=frame[23]) if frame[12] == 8 else ipv6(bytes(24), 96, more=True)
    assert told(bench, [known, frame, known]) == [HELD, ERROR, ERROR]
    assert bench.edge.stats().fragments_held == 1


@pytest.mark.parametrize(
    "frame",
    [
        ipv4(bytes(8), 0, more=True),
        ipv4(bytes(8), 0, more=True, protocol=1),
        ipv4(bytes(24), 0, more=True, protocol=6),
        ipv4(bytes(8), 0, more=True, protocol=47),
        ipv4(bytes(8), 8, more=True, protocol=6),
        ipv4(b"x", 65512, more=False),
        ipv4(bytes(3), 65512, more=False),
        ipv6(bytes(8), 0, more=True),
        ipv6(bytes(8), 0, more=True, following=1),
        ipv6(bytes((58, 0)) + bytes(14), 0, more=True, following=60),
        ipv6(bytes((59, 0)) + bytes(6), 0, more=True, following=60),
        ipv6(bytes(7), 65528, more=False),
        ipv6(bytes(16), 8, more=True, before=(bytes((44, 154)) + bytes(1238)), first=60),
    ],
)
def test_a_fragment_that_is_just_right(frame: bytes) -> None:
    assert why(Bench(open_edge()).frame("LAN", frame)) == HELD


def test_an_exact_duplicate_changes_nothing() -> None:
    first, second, third = cut(udp(100), 24, 48)
    bench = Bench(open_edge())
    assert told(bench, [first, first, third, third, first]) == [HELD] * 5
    assert bench.edge.stats().fragments_held == 2
    again = ipv4(payload(first), 0, more=True, flags=0x4000, ttl=3)  # its own headers are not looked at
    assert told(bench, [again, second]) == [HELD, ALLOW]
    assert bench.last is not None
    assert only(bench.last).frame[20:23] == b"\0\0\x3f"


OVERLAPS = {
    "other data": (24, bytes(24), True),
    "more of it": (24, bytes(32), True),
    "less of it": (24, bytes(16), True),
    "within": (32, bytes(8), True),
    "from the left": (16, bytes(16), True),
    "from the right": (40, bytes(16), True),
    "around": (16, bytes(48), True),
    "the same as the last": (24, udp(100)[24:48], False),
}


@pytest.mark.parametrize(("offset", "data", "more"), OVERLAPS.values(), ids=OVERLAPS.keys())
def test_an_overlap_kills_the_datagram(offset: int, data: bytes, more: bool) -> None:
    frames = cut(udp(100), 24, 48)
    bench = Bench(open_edge())
    assert told(bench, [frames[1], ipv4(data, offset, more=more)]) == [HELD, ERROR]
    assert told(bench, frames) == [ERROR] * 3
    stats = bench.edge.stats()
    assert (stats.fragments_held, stats.datagrams_reassembled) == (1, 0)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (ipv4(bytes(24), 48, more=False), ipv4(bytes(24), 24, more=False)),
        (ipv4(bytes(24), 48, more=False), ipv4(bytes(24), 72, more=True)),
        (ipv4(bytes(24), 48, more=False), ipv4(bytes(24), 96, more=False)),
        (ipv4(bytes(24), 48, more=True), ipv4(bytes(24), 24, more=False)),
    ],
)
def test_there_is_one_end(one: bytes, other: bytes) -> None:
    assert told(Bench(open_edge()), [one, other]) == [HELD, ERROR]


# --- time and limits ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("late_ns", "expected"), [(-1, ALLOW), (0, HELD), (1, HELD)])
def test_the_time_counts_from_the_first_that_arrived(late_ns: int, expected: tuple[str, str]) -> None:
    first, second, third = cut(udp(100), 24, 48)
    bench = Bench(open_edge(fragment_timeout=9))
    bench.now_ns = SECOND
    assert told(bench, [third]) == [HELD]
    bench.now_ns = 5 * SECOND
    assert told(bench, [second]) == [HELD]
    bench.now_ns = 10 * SECOND + late_ns
    assert told(bench, [first]) == [expected]
    assert bench.edge.stats().datagrams_timed_out == (expected == HELD)


def test_any_packet_ends_what_is_overdue_and_nobody_is_told() -> None:
    bench = Bench(open_edge())
    told(bench, [cut(udp(100), 24)[0]])
    bench.now_ns = 30 * SECOND
    outcome = bench.frame("LAN", b"")
    assert (why(outcome), outcome.outputs) == (("DROP", "MALFORMED"), ())
    assert (bench.edge.stats().fragments_held, bench.edge.stats().datagrams_timed_out) == (0, 1)


def test_the_dead_stay_dead_until_their_time_is_up_and_do_not_count() -> None:
    first, second = cut(udp(100), 24)
    bench = Bench(open_edge())
    assert told(bench, [first, ipv4(bytes(24), 0, more=True), second]) == [HELD, ERROR, ERROR]
    bench.now_ns = 30 * SECOND
    assert told(bench, [first, second]) == [HELD, ALLOW]
    assert bench.edge.stats().datagrams_timed_out == 0


@pytest.mark.parametrize(("pieces", "expected"), [(64, ALLOW), (65, LIMIT)])
@pytest.mark.parametrize("backwards", [False, True])
def test_64_fragments_make_a_datagram(pieces: int, expected: tuple[str, str], backwards: bool) -> None:
    frames = cut(udp(pieces * 8), *range(8, pieces * 8, 8))
    bench = Bench(open_edge())
    assert told(bench, frames[::-1] if backwards else frames) == [HELD] * (pieces - 1) + [expected]
    assert bench.edge.stats().fragments_held == (0 if pieces == 64 else 1)


def test_the_65th_kills_even_if_more_are_missing() -> None:
    frames = cut(udp(800), *range(8, 800, 8))
    assert told(Bench(open_edge()), frames[:66]) == [HELD] * 64 + [LIMIT, ERROR]


@pytest.mark.parametrize(("size", "units"), [(2048, 1), (2056, 2), (4096, 2), (9000, 5)])
def test_a_unit_is_2048_bytes_of_ip(size: int, units: int) -> None:
    frame = ipv4(bytes(size - 24), 0, more=True, protocol=47, options=b"\x01" * 4)
    for limit, expected in ((units, HELD), (units - 1, LIMIT)):
        bench = Bench(open_edge(max_fragments=limit or 1))
        if limit:
            assert why(bench.frame("LAN", frame)) == expected
            assert bench.edge.stats().fragments_held == (units if expected == HELD else 0)


def test_what_does_not_fit_changes_nothing_and_what_completes_needs_no_room() -> None:
    first, second, third = cut(udp(100), 24, 48)
    bench = Bench(open_edge(max_fragments=2))
    other = cut(udp(100), 24, ident=9)[0]
    assert told(bench, [first, second, other, third]) == [HELD, HELD, LIMIT, ALLOW]
    assert told(bench, [other]) == [HELD]


def test_a_smaller_limit_refuses_only_new_ones() -> None:
    first, second = cut(udp(100), 48)
    bench = Bench(open_edge())
    assert told(bench, [first, cut(udp(100), 24, ident=9)[0]]) == [HELD, HELD]
    bench.edge.apply(open_edge(max_fragments=1, fragment_timeout=5))
    assert told(bench, [cut(udp(100), 24, ident=10)[0], second]) == [LIMIT, ALLOW]
    bench.now_ns = 5 * SECOND  # the time-out is the present configuration's
    bench.frame("LAN", b"")
    assert bench.edge.stats().datagrams_timed_out == 1


@pytest.mark.parametrize("kind", [None, "NON_DISTRIBUTED"])
def test_a_port_that_is_gone_takes_its_datagrams_with_it(kind: str | None) -> None:
    config = open_edge()
    bench = Bench(config)
    assert told(bench, [cut(udp(100), 24)[0]]) == [HELD]
    networks = () if kind is None else (network("LAN", "10.20.0.1/24", kind=kind),)
    bench.edge.apply(replace(config, routing=replace(config.routing, networks=networks)))
    stats = bench.edge.stats()
    assert (stats.fragments_held, stats.datagrams_timed_out) == (0, 0)


# --- the whole ------------------------------------------------------------------------------------------------------


def test_the_whole_has_the_headers_of_the_first_by_offset() -> None:
    data = udp(100)
    bench = Bench(open_edge())
    frames = [
        ipv4(data[48:], 48, more=False, ttl=3, options=b"\x01" * 8),
        ipv4(data[24:48], 24, more=True, flags=0x4000),
        ipv4(data[:24], 0, more=True, ttl=99, options=b"\x94\x04\0\0"),
    ]
    assert told(bench, frames)[2] == ALLOW
    assert bench.last is not None
    frame = only(bench.last).frame
    assert (frame[14], frame[16:18], frame[18:23]) == (0x46, b"\0\x7c", b"\0\x07\x40\0\x62")
    assert (frame[34:38], frame[38:], internet_checksum(frame[14:38])) == (b"\x94\x04\0\0", data, 0)


def test_the_whole_of_ipv6_has_no_fragment_header() -> None:
    options = bytes((44, 0)) + b"\x01\x04\0\0\0\0"
    data = bytes((17, 0)) + bytes(6) + udp(60)
    bench = Bench(open_edge())
    frames = cut(data, 24, 48, make=ipv6, following=60, before=options, first=0)
    assert told(bench, frames) == [HELD, HELD, ALLOW]
    assert bench.last is not None
    output = only(bench.last)
    assert output.frame[18:21] == (8 + len(data)).to_bytes(2, "big") + b"\0"
    assert (output.frame[54:56], output.frame[62:]) == (bytes((60, 0)), data)
    assert output.fragmentation == Fragmentation(48 + 8 + 24, 7, 48)
    assert [frame[54:70].hex() for frame in output.frames] == [frame[54:70].hex() for frame in frames]
    assert b"".join(frame[70:] for frame in output.frames) == data


@pytest.mark.parametrize("make", [ipv4, ipv6])
def test_a_whole_that_would_be_too_long(make: object) -> None:
    data = bytes(65515) if make is ipv4 else bytes(65535)
    how: dict[str, object] = {"protocol": 47} if make is ipv4 else {"following": 47}
    frames = cut(data, 32000, 64000, make=make, **how)
    assert told(Bench(open_edge(max_fragments=64, mtu=65535)), frames) == [HELD, HELD, ALLOW]
    headers: dict[str, object] = (
        {"options": b"\x01" * 4} if make is ipv4 else {"before": bytes((44,)) + bytes(7), "first": 60}
    )
    first = make(data[:32000], 0, more=True, **how, **headers)  # type: ignore[operator]
    bench = Bench(open_edge(max_fragments=64, mtu=65535))
    outcome = [bench.frame("LAN", frame) for frame in (first, *frames[1:])][-1]
    assert (why(outcome), stages(outcome)) == (ERROR, ["REASSEMBLY DROP"])
    assert bench.edge.stats().fragments_held == 1
    assert bench.edge.stats().datagrams_reassembled == 0


def test_a_whole_that_does_not_parse() -> None:
    data = struct.pack("!HHHH", 1, 2, 99, 0) + bytes(40)
    bench = Bench(open_edge())
    frames = cut(data, 24)
    assert told(bench, frames) == [HELD, ("DROP", "MALFORMED")]
    assert bench.last is not None
    assert stages(bench.last) == ["REASSEMBLY COMPLETE", "PARSE DROP"]


def test_sessions_and_totals_count_it_once() -> None:
    bench = Bench(open_edge())
    told(bench, cut(udp(100), 24, 48) + cut(udp(100), 48, ident=8))
    (session,) = bench.edge.sessions()
    assert (session.packets, session.bytes) == ((2, 0), (240, 0))
    counters = bench.edge.rule_counters()["default_rule"]
    assert (counters.hits, counters.packets, counters.bytes) == (1, 2, 240)
    stats = bench.edge.stats()
    assert {verdict.name: count for verdict, count in stats.verdicts.items()} == {"HELD": 3, "ALLOW": 2}


def test_an_answer_quotes_the_whole() -> None:
    bench = Bench(acme(firewall=[default_rule("REJECT")]))
    told(bench, cut(udp(1000), 496))
    assert bench.last is not None
    answer = only(bench.last)
    assert len(answer.frame) == 14 + 576
    assert answer.frame[42:46] == b"\x45\0\x03\xfc"
    assert (answer.fragments, answer.fragmentation) == ((), None)


def test_the_hop_limit_is_taken_once() -> None:
    bench = Bench(open_edge())
    told(bench, cut(udp(100), 24, ttl=2))
    assert bench.last is not None
    assert [frame[22] for frame in only(bench.last).frames] == [1, 1]


# --- too big, and cutting -------------------------------------------------------------------------------------------


def sizes(output: Output) -> list[int]:
    return [len(frame) - 14 for frame in output.frames]


def test_what_came_in_pieces_leaves_in_no_larger_ones() -> None:
    bench = Bench(open_edge(mtu=1280))
    told(bench, cut(udp(3000), 496, 1400))
    assert bench.last is not None
    output = only(bench.last)
    assert sizes(output) == [1276, 1276, 508]
    assert output.fragmentation == Fragmentation(1280, 7, 0)
    told(bench, cut(udp(3000), *range(496, 3000, 496), ident=8))
    assert sizes(only(bench.last)) == [516] * 6 + [44]


def test_the_last_piece_takes_what_fits() -> None:
    bench = Bench(open_edge())
    told(bench, cut(udp(126), 64))  # 84 and 82 bytes
    assert bench.last is not None
    assert sizes(only(bench.last)) == [84, 82]
    told(bench, cut(udp(76), 8, ident=9))  # the whole is larger than the larger piece by 8
    assert sizes(only(bench.last)) == [84, 32]


def test_ipv4_without_df_is_cut_and_with_it_told() -> None:
    bench = Bench(open_edge(mtu=1280))
    for flags, expected in ((0, ALLOW), (0x8000, ("ALLOW", "SESSION")), (0x4000, ("DROP", "TOO_BIG"))):
        outcome = bench.frame("LAN", ipv4(udp(2000), 0, more=False, flags=flags))
        assert why(outcome) == expected
        if expected[0] == "ALLOW":
            output = only(outcome)
            assert (sizes(output), output.fragmentation) == ([1276, 764], None)
            assert [frame[20:22].hex() for frame in output.frames] == ["2000", "009d"]
            assert b"".join(payload(frame) for frame in output.frames) == udp(2000)
            assert all(internet_checksum(frame[14:34]) == 0 for frame in output.frames)


def test_pieces_with_df_are_too_big_when_one_of_them_is() -> None:
    bench = Bench(open_edge(mtu=1280))
    told(bench, cut(udp(3000), 1400, flags=0x4000))
    assert bench.last is not None
    assert why(bench.last) == ("DROP", "TOO_BIG")
    assert only(bench.last).frame[34:42] == b"\x03\x04" + only(bench.last).frame[36:38] + b"\0\0\x05\0"
    told(bench, cut(udp(3000), 1000, 2000, ident=8, flags=0x4000))
    assert why(bench.last) == ALLOW
    assert [frame[20] & 0x40 for frame in only(bench.last).frames] == [0x40] * 3


def test_ipv6_in_pieces_is_too_big_when_one_of_them_is() -> None:
    bench = Bench(open_edge(mtu=1280))
    told(bench, cut(udp(3000), 1240, make=ipv6))
    assert bench.last is not None
    assert why(bench.last) == ("DROP", "TOO_BIG")
    told(bench, cut(udp(3000), 1232, 2464, make=ipv6, ident=0xFFFF0001))
    assert why(bench.last) == ALLOW
    output = only(bench.last)
    assert sizes(output) == [1280, 1280, 584]
    assert output.fragmentation == Fragmentation(1280, 0xFFFF0001, 40)
    assert [frame[54:62].hex() for frame in output.frames] == [
        "11000001ffff0001",
        "110004d1ffff0001",
        "110009a0ffff0001",
    ]


def test_what_has_not_been_cut_up_by_a_network_card_yet() -> None:
    edge = ReferenceEdge(open_edge(mtu=1280))
    whole = edge.process("LAN", ipv4(udp(5000), 0, more=False), 0, unsegmented=True)
    assert sizes(only(whole)) == [5020]
    outcomes = [edge.process("LAN", frame, 0, unsegmented=True) for frame in cut(udp(5000), 2000, 4000)]
    assert sizes(only(outcomes[-1])) == [2020, 2020, 1020]


def test_what_fits_leaves_whole() -> None:
    bench = Bench(open_edge())
    data = udp(40)
    # 48 bytes of options on a later piece make it larger than the whole.
    told(bench, [ipv4(data[:8], 0, more=True), ipv4(data[8:], 8, more=False, options=b"\x01" * 40)])
    assert bench.last is not None
    output = only(bench.last)
    assert (sizes(output), output.fragments, output.fragmentation) == ([60], (), Fragmentation(92, 7, 0))


@pytest.mark.parametrize(
    ("options", "later"),
    [
        (b"", b""),
        (b"\x94\x04\0\0", b"\x94\x04\0\0"),
        (b"\x07\x07\x04\0\0\0\0\0", b""),
        (b"\x01\x83\x03\x04", b"\x83\x03\x04\0"),
        (b"\x01\x01\x94\x04\0\0\x01\x01", b"\x94\x04\0\0"),
        (b"\0\x94\x04\0\0\0\0\0", b""),
        (b"\x94\x04\0\0\x82\x01\0\0", b"\x94\x04\0\0"),
        (b"\x94\x04\0\0\x82\x09\0\0", b"\x94\x04\0\0"),
        (b"\x94\x04\0\0\x01\x01\x01\x82", b"\x94\x04\0\0"),
        (b"\x44\x04\x05\0\x88\x04\x01\x02", b"\x88\x04\x01\x02"),
        (b"\x94\x04\0\0" * 10, b"\x94\x04\0\0" * 10),
    ],
)
def test_options_that_are_copied_into_every_piece(options: bytes, later: bytes) -> None:
    ip = ipv4(bytes(200), 0, more=False, protocol=47, options=options)[14:]
    header = ip[: 20 + len(options)]
    assert later_header(header)[20:] == later
    pieces = cut_ipv4(ip, 124)
    assert pieces[0][20 : len(header)] == options
    for piece in pieces:
        length = (piece[0] & 15) * 4
        assert (len(piece), internet_checksum(piece[:length])) == (int.from_bytes(piece[2:4], "big"), 0)
        assert len(piece) <= 124
    assert all(piece[20 : (piece[0] & 15) * 4] == later for piece in pieces[1:])
    assert b"".join(piece[(piece[0] & 15) * 4 :] for piece in pieces) == bytes(200)


@pytest.mark.parametrize(("make", "at"), [(ipv4, 0), (ipv6, 40)])
def test_an_echo_reply_to_a_request_in_pieces(make: object, at: int) -> None:
    request = bytes((8 if make is ipv4 else 128, 0, 0, 0)) + struct.pack("!HH", 5, 6) + bytes(range(256)) * 4
    src, dst, protocol = (LAN, "10.20.0.1", 1) if make is ipv4 else (LAN6, "2001:db8:20::1", 58)
    how: dict[str, object] = {"protocol" if make is ipv4 else "following": protocol, "src": src, "dst": dst}
    bench = Bench(open_edge())
    frames = cut(request, 400, 800, make=make, **how)
    assert told(bench, frames) == [HELD, HELD, ("LOCAL", "LOCAL_SERVICE")]
    assert bench.last is not None
    output = only(bench.last)
    size = 420 if make is ipv4 else 448
    assert output.fragmentation == Fragmentation(size, 7, at)
    assert max(sizes(output)) == size
    assert len(output.fragments) == 3
    data = b"".join(frame[34 if make is ipv4 else 62 :] for frame in output.frames)
    assert (data[0], data[4:]) == (0 if make is ipv4 else 129, request[4:])
    if make is ipv4:
        assert {frame[18:20] for frame in output.frames} == {b"\0\x07"}
    else:
        assert {frame[58:62] for frame in output.frames} == {b"\0\0\0\x07"}


def test_an_echo_reply_to_a_request_that_came_whole_is_not_cut() -> None:
    bench = Bench(open_edge(mtu=1280))
    outcome = bench.send("icmp 10.20.0.10 > 10.20.0.1 echo-request len=3000")
    assert (why(outcome)[0], only(outcome).fragments) == ("LOCAL", ())


def test_an_error_about_a_session_is_cut_too() -> None:
    bench = Bench(acme(options=Options(mtu=1280)))
    out = bench.send("udp 10.20.0.10:4000 > 198.51.100.53:53")
    quote = only(out).frame[14:]
    message = b"\x03\x03\0\0\0\0\0\0" + quote + bytes(1500)
    message = message[:2] + struct.pack("!H", internet_checksum(message)) + message[4:]
    outcome = bench.frame("INTERNET", ipv4(message, 0, more=False, protocol=1, src="198.51.100.53", dst="203.0.113.10"))
    assert why(outcome) == ("ALLOW", "RELATED")
    assert len(only(outcome).fragments) == 2


# --- coming back ----------------------------------------------------------------------------------------------------


def hairpin_config(mtu: int = 1500) -> EdgeConfig:
    return acme(
        firewall=[rule("any")],
        nat_rules=[
            nat("in", "DNAT", "203.0.113.11", "10.20.0.20", priority=10),
            nat("out", "SNAT", "203.0.113.10", "10.20.0.0/24", priority=100),
        ],
        options=Options(mtu=mtu),
    )


def test_a_hairpin_of_a_datagram_in_pieces_stays_in_pieces() -> None:
    bench = Bench(hairpin_config())
    told(bench, cut(udp(1000), 400, 800, dst="203.0.113.11"))
    assert bench.last is not None
    output = only(bench.last)
    assert (output.hairpin, output.fragmentation, len(output.fragments)) == (True, Fragmentation(420, 7, 0), 3)
    back = bench.edge.process(output.port, output.frame, 0, fragmentation=output.fragmentation)
    assert (why(back), stages(back)[0]) == (("ALLOW", "FW_RULE"), "SESSION MISS")
    assert (only(back).port, only(back).fragmentation) == ("LAN", Fragmentation(420, 7, 0))
    assert sizes(only(back)) == [420, 420, 220]


def test_a_hairpin_of_what_came_whole_is_cut_anew() -> None:
    bench = Bench(hairpin_config(1280))
    output = only(bench.frame("LAN", ipv4(udp(2000), 0, more=False, dst="203.0.113.11")))
    assert (output.hairpin, output.fragmentation, sizes(output)) == (True, None, [1276, 764])
    assert sizes(only(bench.frame(output.port, output.frame))) == [1276, 764]


@pytest.mark.parametrize(
    ("frame", "how"),
    [
        (ipv4(udp(40), 0, more=False), Fragmentation(400, 7, 40)),
        (ipv4(udp(40), 0, more=False), Fragmentation(27, 7, 0)),
        (ipv4(udp(40), 0, more=False), Fragmentation(400, 65536, 0)),
        (ipv4(udp(40), 0, more=False), Fragmentation(400, -1, 0)),
        (ipv4(udp(40), 0, more=False), Fragmentation(65576, 7, 0)),
        (ipv6(udp(40), 0, more=False), Fragmentation(400, 7, 0)),
        (ipv6(udp(40), 0, more=False), Fragmentation(400, 7, 44)),
        (ipv6(udp(40), 0, more=False), Fragmentation(400, 7, 56)),
        (ipv6(udp(40), 0, more=False), Fragmentation(55, 7, 40)),
    ],
)
def test_pieces_that_cannot_have_been(frame: bytes, how: Fragmentation) -> None:
    with pytest.raises(ValueError, match="cannot have come in such pieces"):
        ReferenceEdge(open_edge()).process("LAN", frame, 0, fragmentation=how)


def test_pieces_of_what_is_no_packet_are_not_looked_at() -> None:
    edge = ReferenceEdge(open_edge())
    how = Fragmentation(1, 1, 99)
    assert why(edge.process("LAN", b"", 0, fragmentation=how)) == ("DROP", "MALFORMED")
    assert [why(edge.process("LAN", frame, 0, fragmentation=how)) for frame in cut(udp(100), 24)] == [HELD, ALLOW]


# --- captures from behind the edge ----------------------------------------------------------------------------------


def test_a_reply_in_pieces_from_behind_the_edge() -> None:
    bench = Bench(acme())
    out = bench.send("udp 10.20.0.10:4000 > 198.51.100.53:53")
    answer = struct.pack("!HHHH", 53, 4000, 1000, 0) + bytes(992)
    frames = cut(answer, 400, src="198.51.100.53", dst="10.20.0.10")
    outcomes = [bench.edge.process("INTERNET", frame, 0, map_replies=True) for frame in frames]
    assert [why(outcome) for outcome in outcomes] == [HELD, ("ALLOW", "SESSION")]
    assert stages(outcomes[1]) == ["REASSEMBLY COMPLETE", "SESSION HIT out LAN"]
    assert left(outcomes[1]) == [("LAN", "udp 198.51.100.53:53 > 10.20.0.10:4000 len=992")]
    assert only(out).frame[26:30] == bytes((203, 0, 113, 10))
    assert bench.edge.sessions()[0].packets == (1, 1)


def test_map_replies_is_map_reply_for_what_is_whole() -> None:
    one, other = Bench(acme()), Bench(acme())
    for bench in (one, other):
        bench.send("udp 10.20.0.10:4000 > 198.51.100.53:53")
    for text in ("udp 198.51.100.53:53 > 10.20.0.10:4000", "udp 198.51.100.53:99 > 10.20.0.10:4000"):
        frame = build_frame(parse_packet(text))
        port, mapped = other.edge.map_reply("INTERNET", frame, 0)
        assert one.edge.process("INTERNET", frame, 0, map_replies=True) == other.edge.process(port, mapped, 0)


def test_map_reply_leaves_fragments_alone_and_moves_the_clock() -> None:
    bench = Bench(acme())
    first = cut(udp(100), 24)[0]
    assert told(bench, [first]) == [HELD]
    assert bench.edge.map_reply("LAN", first, 30 * SECOND) == ("LAN", first)
    assert bench.edge.stats().datagrams_timed_out == 1
