"""Events of the edge as messages."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from edge.api import convert
from edge.errors import ArgumentError
from edge.events import ConfigChanged, Gap
from edge.state import LimitReached, PacketLogged, SessionEnded, SessionStarted
from edge.v1 import event_pb2, trace_pb2

if TYPE_CHECKING:
    from edge.events import LoggedEvent
    from edge.gateway import Gateway

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


def event_message(event: LoggedEvent, gateway: Gateway) -> event_pb2.Event:
    """One event; times become wall clock."""
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
    if isinstance(event, SessionStarted):
        session = convert.session(event.session, event.now_ns, gateway.wall_ns)
        return event_pb2.Event(time=time, session_started=event_pb2.SessionStarted(session=session))
    if isinstance(event, SessionEnded):
        ended = event_pb2.SessionEnded(
            session=convert.session(event.session, event.now_ns, gateway.wall_ns),
            cause=f"SESSION_END_CAUSE_{event.cause.name}",
        )
        return event_pb2.Event(time=time, session_ended=ended)
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
