"""Which fields of objects name others, and of which kinds; loads nothing, so that help is quick."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

REFERENCES: Mapping[str, Mapping[str, tuple[str, ...]]] = MappingProxyType(
    {
        "vdc": {"region": ("region",)},
        "vdc_group": {"region": ("region",), "vdcs": ("vdc",)},
        "edge_gateway": {
            "region": ("region",),
            "owner": ("vdc", "vdc_group"),
            "provider_network": ("provider_network",),
        },
        "network": {"owner": ("vdc", "vdc_group"), "edge": ("edge_gateway",)},
        "firewall_rule": {
            "source_firewall_groups": ("ip_set", "security_group"),
            "destination_firewall_groups": ("ip_set", "security_group"),
            "application_port_profiles": ("application_port_profile",),
        },
        "nat_rule": {"application_port_profile": ("application_port_profile",)},
        "security_group": {"members": ("network",)},
        "static_route": {"next_hops.scope": ("network",)},
        "load_balancer_pool": {"member_group": ("ip_set", "security_group")},
        "virtual_service": {"load_balancer_pool": ("load_balancer_pool",)},
        "machine": {
            "template": ("template",),
            "sizing_policy": ("sizing_policy",),
            "nics.network": ("network",),
        },
    }
)
"""Kind -> field, or field.field of what it holds -> the kinds that it names."""
