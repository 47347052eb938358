"""ListSessions, DeleteSessions and GetStats: what they answer, and each of their documented errors."""

from __future__ import annotations

import time
from typing import Any

import pytest

from edge.v1 import edge_service_pb2 as pb
from edge.v1 import packet_pb2, session_pb2, trace_pb2
from tests.api.served import ServedEdge, expect, out_frame, refused
from tests.gateways import OTHER


def begin(edge: ServedEdge, *numbers: int) -> None:
    """Open a session for each number."""
    for at in range(0, len(numbers), 256):
        frames = [out_frame(number) for number in numbers[at : at + 256]]
        list(edge.stub.InjectPackets(iter([pb.InjectPacketsRequest(frames=frames)])))


def listed(edge: ServedEdge, **condition: Any) -> list[int]:
    answer = edge.stub.ListSessions(pb.ListSessionsRequest(filter=session_pb2.SessionFilter(**condition)))
    assert answer.next_page_token == ""
    return sorted(session.original.source_port - 1024 for session in answer.sessions)


def rule_id(edge: ServedEdge, name: str) -> str:
    stats = edge.stub.GetStats(pb.GetStatsRequest()).stats
    return str(next(rule.rule_id for rule in [*stats.firewall_rules, *stats.nat_rules] if rule.rule == name))


def test_a_session_is_told_with_all_its_ends(served: ServedEdge) -> None:
    begin(served, 7, 7)
    (session,) = served.stub.ListSessions(pb.ListSessionsRequest()).sessions
    assert session.id == 1
    assert session.protocol == 17
    assert session.original == packet_pb2.Endpoints(
        source_address="10.20.0.10", source_port=1031, destination_address="198.51.100.99", destination_port=53
    )
    assert session.translated.source_address == "203.0.113.10"
    assert session.translated.source_port > 0
    assert session.translated.destination_address == "198.51.100.99"
    assert (session.in_port, session.out_port) == ("LAN-ACME", "INTERNET")
    assert (session.originator_state, session.responder_state) == ("", "")
    assert session.firewall_rule_id == rule_id(served, "out")
    assert (session.dnat_rule_id, session.snat_rule_id) == ("", rule_id(served, "internet"))
    assert session.revision == 1
    assert abs(session.create_time.ToNanoseconds() - time.time_ns()) < 10 * 10**9
    assert 0 < session.expires_in.ToNanoseconds() <= 120 * 10**9
    assert (session.forward.packets, session.reverse.packets) == (2, 0)
    assert session.forward.bytes == 2 * (len(out_frame().data) - 14)


def test_tcp_sessions_tell_the_states_of_both_sides(served: ServedEdge) -> None:
    from edge.packets.build import build_frame
    from edge.packets.conversation import Conversation
    from edge.packets.text import parse_packet

    frame = build_frame(parse_packet("tcp 10.20.0.10:5000 > 198.51.100.99:443 S"), Conversation())
    served.gateway.edge.process("LAN-ACME", frame, served.gateway.now_ns())
    (session,) = served.stub.ListSessions(pb.ListSessionsRequest()).sessions
    assert (session.originator_state, session.responder_state) == ("SYN_SENT", "CLOSED")
    assert served.stub.GetStats(pb.GetStatsRequest()).stats.sessions.half_open == 1


def test_every_condition_of_a_filter_selects(served: ServedEdge) -> None:
    begin(served, 1, 2, 3)
    served.stub.ApplyConfig(pb.ApplyConfigRequest(document=OTHER))
    begin(served, 4)
    everything = [1, 2, 3, 4]
    assert listed(served) == everything
    assert listed(served, protocol=17) == everything
    assert listed(served, protocol=0) == []
    assert listed(served, address="10.20.0.0/24") == everything
    assert listed(served, address="203.0.113.10") == everything, "behind NAT"
    assert listed(served, address="10.20.0.11-10.20.0.99") == []
    assert listed(served, port_number=1026) == [2]
    assert listed(served, port_number=53) == everything
    assert listed(served, port_number=0) == []
    assert listed(served, port="LAN-ACME") == everything
    assert listed(served, port="NOWHERE") == []
    assert listed(served, rule_id=rule_id(served, "out")) == everything
    assert listed(served, rule_id=rule_id(served, "in-web")) == []
    assert listed(served, rule_id="nothing") == []
    assert listed(served, before_revision=(1 << 64) - 1) == everything
    assert listed(served, before_revision=1) == []
    assert listed(served, port_number=1026, address="10.20.0.11") == []


def test_pages_tell_every_session_once(served: ServedEdge) -> None:
    begin(served, *range(700))
    found: list[int] = []
    sizes = []
    token = ""
    while True:
        page = served.stub.ListSessions(pb.ListSessionsRequest(page_size=300, page_token=token))
        found += [session.id for session in page.sessions]
        sizes.append(len(page.sessions))
        token = page.next_page_token
        if not token:
            break
    assert sorted(found) == list(range(1, 701))
    assert max(sizes) <= 300


BAD_FILTERS = pytest.mark.parametrize(
    ("condition", "fields"),
    [
        ({"protocol": 256}, ["filter.protocol"]),
        ({"port_number": 65_536}, ["filter.port_number"]),
        ({"address": "nonsense"}, ["filter.address"]),
        ({"address": "10.0.0.9-10.0.0.1"}, ["filter.address"]),
        ({"address": " "}, ["filter.address"]),
        ({"protocol": 999, "port_number": 70_000, "address": "x"},
         ["filter.protocol", "filter.port_number", "filter.address"]),
    ],
)  # fmt: skip


