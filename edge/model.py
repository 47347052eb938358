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


@dataclass(frozen=True, slots=True)
class Options:
    """The emulator's own switches; ``docs/config.md`` says what each does."""

    limits: str = "vcd"
    tcp_strict: bool = True
    timers: Timers = field(default_factory=Timers)
    provider_filter: tuple[BlockedPorts, ...] = PROVIDER_FILTER
    sessions_on_change: SessionsOnChange = SessionsOnChange.KEEP
    east_west_firewall: bool = False
    snat_service_port: SnatServicePort = SnatServicePort.IGNORE
    reject_code: int = 13
    mtu: int = 1500
    snat_port_range: PortRange = PortRange(1024, 65535)
    max_sessions: int = 1_000_000
    max_half_open: int = 100_000
    fragment_timeout: int = 30
    max_fragments: int = 4096
    seed: int | None = None


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
