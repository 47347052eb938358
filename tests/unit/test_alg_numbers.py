"""Application layer gateways of FTP: sequence numbers of a connection whose commands have changed their length."""

from __future__ import annotations

from ipaddress import ip_address

import pytest

from edge.reference import ReferenceEdge
from edge.runtime import Edge
from edge.trace import Tracer, TraceResult
from tests.alg_bench import (
    CALLED,
    CLIENT,
    OUT,
    OUTSIDE,
    WAY_OUT,
    Control,
    Make,
    ftp_edge,
    payload_of,
    ports,
    why,
)
from tests.support import nat


@pytest.fixture(params=[Edge, ReferenceEdge], ids=["native", "reference"])
def make(request: pytest.FixtureRequest) -> Make:
    return request.param


def numbers(results: list[TraceResult]) -> str:
    """``seq=1 ack=2`` of the output."""
    words = results[-1].outputs[-1].packet.split()
    return " ".join(word for word in words if word.startswith(("seq=", "ack=")))


def test_later_numbers_are_shifted_and_answers_shifted_back(make: Make) -> None:
    control = Control(make(ftp_edge(WAY_OUT)), OUT)
    line = b"PORT 10,20,0,50,200,10\r\n"  # 24 bytes, 26 outside
    assert numbers(control.say(line, "seq=1001 ack=1001")) == "seq=1001 ack=1001"
    assert numbers(control.answer(b"", "A seq=1001 ack=1027")) == "seq=1001 ack=1025"
    assert numbers(control.answer(b"", "A seq=1001 ack=1001")) == "seq=1001 ack=1001"
    assert numbers(control.say(b"LIST\r\n", "seq=1025 ack=1001")) == "seq=1027 ack=1001"
    assert numbers(control.answer(b"150\r\n", "seq=1001 ack=1033")) == "seq=1001 ack=1031"
    again = control.say(line, "seq=1001 ack=1001")
    assert (numbers(again), payload_of(again)) == ("seq=1001 ack=1001", b"PORT 203,0,113,10,200,10\r\n")
    assert numbers(control.say(b"NOOP\r\n", "seq=1031 ack=1006")) == "seq=1033 ack=1006"


def test_a_second_command_adds_to_the_shift(make: Make) -> None:
    control = Control(make(ftp_edge(WAY_OUT)), OUT)
    line = b"PORT 10,20,0,50,200,10\r\n"
    control.say(line, "seq=1001")
    assert numbers(control.say(line, "seq=1025 ack=1001")) == "seq=1027 ack=1001"
    assert numbers(control.say(b"LIST\r\n", "seq=1049 ack=1001")) == "seq=1053 ack=1001"
    assert numbers(control.answer(b"", "A seq=1001 ack=1053")) == "seq=1001 ack=1049"
    assert numbers(control.answer(b"", "A seq=1001 ack=1027")) == "seq=1001 ack=1025"


def test_an_answer_that_shrinks(make: Make) -> None:
    edge = make(ftp_edge(nat("pub", "DNAT", "203.0.113.11", "10.20.0.105")))
    control = Control(edge, CALLED)
    line = b"227 (010,020,000,105,200,010)\r\n"  # 31 bytes, 28 outside
    assert payload_of(control.answer(line, "seq=1001")) == b"227 (203,0,113,11,200,10)\r\n"
    assert numbers(control.answer(b"150\r\n", "seq=1032 ack=1001")) == "seq=1028 ack=1001"
    assert numbers(control.say(b"LIST\r\n", "seq=1001 ack=1028")) == "seq=1001 ack=1032"


def test_a_retransmission_that_gets_another_port(make: Make) -> None:
    control = Control(make(ftp_edge(WAY_OUT, options=ports("9999-10000"))), OUT)
    line = b"PORT 10,20,0,50,39,15\r\n"  # 9999
    assert payload_of(control.say(line, "seq=1001")) == b"PORT 203,0,113,10,39,15\r\n"
    control.tracer.send(f"tcp {OUTSIDE}:20 > 203.0.113.10:9999 S")
    assert payload_of(control.say(line, "seq=1001")) == b"PORT 203,0,113,10,39,16\r\n"
    assert numbers(control.say(b"LIST\r\n", "seq=1024 ack=1001")) == "seq=1026 ack=1001"


def test_an_old_command_again_leaves_the_shift(make: Make) -> None:
    control = Control(make(ftp_edge(WAY_OUT)), OUT)
    control.say(b"PORT 10,20,0,50,200,10\r\n", "seq=1001")
    control.say(b"PORT 10,20,0,50,200,11\r\n", "seq=1025")
    old = control.say(b"PORT 10,20,0,50,200,10\r\n", "seq=1001 ack=1001")
    assert payload_of(old) == b"PORT 203,0,113,10,200,10\r\n"
    assert numbers(control.say(b"LIST\r\n", "seq=1049 ack=1001")) == "seq=1053 ack=1001"


def test_numbers_that_wrap(make: Make) -> None:
    edge = make(ftp_edge(WAY_OUT))
    tracer = Tracer(edge)
    tracer.send(f"{OUT} seq=4294967280")
    tracer.reply("SA")
    tracer.reply("A")
    control = Control.__new__(Control)
    control.edge, control.tracer, control.info = edge, tracer, edge.sessions()[0]
    control.say(b"PORT 10,20,0,50,200,10\r\n", "seq=4294967281")
    assert numbers(control.say(b"LIST\r\n", "seq=9 ack=1001")) == "seq=11 ack=1001"
    assert numbers(control.answer(b"", "A seq=1001 ack=11")) == "seq=1001 ack=9"
    assert numbers(control.answer(b"", "A seq=1001 ack=4294967281")) == "seq=1001 ack=4294967281"


def test_challenges_speak_the_numbers_of_who_hears_them(make: Make) -> None:
    control = Control(make(ftp_edge(WAY_OUT)), OUT)
    control.say(b"PORT 10,20,0,50,200,10\r\n", "seq=1001 ack=1001")
    asked = control.answer(b"", "S seq=7 ack=7")  # a SYN on an open connection
    assert why(asked) == "DROP TCP_STATE"
    assert "seq=1027 " in asked[-1].outputs[-1].packet
    asked = control.say(b"", "S seq=7 ack=7")
    assert "seq=1001 " in asked[-1].outputs[-1].packet


def test_an_error_quotes_what_the_sender_sent(make: Make) -> None:
    control = Control(make(ftp_edge(WAY_OUT)), OUT)
    control.say(b"PORT 10,20,0,50,200,10\r\n", "seq=1001 ack=1001")
    left = control.say(b"LIST\r\n", "seq=1025 ack=1001")[-1].outputs[-1]
    quote = left.packet.partition(" data=")[0]
    error = control.tracer.send(f'icmp 192.0.2.1 > 203.0.113.10 host-unreachable of="{quote}"')
    assert why(error) == "ALLOW RELATED"
    frame = error[-1].outputs[-1].frame
    assert int.from_bytes(frame[14 + 28 + 20 + 4 : 14 + 28 + 20 + 8], "big") == 1025
    assert ip_address(frame[14 + 28 + 12 : 14 + 28 + 16]) == ip_address(CLIENT)
