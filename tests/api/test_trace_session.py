"""What a client reads of a trace is what the edge told: the session of a packet too."""

from __future__ import annotations

import pytest

from edge.api import answers, convert
from edge.document import loads
from edge.runtime import Edge
from edge.trace import Tracer, TraceResult, TraceSession, render
from edge.v1 import trace_pb2
from tests.support import SAMPLE

CONVERSATION = (
    "tcp 198.51.100.99:40000 > 203.0.113.11:80 S",
    "tcp 10.20.0.10:8080 > 198.51.100.99:40000 SA",
    "icmp 10.20.0.10 > 198.51.100.99 echo-request wait=0.7",
    "udp 10.20.0.10:5000 > 198.51.100.99:53 wait=0.000000001",
    "tcp 198.51.100.99:40000 > 203.0.113.11:81 S",
)


def over_the_wire(result: TraceResult) -> TraceResult:
    return answers.trace(trace_pb2.PacketTrace.FromString(convert.trace(result).SerializeToString()))


@pytest.mark.parametrize("number", range(len(CONVERSATION)))
def test_a_client_prints_what_the_edge_would_print(number: int) -> None:
    tracer = Tracer(Edge(loads(SAMPLE).config))
    result = [tracer.send(text) for text in CONVERSATION[: number + 1]][-1][0]
    told = over_the_wire(result)
    assert told.session == result.session
    assert render(told) == render(result)
    assert ("  session: " in render(told)) == (result.verdict.name == "ALLOW")


def test_the_session_as_a_message() -> None:
    tracer = Tracer(Edge(loads(SAMPLE).config))
    (result,) = [tracer.send(text) for text in CONVERSATION[:2]][-1]
    message = convert.trace(result).session
    assert (message.state, message.idle_timeout.ToTimedelta().total_seconds()) == ("ESTABLISHED:SYN_SENT", 30)
    assert [(part.packets, part.bytes) for part in (message.forward, message.reverse)] == [(1, 40), (1, 40)]
    assert over_the_wire(result).session == TraceSession("ESTABLISHED:SYN_SENT", 30.0, (1, 1), (40, 40))


def test_a_packet_without_a_session_has_no_message() -> None:
    (result,) = Tracer(Edge(loads(SAMPLE).config)).send(CONVERSATION[-1])
    message = convert.trace(result)
    assert not message.HasField("session")
    assert answers.trace(message).session is None
