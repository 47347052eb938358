"""An object of each kind, what may be changed of it, and who may: written out, the code's own tables are not asked.

``{org}`` in a sample stands for the organization that it is made in.  Every sample has the id ``one``.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from control.kinds import BY_NAME, Kind
from control.kinds.changes import Changes
from control.objects import Role
from control.objects.values import checked
from control.store import Record
from control.store.unit import PROVIDER
from tests.control.world import World

EVERYBODY = frozenset(Role)
PROVIDERS = frozenset({Role.SYSTEM_ADMINISTRATOR})
ORDERERS = PROVIDERS | {Role.ORGANIZATION_ADMINISTRATOR}
ENGINEERS = ORDERERS | {Role.TECHNICAL_ADMINISTRATOR}
INSIDE = ENGINEERS | {Role.STAFF}
BUYERS = PROVIDERS | {Role.ADMINISTRATOR}


@dataclass(frozen=True)
class Sample:
    """``other``: what a second object has to say otherwise; ``change``: another value for a field."""

    kind: str
    fields: dict[str, Any]
    change: dict[str, Any]
    read: frozenset[Role]
    write: frozenset[Role]
    other: dict[str, Any] = field(default_factory=lambda: {"display_name": "Other"})
    remove: frozenset[Role] | None = None

    @property
    def of(self) -> Kind:
        return BY_NAME[self.kind]

    def parent(self, org: str) -> str:
        return named(self.of.parent, org)

    def name(self, org: str) -> str:
        return named(self.of.form, org)

    def allowed(self, verb: str) -> frozenset[Role]:
        if verb == "Delete" and self.remove is not None:
            return self.remove
        return self.read if verb in {"Get", "List"} else self.write

    def requests(self, org: str) -> dict[str, dict[str, Any]]:
        """A request for each of its methods."""
        kind, only = self.of, {"validate_only": True}
        parent = {"parent": self.parent(org)} if kind.parent else {}
        second = filled({**self.fields, **self.other}, org)
        change = {"name": self.name(org), **filled(self.change, org)}
        found = {
            "Create": {**parent, self.kind: second, f"{self.kind}_id": "other", **only},
            "Get": {"name": self.name(org)},
            "List": parent,
            "Update": {self.kind: change, "update_mask": ",".join(self.change), **only},
            "Delete": {"name": self.name(org), **only},
        }
        return {kind.method(verb): found[verb] for verb in kind.methods}


def named(form: str, org: str) -> str:
    """A name of a form, in an organization or not."""
    rest = form.removeprefix("orgs/*")
    return (org if rest != form else "") + rest.replace("*", "one")


def filled(value: Any, org: str) -> Any:
    if isinstance(value, dict):
        return {key: filled(each, org) for key, each in value.items()}
    if isinstance(value, list):
        return [filled(each, org) for each in value]
    return value.replace("{org}", org) if isinstance(value, str) else value


SAMPLES = (
    Sample("region", {"display_name": "Miami"}, {"description": "x"}, EVERYBODY, PROVIDERS),
    Sample(
        "provider_network",
        {"display_name": "Internet", "gateway_cidr": "203.0.113.1/24", "pools": ["203.0.113.10-203.0.113.12"]},
        {"description": "x"},
        PROVIDERS,
        PROVIDERS,
    ),
)
"""In an order in which they can be made."""


def plant(world: World, kind: str, parent: str, id: str, **fields: Any) -> Record:
    """An object, made without a call; its edges are as they should be."""
    with world.store.write(PROVIDER) as unit:
        made = Changes(unit, world.vault).create(
            BY_NAME[kind], parent, checked(BY_NAME[kind].model, fields, kind), id=id
        )
        edges = unit.touched()
        unit.settle()
    world.realize(edges)
    return made


def plant_all(world: World, org: str) -> None:
    """Every sample, those that are shared if they are not there."""
    for sample in SAMPLES:
        with world.store.read() as state:
            known = state.find(sample.name(org))
        if known is None:
            plant(world, sample.kind, sample.parent(org), "one", **filled(sample.fields, org))
