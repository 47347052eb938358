"""Fields that are read by the readers of edge documents, so that what is stored is what an edge takes."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from ipaddress import ip_address
from typing import Annotated, Any

from pydantic import AfterValidator, Field, StringConstraints

from edge.document.problems import Findings, Path
from edge.document.values import Values

MAX_REFERENCES = 128
"""CloudAPI's count of what one list of a rule, or one side of a tunnel, may have."""


def _read_by(reader: Callable[[Values, str, Path], Any]) -> AfterValidator:
    """The text, if the reader of documents has nothing to say against it.  What is well is remembered: values are read
    again whenever the store is asked for them, and what a text is depends on nothing else."""

    @lru_cache(maxsize=1 << 15)
    def check(text: str) -> str:
        findings = Findings()
        reader(Values(findings), text, ())
        if findings.items:
            raise ValueError(findings.items[0].message)
        return text

    return AfterValidator(check)


def _one_line(text: str) -> str:
    if not text.isprintable():
        raise ValueError("expected no control or invisible characters")
    return text


def _or_nothing(reader: AfterValidator) -> AfterValidator:
    check: Any = reader.func
    return AfterValidator(lambda text: check(text) if text else text)


def _usual(text: str) -> str:
    return str(ip_address(text.strip()))


def _or_any(values: Values, text: str, path: Path) -> None:
    if text.upper() != "ANY":
        values.ports(text, path)


OneLine = AfterValidator(_one_line)
_Short = Annotated[str, StringConstraints(max_length=100)]

Addresses = Annotated[_Short, _read_by(Values.range)]
"""An address, a CIDR or a range ``a-b``."""

AddressOrCidr = Annotated[_Short, _read_by(Values.address_or_cidr)]
Cidr = Annotated[_Short, _read_by(Values.network)]
Host = Annotated[_Short, _read_by(Values.host), AfterValidator(_usual)]
"""An address that a machine can have, as it is written usually."""

NoHost = Annotated[_Short, _or_nothing(_read_by(Values.host)), _or_nothing(AfterValidator(_usual))]
"""The same, or '' where there is none."""

Ports = Annotated[_Short, _read_by(Values.ports)]
"""``80`` or ``8000-8010``."""

NoAddresses = Annotated[_Short, _or_nothing(_read_by(Values.range))]
NoAddressOrCidr = Annotated[_Short, _or_nothing(_read_by(Values.address_or_cidr))]
NoPorts = Annotated[_Short, _or_nothing(_read_by(_or_any))]
"""The same, or '' where nothing is asked for."""

Name = Annotated[str, StringConstraints(min_length=1, max_length=512), OneLine]
"""The name of another object."""

NoName = Annotated[str, StringConstraints(max_length=512), OneLine]
"""The same, or ''."""

References = Annotated[tuple[Name, ...], Field(max_length=MAX_REFERENCES)]

ShortText = Annotated[str, StringConstraints(max_length=128), OneLine]
"""Up to 128 characters on a line, perhaps none."""
