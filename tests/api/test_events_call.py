"""WatchEvents: what it tells, to whom, from where on; and readers that do not keep up."""

from __future__ import annotations

import time
from typing import Any

import grpc
import pytest
from google.protobuf.duration_pb2 import Duration

from edge import events
from edge.state import LimitReached
from edge.v1 import edge_service_pb2 as pb
from edge.v1 import event_pb2, packet_pb2, trace_pb2
from tests.api.served import WAIT_S, Refused, ServedEdge, expect, out_frame, refused, serving
from tests.gateways import OTHER, THIRD, WEB


class Watcher:
    """A stream of events, and those that were read from it."""

    def __init__(self, edge: ServedEdge, **fields: Any) -> None:
        before = edge.gateway.events._readers
        self._call = edge.stub.WatchEvents(pb.WatchEventsRequest(**fields), timeout=WAIT_S)
        until = time.monotonic() + WAIT_S
        while edge.gateway.events._readers == before:
            assert time.monotonic() < until, "nobody watches"
            time.sleep(0.002)
        self.token = ""
        self._rest: list[event_pb2.Event] = []

    def batch(self) -> pb.WatchEventsResponse:
        found: pb.WatchEventsResponse = next(self._call)
        self.token = found.resume_token
        return found

    def take(self, count: int) -> list[event_pb2.Event]:
        """The next events, so many."""
        while len(self._rest) < count:
            self._rest += self.batch().events
        taken, self._rest = self._rest[:count], self._rest[count:]
        return taken

    def end(self) -> None:
        self._call.cancel()


def inject(edge: ServedEdge, *numbers: int) -> None:
    for at in range(0, len(numbers), 256):
        frames = [out_frame(number) for number in numbers[at : at + 256]]
        list(edge.stub.InjectPackets(iter([pb.InjectPacketsRequest(frames=frames)]), timeout=WAIT_S))


def tell(edge: ServedEdge, *news: Any) -> None:
    """Something happens on the edge."""

    async def add() -> None:
        edge.gateway.events._extend(news)

    edge.run(add())


def kinds(found: list[event_pb2.Event]) -> list[str | None]:
    return [event.WhichOneof("event") for event in found]


def test_changes_of_the_configuration_are_told_with_their_causes(served: ServedEdge) -> None:
    watcher = Watcher(served)
    minutes = Duration(seconds=600)
    applied = served.stub.ApplyConfig(pb.ApplyConfigRequest(document=OTHER, confirm_within=minutes)).revision
    confirmed = served.stub.ConfirmConfig(pb.ConfirmConfigRequest(etag=applied.etag)).revision
    back = served.stub.Rollback(pb.RollbackRequest()).revision
    served.stub.ApplyConfig(pb.ApplyConfigRequest(document=THIRD, confirm_within=Duration(seconds=1)))
    found = watcher.take(5)
    assert [(event.config.revision.number, event.config.cause) for event in found] == [
        (2, event_pb2.CONFIG_EVENT_CAUSE_APPLIED),
        (2, event_pb2.CONFIG_EVENT_CAUSE_CONFIRMED),
        (3, event_pb2.CONFIG_EVENT_CAUSE_ROLLED_BACK),
        (4, event_pb2.CONFIG_EVENT_CAUSE_APPLIED),
        (3, event_pb2.CONFIG_EVENT_CAUSE_NOT_CONFIRMED),
    ]
    assert [event.config.revision for event in found[:3]] == [applied, confirmed, back]
    assert all(abs(event.time.ToNanoseconds() - time.time_ns()) < 20 * 10**9 for event in found)


def test_sessions_are_told_as_they_begin_and_end(served: ServedEdge) -> None:
    watcher = Watcher(served, kinds=[event_pb2.EVENT_KIND_SESSION_STARTED, event_pb2.EVENT_KIND_SESSION_ENDED])
    inject(served, 1)
    (started,) = watcher.take(1)
    session = started.session_started.session
    (listed,) = served.stub.ListSessions(pb.ListSessionsRequest()).sessions
    for field in ("id", "protocol", "original", "translated", "in_port", "out_port", "revision",
                  "firewall_rule_id", "dnat_rule_id", "snat_rule_id"):  # fmt: skip
        assert getattr(session, field) == getattr(listed, field), field
    assert session.create_time == started.time
    assert session.original == packet_pb2.Endpoints(
        source_address="10.20.0.10", source_port=1025, destination_address="198.51.100.99", destination_port=53
    )
    inject(served, 1)
    served.stub.DeleteSessions(pb.DeleteSessionsRequest(all=True))
    (ended,) = watcher.take(1)
    assert ended.session_ended.cause == event_pb2.SESSION_END_CAUSE_DELETED
    assert ended.session_ended.session.id == session.id
    assert ended.session_ended.session.forward.packets == 2
    assert ended.session_ended.session.expires_in.ToNanoseconds() >= 0


