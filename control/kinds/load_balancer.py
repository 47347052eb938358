"""Pools of servers, and virtual services."""

from __future__ import annotations

from collections.abc import Iterable

from control.access.roles import Permission
from control.kinds.kind import Change, Kind
from control.kinds.on_edge import GROUPS, POOLS, check_count, check_references, forms
from control.objects.load_balancer import MAX_POOLS, MAX_SERVICES, LoadBalancerPool, VirtualService


def _group(value: LoadBalancerPool) -> Iterable[tuple[str, str]]:
    return [(value.member_group, "member_group")] if value.member_group else []


def _pool(value: VirtualService) -> Iterable[tuple[str, str]]:
    return [(value.load_balancer_pool, "load_balancer_pool")]


def _rules_of_pools(change: Change) -> None:
    if change.value is not None:
        check_count(MAX_POOLS, change)
        check_references(change, "member_group", (name for name, _ in _group(change.value)), GROUPS)


def _rules_of_services(change: Change) -> None:
    if change.value is not None:
        check_count(MAX_SERVICES, change)
        check_references(change, "load_balancer_pool", [change.value.load_balancer_pool], POOLS)


LOAD_BALANCER_POOL = Kind(
    name="load_balancer_pool",
    form="orgs/*/edges/*/loadBalancerPools/*",
    service="LoadBalancerService",
    noun="LoadBalancerPool",
    plural="LoadBalancerPools",
    words="Load Balancer Pool",
    model=LoadBalancerPool,
    read=Permission.RESOURCES_READ,
    write=Permission.NETWORKS_WRITE,
    refs=_group,
    forms={"member_group": forms(GROUPS)},
    rules=_rules_of_pools,
    filters=("algorithm",),
)

VIRTUAL_SERVICE = Kind(
    name="virtual_service",
    form="orgs/*/edges/*/virtualServices/*",
    service="LoadBalancerService",
    noun="VirtualService",
    plural="VirtualServices",
    words="Virtual Service",
    model=VirtualService,
    read=Permission.RESOURCES_READ,
    write=Permission.NETWORKS_WRITE,
    refs=_pool,
    forms={"load_balancer_pool": forms(POOLS)},
    rules=_rules_of_services,
    filters=("load_balancer_pool",),
)
