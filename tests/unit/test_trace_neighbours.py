"""Whom a packet that leaves is given to, as a trace on a served edge tells."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from edge.api import answers
from edge.forwarder import Forwarder
from edge.gateway.tracing import trace_packets
from edge.packets.build import build_frame
from edge.packets.text import parse_packet
from edge.ports import made_mac
from edge.runtime import Edge
from edge.trace import TraceNeighbour, TraceOutput, render
from edge.v1 import trace_pb2
from tests.links import reply, request
from tests.support import acme

OUT = "udp 10.20.0.10:1024 > 198.51.100.5:53"
ROUTER = "203.0.113.1"
ROUTER_MAC = bytes.fromhex("02000000cb01")
PATIENCE = 20.0


@pytest.fixture
def forwarder() -> Iterator[Forwarder]:
    with Forwarder(Edge(acme()), []) as made:
        yield made


def output(forwarder: Forwarder, packet: str = OUT) -> TraceOutput:
    """What leaves because of a packet."""
    _, (result,) = trace_packets(
        forwarder._edge,
        [packet],
        time.monotonic_ns(),
        config=None,
        tables=None,
        ignore_sessions=False,
        neighbour_of=forwarder.neighbour_of,
    )
    (found,) = result.outputs
    if found.neighbour is not None:
        assert render(result).splitlines()[-1] == f"    {found.neighbour}"
    return found


def becomes(forwarder: Forwarder, state: str) -> TraceNeighbour:
    """The neighbour once it is in a state."""
    until = time.monotonic() + PATIENCE
    while True:
        found = output(forwarder).neighbour
        assert found is not None
        if found.state == state:
            return found
        assert time.monotonic() < until, found


def test_a_state_that_only_a_newer_edge_knows() -> None:
    assert str(TraceNeighbour(ROUTER, "", "DOZING")) == f"to {ROUTER} (DOZING)"
    assert str(TraceNeighbour(ROUTER, "02:00:00:00:cb:01", "42")) == f"to {ROUTER} at 02:00:00:00:cb:01 (42)"
    given = trace_pb2.TraceNeighbour(address=ROUTER, state=42)  # type: ignore[arg-type]
    step = {"verdict": 1, "reason": 1, "outputs": [trace_pb2.TraceOutput(neighbour=given)]}
    (found,) = answers.trace(trace_pb2.PacketTrace(**step)).outputs
    assert found.neighbour == TraceNeighbour(ROUTER, "", "42")


def test_nobody_has_asked_for_it_yet_and_the_trace_does_not_either(forwarder: Forwarder) -> None:
    for _ in range(2):
        found = output(forwarder)
        assert found.neighbour == TraceNeighbour(ROUTER, "", "UNKNOWN")
        assert found.to_json()["neighbour"] == {"address": ROUTER, "state": "UNKNOWN"}
        assert str(found.neighbour) == f"{ROUTER} is to be asked for its MAC address, and the packet waits"
    assert sum(forwarder.neighbour_states().values()) == 0


def test_it_is_asked_answers_and_has_an_address(forwarder: Forwarder) -> None:
    forwarder.inject([("LAN", build_frame(parse_packet(OUT)))], time.monotonic_ns())
    assert str(becomes(forwarder, "INCOMPLETE")) == f"{ROUTER} is being asked for its MAC address, and the packet waits"
    forwarder.feed("INTERNET", reply(ROUTER, "203.0.113.10", mac=ROUTER_MAC, to=made_mac("edge", "INTERNET")))
    found = becomes(forwarder, "REACHABLE")
    assert str(found) == f"to {ROUTER} at 02:00:00:00:cb:01"
    assert found.to_json() == {"address": ROUTER, "mac": "02:00:00:00:cb:01", "state": "REACHABLE"}


def test_it_does_not_answer(forwarder: Forwarder) -> None:
    forwarder.inject([("LAN", build_frame(parse_packet(OUT)))], time.monotonic_ns())
    found = becomes(forwarder, "FAILED")
    assert (found.mac, str(found)) == ("", f"{ROUTER} does not answer: unreachable goes back")


def test_the_destination_itself_is_the_neighbour_on_its_own_link(forwarder: Forwarder) -> None:
    forwarder.feed("LAN", request("10.20.0.10", "10.20.0.1", mac=ROUTER_MAC))
    until = time.monotonic() + PATIENCE
    while not forwarder.neighbour_states()["STALE"]:
        assert time.monotonic() < until
    echo = output(forwarder, "icmp 10.20.0.10 > 10.20.0.1 echo-request id=7 seq=1")
    assert echo.neighbour == TraceNeighbour("10.20.0.10", "02:00:00:00:cb:01", "STALE")


def test_a_port_that_is_gone_and_a_group_have_no_neighbour(forwarder: Forwarder) -> None:
    frame = build_frame(parse_packet(OUT))
    assert forwarder.neighbour_of("nowhere", frame) is None
    assert forwarder.neighbour_of("LAN", build_frame(parse_packet("udp 10.20.0.10:1 > 224.0.0.9:520"))) is None
    assert forwarder.neighbour_of("LAN", build_frame(parse_packet("udp 10.20.0.10:1 > 10.20.0.1:2"))) == TraceNeighbour(
        "", "", "NO_NEXT_HOP"
    )


def test_without_links_nothing_is_said() -> None:
    _, (result,) = trace_packets(Edge(acme()), [OUT], 0, config=None, tables=None, ignore_sessions=False)
    assert result.outputs[0].neighbour is None
    assert "neighbour" not in result.outputs[0].to_json()
    assert render(result).splitlines()[-1].startswith("  leaves by INTERNET: ")
