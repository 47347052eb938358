"""Warnings about firewall rules and groups."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from edge.addresses import AddressRange
from edge.checks.coverage import (
    ANY_ADDRESS,
    ANY_SERVICE,
    Budget,
    Match,
    Ranges,
    Rectangles,
    addresses,
    find_covered,
    merged,
    services,
)
from edge.checks.findings import Warnings, rule_name
from edge.document.problems import quoted
from edge.firewall.config import Action, FirewallGroup, FirewallRule, IpProtocol, Section, Service
from edge.model import BlockedPorts

SHADOW_BUDGET = 6_000_000
"""Comparisons that the search for shadowed rules may cost: about four seconds."""

_VERSIONS = {IpProtocol.IPV4: (4,), IpProtocol.IPV6: (6,), IpProtocol.IPV4_IPV6: (4, 6)}
_ANY_SERVICES: dict[int, tuple[Ranges, Rectangles]] = {4: (ANY_SERVICE, ()), 6: (ANY_SERVICE, ())}
_PROTOCOL_NAMES = {6: "TCP", 17: "UDP"}


def check_firewall(warnings: Warnings) -> None:
    """All warnings about the firewall."""
    rules = warnings.config.firewall.rules
    matches = Matches().of(rules)
    for position, match in enumerate(matches):
        if not match.families:
            check_family(warnings, position, match)
    _check_shadows(warnings, matches)
    _check_groups(warnings)
    blocked = BlockedByProvider(warnings)
    for position in range(len(rules)):
        blocked.check(position)
    _check_system_rules(warnings)


class Matches:
    """What rules match, as numbers.  Sides and services that come again are worked out once."""

    def __init__(self) -> None:
        self._sides: dict[tuple[int, ...], dict[int, Ranges]] = {}
        self._group_ranges: dict[tuple[int, int], list[tuple[int, int]]] = {}
        self._services: dict[tuple[int, ...], dict[int, tuple[Ranges, Rectangles]]] = {}

    def of(self, rules: Sequence[FirewallRule]) -> list[Match]:
        """One match for each rule, enabled or not."""
        return [self._match(rule) for rule in rules]

    def _match(self, rule: FirewallRule) -> Match:
        versions = _VERSIONS[rule.ip_protocol]
        sources = self._side(rule.source_groups, rule.source_addresses, versions)
        destinations = self._side(rule.destination_groups, rule.destination_addresses, versions)
        service = self._service(rule, versions)
        families: dict[int, tuple[Ranges, Ranges, Ranges]] = {}
        rectangles: dict[int, Rectangles] = {}
        for version in versions:
            intervals, limited = service[version]
            if sources[version] and destinations[version] and intervals:
                families[version] = (sources[version], destinations[version], intervals)
                if limited:
                    rectangles[version] = limited
        return Match(families, rule.direction, rectangles)

    def _side(
        self, groups: tuple[FirewallGroup, ...], inline: tuple[AddressRange, ...], versions: tuple[int, ...]
    ) -> dict[int, Ranges]:
        if not groups and not inline:
            return ANY_ADDRESS
        if inline:
            # Inline addresses seldom come again: no key is made for them.
            return {version: self._union(groups, inline, version) for version in versions}
        key = tuple(map(id, groups))
        known = self._sides.get(key)
        if known is None:
            known = self._sides[key] = {version: self._union(groups, (), version) for version in (4, 6)}
        return known

    def _union(self, groups: Iterable[FirewallGroup], inline: Sequence[AddressRange], version: int) -> Ranges:
        intervals = addresses(inline, version) if inline else []
        for group in groups:
            key = (id(group), version)
            ranges = self._group_ranges.get(key)
            if ranges is None:
                ranges = self._group_ranges[key] = addresses(group.ranges, version)
            intervals += ranges
        return tuple(intervals) if len(intervals) < 2 else merged(intervals)

    def _service(self, rule: FirewallRule, versions: tuple[int, ...]) -> dict[int, tuple[Ranges, Rectangles]]:
        if rule.any_service:
            return _ANY_SERVICES
        if rule.services:
            items = _all_services(rule)
            return {version: services(items, version) for version in versions}
        key = tuple(map(id, rule.profiles))
        known = self._services.get(key)
        if known is None:
            items = _all_services(rule)
            known = self._services[key] = {version: services(items, version) for version in (4, 6)}
        return known


def check_family(warnings: Warnings, position: int, match: Match) -> None:
    """A rule that can match nothing because its parts speak of different families."""
    rule = warnings.config.firewall.rules[position]
    if match.families or not rule.enabled:
        return
    parts = {
        "the sources": _families(rule.any_source, rule.source_groups, rule.source_addresses),
        "the destinations": _families(rule.any_destination, rule.destination_groups, rule.destination_addresses),
        "the services": _service_families(rule),
    }
    if not all(parts.values()):
        return  # an empty group is the reason, and has its own warning
    shown = [f"ipProtocol is {rule.ip_protocol.value}"]
    shown += [f"{part} are IPv{min(family)} alone" for part, family in parts.items() if len(family) == 1]
    message = f"{rule_name(rule, position)} can match no packet: {', '.join(shown)}"
    warnings.add("FAMILY_MISMATCH", warnings.rule_path(position), message)


def _families(is_any: bool, groups: Iterable[FirewallGroup], inline: Iterable[AddressRange]) -> set[int]:
    if is_any:
        return {4, 6}
    return {item.version for group in groups for item in group.ranges} | {item.version for item in inline}


def _service_families(rule: FirewallRule) -> set[int]:
    protocols = {service.protocol for service in _all_services(rule)}
    if not protocols or protocols - {1, 58}:
        return {4, 6}
    return {4 if protocol == 1 else 6 for protocol in protocols}


def _all_services(rule: FirewallRule) -> list[Service]:
    return [*(service for profile in rule.profiles for service in profile.services), *rule.services]


def _check_shadows(warnings: Warnings, matches: list[Match]) -> None:
    rules = warnings.config.firewall.rules
    # The default rule always stands there; that nothing reaches it is what an allow-all rule is written for.
    parts = [
        match if rule.enabled and rule.section is not Section.DEFAULT else None
        for rule, match in zip(rules, matches, strict=True)
    ]
    covered, stopped = find_covered(parts, Budget(SHADOW_BUDGET))
    for position, by in covered.items():
        tell_shadowed(warnings, position, by)
    warnings.covered = None if stopped is not None else covered
    if stopped is not None:
        message = (
            f"the search for shadowed rules stopped at {rule_name(rules[stopped], stopped)}, after "
            f"{SHADOW_BUDGET:,} comparisons; later rules were not looked at"
        )
        warnings.add("SHADOWED_RULE", warnings.rule_path(stopped), message)


def tell_shadowed(warnings: Warnings, position: int, by: int) -> None:
    """A rule that an earlier one covers."""
    rules = warnings.config.firewall.rules
    rule, earlier = rules[position], rules[by]
    effect = "to the same effect" if rule.action is earlier.action else f"which says {earlier.action.value}"
    message = (
        f"{rule_name(rule, position)} can never match: {rule_name(earlier, by)} before it matches everything it "
        f"does, {effect}"
    )
    warnings.add("SHADOWED_RULE", warnings.rule_path(position), message)


def groups_of(rules: Iterable[FirewallRule]) -> Iterator[tuple[str, str]]:
    """Id and name of the groups that rules refer to: equal groups of two rules need not be the same object."""
    sides = (side for rule in rules for side in (rule.source_groups, rule.destination_groups))
    return ((group.id, group.name) for side in sides for group in side)


def tell_unused(warnings: Warnings, index: int) -> None:
    """A group that no rule refers to."""
    group = warnings.config.firewall.groups[index]
    warnings.add("UNUSED_GROUP", warnings.path("firewallGroups", index), f"no rule refers to {quoted(group.name)}")


def _check_groups(warnings: Warnings) -> None:
    firewall = warnings.config.firewall
    used = set(groups_of(firewall.rules))
    for index, group in enumerate(firewall.groups):
        path = warnings.path("firewallGroups", index)
        if (group.id, group.name) not in used:
            tell_unused(warnings, index)
        if not group.ranges and group.type_value != "VM_CRITERIA":
            reason = "a rule with it and nothing beside it on that side matches nothing"
            warnings.add("EMPTY_GROUP", path, f"{quoted(group.name)} has no addresses: {reason}")


class BlockedByProvider:
    """ALLOW rules for ports that the provider drops before the edge sees them."""

    def __init__(self, warnings: Warnings) -> None:
        self._warnings = warnings
        self._blocked = {item.protocol: item for item in warnings.config.options.provider_filter}
        self._known: dict[int, str] = {}

    def check(self, position: int) -> None:
        """One rule."""
        rule = self._warnings.config.firewall.rules[position]
        if not self._blocked or rule.action is not Action.ALLOW or not rule.enabled or rule.any_service:
            return
        shown: list[str] = []
        for profile in rule.profiles:
            if id(profile) not in self._known:
                self._known[id(profile)] = ", ".join(_blocked(profile.services, self._blocked))
            if self._known[id(profile)]:
                shown.append(f"{self._known[id(profile)]} of the profile {quoted(profile.name)}")
        shown += _blocked(rule.services, self._blocked)
        if shown and not _inside(self._warnings, rule):
            message = f"{rule_name(rule, position)} allows {', '.join(shown)}, which the provider blocks"
            self._warnings.add("PROVIDER_BLOCKED_PORT", self._warnings.rule_path(position), message)


def _blocked(items: Iterable[Service], blocked: dict[int, BlockedPorts]) -> list[str]:
    """Destination ports that lie wholly in a blocked range."""
    return [
        f"{_PROTOCOL_NAMES[service.protocol]} {ports}"
        for service in items
        if service.protocol in blocked
        for ports in service.destination_ports
        if any(wall.first <= ports.first and ports.last <= wall.last for wall in blocked[service.protocol].ports)
    ]


def _inside(warnings: Warnings, rule: FirewallRule) -> bool:
    """True for a rule between the edge's own networks, which no uplink carries."""
    own = [
        AddressRange.of_network(subnet.network)
        for network in warnings.config.routing.networks
        for subnet in network.subnets
    ]

    def within(groups: Iterable[FirewallGroup], inline: Iterable[AddressRange]) -> bool:
        ranges = [*(item for group in groups for item in group.ranges), *inline]
        return bool(ranges) and all(any(item.first in net and item.last in net for net in own) for item in ranges)

    return within(rule.source_groups, rule.source_addresses) and within(
        rule.destination_groups, rule.destination_addresses
    )


def _check_system_rules(warnings: Warnings) -> None:
    if warnings.loaded is None:
        return
    path = warnings.path("firewallRules", Section.SYSTEM.value)
    written = warnings.loaded.raw(path)
    if isinstance(written, dict):
        written = written.get("values")
    # Services generate system rules, and none that does is emulated: there is nothing that a rule could agree with.
    if written:
        names = ", ".join(quoted(rule["name"]) for rule in written[:3]) + (", ..." if len(written) > 3 else "")
        count = "1 system rule" if len(written) == 1 else f"{len(written):,} system rules"
        message = (
            f"the document has {count} ({names}) and the services that are on here generate none; system rules of a "
            "document are compared, not installed"
        )
        warnings.add("SYSTEM_RULES_DIFFER", path, message)
