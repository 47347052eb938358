"""What is a fragment and which are at fault, on the readable edge, sentence by sentence of ``docs/pipeline.md``."""

from __future__ import annotations

import itertools

import pytest

from tests.fragment_bench import ALLOW, ERROR, HELD, cut, ipv4, ipv6, only, open_edge, payload, told, udp
from tests.reference_bench import Bench, stages, why

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
