"""Firewall rules."""

from __future__ import annotations

from collections.abc import Iterable

from control.access.roles import Permission
from control.kinds.kind import Change, Kind
from control.kinds.on_edge import GROUPS, PROFILES, check_count, check_profiles, check_references, forms, own_profiles
from control.objects.firewall import MAX_RULES, FirewallRule


def _refs(value: FirewallRule) -> Iterable[tuple[str, str]]:
    for field in ("source_firewall_groups", "destination_firewall_groups"):
        yield from ((name, field) for name in getattr(value, field))
    yield from ((name, "application_port_profiles") for name in own_profiles(value.application_port_profiles))


def _rules(change: Change) -> None:
    if change.value is None:
        return
    check_count(MAX_RULES, change)
    for field in ("source_firewall_groups", "destination_firewall_groups"):
        check_references(change, field, getattr(change.value, field), GROUPS)
    check_profiles(change, "application_port_profiles", change.value.application_port_profiles)


FIREWALL_RULE = Kind(
    name="firewall_rule",
    form="orgs/*/edges/*/firewallRules/*",
    service="FirewallService",
    noun="FirewallRule",
    plural="FirewallRules",
    words="Firewall Rule",
    model=FirewallRule,
    read=Permission.RESOURCES_READ,
    write=Permission.NETWORKS_WRITE,
    refs=_refs,
    forms={
        "source_firewall_groups": forms(GROUPS),
        "destination_firewall_groups": forms(GROUPS),
        "application_port_profiles": forms(PROFILES),
    },
    rules=_rules,
    unique=False,
    filters=("action_value",),
    orders=("position",),
)
