"""Application port profiles."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from control.objects.reading import Ports, ShortText
from control.objects.values import Description, DisplayName, Value

Protocol = Literal["TCP", "UDP", "ICMPv4", "ICMPv6"]


class ApplicationPort(Value):
    """One protocol of a profile."""

    name: ShortText = ""
    protocol: Protocol
    destination_ports: Annotated[tuple[Ports, ...], Field(max_length=128)] = ()

    @model_validator(mode="after")
    def _ports_of_tcp_and_udp(self) -> ApplicationPort:
        if self.destination_ports and self.protocol not in {"TCP", "UDP"}:
            raise ValueError(f"{self.protocol} has no ports")
        return self


class ApplicationPortProfile(Value):
    """A named list of application ports."""

    display_name: DisplayName
    description: Description = ""
    application_ports: Annotated[tuple[ApplicationPort, ...], Field(min_length=1, max_length=128)]

    def usable_for_nat(self) -> bool:
        """One application port with at most one port or range of ports."""
        return len(self.application_ports) == 1 and len(self.application_ports[0].destination_ports) <= 1
