"""Firewall configuration → flat rules.  Pure: no state, no native code."""

from __future__ import annotations

from array import array
from collections.abc import Iterable
from dataclasses import dataclass

from edge.addresses import ANY_PORT_RANGE, AddressRange, PortRange
from edge.firewall.config import (
    Action,
    Direction,
    FirewallConfig,
    FirewallGroup,
    FirewallRule,
    IpProtocol,
    Section,
    Service,
)
from edge.flat import ANY_SET, FlatRules, words
from edge.verdicts import Reason, Verdict

VERDICTS = {Action.ALLOW: Verdict.ALLOW, Action.DROP: Verdict.DROP, Action.REJECT: Verdict.REJECT}
REASONS = {Section.SYSTEM: Reason.FW_SYSTEM, Section.USER: Reason.FW_RULE, Section.DEFAULT: Reason.FW_DEFAULT}
DIRECTIONS = {Direction.IN: 1, Direction.OUT: 2, Direction.IN_OUT: 0}
FAMILIES = {IpProtocol.IPV4: 1, IpProtocol.IPV6: 2, IpProtocol.IPV4_IPV6: 3}
PORT_PROTOCOLS = TCP, UDP = (6, 17)

FlatService = tuple[int, int, int, PortRange, PortRange]


@dataclass(frozen=True, slots=True)
class FirewallTables:
    """Flat rules and, by rule number, what each does."""

    rules: FlatRules
    ids: list[str]
    verdict: array[int]
    reason: array[int]
    logging: array[int]
    ftp: array[int]
    """Service list of a rule's profiles with the helper FTP, ANY_SET where it has none."""
    tftp: array[int]


def flat_services(services: Iterable[Service]) -> tuple[FlatService, ...]:
    """One entry for each pair of a source and a destination port range, duplicates left out."""
    found: dict[FlatService, None] = {}
    for service in services:
        ports = service.protocol in PORT_PROTOCOLS
        for sport in (service.source_ports if ports else ()) or (ANY_PORT_RANGE,):
            for dport in (service.destination_ports if ports else ()) or (ANY_PORT_RANGE,):
                icmp_type = -1 if service.icmp_type is None else service.icmp_type
                icmp_code = -1 if service.icmp_code is None else service.icmp_code
                found[service.protocol, icmp_type, icmp_code, sport, dport] = None
    return tuple(found)


def flat_addresses(flat: FlatRules, groups: tuple[FirewallGroup, ...], inline: tuple[AddressRange, ...]) -> int:
    """The set of one side of a rule."""
    if not groups and not inline:
        return ANY_SET
    key = (tuple(group.id for group in groups), inline)
    return flat.address_set(key, [*(group.ranges for group in groups), inline])


def flat_rule_services(flat: FlatRules, rule: FirewallRule, known: dict[tuple[object, ...], int]) -> int:
    """The service list of a rule."""
    if rule.any_service:
        return ANY_SET
    key = (tuple(profile.id for profile in rule.profiles), rule.services)
    number = known.get(key)
    if number is None:
        services = [*(service for profile in rule.profiles for service in profile.services), *rule.services]
        number = known[key] = flat.services_of(flat_services(services))
    return number


def alg_services(flat: FlatRules, rule: FirewallRule, alg: str, protocol: int) -> int:
    """The list of the services whose sessions an application layer gateway follows if this rule admits them."""
    profiles = [profile for profile in rule.profiles if profile.alg == alg]
    services = [item for profile in profiles for item in profile.services if item.protocol == protocol]
    return flat.services_of(flat_services(services)) if services else ANY_SET


def compile_firewall(config: FirewallConfig) -> FirewallTables:
    """Enabled rules in the order of evaluation."""
    return compile_rules(config.rules)


def compile_rules(rules: Iterable[FirewallRule]) -> FirewallTables:
    """The enabled ones of these rules, in this order."""
    flat = FlatRules()
    tables = FirewallTables(flat, [], array("B"), array("B"), array("B"), words(), words())
    known: dict[tuple[object, ...], int] = {}
    for rule in rules:
        if not rule.enabled:
            continue
        flat.append(
            len(tables.ids),
            source=flat_addresses(flat, rule.source_groups, rule.source_addresses),
            destination=flat_addresses(flat, rule.destination_groups, rule.destination_addresses),
            services=flat_rule_services(flat, rule, known),
            direction=DIRECTIONS[rule.direction],
            families=FAMILIES[rule.ip_protocol],
        )
        tables.ids.append(rule.id)
        tables.verdict.append(VERDICTS[rule.action])
        tables.reason.append(REASONS[rule.section])
        tables.logging.append(rule.logging)
        tables.ftp.append(alg_services(flat, rule, "FTP", TCP))
        tables.tftp.append(alg_services(flat, rule, "TFTP", UDP))
    flat.forget()
    return tables
