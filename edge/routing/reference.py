"""Where a packet comes in and where its destination leads, decided one address at a time."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, auto
from ipaddress import IPv4Network, ip_network

from edge.addresses import AddressRange, IPAddress, IPNetwork
from edge.routing.config import Network, NetworkType, NextHop, RoutingConfig, StaticRoute, Uplink
from edge.verdicts import StepResult

MULTICAST = (ip_network("224.0.0.0/4"), ip_network("ff00::/8"), ip_network("255.255.255.255/32"))
UNSPECIFIED = (ip_network("0.0.0.0/32"), ip_network("::/128"))
# RFC 1812 5.3.7, RFC 4291 2.5.6: addresses that never cross a router.
NEVER_ROUTED = tuple(
    ip_network(text) for text in ("127.0.0.0/8", "0.0.0.0/8", "169.254.0.0/16", "::1/128", "::/128", "fe80::/10")
)
NEVER_A_SOURCE = (ip_network("224.0.0.0/4"), ip_network("240.0.0.0/4"), ip_network("ff00::/8"))


class PortKind(Enum):
    """What a port is attached to."""

    UPLINK = auto()
    DISTRIBUTED = auto()
    SERVICE = auto()  # a NON_DISTRIBUTED network, on a service interface of the edge
    ISOLATED = auto()


@dataclass(frozen=True, slots=True)
class Port:
    """A port by number and name.  ``subnets`` pairs each subnet with the edge's own address there, if it has one;
    ``allocated`` are the addresses that an uplink's subnets give to this edge, the primary ones included."""

    number: int
    name: str
    kind: PortKind
    subnets: tuple[tuple[IPNetwork, IPAddress | None], ...]
    allocated: tuple[AddressRange, ...] = ()

    @property
    def border(self) -> bool:
        """True where NAT is looked up."""
        return self.kind in (PortKind.UPLINK, PortKind.SERVICE)

    @property
    def side(self) -> int:
        """Part of a session's keys: what enters by an uplink is never taken for what enters by a network, and what
        enters by an isolated network belongs to no session at all."""
        return {PortKind.UPLINK: 1, PortKind.ISOLATED: 2}.get(self.kind, 0)

    def contains(self, address: IPAddress) -> bool:
        """True when the address is in a subnet of this port."""
        return any(address in network for network, _ in self.subnets)

    def answers_from(self, client: IPAddress) -> IPAddress | None:
        """The edge's own address towards a client: of its subnet if possible, else the first of its family."""
        own = [(network, own) for network, own in self.subnets if own is not None and own.version == client.version]
        nearest = [address for network, address in own if client in network]
        return next(iter(nearest or [address for _, address in own]), None)


@dataclass(frozen=True, slots=True)
class Route:
    """What ROUTE said: CONNECTED, STATIC, DEFAULT, LOCAL (with the port that has the address); or, without a port,
    MULTICAST, ISOLATED, NO_ROUTE."""

    result: StepResult
    port: Port | None = None


@dataclass(frozen=True, slots=True)
class Candidate:
    """A line of the routing table; of those that contain an address the first in order of ``rank`` wins."""

    rank: tuple[int, int, int]
    network: IPNetwork
    route: Route


