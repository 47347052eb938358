"""Regions, and the provider's networks that edges have their public addresses from."""

from __future__ import annotations

from collections.abc import Iterator
from enum import StrEnum
from ipaddress import IPv4Address
from typing import Annotated, Self

from pydantic import AfterValidator, Field, model_validator

from control.objects.addresses import gateway_ipv4, interface, pool, pools
from control.objects.values import Description, DisplayName, Value
from edge.addresses import AddressRange

MAX_POOLS = 100
MAX_ADDRESSES = 1 << 16
"""Of one provider network: they are looked through one by one."""


class WanAccess(StrEnum):
    """What an edge's uplink leads to."""

    INTERNET = "INTERNET"
    MPLS = "MPLS"


class Region(Value):
    """Where data centers are."""

    display_name: DisplayName
    description: Description = ""


class ProviderNetwork(Value):
    """A network of the provider: ``pools`` are the addresses that edges get, ranges or single ones."""

    display_name: DisplayName
    description: Description = ""
    wan_access: WanAccess = WanAccess.INTERNET
    gateway_cidr: Annotated[str, AfterValidator(gateway_ipv4)]
    pools: Annotated[tuple[Annotated[str, AfterValidator(pool)], ...], Field(min_length=1, max_length=MAX_POOLS)]

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if sum(found.size for found in self.ranges()) > MAX_ADDRESSES:
            raise ValueError(f"expected at most {MAX_ADDRESSES:,} addresses in the pools")
        return self

    def ranges(self) -> list[AddressRange]:
        """The pools, lowest first."""
        found = pools(self.pools, [interface(self.gateway_cidr)])
        return sorted(found, key=lambda each: int(each.first))

    def addresses(self) -> Iterator[IPv4Address]:
        """Every address that edges can get, lowest first."""
        for found in self.ranges():
            for number in range(int(found.first), int(found.last) + 1):
                yield IPv4Address(number)
