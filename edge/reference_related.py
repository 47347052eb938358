"""The reference's stages for ICMP errors: to whose packet one belongs, and how it reaches who had sent that."""

from __future__ import annotations

from edge.firewall.config import Action
from edge.firewall.reference import Question, first_match
from edge.nat.config import FirewallMatch, NatRule, NatType
from edge.nat.reference import (
    inbound_match,
    outbound_match,
    translate_destination,
    translate_source_in_place,
)
from edge.reference_account import note_hit
from edge.reference_answers import Ruling
from edge.reference_sessions import Session
from edge.reference_shift import quoting
from edge.reference_trip import Trip
from edge.reference_wire import Flow
from edge.routing.reference import PortKind, is_martian
from edge.verdicts import Reason, Stage, StepResult, Verdict


def quoted_session(trip: Trip) -> tuple[Session, int] | None:
    """The session whose packet an error is about, and the direction in which the error goes along with it.

    An error that does not go to the quoted packet's sender, or quotes a sequence number that was not sent of late, was
    made up by somebody (RFC 5927).  Nor does one pass with addresses that no router forwards.
    """
    quote = trip.quote
    if quote is None or trip.policy.routing.is_multicast(trip.flow.dst) or is_martian(trip.flow.src, trip.flow.dst):
        return None
    found = trip.state.sessions.find((quote.flow.reversed(), trip.entered.side))
    if found is None:
        return None
    session, direction = found
    if session.windows is not None and quote.seq is not None:
        sent = session.shifts[1 - direction].taken_back(quote.seq)
        return found if session.windows.covers(1 - direction, sent) else None
    return found


def related(trip: Trip, session: Session, direction: int) -> Ruling:
    """An error about a packet of a session goes where that came from, and speaks of it as it was there.

    The quoted packet is translated back.  Where answers get another source on this way, the error gets that too
    (RFC 5508 REQ-4, REQ-5): the address of a router behind NAT never shows.
    """
    as_packet, out = session.keys[direction][0], session.leaves_by(direction)
    new = session.leaves_as(direction)
    flow = trip.flow._replace(dst=new.dst, src=trip.flow.src if new.src == as_packet.src else new.src)
    after = trip.shown(flow) if new != as_packet else None
    note_hit(trip, session, direction, after)
    session.packets[direction] += 1
    session.bytes[direction] += trip.size
    trip.state.count(session.admission.rules, trip.size, hits=0)
    if trip.quote is not None:
        trip.packet = quoting(trip.packet, trip.quote, session.shifts[1 - direction])
    return Ruling(Verdict.ALLOW, Reason.RELATED, forward=(out, flow), quote=new.reversed())


def error_inwards(trip: Trip) -> None:
    """About a packet that left by REFLEXIVE: the rule sends the error the way that answers would go."""
    quote = trip.quote
    if quote is None:
        return
    rule = inbound_match(trip.policy.inbound_nat, quote.flow.reversed())
    if rule is None or rule.type is not NatType.REFLEXIVE:
        return
    trip.flow = translate_destination(rule, trip.flow)
    trip.new_quote = quote.flow._replace(src=trip.flow.dst)
    trip.asked = as_the_firewall_saw(rule, inside=trip.new_quote, outside=quote.flow)
    trip.note(Stage.NAT, StepResult.REFLEXIVE, rule_id=rule.id, after=trip.shown(trip.flow))


def error_outwards(trip: Trip) -> None:
    """About a packet that came in by REFLEXIVE: outside, the error is from the address that was called there."""
    quote = trip.quote
    if quote is None or trip.new_quote is not None or trip.entered.kind is PortKind.UPLINK:
        return
    answers = quote.flow.reversed()
    rule = outbound_match(trip.policy.outbound_nat, answers, trip.policy.options.snat_service_port)
    if rule is None or rule.type is not NatType.REFLEXIVE:
        return
    external = translate_source_in_place(rule, answers).src
    trip.flow = trip.flow._replace(src=external)
    trip.new_quote = quote.flow._replace(dst=external)
    trip.asked = as_the_firewall_saw(rule, inside=quote.flow, outside=trip.new_quote)
    trip.note(Stage.NAT, StepResult.REFLEXIVE, rule_id=rule.id, after=trip.shown(trip.flow))


def as_the_firewall_saw(rule: NatRule, *, inside: Flow, outside: Flow) -> Flow | None:
    """The packet that an error is about, with the address that the rule showed the firewall; None: nobody was asked."""
    seen = {FirewallMatch.MATCH_INTERNAL_ADDRESS: inside, FirewallMatch.MATCH_EXTERNAL_ADDRESS: outside}
    return seen.get(rule.firewall_match)


def stateless_error(trip: Trip) -> Ruling | None:
    """An error that REFLEXIVE translated passes if the packet that it is about would pass, the other way round: no
    session vouches for that one."""
    if trip.new_quote is None or trip.local:
        return None
    admitted = Ruling(Verdict.ALLOW, Reason.RELATED, forward=(trip.out, trip.flow), quote=trip.new_quote)
    if trip.asked is None:
        return admitted
    rule = first_match(trip.policy.firewall, question_about(trip, trip.asked))
    action = Action.DROP if rule is None else rule.action
    result = StepResult.ALLOW if action is Action.ALLOW else StepResult.DROP
    trip.note(Stage.FIREWALL, result, rule_id=None if rule is None else rule.id)
    return admitted if action is Action.ALLOW else Ruling(Verdict.DROP, Reason.ICMP_UNRELATED)


def question_about(trip: Trip, flow: Flow) -> Question:
    """What the firewall is asked about a quoted packet: it went where the error comes from."""
    quote = trip.quote
    return Question(
        protocol=flow.protocol,
        src=flow.src,
        sport=flow.sport,
        dst=flow.dst,
        dport=flow.dport,
        icmp_type=None if quote is None else quote.icmp_type,
        icmp_code=None if quote is None else quote.icmp_code,
        entered_by_uplink=trip.leaves_by_uplink,
        leaves_by_uplink=trip.entered_by_uplink,
    )
