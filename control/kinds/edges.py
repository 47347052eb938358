"""Edge gateways."""

from __future__ import annotations

from collections.abc import Mapping
from ipaddress import IPv4Address, ip_address
from typing import Any

from control import gather
from control.access.roles import Permission
from control.kinds.kind import DELETE, GET, LIST, UPDATE, Change, Kind
from control.kinds.vdcs import region_of
from control.objects.edge import EdgeGateway
from control.objects.region import ProviderNetwork
from control.store import Reader, Record, WriteUnit


def numbers(value: EdgeGateway) -> list[int]:
    """The public addresses as numbers."""
    return [int(IPv4Address(text)) for text in value.public_addresses]


def _rules(change: Change) -> None:
    value: EdgeGateway | None = change.value
    if value is None:
        return
    if region_of(change.unit, value.owner) != value.region:
        raise change.wrong("owner", f"expected a data center of {value.region}, or a group of them")
    network = change.unit.get(value.provider_network)
    if network.parent != value.region or network.body["wan_access"] != value.wan_access:
        raise change.wrong("provider_network", f"expected one of {value.region} that leads to {value.wan_access}")
    offered = network.value(ProviderNetwork).ranges()
    taken = change.unit.addresses_taken(value.provider_network, but=change.path)
    for place, text in enumerate(value.public_addresses):
        address = ip_address(text)
        if int(address) in taken or not any(address in pool for pool in offered):
            raise change.wrong(f"public_addresses[{place}]", f"expected a free address of {network.path}")
        taken[int(address)] = change.path


def _saved(unit: WriteUnit, record: Record) -> None:
    value = record.value(EdgeGateway)
    unit.take_addresses(value.provider_network, record.path, numbers(value))


def _state(reader: Reader, record: Record) -> Mapping[str, Any]:
    known = reader.edge_state(record.path)
    left_out = gather.left_out(reader, record)
    if known is None:  # not before the end of the unit that makes it
        return {"state": {"status": "PENDING", "desired_revision": 1, "not_emulated": left_out}}
    told = {"not_emulated": left_out, "status": known.status, "reason": known.reason, "message": known.message}
    return {"state": {**told, "desired_revision": known.desired, "realized_revision": known.realized}}


EDGE_GATEWAY = Kind(
    name="edge_gateway",
    form="orgs/*/edges/*",
    service="EdgeGatewayService",
    noun="EdgeGateway",
    plural="EdgeGateways",
    words="Edge Gateway",
    model=EdgeGateway,
    read=Permission.RESOURCES_READ,
    write=Permission.NETWORKS_WRITE,
    remove=Permission.SERVICES_ORDER,
    methods=frozenset({GET, LIST, UPDATE, DELETE}),  # they are made by orders
    refs=lambda value: [
        (value.region, "region"),
        (value.owner, "owner"),
        (value.provider_network, "provider_network"),
    ],
    rules=_rules,
    saved=_saved,
    state=_state,
    fixed=frozenset({"region", "provider_network", "wan_access", "public_addresses"}),
    filters=("region", "owner", "wan_access"),
)
