"""Regions and provider networks: the provider's."""

from __future__ import annotations

from control.access.roles import Permission
from control.kinds.kind import Kind
from control.objects.region import ProviderNetwork, Region

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
    filters=("wan_access",),
)
