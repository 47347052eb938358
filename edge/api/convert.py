"""Values of the model as messages of ``edge.v1``.

Enums have the same names on both sides, with the protobuf prefix; a test holds the two together.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any

from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp

from edge.state import LINK_DROPS
from edge.v1 import config_pb2, event_pb2, packet_pb2, session_pb2, stats_pb2, trace_pb2

if TYPE_CHECKING:
    from edge.diff import Change
    from edge.errors import Problem
    from edge.gateway import RevisionInfo
    from edge.state import LinkCounters, PortCounters, RuleCounters, SessionInfo, Stats
    from edge.trace import TraceNeighbour, TraceResult, TraceSession, TraceStep
    from edge.verdicts import Endpoints, Output, Reason, Stage, StepResult, Verdict

SECOND_NS = 1_000_000_000

Clock = Callable[[int], int]
"""The edge's own clock, ns -> wall clock, ns since 1970."""


def verdict_number(verdict: Verdict) -> int:
    """Number of a verdict on the wire: 0 is never sent."""
    return verdict + 1


def reason_number(reason: Reason) -> int:
    """Number of a reason on the wire."""
    return reason + 1


def stage_number(stage: Stage) -> int:
    """Number of a stage on the wire."""
    return stage + 1


def result_number(result: StepResult) -> int:
    """Number of a step's result on the wire."""
    return result + 1


