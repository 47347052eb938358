"""Regions, and the provider's networks that edges have their public addresses from."""

from __future__ import annotations

from enum import StrEnum
from ipaddress import IPv4Address
from typing import Annotated, Self

from pydantic import AfterValidator, Field, model_validator

from control.objects.addresses import gateway_ipv4, interface, pool, pools
from control.objects.values import Description, DisplayName, Value

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
        if sum(found.size for found in pools(self.pools, [interface(self.gateway_cidr)])) > MAX_ADDRESSES:
            raise ValueError(f"expected at most {MAX_ADDRESSES:,} addresses in the pools")
        return self

    def addresses(self) -> list[IPv4Address]:
        """Every address that edges can get, lowest first."""
        found = sorted(pools(self.pools, [interface(self.gateway_cidr)]), key=lambda each: int(each.first))
        return [IPv4Address(number) for each in found for number in range(int(each.first), int(each.last) + 1)]
