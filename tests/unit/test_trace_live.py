"""Traces against an edge that has sessions already: their ends go on where they are."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from edge.model import EdgeConfig
from edge.packets import Conversation, build_frame, parse_packet
from edge.state import NextSegment, SessionMatch, SessionsPage
from edge.trace import Tracer, TraceResult
from edge.verdicts import Verdict
from tests.alg_bench import (
    CALLED,
    CLIENT,
    IN,
    IN6,
    OUT,
    OUTSIDE,
    PUBLISHED,
    SERVER,
    WAY_OUT,
    AnyEdge,
    Control,
    ftp_edge,
    payload_of,
)
from tests.model import frames
from tests.support import SECOND

Make = Callable[[EdgeConfig], AnyEdge]


def why(results: list[TraceResult]) -> str:
    return f"{results[-1].verdict.name} {results[-1].reason.name}"


def shown(results: list[TraceResult]) -> str:
    """The last output."""
    return results[-1].outputs[-1].packet


def connect(edge: AnyEdge, client: str, server: str, *, behind: tuple[str, str] | None = None) -> None:
    """A connection whose ends began with numbers of their own; ``behind`` is how the server sees both ends."""
    seen, answers = behind or (client, server)
    tracer = Tracer(edge)
    for text in (
        f"tcp {client} > {server} S seq=4294967290 win=4000",
        f"tcp {answers} > {seen} SA seq=77000 ack=4294967291 win=5000",
        f"tcp {client} > {server} A seq=4294967291 ack=77001 win=4000",
        f"tcp {client} > {server} PA seq=4294967291 ack=77001 win=4000 len=10",
        f"tcp {answers} > {seen} PA seq=77001 ack=5 win=5000 len=1400",
    ):
        assert tracer.send(text)[-1].verdict is Verdict.ALLOW


# --- what is known of a session -------------------------------------------------------------------------------------


def test_both_ends_count_for_themselves(make: Make) -> None:
    edge = make(ftp_edge(WAY_OUT))
    control = Control(edge, OUT)
    control.say(b"PORT 10,20,0,50,200,10\r\n")  # 24 bytes, 26 outside
    control.answer(b"200\r\n")
    (info,) = edge.sessions()
    assert info.next_segments == (NextSegment(1025, 1027, 65535), NextSegment(1006, 1006, 65535))
    assert edge.sessions_page(match=SessionMatch(protocol=6)).sessions == [info]


def test_an_answer_that_has_shrunk_is_shorter_for_the_client(make: Make) -> None:
    edge = make(ftp_edge(PUBLISHED))
    control = Control(edge, CALLED)
    control.answer(b"227 (010,020,000,005,200,010)\r\n")  # 31 bytes, 27 outside
    (info,) = edge.sessions()
    assert info.next_segments == (NextSegment(1001, 1001, 65535), NextSegment(1032, 1028, 65535))


def test_nothing_is_known_of_a_side_that_has_sent_nothing(make: Make) -> None:
    edge = make(ftp_edge(WAY_OUT))
    Tracer(edge).send(f"{OUT} seq=4294967295 win=700")
    assert edge.sessions()[0].next_segments == (NextSegment(0, 0, 700), None)


def test_nothing_is_known_where_numbers_are_not_followed(make: Make) -> None:
    edge = make(replace(ftp_edge(), options=replace(ftp_edge().options, tcp_strict=False)))
    tracer = Tracer(edge)
    tracer.send(IN.replace(" S", " A seq=5 ack=6"))
    tracer.send(f"udp {OUTSIDE}:40000 > {SERVER}:69")
    assert [info.next_segments for info in edge.sessions()] == [(None, None), (None, None)]


def test_windows_are_told_as_they_are_on_the_wire(make: Make) -> None:
    edge = make(ftp_edge())
    ends = frames.parts_of(build_frame(parse_packet(IN)))
    assert ends is not None
    scale = b"\3\3\7\0"
    syn = frames.tcp(ends.src, ends.dst, 40000, 21, 2, 10, 0, b"", scale)
    answer = frames.tcp(ends.dst, ends.src, 21, 40000, 18, 20, 11, b"", scale)
    edge.process("INTERNET", frames.frame(syn), 0)
    edge.process("LAN", frames.frame(answer), 0)
    window = int.from_bytes(syn.payload[14:16], "big")
    (info,) = edge.sessions()
    assert info.next_segments == tuple(NextSegment(number, number, -(-window // 128)) for number in (11, 21))


def test_events_do_not_tell_what_comes_next(make: Make) -> None:
    edge = make(ftp_edge())
    edge.watch_sessions = True
    Tracer(edge).send(IN)
    edge.delete_sessions(SessionMatch())
    events, _ = edge.take_events()
    assert [event.session.next_segments for event in events] == [(None, None), (None, None)]  # type: ignore[union-attr]


# --- traces that go on with it --------------------------------------------------------------------------------------

WAYS = {
    "routed": ((), f"{OUTSIDE}:40000", f"{SERVER}:21", None),
    "behind SNAT": ((WAY_OUT,), f"{CLIENT}:40000", f"{OUTSIDE}:21", None),
    "behind DNAT": ((PUBLISHED,), f"{OUTSIDE}:40000", "203.0.113.11:21", (f"{OUTSIDE}:40000", f"{SERVER}:21")),
}


def way(make: Make, name: str) -> tuple[AnyEdge, str, str]:
    """An edge with an open connection: both directions, each as its sender writes it."""
    rules, client, server, behind = WAYS[name]
    edge = make(ftp_edge(*rules))
    if name == "behind SNAT":
        trial = edge.snapshot()
        Tracer(trial).send(f"tcp {client} > {server} S")
        translated = trial.sessions()[0].translated
        behind = (f"{translated.src}:{translated.sport}", server)
    connect(edge, client, server, behind=behind)
    seen, answers = behind or (client, server)
    return edge, f"tcp {client} > {server}", f"tcp {answers} > {seen}"


def goes_on(edge: AnyEdge, packet: str, numbers: str) -> tuple[Tracer, TraceResult]:
    """Data in one direction, which has to leave as if it bore these numbers."""
    tracer = Tracer(edge.snapshot())
    sent = tracer.send(f"{packet} PA len=3")
    assert why(sent) == "ALLOW SESSION"
    numbered = Tracer(edge.snapshot()).send(f"{packet} PA len=3 {numbers}")
    assert sent[-1].outputs[0].frame == numbered[-1].outputs[0].frame
    return tracer, sent[-1]


@pytest.mark.parametrize("name", WAYS)
def test_a_client_goes_on(make: Make, name: str) -> None:
    edge, there, back = way(make, name)
    tracer, _ = goes_on(edge, there, "seq=5 ack=78401 win=4000")
    assert why(tracer.reply("A")) == "ALLOW SESSION"
    assert why(tracer.send(f"{back} FA")) == "ALLOW SESSION"
    assert why(tracer.send(f"{there} R")) == "ALLOW SESSION"


@pytest.mark.parametrize("name", WAYS)
def test_a_server_goes_on(make: Make, name: str) -> None:
    edge, there, back = way(make, name)
    tracer, sent = goes_on(edge, back, "seq=78401 ack=5 win=5000")
    assert sent.session is not None
    assert sent.session.packets == (3, 3)
    assert why(tracer.reply("FA")) == "ALLOW SESSION"
    assert why(tracer.send(f"{there} R seq=1")) == "DROP TCP_WINDOW"
    assert why(tracer.send(f"{back} R")) == "ALLOW SESSION"


def test_what_a_frame_left_unsaid_is_asked_later(make: Make) -> None:
    edge, there, _ = way(make, "behind DNAT")
    tracer = Tracer(edge)
    frame = build_frame(parse_packet(f"{there} PA len=7 seq=5 ack=78401"))
    assert why(tracer.send_frame("INTERNET", frame)) == "ALLOW SESSION"
    assert why(tracer.send(f"{there} A")) == "ALLOW SESSION"
    assert "seq=12 ack=78401" in shown(tracer.send(f"{there} A seq=12 ack=78401"))


def test_a_syn_waits_for_its_answer(make: Make) -> None:
    edge = make(ftp_edge(PUBLISHED))
    Tracer(edge).send(f"{CALLED} seq=500000")
    tracer = Tracer(edge)
    assert why(tracer.send(f"tcp {SERVER}:21 > {OUTSIDE}:40000 SA")) == "ALLOW SESSION"
    assert why(tracer.send(CALLED.replace(" S", " A"))) == "ALLOW SESSION"
    assert edge.sessions()[0].state == "ESTABLISHED:ESTABLISHED"
    assert edge.sessions()[0].next_segments[0] == NextSegment(500001, 500001, 65535)


def test_a_new_connection_of_the_same_addresses_starts_anew(make: Make) -> None:
    edge, there, back = way(make, "behind DNAT")
    tracer = Tracer(edge)
    for text in (f"{there} FA", f"{back} FA", f"{there} A"):
        assert why(tracer.send(text)) == "ALLOW SESSION"
    assert why(tracer.send(f"{there} S")) == "ALLOW FW_RULE"
    assert why(tracer.reply("SA")) == "ALLOW SESSION"
    assert why(tracer.reply("A")) == "ALLOW SESSION"
    segment = NextSegment(1001, 1001, 65535)
    assert edge.sessions()[0].next_segments == (segment, segment)


def test_numbers_that_an_alg_has_shifted(make: Make) -> None:
    edge = make(ftp_edge(WAY_OUT))
    control = Control(edge, OUT)
    control.say(b"PORT 10,20,0,50,200,10\r\n")
    seen = control.info.translated
    there, back = OUT.replace(" S", ""), f"tcp {OUTSIDE}:21 > {seen.src}:{seen.sport}"
    sent = Tracer(edge.snapshot()).send(f'{there} PA data="LIST\\r\\n"')
    assert why(sent) == "ALLOW SESSION"
    assert sent[-1].outputs[0].frame[14 + 24 : 14 + 28] == (1027).to_bytes(4, "big")
    answered = Tracer(edge.snapshot()).send(f'{back} PA data="200\\r\\n"')
    assert why(answered) == "ALLOW SESSION"
    assert answered[-1].outputs[0].frame[14 + 28 : 14 + 32] == (1025).to_bytes(4, "big")
    again = Tracer(edge.snapshot())
    assert payload_of(again.send(f'{there} PA data="PORT 10,20,0,50,200,11\\r\\n"')).startswith(b"PORT 203,0,113,10,")
    assert why(again.reply("A")) == "ALLOW SESSION"
    assert why(again.send(f"{there} R")) == "ALLOW SESSION"


def test_an_error_quotes_what_was_sent(make: Make) -> None:
    edge, there, _ = way(make, "behind DNAT")
    quoted = there.replace("203.0.113.11:21", f"{SERVER}:21")
    results = Tracer(edge).send(f'icmp {SERVER} > {OUTSIDE} host-unreachable of="{quoted} PA len=8"')
    assert why(results) == "ALLOW RELATED"


def test_ipv6(make: Make) -> None:
    edge = make(ftp_edge())
    there = IN6.removesuffix(" S")
    left, right = there.removeprefix("tcp ").split(" > ")
    connect(edge, left, right)
    assert why(Tracer(edge).send(f"tcp {right} > {left} A")) == "ALLOW SESSION"


# --- how it is asked ------------------------------------------------------------------------------------------------


class Counted:
    """An edge that counts what is asked of it, and hands out short pages."""

    def __init__(self, edge: AnyEdge) -> None:
        self.edge, self.matches = edge, list[SessionMatch | None]()
        self.config, self.ingress_port, self.process, self.stats = (
            edge.config, edge.ingress_port, edge.process, edge.stats,
        )  # fmt: skip

    def sessions_page(self, *, after: int = 0, limit: int = 1000, match: SessionMatch | None = None) -> SessionsPage:
        self.matches.append(match)
        assert limit >= 1
        return self.edge.sessions_page(after=after, limit=1, match=match)


def test_an_edge_without_sessions_is_not_asked_for_numbers(make: Make) -> None:
    edge = Counted(make(ftp_edge()))
    tracer = Tracer(edge)
    tracer.send(IN)
    tracer.reply("SA")
    assert len(edge.matches) == 2  # once for the session of each packet


def test_a_direction_is_asked_for_once(make: Make) -> None:
    inner, there, back = way(make, "routed")
    edge = Counted(inner)
    tracer = Tracer(edge)
    for _ in range(3):
        assert why(tracer.send(f"{there} A")) == why(tracer.send(f"{back} A")) == "ALLOW SESSION"
    assert len(edge.matches) == 6 + 1
    assert {(match.protocol, match.port_number) for match in edge.matches if match} == {(6, 40000)}


def test_the_session_of_a_packet_is_found_among_many(make: Make) -> None:
    edge = make(ftp_edge())
    for port in range(40000, 40040):
        edge.process("INTERNET", build_frame(parse_packet(IN.replace("40000", str(port)))), SECOND)
    counted = Counted(edge)
    tracer = Tracer(counted, now_ns=SECOND)
    (result,) = tracer.send(f"tcp {SERVER}:21 > {OUTSIDE}:40007 SA")
    assert result.session is not None
    assert result.session.state == "ESTABLISHED:SYN_SENT"
    assert len(counted.matches) == 2  # its numbers, and its session


def test_a_conversation_learns_only_what_it_has_not_seen() -> None:
    asked = []
    conversation = Conversation(lambda direction: asked.append(direction) or ())  # type: ignore[func-returns-value]
    packet = parse_packet(IN)
    build_frame(packet, conversation)
    assert asked == []  # who begins needs no numbers
    build_frame(replace(packet, flags=16), conversation)
    build_frame(replace(packet, flags=16), conversation)
    assert len(asked) == 1
