"""NAT's decisions on one packet: which rule, which address and port, read straight from the configuration."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from itertools import islice

from edge.addresses import AddressRange, IPAddress, PortRange
from edge.firewall.config import Service
from edge.model import SnatServicePort
from edge.nat.config import NatRule, NatType
from edge.reference_wire import ICMP, ICMP6, TCP, UDP, Flow

INBOUND = (NatType.DNAT, NatType.NO_DNAT, NatType.REFLEXIVE)
OUTBOUND = (NatType.SNAT, NatType.NO_SNAT, NatType.REFLEXIVE)

ASKED_MOST = 256
"""Sessions that are asked to make way for one packet."""


def evaluation_order(rules: Iterable[NatRule], types: Collection[NatType]) -> list[NatRule]:
    """The enabled rules of one lookup: by priority, equal ones in document order."""
    return sorted((rule for rule in rules if rule.enabled and rule.type in types), key=lambda rule: rule.priority)


# --- destination ----------------------------------------------------------------------------------------------------


def inbound_match(rules: Sequence[NatRule], flow: Flow) -> NatRule | None:
    """The DNAT, NO_DNAT or REFLEXIVE rule that takes a packet, ``rules`` being in order of evaluation."""
    return next((rule for rule in rules if inbound_rule_matches(rule, flow)), None)


def inbound_rule_matches(rule: NatRule, flow: Flow) -> bool:
    """Its external addresses contain the destination; a DNAT's port counts only beside a profile."""
    if rule.external is not None and flow.dst not in rule.external:
        return False
    if rule.type is NatType.REFLEXIVE:
        return True
    service = profile_service(rule)
    if service is not None and not of_protocol(service, flow):
        return False
    ports = matched_ports(rule)
    if ports is None:
        return True
    if flow.protocol in (TCP, UDP):
        return flow.dport in ports
    return service is not None  # ICMP by protocol only; NO_DNAT's port alone means TCP or UDP


def matched_ports(rule: NatRule) -> PortRange | None:
    """The destination ports that a DNAT or NO_DNAT rule takes; None for any."""
    service = profile_service(rule)
    if rule.type is NatType.DNAT and service is None:
        return None
    return rule.external_port or target_ports(rule)


def target_ports(rule: NatRule) -> PortRange | None:
    """The profile's destination port: where a DNAT goes to."""
    service = profile_service(rule)
    return service.destination_ports[0] if service is not None and service.destination_ports else None


def translate_destination(rule: NatRule | None, flow: Flow) -> Flow:
    """The flow behind DNAT or REFLEXIVE; NO_DNAT and no rule leave it as it is."""
    if rule is None or rule.type is NatType.NO_DNAT:
        return flow
    flow = flow._replace(dst=same_place(flow.dst, given(rule.external), given(rule.internal)))
    matched, target = matched_ports(rule), target_ports(rule)
    if rule.type is NatType.REFLEXIVE or flow.protocol not in (TCP, UDP) or matched is None or target is None:
        return flow
    offset = flow.dport - matched.first if matched.size == target.size else 0
    return flow._replace(dport=target.first + offset)


# --- source ---------------------------------------------------------------------------------------------------------


def outbound_match(rules: Sequence[NatRule], flow: Flow, service_port: SnatServicePort) -> NatRule | None:
    """The SNAT, NO_SNAT or REFLEXIVE rule that takes a packet whose destination is translated already."""
    return next((rule for rule in rules if outbound_rule_matches(rule, flow, service_port)), None)


def of_protocol(service: Service, flow: Flow) -> bool:
    """Is the packet of the service's protocol?  ICMP is IPv4's, ICMPv6 IPv6's."""
    families = {ICMP: (4,), ICMP6: (6,)}.get(service.protocol, (4, 6))
    return service.protocol == flow.protocol and flow.src.version in families


def outbound_rule_matches(rule: NatRule, flow: Flow, service_port: SnatServicePort) -> bool:
    """Its internal addresses contain the source; SNAT and NO_SNAT may name destinations and a protocol."""
    if rule.internal is not None and flow.src not in rule.internal:
        return False
    if rule.type is NatType.REFLEXIVE:
        return True
    if rule.snat_destination is not None and flow.dst not in rule.snat_destination:
        return False
    service = profile_service(rule)
    if service is None:
        return True
    if not of_protocol(service, flow):
        return False
    ports = target_ports(rule)
    return (
        service_port is SnatServicePort.IGNORE
        or ports is None
        or flow.protocol not in (TCP, UDP)
        or flow.dport in ports
    )


def translate_source_in_place(rule: NatRule | None, flow: Flow) -> Flow:
    """The flow behind REFLEXIVE on its way out; other rules leave it to :func:`choose_source` or as it is."""
    if rule is None or rule.type is not NatType.REFLEXIVE:
        return flow
    return flow._replace(src=same_place(flow.src, given(rule.internal), given(rule.external)))


def pool(rule: NatRule, users: Callable[[IPAddress], int], paired: IPAddress | None = None) -> list[IPAddress]:
    """The addresses of an SNAT rule in the order in which they are tried: the ``paired`` one if the rule has it, then
    the least used, then the lowest."""
    external = given(rule.external)
    addresses = [external.first + place for place in range(external.size)]
    return sorted(addresses, key=lambda address: (address != paired, users(address), int(address)))


def choose_source(
    flow: Flow,
    addresses: Iterable[IPAddress],
    *,
    draws_port: bool,
    ports: PortRange,
    blocked: Callable[[int], bool],
    usable: Callable[[Flow], bool],
    makes_way: Callable[[Flow], bool],
    draw: Callable[[], int],
    exhausted: Callable[[IPAddress], None],
) -> Flow | None:
    """The flow as SNAT lets it out, or None when every candidate is taken.

    ``draws_port``: each address offers all ``ports`` in a row that starts at random and wraps around, without those
    that the provider has ``blocked``; otherwise it offers the source port as it is.  ``usable`` tells whether answers
    to a flow could be told from those to others.  Where no port is, some of their sessions are asked whether one
    ``makes_way``.  ``exhausted`` hears of every address that had no port to offer.
    """
    asked = 0

    def offered(address: IPAddress, start: int) -> Iterator[Flow]:
        row = (ports.first + (start + i) % ports.size for i in range(ports.size))
        return (flow._replace(src=address, sport=port) for port in row if not blocked(port))

    for address in addresses:
        if not draws_port:
            candidate = flow._replace(src=address)
            if usable(candidate):
                return candidate
            continue
        start = draw() % ports.size
        for candidate in offered(address, start):
            if usable(candidate):
                return candidate
        for candidate in islice(offered(address, start), ASKED_MOST - asked):
            asked += 1
            if makes_way(candidate) and usable(candidate):
                return candidate
        exhausted(address)
    return None


# --- both -----------------------------------------------------------------------------------------------------------


def profile_service(rule: NatRule) -> Service | None:
    """The one service of a profile that is usable for NAT."""
    return rule.profile.services[0] if rule.profile is not None else None


def given(addresses: AddressRange | None) -> AddressRange:
    """The addresses of a side that rules of this type cannot be without: the border refuses such rules."""
    if addresses is None:
        raise ValueError("only NO_DNAT and NO_SNAT rules may leave a side open")
    return addresses


def same_place(address: IPAddress, source: AddressRange, target: AddressRange) -> IPAddress:
    """The address at the same offset of the other range, or the only one there is."""
    return target.first if target.size == 1 else target.first + (int(address) - int(source.first))
