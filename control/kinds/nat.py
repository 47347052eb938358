"""NAT rules."""

from __future__ import annotations

from collections.abc import Iterable

from control.access.roles import Permission
from control.kinds.kind import Change, Kind
from control.kinds.on_edge import PROFILES, check_count, check_profiles, forms, own_profiles
from control.objects.nat import MAX_RULES, NatRule


def _profiles(value: NatRule) -> list[str]:
    return [value.application_port_profile] if value.application_port_profile else []


def _refs(value: NatRule) -> Iterable[tuple[str, str]]:
    return ((name, "application_port_profile") for name in own_profiles(_profiles(value)))


def _rules(change: Change) -> None:
    if change.value is not None:
        check_count(MAX_RULES, change)
        check_profiles(change, "application_port_profile", _profiles(change.value))


NAT_RULE = Kind(
    name="nat_rule",
    form="orgs/*/edges/*/natRules/*",
    service="NatService",
    noun="NatRule",
    plural="NatRules",
    words="NAT Rule",
    model=NatRule,
    read=Permission.RESOURCES_READ,
    write=Permission.NETWORKS_WRITE,
    refs=_refs,
    forms={"application_port_profile": forms(PROFILES)},
    rules=_rules,
    unique=False,
    filters=("type",),
)
