"""Data centers and their groups."""

from __future__ import annotations

from collections.abc import Iterable

from control import names
from control.access.roles import Permission
from control.errors import QuotaExceededError
from control.kinds.kind import DELETE, GET, LIST, UPDATE, Change, Kind
from control.machines import book
from control.objects.vdc import Vdc, VdcGroup
from control.store import Reader, Record


def region_of(reader: Reader, owner: str) -> str:
    """The region of a data center, or of a group."""
    return str(reader.get(owner).body["region"])


def owned_edges(reader: Reader, owner: str) -> list[Record]:
    """The edges of a data center, or of a group."""
    return [edge for edge in reader.users_of(owner, "edge_gateway") if edge.body["owner"] == owner]


def _vdc_rules(change: Change) -> None:
    value: Vdc | None = change.value
    if value is None:
        return
    if names.last(change.path) != value.id_in(names.last(change.org)):
        raise change.wrong("subscription", f"expected the name {value.id_in(names.last(change.org))}")
    if change.before is None or value.quota is None:
        return
    # Not what is used of the others: a quota that is too small may grow step by step.
    before = change.before.value(Vdc).quota or value.quota
    used = book.used_resources(change.unit, change.path)
    for name, taken in zip(("vcpu", "memory_gb", "storage_gb"), used, strict=True):
        if (wanted := getattr(value.quota, name)) < min(taken, getattr(before, name)):
            raise QuotaExceededError(f"{name}: the machines of {change.path} have {taken}, more than {wanted}")


def _group_rules(change: Change) -> None:
    value: VdcGroup | None = change.value
    if value is None:
        return
    for number, vdc in enumerate(value.vdcs):
        if region_of(change.unit, vdc) != value.region:
            raise change.wrong(f"vdcs[{number}]", f"expected data centers of {value.region}")
    if change.before is None:
        return
    gone = [vdc for vdc in change.before.body["vdcs"] if vdc not in value.vdcs]
    owned = [each.path for each in change.unit.users_of(change.path, "network")]
    if (found := book.one_on_networks(change.unit, owned, gone)) is not None:
        machine, network = found
        raise change.wrong("vdcs", f"expected {names.parent(machine)}: {machine} has a card on {network}")


def _group_edges(reader: Reader, record: Record) -> Iterable[str]:
    """A group's machines are members of dynamic groups on its edges."""
    return [edge.path for edge in owned_edges(reader, record.path)]


VDC = Kind(
    name="vdc",
    form="orgs/*/vdcs/*",
    service="VdcService",
    noun="Vdc",
    plural="Vdcs",
    words="Virtual Data Center",
    model=Vdc,
    read=Permission.VDCS_READ,
    write=Permission.SUBSCRIPTIONS,
    methods=frozenset({GET, LIST, UPDATE, DELETE}),  # they are made by orders
    refs=lambda value: [(value.region, "region")],
    rules=_vdc_rules,
    fixed=frozenset({"region", "plan", "subscription"}),
    filters=("region", "plan", "subscription"),
)

VDC_GROUP = Kind(
    name="vdc_group",
    form="orgs/*/vdcGroups/*",
    service="VdcService",
    noun="VdcGroup",
    plural="VdcGroups",
    words="Data Center Group",
    model=VdcGroup,
    read=Permission.RESOURCES_READ,
    write=Permission.NETWORKS_WRITE,
    refs=lambda value: [(value.region, "region"), *((vdc, "vdcs") for vdc in value.vdcs)],
    rules=_group_rules,
    touches=_group_edges,
    fixed=frozenset({"region"}),
    filters=("region",),
)
