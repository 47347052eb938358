"""Firewall groups, application port profiles and firewall rules: from schema objects to the model."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, Final

from edge.addresses import AddressRange, PortRange, merge_ranges
from edge.document import schema
from edge.document.context import Context, Index, generated_id, inert
from edge.document.problems import Path, quoted, with_article
from edge.document.services import VM_CRITERIA, check_fields
from edge.document.values import PROTOCOLS, Values
from edge.firewall.config import (
    EMULATED_ALGS,
    Action,
    ApplicationPortProfile,
    Direction,
    FirewallGroup,
    FirewallRule,
    IpProtocol,
    Section,
    Service,
)
from edge.routing.config import Network

MAX_USER_RULES: Final = 1000
MAX_REFERENCES: Final = 128
"""CloudAPI's counts: user rules of an edge, references of one list of one rule."""

_ACTIONS = {action.value: action for action in Action}
_DIRECTIONS: dict[str | None, Direction] = {None: Direction.IN_OUT, **{d.value: d for d in Direction}}
_FAMILIES: dict[str | None, IpProtocol] = {None: IpProtocol.IPV4_IPV6, **{p.value: p for p in IpProtocol}}


class ProfileIndex(Index[ApplicationPortProfile]):
    """Profiles of the document; by name also those that VMware ships, which the document's own take precedence over."""

    def __init__(self) -> None:
        super().__init__("application port profile")
        self.shipped: dict[str, ApplicationPortProfile] = {}

    def by_name_elsewhere(self, name: str) -> Sequence[ApplicationPortProfile]:
        """The shipped profile of that name.  Their table is imported when a document first needs it."""
        if name not in self.shipped:
            from edge.firewall.system_profiles import system_profile

            found = system_profile(name)
            if found is None:
                return ()
            self.shipped[name] = found
        return (self.shipped[name],)

    def elsewhere_hint(self, name: str) -> str:
        """Ids of shipped profiles are each installation's own."""
        return (
            f"VMware ships a profile with the name {quoted(name)}: refer to it by the name without an id, or add the "
            "answer of applicationPortProfiles, which has the id, to the document"
        )


