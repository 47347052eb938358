"""Networks of an organization."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Any, Final, Self

from pydantic import AfterValidator, Field, StringConstraints, model_validator

from control.objects.addresses import Interface, gateway, interface, pool, pools
from control.objects.reading import NoHost
from control.objects.values import Description, DisplayName, Value, reference
from control.objects.vdc import OwnerName

MAX_POOLS: Final = 50


class NetworkType(StrEnum):
    """Does an edge route for it?"""

    ISOLATED = "ISOLATED"
    NAT_ROUTED = "NAT_ROUTED"


class ConnectionType(StrEnum):
    """How a network is at its edge: which of its traffic passes the edge's firewall."""

    INTERNAL = "INTERNAL"
    DISTRIBUTED = "DISTRIBUTED"
    NON_DISTRIBUTED = "NON_DISTRIBUTED"


EdgeName = Annotated[str, reference("orgs/*/edges/*")]
Pools = Annotated[tuple[Annotated[str, AfterValidator(pool)], ...], Field(max_length=MAX_POOLS)]
_LABEL: Final = r"[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
DnsSuffix = Annotated[str, StringConstraints(max_length=253, pattern=rf"^({_LABEL}(\.{_LABEL})*)?$")]


class Dhcp(Value):
    """Addresses that machines ask for; the lease in seconds."""

    enabled: bool = False
    pools: Pools = ()
    lease_time_s: Annotated[int, Field(ge=60, le=4_294_967_295)] = 86_400

    @model_validator(mode="after")
    def _has_some(self) -> Self:
        if self.enabled and not self.pools:
            raise ValueError("expected pools to give addresses from")
        return self


class Network(Value):
    """A network of a data center or a group of them.  ``gateway_cidrs``: the gateway's address with the length of the
    prefix, one of IPv4, of IPv6, or of both."""

    display_name: DisplayName
    description: Description = ""
    owner: OwnerName
    network_type: NetworkType
    edge: EdgeName | None = None
    connection_type: ConnectionType | None = None
    gateway_cidrs: Annotated[tuple[Annotated[str, AfterValidator(gateway)], ...], Field(min_length=1, max_length=2)]
    static_pools: Pools = ()
    dns_primary: NoHost = ""
    dns_secondary: NoHost = ""
    dns_suffix: DnsSuffix = ""
    dhcp: Dhcp = Dhcp()
    shared: bool = False

    @model_validator(mode="before")
    @classmethod
    def _connected_somehow(cls, given: Any) -> Any:
        if not isinstance(given, dict):
            return given
        routed = given.get("network_type") == NetworkType.NAT_ROUTED
        usual = ConnectionType.INTERNAL if routed else None
        return {**given, "edge": given.get("edge") or None, "connection_type": given.get("connection_type") or usual}

    @model_validator(mode="after")
    def _fits(self) -> Self:
        routed = self.network_type is NetworkType.NAT_ROUTED
        if routed != bool(self.edge) or (self.connection_type is not None and not routed):
            raise ValueError("expected an edge and a connection type for NAT_ROUTED, and none for ISOLATED")
        gateways = self.gateways()
        if len({found.version for found in gateways}) < len(gateways):
            raise ValueError("expected one gateway of IPv4, one of IPv6, or both")
        pools([*self.static_pools, *self.dhcp.pools], gateways)
        return self

    def gateways(self) -> list[Interface]:
        """The gateway's addresses and networks."""
        return [interface(text) for text in self.gateway_cidrs]