class Routing:
    """The routing table of one configuration."""

    def __init__(self, config: RoutingConfig) -> None:
        uplinks = [uplink_port(number, uplink) for number, uplink in enumerate(config.uplinks)]
        networks = [network_port(number, network) for number, network in enumerate(config.networks, len(uplinks))]
        self.ports = (*uplinks, *networks)
        self._by_name = {port.name: port for port in self.ports}
        self._uplinks = uplinks
        self._isolated = [port for port in networks if port.kind is PortKind.ISOLATED]
        self._routed = [port for port in networks if port.kind is not PortKind.ISOLATED]
        self._connected = [*self._uplinks, *self._routed]
        self._broadcast = {
            network.broadcast_address
            for port in self._connected
            for network, _ in port.subnets
            if isinstance(network, IPv4Network) and network.prefixlen <= 30
        }
        self._table = sorted(self._candidates(config), key=lambda candidate: candidate.rank)

    def port(self, name: str) -> Port | None:
        """The port of that name, None if there is none."""
        return self._by_name.get(name)

    def route(self, destination: IPAddress, entered: Port, *, primary_is_local: bool) -> Route:
        """Where an address leads for a packet that entered by ``entered``.

        ``primary_is_local`` says that DNAT would leave the packet alone if it came in by the uplink: then an uplink's
        primary address is the edge itself for distributed networks too.  Every other address allocated to the edge
        leads them out to the provider's router, which sends the packet back in.
        """
        if self.is_multicast(destination):
            return Route(StepResult.MULTICAST)
        in_isolated = any(port.contains(destination) for port in self._isolated)
        if in_isolated and not any(port.contains(destination) for port in self._connected):
            return Route(StepResult.ISOLATED)
        for port in self._routed:
            if any(destination == own for _, own in port.subnets):
                return Route(StepResult.LOCAL, port)
        owner = self.owner(destination)
        if owner is not None:
            is_primary = any(destination == own for uplink in self._uplinks for _, own in uplink.subnets)
            if entered.border or (is_primary and primary_is_local):
                return Route(StepResult.LOCAL, owner)
            return Route(StepResult.CONNECTED, owner)
        for candidate in self._table:
            if destination in candidate.network:
                return candidate.route
        return Route(StepResult.NO_ROUTE)

    def owner(self, address: IPAddress) -> Port | None:
        """The uplink on which an address is allocated to this edge."""
        return next((port for port in self._uplinks if any(address in item for item in port.allocated)), None)

    def ingress(self, source: IPAddress) -> Port:
        """The smallest network, routed or isolated, that contains the source; else the first uplink."""
        holders = [
            (network.prefixlen, port)
            for port in (*self._routed, *self._isolated)
            for network, _ in port.subnets
            if source in network
        ]
        return max(holders, key=lambda holder: holder[0])[1] if holders else self.ports[0]

    def is_multicast(self, address: IPAddress) -> bool:
        """Multicast, limited broadcast, or the broadcast address of a subnet that is attached here."""
        return address in self._broadcast or any(address in network for network in MULTICAST)

    def _candidates(self, config: RoutingConfig) -> list[Candidate]:
        found = []
        for port in self._connected:
            for network, _ in port.subnets:
                found.append(Candidate((-network.prefixlen, 0, 0), network, Route(StepResult.CONNECTED, port)))
        for static in config.static_routes:
            hop = nearest_hop(static)
            rank = (-static.network.prefixlen, 1, hop.admin_distance)
            found.append(Candidate(rank, static.network, Route(StepResult.STATIC, self._next_hop_port(static, hop))))
        for everything in (ip_network("0.0.0.0/0"), ip_network("::/0")):
            speakers = [
                port
                for port in self._uplinks
                if any(network.version == everything.version for network, _ in port.subnets)
            ]
            found += [Candidate((0, 2, 0), everything, Route(StepResult.DEFAULT, port)) for port in speakers]
        return found

    def _next_hop_port(self, static: StaticRoute, hop: NextHop) -> Port:
        for port in self._connected:
            if hop.scope == port.name or (not hop.scope and port.contains(hop.address)):
                return port
        raise ValueError(f"next hop {hop.address} of static route {static.name!r} leads to no attached network")


def is_martian(source: IPAddress, destination: IPAddress) -> bool:
    """From or to an address that never crosses a router."""
    return any(source in network for network in (*NEVER_ROUTED, *NEVER_A_SOURCE)) or any(
        destination in network for network in NEVER_ROUTED
    )


def is_unspecified(address: IPAddress) -> bool:
    """0.0.0.0 or ::."""
    return any(address in network for network in UNSPECIFIED)


def nearest_hop(static: StaticRoute) -> NextHop:
    """The next hop with the lowest administrative distance, the first of equals."""
    return min(static.next_hops, key=lambda hop: hop.admin_distance)


def uplink_port(number: int, uplink: Uplink) -> Port:
    """An uplink as a port."""
    allocated = [item for subnet in uplink.subnets for item in subnet.ranges]
    allocated += [AddressRange(own, own) for own in (subnet.primary for subnet in uplink.subnets) if own is not None]
    subnets = tuple((subnet.network, subnet.primary) for subnet in uplink.subnets)
    return Port(number, uplink.name, PortKind.UPLINK, subnets, tuple(allocated))


def network_port(number: int, network: Network) -> Port:
    """A network as a port."""
    if network.type is NetworkType.ISOLATED:
        kind = PortKind.ISOLATED
    else:
        kind = PortKind.DISTRIBUTED if network.distributed else PortKind.SERVICE
    return Port(number, network.name, kind, tuple((subnet.network, subnet.gateway) for subnet in network.subnets))
