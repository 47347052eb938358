"""Each explanation of what the random runs seldom show: it holds for its own kind, and for nothing that resembles it.

No kernel is asked here.
"""

from __future__ import annotations

from dataclasses import replace

import pytest

from edge.nat.config import NatConfig
from edge.verdicts import Reason
from tests.model.frames import frame, icmp, tcp
from tests.support import nat
from tests.twin.compare import Sent
from tests.twin.explained import explain
from tests.twin.places import Arrival
from tests.twin.scripted import FAR, FAR6, OTHER, SERVER, SERVER6, Bench, nothing, older, routed, says
from tests.twin.wire import ACK, FIN, RST, SYN, dissect


def about_a_query(quoted_code: int) -> tuple[Bench, Arrival]:
    """A session that a query of code 0 began, and an error about one of another code, or not."""
    bench = Bench(routed())
    bench.agrees("LAN", frame(icmp(SERVER, FAR, 8, 0, 7, 1)))
    quote = frame(icmp(SERVER, FAR, 8, quoted_code, 7, 1), ttl=63)[14:]
    return bench, Arrival("INTERNET", frame(icmp(FAR, SERVER, 3, 1, 0, 0, quote)), 0)


def test_an_error_about_a_query_of_another_code() -> None:
    bench, error = about_a_query(106)
    difference = bench.difference(error, nothing)
    assert difference.outcome.reason is Reason.RELATED
    assert explain(difference) == "query-code"


def test_an_error_about_the_very_query_has_to_pass() -> None:
    bench, error = about_a_query(0)
    assert explain(bench.difference(error, nothing)) is None


def test_an_error_about_another_code_that_leaves_elsewhere_is_not_explained() -> None:
    bench, error = about_a_query(106)
    assert explain(bench.difference(error, lambda sent: [("LAB", sent[0][1])])) is None


def test_a_query_of_another_code() -> None:
    for code, expected in ((1, "query-code"), (0, None)):
        bench = Bench(routed())
        bench.agrees("LAN", frame(icmp(SERVER, FAR, 8, 0, 7, 1)))
        again = Arrival("LAN", frame(icmp(SERVER, FAR, 8, code, 7, 1)), 0)
        assert explain(bench.difference(again, nothing)) == expected


@pytest.mark.parametrize(("kind", "expected"), [(0, "bypassed-beginning"), (8, None)])
def test_an_error_about_a_session_that_a_reply_began(kind: int, expected: str | None) -> None:
    bypass = nat("out", "SNAT", "203.0.113.10", "10.20.0.0/24", match="BYPASS")
    bench = Bench(replace(routed(), nat=NatConfig((bypass,))))
    outcome, difference = bench.pair.feed(Arrival("LAN", frame(icmp(SERVER, FAR, kind, 0, 7, 1)), 0))
    assert (outcome.reason, difference) == (Reason.NAT_BYPASS, None)
    quote = outcome.outputs[0].frame[14:]
    error = Arrival("INTERNET", frame(icmp(FAR, bytes((203, 0, 113, 10)), 3, 1, 0, 0, quote)), 0)
    difference = bench.difference(error, nothing)
    assert (difference.outcome.reason, explain(difference)) == (Reason.RELATED, expected)


@pytest.mark.parametrize(("second", "expected"), [(500, "other-numbers"), (1000, None), (2000, None)])
def test_a_second_syn_with_an_earlier_number_is_not_noted(second: int, expected: str | None) -> None:
    bench = Bench(routed())
    bench.agrees("LAN", frame(tcp(SERVER, FAR, 4000, 80, SYN, 1000, 0)))
    bench.agrees("LAN", frame(tcp(SERVER, FAR, 4000, 80, SYN, second, 0)))
    bench.agrees("INTERNET", frame(tcp(FAR, SERVER, 80, 4000, SYN | ACK, 70, second + 1)))
    third = Arrival("LAN", frame(tcp(SERVER, FAR, 4000, 80, ACK, second + 1, 71)), 0)
    assert explain(bench.difference(third, nothing)) == expected


@pytest.mark.parametrize(("lengths", "expected"), [((5,), None), ((5, 5), "other-numbers")])
def test_a_server_that_speaks_on_before_it_is_heard(lengths: tuple[int, ...], expected: str | None) -> None:
    bench = Bench(routed())
    bench.agrees("LAN", frame(tcp(SERVER, FAR, 4000, 80, SYN, 1000, 0)))
    bench.agrees("INTERNET", frame(tcp(FAR, SERVER, 80, 4000, SYN | ACK, 70, 1001)))
    number = 71
    for length in lengths:
        bench.agrees("INTERNET", frame(tcp(FAR, SERVER, 80, 4000, ACK, number, 1001, bytes(length))))
        number += length
    bench.agrees("LAN", frame(tcp(SERVER, FAR, 4000, 80, ACK, 1001, number, b"abc")))
    event = Arrival("LAN", frame(tcp(SERVER, FAR, 4000, 80, ACK, 1004, number, b"abc")), 0)
    assert explain(bench.difference(event, nothing)) == expected


