"""Where packets can come from and go to: uplinks, networks, static routes."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from edge.addresses import AddressRange, IPAddress, IPNetwork


@dataclass(frozen=True, slots=True)
class UplinkSubnet:
    """One subnet of an uplink.  ``gateway`` is the provider's router; ``ranges`` are the addresses allocated to this
    edge; ``primary`` is the edge's own address there (None when the subnet allocates none)."""

    gateway: IPAddress
    network: IPNetwork
    ranges: tuple[AddressRange, ...] = ()
    primary: IPAddress | None = None


@dataclass(frozen=True, slots=True)
class Uplink:
    """A connection to the provider; its name is the name of a port."""

    id: str
    name: str
    subnets: tuple[UplinkSubnet, ...]


class NetworkType(StrEnum):
    """ISOLATED networks are not attached to the edge."""

    NAT_ROUTED = "NAT_ROUTED"
    ISOLATED = "ISOLATED"


class ConnectionType(StrEnum):
    """INTERNAL and DISTRIBUTED networks are routed by the distributed router; NON_DISTRIBUTED ones hang on a service
    interface of the edge itself."""

    INTERNAL = "INTERNAL"
    DISTRIBUTED = "DISTRIBUTED"
    NON_DISTRIBUTED = "NON_DISTRIBUTED"


@dataclass(frozen=True, slots=True)
class Subnet:
    """One subnet of a network; ``gateway`` is the edge's own address in it."""

    gateway: IPAddress
    network: IPNetwork


@dataclass(frozen=True, slots=True)
class Network:
    """An organization network; its name is the name of a port."""

    id: str
    name: str
    type: NetworkType
    connection: ConnectionType
    subnets: tuple[Subnet, ...]

    @property
    def distributed(self) -> bool:
        """True for a routed network whose traffic to its like never reaches the edge."""
        return self.type is NetworkType.NAT_ROUTED and self.connection is not ConnectionType.NON_DISTRIBUTED


@dataclass(frozen=True, slots=True)
class NextHop:
    """Where a static route leads; ``scope`` names an uplink or a network, '' finds the port by address."""

    address: IPAddress
    admin_distance: int = 1
    scope: str = ""


@dataclass(frozen=True, slots=True)
class StaticRoute:
    """A route of the tenant's own."""

    id: str
    name: str
    network: IPNetwork
    next_hops: tuple[NextHop, ...]


@dataclass(frozen=True, slots=True)
class RoutingConfig:
    """Ports in their fixed order: uplinks, then networks."""

    uplinks: tuple[Uplink, ...]
    networks: tuple[Network, ...] = ()
    static_routes: tuple[StaticRoute, ...] = ()
