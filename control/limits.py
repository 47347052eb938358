"""How much one organization has at most: what it makes is kept, checked and looked after for it."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from control.errors import OrganizationLimitError
from control.store import Reader

OF_ORGANIZATION: Final[Mapping[str, int]] = MappingProxyType(
    {
        "user": 1_000,
        "vdc": 100,
        "vdc_group": 100,
        "edge_gateway": 20,
        "network": 1_000,
    }
)
"""Kind of objects -> how many of them an organization has at most.  What lies on an edge is limited for each edge."""

ON_DEMAND_MACHINES: Final = 1_000
"""In all data centers on demand of an organization: those of pools have the pools' limits."""

API_TOKENS: Final = 1_000
"""Of all users of an organization."""

EVENT_STREAMS: Final = 16
"""Of all users of an organization at once, of each replica."""


def check_another(reader: Reader, kind: str, org: str, parent: str) -> None:
    """Raises OrganizationLimitError where ``parent`` in an organization cannot have one more of a kind."""
    most = OF_ORGANIZATION.get(kind)
    if most is not None:
        check_count(org, kind.replace("_", " "), reader.count(kind, org), most)
    elif kind == "machine" and _on_demand(reader, parent):
        places = [vdc.path for vdc in reader.all("vdc", org) if vdc.body["plan"] == "ON_DEMAND"]
        count = sum(reader.count(kind, place) for place in places)
        check_count(org, "machine on demand", count, ON_DEMAND_MACHINES)


def check_count(org: str, words: str, count: int, most: int) -> None:
    """Raises OrganizationLimitError where there are as many as there may be."""
    if count >= most:
        raise OrganizationLimitError(org, words, count, most)


def _on_demand(reader: Reader, vdc: str) -> bool:
    return bool(reader.get(vdc).body["plan"] == "ON_DEMAND")