def test_a_rule_with_logging_tells_of_its_packets(served: ServedEdge) -> None:
    watcher = Watcher(served, kinds=[event_pb2.EVENT_KIND_PACKET_LOGGED])
    from edge.packets.build import build_frame
    from edge.packets.conversation import Conversation
    from edge.packets.text import parse_packet

    frame = build_frame(parse_packet(WEB), Conversation())
    request = pb.InjectPacketsRequest(frames=[packet_pb2.Frame(port="INTERNET", data=frame)])
    list(served.stub.InjectPackets(iter([request])))
    (event,) = watcher.take(1)
    logged = event.packet_logged
    assert (logged.in_port, logged.revision) == ("INTERNET", 1)
    assert logged.packet.startswith("tcp 198.51.100.99:40000 > 203.0.113.11:80")
    assert (logged.verdict, logged.reason) == (packet_pb2.VERDICT_ALLOW, packet_pb2.REASON_FW_RULE)
    step = logged.step
    assert (step.stage, step.result, step.rule) == (trace_pb2.STAGE_FIREWALL, trace_pb2.STEP_RESULT_ALLOW, "in-web")
    assert step.logged
    assert (step.saw.destination_address, step.saw.destination_port) == ("10.20.0.10", 8080)


def test_limits_are_told(served: ServedEdge) -> None:
    watcher = Watcher(served, kinds=[event_pb2.EVENT_KIND_LIMIT])
    now = served.gateway.now_ns()
    tell(
        served, LimitReached(now, "maxSessions", None, True), LimitReached(now, "snatPortRange", "203.0.113.10", False)
    )
    first, second = (event.limit for event in watcher.take(2))
    assert (first.limit, first.address, first.reached) == ("maxSessions", "", True)
    assert (second.limit, second.address, second.reached) == ("snatPortRange", "203.0.113.10", False)


def test_only_the_kinds_that_are_wanted_come(served: ServedEdge) -> None:
    watcher = Watcher(served, kinds=[event_pb2.EVENT_KIND_CONFIG])
    inject(served, 1, 2, 3)
    tell(served, events.Gap(time.time_ns(), 9))
    served.stub.ApplyConfig(pb.ApplyConfigRequest(document=OTHER))
    assert kinds(watcher.take(2)) == ["gap", "config"], "a gap always comes"


def test_a_stream_goes_on_where_an_earlier_one_ended(served: ServedEdge) -> None:
    only = [event_pb2.EVENT_KIND_CONFIG]
    first = Watcher(served, kinds=only)
    served.stub.ApplyConfig(pb.ApplyConfigRequest(document=OTHER))
    assert kinds(first.take(1)) == ["config"]
    first.end()
    served.stub.ApplyConfig(pb.ApplyConfigRequest(document=THIRD))
    second = Watcher(served, kinds=only, resume_token=first.token)
    (event,) = second.take(1)
    assert event.config.revision.number == 3


def test_a_token_of_an_earlier_process_yields_a_gap_of_unknown_size(served: ServedEdge) -> None:
    watcher = Watcher(served, resume_token=f"{'0' * 32}:7")
    (event,) = watcher.take(1)
    assert event.WhichOneof("event") == "gap"
    assert event.gap.lost == 0


@pytest.mark.parametrize("token", ["x", ":", "0" * 32, f"{'0' * 32}:", f"{'0' * 32}:-1", f"{'z' * 32}:1", "ahead"])
def test_a_token_that_was_never_handed_out_is_refused(served: ServedEdge, token: str) -> None:
    if token == "ahead":
        token = served.gateway.events.token(1_000_000)
    found = refused(served.stub.WatchEvents, pb.WatchEventsRequest(resume_token=token))
    expect(found, "INVALID_ARGUMENT", "INVALID_RESUME_TOKEN", "resume_token")


@pytest.mark.parametrize("kind", [0, 7, 999, -1])
def test_a_kind_that_is_none_is_refused(served: ServedEdge, kind: Any) -> None:
    request = pb.WatchEventsRequest(kinds=[event_pb2.EVENT_KIND_CONFIG, kind])
    found = refused(served.stub.WatchEvents, request)
    expect(found, "INVALID_ARGUMENT", "INVALID_ARGUMENT", "kinds[1]")


