"""Address and port ranges: the smallest values of the model, shared by every feature's configuration."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

IPAddress = IPv4Address | IPv6Address
IPNetwork = IPv4Network | IPv6Network


@dataclass(frozen=True, slots=True)
class AddressRange:
    """All addresses from ``first`` to ``last``, both included, of one family."""

    first: IPAddress
    last: IPAddress

    @property
    def version(self) -> int:
        """4 or 6."""
        return self.first.version

    @property
    def size(self) -> int:
        """How many addresses."""
        return int(self.last) - int(self.first) + 1

    def __contains__(self, address: IPAddress) -> bool:
        return address.version == self.first.version and int(self.first) <= int(address) <= int(self.last)

    def overlaps(self, other: AddressRange) -> bool:
        """True when some address is in both."""
        return (
            self.version == other.version and int(self.first) <= int(other.last) and int(other.first) <= int(self.last)
        )

    @classmethod
    def of_network(cls, network: IPNetwork) -> AddressRange:
        """The range of a CIDR, network and broadcast address included."""
        return cls(network.network_address, network.broadcast_address)

    @classmethod
    def parse(cls, text: str) -> AddressRange:
        """Read ``10.0.0.1``, ``10.0.0.1-10.0.0.9`` or ``10.0.0.0/24`` (either family).

        Host bits in a CIDR are accepted and cleared, as VCD does.  Raises ValueError with a sentence that says what
        was expected.
        """
        text = text.strip()
        if "/" in text:
            return cls.of_network(ip_network(text, strict=False))
        if "-" in text:
            low, high = (ip_address(part.strip()) for part in text.split("-", 1))
            if low.version != high.version:
                raise ValueError(f"{text!r} joins an IPv4 and an IPv6 address")
            if int(low) > int(high):
                raise ValueError(f"{text!r} ends before it starts")
            return cls(low, high)
        address = ip_address(text)
        return cls(address, address)

    def __str__(self) -> str:
        if self.first == self.last:
            return str(self.first)
        bits = (int(self.first) ^ int(self.last)).bit_length()
        mask = (1 << bits) - 1
        if int(self.first) & mask == 0 and int(self.last) & mask == mask:
            return f"{self.first}/{self.first.max_prefixlen - bits}"
        return f"{self.first}-{self.last}"


@dataclass(frozen=True, slots=True)
class PortRange:
    """Ports from ``first`` to ``last``, both included, 0..65535."""

    first: int
    last: int

    @property
    def size(self) -> int:
        """How many ports."""
        return self.last - self.first + 1

    def __contains__(self, port: int) -> bool:
        return self.first <= port <= self.last

    def overlaps(self, other: PortRange) -> bool:
        """True when some port is in both."""
        return self.first <= other.last and other.first <= self.last

    @classmethod
    def parse(cls, text: str) -> PortRange:
        """Read ``80`` or ``8000-8010``.  Raises ValueError with a sentence that says what was expected."""
        low, dash, high = text.strip().partition("-")
        low, high = low.strip(), high.strip()
        if not (low.isascii() and low.isdigit()) or (dash and not (high.isascii() and high.isdigit())):
            raise ValueError(f"{text!r} is neither a port nor a range of ports such as 8000-8010")
        first, last = int(low), int(high or low)
        if first > last:
            raise ValueError(f"{text!r} ends before it starts")
        if last > 65535:
            raise ValueError(f"{text!r} is past the last port, 65535")
        return cls(first, last)

    def __str__(self) -> str:
        return str(self.first) if self.first == self.last else f"{self.first}-{self.last}"


ANY_PORT_RANGE = PortRange(0, 65535)
"""Every port."""


def merge_ranges(ranges: Iterable[AddressRange]) -> tuple[AddressRange, ...]:
    """The same addresses as sorted, disjoint, non-adjacent ranges: IPv4 first, then IPv6."""
    ranges = tuple(ranges)
    if len(ranges) < 2:
        return ranges
    merged: list[AddressRange] = []
    for item in sorted(ranges, key=lambda r: (r.version, int(r.first), int(r.last))):
        if merged and merged[-1].version == item.version and int(item.first) <= int(merged[-1].last) + 1:
            if int(item.last) > int(merged[-1].last):
                merged[-1] = AddressRange(merged[-1].first, item.last)
        else:
            merged.append(item)
    return tuple(merged)
