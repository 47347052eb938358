"""NAT rules."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from control.objects.reading import NoAddresses, NoAddressOrCidr, NoName, NoPorts
from control.objects.values import Description, DisplayName, Value

MAX_RULES = 1_000
TRANSLATING = frozenset({"DNAT", "SNAT", "REFLEXIVE"})
"""The types whose external addresses are the edge's own."""


class NatRule(Value):
    """A rule of any type; which fields a type has is the edge's to say, see docs/config.md."""

    display_name: DisplayName
    description: Description = ""
    enabled: bool = True
    logging: bool = False
    type: Literal["DNAT", "SNAT", "NO_DNAT", "NO_SNAT", "REFLEXIVE"]
    external_addresses: NoAddresses = ""
    internal_addresses: NoAddressOrCidr = ""
    dnat_external_port: NoPorts = ""
    snat_destination_addresses: NoAddressOrCidr = ""
    application_port_profile: NoName = ""
    firewall_match: Literal["MATCH_INTERNAL_ADDRESS", "MATCH_EXTERNAL_ADDRESS", "BYPASS"] = "MATCH_INTERNAL_ADDRESS"
    priority: Annotated[int, Field(ge=0, le=2_147_481_599)] = 0
