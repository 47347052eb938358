"""Which kinds a tenant's document has, where in it, and in which order they are made."""

from __future__ import annotations

from types import MappingProxyType

from control.kinds import BY_NAME, Kind

_ORDER = (
    *("vdc", "vdc_group", "network", "edge_gateway"),
    *("ip_set", "security_group", "application_port_profile", "static_route", "nat_rule", "firewall_rule"),
    *("ipsec_tunnel", "load_balancer_pool", "virtual_service", "machine"),
)
_MADE = tuple(BY_NAME[name] for name in _ORDER if name in BY_NAME)
ORDERED = frozenset({"vdc", "edge_gateway"})
"""What is ordered, and neither made nor deleted by a document; of these it changes what it gives, no more."""

UNNEEDED = frozenset({"static_route", "nat_rule", "firewall_rule", "ipsec_tunnel", "virtual_service", "machine"})
"""What no other object refers to: deleted first, so that it is in nobody's way."""

CHOSEN = MappingProxyType({"machine": MappingProxyType({"computer_name": "vm"})})
"""Kind -> fields that the control plane chooses where none is given -> a value that any object could have."""

ORG_FORM = "orgs/*"


def section_of(kind: Kind) -> str:
    """The key of a kind in a document."""
    return kind.form.split("/")[-2]


def kinds_in(form: str) -> list[Kind]:
    """The kinds that lie in an object of this form, in the order in which they are made."""
    return [kind for kind in _MADE if kind.parent == form]


def order_of(kind: Kind) -> int:
    """The place of a kind in the order in which objects are made."""
    return _ORDER.index(kind.name)


def inner_keys(kind: Kind) -> list[str]:
    """The sections that an object of a kind has in a document."""
    return [section_of(inner) for inner in kinds_in(kind.form)]
