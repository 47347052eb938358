"""NAT rules as VCD writes them (EdgeNatRule), with references resolved."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from edge.addresses import AddressRange, PortRange
from edge.firewall.config import ApplicationPortProfile


class NatType(StrEnum):
    """``type`` of a rule."""

    DNAT = "DNAT"
    SNAT = "SNAT"
    NO_DNAT = "NO_DNAT"
    NO_SNAT = "NO_SNAT"
    REFLEXIVE = "REFLEXIVE"


class FirewallMatch(StrEnum):
    """Which addresses the firewall is asked about, or whether it is asked at all."""

    MATCH_INTERNAL_ADDRESS = "MATCH_INTERNAL_ADDRESS"
    MATCH_EXTERNAL_ADDRESS = "MATCH_EXTERNAL_ADDRESS"
    BYPASS = "BYPASS"


@dataclass(frozen=True, slots=True)
class NatRule:
    """One rule.  ``external`` and ``internal`` are None where the type has no such side, or (NO_DNAT, NO_SNAT) any.

    ``external_port`` is ``dnatExternalPort``; ``snat_destination`` None matches every destination.
    """

    id: str
    name: str
    type: NatType
    external: AddressRange | None = None
    internal: AddressRange | None = None
    external_port: PortRange | None = None
    profile: ApplicationPortProfile | None = None
    snat_destination: AddressRange | None = None
    firewall_match: FirewallMatch = FirewallMatch.MATCH_INTERNAL_ADDRESS
    priority: int = 0
    enabled: bool = True
    logging: bool = False


@dataclass(frozen=True, slots=True)
class NatConfig:
    """Rules in document order; evaluation order is (priority, document order)."""

    rules: tuple[NatRule, ...] = ()
