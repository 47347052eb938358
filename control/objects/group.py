"""Firewall groups: IP sets and security groups."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, StringConstraints, model_validator

from control.objects.reading import Addresses, Name, OneLine
from control.objects.values import Description, DisplayName, Value

MAX_ADDRESSES = 4_096
MAX_MEMBERS = 1_000


class IpSet(Value):
    """A set of addresses; an empty one has none of them."""

    display_name: DisplayName
    description: Description = ""
    ip_addresses: Annotated[tuple[Addresses, ...], Field(max_length=MAX_ADDRESSES)] = ()


class VmRule(Value):
    """What is asked of a machine.  Tags and names are compared without regard to case."""

    attribute_type: Literal["VM_TAG", "VM_NAME"]
    operator: Literal["EQUALS", "CONTAINS", "STARTS_WITH", "ENDS_WITH"]
    attribute_value: Annotated[str, StringConstraints(min_length=1, max_length=128), OneLine]

    @model_validator(mode="after")
    def _operators_of_names(self) -> VmRule:
        if self.attribute_type == "VM_NAME" and self.operator not in {"CONTAINS", "STARTS_WITH"}:
            raise ValueError(f"VM_NAME has the operators CONTAINS and STARTS_WITH, not {self.operator}")
        return self

    def holds(self, name: str, tags: tuple[str, ...]) -> bool:
        """Is it so of a machine of this name with these tags?"""
        wanted = self.attribute_value.casefold()
        texts = tags if self.attribute_type == "VM_TAG" else (name,)
        return any(self._fits(text.casefold(), wanted) for text in texts)

    def _fits(self, text: str, wanted: str) -> bool:
        if self.operator == "EQUALS":
            return text == wanted
        if self.operator == "CONTAINS":
            return wanted in text
        return text.startswith(wanted) if self.operator == "STARTS_WITH" else text.endswith(wanted)


class VmCriterion(Value):
    """Rules that all have to hold."""

    rules: Annotated[tuple[VmRule, ...], Field(min_length=1, max_length=4)]


class SecurityGroup(Value):
    """The machines of some networks, or those that one of the criteria fits."""

    display_name: DisplayName
    description: Description = ""
    members: Annotated[tuple[Name, ...], Field(max_length=MAX_MEMBERS)] = ()
    vm_criteria: Annotated[tuple[VmCriterion, ...], Field(max_length=3)] = ()

    @model_validator(mode="after")
    def _static_or_dynamic(self) -> SecurityGroup:
        if self.members and self.vm_criteria:
            raise ValueError("a group has members or vm_criteria, not both")
        return self

    def has(self, name: str, tags: tuple[str, ...]) -> bool:
        """Does one of the criteria fit a machine?"""
        return any(all(rule.holds(name, tags) for rule in criterion.rules) for criterion in self.vm_criteria)
