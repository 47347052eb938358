"""What the edge is on the links behind its ports → flat tables: subnets, addresses to answer for, routers.  Pure.

An uplink is emulated as an Ethernet segment that it shares with the provider's router.  There the edge answers for
every address that it owns, because nothing else leads the provider to them: allocated ones, and external ones of NAT
rules.  On a network it answers for its gateway addresses.  An isolated network is not attached: no rows.
"""

from __future__ import annotations

from dataclasses import dataclass

from edge.addresses import AddressRange, IPAddress, IPNetwork, merge_ranges
from edge.nat.config import NatConfig, NatType
from edge.routing.compile import hop_ports, subtract
from edge.routing.config import NetworkType, RoutingConfig, Uplink, UplinkSubnet

OWNING = (NatType.DNAT, NatType.SNAT, NatType.REFLEXIVE)
"""Rules whose external addresses are the edge's own; NO_DNAT only names some."""


@dataclass(frozen=True, slots=True)
class LinkSubnet:
    """A subnet on a port; addresses as integers.  ``own`` is the edge's address, ``gateway`` the provider's router."""

    port: int
    family: int
    first: int
    last: int
    own: int | None
    gateway: int | None
    has_broadcast: bool


@dataclass(frozen=True, slots=True)
class Reach:
    """A range on a port: one to answer for (``hop`` 0), or one that a static route leads to by the router ``hop``."""

    port: int
    family: int
    first: int
    last: int
    hop: int = 0


@dataclass(frozen=True, slots=True)
class LinkTables:
    """Rows sorted by port.  Those to answer for are disjoint and sorted by family and address within it; detours, which
    are looked at when the routing table leads elsewhere, by length of the prefix and distance."""

    subnets: list[LinkSubnet]
    answered: list[Reach]
    detours: list[Reach]


def compile_links(routing: RoutingConfig, nat: NatConfig) -> LinkTables:
    """Flatten what is on the links."""
    networks = list(enumerate(routing.networks, len(routing.uplinks)))
    attached = [(port, network) for port, network in networks if network.type is NetworkType.NAT_ROUTED]
    subnets = [
        link_subnet(port, subnet.network, subnet.primary, subnet.gateway)
        for port, uplink in enumerate(routing.uplinks)
        for subnet in uplink.subnets
    ]
    subnets += [
        link_subnet(port, subnet.network, subnet.gateway, None)
        for port, network in attached
        for subnet in network.subnets
    ]
    external = [
        rule.external for rule in nat.rules if rule.enabled and rule.type in OWNING and rule.external is not None
    ]
    answered = [
        Reach(port, owned.version, int(owned.first), int(owned.last))
        for port, uplink in enumerate(routing.uplinks)
        for owned in answered_on(uplink, external)
    ]
    answered += [
        Reach(port, own.version, int(own.first), int(own.last))
        for port, network in attached
        for own in merge_ranges(AddressRange(subnet.gateway, subnet.gateway) for subnet in network.subnets)
    ]
    return LinkTables(subnets, answered, detours(routing))


def link_subnet(port: int, network: IPNetwork, own: IPAddress | None, gateway: IPAddress | None) -> LinkSubnet:
    """A row; only IPv4 subnets with room for one have a broadcast address (RFC 3021)."""
    return LinkSubnet(
        port,
        network.version,
        int(network.network_address),
        int(network.broadcast_address),
        None if own is None else int(own),
        None if gateway is None else int(gateway),
        network.version == 4 and network.prefixlen <= 30,
    )


def answered_on(uplink: Uplink, external: list[AddressRange]) -> tuple[AddressRange, ...]:
    """What the edge owns in the subnets of an uplink, but for what stands for the provider's router or for all."""
    return merge_ranges(
        piece
        for subnet in uplink.subnets
        for owned in merge_ranges(inside(subnet, external))
        for piece in subtract(owned, not_ours(subnet))
    )


def inside(subnet: UplinkSubnet, external: list[AddressRange]) -> list[AddressRange]:
    """Primary, allocated and external addresses as far as they are in the subnet."""
    whole = AddressRange.of_network(subnet.network)
    candidates = [*subnet.ranges, *external]
    if subnet.primary is not None:
        candidates.append(AddressRange(subnet.primary, subnet.primary))
    first, last = int(whole.first), int(whole.last)
    make = type(whole.first)
    return [
        AddressRange(make(max(int(item.first), first)), make(min(int(item.last), last)))
        for item in candidates
        if item.overlaps(whole)
    ]


def not_ours(subnet: UplinkSubnet) -> list[AddressRange]:
    """The provider's router, and what an IPv4 subnet keeps for itself."""
    network = subnet.network
    taken = [subnet.gateway]
    if network.version == 4 and network.prefixlen <= 30:
        taken += [network.network_address, network.broadcast_address]
    return [AddressRange(address, address) for address in taken]


def detours(routing: RoutingConfig) -> list[Reach]:
    """Every next hop of every static route, by port; of one port the longest prefixes first, then the nearest hops."""
    port_of = hop_ports(routing)
    found = [
        (port_of(hop), -route.network.prefixlen, hop.admin_distance, order, route.network, hop.address)
        for order, route in enumerate(routing.static_routes)
        for hop in route.next_hops
    ]
    found.sort(key=lambda item: item[:4])
    return [
        Reach(port, network.version, int(network.network_address), int(network.broadcast_address), int(address))
        for port, _, _, _, network, address in found
    ]