@dataclass(slots=True)
class FirewallResolver:
    """Resolves in the order groups, profiles, rules."""

    context: Context
    values: Values
    groups: Index[FirewallGroup] = field(default_factory=lambda: Index("firewall group"))
    profiles: ProfileIndex = field(default_factory=ProfileIndex)
    not_for_nat: dict[str, str] = field(default_factory=dict)
    """Profiles of the document that NAT cannot use: id → why not."""
    _alg_told: set[str] = field(default_factory=set)

    def resolve_groups(
        self, items: Sequence[schema.FirewallGroup | None], path: Path, networks: Index[Network]
    ) -> tuple[FirewallGroup, ...]:
        """The document's groups, members turned into their networks' subnets."""
        seen: Counter[str] = Counter()
        names: dict[tuple[str, str], int] = {}
        resolved = []
        for i, item in enumerate(items):
            if item is None:
                self.groups.complete = False
                continue
            group = self._group(item, (*path, i), seen, networks)
            key = (group.type_value, group.name)
            if group.type_value and key in names:
                other = self.context.shown_path((*path, names[key]))
                message = f"{other} is {with_article(group.type_value)} group with the name {quoted(group.name)} too"
                self.context.findings.error("DUPLICATE_NAME", (*path, i, "name"), message)
            names.setdefault(key, i)
            self.groups.add(group.id, group.name, group)
            resolved.append(group)
        return tuple(resolved)

    def _group(
        self, item: schema.FirewallGroup, path: Path, seen: Counter[str], networks: Index[Network]
    ) -> FirewallGroup:
        context, findings = self.context, self.context.findings
        kind, old = (_group_type(item.type_value), _group_type(item.type))
        if kind and old and kind != old:
            findings.error("CONFLICT", (*path, "typeValue"), f"type says {item.type}, typeValue says {item.type_value}")
        kind = kind or old
        if kind is None:
            findings.missing(path, "typeValue", "type")
        check_fields(item.vm_criteria, VM_CRITERIA, (*path, "vmCriteria"), findings)
        id = context.identify(item.id, "firewallGroups", item.name, path, seen)
        ranges: list[AddressRange] = []
        members: list[str] = []
        belongs = {"IP_SET": "ip_addresses", "STATIC_MEMBERS": "members", "VM_CRITERIA": "vm_criteria"}
        for type_value, name in belongs.items():
            if kind is not None and kind != type_value and not inert(getattr(item, name)):
                alias = schema.FirewallGroup.model_fields[name].alias or name
                message = f"{quoted(alias)} belongs to {type_value} groups; this is {with_article(kind)} group"
                findings.error("CONFLICT", (*path, alias), message)
        for i, text in enumerate(item.ip_addresses or ()):
            found = self.values.range(text, (*path, "ipAddresses", i))
            if found is not None:
                ranges.append(found)
        for i, reference in enumerate(item.members or ()):
            network = networks.find(reference, (*path, "members", i), findings)
            if network is not None:
                members.append(network.name)
                ranges += [AddressRange.of_network(subnet.network) for subnet in network.subnets]
        if kind == "VM_CRITERIA":
            context.not_emulated((*path, "typeValue"), "a VM_CRITERIA group", "the group has no addresses")
        return FirewallGroup(id, item.name, kind or "", merge_ranges(ranges), tuple(members))

    def resolve_profiles(
        self, items: Sequence[schema.ApplicationPortProfile | None], path: Path
    ) -> tuple[ApplicationPortProfile, ...]:
        """The document's profiles."""
        seen: Counter[str] = Counter()
        names: dict[tuple[str, str], int] = {}
        resolved = []
        for i, item in enumerate(items):
            if item is None:
                self.profiles.complete = False
                continue
            profile = self._profile(item, (*path, i), seen)
            key = (profile.scope, profile.name)
            if key in names:
                other = self.context.shown_path((*path, names[key]))
                message = f"{other} is a {profile.scope} profile with the name {quoted(profile.name)} too"
                self.context.findings.error("DUPLICATE_NAME", (*path, i, "name"), message)
            names.setdefault(key, i)
            self.profiles.add(profile.id, profile.name, profile)
            resolved.append(profile)
        return tuple(resolved)

    def _profile(self, item: schema.ApplicationPortProfile, path: Path, seen: Counter[str]) -> ApplicationPortProfile:
        findings = self.context.findings
        id = self.context.identify(item.id, "applicationPortProfiles", item.name, path, seen)
        if not item.application_ports:
            findings.error("MISSING_FIELD", (*path, "applicationPorts"), "a profile needs an application port")
        services = [
            self._service(port, (*path, "applicationPorts", i)) for i, port in enumerate(item.application_ports or ())
        ]
        written = [text for port in item.application_ports or () for text in port.destination_ports or ()]
        if item.usable_for_nat is False:
            self.not_for_nat[id] = "it says so itself (usableForNAT)"
        elif len(written) > 1:
            # Counted as written: what is joined for matching, such as 8080 and 8081, is two entries to NSX.
            self.not_for_nat[id] = f"it has {len(written)} destination ports, and one is all NAT can use"
        alg = ""
        if item.scope == "SYSTEM":
            # NSX ties a helper to its own services.  A pasted SYSTEM profile is such a service: its ports are taken
            # from the document, its helper from the shipped one of that name.
            shipped = self.profiles.by_name_elsewhere(item.name)
            alg = next((found.alg for found in shipped), "")
        found_all = tuple(service for service in services if service)
        return ApplicationPortProfile(id, item.name, item.scope or "TENANT", found_all, alg)

    def _service(self, item: schema.ApplicationPort | schema.Layer4Item, path: Path) -> Service | None:
        sides = []
        for alias, texts in (
            ("destinationPorts", item.destination_ports),
            ("sourcePorts", getattr(item, "source_ports", None)),
        ):
            if texts and item.protocol not in ("TCP", "UDP"):
                self.context.findings.error("CONFLICT", (*path, alias), f"{item.protocol} has no ports")
            ports = [self.values.ports(text, (*path, alias, i)) for i, text in enumerate(texts or ())]
            sides.append(_merge_ports([port for port in ports if port]))
        return Service(PROTOCOLS[item.protocol], sides[0], sides[1])

    def check_system_rules(self, items: Sequence[schema.FirewallRule | None], path: Path) -> None:
        """Look up what system rules refer to.  They are compared, not installed: nothing is made of them."""
        for i, item in enumerate(items):
            if item is not None:
                place = (*path, i)
                self._references(item.source_firewall_groups, self.groups, place, "sourceFirewallGroups")
                self._references(item.destination_firewall_groups, self.groups, place, "destinationFirewallGroups")
                self._references(item.application_port_profiles, self.profiles, place, "applicationPortProfiles")

    def resolve_rules(
        self, items: Sequence[schema.FirewallRule | None], section: Section, path: Path
    ) -> list[FirewallRule]:
        """The rules of one list, in order."""
        if section is Section.USER:
            self.context.limit(path, len(items), MAX_USER_RULES, "user-defined rules")
        seen: Counter[str] = Counter()
        resolved = []
        for i, item in enumerate(items):
            if item is not None:
                resolved.append(self.rule(item, section, (*path, i), seen))
        return resolved

    def rule(self, item: schema.FirewallRule, section: Section, path: Path, seen: Counter[str]) -> FirewallRule:
        """One rule; ``seen`` counts the names of those before it."""
        context = self.context
        id = context.identify(item.id, section.value, item.name, path, seen)
        if not item.NOT_EMULATED.keys().isdisjoint(item.model_fields_set):
            context.check_fields(item, path)
        action = item.action_value or item.action
        if action is None:
            context.findings.missing(path, "actionValue", "action")
            action = "DROP"
        # The older 'action' knows no REJECT: an answer of the API has DROP there beside it.
        if item.action and item.action != action and (item.action, action) != ("DROP", "REJECT"):
            message = f"action says {item.action}, actionValue says {action}"
            context.findings.error("CONFLICT", (*path, "actionValue"), message)
        return FirewallRule(
            id,
            item.name,
            section,
            _ACTIONS[action],
            _DIRECTIONS[item.direction],
            _FAMILIES[item.ip_protocol],
            enabled(context, item.enabled, item.active, path),
            item.logging is True,
            self._references(item.source_firewall_groups, self.groups, path, "sourceFirewallGroups"),
            self._addresses(item.source_firewall_ip_addresses, path, "sourceFirewallIpAddresses"),
            self._references(item.destination_firewall_groups, self.groups, path, "destinationFirewallGroups"),
            self._addresses(item.destination_firewall_ip_addresses, path, "destinationFirewallIpAddresses"),
            self._profiles_of(item.application_port_profiles, path) if item.application_port_profiles else (),
            self._raw_services(item.raw_port_protocols, path) if item.raw_port_protocols else (),
        )

    def _references(
        self, references: list[schema.AnyReference] | None, index: Index[Any], path: Path, alias: str
    ) -> tuple[Any, ...]:
        if not references:
            return ()
        if len(references) > MAX_REFERENCES:
            self.context.limit((*path, alias), len(references), MAX_REFERENCES, "references in one rule")
        return index.find_all(references, (*path, alias), self.context.findings)

    def _profiles_of(
        self, references: list[schema.AnyReference] | None, path: Path
    ) -> tuple[ApplicationPortProfile, ...]:
        found = self._references(references, self.profiles, path, "applicationPortProfiles")
        for profile in found:
            if profile.alg:
                self.check_alg(profile, (*path, "applicationPortProfiles"))
        return found

    def check_alg(self, profile: ApplicationPortProfile, path: Path) -> None:
        """Report, once for each profile, a helper that would open further connections and does not here."""
        if profile.alg and profile.alg not in EMULATED_ALGS and profile.id not in self._alg_told:
            self._alg_told.add(profile.id)
            what = f"the {profile.alg} application layer gateway of the profile {quoted(profile.name)}"
            self.context.not_emulated(path, what, "the profile matches its own port alone")

    def _addresses(self, texts: list[str] | None, path: Path, alias: str) -> tuple[AddressRange, ...]:
        if not texts:
            return ()
        found = [self.values.range(text, (*path, alias, i)) for i, text in enumerate(texts)]
        return tuple(item for item in found if item is not None)

    def _raw_services(self, items: list[schema.RawPortProtocol], path: Path) -> tuple[Service, ...]:
        found = [
            self._service(item.layer4_item, (*path, "rawPortProtocols", i, "layer4Item"))
            for i, item in enumerate(items)
        ]
        return tuple(item for item in found if item is not None)


