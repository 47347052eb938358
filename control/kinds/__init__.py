"""The kinds of objects that organizations and the provider have, one file a subject.

:mod:`~control.kinds.kind` says what a kind is, :mod:`~control.kinds.changes` makes, changes and deletes its objects.
"""

from __future__ import annotations

from types import MappingProxyType

from control.kinds.catalog import SIZING_POLICY, TEMPLATE
from control.kinds.edges import EDGE_GATEWAY
from control.kinds.firewall import FIREWALL_RULE
from control.kinds.groups import IP_SET, SECURITY_GROUP
from control.kinds.ipsec import IPSEC_TUNNEL
from control.kinds.kind import Change, Kind
from control.kinds.load_balancer import LOAD_BALANCER_POOL, VIRTUAL_SERVICE
from control.kinds.machines import MACHINE
from control.kinds.nat import NAT_RULE
from control.kinds.networks import NETWORK
from control.kinds.profiles import APPLICATION_PORT_PROFILE
from control.kinds.regions import PROVIDER_NETWORK, REGION
from control.kinds.routing import STATIC_ROUTE
from control.kinds.vdcs import VDC, VDC_GROUP

KINDS: tuple[Kind, ...] = (
    REGION,
    PROVIDER_NETWORK,
    VDC,
    VDC_GROUP,
    EDGE_GATEWAY,
    NETWORK,
    IP_SET,
    SECURITY_GROUP,
    APPLICATION_PORT_PROFILE,
    FIREWALL_RULE,
    NAT_RULE,
    STATIC_ROUTE,
    IPSEC_TUNNEL,
    LOAD_BALANCER_POOL,
    VIRTUAL_SERVICE,
    TEMPLATE,
    SIZING_POLICY,
    MACHINE,
)
"""All of them."""

BY_NAME = MappingProxyType({kind.name: kind for kind in KINDS})

__all__ = [
    "BY_NAME",
    "EDGE_GATEWAY",
    "KINDS",
    "NETWORK",
    "PROVIDER_NETWORK",
    "REGION",
    "VDC",
    "VDC_GROUP",
    "Change",
    "Kind",
]
