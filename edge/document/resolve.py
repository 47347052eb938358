"""Plain data to EdgeConfig: the order in which the parts of a document are validated and resolved."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Any, TypeVar

from edge.document import schema
from edge.document.context import Context, inert
from edge.document.firewall import FirewallResolver, default_rule
from edge.document.nat import NatResolver
from edge.document.options import resolve_options
from edge.document.problems import Finding, Findings, described, quoted
from edge.document.routing import RoutingResolver
from edge.document.validate import validate_list, validate_one
from edge.document.values import Values
from edge.firewall.config import FirewallConfig, Section
from edge.model import EdgeConfig
from edge.nat.config import NatConfig

T = TypeVar("T", bound=schema.Item)


@dataclass(frozen=True, slots=True)
class Resolved:
    """``config`` is None when one of the findings is an error.  ``sections``: canonical key → the author's own."""

    config: EdgeConfig | None
    findings: list[Finding]
    sections: dict[str, str]


def resolve(data: Any, allow_unsupported: bool) -> Resolved:
    """Hold a document against the schema and resolve it, collecting every problem."""
    findings = Findings()
    if not isinstance(data, dict):
        findings.error("WRONG_TYPE", (), f"a document is an object with the key 'edgeGateway', not {described(data)}")
        return Resolved(None, findings.items, {})
    sections = _sections(data, findings)
    canonical = {key: data[own] for key, own in sections.items()}
    shell = {own_key: value for own_key, value in data.items() if own_key not in schema.ENDPOINT_KEYS}
    validate_one(schema.Document, {"edgeGateway": None, **shell} if "edgeGateway" not in data else shell, (), findings)
    config = _Resolver(Context(findings, data, allow_unsupported), canonical, sections).run()
    return Resolved(None if findings.failed else config, findings.items, sections)


def _sections(data: dict[Any, Any], findings: Findings) -> dict[str, str]:
    """Canonical section → the key that the author used for it."""
    sections: dict[str, str] = {}
    for own in data:
        canonical = schema.ENDPOINT_KEYS.get(own, own)
        if canonical in sections:
            message = f"{quoted(own)} and {quoted(sections[canonical])} are the same section; a document has it once"
            findings.error("DUPLICATE_KEY", (own,), message, at_key=True)
        else:
            sections[canonical] = own
    return sections


class _Resolver:
    """One document on its way; each part is validated just before it is resolved."""

    def __init__(self, context: Context, canonical: dict[str, Any], sections: dict[str, str]) -> None:
        self.context = context
        self.data = canonical
        self.own = sections
        self.values = Values(context.findings)

    def run(self) -> EdgeConfig | None:
        findings = self.context.findings
        options_path = (self.own.get("options", "options"),)
        written = self.data.get("options")
        options_item = None
        if written is not None:
            options_item = validate_one(schema.Options, written, options_path, findings)
        options = resolve_options(options_item, options_path, self.context, self.values)

        edge, edge_id = self._edge()
        routing = RoutingResolver(self.context, self.values)
        routing_config = self._routing(routing, edge)
        firewall = FirewallResolver(self.context, self.values)
        firewall_config = self._firewall(firewall, routing)
        nat_items, nat_path = self._list("natRules", schema.NatRule)
        nat_rules = NatResolver(self.context, self.values, firewall, routing).resolve(nat_items, nat_path)
        self._sections_not_emulated()
        if edge is None or findings.failed:
            return None
        return EdgeConfig(edge_id, edge.name, routing_config, firewall_config, NatConfig(nat_rules), options)

    def _list(self, section: str, model: type[T]) -> tuple[list[T | None], tuple[str, ...]]:
        path = (self.own.get(section, section),)
        return validate_list(model, self.data.get(section), path, self.context.findings), path

    def _edge(self) -> tuple[schema.EdgeGateway | None, str]:
        if self.data.get("edgeGateway") is None:
            self.context.findings.error("MISSING_FIELD", ("edgeGateway",), "the field 'edgeGateway' is required")
            return None, ""
        findings = self.context.findings
        before = len(findings.items)
        item = validate_one(schema.EdgeGateway, self.data["edgeGateway"], ("edgeGateway",), findings)
        if item is None or len(findings.items) > before:
            return None, ""  # its name may be unknown now: no reference is held against it
        self.context.check_fields(item, ("edgeGateway",))
        return item, self.context.identify(item.id, "edgeGateway", item.name, ("edgeGateway",), Counter())

    def _routing(self, resolver: RoutingResolver, edge: schema.EdgeGateway | None) -> Any:
        uplinks_path = ("edgeGateway", "edgeGatewayUplinks")
        gateway = self.data.get("edgeGateway")
        written = gateway.get("edgeGatewayUplinks") if isinstance(gateway, dict) else None
        before = len(self.context.findings.items)
        uplinks = validate_list(schema.Uplink, written, uplinks_path, self.context.findings)
        networks, networks_path = self._list("orgVdcNetworks", schema.Network)
        resolver.complete = len(self.context.findings.items) == before
        routes, routes_path = self._list("staticRoutes", schema.StaticRoute)
        return resolver.resolve(edge, (uplinks, uplinks_path), (networks, networks_path), (routes, routes_path))

    def _firewall(self, resolver: FirewallResolver, routing: RoutingResolver) -> FirewallConfig:
        findings = self.context.findings
        group_items, path = self._list("firewallGroups", schema.FirewallGroup)
        groups = resolver.resolve_groups(group_items, path, routing.networks_index)
        profile_items, path = self._list("applicationPortProfiles", schema.ApplicationPortProfile)
        profiles = resolver.resolve_profiles(profile_items, path)
        own = self.own.get("firewallRules", "firewallRules")
        written = self.data.get("firewallRules")
        container = validate_one(schema.FirewallRules, written, (own,), findings) if written is not None else None
        rules = []
        if container is not None:
            # System rules arise from services; those of a document are held against the schema and not installed.
            validate_list(schema.FirewallRule, container.system_rules, (own, Section.SYSTEM.value), findings)
            for section, value in (
                (Section.USER, container.user_defined_rules),
                (Section.DEFAULT, container.default_rules),
            ):
                place = (own, section.value)
                items = validate_list(schema.FirewallRule, value, place, findings)
                rules += resolver.resolve_rules(items, section, place)
        if not any(rule.section is Section.DEFAULT for rule in rules):
            rules.append(default_rule())
        return FirewallConfig(tuple(rules), groups, profiles)

    def _sections_not_emulated(self) -> None:
        for section in schema.SECTIONS_NOT_EMULATED:
            value = self.data.get(section)
            own = self.own.get(section, section)
            if inert(value):
                continue
            if not isinstance(value, (dict, list)):
                message = f"expected an object or a list, not {described(value)}"
                self.context.findings.error("WRONG_TYPE", (own,), message)
                continue
            items = value.get("values") if isinstance(value, dict) else value
            if not isinstance(items, list):
                self.context.not_emulated((own,), f"the section {quoted(own)}", "the section is left out")
                continue
            for index, item in enumerate(items):
                name = item.get("name") if isinstance(item, dict) else None
                what = f"{quoted(name)} of {quoted(own)}" if isinstance(name, str) else f"an object of {quoted(own)}"
                if not inert(item):
                    self.context.not_emulated((own, index), what, "it is left out")