def enabled(context: Context, old: bool | None, new: bool | None, path: Path) -> bool:
    """``enabled`` and its newer name ``active``; true when neither is given."""
    if old is not None and new is not None and old != new:
        context.findings.error("CONFLICT", (*path, "active"), "'enabled' says the opposite")
    return (new if old is None else old) is not False


def default_rule() -> FirewallRule:
    """What stands at the end of a document that says nothing of a default: VCD's own DROP."""
    id = generated_id(Section.DEFAULT.value, "default_rule", 0)
    return FirewallRule(id, "default_rule", Section.DEFAULT, Action.DROP)


def _group_type(value: str | None) -> str | None:
    return "STATIC_MEMBERS" if value == "SECURITY_GROUP" else value


def _merge_ports(ports: list[PortRange]) -> tuple[PortRange, ...]:
    """The same ports, sorted and joined; a list that is in order already, as nearly all are, is kept as written."""
    if all(a.last + 1 < b.first for a, b in pairwise(ports)):
        return tuple(ports)
    merged: list[PortRange] = []
    for port in sorted(ports, key=lambda p: (p.first, p.last)):
        if merged and port.first <= merged[-1].last + 1:
            merged[-1] = PortRange(merged[-1].first, max(merged[-1].last, port.last))
        else:
            merged.append(port)
    return tuple(merged)
