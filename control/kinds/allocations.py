"""The public addresses of an edge: who uses which, and which of the provider's are free."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from ipaddress import IPv4Address, ip_address
from itertools import islice
from types import MappingProxyType
from typing import Any, Final

from control.errors import NoAddressLeftError
from control.objects.region import ProviderNetwork
from control.store import Reader, Record
from edge.addresses import AddressRange

PRIMARY: Final = "PRIMARY_IP"


@dataclass(frozen=True, slots=True)
class AddressUser:
    """An object that uses an address; ``category`` is CloudAPI's word for how."""

    category: str
    name: str
    display_name: str


# Which kinds of objects on an edge use public addresses, and what their bodies say of it: the category, the addresses.
_USERS: Final[Mapping[str, Callable[[Mapping[str, Any]], tuple[str, str]]]] = MappingProxyType(
    {
        "nat_rule": lambda body: (body["type"], body["external_addresses"]),
        "ipsec_tunnel": lambda body: ("IPSEC_VPN", body["local_endpoint"]["local_address"]),
        "virtual_service": lambda body: ("LOAD_BALANCER", body["virtual_ip_address"]),
    }
)


def allocations(reader: Reader, edge: Record) -> dict[str, list[AddressUser]]:
    """The public addresses of an edge, lowest first, each with its users, those that are free too."""
    given = edge.body["public_addresses"]
    found: dict[str, list[AddressUser]] = {text: [] for text in sorted(given, key=ip_address)}
    found[given[0]].append(AddressUser(PRIMARY, edge.path, edge.body["display_name"]))
    for user, used in _users(reader, edge.path):
        for text, users in found.items():
            if IPv4Address(text) in used:
                users.append(user)
    return found


def _users(reader: Reader, edge: str) -> Iterator[tuple[AddressUser, AddressRange]]:
    for kind, said in _USERS.items():
        for record in reader.all(kind, edge):
            category, addresses = said(record.body)
            if addresses:
                user = AddressUser(category, record.path, record.body["display_name"])
                yield user, AddressRange.parse(addresses)


def free_addresses(reader: Reader, networks: list[Record], count: int, place: str) -> tuple[Record, list[str]]:
    """The lowest free addresses of the first of some provider networks that has so many.

    Raises NoAddressLeftError, which names ``place``.
    """
    for network in networks:
        taken = reader.addresses_taken(network.path)
        free = (str(each) for each in network.value(ProviderNetwork).addresses() if int(each) not in taken)
        found = list(islice(free, count))
        if len(found) == count:
            return network, found
    raise NoAddressLeftError(f"{place} has fewer than {count} free public addresses")
