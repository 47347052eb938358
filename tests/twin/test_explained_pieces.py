"""Explanations about pieces hold for their own kind only, and the traffic has all kinds of them."""

from __future__ import annotations

import struct
from dataclasses import replace
from random import Random

import pytest

from edge.model import Options
from edge.runtime import Edge
from edge.verdicts import Reason, Verdict
from tests.model.frames import Parts, frame, icmp, tcp, udp
from tests.twin.explained import explain
from tests.twin.facts import overlooked
from tests.twin.places import Arrival, Packets, Span, place
from tests.twin.scripted import FAR, FAR6, SERVER, SERVER6, Bench, Left, as_it_is, older, routed, says
from tests.twin.wire import RST, SYN, dissect


def cut(*spans: tuple[int, int] | Span, size: int, df: bool = False) -> tuple[Span, ...]:
    """Pieces of so many bytes."""
    plain = [item if isinstance(item, Span) else Span(*item, more=item[1] < size) for item in spans]
    return tuple(item._replace(keeps=df) for item in plain)


def datagram(version: int, *spans: tuple[int, int] | Span, df: bool = False) -> Arrival:
    """UDP of 48 bytes in pieces."""
    src, dst = (SERVER, FAR) if version == 4 else (SERVER6, FAR6)
    data = frame(udp(src, dst, 4000, 53, bytes(range(40))), fragment=0)
    return Arrival("LAN", data, 0, spans=cut(*spans, size=48, df=df), identification=7)


WITHIN = ((0, 24), Span(0, 24, more=True, zeroed=True), (24, 48))
PART = ((0, 24), Span(8, 24, more=True), (24, 48))
ACROSS = ((0, 24), Span(16, 32, more=True), (24, 48))
BEYOND = ((24, 48), Span(48, 56, more=False, zeroed=True), (0, 24))
EMPTY = ((0, 24), Span(24, 24, more=True), (24, 48))
ENCLOSED = (Span(8, 32, more=True), (0, 8), (16, 32), (32, 48))


@pytest.mark.parametrize(
    ("version", "spans", "expected"),
    [
        (4, WITHIN, {"within"}),
        (6, WITHIN, {"within"}),
        (4, PART, {"within"}),
        (6, ENCLOSED, {"within"}),
        (4, ACROSS, set()),
        (6, ACROSS, set()),
        (4, BEYOND, set()),
        (6, BEYOND, {"alone"}),
        (4, EMPTY, set()),
        (6, EMPTY, {"alone"}),
        (6, ((0, 24), (0, 24), (24, 48)), set()),
        (4, ((0, 24), (32, 48)), set()),
    ],
)
def test_what_linux_overlooks(version: int, spans: tuple[tuple[int, int] | Span, ...], expected: set[str]) -> None:
    assert overlooked(datagram(version, *spans), version) == expected


@pytest.mark.parametrize(
    ("version", "spans", "expected"),
    [
        (4, WITHIN, "piece-within"),
        (6, PART, "piece-within"),
        (6, BEYOND, "piece-alone"),
        (6, EMPTY, "piece-alone"),
        (4, ACROSS, None),
        (6, ACROSS, None),
        (4, EMPTY, None),
    ],
)
def test_a_datagram_that_only_linux_puts_together(
    version: int, spans: tuple[tuple[int, int] | Span, ...], expected: str | None
) -> None:
    event = datagram(version, *spans)
    quiet = [as_it_is] * (len(spans) - 1)
    difference = Bench(routed()).difference(event, *quiet, says("INTERNET", older(event.frame)))
    assert (difference.outcome.reason, explain(difference)) == (Reason.FRAGMENT_ERROR, expected)


def test_an_answer_to_a_dead_datagram_is_no_matter_of_addresses() -> None:
    """Every other explanation keeps quiet about what the engine has not put together."""
    event = datagram(4, *ACROSS)
    answer = frame(icmp(bytes((10, 20, 0, 1)), SERVER, 3, 3, 0, 0, event.frame[14:]))[14:]
    difference = Bench(routed()).difference(event, as_it_is, as_it_is, says("LAN", answer))
    assert explain(difference) is None


