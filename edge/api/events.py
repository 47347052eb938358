"""Events of the edge as messages."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

from edge.api import convert
from edge.api.session_wire import SessionWriter
from edge.errors import ArgumentError
from edge.events import ConfigChanged, Gap
from edge.raw import SessionEvent
from edge.state import LimitReached, PacketLogged
from edge.v1 import edge_service_pb2, event_pb2, trace_pb2

if TYPE_CHECKING:
    from edge.events import LoggedEvent
    from edge.gateway import Gateway

_AT_ONCE = 250
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
        self._sessions = SessionWriter()

    async def response(self, events: Sequence[LoggedEvent], token: str) -> edge_service_pb2.WatchEventsResponse:
        """A batch, with other calls served in between."""
        parts = []
        for at in range(0, len(events), _AT_ONCE):
            parts.append(b"".join(self._written(events[at : at + _AT_ONCE])))
            await asyncio.sleep(0)
        found = edge_service_pb2.WatchEventsResponse.FromString(b"".join(parts))
        found.resume_token = token
        return found

    def _written(self, events: Sequence[LoggedEvent]) -> Iterator[bytes]:
        kinds, zero_ns = self._kinds, self._gateway.wall_ns(0)
        for event in events:
            if isinstance(event, SessionEvent):
                if not kinds or ("session_started" if event.started else "session_ended") in kinds:
                    yield self._sessions.write(event, zero_ns)
                continue
            message = event_message(event, self._gateway)
            if not kinds or message.WhichOneof("event") in kinds:
                yield edge_service_pb2.WatchEventsResponse(events=[message]).SerializeToString()


def event_message(event: LoggedEvent, gateway: Gateway) -> event_pb2.Event:
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
