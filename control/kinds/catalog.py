"""Templates and sizes: the provider's.  A region comes with the public catalog."""

from __future__ import annotations

import re
from typing import Any

from control.access.roles import Permission
from control.kinds.kind import Kind
from control.objects.catalog import BASE_DISK_GB, PUBLIC_SIZES, PUBLIC_TEMPLATES, SizingPolicy, Template
from control.store import Record

TEMPLATE = Kind(
    name="template",
    form="regions/*/templates/*",
    service="CatalogService",
    noun="Template",
    plural="Templates",
    words="Template",
    model=Template,
    read=Permission.CATALOG_READ,
    write=Permission.PROVIDER_WRITE,
    fixed=frozenset({"os_family", "base_disk_gb"}),
    filters=("catalog", "os_family"),
)

SIZING_POLICY = Kind(
    name="sizing_policy",
    form="sizingPolicies/*",
    service="CatalogService",
    noun="SizingPolicy",
    plural="SizingPolicies",
    words="Sizing Policy",
    model=SizingPolicy,
    read=Permission.CATALOG_READ,
    write=Permission.PROVIDER_WRITE,
    fixed=frozenset({"vcpu", "memory_gb"}),
    orders=("vcpu", "memory_gb"),
)


def fill_region(changes: Any, before: Record | None, now: Record | None) -> None:
    """A new region has the public catalog; what nobody uses of its templates goes with a region."""
    if before is None and now is not None:
        for name, family in PUBLIC_TEMPLATES:
            value = Template(display_name=name, os_family=family, base_disk_gb=BASE_DISK_GB[family])
            changes.create(TEMPLATE, now.path, value, id=_id_of(name))
    elif now is None and before is not None:
        for template in changes.unit.all(TEMPLATE.name, before.path):
            if not changes.unit.users_of(template.path):
                changes.delete(TEMPLATE, template)


def add_sizes(changes: Any) -> None:
    """The sizes that the provider offers at the first start."""
    for name, vcpu, memory_gb in PUBLIC_SIZES:
        changes.create(SIZING_POLICY, "", SizingPolicy(display_name=name, vcpu=vcpu, memory_gb=memory_gb), id=name)


def _id_of(name: str) -> str:
    return re.sub(r"[^a-z0-9.]+", "-", name.lower())