def without_df(sent: Left) -> Left:
    """The same pieces without DF."""

    def cleared(ip: bytes) -> bytes:
        total = int.from_bytes(ip[10:12], "big") + (ip[6] & 0x40) * 0x100
        return (
            ip[:6] + bytes([ip[6] & ~0x40]) + ip[7:10] + struct.pack("!H", (total & 0xFFFF) + (total >> 16)) + ip[12:]
        )

    return [(port, cleared(ip)) for port, ip in sent]


def test_pieces_lose_df() -> None:
    difference = Bench(routed()).difference(datagram(4, (0, 24), (24, 48), df=True), as_it_is, without_df)
    assert (difference.fields, explain(difference)) == ({"head"}, "pieces-without-df")


def test_what_else_is_different_about_pieces_needs_an_explanation_too() -> None:
    def moved(sent: Left) -> Left:
        return [("LAB", ip) for _, ip in without_df(sent)]

    difference = Bench(routed()).difference(datagram(4, (0, 24), (24, 48), df=True), as_it_is, moved)
    assert (difference.fields, explain(difference)) == ({"head", "port"}, None)
    assert explain(replace(difference, strays=True)) == "other-side"


def test_a_forgotten_connection_in_pieces() -> None:
    """A SYN without a session there, and without DF: two explanations, of which the session's counts."""
    bench = Bench(routed())
    bench.agrees("LAN", frame(tcp(SERVER, FAR, 4000, 80, SYN, 1000, 0)))
    bench.agrees("LAN", frame(tcp(SERVER, FAR, 4000, 80, RST, 5000, 0)))
    data = frame(tcp(FAR, SERVER, 80, 4000, SYN, 70, 0, bytes(28)))
    spans = cut((0, 24), (24, 48), size=48, df=True)
    port_changed = frame(tcp(FAR, SERVER, 80, 4001, SYN, 70, 0, bytes(28)), fragment=0)
    event = Arrival("INTERNET", data, 0, spans=spans)
    difference = bench.difference(
        event, as_it_is, says("LAN", *replace(event, spans=cut(*spans, size=48)).pieces(older(port_changed)))
    )
    assert difference.fields == {"head", "dst"}
    assert explain(difference) == "forgotten-anyway"


def test_pieces_with_another_mark_are_not_explained() -> None:
    def marked(sent: Left) -> Left:
        whole = [(port, b"\x45\xb8" + ip[2:]) for port, ip in sent]
        return [(port, summed(ip)) for port, ip in whole]

    def summed(ip: bytes) -> bytes:
        number, word = struct.unpack_from("!HH", ip, 4)
        parts = Parts(ip[9], ip[12:16], ip[16:20], ip[20:])
        return frame(parts, tos=ip[1], ttl=ip[8], identification=number, fragment=word)[14:]

    difference = Bench(routed()).difference(datagram(4, (0, 24), (24, 48), df=True), as_it_is, marked)
    assert (difference.fields, explain(difference)) == ({"head"}, None)


def test_a_packet_that_came_whole_has_to_keep_df() -> None:
    event = Arrival("LAN", frame(udp(SERVER, FAR, 4000, 53, bytes(40)), fragment=0x4000), 0)
    assert explain(Bench(routed()).difference(event, without_df)) is None


@pytest.mark.parametrize(("largest_has_df", "expected"), [(False, "df-of-a-small-piece"), (True, None)])
def test_a_small_piece_with_df_makes_the_datagram_too_big(largest_has_df: bool, expected: str | None) -> None:
    data = frame(udp(SERVER, FAR, 4000, 53, bytes(1392)), fragment=0)
    small = Span(1376, 1400, more=False, keeps=not largest_has_df)
    spans = (Span(0, 1376, more=True, keeps=largest_has_df), small)
    bench = Bench(routed(Options(mtu=1300)))
    difference = bench.difference(Arrival("LAN", data, 0, spans=spans), as_it_is, says("INTERNET", older(data)))
    assert (difference.outcome.reason, explain(difference)) == (Reason.TOO_BIG, expected)


def bare(sent: Left) -> Left:
    """Without the Fragment header."""
    return [
        (port, ip[:4] + struct.pack("!H", int.from_bytes(ip[4:6], "big") - 8) + ip[40:41] + ip[7:40] + ip[48:])
        for port, ip in sent
    ]


