"""From what tenants have to the document of an edge: pure, the same inputs always make the same bytes.

Objects are told by ids that come of their resource names, so that a rename or another order is seen as what it is.
Their names are the display names, except where two in a section would be the same.  Networks, groups, profiles and
routes stand in the order of their resource names, NAT rules in that in which they were made, firewall rules in their
own.  Descriptions and comments change nothing of what an edge does and stay here.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache, lru_cache
from ipaddress import ip_interface
from itertools import chain, count
from typing import Any, Generic, TypeVar

from control import names
from control.objects.edge import EdgeGateway
from control.objects.firewall import FirewallRule, Layer4Item
from control.objects.group import IpSet, SecurityGroup
from control.objects.ipsec import IpsecTunnel
from control.objects.load_balancer import LoadBalancerPool, VirtualService
from control.objects.nat import NatRule
from control.objects.network import Network
from control.objects.profile import ApplicationPort, ApplicationPortProfile
from control.objects.region import ProviderNetwork
from control.objects.routing import NextHop, StaticRoute
from control.objects.values import Value
from edge.firewall.system_profiles import system_profile_names

V_co = TypeVar("V_co", bound=Value, covariant=True)

_NAMESPACE = uuid.UUID("a2a4b9e2-5d0c-5a0e-8a6e-3c1d5f6f0b44")
"""Of the ids in documents; it never changes."""

RULES = "firewallRules.userDefinedRules"


@dataclass(frozen=True, slots=True)
class Item(Generic[V_co]):
    """An object: its resource name and what is said of it."""

    name: str
    value: V_co


@dataclass(frozen=True, slots=True)
class MachineFacts:
    """What dynamic groups ask of a machine."""

    name: str
    display_name: str
    tags: tuple[str, ...]
    addresses: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class EdgeInputs:
    """Everything that the document of an edge is made of; firewall and NAT rules in order, the rest in any."""

    edge: Item[EdgeGateway]
    uplink: Item[ProviderNetwork]
    networks: Sequence[Item[Network]] = ()
    firewall_rules: Sequence[Item[FirewallRule]] = ()
    nat_rules: Sequence[Item[NatRule]] = ()
    ip_sets: Sequence[Item[IpSet]] = ()
    security_groups: Sequence[Item[SecurityGroup]] = ()
    application_port_profiles: Sequence[Item[ApplicationPortProfile]] = ()
    static_routes: Sequence[Item[StaticRoute]] = ()
    ipsec_tunnels: Sequence[Item[IpsecTunnel]] = ()
    load_balancer_pools: Sequence[Item[LoadBalancerPool]] = ()
    virtual_services: Sequence[Item[VirtualService]] = ()
    machines: Sequence[MachineFacts] = ()


@dataclass(frozen=True, slots=True)
class Plan:
    """A document, see docs/config.md.  ``not_emulated``: what was left out because edges do not emulate it yet.
    ``objects``: section of the document -> the resource names of its objects, in their order there."""

    document: dict[str, Any]
    not_emulated: tuple[str, ...]
    objects: Mapping[str, tuple[str, ...]] = field(compare=False)


@lru_cache(maxsize=1 << 16)
def object_id(name: str) -> str:
    """The id in documents of an object with a resource name.  A pure value: that it is remembered is seen by nobody."""
    return str(uuid.uuid5(_NAMESPACE, name))


def plan(inputs: EdgeInputs) -> Plan:
    """The document of an edge."""
    return _Planner(inputs).plan()


@cache
def _shipped() -> frozenset[str]:
    return frozenset(system_profile_names())


class _Planner:
    """One plan on its way."""

    def __init__(self, inputs: EdgeInputs) -> None:
        self._inputs = inputs
        self._uplink = inputs.uplink.value.display_name
        self._networks = _sorted(inputs.networks)
        self._groups: list[Item[IpSet | SecurityGroup]] = [
            *_sorted(inputs.ip_sets), *_sorted(inputs.security_groups),
        ]  # fmt: skip
        self._profiles = _sorted(inputs.application_port_profiles)
        # The profiles that VMware ships are told by their names alone: no other may have one of these.
        self._names = {
            **_called(self._networks, {self._uplink}),
            **_called(self._groups, ()),
            **_called(self._profiles, _shipped()),
        }
        self._machines = sorted(inputs.machines, key=lambda machine: machine.name)

    def plan(self) -> Plan:
        inputs = self._inputs
        routes = _sorted(inputs.static_routes)
        document: dict[str, Any] = {
            "edgeGateway": self._edge(),
            "orgVdcNetworks": [self._network(item) for item in self._networks],
            "firewallGroups": [self._group(item) for item in self._groups],
            "applicationPortProfiles": [self._profile(item) for item in self._profiles],
            "firewallRules": {
                "userDefinedRules": [self._firewall_rule(item) for item in inputs.firewall_rules],
                "defaultRules": [self._default_rule()],
            },
            "natRules": [self._nat_rule(item) for item in inputs.nat_rules],
            "staticRoutes": [self._route(item) for item in routes],
            "options": _in_order(inputs.edge.value.options),
        }
        objects = {
            "orgVdcNetworks": _names_of(self._networks),
            "firewallGroups": _names_of(self._groups),
            "applicationPortProfiles": _names_of(self._profiles),
            RULES: _names_of(inputs.firewall_rules),
            "natRules": _names_of(inputs.nat_rules),
            "staticRoutes": _names_of(routes),
        }
        left_out = not_emulated(inputs.edge, inputs.networks, inputs.ipsec_tunnels, inputs.virtual_services)
        return Plan(document, left_out, objects)

    def _edge(self) -> dict[str, Any]:
        item, uplink = self._inputs.edge, self._inputs.uplink
        router = ip_interface(uplink.value.gateway_cidr)
        subnet: dict[str, Any] = {"gateway": str(router.ip), "prefixLength": router.network.prefixlen}
        addresses = [str(address) for address in item.value.public_addresses]
        if addresses:
            subnet["ipRanges"] = [{"startAddress": each, "endAddress": each} for each in addresses]
            subnet["primaryIp"] = addresses[0]
        return {
            "id": object_id(item.name),
            "name": item.value.display_name,
            "edgeGatewayUplinks": [
                {"uplinkId": object_id(uplink.name), "uplinkName": self._uplink, "subnets": [subnet]}
            ],
        }

    def _network(self, item: Item[Network]) -> dict[str, Any]:
        subnets = []
        for gateway in item.value.gateway_cidrs:
            interface = ip_interface(gateway)
            subnets.append({"gateway": str(interface.ip), "prefixLength": interface.network.prefixlen})
        connection = str(item.value.connection_type or "INTERNAL")
        return {
            **self._head(item),
            "networkType": "NAT_ROUTED",
            "connection": {"connectionTypeValue": connection},
            "subnets": subnets,
        }

    def _group(self, item: Item[IpSet | SecurityGroup]) -> dict[str, Any]:
        head, value = self._head(item), item.value
        if isinstance(value, IpSet):
            return {**head, "typeValue": "IP_SET", "ipAddresses": list(value.ip_addresses)}
        if not value.vm_criteria:
            members = [self._reference(name) for name in value.members]
            return {**head, "typeValue": "STATIC_MEMBERS", "members": members}
        # The edge knows no machines: it is given the addresses of those that fit.
        fitting = (machine for machine in self._machines if value.has(machine.display_name, machine.tags))
        addresses = dict.fromkeys(address for machine in fitting for address in machine.addresses)
        return {**head, "typeValue": "IP_SET", "ipAddresses": list(addresses)}

    def _profile(self, item: Item[ApplicationPortProfile]) -> dict[str, Any]:
        return {**self._head(item), "applicationPorts": [_port(port) for port in item.value.application_ports]}

    def _firewall_rule(self, item: Item[FirewallRule]) -> dict[str, Any]:
        value = item.value
        rule: dict[str, Any] = {
            "id": object_id(item.name), "name": value.display_name, "enabled": value.enabled,
            "actionValue": value.action_value, "direction": value.direction, "ipProtocol": value.ip_protocol,
            "logging": value.logging,
        }  # fmt: skip
        lists = {
            "sourceFirewallGroups": [self._reference(name) for name in value.source_firewall_groups],
            "destinationFirewallGroups": [self._reference(name) for name in value.destination_firewall_groups],
            "sourceFirewallIpAddresses": list(value.source_firewall_ip_addresses),
            "destinationFirewallIpAddresses": list(value.destination_firewall_ip_addresses),
            "applicationPortProfiles": [self._profile_reference(name) for name in value.application_port_profiles],
            "rawPortProtocols": [{"layer4Item": _port(raw.layer4_item)} for raw in value.raw_port_protocols],
        }
        return {**rule, **{key: entries for key, entries in lists.items() if entries}}

    def _default_rule(self) -> dict[str, Any]:
        edge = self._inputs.edge
        return {
            "id": object_id(f"{edge.name}/defaultRule"), "name": "default_rule",
            "actionValue": str(edge.value.default_action), "logging": edge.value.default_logging,
        }  # fmt: skip

    def _nat_rule(self, item: Item[NatRule]) -> dict[str, Any]:
        value = item.value
        rule: dict[str, Any] = {
            "id": object_id(item.name), "name": value.display_name, "enabled": value.enabled, "type": value.type,
            "firewallMatch": value.firewall_match, "priority": value.priority, "logging": value.logging,
        }  # fmt: skip
        texts = {
            "externalAddresses": value.external_addresses,
            "internalAddresses": value.internal_addresses,
            "dnatExternalPort": value.dnat_external_port,
            "snatDestinationAddresses": value.snat_destination_addresses,
        }
        rule.update({key: text for key, text in texts.items() if text})
        if value.application_port_profile:
            rule["applicationPortProfile"] = self._profile_reference(value.application_port_profile)
        return rule

    def _route(self, item: Item[StaticRoute]) -> dict[str, Any]:
        return {
            "id": object_id(item.name),
            "name": item.value.display_name,
            "networkCidr": item.value.network_cidr,
            "nextHops": [self._next_hop(hop) for hop in item.value.next_hops],
        }

    def _next_hop(self, hop: NextHop) -> dict[str, Any]:
        found: dict[str, Any] = {"ipAddress": hop.ip_address, "adminDistance": hop.admin_distance}
        if hop.scope:
            found["scope"] = {**self._reference(hop.scope), "scopeType": "NETWORK"}
        return found

    def _head(self, item: Item[Value]) -> dict[str, Any]:
        return {"id": object_id(item.name), "name": self._names[item.name]}

    def _reference(self, name: str) -> dict[str, str]:
        """One that leads nowhere stays one: the edge's own check tells of it."""
        return {"name": self._names.get(name, names.last(name)), "id": object_id(name)}

    def _profile_reference(self, name: str) -> str | dict[str, str]:
        if name.startswith(names.SYSTEM_PROFILES):
            return name.removeprefix(names.SYSTEM_PROFILES)
        return self._reference(name)


