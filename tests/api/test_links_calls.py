"""What a client hears of the links of an edge that forwards: neighbours in traces, what is lost in the counters."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from edge.api import answers
from edge.forwarder import Forwarder
from edge.state import LINK_DROPS
from edge.trace import TraceNeighbour
from edge.v1 import edge_service_pb2 as pb
from edge.v1 import stats_pb2
from tests.api.served import ServedEdge, serving
from tests.gateways import WEB
from tests.links import reply
from tests.support import SAMPLE
from tests.waiting import wait_for


@pytest.fixture
def forwarding() -> Iterator[tuple[ServedEdge, Forwarder]]:
    with serving() as served:
        with Forwarder(served.gateway.edge, []) as forwarder:
            served.gateway.forwarding = forwarder
            yield served, forwarder
        served.gateway.forwarding = None


def link_of(edge: ServedEdge, port: str) -> stats_pb2.LinkStats:
    ports = edge.stub.GetStats(pb.GetStatsRequest(omit_rules=True)).stats.ports
    (found,) = (item.link for item in ports if item.port == port)
    return found


def test_a_trace_names_the_neighbour(forwarding: tuple[ServedEdge, Forwarder]) -> None:
    served, _ = forwarding
    (traced,) = served.stub.Trace(pb.TraceRequest(packets=[{"text": WEB}])).packets
    assert answers.trace(traced).outputs[0].neighbour == TraceNeighbour("10.20.0.10", "", "UNKNOWN")


def test_a_candidate_has_no_neighbours(forwarding: tuple[ServedEdge, Forwarder]) -> None:
    served, _ = forwarding
    request = pb.TraceRequest(packets=[{"text": WEB}], candidate_document=SAMPLE)
    assert not served.stub.Trace(request).packets[0].outputs[0].HasField("neighbour")


def test_what_is_lost_at_a_port_is_counted(forwarding: tuple[ServedEdge, Forwarder]) -> None:
    served, forwarder = forwarding
    assert link_of(served, "LAN-ACME") == stats_pb2.LinkStats()
    tagged = bytes(12) + bytes.fromhex("81000005") + bytes(60)
    forwarder.feed("LAN-ACME", tagged)
    forwarder.feed("LAN-ACME", reply("10.20.0.1", "10.20.0.7", to=b"\xff" * 6))
    wait_for("both have come", lambda: link_of(served, "LAN-ACME").address_conflicts)
    found = link_of(served, "LAN-ACME")
    assert [(item.reason, item.frames) for item in found.drops] == [(stats_pb2.LINK_DROP_REASON_DEVICE_RECEIVE, 1)]
    assert link_of(served, "INTERNET") == stats_pb2.LinkStats()


def test_without_links_there_are_no_such_counters(served: ServedEdge) -> None:
    ports = served.stub.GetStats(pb.GetStatsRequest(omit_rules=True)).stats.ports
    assert not any(port.HasField("link") for port in ports)


def test_every_reason_has_a_name_on_the_wire() -> None:
    names = [f"LINK_DROP_REASON_{reason}" for reason in ("UNSPECIFIED", *LINK_DROPS)]
    assert stats_pb2.LinkDropReason.keys() == names