def atomic(far: bytes = FAR6, *, ttl: int = 64) -> Arrival:
    """All there is, behind a Fragment header."""
    data = frame(udp(SERVER6, far, 4000, 53, bytes(range(40))), ttl=ttl)
    return Arrival("LAN", data, 0, spans=(Span(0, 48, more=False),), identification=7)


def test_the_fragment_header_of_all_there_is_is_taken_off() -> None:
    difference = Bench(routed()).difference(atomic(), bare)
    assert (difference.outcome.verdict, difference.fields) == (Verdict.ALLOW, {"cuts"})
    assert explain(difference) == "atomic-fragment"


def test_an_error_quotes_all_there_is_without_its_fragment_header() -> None:
    def unquoted(sent: Left) -> Left:
        ((port, ip),) = sent
        return [(port, frame(icmp(ip[8:24], ip[24:40], 3, 0, 0, 0, bare([("", ip[48:])])[0][1]))[14:])]

    def changed(sent: Left) -> Left:
        ((port, ip),) = unquoted(sent)
        return [(port, frame(icmp(ip[8:24], ip[24:40], 3, 0, 0, 0, ip[48:-1] + b"\0"))[14:])]

    for what, expected in ((unquoted, "atomic-fragment"), (changed, None)):
        difference = Bench(routed()).difference(atomic(ttl=1), what)
        assert (difference.outcome.reason, explain(difference)) == (Reason.TTL_EXPIRED, expected)


@pytest.mark.parametrize(("pointer", "expected"), [(6, "atomic-fragment"), (7, None), (41, None)])
def test_a_parameter_problem_points_to_where_the_fragment_header_was(pointer: int, expected: str | None) -> None:
    own = bytes.fromhex("20010db8002000000000000000000001")
    data = frame(Parts(50, SERVER6, own, bytes(range(10))))

    def unquoted(sent: Left) -> Left:
        ((port, ip),) = sent
        assert (ip[40], int.from_bytes(ip[44:48], "big")) == (4, 40)
        quote = bare([("", ip[48:])])[0][1]
        return [(port, frame(icmp(ip[8:24], ip[24:40], 4, ip[41], 0, pointer, quote))[14:])]

    arrival = Arrival("LAN", data, 0, spans=(Span(0, 10, more=False),), identification=7)
    assert explain(Bench(routed()).difference(arrival, unquoted)) == expected


def test_only_what_comes_behind_a_fragment_header_may_lose_it() -> None:
    """The engine would have to put one on."""
    difference = Bench(routed()).difference(atomic(), bare)
    assert explain(replace(difference, event=Arrival("LAN", difference.event.frame, 0))) is None


# --- the traffic ------------------------------------------------------------------------------------------------------


def test_a_mishap_makes_the_same_datagram_or_none() -> None:
    """Whatever leaves of it has the bytes of the whole; all kinds of pieces are there."""
    seen: set[str] = set()
    for number in range(12):
        random = Random(f"mishaps {number}")
        start = place(random)
        traffic = Packets(random, start)
        edge = Edge(start.config)
        for _ in range(200):
            event = traffic.packet()
            ip = event.frame[14:]
            outcomes = [edge.process(event.port, event.frame[:14] + piece, 0) for piece in event.pieces(ip)]
            traffic.saw(event, outcomes[-1])
            seen |= kinds(event, outcomes[-1].reason)
            for outcome in outcomes:
                if outcome.verdict is Verdict.ALLOW and not event.is_atomic and not dissect(ip).is_error:
                    assert dissect(outcome.outputs[0].frame[14:]).body == dissect(ip).body
    assert seen == {"whole", "pieces", "atomic", "df", "some df", "zeroed", "overlapping", "FRAGMENT_ERROR"}


def kinds(event: Arrival, reason: Reason) -> set[str]:
    """What is to be seen in the traffic."""
    spans = event.spans
    facts = {
        "whole": not spans,
        "pieces": len(spans) > 1,
        "atomic": event.is_atomic,
        "df": bool(spans) and all(item.keeps for item in spans),
        "some df": len({item.keeps for item in spans}) > 1,
        "zeroed": any(item.zeroed for item in spans),
        "overlapping": any(a.first < b.first < a.last < b.last for a in spans for b in spans),
        "FRAGMENT_ERROR": reason is Reason.FRAGMENT_ERROR,
    }
    return {name for name, holds in facts.items() if holds}
