"""Trace and InjectPackets: what they answer, and each of their documented errors."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import grpc
import pytest

from edge.api import host
from edge.errors import ResourceError
from edge.state import LinkCounters
from edge.v1 import edge_service_pb2 as pb
from edge.v1 import packet_pb2, trace_pb2
from edge.verdicts import Reason, Verdict
from tests.api.served import WAIT_S, Refused, ServedEdge, expect, out_frame, refused, serving
from tests.gateways import OTHER, WEB
from tests.support import SAMPLE


def open_sessions(edge: ServedEdge) -> int:
    count: int = edge.stub.GetStats(pb.GetStatsRequest(omit_rules=True)).stats.sessions.open
    return count


# ------------------------------------------------------------------ Trace


def test_trace_tells_every_step(served: ServedEdge) -> None:
    answer = served.stub.Trace(pb.TraceRequest(packets=[{"text": WEB}]))
    assert (answer.revision, list(answer.warnings)) == (1, [])
    (packet,) = answer.packets
    assert packet.in_port == "INTERNET"
    assert (packet.verdict, packet.reason) == (packet_pb2.VERDICT_ALLOW, packet_pb2.REASON_FW_RULE)
    assert packet.packet.startswith("tcp 198.51.100.99:40000 > 203.0.113.11:80")
    assert not packet.hairpin
    assert "in-web" in packet.explanation
    by_stage = {step.stage: step for step in packet.steps}
    nat, firewall = by_stage[trace_pb2.STAGE_NAT], by_stage[trace_pb2.STAGE_FIREWALL]
    assert (nat.result, nat.rule) == (trace_pb2.STEP_RESULT_DNAT, "pub-web")
    assert (nat.after.destination_address, nat.after.destination_port) == ("10.20.0.10", 8080)
    assert (firewall.result, firewall.rule, firewall.logged) == (trace_pb2.STEP_RESULT_ALLOW, "in-web", True)
    assert firewall.saw == packet_pb2.Endpoints(
        source_address="198.51.100.99", source_port=40000, destination_address="10.20.0.10", destination_port=8080
    )
    assert firewall.rule_id
    assert by_stage[trace_pb2.STAGE_ROUTE].port == "LAN-ACME"
    (output,) = packet.outputs
    assert (output.port, output.fragments) == ("LAN-ACME", 0)
    assert output.packet.startswith("tcp 198.51.100.99:40000 > 10.20.0.10:8080")
    assert output.data[12:14] == b"\x08\x00"
    session = packet.session
    assert session.state == "SYN_SENT:CLOSED"
    assert session.idle_timeout.seconds > 0
    assert (session.forward.packets, session.reverse.packets) == (1, 0)
    assert open_sessions(served) == 0


def test_later_packets_meet_the_sessions_of_earlier_ones(served: ServedEdge) -> None:
    reply = "tcp 10.20.0.10:8080 > 198.51.100.99:40000 SA in=LAN-ACME"
    answer = served.stub.Trace(pb.TraceRequest(packets=[{"text": WEB}, {"text": reply}]))
    assert [packet.reason for packet in answer.packets] == [packet_pb2.REASON_FW_RULE, packet_pb2.REASON_SESSION]
    (session,) = [step for step in answer.packets[1].steps if step.stage == trace_pb2.STAGE_SESSION]
    assert session.result == trace_pb2.STEP_RESULT_HIT
    assert [rule.rule for rule in session.nat_rules] == ["pub-web"]


def test_live_sessions_are_met_or_ignored(served: ServedEdge) -> None:
    list(served.stub.InjectPackets(iter([pb.InjectPacketsRequest(frames=[out_frame()])])))
    packets = [{"frame": out_frame()}]
    met = served.stub.Trace(pb.TraceRequest(packets=packets))
    assert met.packets[0].reason == packet_pb2.REASON_SESSION
    ignored = served.stub.Trace(pb.TraceRequest(packets=packets, ignore_sessions=True))
    assert ignored.packets[0].reason == packet_pb2.REASON_FW_RULE
    assert open_sessions(served) == 1


def test_a_candidate_is_traced_under_without_being_applied(served: ServedEdge) -> None:
    text = OTHER.replace("dns: {}", "dns: {enabled: true}")
    answer = served.stub.Trace(
        pb.TraceRequest(packets=[{"text": WEB}], candidate_document=text, allow_unsupported=True)
    )
    assert answer.packets[0].verdict == packet_pb2.VERDICT_REJECT
    assert answer.revision == 0
    assert [item.path for item in answer.warnings] == ["dns"]
    assert served.stub.Trace(pb.TraceRequest(packets=[{"text": WEB}])).packets[0].verdict == packet_pb2.VERDICT_ALLOW
    found = refused(served.stub.Trace, pb.TraceRequest(packets=[{"text": WEB}], candidate_document=text))
    expect(found, "INVALID_ARGUMENT", "INVALID_DOCUMENT", "dns")


def test_a_candidate_beyond_the_limit_is_refused(served: ServedEdge, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edge.api.service.MAX_DOCUMENT", 1 << 20)
    request = pb.TraceRequest(packets=[{"text": WEB}], candidate_document=" " * ((1 << 20) + 1))
    found = refused(served.stub.Trace, request)
    expect(found, "RESOURCE_EXHAUSTED", "MESSAGE_TOO_LARGE")
    assert found.text == "the document has more than 1 MiB"


def test_rules_are_told_by_the_names_that_they_have_now(served: ServedEdge) -> None:
    request = pb.TraceRequest(packets=[{"text": WEB}])

    def firewall_rule() -> str:
        steps = served.stub.Trace(request).packets[0].steps
        return str(next(step.rule for step in steps if step.stage == trace_pb2.STAGE_FIREWALL))

    assert firewall_rule() == "in-web"
    kept = served.gateway._names
    assert firewall_rule() == "in-web"
    assert served.gateway._names is kept, "they are read once for a configuration"
    served.stub.ApplyConfig(pb.ApplyConfigRequest(document=SAMPLE.replace("name: in-web", "name: web")))
    assert firewall_rule() == "web"


def test_a_hairpin_is_followed_by_its_second_passage(served: ServedEdge) -> None:
    answer = served.stub.Trace(pb.TraceRequest(packets=[{"text": "tcp 10.20.0.20:5000 > 203.0.113.11:80 S"}]))
    assert [packet.hairpin for packet in answer.packets] == [False, True]
    assert [packet.in_port for packet in answer.packets] == ["LAN-ACME", "INTERNET"]


def test_nothing_traced_is_nothing_answered(served: ServedEdge) -> None:
    assert served.stub.Trace(pb.TraceRequest()) == pb.TraceResponse(revision=1)


def test_each_packet_that_cannot_be_read_is_a_violation(served: ServedEdge) -> None:
    packets = [{"text": WEB}, {"text": "nonsense"}, {}, {"text": "tcp 1.2.3.4:1 > 1.2.3.5:99999 S"}]
    found = refused(served.stub.Trace, pb.TraceRequest(packets=packets))
    expect(found, "INVALID_ARGUMENT", "INVALID_PACKET", "packets[1].text", "packets[2].text", "packets[3].text")
    assert found.reasons == {"INVALID_PACKET"}


def test_so_is_each_packet_that_cannot_be_sent(served: ServedEdge) -> None:
    packets = [
        {"text": WEB},
        {"text": f"{WEB} in=NOWHERE"},
        {"frame": {"port": "NOWHERE", "data": b"x" * 60}},
        {"frame": {"port": "LAN-ACME", "data": b"x" * 100_000}},
        {"text": "nonsense"},
    ]
    found = refused(served.stub.Trace, pb.TraceRequest(packets=packets))
    expect(
        found,
        "INVALID_ARGUMENT",
        "INVALID_PACKET",
        "packets[1].text",
        "packets[2].frame",
        "packets[3].frame",
        "packets[4].text",
    )


@pytest.mark.parametrize("data", [b"", b"x", b"x" * 14, b"\xff" * 1514])
def test_any_bytes_can_be_traced(served: ServedEdge, data: bytes) -> None:
    answer = served.stub.Trace(pb.TraceRequest(packets=[{"frame": {"port": "LAN-ACME", "data": data}}]))
    assert answer.packets[0].verdict == packet_pb2.VERDICT_DROP


def test_at_most_a_thousand_packets_are_traced(served: ServedEdge) -> None:
    found = refused(served.stub.Trace, pb.TraceRequest(packets=[{"text": WEB}] * 1_001))
    expect(found, "INVALID_ARGUMENT", "BATCH_TOO_LARGE", "packets")
    assert len(served.stub.Trace(pb.TraceRequest(packets=[{"text": WEB}] * 1_000)).packets) == 1_000


# ------------------------------------------------------------------ InjectPackets


def inject(
    edge: ServedEdge, *batches: pb.InjectPacketsRequest
) -> tuple[list[pb.InjectPacketsResponse], Refused | None]:
    """The answers, and how the stream failed if it did."""
    found: list[pb.InjectPacketsResponse] = []
    try:
        for answer in edge.stub.InjectPackets(iter(batches), timeout=WAIT_S):
            found.append(answer)  # noqa: PERF402 - what was answered before an error counts
    except grpc.RpcError as error:
        return found, Refused(error)
    return found, None


def test_injected_packets_are_answered_batch_by_batch(served: ServedEdge) -> None:
    batches = [
        pb.InjectPacketsRequest(frames=[out_frame(0), packet_pb2.Frame(port="INTERNET", data=b"\0" * 60)]),
        pb.InjectPacketsRequest(frames=[out_frame(0)], return_outputs=True),
        pb.InjectPacketsRequest(),
    ]
    answers, error = inject(served, *batches)
    assert error is None
    allow, drop = packet_pb2.VERDICT_ALLOW, packet_pb2.VERDICT_DROP
    assert [[(item.verdict, item.reason) for item in answer.outcomes] for answer in answers] == [
        [(allow, packet_pb2.REASON_FW_RULE), (drop, packet_pb2.REASON_NOT_IP)],
        [(allow, packet_pb2.REASON_SESSION)],
        [],
    ]
    assert [answer.revision for answer in answers] == [1, 1, 1]
    assert all(not item.outputs for item in answers[0].outcomes)
    (output,) = answers[1].outcomes[0].outputs
    assert output.port == "INTERNET"
    assert output.data[26:30] == bytes([203, 0, 113, 10]), "the source behind SNAT"
    stats = served.stub.GetStats(pb.GetStatsRequest()).stats
    ports = {port.port: port for port in stats.ports}
    assert (ports["LAN-ACME"].received.packets, ports["INTERNET"].sent.packets) == (2, 2)


def test_every_verdict_and_reason_has_its_own_number_in_outcomes(served: ServedEdge) -> None:
    answers, _ = inject(served, pb.InjectPacketsRequest(frames=[out_frame(), packet_pb2.Frame(port="INTERNET")]))
    first, second = answers[0].outcomes
    assert packet_pb2.Verdict.Name(first.verdict) == f"VERDICT_{Verdict.ALLOW.name}"
    assert packet_pb2.Reason.Name(second.reason) == f"REASON_{Reason.MALFORMED.name}"


@pytest.mark.parametrize(
    ("frames", "reason", "fields"),
    [
        ([packet_pb2.Frame(port="NOWHERE", data=b"x" * 60)], "UNKNOWN_PORT", []),
        ([packet_pb2.Frame(data=b"x" * 60)], "UNKNOWN_PORT", []),
        ([packet_pb2.Frame(port="LAN-ACME", data=b"x" * 70_000)], "FRAME_TOO_LONG", []),
        ([out_frame(number) for number in range(256)], "BATCH_TOO_LARGE", ["frames"]),
    ],
)
def test_an_offending_batch_ends_the_stream_and_has_not_happened_not_even_in_part(
    served: ServedEdge, frames: list[packet_pb2.Frame], reason: str, fields: list[str]
) -> None:
    good = pb.InjectPacketsRequest(frames=[out_frame(1_000)])
    bad = pb.InjectPacketsRequest(frames=[out_frame(2_000), *frames])
    answers, error = inject(served, good, bad, pb.InjectPacketsRequest(frames=[out_frame(3_000)]))
    assert error is not None
    expect(error, "INVALID_ARGUMENT", reason, *fields)
    assert len(answers) == 1
    sessions = served.stub.ListSessions(pb.ListSessionsRequest()).sessions
    assert [session.original.source_port for session in sessions] == [1024 + 1_000]
    stats = served.stub.GetStats(pb.GetStatsRequest()).stats
    assert sum(port.received.packets for port in stats.ports) == 1


def test_a_stream_that_is_cut_between_batches_leaves_whole_batches(served: ServedEdge) -> None:
    """The caller goes away with a batch under way: it has happened whole, or not at all."""

    def batches() -> Iterator[pb.InjectPacketsRequest]:
        for number in range(1_000):
            first = number * 16
            yield pb.InjectPacketsRequest(frames=[out_frame(place) for place in range(first, first + 16)])

    call = served.stub.InjectPackets(batches())
    for _ in range(3):
        next(call)
    call.cancel()
    created = served.stub.GetStats(pb.GetStatsRequest(omit_rules=True)).stats.sessions.created
    assert created >= 48
    assert created % 16 == 0


def test_an_open_stream_ends_when_the_edge_stops(monkeypatch: pytest.MonkeyPatch) -> None:
    """At once: nothing is under way, so there is nothing to wait for."""
    monkeypatch.setattr(host, "GRACE_S", 3_600.0)
    asked = threading.Event()

    def batches() -> Iterator[pb.InjectPacketsRequest]:
        yield pb.InjectPacketsRequest(frames=[out_frame()])
        asked.wait(WAIT_S)

    with serving() as served:
        call = served.stub.InjectPackets(batches(), timeout=WAIT_S)
        assert len(next(call).outcomes) == 1
        served.run(served.server.stop())  # raises TimeoutError where it lasts
        with pytest.raises(grpc.RpcError) as error:
            next(call)
        asked.set()
        expect(Refused(error.value), "UNAVAILABLE", "STOPPING")


def test_the_forwarder_is_asked_where_there_is_one(served: ServedEdge) -> None:
    asked = []

    class Forwarder:
        def rebind(self, config: object) -> None: ...

        def link_counters(self) -> dict[str, LinkCounters]:
            return {}

        def neighbour_of(self, port: str, frame: bytes) -> None:
            """Nobody."""

        def inject(self, frames: list[tuple[str, bytes]], now_ns: int, outputs: bool) -> list[object]:
            asked.append((frames, outputs))
            if not outputs:
                raise ResourceError("no room")
            return list(served.gateway.edge.process_batch(frames, now_ns, outputs=outputs))

    served.gateway.forwarding = Forwarder()
    answers, error = inject(
        served,
        pb.InjectPacketsRequest(frames=[out_frame()], return_outputs=True),
        pb.InjectPacketsRequest(frames=[out_frame()]),
    )
    assert answers[0].outcomes[0].outputs[0].port == "INTERNET"
    assert error is not None
    expect(error, "RESOURCE_EXHAUSTED", "RESOURCE_EXHAUSTED")
    assert asked == [([("LAN-ACME", out_frame().data)], True), ([("LAN-ACME", out_frame().data)], False)]


def test_a_drop_in_silence_and_an_answered_refusal() -> None:
    with serving(SAMPLE.replace("{name: out, actionValue: ALLOW", "{name: out, actionValue: REJECT")) as served:
        answers, _ = inject(served, pb.InjectPacketsRequest(frames=[out_frame()], return_outputs=True))
        (outcome,) = answers[0].outcomes
        assert (outcome.verdict, outcome.reason) == (packet_pb2.VERDICT_REJECT, packet_pb2.REASON_FW_RULE)
        (answer,) = outcome.outputs
        assert answer.port == "LAN-ACME"
        assert answer.data[23] == 1, "ICMP"