def test_a_segment_that_only_the_twin_reads_moves_its_numbers() -> None:
    for extensions, expected in (((60,) * 9, "other-numbers"), ((), None)):
        bench = Bench(routed())
        bench.agrees("LAN", frame(tcp(SERVER6, FAR6, 4000, 80, SYN, 1000, 0)))
        if extensions:
            bench.agrees("LAN", frame(tcp(SERVER6, FAR6, 4000, 80, RST, 5, 0), extensions=extensions))
        answer = Arrival("INTERNET", frame(tcp(FAR6, SERVER6, 80, 4000, SYN | ACK, 70, 1001)), 0)
        assert explain(bench.difference(answer, nothing)) == expected


@pytest.mark.parametrize(("both_reset", "expected"), [(True, "after-reset"), (False, None)])
def test_an_error_about_a_session_that_the_box_itself_has_reset(*, both_reset: bool, expected: str | None) -> None:
    bench = Bench(routed())
    syn = frame(tcp(SERVER, FAR, 4000, 80, SYN, 1000, 0))
    bench.agrees("LAN", syn)
    if both_reset:
        bench.agrees("INTERNET", frame(tcp(FAR, SERVER, 80, 4000, FIN | ACK, 70, 1000)))
    error = Arrival("INTERNET", frame(icmp(FAR, SERVER, 3, 1, 0, 0, older(syn))), 0)
    difference = bench.difference(error, nothing)
    assert (difference.outcome.reason, explain(difference)) == (Reason.RELATED, expected)


def test_a_segment_of_no_session_between_networks() -> None:
    def stray(port: str) -> str | None:
        bench = Bench(routed())
        bench.agrees("INTERNET", frame(tcp(FAR, SERVER, 4000, 80, SYN, 1000, 0)))
        bench.agrees("LAN", frame(tcp(SERVER, FAR, 80, 4000, SYN | ACK, 70, 1001)))
        bench.agrees("INTERNET", frame(tcp(FAR, SERVER, 4000, 80, ACK, 1001, 71)))
        data = frame(tcp(SERVER, FAR, 80, 4000, ACK, 71 + 2**31 - 5, 1001))
        difference = bench.difference(Arrival("LAN", data, 0), says(port, older(data)))
        assert difference.outcome.reason is Reason.TCP_WINDOW
        return explain(difference)

    assert (stray("LAB"), stray("INTERNET")) == ("invalid-passes-between-networks", None)


def test_a_connection_that_linux_takes_up_again_as_it_was() -> None:
    """The same end there, two here: only if the first is over."""
    for is_over in (True, False):
        bench = Bench(routed())
        old, new, there = (FAR, 1000), (FAR, 2000), (FAR, 3000)
        bench.pair.ports.learn(6, old, there, (SERVER, 80))
        bench.pair.over |= {(6, frozenset((old, (OTHER, 80))))} if is_over else set()
        bench.pair.ports.learn(6, new, there, (OTHER, 80))
        event = Arrival("INTERNET", frame(tcp(FAR, SERVER, 2000, 80, SYN, 1, 0)), 0)
        elsewhere = older(frame(tcp(FAR, SERVER, 3000, 80, SYN, 1, 0)))
        before, there_before = dissect(event.frame[14:]), dissect(frame(tcp(FAR, SERVER, 3000, 80, SYN, 1, 0))[14:])
        outcome = bench.pair.edge.process(event.port, event.frame, 0)
        edge = (Sent("LAN", dissect(outcome.outputs[0].frame[14:])),)
        raw = (Sent("LAN", dissect(elsewhere)),)
        assert bench.pair.learn(before, there_before, outcome, edge, raw) is is_over
        assert bench.pair.is_over(dissect(frame(tcp(FAR, SERVER, 1000, 80, SYN, 1, 0))[14:])) is is_over


def test_what_goes_to_an_end_that_only_the_twin_has_drawn() -> None:
    pair = Bench(routed()).pair
    pair.ports.learn(6, (FAR, 1000), (FAR, 3000), (SERVER, 80))
    to_it, back = (dissect(frame(tcp(SERVER, FAR, 80, port, SYN, 1, 0))[14:]) for port in (3000, 1000))
    assert [pair.is_drawn(Sent("LAN", packet)) for packet in (to_it, back)] == [True, False]
