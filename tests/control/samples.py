"""An object of each kind, what may be changed of it, and who may: written out, the code's own tables are not asked.

``{org}`` in a sample stands for the organization that it is made in, ``{vdc}`` for its data center, ``{number}`` for
the last figure of its account.  Every sample but the data center has the id ``one``.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from google.protobuf import json_format

from control.api import messages
from control.api.contract import ANSWERS
from control.kinds import BY_NAME, Kind
from control.kinds.changes import Changes
from control.kinds.kind import CREATE
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
    more: tuple[str, ...] = ()
    """Ids of others like it, for samples of other kinds."""

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

    def names(self, org: str) -> list[str]:
        """Of all that are planted."""
        first = self.name(org)
        return [first, *(f"{first.rpartition('/')[0]}/{id}" for id in self.more)]

    def requests(self, org: str) -> dict[str, dict[str, Any]]:
        """A request for each of its methods."""
        kind, only = self.of, {"validate_only": True}
        parent = {"parent": self.parent(org)} if kind.parent else {}
        makes = CREATE in kind.methods
        second = as_json(kind, filled({**self.fields, **self.other}, org)) if makes else {}
        change = as_json(kind, {"name": self.name(org), **filled(self.change, org)})
        found = {
            "Create": {**parent, self.kind: second, f"{self.kind}_id": "other", **only},
            "Get": {"name": self.name(org)},
            "List": parent,
            "Update": {self.kind: change, "update_mask": ",".join(map(camel, self.change)), **only},
            "Delete": {"name": self.name(org), **only},
        }
        return {kind.method(verb): found[verb] for verb in kind.methods}


def as_json(kind: Kind, fields: dict[str, Any]) -> dict[str, Any]:
    """An object as callers write it."""
    message = getattr(ANSWERS[kind.method("Get")](), kind.name)
    messages.fill(message, fields)
    found: dict[str, Any] = json_format.MessageToDict(message)
    return found


def camel(name: str) -> str:
    """A field's name in JSON."""
    first, *rest = name.split("_")
    return first + "".join(map(str.capitalize, rest))


def named(form: str, org: str) -> str:
    """A name of a form, in an organization or not."""
    if form.startswith("orgs/*/vdcs/*"):
        return vdc_of(org) + form.removeprefix("orgs/*/vdcs/*").replace("*", "one")
    rest = form.removeprefix("orgs/*")
    return (org if rest != form else "") + rest.replace("*", "one")


def filled(value: Any, org: str) -> Any:
    if isinstance(value, dict):
        return {key: filled(each, org) for key, each in value.items()}
    if isinstance(value, list):
        return [filled(each, org) for each in value]
    if not isinstance(value, str):
        return value
    return value.replace("{org}", org).replace("{vdc}", vdc_of(org)).replace("{number}", org[-1])


def vdc_of(org: str) -> str:
    """The data center of the samples of an organization."""
    return f"{org}/vdcs/one-{org.removeprefix('orgs/')}P1"


def _on_edge(kind: str, fields: dict[str, Any], other: dict[str, Any] | None = None, *more: str) -> Sample:
    """Something that engineers put on an edge."""
    first = {"display_name": "One", **fields}
    second = {"display_name": "Other", **(other or {})}
    return Sample(kind, first, {"description": "x"}, INSIDE, ENGINEERS, second, more=more)


QUOTA = {"vcpu": 20, "memory_gb": 50, "storage_gb": 200}

