"""The reference's rules: what the configuration says of a packet that belongs to no session, stage by stage."""

from __future__ import annotations

from edge.firewall.config import Action
from edge.firewall.reference import Question, first_match
from edge.nat.config import FirewallMatch, NatRule, NatType
from edge.nat.reference import inbound_match, outbound_match, translate_destination, translate_source_in_place
from edge.reference_account import REASON_OF_SECTION, admit
from edge.reference_alg import admitted_by_alg, put_in_destination, put_in_source
from edge.reference_answers import Answer, Ruling
from edge.reference_mapping import external_address
from edge.reference_related import error_inwards, error_outwards, stateless_error
from edge.reference_trip import Trip
from edge.reference_wire import Flow, Kind
from edge.routing.reference import PortKind, Route, is_martian
from edge.verdicts import Reason, Stage, StepResult, Verdict

DEAD_ENDS: dict[StepResult, tuple[Reason, Answer | None]] = {
    StepResult.MULTICAST: (Reason.MULTICAST, None),
    StepResult.ISOLATED: (Reason.ISOLATED, Answer.NET_UNREACHABLE),
    StepResult.NO_ROUTE: (Reason.NO_ROUTE, Answer.NET_UNREACHABLE),
}


def rules(trip: Trip) -> Ruling | None:
    """What the configuration says of a packet without a session; changes nothing but the trip."""
    return (
        isolated_port(trip)
        or unroutable_addresses(trip)
        or provider_filter_inwards(trip)
        or destination_nat(trip)
        or routing(trip)
        or east_west(trip)
        or provider_filter_outwards(trip)
        or source_nat(trip)
        or stateless_error(trip)
        or firewall(trip)
    )


def isolated_port(trip: Trip) -> Ruling | None:
    """An isolated network is not attached; its machines reach nothing, the edge included."""
    if trip.entered.kind is not PortKind.ISOLATED:
        return None
    trip.note(Stage.ROUTE, StepResult.ISOLATED)
    return Ruling(Verdict.DROP, Reason.ISOLATED, Answer.NET_UNREACHABLE)


def unroutable_addresses(trip: Trip) -> Ruling | None:
    """What a router never forwards: multicast and broadcast here, then martians."""
    if trip.policy.routing.is_multicast(trip.flow.dst):
        trip.note(Stage.ROUTE, StepResult.MULTICAST)
        return Ruling(Verdict.DROP, Reason.MULTICAST)
    if is_martian(trip.flow.src, trip.flow.dst):
        trip.note(Stage.ROUTE, StepResult.MARTIAN)
        return Ruling(Verdict.DROP, Reason.MARTIAN)
    return None


def provider_filter_inwards(trip: Trip) -> Ruling | None:
    """What enters by an uplink has passed the provider, on the destination port that the world calls."""
    return provider_filter(trip) if trip.entered_by_uplink else None


def provider_filter_outwards(trip: Trip) -> Ruling | None:
    """What leaves by an uplink has the provider before it."""
    return provider_filter(trip) if trip.leaves_by_uplink else None


def provider_filter(trip: Trip) -> Ruling | None:
    """The ports that the provider blocks upstream of every edge."""
    if not trip.policy.options.provider_filter:
        return None
    if trip.packet.kind in (Kind.TCP, Kind.UDP) and trip.policy.blocks(trip.flow.protocol, trip.flow.dport):
        trip.note(Stage.PROVIDER_FILTER, StepResult.DROP)
        return Ruling(Verdict.DROP, Reason.PROVIDER_FILTER)
    trip.note(Stage.PROVIDER_FILTER, StepResult.PASS)
    return None