def test_quiet_times_have_signs_of_life(served: ServedEdge, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edge.api.service.SIGN_OF_LIFE_S", 0.05)
    watcher = Watcher(served)
    batch = watcher.batch()
    assert (list(batch.events), batch.resume_token) == ([], served.gateway.events.token(0))


def test_so_have_times_in_which_only_what_is_not_wanted_happens(
    served: ServedEdge, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("edge.api.service.SIGN_OF_LIFE_S", 0.2)
    watcher = Watcher(served, kinds=[event_pb2.EVENT_KIND_CONFIG])
    done = time.monotonic() + WAIT_S / 2
    batch = None
    stream = iter(range(10_000))
    import threading

    def busy() -> None:
        while batch is None and time.monotonic() < done:
            tell(served, LimitReached(served.gateway.now_ns(), "maxSessions", None, next(stream) % 2 == 0))
            time.sleep(0.01)

    thread = threading.Thread(target=busy)
    thread.start()
    batch = watcher.batch()
    came = time.monotonic()
    thread.join()
    assert came < done, "not only when all was quiet again"
    assert list(batch.events) == []
    assert batch.resume_token != served.gateway.events.token(0), "it resumes behind what was not wanted"


def test_the_stream_ends_when_the_edge_stops() -> None:
    with serving() as served:
        watcher = Watcher(served)
        served.run(served.server.stop())
        with pytest.raises(grpc.RpcError) as error:
            watcher.batch()
        expect(Refused(error.value), "UNAVAILABLE", "STOPPING")


def test_more_than_64_streams_are_too_many(served: ServedEdge) -> None:
    watchers = [Watcher(served) for _ in range(64)]
    expect(refused(served.stub.WatchEvents, pb.WatchEventsRequest()), "RESOURCE_EXHAUSTED", "TOO_MANY_STREAMS")
    watchers.pop().end()
    until = time.monotonic() + WAIT_S
    while served.service._streams == 64 and time.monotonic() < until:
        time.sleep(0.01)
    tell(served, events.Gap(0, 3))
    assert Watcher(served).take  # there is room again
    assert all(watcher.take(1)[0].gap.lost == 3 for watcher in watchers)


# ------------------------------------------------------------------ readers that do not keep up


def small_ring(edge: ServedEdge, size: int = 5_000) -> None:
    edge.gateway.events._size = size


def test_a_reader_that_stalls_gets_a_gap_and_stalls_nobody(served: ServedEdge) -> None:
    """Far more than the windows of the connection hold is told while a reader takes nothing."""
    small_ring(served)
    stalled, brisk = Watcher(served), Watcher(served)
    now = served.gateway.now_ns()
    news = LimitReached(now, "x" * 1_000, None, True)
    waves, a_wave = 40, 1_000
    for number in range(waves):
        tell(served, *[news] * a_wave)
        assert kinds(brisk.take(a_wave)) == ["limit"] * a_wave, "the other reader misses nothing"
        assert len(served.gateway.events._ring) < 2 * 5_000 + a_wave, f"wave {number}"
        inject_one = served.stub.GetStats(pb.GetStatsRequest(omit_rules=True), timeout=2)
        assert inject_one.stats.revision == 1
    tell(served, events.Gap(0, 77_777))
    assert brisk.take(1)[0].gap.lost == 77_777
    seen = missed = 0
    while True:
        (event,) = stalled.take(1)
        if event.gap.lost == 77_777:
            break
        if event.WhichOneof("event") == "gap":
            missed += event.gap.lost
        else:
            seen += 1
    assert missed > 0
    assert seen + missed == waves * a_wave


def test_a_slow_reader_is_told_how_much_it_missed(served: ServedEdge) -> None:
    small_ring(served, 500)
    slow = Watcher(served)
    news = LimitReached(served.gateway.now_ns(), "x" * 1_000, None, True)
    seen = missed = 0
    for _ in range(60):
        tell(served, *[news] * 1_000)
        (event,) = slow.take(1)
        missed += event.gap.lost
        seen += event.WhichOneof("event") == "limit"
    tell(served, events.Gap(0, 77_777))
    while True:
        (event,) = slow.take(1)
        if event.gap.lost == 77_777:
            break
        missed += event.gap.lost
        seen += event.WhichOneof("event") == "limit"
    assert missed > 0
    assert seen + missed == 60_000
