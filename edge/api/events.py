"""Events of the edge as messages, and batches of them as bytes.

Tens of thousands of sessions a second are told to each reader: their events are never objects here."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from edge.api import convert
from edge.errors import ArgumentError
from edge.events import ConfigChanged, Gap
from edge.raw import SessionRun
from edge.state import TCP_STATES, LimitReached, PacketLogged
from edge.v1 import edge_service_pb2, event_pb2, trace_pb2
from native.event_wire import encode_sessions

if TYPE_CHECKING:
    from edge.events import LoggedEvent
    from edge.gateway import Gateway

_AT_ONCE = 250
_STATES = [TCP_STATES.get(number, "") for number in range(max(TCP_STATES) + 1)]
_MEMBERS: dict[int, str] = {
    event_pb2.EVENT_KIND_CONFIG: "config",
    event_pb2.EVENT_KIND_SESSION_STARTED: "session_started",
    event_pb2.EVENT_KIND_SESSION_ENDED: "session_ended",
    event_pb2.EVENT_KIND_PACKET_LOGGED: "packet_logged",
    event_pb2.EVENT_KIND_LIMIT: "limit",
    event_pb2.EVENT_KIND_GAP: "gap",
}


def kinds_of(given: Iterable[int]) -> frozenset[str]:
    """The members of Event that a reader wants; none: all.  Raises ArgumentError for a kind that is none."""
    wanted = list(given)
    for number, kind in enumerate(wanted):
        if kind not in _MEMBERS:
            raise ArgumentError(f"kinds[{number}] is no kind of event", [(f"kinds[{number}]", "expected an EventKind")])
    return frozenset({*(_MEMBERS[kind] for kind in wanted), "gap"}) if wanted else frozenset()


class EventWriter:
    """Writes batches of events for one reader, of the kinds that it wants."""

    def __init__(self, gateway: Gateway, kinds: frozenset[str]) -> None:
        self._gateway = gateway
        self._kinds = kinds

    async def events(self, events: Sequence[LoggedEvent]) -> bytes:
        """What a WatchEventsResponse has of these events on the wire, with other calls served in between."""
        parts = []
        for number, event in enumerate(events, 1):
            parts.append(self._written(event))
            if number % _AT_ONCE == 0:
                await asyncio.sleep(0)
        return b"".join(parts)

    def _written(self, event: LoggedEvent) -> bytes:
        kinds = self._kinds
        if isinstance(event, SessionRun):
            return encode_sessions(
                event.records,
                event.first,
                event.count,
                self._gateway.wall_ns(0),
                event.running.ports,
                event.slot_ids,
                _STATES,
                not kinds or "session_started" in kinds,
                not kinds or "session_ended" in kinds,
            )
        message = event_message(event, self._gateway)
        if kinds and message.WhichOneof("event") not in kinds:
            return b""
        return edge_service_pb2.WatchEventsResponse(events=[message]).SerializeToString()


def response(events: bytes, token: str) -> bytes:
    """A WatchEventsResponse on the wire, of what :meth:`EventWriter.events` has written."""
    return events + edge_service_pb2.WatchEventsResponse(resume_token=token).SerializeToString()


def event_message(event: ConfigChanged | Gap | LimitReached | PacketLogged, gateway: Gateway) -> event_pb2.Event:
    """One event that is not of a session; times become wall clock."""
    if isinstance(event, Gap):
        return convert.gap(event.lost, event.wall_ns)
    if isinstance(event, ConfigChanged):
        return event_pb2.Event(
            time=convert.timestamp(event.wall_ns),
            config=event_pb2.ConfigEvent(
                revision=convert.revision(event.revision),
                cause=f"CONFIG_EVENT_CAUSE_{event.cause.name}",
            ),
        )
    time = convert.timestamp(gateway.wall_ns(event.now_ns))
    if isinstance(event, LimitReached):
        limit = event_pb2.LimitEvent(limit=event.limit, address=event.address or "", reached=event.reached)
        return event_pb2.Event(time=time, limit=limit)
    return event_pb2.Event(time=time, packet_logged=_logged(event, gateway))


def _logged(event: PacketLogged, gateway: Gateway) -> event_pb2.PacketLogged:
    step = event.step
    logged = trace_pb2.Step(
        stage=convert.stage_number(step.stage),  # type: ignore[arg-type]
        result=convert.result_number(step.result),  # type: ignore[arg-type]
        rule=gateway.rule_name(step.rule_id) if step.rule_id else "",
        rule_id=step.rule_id or "",
        port=step.port or "",
        saw=convert.endpoints(event.saw),
        logged=True,
    )
    if step.after is not None:
        logged.after.CopyFrom(convert.endpoints(step.after))
    return event_pb2.PacketLogged(
        in_port=event.in_port,
        packet=event.packet,
        verdict=convert.verdict_number(event.verdict),  # type: ignore[arg-type]
        reason=convert.reason_number(event.reason),  # type: ignore[arg-type]
        step=logged,
        revision=event.revision,
    )
