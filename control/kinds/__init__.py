"""The kinds of objects that organizations and the provider have, one file a subject.

:mod:`~control.kinds.kind` says what a kind is, :mod:`~control.kinds.changes` makes, changes and deletes its objects.
"""

from __future__ import annotations

from types import MappingProxyType

from control.kinds.edges import EDGE_GATEWAY
from control.kinds.kind import Change, Kind
from control.kinds.networks import NETWORK
from control.kinds.regions import PROVIDER_NETWORK, REGION
from control.kinds.vdcs import VDC, VDC_GROUP

KINDS: tuple[Kind, ...] = (
    REGION,
    PROVIDER_NETWORK,
    VDC,
    VDC_GROUP,
    EDGE_GATEWAY,
    NETWORK,
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