def destination_nat(trip: Trip) -> Ruling | None:
    """DNAT, NO_DNAT or REFLEXIVE, for what entered by an uplink or a service interface; an ALG may know better."""
    if trip.expected is not None and trip.expected.new_destination is not None:
        put_in_destination(trip, trip.expected, trip.expected.new_destination)
        return None
    if not trip.entered.border:
        return None
    if trip.packet.kind is Kind.ICMP_ERROR:
        error_inwards(trip)
        return None
    trip.dnat = inbound_match(trip.policy.inbound_nat, trip.flow)
    if trip.dnat is None:
        trip.note(Stage.NAT, StepResult.MISS)
        return None
    trip.flow = translate_destination(trip.dnat, trip.flow)
    after = None if trip.dnat.type is NatType.NO_DNAT else trip.shown(trip.flow)
    trip.note(Stage.NAT, StepResult[trip.dnat.type.name], rule_id=trip.dnat.id, after=after)
    return None


def routing(trip: Trip) -> Ruling | None:
    """Where the destination leads, DNAT done."""
    trip.route = route_of(trip)
    if trip.route.port is None:
        trip.note(Stage.ROUTE, trip.route.result)
        reason, reply = DEAD_ENDS[trip.route.result]
        return Ruling(Verdict.DROP, reason, reply)
    trip.note(Stage.ROUTE, trip.route.result, port=trip.out.name)
    if trip.local:
        trip.expected = None  # no session: the firewall is asked as ever
    if trip.packet.ttl <= 1 and not trip.local:
        trip.note(Stage.ROUTE, StepResult.TTL_EXPIRED)
        return Ruling(Verdict.DROP, Reason.TTL_EXPIRED, Answer.TIME_EXCEEDED)
    return too_big(trip) if trip.too_big and not trip.local else None


def too_big(trip: Trip) -> Ruling:
    """Larger than the MTU of the way out, and no router may cut it: the sender is told."""
    trip.note(Stage.ROUTE, StepResult.TOO_BIG)
    return Ruling(Verdict.DROP, Reason.TOO_BIG, Answer.TOO_BIG)


def route_of(trip: Trip) -> Route:
    """The route; ICMP errors meet no NAT, so a primary address is always the edge itself to them.  Where an ALG waits
    for a call to one, a machine behind the same edge had called by that address, and is called back by it."""
    if trip.packet.kind is Kind.ICMP_ERROR:
        return trip.policy.routing.route(trip.flow.dst, trip.entered, primary_is_local=True)
    if calls_back(trip):
        return trip.policy.routing.route(trip.flow.dst, trip.entered, primary_is_local=False)
    return trip.policy.route(trip.flow, trip.entered)


def calls_back(trip: Trip) -> bool:
    """Does an ALG wait for this at the address that it bears?"""
    return trip.expected is not None and trip.expected.new_destination is None


def east_west(trip: Trip) -> Ruling | None:
    """Between distributed networks the distributed router forwards; the edge never sees it."""
    if trip.policy.options.east_west_firewall or trip.local:
        return None
    if trip.entered.kind is not PortKind.DISTRIBUTED or trip.out.kind is not PortKind.DISTRIBUTED:
        return None
    admit(trip, Reason.EAST_WEST)  # an ALG may have put in the destination in the name of a rule
    return Ruling(Verdict.ALLOW, Reason.EAST_WEST, forward=(trip.out, trip.flow))


def source_nat(trip: Trip) -> Ruling | None:
    """SNAT, NO_SNAT or REFLEXIVE, for what leaves by an uplink or a service interface.

    SNAT's address is chosen here, for the firewall to see; its port is drawn when the firewall has said yes.
    """
    if trip.expected is not None and trip.expected.new_source is not None:
        put_in_source(trip, trip.expected, trip.expected.new_source)
        return None
    if trip.local or not trip.out.border:
        return None
    if trip.packet.kind is Kind.ICMP_ERROR:
        error_outwards(trip)
        return None
    trip.snat = outbound_match(trip.policy.outbound_nat, trip.flow, trip.policy.options.snat_service_port)
    if trip.snat is None:
        trip.note(Stage.NAT, StepResult.MISS)
        return None
    trip.flow = translate_source_in_place(trip.snat, trip.flow)
    if trip.snat.type is NatType.SNAT:
        trip.pool_choice = external_address(trip, trip.snat)
    after = trip.shown(trip.flow) if trip.snat.type is NatType.REFLEXIVE else None
    trip.note(Stage.NAT, StepResult[trip.snat.type.name], rule_id=trip.snat.id, after=after)
    return None


