"""Networks."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from ipaddress import ip_address
from typing import Any

from control.access.roles import Permission
from control.kinds.kind import Change, Kind
from control.kinds.vdcs import region_of
from control.machines import book
from control.objects.addresses import Interface, interface
from control.objects.network import Network
from control.planner import Item, not_emulated_of
from control.store import Reader, Record
from edge.addresses import AddressRange


def networks_of(reader: Reader, edge: str) -> list[Record]:
    """The networks that an edge routes for."""
    return reader.users_of(edge, "network")


def overlapping(first: Iterable[Interface], second: Iterable[Interface]) -> bool:
    """Do two of the networks have an address in common?"""
    others = list(second)
    return any(
        one.version == other.version and one.network.overlaps(other.network) for one in first for other in others
    )


def _rules(change: Change) -> None:
    value: Network | None = change.value
    if value is None:
        return
    if change.before is not None:
        _check_pools(change, change.before.value(Network), value)
        return  # what follows cannot change
    if value.edge is None:
        return
    edge = change.unit.get(value.edge)
    if region_of(change.unit, value.owner) != edge.body["region"]:
        raise change.wrong("edge", f"expected an edge of {region_of(change.unit, value.owner)}")
    gateways = value.gateways()
    uplink = change.unit.get(edge.body["provider_network"])
    taken = [(other.path, other.body["gateway_cidrs"]) for other in networks_of(change.unit, value.edge)]
    for path, cidrs in [*taken, (uplink.name, [uplink.body["gateway_cidr"]])]:
        if overlapping(gateways, map(interface, cidrs)):
            raise change.wrong("gateway_cidrs", f"expected no address in common with {path} on the same edge")


def _check_pools(change: Change, before: Network, now: Network) -> None:
    """What machines have of the static pools stays in them."""
    if before.static_pools == now.static_pools:
        return
    had, have = ([AddressRange.parse(text) for text in each.static_pools] for each in (before, now))
    used = {ip_address(text): user for text, user in book.used_addresses(change.unit, change.path).items()}
    for address in sorted(used, key=lambda each: (each.version, int(each))):
        if any(address in pool for pool in had) and not any(address in pool for pool in have):
            raise change.wrong("static_pools", f"expected pools with {address}: {used[address]} has this address")


def _state(_: Reader, record: Record) -> Mapping[str, Any]:
    return {"state": {"not_emulated": not_emulated_of(Item(record.path, record.value(Network)))}}


NETWORK = Kind(
    name="network",
    form="orgs/*/networks/*",
    service="NetworkService",
    noun="Network",
    plural="Networks",
    words="Network",
    model=Network,
    read=Permission.RESOURCES_READ,
    write=Permission.NETWORKS_WRITE,
    refs=lambda value: [(value.owner, "owner"), *([(value.edge, "edge")] if value.edge else [])],
    rules=_rules,
    state=_state,
    touches=lambda _, record: [record.body["edge"]] if record.body["edge"] else [],
    fixed=frozenset({"owner", "network_type", "edge", "gateway_cidrs"}),
    filters=("owner", "network_type", "edge"),
)
