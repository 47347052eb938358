"""IP sets and security groups."""

from __future__ import annotations

from collections.abc import Iterable

from control.access.roles import Permission
from control.kinds.kind import Kind
from control.kinds.on_edge import NETWORK_FORM, at_most
from control.objects.group import IpSet, SecurityGroup

MAX_GROUPS = 1_000


def _members(value: SecurityGroup) -> Iterable[tuple[str, str]]:
    return ((name, "members") for name in value.members)


IP_SET = Kind(
    name="ip_set",
    form="orgs/*/edges/*/ipSets/*",
    service="GroupService",
    noun="IpSet",
    plural="IpSets",
    words="IP Set",
    model=IpSet,
    read=Permission.RESOURCES_READ,
    write=Permission.NETWORKS_WRITE,
    rules=at_most(MAX_GROUPS),
)

SECURITY_GROUP = Kind(
    name="security_group",
    form="orgs/*/edges/*/securityGroups/*",
    service="GroupService",
    noun="SecurityGroup",
    plural="SecurityGroups",
    words="Security Group",
    model=SecurityGroup,
    read=Permission.RESOURCES_READ,
    write=Permission.NETWORKS_WRITE,
    refs=_members,
    forms={"members": NETWORK_FORM},
    rules=at_most(MAX_GROUPS),
)
