"""What a firewall configuration is made of: groups, application port profiles, rules.

Field names are CloudAPI's (``domain.md`` names the schema files) in Python spelling.  References are resolved: a rule
holds its groups and profiles themselves.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from edge.addresses import AddressRange, PortRange

EMULATED_ALGS = frozenset({"FTP", "TFTP"})
"""Helpers that open further connections here, by their names in application port profiles."""


class Action(StrEnum):
    """``actionValue`` of a rule."""

    ALLOW = "ALLOW"
    DROP = "DROP"
    REJECT = "REJECT"


class Direction(StrEnum):
    """Relative to the gateway: IN entered by an uplink, OUT leaves by one, IN_OUT is any packet."""

    IN = "IN"
    OUT = "OUT"
    IN_OUT = "IN_OUT"


class IpProtocol(StrEnum):
    """Which families a rule speaks of."""

    IPV4 = "IPV4"
    IPV6 = "IPV6"
    IPV4_IPV6 = "IPV4_IPV6"


class Section(StrEnum):
    """Which list a rule stands in; evaluated in this order."""

    SYSTEM = "systemRules"
    USER = "userDefinedRules"
    DEFAULT = "defaultRules"


@dataclass(frozen=True, slots=True)
class FirewallGroup:
    """An IP set or a static security group.  ``ranges`` are its addresses (for members: their networks' subnets),
    sorted and merged; an empty tuple matches nothing."""

    id: str
    name: str
    type_value: str  # IP_SET or STATIC_MEMBERS
    ranges: tuple[AddressRange, ...]
    members: tuple[str, ...] = ()  # names of networks


@dataclass(frozen=True, slots=True)
class Service:
    """One protocol with its ports.  Empty port tuples mean any; ``icmp_type``/``icmp_code`` None mean any."""

    protocol: int  # IANA protocol number
    destination_ports: tuple[PortRange, ...] = ()
    source_ports: tuple[PortRange, ...] = ()
    icmp_type: int | None = None
    icmp_code: int | None = None


@dataclass(frozen=True, slots=True)
class ApplicationPortProfile:
    """A named list of services; ``alg`` names the helper protocol that NSX ties to it, '' for none."""

    id: str
    name: str
    scope: str  # SYSTEM, PROVIDER or TENANT
    services: tuple[Service, ...]
    alg: str = ""


@dataclass(frozen=True, slots=True)
class FirewallRule:
    """One rule.  No groups and no inline addresses on a side means ANY there; no profiles and no services means any
    service."""

    id: str
    name: str
    section: Section
    action: Action
    direction: Direction = Direction.IN_OUT
    ip_protocol: IpProtocol = IpProtocol.IPV4_IPV6
    enabled: bool = True
    logging: bool = False
    source_groups: tuple[FirewallGroup, ...] = ()
    source_addresses: tuple[AddressRange, ...] = ()
    destination_groups: tuple[FirewallGroup, ...] = ()
    destination_addresses: tuple[AddressRange, ...] = ()
    profiles: tuple[ApplicationPortProfile, ...] = ()
    services: tuple[Service, ...] = ()

    @property
    def any_source(self) -> bool:
        """True when the source is not restricted."""
        return not self.source_groups and not self.source_addresses

    @property
    def any_destination(self) -> bool:
        """True when the destination is not restricted."""
        return not self.destination_groups and not self.destination_addresses

    @property
    def any_service(self) -> bool:
        """True when the service is not restricted."""
        return not self.profiles and not self.services


@dataclass(frozen=True, slots=True)
class FirewallConfig:
    """Rules in the order of evaluation: system, user, default."""

    rules: tuple[FirewallRule, ...]
    groups: tuple[FirewallGroup, ...] = ()
    profiles: tuple[ApplicationPortProfile, ...] = ()
