"""A document in full: the defaults of what is emulated filled in, every object with its id, secrets masked.

What its author wrote stays, in the author's spelling and under the author's keys; read again, it is the same
configuration.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, fields
from enum import StrEnum
from typing import Any

from pydantic.alias_generators import to_camel

from edge.document import LoadedDocument
from edge.document.values import PROTOCOLS
from edge.firewall.config import ApplicationPortProfile, FirewallGroup, FirewallRule, Section
from edge.masking import masked
from edge.model import Options
from edge.nat.config import NatRule
from edge.routing.config import Network, NetworkType, StaticRoute, Uplink

Data = dict[str, Any]

_PROTOCOL_NAMES = {number: name for name, number in PROTOCOLS.items()}


def complete(loaded: LoadedDocument) -> Data:
    """Plain data of the complete document."""
    config = loaded.config
    document = masked(loaded.document)
    rules: dict[str, list[FirewallRule]] = {section.value: [] for section in Section}
    for rule in config.firewall.rules:
        rules[rule.section.value].append(rule)
    gateway = document["edgeGateway"]
    gateway["edgeGatewayUplinks"] = _listed(
        gateway.get("edgeGatewayUplinks"), config.routing.uplinks, _uplink, id_key="uplinkId"
    )
    document["edgeGateway"] = {"id": config.id, **_without(gateway, "id")}

    def key(section: str) -> str:
        return str(loaded.path(section)[0])

    sections: list[tuple[str, Sequence[Any], Callable[[Data, Any], Data]]] = [
        ("orgVdcNetworks", config.routing.networks, _network),
        ("firewallGroups", config.firewall.groups, _group),
        ("applicationPortProfiles", config.firewall.profiles, _profile),
        ("natRules", config.nat.rules, _nat_rule),
        ("staticRoutes", config.routing.static_routes, _static_route),
    ]
    for section, objects, defaults in sections:
        document[key(section)] = _listed(document.get(key(section)), objects, defaults)
    written = document.get(key("firewallRules")) or {}
    for part in (Section.USER.value, Section.DEFAULT.value):
        written = written | {part: _listed(written.get(part), rules[part], _rule)}
    document[key("firewallRules")] = written
    document[key("options")] = _options(config.options, document.get(key("options")) or {})
    return dict(document)


def _listed(written: Any, objects: Sequence[Any], defaults: Callable[[Data, Any], Data], *, id_key: str = "id") -> Any:
    """A list, bare or wrapped as it was, of objects with their ids first and defaults for what is not given."""
    items = written.get("values") if isinstance(written, dict) else written
    if not items:
        items = [{"name": item.name} for item in objects]  # the default rule of a document without one
    found = []
    for raw, item in zip(items, objects, strict=True):
        given = {name: value for name, value in raw.items() if value is not None}
        found.append({id_key: item.id} | _without(given, id_key) | _without(defaults(given, item), *given))
    return written | {"values": found} if isinstance(written, dict) else found


def _without(value: Mapping[str, Any], *names: str) -> Data:
    return {key: inner for key, inner in value.items() if key not in names}


def _subnets(raw: Data, objects: Sequence[Any], defaults: Callable[[Any], Data]) -> None:
    """Complete the subnets of an uplink in place: they are copies already."""
    written = raw.get("subnets")
    items = written.get("values") if isinstance(written, dict) else written
    for subnet, item in zip(items or (), objects, strict=True):
        for name, value in defaults(item).items():
            if subnet.get(name) in (None, ""):
                subnet[name] = value


def _uplink(raw: Data, item: Uplink) -> Data:
    _subnets(raw, item.subnets, lambda subnet: {"primaryIp": str(subnet.primary)} if subnet.primary else {})
    return {"subnets": [], "connected": True}


def _network(raw: Data, item: Network) -> Data:
    found: Data = {"networkType": item.type.value, "subnets": []}
    if item.type is NetworkType.NAT_ROUTED:
        connection = raw.setdefault("connection", {})
        if not connection.get("connectionType") or connection["connectionType"] == item.connection.value:
            connection["connectionTypeValue"] = connection.get("connectionTypeValue") or item.connection.value
    return found


def _group(_: Data, item: FirewallGroup) -> Data:
    return {"typeValue": item.type_value}


def _profile(_: Data, item: ApplicationPortProfile) -> Data:
    return {"scope": item.scope}


def _rule(_: Data, item: FirewallRule) -> Data:
    return {
        "actionValue": item.action.value,
        "direction": item.direction.value,
        "ipProtocol": item.ip_protocol.value,
        "enabled": item.enabled,
        "logging": item.logging,
    }


def _nat_rule(_: Data, item: NatRule) -> Data:
    return {
        "type": item.type.value,
        "firewallMatch": item.firewall_match.value,
        "priority": item.priority,
        "enabled": item.enabled,
        "logging": item.logging,
    }


def _static_route(raw: Data, item: StaticRoute) -> Data:
    written = raw.get("nextHops")
    items = written.get("values") if isinstance(written, dict) else written
    for hop, known in zip(items or (), item.next_hops, strict=True):
        if hop.get("adminDistance") is None:
            hop["adminDistance"] = known.admin_distance
    return {}


def _options(options: Options, written: Data) -> Data:
    found: Data = {"natTieBreak": "LIST_ORDER"}
    for item in fields(Options):
        value = getattr(options, item.name)
        if item.name == "timers":
            value = {to_camel(name): seconds for name, seconds in asdict(value).items()}
        elif item.name == "provider_filter":
            value = [
                {"protocol": _PROTOCOL_NAMES[wall.protocol], "ports": [str(port) for port in wall.ports]}
                for wall in value
            ]
        elif item.name == "snat_port_range":
            value = str(value)
        if value is not None:
            found[to_camel(item.name)] = value.value if isinstance(value, StrEnum) else value
    kept = {name: value for name, value in written.items() if name not in found and value is not None}
    return found | kept
