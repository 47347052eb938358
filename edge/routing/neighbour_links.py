"""What the edge is on the links behind its ports, decided one address at a time: the readable reference of
``edge/routing/links.py`` and ``native/nexthop.pxd``."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum, auto
from ipaddress import IPv4Address, IPv6Address, ip_network

from edge.addresses import AddressRange, IPAddress, IPNetwork
from edge.nat.config import NatConfig, NatType
from edge.routing.config import NetworkType, NextHop, RoutingConfig, StaticRoute
from edge.routing.neighbour_frames import link_local_of

LINK_LOCAL = ip_network("fe80::/10")
LIMITED_BROADCAST = IPv4Address("255.255.255.255")


class Lead(Enum):
    """Where a packet goes if to no neighbour."""

    NOWHERE = auto()
    GROUP = auto()


@dataclass(frozen=True, slots=True)
class LinkSubnet:
    """A subnet of a port; ``own`` is the edge's address in it, ``gateway`` the provider's router, ``ranges`` are what
    is allocated to the edge."""

    network: IPNetwork
    own: IPAddress | None
    gateway: IPAddress | None = None
    ranges: tuple[AddressRange, ...] = ()

    @property
    def broadcast(self) -> IPAddress | None:
        """None where there is none: IPv6, and IPv4 without room for one (RFC 3021)."""
        has_one = self.network.version == 4 and self.network.prefixlen <= 30
        return self.network.broadcast_address if has_one else None


class Links:
    """Ports by number: uplinks, then networks; isolated ones are not attached."""

    def __init__(self, routing: RoutingConfig, nat: NatConfig) -> None:
        self.subnets: list[list[LinkSubnet]] = [
            [LinkSubnet(subnet.network, subnet.primary, subnet.gateway, subnet.ranges) for subnet in uplink.subnets]
            for uplink in routing.uplinks
        ]
        self.isolated: set[int] = set()
        for network in routing.networks:
            if network.type is NetworkType.ISOLATED:
                self.isolated.add(len(self.subnets))
                self.subnets.append([])
            else:
                self.subnets.append([LinkSubnet(subnet.network, subnet.gateway) for subnet in network.subnets])
        self._isolated_subnets = [
            subnet.network
            for network in routing.networks
            if network.type is NetworkType.ISOLATED
            for subnet in network.subnets
        ]
        self._uplinks = len(routing.uplinks)
        self._names = [*(uplink.name for uplink in routing.uplinks), *(network.name for network in routing.networks)]
        self._routes = routing.static_routes
        self._external = [
            rule.external
            for rule in nat.rules
            if rule.enabled
            and rule.external is not None
            and rule.type in (NatType.DNAT, NatType.SNAT, NatType.REFLEXIVE)
        ]

    def subnet_of(self, port: int, address: IPAddress) -> LinkSubnet | None:
        """The first subnet of the port that contains the address."""
        return next((subnet for subnet in self.subnets[port] if address in subnet.network), None)

    def is_station(self, port: int, address: IPAddress) -> bool:
        """True for what one machine on the link can be called."""
        if address in LINK_LOCAL:
            return True
        subnet = self.subnet_of(port, address)
        if subnet is None:
            return False
        return subnet.broadcast is None or address not in (subnet.network.network_address, subnet.broadcast)

    def is_mine(self, port: int, mac: bytes, address: IPAddress) -> bool:
        """True for what the edge answers for on this link."""
        if port in self.isolated:
            return False
        if address in LINK_LOCAL:
            return address == link_local_of(mac) and self.speaks_ipv6(port)
        return any(address in subnet.network and self._owns(port, subnet, address) for subnet in self.subnets[port])

    def _owns(self, port: int, subnet: LinkSubnet, address: IPAddress) -> bool:
        if port >= self._uplinks:
            return address == subnet.own
        if address == subnet.gateway or not self.is_host(subnet, address):
            return False
        return address == subnet.own or any(address in owned for owned in (*subnet.ranges, *self._external))

    def answered(self, port: int) -> Iterator[IPAddress]:
        """The addresses that the edge answers for on a link, IPv4 first, in order; without the link-local one."""
        for version in (4, 6):
            starts = [
                (int(item.first), int(item.last))
                for subnet in self.subnets[port]
                if subnet.network.version == version
                for item in self._candidates(port, subnet)
                if item.version == version
            ]
            at = 0
            for first, last in sorted(starts):
                for number in range(max(at, first), last + 1):
                    address = IPv4Address(number) if version == 4 else IPv6Address(number)
                    if any(address in s.network and self._owns(port, s, address) for s in self.subnets[port]):
                        yield address
                at = max(at, last + 1)

    def _candidates(self, port: int, subnet: LinkSubnet) -> list[AddressRange]:
        own = [] if subnet.own is None else [AddressRange(subnet.own, subnet.own)]
        if port >= self._uplinks:
            return own
        whole = AddressRange.of_network(subnet.network)
        return [item for item in (*own, *subnet.ranges, *self._external) if item.overlaps(whole)]

    @staticmethod
    def is_host(subnet: LinkSubnet, address: IPAddress) -> bool:
        """False for what an IPv4 subnet keeps for itself."""
        return subnet.broadcast is None or address not in (subnet.network.network_address, subnet.broadcast)

    def speaks_ipv6(self, port: int) -> bool:
        """True when the port has a subnet of IPv6."""
        return any(subnet.network.version == 6 for subnet in self.subnets[port])

    def own_address(self, port: int, mac: bytes, neighbour: IPAddress) -> IPAddress:
        """What the edge calls itself when it asks for a neighbour: its address in that subnet, else the port's first or
        0.0.0.0, or the link-local one."""
        subnet = self.subnet_of(port, neighbour)
        if subnet is not None and subnet.own is not None:
            return subnet.own
        if neighbour.version == 6:
            return link_local_of(mac)
        owns = (item.own for item in self.subnets[port] if item.own is not None and item.own.version == 4)
        return next(owns, IPv4Address(0))

    def is_gateway(self, port: int, address: IPAddress) -> bool:
        """True for a router that the configuration itself names."""
        hops = [hop for route in self._routes for hop in route.next_hops if self._port_of(hop) == port]
        return any(address == hop.address for hop in hops) or any(
            address == subnet.gateway for subnet in self.subnets[port]
        )

    def next_hop(self, port: int, destination: IPAddress) -> IPAddress | Lead:
        """The neighbour that a packet which leaves by ``port`` is given to."""
        if destination == LIMITED_BROADCAST or destination.is_multicast:
            return Lead.GROUP
        if destination in LINK_LOCAL:
            return destination
        out, lead = self._route(destination)
        return lead if out == port else self._detour(port, destination)

    def _route(self, destination: IPAddress) -> tuple[int | None, IPAddress | Lead]:
        """The routing table: what is the edge's own, the longest prefix, the default route."""
        everything = [(port, subnet) for port, subnets in enumerate(self.subnets) for subnet in subnets]
        for port, subnet in reversed(everything):
            if destination == subnet.broadcast:
                return port, Lead.GROUP
        for port, subnet in reversed(everything):
            if port >= self._uplinks and destination == subnet.own:
                return port, Lead.NOWHERE
        uplinks = [(port, subnet) for port, subnet in everything if port < self._uplinks and subnet.gateway is not None]
        owned = [(port, subnet) for port, subnet in uplinks if destination == subnet.own]
        owned += [(port, subnet) for port, subnet in uplinks if any(destination in item for item in subnet.ranges)]
        if owned:
            return owned[0][0], owned[0][1].gateway or Lead.NOWHERE
        connected = [(subnet.network, port) for port, subnet in everything if destination in subnet.network]
        if not connected and any(destination in network for network in self._isolated_subnets):
            return None, Lead.NOWHERE
        static = sorted(
            (-route.network.prefixlen, nearest_hop(route).admin_distance, order)
            for order, route in enumerate(self._routes)
            if destination in route.network
        )
        longest = max((network.prefixlen for network, _ in connected), default=-1)
        if static and -static[0][0] > longest:
            hop = nearest_hop(self._routes[static[0][2]])
            return self._port_of(hop), hop.address
        if connected:
            return [port for network, port in connected if network.prefixlen == longest][-1], destination
        for port, subnet in uplinks:
            if subnet.network.version == destination.version and subnet.gateway is not None:
                return port, subnet.gateway
        return None, Lead.NOWHERE

    def _detour(self, port: int, destination: IPAddress) -> IPAddress | Lead:
        """By another port than the routing table says: the link itself, a static route there, the provider's router."""
        if self.subnet_of(port, destination) is not None:
            return destination
        hops = sorted(
            (-route.network.prefixlen, hop.admin_distance, order, number)
            for order, route in enumerate(self._routes)
            for number, hop in enumerate(route.next_hops)
            if destination in route.network and self._port_of(hop) == port
        )
        if hops:
            return self._routes[hops[0][2]].next_hops[hops[0][3]].address
        gateways = (subnet.gateway for subnet in self.subnets[port] if subnet.network.version == destination.version)
        return next((gateway for gateway in gateways if gateway is not None), Lead.NOWHERE)

    def _port_of(self, hop: NextHop) -> int:
        """The port that a next hop's scope names, else the first one whose link it is on."""
        for port, name in enumerate(self._names):
            if hop.scope == name or (not hop.scope and self.subnet_of(port, hop.address) is not None):
                return port
        raise ValueError(f"next hop {hop.address} is in no connected subnet")


def nearest_hop(route: StaticRoute) -> NextHop:
    """The next hop with the lowest administrative distance, the first of equals."""
    return min(route.next_hops, key=lambda hop: hop.admin_distance)
