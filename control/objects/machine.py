"""Virtual machines."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from enum import StrEnum
from ipaddress import ip_address
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, Field, StringConstraints, model_validator

from control.objects.catalog import MemoryGb, Vcpu
from control.objects.values import Description, DisplayName, Value, reference

MAX_NICS = 10
MAX_TAGS = 50
MAX_METADATA = 100
MAX_COMMAND = 16_384
MAX_WINDOWS_NAME = 15
_NOT_IN_A_NAME = re.compile(r"[^A-Za-z0-9-]+")


class Adapter(StrEnum):
    """What a network card looks like to the machine."""

    E1000E = "E1000E"
    SRIOVETHERNETCARD = "SRIOVETHERNETCARD"
    VMXNET3 = "VMXNET3"


class IpMode(StrEnum):
    """Where the address of a network card comes from."""

    NONE = "NONE"
    DHCP = "DHCP"
    POOL = "POOL"
    MANUAL = "MANUAL"


def _address(text: str) -> str:
    if text:
        if "%" in text:
            raise ValueError("expected an address without a zone")
        return str(ip_address(text))
    return text


def _host_name(text: str) -> str:
    """RFC 1123, 2.1: one label."""
    if not re.fullmatch(r"[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?", text) or text.isdigit():
        raise ValueError("expected up to 63 letters, digits and hyphens, not only digits, no hyphen at an end")
    return text


def host_name_of(shown: str, longest: int) -> str:
    """A computer name for a machine that is given none."""
    text = _NOT_IN_A_NAME.sub("-", shown)[:longest].strip("-")
    return text if text and not text.isdigit() else f"vm-{text}".rstrip("-")[:longest]


def _command(text: str) -> str:
    if "\0" in text:
        raise ValueError("expected no NUL character")
    return text


class Nic(Value):
    """A network card.  ``network`` '': it is on none."""

    network: Annotated[str, AfterValidator(lambda text: text and _NETWORK(text))] = ""
    primary: bool = False
    connected: bool = True
    adapter: Adapter = Adapter.VMXNET3
    ip_mode: IpMode = IpMode.POOL
    address: Annotated[str, AfterValidator(_address)] = ""

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if (self.ip_mode is IpMode.MANUAL) != bool(self.address):
            raise ValueError("expected an address with the ip_mode MANUAL and only then")
        if not self.network and self.ip_mode is not IpMode.NONE:
            raise ValueError("expected the ip_mode NONE without a network")
        return self


_NETWORK = reference("orgs/*/networks/*").func


class CustomSize(Value):
    """A size of one's own."""

    vcpu: Vcpu
    memory_gb: MemoryGb
    sockets: Annotated[int, Field(ge=1)] = 1

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.vcpu % self.sockets:
            raise ValueError("expected as many vCPUs in each socket")
        return self


class Machine(Value):
    """A machine of a data center; its size is one that the provider offers, or its owner's own."""

    display_name: DisplayName
    computer_name: Annotated[str, AfterValidator(_host_name)]
    description: Description = ""
    template: Annotated[str, reference("regions/*/templates/*")]
    sizing_policy: Annotated[str, AfterValidator(lambda text: text and _SIZE(text))] = ""
    custom: CustomSize | None = None
    storage_policy: Literal["SSDPremium"] = "SSDPremium"
    nics: Annotated[tuple[Nic, ...], Field(max_length=MAX_NICS)] = ()
    tags: Annotated[tuple[DisplayName, ...], Field(max_length=MAX_TAGS)] = ()
    metadata: Annotated[dict[DisplayName, Description], Field(max_length=MAX_METADATA)] = Field(default_factory=dict)
    start_command: Annotated[str, StringConstraints(max_length=MAX_COMMAND), AfterValidator(_command)] = ""

    @model_validator(mode="before")
    @classmethod
    def _name(cls, given: Any) -> Any:
        if isinstance(given, dict) and not given.get("computer_name") and isinstance(given.get("display_name"), str):
            return {**given, "computer_name": host_name_of(given["display_name"], MAX_WINDOWS_NAME)}
        return given

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if bool(self.sizing_policy) == (self.custom is not None):
            raise ValueError("expected a sizing_policy or a custom size, and not both")
        if sum(nic.primary for nic in self.nics) > 1:
            raise ValueError("expected at most one primary network card")
        if len(set(self.tags)) != len(self.tags):
            raise ValueError("expected each tag once")
        return self


def primary_of(nics: Sequence[Mapping[str, Any]]) -> int:
    """The number of the primary one of a machine's network cards, as stored: the first, if none is said to be."""
    return next((number for number, nic in enumerate(nics) if nic["primary"]), 0)


_SIZE = reference("sizingPolicies/*").func
