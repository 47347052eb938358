"""How what is too big leaves in pieces and comes back in, on the readable edge, as ``docs/pipeline.md`` has it."""

from __future__ import annotations

import struct

import pytest

from edge.model import EdgeConfig, Options
from edge.reference import ReferenceEdge
from edge.reference_cut import cut_ipv4, later_header
from edge.reference_wire import internet_checksum
from edge.verdicts import Fragmentation
from tests.fragment_bench import ALLOW, HELD, LAN, LAN6, cut, ipv4, ipv6, only, open_edge, payload, sizes, told, udp
from tests.reference_bench import Bench, stages, why
from tests.support import acme, nat, rule

# --- too big, and cutting -------------------------------------------------------------------------------------------


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