def timestamp(ns: int) -> Timestamp:
    """Nanoseconds since 1970 as a message."""
    return Timestamp(seconds=ns // SECOND_NS, nanos=ns % SECOND_NS)


def duration(ns: int) -> Duration:
    """A span as a message; what is over counts as 0."""
    span = max(ns, 0)
    return Duration(seconds=span // SECOND_NS, nanos=span % SECOND_NS)


def revision(info: RevisionInfo) -> config_pb2.Revision:
    """A stored revision."""
    found = config_pb2.Revision(
        number=info.number,
        etag=info.etag,
        create_time=timestamp(info.created_ns),
        comment=info.comment,
        leader_epoch=info.leader_epoch,
        restored_from=info.restored_from,
    )
    if info.confirm_deadline_ns is not None:
        found.confirm_deadline.CopyFrom(timestamp(info.confirm_deadline_ns))
    return found


def problem(item: Problem) -> config_pb2.Problem:
    """A problem of a document."""
    return config_pb2.Problem(
        code=item.code,
        path=item.path,
        message=item.message,
        severity=config_pb2.SEVERITY_WARNING if item.severity == "warning" else config_pb2.SEVERITY_ERROR,
        line=item.line or 0,
        column=item.column or 0,
    )


def change(item: Change) -> config_pb2.Change:
    """What became of one object."""
    return config_pb2.Change(
        section=item.section,
        name=item.name,
        id=item.id,
        kind=f"CHANGE_KIND_{item.kind.value}",
        fields=(
            config_pb2.FieldChange(path=part.field, before=_json(part.old), after=_json(part.new))
            for part in item.fields
        ),
        old_position=item.old_position or 0,
        new_position=item.new_position or 0,
        moved=item.moved,
    )


def _json(value: Any) -> str:
    return "" if value is None else json.dumps(value, ensure_ascii=False)


def endpoints(ends: Endpoints) -> packet_pb2.Endpoints:
    """Addresses and ports."""
    return packet_pb2.Endpoints(
        source_address=str(ends.src),
        source_port=ends.sport,
        destination_address=str(ends.dst),
        destination_port=ends.dport,
    )


def traffic(packets: int, size: int) -> session_pb2.Traffic:
    """Packets and bytes of one direction."""
    return session_pb2.Traffic(packets=packets, bytes=size)


def session(info: SessionInfo, now_ns: int, wall: Clock) -> session_pb2.Session:
    """A session; ``now_ns`` is the edge's clock, ``wall`` what it means outside."""
    states = info.state.split(":") if info.protocol == 6 else ("", "")
    return session_pb2.Session(
        id=info.id,
        protocol=info.protocol,
        original=endpoints(info.original),
        translated=endpoints(info.translated),
        in_port=info.in_port,
        out_port=info.out_port,
        originator_state=states[0],
        responder_state=states[1],
        firewall_rule_id=info.firewall_rule_id or "",
        dnat_rule_id=info.dnat_rule_id or "",
        snat_rule_id=info.snat_rule_id or "",
        revision=info.revision,
        create_time=timestamp(wall(info.created_ns)),
        expires_in=duration(info.expires_ns - now_ns),
        forward=traffic(info.packets[0], info.bytes[0]),
        reverse=traffic(info.packets[1], info.bytes[1]),
    )


def frames(outputs: Iterable[Output]) -> list[packet_pb2.Frame]:
    """What leaves, as it is on the wire."""
    return [packet_pb2.Frame(port=output.port, data=data) for output in outputs for data in output.frames]


def trace(result: TraceResult) -> trace_pb2.PacketTrace:
    """One pass of one packet."""
    return trace_pb2.PacketTrace(
        packet=result.packet,
        in_port=result.in_port,
        verdict=verdict_number(result.verdict),  # type: ignore[arg-type]
        reason=reason_number(result.reason),  # type: ignore[arg-type]
        steps=map(step, result.steps),
        outputs=(
            trace_pb2.TraceOutput(
                port=output.port,
                packet=output.packet,
                data=output.frame,
                fragments=output.fragments,
                neighbour=None if output.neighbour is None else neighbour(output.neighbour),
            )
            for output in result.outputs
        ),
        hairpin=result.hairpin,
        explanation=result.explanation,
        session=None if result.session is None else trace_session(result.session),
    )


def neighbour(item: TraceNeighbour) -> trace_pb2.TraceNeighbour:
    """Whom a packet is given to."""
    return trace_pb2.TraceNeighbour(
        address=item.address,
        mac_address=item.mac,
        state=f"NEIGHBOUR_STATE_{item.state}",
    )


def trace_session(item: TraceSession) -> trace_pb2.TraceSession:
    """The session that a traced packet belongs to."""
    return trace_pb2.TraceSession(
        state=item.state,
        idle_timeout=duration(round(item.idle_timeout_s * SECOND_NS)),
        forward=traffic(item.packets[0], item.bytes[0]),
        reverse=traffic(item.packets[1], item.bytes[1]),
    )


def step(item: TraceStep) -> trace_pb2.Step:
    """One stage of a trace."""
    found = trace_pb2.Step(
        stage=stage_number(item.stage),  # type: ignore[arg-type]
        result=result_number(item.result),  # type: ignore[arg-type]
        rule=item.rule or "",
        rule_id=item.rule_id or "",
        port=item.port or "",
        logged=item.logged,
        nat_rules=(trace_pb2.NatRuleReference(rule=name, rule_id=rule_id) for name, rule_id in item.nat_rules),
        after_packet=item.after or "",
        saw_packet=item.saw or "",
    )
    if item.after_ends is not None:
        found.after.CopyFrom(endpoints(item.after_ends))
    if item.saw_ends is not None:
        found.saw.CopyFrom(endpoints(item.saw_ends))
    return found


def rule_stats(rule_id: str, name: str, counters: RuleCounters) -> stats_pb2.RuleStats:
    """Counters of a firewall or NAT rule."""
    return stats_pb2.RuleStats(
        rule_id=rule_id, rule=name, hits=counters.hits, traffic=traffic(counters.packets, counters.bytes)
    )


def port_stats(name: str, counters: PortCounters, link: LinkCounters | None) -> stats_pb2.PortStats:
    """Counters of a port, and of its link if there is one."""
    return stats_pb2.PortStats(
        port=name,
        received=traffic(counters.received_packets, counters.received_bytes),
        sent=traffic(counters.sent_packets, counters.sent_bytes),
        link=None if link is None else link_stats(link),
    )


def link_stats(counters: LinkCounters) -> stats_pb2.LinkStats:
    """What was lost at a port, in the order of LINK_DROPS."""
    return stats_pb2.LinkStats(
        drops=(
            stats_pb2.LinkDrops(reason=f"LINK_DROP_REASON_{reason}", frames=counters.drops[reason])
            for reason in LINK_DROPS
            if counters.drops.get(reason)
        ),
        address_conflicts=counters.address_conflicts,
    )


def drop_stats(drops: Mapping[tuple[Stage, Reason], int]) -> list[stats_pb2.DropStats]:
    """Packets that came to nothing, in the order of the stages."""
    return [
        stats_pb2.DropStats(
            stage=stage_number(stage),  # type: ignore[arg-type]
            reason=reason_number(reason),  # type: ignore[arg-type]
            packets=packets,
        )
        for (stage, reason), packets in sorted(drops.items())
    ]


def session_stats(stats: Stats) -> stats_pb2.SessionStats:
    """The session table."""
    return stats_pb2.SessionStats(
        open=stats.sessions_open,
        half_open=stats.half_open,
        created=stats.sessions_created,
        peak=stats.sessions_peak,
        limit=stats.sessions_limit,
    )


def address_stats(addresses: Mapping[str, tuple[int, int]]) -> list[stats_pb2.NatAddressStats]:
    """Use of the external addresses of SNAT."""
    return [
        stats_pb2.NatAddressStats(address=address, sessions=sessions, port_limit=limit)
        for address, (sessions, limit) in sorted(addresses.items(), key=lambda item: _order(item[0]))
    ]


def _order(address: str) -> tuple[int, int]:
    value = ip_address(address)
    return value.version, int(value)


def gap(lost: int, wall_ns: int) -> event_pb2.Event:
    """Events are missing here."""
    return event_pb2.Event(time=timestamp(wall_ns), gap=event_pb2.Gap(lost=lost))