SAMPLES = (
    Sample("region", {"display_name": "Sample"}, {"description": "x"}, EVERYBODY, PROVIDERS),
    Sample(
        "provider_network",
        {"display_name": "Internet", "gateway_cidr": "198.51.100.1/24", "pools": ["198.51.100.10-198.51.100.39"]},
        {"description": "x"},
        PROVIDERS,
        PROVIDERS,
        {"display_name": "Other", "gateway_cidr": "192.0.2.1/24", "pools": ["192.0.2.9"]},
    ),
    Sample(
        "vdc",
        {"region": "regions/one", "plan": "POOL", "subscription": "1", "quota": QUOTA},
        {"description": "x"},
        EVERYBODY,
        BUYERS,
    ),
    Sample(
        "vdc_group",
        {"display_name": "Both", "region": "regions/one", "vdcs": ["{vdc}"]},
        {"description": "x"},
        INSIDE,
        ENGINEERS,
    ),
    Sample(
        "edge_gateway",
        {
            "display_name": "T1",
            "region": "regions/one",
            "owner": "{vdc}",
            "provider_network": "regions/one/providerNetworks/one",
            "wan_access": "INTERNET",
            "public_addresses": ["198.51.100.1{number}", "198.51.100.2{number}"],
        },
        {"default_action": "REJECT"},
        INSIDE,
        ENGINEERS,
        remove=ORDERERS,
    ),
    Sample(
        "network",
        {
            "display_name": "LAN",
            "owner": "{vdc}",
            "network_type": "NAT_ROUTED",
            "edge": "{org}/edges/one",
            "gateway_cidrs": ["10.20.0.1/24"],
        },
        {"static_pools": ["10.20.0.10-10.20.0.20"]},
        INSIDE,
        ENGINEERS,
        {"display_name": "Other", "gateway_cidrs": ["10.21.0.1/24"]},
    ),
    _on_edge("ip_set", {"ip_addresses": ["10.20.0.10"]}),
    _on_edge("security_group", {"members": ["{org}/networks/one"]}),
    _on_edge("application_port_profile", {"application_ports": [{"protocol": "TCP", "destination_ports": ["80"]}]}),
    _on_edge(
        "firewall_rule",
        {
            "action_value": "ALLOW",
            "source_firewall_groups": ["{org}/edges/one/securityGroups/one"],
            "destination_firewall_groups": ["{org}/edges/one/ipSets/one"],
            "application_port_profiles": ["{org}/edges/one/applicationPortProfiles/one", "systemProfiles/HTTPS"],
        },
    ),
    _on_edge(
        "nat_rule",
        {"type": "SNAT", "external_addresses": "198.51.100.1{number}", "internal_addresses": "10.20.0.0/24"},
    ),
    _on_edge("static_route", {"network_cidr": "172.16.0.0/16", "next_hops": [{"ip_address": "10.20.0.254"}]}),
    _on_edge(
        "ipsec_tunnel",
        {
            "pre_shared_key": "a key of ours",
            "local_endpoint": {"local_address": "198.51.100.1{number}", "local_networks": ["10.20.0.0/24"]},
            "remote_endpoint": {"remote_address": "192.0.2.7", "remote_networks": ["192.168.50.0/24"]},
        },
        {"enabled": False},
    ),
    _on_edge("load_balancer_pool", {"members": [{"ip_address": "10.20.0.10"}]}, None, "two"),
    _on_edge(
        "virtual_service",
        {
            "virtual_ip_address": "10.99.0.1",
            "service_ports": [{"port_start": 443}],
            "load_balancer_pool": "{org}/edges/one/loadBalancerPools/one",
        },
        {"load_balancer_pool": "{org}/edges/one/loadBalancerPools/two", "virtual_ip_address": "10.99.0.2"},
    ),
    Sample(
        "template",
        {"display_name": "Image", "os_family": "LINUX", "base_disk_gb": 20},
        {"description": "x"},
        EVERYBODY,
        PROVIDERS,
    ),
    Sample(
        "sizing_policy", {"display_name": "Size", "vcpu": 2, "memory_gb": 4}, {"description": "x"}, EVERYBODY, PROVIDERS
    ),
    Sample(
        "machine",
        {
            "display_name": "web",
            "template": "regions/one/templates/one",
            "sizing_policy": "sizingPolicies/one",
            "nics": [{"network": "{org}/networks/one", "ip_mode": "NONE"}],
        },
        {"description": "x"},
        INSIDE,
        ENGINEERS,
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
            name = sample.name(org).rpartition("/")[2]
            plant(world, sample.kind, sample.parent(org), name, **filled(sample.fields, org))
            for id in sample.more:
                fields = {**filled(sample.fields, org), "display_name": id}
                plant(world, sample.kind, sample.parent(org), id, **fields)
