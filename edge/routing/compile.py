"""Routing configuration → flat tables.  Pure: no state, no native code."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import IntEnum

from edge.addresses import AddressRange, IPAddress, IPNetwork, merge_ranges
from edge.routing.config import ConnectionType, Network, NetworkType, NextHop, RoutingConfig

Interval = tuple[int, int]
"""(start, value): the value holds from start up to the next interval's start."""


class PortKind(IntEnum):
    """What a port is; numbers of ``native/kinds.pxd``."""

    UPLINK = 0
    DISTRIBUTED = 1
    SERVICE = 2
    ISOLATED = 3


class RouteKind(IntEnum):
    """What a route leads to; numbers of ``native/kinds.pxd``."""

    CONNECTED = 0
    STATIC = 1
    DEFAULT = 2
    GATEWAY = 3
    OWNED = 4
    PRIMARY = 5
    ISOLATED = 6
    BROADCAST = 7


NOWHERE = 0xFFFFFFFF


@dataclass(frozen=True, slots=True)
class RoutingTables:
    """``route_maps[f]`` leads from an address of family f (0 IPv4, 1 IPv6) to a row of ``routes``;
    ``ingress_maps[f]`` from a source address to the port it enters by."""

    port_kinds: list[PortKind]
    own_addresses: list[list[tuple[int, int, int, int]]]
    """Per port (family 4 or 6, first and last address of the subnet, the edge's own address there)."""
    routes: list[tuple[RouteKind, int]]
    next_hops: list[int | None]
    """Per route the router behind its port, None where the destination itself is the neighbour."""
    route_maps: tuple[list[Interval], list[Interval]]
    ingress_maps: tuple[list[Interval], list[Interval]]
    default_port: int


def port_kind(network: Network) -> PortKind:
    """The kind of a network's port."""
    if network.type is NetworkType.ISOLATED:
        return PortKind.ISOLATED
    return PortKind.SERVICE if network.connection is ConnectionType.NON_DISTRIBUTED else PortKind.DISTRIBUTED


def paint(layers: Iterable[tuple[AddressRange, int]], version: int) -> list[Interval]:
    """Flatten overlapping ranges of one family: a later layer covers the earlier ones."""
    mine = [(int(r.first), int(r.last) + 1, value) for r, value in layers if r.version == version]
    starts = sorted({0, *(edge for first, end, _ in mine for edge in (first, end))})
    values = [NOWHERE] * len(starts)
    for first, end, value in mine:
        low, high = bisect_left(starts, first), bisect_left(starts, end)
        values[low:high] = [value] * (high - low)
    past = 1 << (32 if version == 4 else 128)
    merged: list[Interval] = []
    for start, value in zip(starts, values, strict=True):
        if start < past and (not merged or merged[-1][1] != value):
            merged.append((start, value))
    return merged


def compile_routing(config: RoutingConfig) -> RoutingTables:
    """Resolve every precedence of ``docs/pipeline.md`` (own addresses, longest prefix, distance) into one map."""
    rows: dict[tuple[RouteKind, int, IPAddress | None], int] = {}

    def row(kind: RouteKind, port: int, hop: IPAddress | None = None) -> int:
        return rows.setdefault((kind, port, hop), len(rows))

    networks = list(enumerate(config.networks, len(config.uplinks)))
    connected = [
        (AddressRange.of_network(subnet.network), port)
        for port, uplink in enumerate(config.uplinks)
        for subnet in uplink.subnets
    ]
    connected += [
        (AddressRange.of_network(subnet.network), port)
        for port, network in networks
        if network.type is NetworkType.NAT_ROUTED
        for subnet in network.subnets
    ]
    # A later layer covers the earlier ones: the default, then prefixes from short to long, of equal ones the connected
    # subnet last and before it the static route of least distance.
    prefixes = [
        (covered.size.bit_length(), 0, -order, covered, row(RouteKind.STATIC, port, hop))
        for order, (covered, port, hop) in enumerate(static_routes(config))
    ]
    prefixes += [
        (covered.size.bit_length(), 1, 0, covered, row(RouteKind.CONNECTED, port)) for covered, port in connected
    ]
    prefixes.sort(key=lambda item: (-item[0], item[1], item[2]))
    layers = [(whole, row(RouteKind.DEFAULT, port, hop)) for whole, port, hop in default_routes(config)]
    layers += [(covered, number) for _, _, _, covered, number in prefixes]
    layers += [
        (piece, row(RouteKind.ISOLATED, port))
        for port, network in networks
        if network.type is NetworkType.ISOLATED
        for subnet in network.subnets
        for piece in subtract(AddressRange.of_network(subnet.network), [covered for covered, _ in connected])
    ]
    layers += [(covered, row(kind, port, hop)) for covered, kind, port, hop in own_layers(config)]
    ingress = [
        (AddressRange.of_network(subnet.network), port) for port, network in networks for subnet in network.subnets
    ]
    ingress.sort(key=lambda item: -item[0].size)
    return RoutingTables(
        port_kinds=[PortKind.UPLINK] * len(config.uplinks) + [port_kind(network) for network in config.networks],
        own_addresses=own_addresses(config),
        routes=[(kind, port) for kind, port, _ in rows],
        next_hops=[None if hop is None else int(hop) for _, _, hop in rows],
        route_maps=(paint(layers, 4), paint(layers, 6)),
        ingress_maps=(paint(ingress, 4), paint(ingress, 6)),
        default_port=0,
    )


