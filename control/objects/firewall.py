"""Firewall rules."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, StringConstraints, model_validator

from control.objects.profile import Protocol
from control.objects.reading import MAX_REFERENCES, Addresses, Ports, References
from control.objects.values import Description, DisplayName, Lines, Value

MAX_RULES = 1_000
"""CloudAPI's count, of one edge."""

Action = Literal["ALLOW", "DROP", "REJECT"]


class Layer4Item(Value):
    """A protocol with ports of both sides."""

    protocol: Protocol
    source_ports: Annotated[tuple[Ports, ...], Field(max_length=MAX_REFERENCES)] = ()
    destination_ports: Annotated[tuple[Ports, ...], Field(max_length=MAX_REFERENCES)] = ()

    @model_validator(mode="after")
    def _ports_of_tcp_and_udp(self) -> Layer4Item:
        if (self.source_ports or self.destination_ports) and self.protocol not in {"TCP", "UDP"}:
            raise ValueError(f"{self.protocol} has no ports")
        return self


class RawPortProtocol(Value):
    """CloudAPI's wrapper around it."""

    layer4_item: Layer4Item


class FirewallRule(Value):
    """A rule; a list that is empty means any."""

    display_name: DisplayName
    description: Description = ""
    comments: Annotated[str, StringConstraints(max_length=2_048), Lines] = ""
    enabled: bool = True
    logging: bool = False
    action_value: Action
    direction: Literal["IN", "OUT", "IN_OUT"] = "IN_OUT"
    ip_protocol: Literal["IPV4", "IPV6", "IPV4_IPV6"] = "IPV4_IPV6"
    source_firewall_groups: References = ()
    destination_firewall_groups: References = ()
    source_firewall_ip_addresses: Annotated[tuple[Addresses, ...], Field(max_length=MAX_REFERENCES)] = ()
    destination_firewall_ip_addresses: Annotated[tuple[Addresses, ...], Field(max_length=MAX_REFERENCES)] = ()
    application_port_profiles: References = ()
    raw_port_protocols: Annotated[tuple[RawPortProtocol, ...], Field(max_length=MAX_REFERENCES)] = ()