def not_emulated(
    edge: Item[EdgeGateway],
    networks: Sequence[Item[Network]],
    tunnels: Sequence[Item[IpsecTunnel]],
    services: Sequence[Item[VirtualService]],
) -> tuple[str, ...]:
    """What is asked for and has no place in documents yet, because edges do not emulate it."""
    found = [f"{edge.name} dns"] if edge.value.dns.enabled else []
    found += [text for item in _sorted(networks) for text in not_emulated_of(item)]
    found += [item.name for item in _sorted(tunnels) if item.value.enabled]
    return (*found, *(item.name for item in _sorted(services) if item.value.enabled))


def not_emulated_of(network: Item[Network]) -> list[str]:
    """The same of one network, whether an edge routes for it or not."""
    return [f"{network.name} dhcp"] if network.value.dhcp.enabled else []


def _sorted(items: Sequence[Item[V_co]]) -> list[Item[V_co]]:
    return sorted(items, key=lambda item: item.name)


def _names_of(items: Iterable[Item[Value]]) -> tuple[str, ...]:
    return tuple(item.name for item in items)


def _called(items: Iterable[Item[Any]], taken: Iterable[str]) -> dict[str, str]:
    """Resource name -> name in the document: the display name, or else the id, or that and a number."""
    used, called = set(taken), {}
    for item in items:
        id = names.last(item.name)
        candidates = chain((item.value.display_name, id), (f"{id} {number}" for number in count(2)))
        called[item.name] = next(name for name in candidates if name not in used)
        used.add(called[item.name])
    return called


def _port(port: ApplicationPort | Layer4Item) -> dict[str, Any]:
    found: dict[str, Any] = {"protocol": port.protocol}
    if isinstance(port, ApplicationPort):
        if port.name:
            found["name"] = port.name
    elif port.source_ports:
        found["sourcePorts"] = list(port.source_ports)
    if port.destination_ports:
        found["destinationPorts"] = list(port.destination_ports)
    return found


def _in_order(value: Any) -> Any:
    """JSON values with one order of keys."""
    if isinstance(value, Mapping):
        return {key: _in_order(value[key]) for key in sorted(value)}
    return [_in_order(entry) for entry in value] if isinstance(value, (list, tuple)) else value
