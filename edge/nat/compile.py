"""NAT rules → flat rules for the two lookups (destination, source) and rows that say what to do.  Pure."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

from edge.addresses import ANY_PORT_RANGE, AddressRange, PortRange
from edge.firewall.compile import PORT_PROTOCOLS, FlatService
from edge.flat import ANY_SET, FlatRules
from edge.model import SnatServicePort
from edge.nat.config import FirewallMatch, NatConfig, NatRule, NatType

TYPES = {NatType.DNAT: 0, NatType.SNAT: 1, NatType.NO_DNAT: 2, NatType.NO_SNAT: 3, NatType.REFLEXIVE: 4}
MATCHES = {
    FirewallMatch.MATCH_INTERNAL_ADDRESS: 0,
    FirewallMatch.MATCH_EXTERNAL_ADDRESS: 1,
    FirewallMatch.BYPASS: 2,
}


class PortMap(IntEnum):
    """What a DNAT rule does to the destination port; numbers of ``native/kinds.pxd``."""

    KEPT = 0
    ONE = 1
    OFFSET = 2


@dataclass(frozen=True, slots=True)
class NatRow:
    """One rule for ``native/nat.pxd``; addresses are the first ones of their ranges, as integers."""

    id: str
    type: int
    firewall_match: int
    logging: bool
    family: int
    external: int
    internal: int
    one_to_one: bool
    port_map: PortMap
    matched_port: int
    target_port: int
    pool_size: int


@dataclass(frozen=True, slots=True)
class NatTables:
    """Two first-match tables over one list of rows; a REFLEXIVE rule stands in both."""

    dnat: FlatRules
    snat: FlatRules
    rules: list[NatRow]


def evaluation_order(config: NatConfig) -> list[NatRule]:
    """Enabled rules by priority; equal ones in document order (the order NSX leaves undefined)."""
    return sorted((rule for rule in config.rules if rule.enabled), key=lambda rule: rule.priority)


def destination_services(rule: NatRule) -> tuple[FlatService, ...] | None:
    """What a DNAT or NO_DNAT rule asks of protocol and port; None: nothing."""
    if rule.profile is not None:
        service = rule.profile.services[0]
        ports = matched_ports(rule) if service.protocol in PORT_PROTOCOLS else ANY_PORT_RANGE
        return ((service.protocol, -1, -1, ANY_PORT_RANGE, ports),)
    if rule.type is NatType.NO_DNAT and rule.external_port is not None:
        return tuple((protocol, -1, -1, ANY_PORT_RANGE, rule.external_port) for protocol in PORT_PROTOCOLS)
    return None


def matched_ports(rule: NatRule) -> PortRange:
    """The destination ports that a rule with a profile matches: its own, else the profile's, else any."""
    if rule.external_port is not None:
        return rule.external_port
    return profile_ports(rule) or ANY_PORT_RANGE


def profile_ports(rule: NatRule) -> PortRange | None:
    """The profile's destination ports, if it has a profile and that has any."""
    if rule.profile is None:
        return None
    service = rule.profile.services[0]
    return service.destination_ports[0] if service.protocol in PORT_PROTOCOLS and service.destination_ports else None


def source_services(rule: NatRule, port: SnatServicePort) -> tuple[FlatService, ...] | None:
    """What an SNAT or NO_SNAT rule asks of protocol and destination port; None: nothing."""
    if rule.profile is None:
        return None
    ports = profile_ports(rule) if port is SnatServicePort.MATCH else None
    return ((rule.profile.services[0].protocol, -1, -1, ANY_PORT_RANGE, ports or ANY_PORT_RANGE),)


def port_translation(rule: NatRule) -> tuple[PortMap, int, int]:
    """(port_map, first matched port, first target port) of a DNAT rule."""
    target = profile_ports(rule)
    if rule.type is not NatType.DNAT or target is None:
        return PortMap.KEPT, 0, 0
    matched = matched_ports(rule)
    return (PortMap.OFFSET if matched.size == target.size else PortMap.ONE), matched.first, target.first


def nat_row(rule: NatRule) -> NatRow:
    """What a rule does once it matched."""
    external, internal = rule.external, rule.internal
    side = external or internal
    port_map, matched, target = port_translation(rule)
    inwards = rule.type is NatType.DNAT
    return NatRow(
        id=rule.id,
        type=TYPES[rule.type],
        firewall_match=MATCHES[rule.firewall_match],
        logging=rule.logging,
        family=side.version if side is not None else 0,
        external=int(external.first) if external is not None else 0,
        internal=int(internal.first) if internal is not None else 0,
        one_to_one=inwards and internal is not None and internal.size == 1,
        port_map=port_map,
        matched_port=matched,
        target_port=target,
        pool_size=external.size if rule.type is NatType.SNAT and external is not None else 0,
    )


def compile_nat(config: NatConfig, port: SnatServicePort) -> NatTables:
    """Enabled rules in the order of evaluation."""
    tables = NatTables(FlatRules(), FlatRules(), [])

    def add(
        flat: FlatRules,
        source: AddressRange | None,
        destination: AddressRange | None,
        services: tuple[FlatService, ...] | None,
    ) -> None:
        flat.append(
            len(tables.rules),
            source=ANY_SET if source is None else flat.address_set(source, [(source,)]),
            destination=ANY_SET if destination is None else flat.address_set(destination, [(destination,)]),
            services=ANY_SET if services is None else flat.services_of(services),
        )

    for rule in evaluation_order(config):
        if rule.type in (NatType.DNAT, NatType.NO_DNAT):
            add(tables.dnat, None, rule.external, destination_services(rule))
        elif rule.type is NatType.REFLEXIVE:
            add(tables.dnat, None, rule.external, None)
            add(tables.snat, rule.internal, None, None)
        else:
            add(tables.snat, rule.internal, rule.snat_destination, source_services(rule, port))
        tables.rules.append(nat_row(rule))
    return tables
