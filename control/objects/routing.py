"""Static routes."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from control.objects.reading import Cidr, Host, NoName
from control.objects.values import Description, DisplayName, Value

MAX_ROUTES = 1_000


class NextHop(Value):
    """Where packets go on; ``scope``: the network that it is reached by, '' for the one that has its address."""

    ip_address: Host
    admin_distance: Annotated[int, Field(ge=1, le=255)] = 1
    scope: NoName = ""


class StaticRoute(Value):
    """A route of the tenant's own."""

    display_name: DisplayName
    description: Description = ""
    network_cidr: Cidr
    next_hops: Annotated[tuple[NextHop, ...], Field(min_length=1, max_length=16)]
