"""What organizations order: data centers, edges, public addresses; each order makes all that belongs to it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import ip_address
from itertools import count
from types import MappingProxyType
from typing import Any, Final

from control import names
from control.errors import LimitReachedError, ObjectInUseError
from control.kinds import EDGE_GATEWAY, NETWORK, VDC
from control.kinds.allocations import PRIMARY, allocations, free_addresses
from control.kinds.changes import Changes
from control.kinds.networks import overlapping
from control.objects.addresses import interface
from control.objects.edge import MAX_PUBLIC_ADDRESSES, EdgeGateway
from control.objects.network import Network
from control.objects.region import WanAccess
from control.objects.values import checked
from control.objects.vdc import Vdc
from control.store import Record, WriteUnit
from edge.errors import ArgumentError

MAX_QUANTITY: Final = 64
"""Public addresses of one order."""

_ASKED: Final = MappingProxyType(
    {"display_name": "lan_name", "gateway_cidrs": "gateway_cidr", "static_pools": "gateway_cidr", "owner": "vdc"}
)
"""A field of the network that an order makes -> the order's own that it comes of."""

_FIRST_SUBSCRIPTION: Final = 1_000_000
_SUBSCRIPTIONS: Final = 9_000_000


@dataclass(frozen=True, slots=True)
class NewEdge:
    """An edge that an order made, and its network."""

    edge: Record
    network: Record


def order_vdc(changes: Changes, org: str, fields: dict[str, Any]) -> tuple[Record, NewEdge | None]:
    """A data center; the first in a region with an edge and a network."""
    unit = changes.unit
    made = not fields.get("subscription")
    value = checked(Vdc, {**fields, "subscription": _subscription(unit)} if made else fields, "vdc")
    first = all(other.body["region"] != value.region for other in unit.all("vdc", org))
    vdc = changes.create(VDC, org, value, id=value.id_in(names.last(org)))
    if not first:
        return vdc, None
    edge = _new_edge(changes, org, vdc, WanAccess.INTERNET)
    region = names.last(value.region)
    name = next(name for name in _numbered(f"LAN-{region}") if unit.named("network", org, name) is None)
    return vdc, NewEdge(edge, changes.create(NETWORK, org, _lan(vdc, edge, name, _free_network(unit, org))))


def add_edge_gateway(
    changes: Changes, org: str, vdc: Record, wan_access: WanAccess, gateway_cidr: str, lan_name: str
) -> NewEdge:
    """Another edge, with a network.  Raises ArgumentError at the caller's fields."""
    edge = _new_edge(changes, org, vdc, wan_access)
    try:
        network = changes.create(NETWORK, org, _lan(vdc, edge, lan_name, gateway_cidr))
    except ArgumentError as error:
        raise ArgumentError(str(error), [(_asked(field), text) for field, text in error.violations]) from None
    return NewEdge(edge, network)


def add_public_addresses(changes: Changes, edge: Record, quantity: int) -> tuple[Record, list[str]]:
    """More addresses for an edge: it, and them."""
    if not 1 <= quantity <= MAX_QUANTITY:
        raise ArgumentError("the quantity is wrong", [("quantity", f"expected 1 to {MAX_QUANTITY}")])
    value = edge.value(EdgeGateway)
    if len(value.public_addresses) + quantity > MAX_PUBLIC_ADDRESSES:
        raise LimitReachedError(f"an edge has at most {MAX_PUBLIC_ADDRESSES:,} public addresses")
    place = value.provider_network
    _, added = free_addresses(changes.unit, [changes.unit.get(place)], quantity, value.region)
    return _with_addresses(changes, edge, value, (*value.public_addresses, *added)), added


def release_public_address(changes: Changes, edge: Record, address: str) -> Record:
    """An edge without an address.  Raises ObjectInUseError for one that is used."""
    value = edge.value(EdgeGateway)
    used = allocations(changes.unit, edge)
    if address not in used:
        raise ArgumentError("the address is wrong", [("address", f"expected a public address of {edge.path}")])
    if used[address]:
        users = [(user.name, "primary" if user.category == PRIMARY else user.category) for user in used[address]]
        raise ObjectInUseError(f"{address} of {edge.path}", users)
    rest = tuple(other for other in value.public_addresses if other != address)
    return _with_addresses(changes, edge, value, rest)


def _with_addresses(changes: Changes, edge: Record, value: EdgeGateway, addresses: tuple[str, ...]) -> Record:
    return changes.update(EDGE_GATEWAY, edge, value.model_copy(update={"public_addresses": addresses}))


def _new_edge(changes: Changes, org: str, vdc: Record, wan_access: WanAccess) -> Record:
    unit, region = changes.unit, vdc.body["region"]
    networks = [each for each in unit.all("provider_network", region) if each.body["wan_access"] == wan_access]
    network, addresses = free_addresses(unit, networks, 1, region)
    name = f"T1-{names.last(org)}-{names.last(region)}"
    value = EdgeGateway(
        display_name=next(each for each in _numbered(name) if unit.named("edge_gateway", org, each) is None),
        region=region, owner=vdc.path, provider_network=network.path, wan_access=wan_access,
        public_addresses=tuple(addresses),
    )  # fmt: skip
    return changes.create(EDGE_GATEWAY, org, value)


def _lan(vdc: Record, edge: Record, name: str, gateway_cidr: str) -> Network:
    said = {"display_name": name, "owner": vdc.path, "network_type": "NAT_ROUTED", "edge": edge.path}
    try:
        gateway = interface(gateway_cidr)
    except ValueError:
        pools = []  # the network's own check says what is wrong
    else:
        pools = _pools(gateway)
    return checked(Network, {**said, "gateway_cidrs": [gateway_cidr], "static_pools": pools}, "network")


def _pools(gateway: Any) -> list[str]:
    """The upper half of a network of IPv4 is for machines, where it has room and its gateway is elsewhere."""
    network = gateway.network
    if network.version != 4 or network.num_addresses < 8:
        return []
    first, last = int(network.network_address) + network.num_addresses // 2, int(network.broadcast_address) - 1
    return [] if first <= int(gateway.ip) <= last else [f"{ip_address(first)}-{ip_address(last)}"]


def _free_network(unit: WriteUnit, org: str) -> str:
    """The gateway of a network that no other of the organization overlaps."""
    taken = [interface(text) for other in unit.all("network", org) for text in other.body["gateway_cidrs"]]
    # The private networks of RFC 1918.
    for place in ("10.{}.0.1/24", "172.{}.0.1/24", "192.168.{}.1/24"):
        for number in range(16, 32) if place.startswith("172") else range(1, 256):
            gateway = place.format(number)
            if not overlapping([interface(gateway)], taken):
                return gateway
    raise LimitReachedError(f"{org} has networks everywhere in the private networks")


def _numbered(name: str) -> Iterator[str]:
    """A name, and others for when it is taken."""
    yield name
    for number in count(2):
        yield f"{name}-{number}"


def _subscription(unit: WriteUnit) -> str:
    """The number of an order, of seven digits that nobody has: what follows another's would tell what others order."""
    while True:
        drawn = int.from_bytes(unit.surroundings.random(8), "big")
        number = str(_FIRST_SUBSCRIPTION + drawn % _SUBSCRIPTIONS)
        if not unit.is_said("vdc", "subscription", number):
            return number


def _asked(field: str) -> str:
    """What the caller of an order calls a field of the network that is made for it."""
    word = field.removeprefix("network.").partition("[")[0]
    return _ASKED.get(word, "")
