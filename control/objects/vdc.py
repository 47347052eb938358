"""Virtual data centers, and groups of them."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Final, Self

from pydantic import Field, StringConstraints, model_validator

from control.objects.values import Description, DisplayName, Value, reference

MAX_GROUPED: Final = 16


class Plan(StrEnum):
    """How a data center is paid for: an amount that was bought, or what runs."""

    POOL = "POOL"
    ON_DEMAND = "ON_DEMAND"


RegionName = Annotated[str, reference("regions/*")]
VdcName = Annotated[str, reference("orgs/*/vdcs/*")]
OwnerName = Annotated[str, reference("orgs/*/vdcs/*", "orgs/*/vdcGroups/*")]
"""What networks and edges belong to."""


class Quota(Value):
    """What was bought of a pool, and the least that can be."""

    vcpu: Annotated[int, Field(ge=20, le=1_000_000)]
    memory_gb: Annotated[int, Field(ge=50, le=1_000_000)]
    storage_gb: Annotated[int, Field(ge=200, le=1_000_000_000)]


class Vdc(Value):
    """A data center of an organization.  ``subscription`` is the number of the order."""

    region: RegionName
    plan: Plan
    subscription: Annotated[str, StringConstraints(pattern=r"^[0-9]{1,12}$", max_length=12)]
    quota: Quota | None = None
    description: Description = ""

    @model_validator(mode="after")
    def _bought(self) -> Self:
        if (self.quota is not None) != (self.plan is Plan.POOL):
            raise ValueError("expected a quota for the plan POOL, and none for ON_DEMAND")
        return self

    def id_in(self, account: str) -> str:
        """Its id, for example ``USMIA01P-US1134362P1349404``."""
        region, letter = self.region.rpartition("/")[2], "P" if self.plan is Plan.POOL else "D"
        return f"{region}-{account}{letter}{self.subscription}"


class VdcGroup(Value):
    """Data centers of one region that have networks and edges together."""

    display_name: DisplayName
    description: Description = ""
    region: RegionName
    vdcs: Annotated[tuple[VdcName, ...], Field(min_length=1, max_length=MAX_GROUPED)]

    @model_validator(mode="after")
    def _each_once(self) -> Self:
        if len(set(self.vdcs)) < len(self.vdcs):
            raise ValueError("expected each data center once")
        return self
