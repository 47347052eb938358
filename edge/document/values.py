"""Addresses and ports as they stand in documents, read once each."""

from __future__ import annotations

from ipaddress import IPv4Address, ip_address, ip_network
from socket import AF_INET, inet_pton

from edge.addresses import AddressRange, IPAddress, IPNetwork, PortRange
from edge.document.problems import Findings, Path, quoted

PROTOCOLS = {"TCP": 6, "UDP": 17, "ICMPv4": 1, "ICMPv6": 58, "IGMP": 2}
"""Names of application port profiles → IANA protocol numbers."""

_HOST_MASKS = {str(bits): (1 << (32 - bits)) - 1 for bits in range(33)}

_LONGEST_ADDRESS = 100  # two IPv6 addresses and a dash; a longer text is refused unread


def _ipv4_range(text: str) -> AddressRange | None:
    """The commonest texts, an IPv4 address or CIDR, several times faster than ipaddress reads them; None for others."""
    address, slash, bits = text.partition("/")
    try:
        value = int.from_bytes(inet_pton(AF_INET, address), "big")
    except (OSError, UnicodeError, ValueError):
        return None
    if not slash:
        one = IPv4Address(value)
        return AddressRange(one, one)
    if bits not in _HOST_MASKS:
        return None
    mask = _HOST_MASKS[bits]
    return AddressRange(IPv4Address(value & ~mask), IPv4Address(value | mask))


class Values:
    """Reads values and reports those that cannot be read.  Equal texts are read once: large rule sets repeat them."""

    def __init__(self, findings: Findings) -> None:
        self._findings = findings
        self._ranges: dict[str, AddressRange] = {}
        self._ports: dict[str, PortRange] = {}

    def range(self, text: str, path: Path) -> AddressRange | None:
        """An address, a CIDR or a range ``a-b``."""
        known = self._ranges.get(text)
        if known is not None:
            return known
        try:
            if len(text) > _LONGEST_ADDRESS or "%" in text:
                raise ValueError
            found = _ipv4_range(text) or AddressRange.parse(text)
        except ValueError as error:
            # AddressRange says what is wrong with a range; ipaddress' own sentences speak of its internals.
            reason = str(error) if "ends before" in str(error) or "joins an" in str(error) else ""
            expected = "expected an address, a CIDR or a range such as 10.0.0.1-10.0.0.9"
            self._findings.error("INVALID_VALUE", path, reason or f"{expected}, not {quoted(text)}")
            return None
        self._ranges[text] = found
        return found

    def address_or_cidr(self, text: str, path: Path) -> AddressRange | None:
        """An address or a CIDR, as NAT rules have them."""
        if "-" in text:
            self._findings.error("INVALID_VALUE", path, f"expected one address or one CIDR, not {quoted(text)}")
            return None
        return self.range(text, path)

    def address(self, text: str, path: Path) -> IPAddress | None:
        """One address of either family, without a zone."""
        try:
            if len(text) > _LONGEST_ADDRESS or "%" in text:
                raise ValueError
            return ip_address(text.strip())
        except ValueError:
            self._findings.error("INVALID_VALUE", path, f"expected an IPv4 or IPv6 address, not {quoted(text)}")
            return None

    def host(self, text: str, path: Path) -> IPAddress | None:
        """An address that a machine can have: no multicast, loopback, unspecified or broadcast one."""
        address = self.address(text, path)
        if address is not None and (
            address.is_multicast
            or address.is_loopback
            or address.is_unspecified
            or (isinstance(address, IPv4Address) and int(address) >= 0xF0000000)
        ):
            self._findings.error("INVALID_VALUE", path, f"{address} is not an address that a machine can have")
            return None
        return address

    def network(self, text: str, path: Path) -> IPNetwork | None:
        """A CIDR; host bits are cleared."""
        try:
            if len(text) > _LONGEST_ADDRESS or "%" in text or "/" not in text:
                raise ValueError
            return ip_network(text.strip(), strict=False)
        except ValueError:
            self._findings.error("INVALID_VALUE", path, f"expected a CIDR such as 10.0.0.0/24, not {quoted(text)}")
            return None

    def subnet(self, gateway: str, prefix_length: int, path: Path) -> tuple[IPAddress, IPNetwork] | None:
        """The gateway and the subnet it stands in."""
        address = self.host(gateway, (*path, "gateway"))
        if address is None:
            return None
        if prefix_length > address.max_prefixlen:
            message = f"an IPv{address.version} prefix has from 1 to {address.max_prefixlen} bits, not {prefix_length}"
            self._findings.error("OUT_OF_RANGE", (*path, "prefixLength"), message)
            return None
        network = ip_network((int(address), prefix_length), strict=False) if address.version == 4 else None
        if network is None:
            network = ip_network(f"{address}/{prefix_length}", strict=False)
        if address.version == 4 and prefix_length <= 30 and address in (network[0], network[-1]):
            what = "network" if address == network[0] else "broadcast"
            self._findings.error("CONFLICT", (*path, "gateway"), f"{address} is the {what} address of {network}")
            return None
        return address, network

    def ports(self, text: str, path: Path) -> PortRange | None:
        """``80`` or ``8000-8010``."""
        known = self._ports.get(text)
        if known is not None:
            return known
        try:
            if len(text) > 20:
                raise ValueError(f"{quoted(text)} is neither a port nor a range of ports such as 8000-8010")
            found = PortRange.parse(text)
        except ValueError as error:
            code = "OUT_OF_RANGE" if "past the last" in str(error) else "INVALID_VALUE"
            self._findings.error(code, path, str(error))
            return None
        self._ports[text] = found
        return found