@BAD_FILTERS
def test_a_filter_that_selects_nothing_possible_is_refused(
    served: ServedEdge, condition: dict[str, Any], fields: list[str]
) -> None:
    bad = session_pb2.SessionFilter(**condition)
    found = refused(served.stub.ListSessions, pb.ListSessionsRequest(filter=bad))
    expect(found, "INVALID_ARGUMENT", "INVALID_FILTER", *fields)
    found = refused(served.stub.DeleteSessions, pb.DeleteSessionsRequest(filter=bad))
    expect(found, "INVALID_ARGUMENT", "INVALID_FILTER", *fields)


def test_a_page_of_less_than_nothing_is_refused(served: ServedEdge) -> None:
    found = refused(served.stub.ListSessions, pb.ListSessionsRequest(page_size=-1))
    expect(found, "INVALID_ARGUMENT", "INVALID_ARGUMENT", "page_size")


# ------------------------------------------------------------------ DeleteSessions


def test_delete_ends_what_matches(served: ServedEdge) -> None:
    begin(served, 1, 2, 3)
    answer = served.stub.DeleteSessions(pb.DeleteSessionsRequest(filter={"port_number": 1026}))
    assert answer.deleted == 1
    assert listed(served) == [1, 3]
    assert served.stub.DeleteSessions(pb.DeleteSessionsRequest(filter={"port_number": 1026})).deleted == 0
    assert served.stub.DeleteSessions(pb.DeleteSessionsRequest(all=True)).deleted == 2
    assert listed(served) == []


def test_delete_wants_a_condition_or_all_but_not_both(served: ServedEdge) -> None:
    begin(served, 1)
    found = refused(served.stub.DeleteSessions, pb.DeleteSessionsRequest())
    expect(found, "INVALID_ARGUMENT", "INVALID_FILTER", "filter")
    found = refused(served.stub.DeleteSessions, pb.DeleteSessionsRequest(filter={}))
    expect(found, "INVALID_ARGUMENT", "INVALID_FILTER", "filter")
    found = refused(served.stub.DeleteSessions, pb.DeleteSessionsRequest(filter={"protocol": 17}, all=True))
    expect(found, "INVALID_ARGUMENT", "INVALID_FILTER", "all")
    assert listed(served) == [1]


def test_sessions_of_a_managed_edge_end_by_its_leader(served: ServedEdge) -> None:
    begin(served, 1)
    served.stub.ApplyConfig(pb.ApplyConfigRequest(document=OTHER, leader_epoch=7))
    found = refused(served.stub.DeleteSessions, pb.DeleteSessionsRequest(all=True))
    expect(found, "FAILED_PRECONDITION", "MANAGED")
    found = refused(served.stub.DeleteSessions, pb.DeleteSessionsRequest(all=True, leader_epoch=6))
    expect(found, "FAILED_PRECONDITION", "STALE_EPOCH")
    assert served.stub.DeleteSessions(pb.DeleteSessionsRequest(all=True, leader_epoch=7)).deleted == 1


# ------------------------------------------------------------------ GetStats


def test_stats_tell_every_counter(served: ServedEdge) -> None:
    begin(served, 1, 1, 2)
    not_ip = packet_pb2.Frame(port="INTERNET", data=b"\0" * 60)
    list(served.stub.InjectPackets(iter([pb.InjectPacketsRequest(frames=[not_ip])])))
    size = len(out_frame().data) - 14
    stats = served.stub.GetStats(pb.GetStatsRequest()).stats
    assert stats.revision == 1
    assert 0 < stats.since.ToNanoseconds() <= stats.time.ToNanoseconds() <= time.time_ns()
    ports = {port.port: port for port in stats.ports}
    assert ports.keys() == {"INTERNET", "LAN-ACME"}
    assert ports["LAN-ACME"].received == session_pb2.Traffic(packets=3, bytes=3 * size)
    assert ports["INTERNET"].sent == session_pb2.Traffic(packets=3, bytes=3 * size)
    (drop,) = stats.drops
    assert (drop.stage, drop.reason, drop.packets) == (trace_pb2.STAGE_PARSE, packet_pb2.REASON_NOT_IP, 1)
    assert [rule.rule for rule in stats.firewall_rules][:2] == ["in-web", "out"]
    out = stats.firewall_rules[1]
    assert (out.hits, out.traffic.packets, out.traffic.bytes) == (2, 3, 3 * size)
    assert [(rule.rule, rule.hits) for rule in stats.nat_rules] == [("pub-web", 0), ("internet", 2)]
    assert all(rule.rule_id for rule in [*stats.firewall_rules, *stats.nat_rules])
    sessions = stats.sessions
    assert (sessions.open, sessions.half_open, sessions.created, sessions.peak) == (2, 0, 2, 2)
    assert sessions.limit > 0
    (address,) = stats.nat_addresses
    assert (address.address, address.sessions) == ("203.0.113.10", 2)
    assert address.port_limit > 1_000


def test_stats_leave_rules_out_on_request(served: ServedEdge) -> None:
    stats = served.stub.GetStats(pb.GetStatsRequest(omit_rules=True)).stats
    assert (list(stats.firewall_rules), list(stats.nat_rules)) == ([], [])
    assert len(stats.ports) == 2
