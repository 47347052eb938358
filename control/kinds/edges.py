"""Edge gateways."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from ipaddress import IPv4Address, ip_address
from typing import Any, Final

from control import gather
from control.access.roles import Permission
from control.kinds.kind import DELETE, GET, LIST, UPDATE, Change, Kind
from control.kinds.vdcs import region_of
from control.objects.edge import EdgeGateway
from control.objects.region import ProviderNetwork
from control.store import Reader, Record, WriteUnit

_OF_TENANTS: Final = frozenset(
    {
        *("profile", "tcpStrict", "timers", "natTieBreak", "sessionsOnChange", "eastWestFirewall", "snatServicePort"),
        *("rejectCode", "mtu", "icmpErrorRate", "fragmentTimeout"),
    }
)
"""The options that are a matter of the edge alone: the others are the provider's resources, and its protection."""


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


def _reserved(before: EdgeGateway, now: EdgeGateway) -> Iterable[str]:
    for name in sorted((before.options.keys() | now.options.keys()) - _OF_TENANTS):
        # As JSON: for Python, 1 is True.
        if _told(before.options, name) != _told(now.options, name):
            yield f"options.{name}"


def _told(options: Mapping[str, Any], name: str) -> str:
    return json.dumps(options[name], sort_keys=True) if name in options else ""


def _saved(unit: WriteUnit, record: Record) -> None:
    value = record.value(EdgeGateway)
    unit.take_addresses(value.provider_network, record.path, numbers(value))


def _states(reader: Reader, records: Sequence[Record]) -> list[Mapping[str, Any]]:
    known = reader.edge_states([record.path for record in records])
    found: list[Mapping[str, Any]] = []
    for record, left_out in zip(records, gather.left_out(reader, records), strict=True):
        state = known.get(record.path)
        told: dict[str, Any] = {"not_emulated": left_out, "status": "PENDING", "desired_revision": 1}
        if state is not None:  # it is not there before the end of the unit that makes the edge
            told |= {"status": state.status, "reason": state.reason, "message": state.message}
            told |= {"desired_revision": state.desired, "realized_revision": state.realized}
            told |= {"drift_count": state.drifts} | ({"last_drift_time": state.drifted_ns} if state.drifts else {})
        found.append({"state": told})
    return found


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
    states=_states,
    reserved=_reserved,
    fixed=frozenset({"region", "provider_network", "wan_access", "public_addresses"}),
    filters=("region", "owner", "wan_access"),
)
