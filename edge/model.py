"""EdgeConfig: one edge gateway as an immutable value, every reference resolved, every limit checked.

The border (:mod:`edge.document`) builds it; the compiler, the readable reference and every command read it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

from edge.addresses import PortRange
from edge.firewall.config import FirewallConfig
from edge.nat.config import NatConfig
from edge.routing.config import RoutingConfig


class Profile(StrEnum):
    """Whose NAT the edge is: NSX's, or one that keeps the best current practice of RFC 4787, 5382 and 5508."""

    NSX = "nsx"
    STRICT_RFC = "strict-rfc"


class SessionsOnChange(StrEnum):
    """What a configuration change does to sessions that are open."""

    KEEP = "KEEP"
    RECHECK = "RECHECK"
    FLUSH = "FLUSH"


class SnatServicePort(StrEnum):
    """Does a profile's destination port filter an SNAT or NO_SNAT rule?"""

    IGNORE = "IGNORE"
    MATCH = "MATCH"


@dataclass(frozen=True, slots=True)
class Timers:
    """Idle timeouts in seconds: NSX gateway-firewall defaults (NSX 4.1 administration guide, GUID-F4187E53); ``other``
    is assumed, the guide has no column for it."""

    tcp_first: int = 120
    tcp_opening: int = 30
    tcp_established: int = 7200
    tcp_fin_wait: int = 4
    tcp_closing: int = 900
    tcp_closed: int = 2
    udp_first: int = 30
    udp_single: int = 30
    udp_multiple: int = 30
    icmp_first: int = 6
    icmp_error_reply: int = 6
    other: int = 60


STRICT_RFC_TIMERS = Timers(
    tcp_first=240,
    tcp_opening=240,
    tcp_established=7440,
    tcp_fin_wait=240,
    tcp_closing=240,
    tcp_closed=240,
    udp_first=300,
    udp_single=300,
    udp_multiple=300,
    icmp_first=60,
    icmp_error_reply=60,
)
"""Idle timeouts of the profile strict-rfc: two hours and four minutes for an open connection and four minutes for any
other state of TCP (RFC 5382 REQ-5), five minutes for UDP (RFC 4787 REQ-5), one for ICMP queries (RFC 5508 REQ-2)."""


@dataclass(frozen=True, slots=True)
class BlockedPorts:
    """Ports of one protocol (6 or 17) that the provider drops upstream of every edge."""

    protocol: int
    ports: tuple[PortRange, ...]


PROVIDER_FILTER: tuple[BlockedPorts, ...] = (
    BlockedPorts(
        6,
        (
            PortRange(135, 139),
            PortRange(445, 445),
            PortRange(3475, 3480),
            PortRange(5790, 5850),
            PortRange(27000, 27050),
        ),
    ),
    BlockedPorts(
        17,
        (
            PortRange(135, 139),
            PortRange(161, 161),
            PortRange(2300, 2400),
            PortRange(3475, 3480),
            PortRange(5790, 5850),
            PortRange(27000, 27050),
        ),
    ),
)
"""The cloud's own list, as its user's manual gives it."""


DEFAULT_SEED = 1
"""What everything random starts from where neither the caller nor the options name a seed."""


@dataclass(frozen=True, slots=True)
class Options:
    """The emulator's own switches; ``docs/config.md`` says what each does."""

    profile: Profile = Profile.NSX
    limits: str = "vcd"
    tcp_strict: bool = True
    timers: Timers = field(default_factory=Timers)
    provider_filter: tuple[BlockedPorts, ...] = PROVIDER_FILTER
    sessions_on_change: SessionsOnChange = SessionsOnChange.KEEP
    east_west_firewall: bool = False
    snat_service_port: SnatServicePort = SnatServicePort.IGNORE
    reject_code: int = 13
    mtu: int = 1500
    icmp_error_rate: int = 1000  # a second; 0: no limit
    snat_port_range: PortRange = PortRange(1024, 65535)
    max_sessions: int = 1_000_000
    max_sessions_per_source: int | None = None
    max_half_open: int = 100_000
    fragment_timeout: int = 30
    max_fragments: int = 4096
    seed: int | None = None

    @property
    def endpoint_independent(self) -> bool:
        """Does an internal endpoint keep its external one towards every far end (RFC 4787 REQ-1)?"""
        return self.profile is Profile.STRICT_RFC

    @property
    def hairpin_inside(self) -> bool:
        """Does a packet that leaves for an address of the edge enter again at once (RFC 4787 REQ-9)?"""
        return self.profile is Profile.STRICT_RFC


@dataclass(frozen=True, slots=True)
class EdgeConfig:
    """Everything one edge gateway is told to do."""

    id: str
    name: str
    routing: RoutingConfig
    firewall: FirewallConfig
    nat: NatConfig
    options: Options = field(default_factory=Options)

    @property
    def ports(self) -> tuple[str, ...]:
        """Port names: uplinks first, then networks, in document order; a port's number is its place here."""
        uplinks = tuple(uplink.name for uplink in self.routing.uplinks)
        return uplinks + tuple(network.name for network in self.routing.networks)
