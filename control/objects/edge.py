"""Edge gateways."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Any, Final

from pydantic import Field

from control.objects.reading import Host, NoHost
from control.objects.region import WanAccess
from control.objects.values import Description, DisplayName, Value, reference
from control.objects.vdc import OwnerName, RegionName

MAX_PUBLIC_ADDRESSES: Final = 1_024
MAX_UPSTREAMS: Final = 3


class Action(StrEnum):
    """What becomes of a packet that no rule is about."""

    DROP = "DROP"
    ALLOW = "ALLOW"
    REJECT = "REJECT"


PublicAddress = Host
"""One of the provider's that an edge has."""


class Dns(Value):
    """The forwarder for the machines behind an edge; without a listener of its own it has the default one."""

    enabled: bool = False
    listener: NoHost = ""
    upstreams: Annotated[tuple[Host, ...], Field(max_length=MAX_UPSTREAMS)] = ()


class EdgeGateway(Value):
    """An edge.  ``public_addresses`` are given by orders, the first is its own; ``options`` are the emulator's."""

    display_name: DisplayName
    description: Description = ""
    region: RegionName
    owner: OwnerName
    provider_network: Annotated[str, reference("regions/*/providerNetworks/*")]
    wan_access: WanAccess
    public_addresses: Annotated[tuple[PublicAddress, ...], Field(min_length=1, max_length=MAX_PUBLIC_ADDRESSES)]
    default_action: Action = Action.DROP
    default_logging: bool = False
    dns: Dns = Dns()
    options: dict[str, Any] = Field(default_factory=dict)