def firewall(trip: Trip) -> Ruling | None:
    """The first rule that matches decides; None means that it allows.  A network reaches the edge itself unasked."""
    if trip.local and not trip.entered_by_uplink:
        return None
    if trip.expected is not None:
        admitted_by_alg(trip, trip.expected)
        return None
    trip.bypass = bypassing_rule(trip)
    reason = not_a_beginning(trip)
    if reason is not None:
        trip.note(Stage.FIREWALL, StepResult.DROP)
        return Ruling(Verdict.DROP, reason)
    if trip.bypass is not None:
        trip.note(Stage.FIREWALL, StepResult.BYPASS, rule_id=trip.bypass.id)
        return None
    question = firewall_question(trip)
    trip.saw = trip.shown(Flow(question.protocol, question.src, question.sport, question.dst, question.dport))
    trip.rule = first_match(trip.policy.firewall, question)
    action = Action.DROP if trip.rule is None else trip.rule.action
    rule_id = None if trip.rule is None else trip.rule.id
    logged = trip.rule is not None and trip.rule.logging
    trip.note(Stage.FIREWALL, StepResult[action.name], rule_id=rule_id, saw=trip.saw, logged=logged)
    if action is Action.ALLOW:
        return None
    reason = Reason.FW_DEFAULT if trip.rule is None else REASON_OF_SECTION[trip.rule.section]
    if action is Action.DROP:
        return Ruling(Verdict.DROP, reason)
    return Ruling(Verdict.REJECT, reason, Answer.RESET if trip.packet.kind is Kind.TCP else Answer.PROHIBITED)


def bypassing_rule(trip: Trip) -> NatRule | None:
    """The NAT rule that spares the packet the firewall, DNAT's before SNAT's; exemptions never do."""
    for rule in (trip.dnat, trip.snat):
        if (
            rule is not None
            and rule.firewall_match is FirewallMatch.BYPASS
            and rule.type not in (NatType.NO_DNAT, NatType.NO_SNAT)
        ):
            return rule
    return None


def not_a_beginning(trip: Trip) -> Reason | None:
    """Why a packet without a session cannot begin one, whatever the rules say; BYPASS lets pass all but nonsense."""
    packet = trip.packet
    if packet.kind is Kind.ICMP_ERROR:
        return Reason.ICMP_UNRELATED
    if trip.stateless:
        return None
    if trip.bypass is None:
        if packet.kind is Kind.ICMP_REPLY:
            return Reason.ICMP_UNRELATED
        if packet.kind is Kind.TCP and trip.policy.options.tcp_strict and not packet.is_opening:
            return Reason.TCP_STRICT
    return Reason.TCP_STATE if packet.is_absurd else None


def firewall_question(trip: Trip) -> Question:
    """The packet as the firewall sees it: private addresses, unless a NAT rule says MATCH_EXTERNAL_ADDRESS."""
    received = trip.packet.flow
    src, dst, dport = received.src, trip.flow.dst, trip.flow.dport
    if trip.dnat is not None and trip.dnat.firewall_match is FirewallMatch.MATCH_EXTERNAL_ADDRESS:
        dst, dport = received.dst, received.dport
    if trip.snat is not None and trip.snat.firewall_match is FirewallMatch.MATCH_EXTERNAL_ADDRESS:
        src = trip.flow.src if trip.pool_choice is None else trip.pool_choice
    return Question(
        protocol=received.protocol,
        src=src,
        sport=received.sport,
        dst=dst,
        dport=dport,
        icmp_type=trip.packet.icmp_type,
        icmp_code=trip.packet.icmp_code,
        entered_by_uplink=trip.entered_by_uplink,
        leaves_by_uplink=trip.leaves_by_uplink,
    )
