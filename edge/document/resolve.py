"""Plain data to EdgeConfig: the order in which the parts of a document are validated and resolved."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, TypeVar

from pydantic_core import PydanticCustomError

from edge.document import schema, services
from edge.document.context import Context, inert
from edge.document.firewall import FirewallResolver, default_rule
from edge.document.nat import NatResolver
from edge.document.options import resolve_options
from edge.document.problems import Finding, Findings, Path, described, quoted
from edge.document.routing import RoutingResolver
from edge.document.schema import PAGE_COUNTS
from edge.document.text import MAX_DEPTH
from edge.document.validate import validate_list, validate_one
from edge.document.values import Values
from edge.firewall.config import FirewallConfig, Section
from edge.model import EdgeConfig
from edge.nat.config import NatConfig

T = TypeVar("T", bound=schema.Item)


@dataclass(frozen=True, slots=True)
class Parts:
    """What resolving left behind, for a document that differs only in a few rules; see :mod:`edge.document.again`."""

    routing: RoutingResolver
    firewall: FirewallResolver


@dataclass(frozen=True, slots=True)
class Resolved:
    """``config`` is None when one of the findings is an error.  ``sections``: canonical key → the author's own."""

    config: EdgeConfig | None
    findings: list[Finding]
    sections: dict[str, str]
    parts: Parts | None = None


def resolve(data: Any, allow_unsupported: bool) -> Resolved:
    """Hold a document against the schema and resolve it, collecting every problem."""
    findings = Findings()
    if not isinstance(data, dict):
        findings.error("WRONG_TYPE", (), f"a document is an object with the key 'edgeGateway', not {described(data)}")
        return Resolved(None, findings.items, {})
    sections = _sections(data, findings)
    canonical = {key: data[own] for key, own in sections.items()}
    resolver = _Resolver(Context(findings, data, allow_unsupported), canonical, sections)
    config = resolver.run()
    for path, message in cut_lists(data, sections):
        findings.warning("INCOMPLETE_LIST", path, message)
    return Resolved(None if findings.failed else config, findings.items, sections, resolver.parts)


def _sections(data: dict[Any, Any], findings: Findings) -> dict[str, str]:
    """Canonical section → the key that the author used for it; sections with an id in their key are their own."""
    sections: dict[str, str] = {}
    for own in data:
        if not isinstance(own, str):
            findings.error("WRONG_TYPE", (own,), f"a key must be a text, not {described(own)}", at_key=True)
            continue
        section = services.section_of(own)
        if section is None:
            message = f"no such section{findings.nearest(own, services.KNOWN_KEYS)}"
            findings.error("UNKNOWN_FIELD", (own,), message, at_key=True)
            continue
        canonical = own if "{id}" in section else section
        if canonical in sections:
            message = f"{quoted(own)} and {quoted(sections[canonical])} are the same section; a document has it once"
            findings.error("DUPLICATE_KEY", (own,), message, at_key=True)
        else:
            sections[canonical] = own
    return sections


def cut_lists(data: dict[Any, Any], sections: dict[str, str]) -> Iterator[tuple[Path, str]]:
    """Lists of the API's of which the document has one page and not the whole: path and message of each."""
    pending: list[tuple[Path, Any]] = [
        ((own,), data[own]) for own in sections.values() if services.section_of(own) not in services.CARRIED
    ]
    while pending:
        path, node = pending.pop()
        if len(path) > MAX_DEPTH:
            continue
        if isinstance(node, dict):
            held = node.get("values")
            if isinstance(held, list) and not PAGE_COUNTS.isdisjoint(node):
                total, pages = (node.get(key) for key in ("resultTotal", "pageCount"))
                if isinstance(total, int) and total > len(held):
                    yield path, f"the list has {len(held)} of {total:,} objects (resultTotal); the others are missing"
                elif isinstance(pages, int) and pages > 1:
                    message = f"the list has one of {pages:,} pages (pageCount), {len(held)} objects"
                    yield path, f"{message}; those of the other pages are missing"
            pending += [((*path, key), inner) for key, inner in node.items() if isinstance(inner, (dict, list))]
        elif isinstance(node, list):
            pending += [((*path, index), inner) for index, inner in enumerate(node) if isinstance(inner, (dict, list))]


class _Resolver:
    """One document on its way; each part is validated just before it is resolved."""

    def __init__(self, context: Context, canonical: dict[str, Any], sections: dict[str, str]) -> None:
        self.context = context
        self.data = canonical
        self.own = sections
        self.values = Values(context.findings)
        self.parts: Parts | None = None

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
        self.parts = Parts(routing, firewall)
        firewall_config = self._firewall(firewall, routing)
        nat_items, nat_path = self._list("natRules", schema.NatRule)
        nat_rules = NatResolver(self.context, self.values, firewall, routing).resolve(nat_items, nat_path)
        self._other_sections()
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
        if item.gateway_backing is not None:
            self.context.check_fields(item.gateway_backing, ("edgeGateway", "gatewayBacking"))
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
            # System rules arise from services: those of a document are looked at and not installed.
            place = (own, Section.SYSTEM.value)
            resolver.check_system_rules(
                validate_list(schema.FirewallRule, container.system_rules, place, findings), place
            )
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

    def _other_sections(self) -> None:
        for own in self.own.values():
            section = services.section_of(own) or own
            if section in schema.SECTIONS:
                continue
            try:
                schema.not_too_deep(self.data[own if "{id}" in section else section])
            except PydanticCustomError as error:
                self.context.findings.error(error.type, (own,), error.message())
                continue
            if section not in services.CARRIED:
                self._section_not_emulated(section, own, self.data[own if "{id}" in section else section])

    def _section_not_emulated(self, section: str, own: str, value: Any) -> None:
        shape = services.NOT_EMULATED[section]
        services.check_fields(value, shape, (own,), self.context.findings)
        if inert(value) or (isinstance(value, dict) and "values" not in value and not PAGE_COUNTS.isdisjoint(value)):
            return  # counts without their list: that has been told
        if not isinstance(value, (dict, list)):
            message = f"expected an object or a list, not {described(value)}"
            self.context.findings.error("WRONG_TYPE", (own,), message)
            return
        items = value.get("values") if isinstance(value, dict) else value
        if not isinstance(items, list):
            self.context.not_emulated((own,), f"the section {quoted(own)}", "the section is left out")
            return
        for index, item in enumerate(items):
            name = item.get("name") if isinstance(item, dict) else None
            what = f"{quoted(name)} of {quoted(own)}" if isinstance(name, str) else f"an object of {quoted(own)}"
            if not inert(item):
                self.context.not_emulated((own, index), what, "it is left out")
