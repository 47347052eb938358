"""Users and their roles."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

from pydantic import AfterValidator, StringConstraints

from control.objects.values import DisplayName, Value


class Role(StrEnum):
    """The four roles of the cloud, and the provider's own."""

    ADMINISTRATOR = "ROLE_ADMINISTRATOR"
    ORGANIZATION_ADMINISTRATOR = "ROLE_ORGANIZATION_ADMINISTRATOR"
    TECHNICAL_ADMINISTRATOR = "ROLE_TECHNICAL_ADMINISTRATOR"
    STAFF = "ROLE_STAFF"
    SYSTEM_ADMINISTRATOR = "ROLE_SYSTEM_ADMINISTRATOR"


def _mailbox(text: str) -> str:
    """No more than what every address has: RFC 5321 leaves the rest to the machine that it names."""
    local, at, domain = text.rpartition("@")
    if not (local and at and domain) or not text.isprintable() or " " in text:
        raise ValueError("expected an address like maria@example.com")
    return text


Username = Annotated[str, StringConstraints(max_length=64, pattern=r"^[a-z0-9][a-z0-9._-]*$")]
Email = Annotated[str, StringConstraints(min_length=3, max_length=254), AfterValidator(_mailbox)]


class User(Value):
    """Somebody who can log in."""

    username: Username
    email: Email
    first_name: DisplayName
    last_name: DisplayName
    role: Role
