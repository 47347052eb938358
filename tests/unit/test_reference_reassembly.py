"""How long and how many fragments wait and what they become, on the readable edge, as ``docs/pipeline.md`` has it."""

from __future__ import annotations

import struct
from dataclasses import replace

import pytest

from edge.packets import build_frame, parse_packet
from edge.reference_wire import internet_checksum
from edge.verdicts import Fragmentation
from tests.fragment_bench import ALLOW, ERROR, HELD, LIMIT, cut, ipv4, ipv6, only, open_edge, told, udp
from tests.reference_bench import Bench, left, stages, why
from tests.support import SECOND, acme, default_rule, network

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
