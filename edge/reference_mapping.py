"""Which external address and port the reference gives a session, and endpoint-independent mappings (RFC 4787).

A mapping is what sessions of one internal endpoint under one SNAT rule have in common; it lives as long as they do.
"""

from __future__ import annotations

from edge.addresses import IPAddress
from edge.nat.config import NatRule, NatType
from edge.nat.reference import choose_source, pool
from edge.reference_sessions import External, MappingKey
from edge.reference_trip import Trip
from edge.reference_wire import UDP, Flow, Kind, Packet


def draws_port(packet: Packet) -> bool:
    """Does SNAT give it a new source port, or an ICMP query a new identifier?"""
    return packet.kind in (Kind.TCP, Kind.UDP, Kind.ICMP_REQUEST)


def mapping_key(trip: Trip) -> MappingKey | None:
    """The mapping that a session of this packet is of, be there one yet or not; None where there is no such thing."""
    by_snat = trip.snat is not None and trip.snat.type is NatType.SNAT
    if trip.snat is None or not by_snat or not draws_port(trip.packet) or not trip.policy.options.endpoint_independent:
        return None
    inside = trip.packet.flow
    return MappingKey(inside.protocol, inside.src, inside.sport, trip.snat.id)


def mapped(trip: Trip) -> External | None:
    """What the packet's endpoint is mapped to already (RFC 4787 REQ-1)."""
    key = mapping_key(trip)
    return None if key is None else trip.state.sessions.mapped(key)


def external_address(trip: Trip, rule: NatRule) -> IPAddress:
    """The address that an SNAT rule will probably give: the firewall sees it before a port is drawn."""
    known = mapped(trip)
    return addresses(trip, rule)[0] if known is None else known.address


def addresses(trip: Trip, rule: NatRule) -> list[IPAddress]:
    """The rule's pool in the order in which it is tried; a machine keeps to one address (RFC 4787 REQ-2)."""
    sessions = trip.state.sessions
    pairs = trip.policy.options.endpoint_independent
    return pool(rule, sessions.holders, sessions.paired(trip.packet.flow.src, rule.id) if pairs else None)


def allocate(trip: Trip) -> Flow | None:
    """The flow as it leaves, with answers that can be told from those to every other session; None if there is none."""
    policy, state, flow = trip.policy, trip.state, trip.flow
    draws = trip.snat is not None and trip.snat.type is NatType.SNAT and draws_port(trip.packet) and not mapped(trip)

    def usable(candidate: Flow) -> bool:
        original, reply = (trip.packet.flow, trip.entered.side), (candidate.reversed(), trip.out.side)
        if not draws and state.sessions.can_tell(original, reply):
            state.living(state.sessions.find(reply))  # one whose time is over makes way
        return state.sessions.can_hold(original, reply)

    def makes_way(candidate: Flow) -> bool:
        found = state.sessions.find((candidate.reversed(), trip.out.side))
        return found is not None and state.living(found) is None

    def mappable(candidate: Flow) -> bool:
        external = External(candidate.protocol, candidate.src, candidate.sport)
        odd_one_out = candidate.protocol == UDP and candidate.sport % 2 != flow.sport % 2  # RFC 4787 REQ-4
        return not odd_one_out and not state.sessions.is_mapped_to(external) and usable(candidate)

    if trip.snat is None or trip.snat.type is not NatType.SNAT:
        return flow if usable(flow) else None
    known = mapped(trip)
    if known is not None:
        flow = flow._replace(src=known.address, sport=known.port)
        return flow if usable(flow) else None
    return choose_source(
        flow,
        addresses(trip, trip.snat),
        draws_port=draws_port(trip.packet),
        ports=policy.options.snat_port_range,
        blocked=lambda port: policy.blocks(flow.protocol, port),
        usable=usable if mapping_key(trip) is None else mappable,
        makes_way=makes_way,
        draw=state.draw,
        exhausted=state.exhaust,
    )
