"""The firewall's decision on one packet: the first rule that matches, read straight from the configuration."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from edge.addresses import AddressRange, IPAddress
from edge.firewall.config import Direction, FirewallGroup, FirewallRule, IpProtocol, Service

ICMP, TCP, UDP, ICMP6 = 1, 6, 17, 58


@dataclass(frozen=True, slots=True)
class Question:
    """What the firewall is asked: addresses and ports as NAT's ``firewallMatch`` chose them, and the way of the
    packet.  ``icmp_type`` and ``icmp_code`` are None for other protocols."""

    protocol: int
    src: IPAddress
    sport: int
    dst: IPAddress
    dport: int
    icmp_type: int | None
    icmp_code: int | None
    entered_by_uplink: bool
    leaves_by_uplink: bool


def first_match(rules: Sequence[FirewallRule], question: Question) -> FirewallRule | None:
    """The enabled rule that decides; None when not even a default rule matches."""
    return next((rule for rule in rules if rule.enabled and rule_matches(rule, question)), None)


def rule_matches(rule: FirewallRule, question: Question) -> bool:
    """Every part of a rule must match; an empty part matches anything."""
    return (
        family_matches(rule.ip_protocol, question.src.version)
        and direction_matches(rule.direction, question)
        and (rule.any_source or address_matches(rule.source_groups, rule.source_addresses, question.src))
        and (rule.any_destination or address_matches(rule.destination_groups, rule.destination_addresses, question.dst))
        and (rule.any_service or service_matches(rule, question))
    )


def family_matches(ip_protocol: IpProtocol, version: int) -> bool:
    """Does the rule speak of this IP version?"""
    wanted = {IpProtocol.IPV4: (4,), IpProtocol.IPV6: (6,), IpProtocol.IPV4_IPV6: (4, 6)}
    return version in wanted[ip_protocol]


def direction_matches(direction: Direction, question: Question) -> bool:
    """IN entered by an uplink, OUT leaves by one."""
    if direction is Direction.IN:
        return question.entered_by_uplink
    return direction is Direction.IN_OUT or question.leaves_by_uplink


def address_matches(groups: Sequence[FirewallGroup], inline: Sequence[AddressRange], address: IPAddress) -> bool:
    """Is the address in one of the groups or inline ranges?"""
    return any(address in item for group in groups for item in group.ranges) or any(address in item for item in inline)


def service_matches(rule: FirewallRule, question: Question) -> bool:
    """Is it one of the rule's services, its profiles' or its own?"""
    services = (*(service for profile in rule.profiles for service in profile.services), *rule.services)
    return any(one_service_matches(service, question) for service in services)


def one_service_matches(service: Service, question: Question) -> bool:
    """Protocol, then what that protocol has: ports, or type and code.  ICMP is IPv4's, ICMPv6 IPv6's."""
    if service.protocol != question.protocol:
        return False
    if service.protocol in (TCP, UDP):
        return (not service.source_ports or any(question.sport in item for item in service.source_ports)) and (
            not service.destination_ports or any(question.dport in item for item in service.destination_ports)
        )
    if service.protocol in (ICMP, ICMP6):
        return (
            question.icmp_type is not None
            and service.icmp_type in (None, question.icmp_type)
            and service.icmp_code in (None, question.icmp_code)
        )
    return True
