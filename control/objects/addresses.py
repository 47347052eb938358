"""Gateways and pools of addresses."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from ipaddress import IPv4Interface, IPv6Interface, ip_interface

from edge.addresses import AddressRange

Interface = IPv4Interface | IPv6Interface
_EXPECTED = "expected an address with a prefix length, like 10.20.0.1/24"


def interface(text: str) -> Interface:
    """A gateway: an address of a network, with the network's prefix length.  Raises ValueError."""
    address, _, length = text.partition("/")
    if "%" in address or not (length.isascii() and length.isdecimal()):
        raise ValueError(_EXPECTED)
    try:
        found = ip_interface(text)
    except ValueError:
        raise ValueError(_EXPECTED) from None
    if found.network.num_addresses < 4:
        raise ValueError("expected a network with room for other addresses than the gateway's")
    if found.version == 4 and found.ip in {found.network.network_address, found.network.broadcast_address}:
        raise ValueError("expected an address of a machine, not that of the network or of its broadcasts")
    if found.ip.is_multicast or found.ip.is_loopback or found.ip.is_unspecified:
        raise ValueError("expected an address of a machine")
    return found


def gateway(text: str) -> str:
    """A gateway as it is written usually.  Raises ValueError."""
    return str(interface(text))


def gateway_ipv4(text: str) -> str:
    """A gateway of IPv4.  Raises ValueError."""
    found = interface(text)
    if found.version != 4:
        raise ValueError("expected an IPv4 address with a prefix length, like 203.0.113.1/24")
    return str(found)


def pool(text: str) -> str:
    """``text`` if it is an address, or a range of them.  Raises ValueError."""
    if "/" in text:
        raise ValueError("expected an address or a range of addresses, like 10.20.0.10-10.20.0.20")
    AddressRange.parse(text)
    return text


def pools(texts: Iterable[str], gateways: Sequence[Interface]) -> list[AddressRange]:
    """The ranges of pools.  Raises ValueError for one that is not inside of a gateway's network, has an address that
    no machine can have, or overlaps another."""
    found: list[AddressRange] = []
    for text in texts:
        given = AddressRange.parse(text)
        homes = [place for place in gateways if _holds(place, given)]
        if not homes:
            raise ValueError(
                f"the pool {text} is outside of the network {' or '.join(str(g.network) for g in gateways)}"
            )
        if homes[0].ip in given:
            raise ValueError(f"the pool {text} has the gateway's address")
        if any(given.overlaps(other) for other in found):
            raise ValueError(f"the pool {text} overlaps another one")
        found.append(given)
    return found


def _holds(place: Interface, given: AddressRange) -> bool:
    """Can machines of the network have these addresses?  Those of IPv4 have neither its first nor its last."""
    whole = AddressRange.of_network(place.network)
    if given.version != place.version:
        return False
    edge = 1 if place.version == 4 else 0
    return int(whole.first) + edge <= int(given.first) and int(given.last) <= int(whole.last) - edge
