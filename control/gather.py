"""What the planner needs to know of an edge, asked of the store with few queries."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from control import names
from control.machines import book
from control.objects.edge import EdgeGateway
from control.objects.firewall import FirewallRule
from control.objects.group import IpSet, SecurityGroup
from control.objects.ipsec import IpsecTunnel
from control.objects.load_balancer import LoadBalancerPool, VirtualService
from control.objects.nat import NatRule
from control.objects.network import Network
from control.objects.profile import ApplicationPortProfile
from control.objects.region import ProviderNetwork
from control.objects.routing import StaticRoute
from control.objects.values import Value
from control.planner import EdgeInputs, Item, MachineFacts, not_emulated
from control.store import Reader, Record

_ON_EDGE: dict[str, tuple[str, type[Value]]] = {
    "firewall_rule": ("firewall_rules", FirewallRule),
    "ip_set": ("ip_sets", IpSet),
    "security_group": ("security_groups", SecurityGroup),
    "application_port_profile": ("application_port_profiles", ApplicationPortProfile),
    "static_route": ("static_routes", StaticRoute),
    "ipsec_tunnel": ("ipsec_tunnels", IpsecTunnel),
    "load_balancer_pool": ("load_balancer_pools", LoadBalancerPool),
    "virtual_service": ("virtual_services", VirtualService),
}
"""Kind of what lies on an edge -> its place in the inputs, and its model."""


def inputs(reader: Reader, edge: str) -> EdgeInputs:
    """Everything that the document of an edge is made of.  Raises NoSuchObjectError."""
    record = reader.get(edge)
    value = record.value(EdgeGateway)
    found: dict[str, list[Any]] = defaultdict(list)
    for each in reader.inside(edge, _ON_EDGE):
        place, model = _ON_EDGE[each.kind]
        found[place].append(Item(each.path, each.value(model)))
    # Of those with the same priority the oldest is the first.
    nat_rules = sorted(reader.all("nat_rule", edge), key=lambda rule: (rule.created_ns, rule.path))
    return EdgeInputs(
        edge=Item(edge, value),
        nat_rules=[Item(each.path, each.value(NatRule)) for each in nat_rules],
        uplink=Item(value.provider_network, reader.get(value.provider_network).value(ProviderNetwork)),
        networks=[Item(each.path, each.value(Network)) for each in reader.users_of(edge, "network")],
        machines=list(_machines(reader, value.owner)) if _follows(found["security_groups"]) else (),
        **found,
    )


def left_out(reader: Reader, edges: Sequence[Record]) -> list[tuple[str, ...]]:
    """What the documents of edges leave out because edges do not emulate it, without making the documents."""
    paths = [edge.path for edge in edges]
    networks = reader.users_of_each(paths, "network")
    services = reader.inside_each(paths, ["ipsec_tunnel", "virtual_service"])
    return [
        not_emulated(
            Item(edge.path, edge.value(EdgeGateway)),
            # Most have nothing of the kind: they are not worth a closer look.
            [Item(each.path, each.value(Network)) for each in networks[edge.path] if each.body["dhcp"]["enabled"]],
            [Item(each.path, each.value(IpsecTunnel)) for each in services[edge.path] if each.kind == "ipsec_tunnel"],
            [
                Item(each.path, each.value(VirtualService))
                for each in services[edge.path]
                if each.kind == "virtual_service"
            ],
        )
        for edge in edges
    ]


def _follows(groups: Iterable[Item[SecurityGroup]]) -> bool:
    return any(group.value.vm_criteria for group in groups)


def _machines(reader: Reader, owner: str) -> Iterable[MachineFacts]:
    """The machines of a data center group; a data center alone has no groups that follow them."""
    if "/vdcGroups/" not in owner:
        return
    vdcs = reader.get(owner).body["vdcs"]
    got = book.addresses(reader, vdcs)
    for vdc in vdcs:
        for record in reader.all("machine", vdc):
            yield facts(record, got.get(record.path, {}))


def facts(machine: Record, got: Mapping[int, str]) -> MachineFacts:
    """What groups ask of a machine; it has the addresses, by card, of its connected interfaces."""
    body = machine.body
    addresses = tuple(address for number, address in got.items() if body["nics"][number]["connected"])
    return MachineFacts(machine.path, body["display_name"], tuple(body["tags"]), addresses)


def group_machines(reader: Reader, group: Record) -> list[MachineFacts]:
    """The machines of a security group, with those of their addresses that it stands for."""
    value = group.value(SecurityGroup)
    if value.vm_criteria:
        owner = reader.get(names.parent(group.path)).body["owner"]
        return [each for each in _machines(reader, owner) if value.has(each.display_name, each.tags)]
    on_them = book.on_networks(reader, value.members)
    inside = reader.inside_each({names.parent(path) for path in on_them}, ["machine"])
    found = []
    for record in (each for records in inside.values() for each in records if each.path in on_them):
        got = on_them[record.path]
        if any(record.body["nics"][number]["connected"] for number in got):
            found.append(facts(record, {number: address for number, address in got.items() if address}))
    return found


def groups_of(reader: Reader, vdc: str) -> list[str]:
    """The groups that have a data center.  An organization has few of them, a data center many that need it."""
    found = reader.all("vdc_group", names.organization(vdc))
    return [group.path for group in found if vdc in group.body["vdcs"]]


def following(reader: Reader, vdc: str) -> list[str]:
    """The edges with groups that machines of a data center may be in."""
    edges = (edge.path for group in groups_of(reader, vdc) for edge in reader.users_of(group, "edge_gateway"))
    return [
        edge for edge in edges if any(group.body["vm_criteria"] for group in reader.inside(edge, ["security_group"]))
    ]
