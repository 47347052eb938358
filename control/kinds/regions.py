"""Regions and provider networks: the provider's."""

from __future__ import annotations

from ipaddress import IPv4Address

from control.access.roles import Permission
from control.errors import ObjectInUseError
from control.kinds.catalog import fill_region
from control.kinds.kind import Change, Kind
from control.objects.region import ProviderNetwork, Region, WanAccess


def _rules(change: Change) -> None:
    value: ProviderNetwork | None = change.value
    if value is None:
        return
    offered = value.ranges()
    lost = [
        (edge, f"public_addresses: {IPv4Address(number)}")
        for number, edge in sorted(change.unit.addresses_taken(change.path).items())
        if not any(IPv4Address(number) in pool for pool in offered)
    ]
    if lost:
        raise ObjectInUseError(change.path, lost)
    if value.wan_access is not WanAccess.INTERNET:
        return  # customers' own networks may have the same addresses
    for other in change.unit.every("provider_network"):
        if other.path != change.path and other.body["wan_access"] == value.wan_access:
            theirs = other.value(ProviderNetwork).ranges()
            if any(pool.overlaps(their) for pool in offered for their in theirs):
                raise change.wrong("pools", f"expected no address of {other.path}")


REGION = Kind(
    name="region",
    form="regions/*",
    service="RegionService",
    noun="Region",
    plural="Regions",
    words="Region",
    model=Region,
    read=Permission.CATALOG_READ,
    write=Permission.PROVIDER_WRITE,
    follow=fill_region,
)

PROVIDER_NETWORK = Kind(
    name="provider_network",
    form="regions/*/providerNetworks/*",
    service="RegionService",
    noun="ProviderNetwork",
    plural="ProviderNetworks",
    words="Provider Network",
    model=ProviderNetwork,
    read=Permission.PROVIDER_WRITE,
    write=Permission.PROVIDER_WRITE,
    rules=_rules,
    # Edges have it in their documents by its name.
    fixed=frozenset({"display_name", "wan_access", "gateway_cidr"}),
    filters=("wan_access",),
)