def default_routes(config: RoutingConfig) -> list[tuple[AddressRange, int, IPAddress]]:
    """Everything of a family goes out by the first uplink that speaks it, to the provider's router there."""
    found: dict[int, tuple[AddressRange, int, IPAddress]] = {}
    for port, uplink in enumerate(config.uplinks):
        for subnet in uplink.subnets:
            whole = AddressRange.of_network(subnet.network.supernet(new_prefix=0))
            found.setdefault(subnet.network.version, (whole, port, subnet.gateway))
    return list(found.values())


def static_routes(config: RoutingConfig) -> list[tuple[AddressRange, int, IPAddress]]:
    """Ranges, ports and next hops of the static routes, the preferred ones first; of each its nearest hop."""
    port_of = hop_ports(config)
    nearest = [
        (min(route.next_hops, key=lambda hop: hop.admin_distance), AddressRange.of_network(route.network))
        for route in config.static_routes
    ]
    nearest.sort(key=lambda item: item[0].admin_distance)
    return [(covered, port_of(hop), hop.address) for hop, covered in nearest]


def hop_ports(config: RoutingConfig) -> Callable[[NextHop], int]:
    """What finds the port of a next hop: by its scope, else by its address; ValueError for one that leads nowhere."""
    ports = [(uplink.name, [subnet.network for subnet in uplink.subnets]) for uplink in config.uplinks]
    ports += [
        (network.name, [subnet.network for subnet in network.subnets] if network.type is NetworkType.NAT_ROUTED else [])
        for network in config.networks
    ]

    def port_of(hop: NextHop) -> int:
        for number, (name, subnets) in enumerate(ports):
            if hop.scope == name or (not hop.scope and any(hop.address in subnet for subnet in subnets)):
                return number
        raise ValueError(f"next hop {hop.address} is in no connected subnet")

    return port_of


def subtract(whole: AddressRange, parts: list[AddressRange]) -> list[AddressRange]:
    """``whole`` without what ``parts`` cover."""
    pieces = []
    start = int(whole.first)
    make = type(whole.first)
    for part in merge_ranges(part for part in parts if part.overlaps(whole)):
        if int(part.first) > start:
            pieces.append(AddressRange(make(start), make(int(part.first) - 1)))
        start = int(part.last) + 1
    if start <= int(whole.last):
        pieces.append(AddressRange(make(start), whole.last))
    return pieces


def own_layers(config: RoutingConfig) -> list[tuple[AddressRange, RouteKind, int, IPAddress | None]]:
    """Addresses that are not simply forwarded to: allocated ones, the edge's own, broadcasts; the strongest last.  What
    goes to an uplink's addresses from inside goes to the provider's router, which sends it back."""
    networks = list(enumerate(config.networks, len(config.uplinks)))
    routed = [(port, network) for port, network in networks if network.type is NetworkType.NAT_ROUTED]
    uplinks = list(enumerate(config.uplinks))[::-1]
    found: list[tuple[AddressRange, RouteKind, int, IPAddress | None]] = [
        (allocated, RouteKind.OWNED, port, subnet.gateway)
        for port, uplink in uplinks
        for subnet in uplink.subnets
        for allocated in subnet.ranges
    ]
    found += [
        (AddressRange(subnet.primary, subnet.primary), RouteKind.PRIMARY, port, subnet.gateway)
        for port, uplink in uplinks
        for subnet in uplink.subnets
        if subnet.primary is not None
    ]
    found += [
        (AddressRange(inner.gateway, inner.gateway), RouteKind.GATEWAY, port, None)
        for port, network in routed
        for inner in network.subnets
    ]
    subnets = [(port, subnet.network) for port, uplink in uplinks for subnet in uplink.subnets]
    subnets += [(port, inner.network) for port, network in routed for inner in network.subnets]
    found += [
        (AddressRange(network.broadcast_address, network.broadcast_address), RouteKind.BROADCAST, port, None)
        for port, network in subnets
        if network.version == 4 and network.prefixlen <= 30
    ]
    return found


def own_addresses(config: RoutingConfig) -> list[list[tuple[int, int, int, int]]]:
    """Per port the addresses that the edge answers from, with the subnets they stand in."""

    def row(network: IPNetwork, own: IPAddress) -> tuple[int, int, int, int]:
        return network.version, int(network.network_address), int(network.broadcast_address), int(own)

    rows = [
        [row(subnet.network, subnet.primary) for subnet in uplink.subnets if subnet.primary is not None]
        for uplink in config.uplinks
    ]
    rows += [[row(subnet.network, subnet.gateway) for subnet in network.subnets] for network in config.networks]
    return rows
