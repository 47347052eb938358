"""What the reference writes down of a decision: which rules admitted a packet, their counters, and events."""

from __future__ import annotations

from edge.firewall.config import Section
from edge.reference_sessions import Admission, Session
from edge.reference_trip import Trip
from edge.state import PacketLogged
from edge.verdicts import Endpoints, Reason, Stage, Step, StepResult, Verdict

HEAD_MAX = 128
"""Bytes of a packet that an event keeps."""

REASON_OF_SECTION = {
    Section.USER: Reason.FW_RULE,
    Section.DEFAULT: Reason.FW_DEFAULT,
    Section.SYSTEM: Reason.FW_SYSTEM,
}


def admission(trip: Trip) -> Admission:
    """The rules that let a packet pass."""
    admitting = (trip.rule, *trip.translated_by)
    firewall_id, dnat_id, snat_id = (None if rule is None else rule.id for rule in admitting)
    named = firewall_id if trip.bypass is None else trip.bypass.id
    return Admission(trip.policy.revision, named, firewall_id, dnat_id, snat_id)


def note_hit(trip: Trip, session: Session, direction: int, after: Endpoints | None = None) -> None:
    """A step that names the session's rules, as far as the configuration still has them."""
    admission, known = session.admission, set(trip.policy.rule_ids)
    nat_ids = dict.fromkeys(rule for rule in (admission.dnat, admission.snat) if rule is not None)
    trip.note(
        Stage.SESSION,
        StepResult.HIT,
        rule_id=admission.named if admission.named in known else None,
        port=session.leaves_by(direction).name,
        after=after,
        nat_rule_ids=tuple(rule for rule in nat_ids if rule in known),
    )


def reason_of(trip: Trip) -> Reason:
    """Why the packet was allowed."""
    if trip.expected is not None:
        return Reason.ALG
    return Reason.NAT_BYPASS if trip.rule is None else REASON_OF_SECTION[trip.rule.section]


def admit(trip: Trip, reason: Reason) -> None:
    """An allowed packet that begins a session, or is one of those without: every rule that was hit is counted."""
    firewall_rule = [] if trip.rule is None else [trip.rule.id]
    record(trip, Verdict.ALLOW, reason, [*firewall_rule, *trip.nat_rules])
    for rule in trip.nat_rules.values():
        if rule.logging:
            log(trip, Stage.NAT, rule.id, Verdict.ALLOW, reason, trip.shown(trip.packet.flow))


def record(trip: Trip, verdict: Verdict, reason: Reason, rule_ids: list[str]) -> None:
    """Count a decision on rules, and log the firewall's."""
    trip.state.count(rule_ids, trip.size, hits=1)
    if trip.rule is not None and trip.rule.logging and trip.saw is not None:
        log(trip, Stage.FIREWALL, trip.rule.id, verdict, reason, trip.saw)


def log(trip: Trip, stage: Stage, rule_id: str, verdict: Verdict, reason: Reason, saw: Endpoints) -> None:
    """One event, about the first step of this pass in which the rule decided."""
    passes = [number for number, step in enumerate(trip.steps) if step.result is StepResult.HAIRPIN]
    here = trip.steps[passes[-1] + 1 if passes else 0 :]
    noted = next(step for step in here if (step.stage, step.rule_id) == (stage, rule_id))
    step = Step(stage, noted.result, rule_id, after=noted.after, saw=noted.saw, logged=True)
    trip.state.events.append(
        PacketLogged(
            trip.state.clock_ns,
            trip.entered.name,
            trip.packet.ip[:HEAD_MAX],
            trip.packet.flow.protocol,
            verdict,
            reason,
            trip.policy.revision,
            saw,
            step,
        )
    )
