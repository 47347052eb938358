"""Static routes."""

from __future__ import annotations

from collections.abc import Iterable

from control.access.roles import Permission
from control.kinds.kind import Kind
from control.kinds.on_edge import NETWORK_FORM, at_most
from control.objects.routing import MAX_ROUTES, StaticRoute


def _scopes(value: StaticRoute) -> Iterable[tuple[str, str]]:
    return ((hop.scope, "next_hops") for hop in value.next_hops if hop.scope)


STATIC_ROUTE = Kind(
    name="static_route",
    form="orgs/*/edges/*/staticRoutes/*",
    service="RoutingService",
    noun="StaticRoute",
    plural="StaticRoutes",
    words="Static Route",
    model=StaticRoute,
    read=Permission.RESOURCES_READ,
    write=Permission.NETWORKS_WRITE,
    refs=_scopes,
    forms={"next_hops": NETWORK_FORM},
    rules=at_most(MAX_ROUTES),
    unique=False,
    filters=("network_cidr",),
)
