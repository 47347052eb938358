"""Warnings about NAT rules, and about firewall rules that look at the wrong side of one."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby, islice

from edge.addresses import AddressRange, PortRange
from edge.checks.coverage import (
    ANY_ADDRESS,
    ANY_SERVICE,
    Budget,
    IntervalIndex,
    Match,
    Ranges,
    find_covered,
    merged,
    overlap,
)
from edge.checks.findings import Warnings, rule_name
from edge.document.problems import quoted
from edge.firewall.config import Action, FirewallRule
from edge.model import SnatServicePort
from edge.nat.config import FirewallMatch, NatRule, NatType
from edge.routing.config import NetworkType, RoutingConfig

NAT_BUDGET = 1_000_000
"""Comparisons that each search among NAT rules may cost."""

_INBOUND = frozenset((NatType.DNAT, NatType.NO_DNAT, NatType.REFLEXIVE))
_OUTBOUND = frozenset((NatType.SNAT, NatType.NO_SNAT, NatType.REFLEXIVE))
_EXEMPTIONS = frozenset((NatType.NO_DNAT, NatType.NO_SNAT))
_TCP, _UDP = 6, 17


def check_nat(warnings: Warnings) -> None:
    """All warnings about NAT."""
    reached = _reached(warnings.config.routing)
    for index, rule in enumerate(warnings.config.nat.rules):
        _check_ports(warnings, rule, index)
        _check_owned(warnings, rule, index)
        _check_internal(warnings, rule, index, reached)
        # BYPASS is what NSX itself stores with exemptions (NSX policy schema, PolicyNatRule).
        if rule.type in _EXEMPTIONS and rule.firewall_match is FirewallMatch.MATCH_EXTERNAL_ADDRESS:
            message = (
                f"{_name(rule, index)} says {rule.firewall_match.value}, which has no effect: it translates nothing, "
                "and the firewall is asked as if there were no NAT"
            )
            warnings.add("FIREWALL_MATCH_IGNORED", warnings.path("natRules", index, "firewallMatch"), message)
    for types, what in ((_INBOUND, "destination"), (_OUTBOUND, "source")):
        _check_order(warnings, types, what)
    _check_firewall_match(warnings)


def _name(rule: NatRule, index: int) -> str:
    return f"{quoted(rule.name)} (NAT rule {index + 1})"


def _check_ports(warnings: Warnings, rule: NatRule, index: int) -> None:
    path = warnings.path("natRules", index)
    service = rule.profile.services[0] if rule.profile and rule.profile.services else None
    if (
        rule.type is NatType.DNAT
        and rule.external_port is not None
        and (service is None or service.protocol not in (_TCP, _UDP))
    ):
        reason = "it has no applicationPortProfile" if service is None else "its profile has no ports"
        message = (
            f"{_name(rule, index)} ignores dnatExternalPort {rule.external_port}: {reason}, so it takes every port"
        )
        warnings.add("DNAT_PORT_IGNORED", (*path, "dnatExternalPort"), message)
    inside = service.destination_ports[0] if service and service.destination_ports else None
    outside = rule.external_port
    if rule.type is NatType.DNAT and inside and outside and inside.size > 1 and inside.size != outside.size:
        message = (
            f"{_name(rule, index)} sends {'port' if outside.size == 1 else 'all of'} {outside} to {inside.first}: its "
            f"profile has {inside.size:,} ports, {inside}, and only ranges of one length are mapped in order"
        )
        warnings.add("DNAT_PORTS_COLLAPSE", (*path, "dnatExternalPort"), message)
    if (
        rule.type in (NatType.SNAT, NatType.NO_SNAT)
        and warnings.config.options.snat_service_port is SnatServicePort.IGNORE
        and service is not None
        and service.destination_ports
    ):
        message = (
            f"{_name(rule, index)} takes every port of its protocol: the port {service.destination_ports[0]} of its "
            "profile is ignored (option snatServicePort)"
        )
        warnings.add("SNAT_PORT_IGNORED", (*path, "applicationPortProfile"), message)
    if rule.enabled and rule.type is NatType.DNAT and service is not None:
        ports = rule.external_port or (service.destination_ports[0] if service.destination_ports else None)
        for wall in warnings.config.options.provider_filter:
            hit = [port for port in wall.ports if ports is not None and port.overlaps(ports)]
            if wall.protocol == service.protocol and hit:
                message = f"{_name(rule, index)} waits for {ports}, of which the provider blocks {hit[0]}"
                warnings.add("PROVIDER_BLOCKED_PORT", path, message)


def _check_owned(warnings: Warnings, rule: NatRule, index: int) -> None:
    if rule.external is None or rule.type is NatType.NO_DNAT:
        return
    owned = [
        item
        for uplink in warnings.config.routing.uplinks
        for subnet in uplink.subnets
        for item in (*subnet.ranges, *((AddressRange(subnet.primary, subnet.primary),) if subnet.primary else ()))
        if item.version == rule.external.version
    ]
    union = merged((int(item.first), int(item.last)) for item in owned)
    low, high = int(rule.external.first), int(rule.external.last)
    if not any(first <= low and high <= last for first, last in union):
        message = f"{rule.external} of {_name(rule, index)} is not allocated to this edge by any uplink"
        path = warnings.path("natRules", index, "externalAddresses")
        warnings.add("EXTERNAL_ADDRESS_NOT_OWNED", path, message)


def _reached(routing: RoutingConfig) -> dict[int, Ranges]:
    """For each family, the addresses that lead somewhere by something more than a default route."""
    networks = [subnet.network for uplink in routing.uplinks for subnet in uplink.subnets]
    networks += [
        subnet.network
        for network in routing.networks
        if network.type is not NetworkType.ISOLATED
        for subnet in network.subnets
    ]
    networks += [route.network for route in routing.static_routes if route.network.prefixlen > 0]
    return {
        version: merged(
            (int(item.network_address), int(item.broadcast_address)) for item in networks if item.version == version
        )
        for version in (4, 6)
    }


def _check_internal(warnings: Warnings, rule: NatRule, index: int, reached: dict[int, Ranges]) -> None:
    """Translated destinations that no network and no static route of the edge leads to."""
    internal = rule.internal
    if internal is None or not rule.enabled or rule.type not in (NatType.DNAT, NatType.REFLEXIVE):
        return
    if any(low <= int(internal.first) and int(internal.last) <= high for low, high in reached[internal.version]):
        return
    message = (
        f"{internal} of {_name(rule, index)} lies in no network that is attached to the edge and no static route leads "
        "there: what is sent to it would leave by the default route, or not at all"
    )
    warnings.add("INTERNAL_ADDRESS_UNREACHABLE", warnings.path("natRules", index, "internalAddresses"), message)


# Order: which rule of one lookup stands before which


def _check_order(warnings: Warnings, types: frozenset[NatType], what: str) -> None:
    rules = warnings.config.nat.rules
    order = sorted(
        (index for index, rule in enumerate(rules) if rule.enabled and rule.type in types),
        key=lambda index: (rules[index].priority, index),
    )
    matches = [_match(warnings, rules[index], types is _INBOUND) for index in order]
    covered, stopped = find_covered(matches, Budget(NAT_BUDGET))
    for place, by in covered.items():
        index, earlier = order[place], order[by]
        message = (
            f"{_name(rules[index], index)} can never match: {_name(rules[earlier], earlier)}, which is asked before "
            f"it, matches everything it does"
        )
        warnings.add("SHADOWED_RULE", warnings.path("natRules", index), message)
    if stopped is not None:
        message = f"the search for shadowed {what} NAT rules stopped after {NAT_BUDGET:,} comparisons"
        warnings.add("SHADOWED_RULE", warnings.path("natRules", order[stopped]), message)
    _check_ties(warnings, order, matches)
    _check_exemptions(warnings, order, matches)


def _match(warnings: Warnings, rule: NatRule, inbound: bool) -> Match:
    """What a rule matches in one lookup: DNAT looks at destinations, SNAT at sources and destinations."""
    side = rule.external if inbound else rule.internal
    other = None if inbound else rule.snat_destination
    version = next((item.version for item in (side, other) if item is not None), None)
    service = _nat_services(warnings, rule, inbound)
    families: dict[int, tuple[Ranges, Ranges, Ranges]] = {}
    for family in (4, 6) if version is None else (version,):
        near = ANY_ADDRESS[family] if side is None else ((int(side.first), int(side.last)),)
        far = ANY_ADDRESS[family] if other is None else ((int(other.first), int(other.last)),)
        families[family] = (near, far, service)
    return Match(families)


def _nat_services(warnings: Warnings, rule: NatRule, inbound: bool) -> Ranges:
    if rule.type is NatType.REFLEXIVE:
        return ANY_SERVICE
    if rule.profile is None:
        if rule.type is NatType.NO_DNAT and rule.external_port is not None:
            return merged(_block(protocol, rule.external_port) for protocol in (_TCP, _UDP))
        return ANY_SERVICE
    service = rule.profile.services[0]
    if service.protocol not in (_TCP, _UDP):
        return (_block(service.protocol, None),)
    own = service.destination_ports[0] if service.destination_ports else None
    if inbound:
        return (_block(service.protocol, rule.external_port or own),)
    matched = own if warnings.config.options.snat_service_port is SnatServicePort.MATCH else None
    return (_block(service.protocol, matched),)


def _block(protocol: int, ports: PortRange | None) -> tuple[int, int]:
    base = protocol << 16
    return (base | ports.first, base | ports.last) if ports else (base, base | 65535)


def _overlapping(one: Match, other: Match) -> bool:
    return any(
        all(overlap(a, b) for a, b in zip(one.families[version], other.families[version], strict=True))
        for version in one.families.keys() & other.families.keys()
    )


def _check_ties(warnings: Warnings, order: Sequence[int], matches: Sequence[Match]) -> None:
    """Rules of one priority whose matches overlap: NSX leaves open which of them wins."""
    rules = warnings.config.nat.rules
    budget = Budget(NAT_BUDGET)
    for priority, places in groupby(range(len(order)), key=lambda place: rules[order[place]].priority):
        # Sorted by where they start, only rules that still reach over a start can overlap what starts there.
        ordered = sorted(places, key=lambda place: min(m[0][0][0] for m in matches[place].families.values()))
        active: list[int] = []
        for place in ordered:
            low = min(m[0][0][0] for m in matches[place].families.values())
            active = [other for other in active if max(m[0][-1][1] for m in matches[other].families.values()) >= low]
            if not budget.spend(len(active)):
                message = f"the search for equal priorities stopped after {NAT_BUDGET:,} comparisons"
                warnings.add("NAT_PRIORITY_TIE", warnings.path("natRules", order[place]), message)
                return
            twins = [order[other] for other in active if _overlapping(matches[place], matches[other])]
            active.append(place)
            for twin in twins[:1]:
                first, second = sorted((twin, order[place]))
                message = (
                    f"{_name(rules[second], second)} and {_name(rules[first], first)} have the priority {priority} and "
                    "match some of the same packets; NSX leaves open which one wins, here the first in the list does"
                )
                warnings.add("NAT_PRIORITY_TIE", warnings.path("natRules", second, "priority"), message)


def _check_exemptions(warnings: Warnings, order: Sequence[int], matches: Sequence[Match]) -> None:
    """NO_ rules that are asked after a translator of the same packets."""
    rules = warnings.config.nat.rules
    budget = Budget(NAT_BUDGET)
    translators: list[int] = []
    for place, index in enumerate(order):
        if rules[index].type not in _EXEMPTIONS:
            translators.append(place)
            continue
        if not budget.spend(len(translators)):
            message = f"the search for exemptions behind their translator stopped after {NAT_BUDGET:,} comparisons"
            warnings.add("NAT_EXEMPTION_BEHIND", warnings.path("natRules", index), message)
            return
        for other in translators:
            if _overlapping(matches[place], matches[other]):
                earlier = order[other]
                message = (
                    f"{_name(rules[index], index)} exempts packets that {_name(rules[earlier], earlier)} takes first; "
                    f"give it a priority below {rules[earlier].priority}"
                    if rules[earlier].priority
                    else f"{_name(rules[index], index)} exempts packets that {_name(rules[earlier], earlier)} takes "
                    "first; give that rule a higher number as priority, or put it further down"
                )
                warnings.add("NAT_EXEMPTION_BEHIND", warnings.path("natRules", index), message)
                break


# The firewall's view of translated packets


class _Named:
    """The addresses that enabled ALLOW rules name on one side, by rule."""

    def __init__(self, rules: Sequence[FirewallRule], source: bool) -> None:
        self.open = any(
            rule.enabled and rule.action is Action.ALLOW and rule.any_source and rule.any_destination for rule in rules
        )
        self._indexes: dict[int, IntervalIndex] = {}
        intervals: dict[int, list[tuple[int, int, int]]] = {4: [], 6: []}
        for position, rule in enumerate(rules):
            if not rule.enabled or rule.action is not Action.ALLOW:
                continue
            groups = rule.source_groups if source else rule.destination_groups
            inline = rule.source_addresses if source else rule.destination_addresses
            for item in (*(item for group in groups for item in group.ranges), *inline):
                intervals[item.version].append((int(item.first), int(item.last), position))
        for version, found in intervals.items():
            self._indexes[version] = IntervalIndex(found)

    def rule(self, side: AddressRange) -> int | None:
        """The position of a rule that names some address of a range; the first of those that are found quickly."""
        found = self._indexes[side.version].reaching(int(side.last), int(side.first))
        return min(islice(found, 1000), default=None)


def _check_firewall_match(warnings: Warnings) -> None:
    """Rules that the firewall is asked about with one address while its rules name the other."""
    config = warnings.config
    translating = [
        (index, rule)
        for index, rule in enumerate(config.nat.rules)
        if rule.enabled
        and rule.type not in _EXEMPTIONS
        and rule.firewall_match is not FirewallMatch.BYPASS
        and rule.external is not None
        and rule.internal is not None
    ]
    if not translating:
        return
    named = {False: _Named(config.firewall.rules, False), True: _Named(config.firewall.rules, True)}
    for index, rule in translating:
        assert rule.external is not None
        assert rule.internal is not None
        external = rule.firewall_match is FirewallMatch.MATCH_EXTERNAL_ADDRESS
        asked, other = (rule.external, rule.internal) if external else (rule.internal, rule.external)
        by = named[rule.type is NatType.SNAT]
        if by.open or by.rule(asked) is not None:
            continue
        position = by.rule(other)
        if position is None:
            continue
        message = (
            f"with {rule.firewall_match.value} the firewall is asked about {asked}, but "
            f"{rule_name(config.firewall.rules[position], position)} names {other} and no rule allows {asked}"
        )
        path = warnings.path("natRules", index, "firewallMatch")
        warnings.add("EXTERNAL_MATCH_PRIVATE", path, f"{_name(rule, index)}: {message}")
