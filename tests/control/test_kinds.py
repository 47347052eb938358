"""What holds for objects of every kind: names, references, lists, updates, repetitions, bad input."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from google.protobuf import struct_pb2

from control.access.roles import Permission
from control.api import messages
from control.kinds import KINDS, Kind
from control.kinds.changes import Changes
from control.objects.values import DisplayName, Value
from control.store.records import SEALED
from control.store.unit import PROVIDER
from control.v1 import edge_pb2, network_pb2, vdc_pb2
from control.v1.comments_pb2 import COMMENTS
from edge.errors import ArgumentError
from tests.control.cloud import INTERNET, Cloud
from tests.control.samples import SAMPLES, camel, plant_all
from tests.control.world import METHODS, World, unsealed


@pytest.fixture
def cloud(world: World) -> Cloud:
    return Cloud(world)


def test_an_object_is_made_read_changed_and_deleted(either: World) -> None:
    cloud = Cloud(either)
    made = cloud.provider("Region", "DAL", displayName="Dallas", description="two\nlines")
    assert made == cloud.call("RegionService/GetRegion", {"name": "regions/DAL"})["region"]
    either.now_s += 5
    change = {"region": {"name": "regions/DAL", "displayName": "Dallas 2", "etag": made["etag"]},
              "updateMask": "displayName"}  # fmt: skip
    answer = cloud.call("RegionService/UpdateRegion", change, cloud.admin)
    changed, task = answer["region"], answer["task"]
    assert (changed["displayName"], changed["description"]) == ("Dallas 2", "two\nlines")
    assert changed["createTime"] == made["createTime"] != changed["updateTime"]
    assert (task["operation"], task["status"], task["object"]) == (
        "Update Region",
        "TASK_STATUS_SUCCESS",
        "regions/DAL",
    )
    assert task["name"].startswith("orgs/system/tasks/")
    stale = {"name": "regions/DAL", "etag": made["etag"]}
    assert cloud.refused("RegionService/DeleteRegion", stale, cloud.admin).reason == "ETAG_MISMATCH"
    assert cloud.refused("RegionService/UpdateRegion", change, cloud.admin).reason == "ETAG_MISMATCH"
    cloud.call("RegionService/DeleteRegion", {"name": "regions/DAL", "etag": changed["etag"]}, cloud.admin)
    assert cloud.refused("RegionService/GetRegion", {"name": "regions/DAL"}).reason == "OBJECT_UNKNOWN"
    request = {"parent": "orgs/system", "filter": 'object = "regions/DAL"'}
    told = cloud.call("AuditService/ListAuditRecords", request, cloud.admin)["records"]
    assert [record["method"].partition("/")[2] for record in told] == ["CreateRegion", "UpdateRegion", "DeleteRegion"]
    assert json.loads(told[1]["details"]) == {"fields": {"display_name": "Dallas 2"}}


def test_ids_are_chosen_or_made(cloud: Cloud) -> None:
    def create(shown: str, **more: Any) -> str:
        request = {"region": {"displayName": shown}, **more}
        return str(cloud.call("RegionService/CreateRegion", request, cloud.admin)["region"]["name"])

    assert create("DOS") == "regions/DOS"
    assert create("Tres", regionId="3") == "regions/3"
    assert create("3", regionId="three") == "regions/three"
    made = create("São Paulo")
    assert len(made) == len("regions/") + 8
    assert create("a" * 64) != f"regions/{'a' * 64}"
    for wrong in ("-a", "a/b", "a" * 64, "ñ", "a\n", "..", " "):
        request = {"region": {"displayName": "x"}, "regionId": wrong}
        assert list(cloud.refused("RegionService/CreateRegion", request, cloud.admin).fields) == ["region_id"]
    request = {"region": {"displayName": "x"}, "regionId": "DOS"}
    assert cloud.refused("RegionService/CreateRegion", request, cloud.admin).reason == "OBJECT_EXISTS"


def test_display_names_are_taken_once_and_can_change(either: World) -> None:
    cloud = Cloud(either)
    cloud.provider("Region", "DAL", displayName="Dallas")
    taken = {"region": {"displayName": "Dallas"}, "regionId": "other"}
    refused = cloud.refused("RegionService/CreateRegion", taken, cloud.admin)
    assert (refused.code, refused.reason) == ("ALREADY_EXISTS", "OBJECT_EXISTS")
    assert "regions/DAL" in refused.text
    rename = {"region": {"name": "regions/MIA", "displayName": "Dallas"}, "updateMask": "displayName"}
    assert cloud.refused("RegionService/UpdateRegion", rename, cloud.admin).reason == "OBJECT_EXISTS"
    rename["region"] = {"name": "regions/DAL", "displayName": "Houston"}
    cloud.call("RegionService/UpdateRegion", rename, cloud.admin)
    assert cloud.call("RegionService/CreateRegion", taken, cloud.admin)["region"]["name"] == "regions/other"
    assert cloud.call("RegionService/GetRegion", {"name": "regions/DAL"})["region"]["displayName"] == "Houston"


@pytest.mark.parametrize(
    ("fields", "path"),
    [
        ({"displayName": ""}, "region.display_name"),
        ({"displayName": "x" * 129}, "region.display_name"),
        ({"displayName": "x" * 1_000_000}, "region.display_name"),
        ({"displayName": "bell\x07"}, "region.display_name"),
        ({"displayName": "\u202egnp"}, "region.display_name"),
        ({"displayName": "nul\x00"}, "region.display_name"),
        ({"displayName": "x", "description": "x" * 1_025}, "region.description"),
        ({"displayName": "x", "description": "esc\x1b[2J"}, "region.description"),
    ],
)
def test_bad_text_is_refused_where_it_stands(cloud: Cloud, fields: dict[str, str], path: str) -> None:
    refused = cloud.refused("RegionService/CreateRegion", {"region": fields}, cloud.admin)
    assert (refused.reason, list(refused.fields)) == ("INVALID_ARGUMENT", [path])
    assert len(refused.raw) < 1_000


@pytest.mark.parametrize(
    ("change", "path"),
    [
        ({"gatewayCidr": "203.0.113.1"}, "gateway_cidr"),
        ({"gatewayCidr": "203.0.113.0/24"}, "gateway_cidr"),
        ({"gatewayCidr": "203.0.113.1/255.255.255.0"}, "gateway_cidr"),
        ({"gatewayCidr": "2001:db8::1/64"}, "gateway_cidr"),
        ({"gatewayCidr": "203.0.113.1/31"}, "gateway_cidr"),
        ({"gatewayCidr": "x" * 100_000}, "gateway_cidr"),
        ({"gatewayCidr": "224.0.0.1/24"}, "gateway_cidr"),
        ({"pools": []}, "pools"),
        ({"pools": ["203.0.113.9-203.0.113.8"]}, "pools[0]"),
        ({"pools": ["203.0.113.0/28"]}, "pools[0]"),
        ({"pools": ["203.0.113.9", "nonsense"]}, "pools[1]"),
        ({"pools": ["203.0.113.255"]}, ""),
        ({"pools": ["203.0.113.1"]}, ""),
        ({"pools": ["198.51.100.1"]}, ""),
        ({"pools": ["203.0.113.9", "203.0.113.8-203.0.113.10"]}, ""),
        ({"gatewayCidr": "10.0.0.1/8", "pools": ["10.1.0.0-10.3.0.0"]}, ""),
        ({"wanAccess": 7}, "wan_access"),
        ({"pools": ["203.0.113.14"]}, "pools"),  # another network's
    ],
)
def test_provider_networks_are_ones(cloud: Cloud, change: dict[str, Any], path: str) -> None:
    fields = {**INTERNET, "displayName": "Other", "pools": ["203.0.113.9"], **change}
    request = {"parent": "regions/MIA", "providerNetwork": fields}
    refused = cloud.refused("RegionService/CreateProviderNetwork", request, cloud.admin)
    assert list(refused.fields) == ["provider_network" + (f".{path}" if path else "")]


def test_customers_own_networks_may_have_the_same_addresses(cloud: Cloud) -> None:
    fields = {"wanAccess": "WAN_ACCESS_MPLS", "gatewayCidr": "10.9.0.1/24", "pools": ["10.9.0.5"]}
    for number in range(2):
        cloud.provider("ProviderNetwork", f"mpls{number}", parent="regions/MIA", displayName=f"M{number}", **fields)
    request = {"parent": "regions/MIA", "filter": "wan_access = MPLS"}
    assert len(cloud.call("RegionService/ListProviderNetworks", request, cloud.admin)["providerNetworks"]) == 2


def test_what_is_fixed_stays(cloud: Cloud) -> None:
    name = "regions/MIA/providerNetworks/internet"
    given = cloud.call("RegionService/GetProviderNetwork", {"name": name}, cloud.admin)["providerNetwork"]
    for change in ({"wanAccess": "WAN_ACCESS_MPLS"}, {"gatewayCidr": "203.0.113.2/24"}, {"displayName": "x"}):
        request = {"providerNetwork": {**given, **change}}
        refused = cloud.refused("RegionService/UpdateProviderNetwork", request, cloud.admin)
        assert list(refused.fields.values()) == ["cannot be changed"]
    request = {"providerNetwork": {"name": name}, "updateMask": "wanAccess"}
    assert list(cloud.refused("RegionService/UpdateProviderNetwork", request, cloud.admin).fields) == ["update_mask"]
    again = cloud.call("RegionService/UpdateProviderNetwork", {"providerNetwork": given}, cloud.admin)
    assert again["providerNetwork"] == given


def test_everything_goes_back_and_forth(either: World) -> None:
    """What Get tells can be given to Update as it is, and changes nothing."""
    cloud = Cloud(either)
    plant_all(either, cloud.org)
    for sample in SAMPLES:
        kind = sample.of
        field = camel(kind.name)
        given = cloud.call(kind.method("Get"), {"name": sample.name(cloud.org)}, cloud.admin)[field]
        again = cloud.call(kind.method("Update"), {field: given}, cloud.admin)[field]
        assert {**again, "state": None} == {**given, "state": None}


def test_what_another_organization_has_cannot_be_referred_to(cloud: Cloud) -> None:
    other, _ = cloud.world.tenant(cloud.admin, "US2")
    plant_all(cloud.world, other)
    plant_all(cloud.world, cloud.org)
    own = f"{cloud.org}/vdcs/one-US1P1"
    told = set()
    for name in (f"{other}/vdcs/one-US2P1", f"{other}/vdcs/one-US2P2", f"{cloud.org}/vdcs/nothing"):
        refused = cloud.refused("NetworkService/CreateNetwork", cloud.network("x", name))
        assert refused.reason == "OBJECT_UNKNOWN"
        told.add(refused.text.replace(name, "NAME"))
    assert len(told) == 1
    routed = {"networkType": "NETWORK_TYPE_NAT_ROUTED", "edge": f"{other}/edges/one"}
    refused = cloud.refused("NetworkService/CreateNetwork", cloud.network("x", own, **routed))
    assert (refused.reason, refused.text) == ("OBJECT_UNKNOWN", f"there is no {other}/edges/one")
    for wrong in ("", "orgs/US1", f"{cloud.org}/edges/one", "x" * 100_000, f"{own}\n"):
        refused = cloud.refused("NetworkService/CreateNetwork", cloud.network("x", wrong))
        assert list(refused.fields) == ["network.owner"]


def test_what_is_needed_is_deleted_last(either: World) -> None:
    cloud = Cloud(either)
    plant_all(either, cloud.org)
    unused = {"machine", "vdc_group", "firewall_rule", "nat_rule", "static_route", "ipsec_tunnel", "virtual_service"}
    for sample in SAMPLES:
        if sample.kind in unused:
            continue
        refused = cloud.refused(sample.of.method("Delete"), {"name": sample.name(cloud.org)}, cloud.admin)
        assert (refused.code, refused.reason) == ("FAILED_PRECONDITION", "OBJECT_IN_USE")
        assert refused.users
    for sample in reversed(SAMPLES):
        if sample.kind == "region":
            cloud.call(
                "RegionService/DeleteProviderNetwork", {"name": "regions/MIA/providerNetworks/internet"}, cloud.admin
            )
        for name in sample.names(cloud.org):
            cloud.call(sample.of.method("Delete"), {"name": name}, cloud.admin)
    with either.store.read() as state:
        assert set(state.object_counts()) == {"org", "user", "region", "sizing_policy", "template"}


def test_a_repeated_request_has_one_answer(cloud: Cloud) -> None:
    request = {"region": {"displayName": "Lima"}, "requestId": "r1"}
    first = cloud.call("RegionService/CreateRegion", request, cloud.admin)
    assert cloud.call("RegionService/CreateRegion", request, cloud.admin) == first
    other = {**request, "region": {"displayName": "Quito"}}
    assert cloud.refused("RegionService/CreateRegion", other, cloud.admin).reason == "REQUEST_ID_REUSED"


def test_a_trial_leaves_no_trace(cloud: Cloud) -> None:
    request = {"region": {"displayName": "Lima"}, "validateOnly": True}
    assert cloud.call("RegionService/CreateRegion", request, cloud.admin)["region"]["name"] == "regions/Lima"
    assert cloud.refused("RegionService/GetRegion", {"name": "regions/Lima"}).reason == "OBJECT_UNKNOWN"


@pytest.mark.parametrize("order", ["", "display_name desc", "create_time", "update_time desc"])
def test_lists_have_pages_orders_and_filters(either: World, order: str) -> None:
    cloud = Cloud(either)
    for number in range(7):
        cloud.provider("Region", f"R{number}", displayName=f"Region {number}")
    found: list[str] = []
    token = ""
    while True:
        answer = cloud.call("RegionService/ListRegions", {"orderBy": order, "pageSize": 3, "pageToken": token})
        found += [region["displayName"] for region in answer["regions"]]
        token = answer["nextPageToken"]
        if not token:
            break
    assert len(found) == 8
    if "name" in order or not order:
        assert found == sorted(found, reverse="desc" in order)
    one = cloud.call("RegionService/ListRegions", {"filter": 'display_name = "Region 3"'})["regions"]
    assert [region["name"] for region in one] == ["regions/R3"]
    assert cloud.refused("RegionService/ListRegions", {"filter": "nothing = 1"}).reason == "INVALID_FILTER"


def test_lists_of_what_is_not_there(cloud: Cloud) -> None:
    request = {"parent": "regions/nothing"}
    assert cloud.refused("RegionService/ListProviderNetworks", request, cloud.admin).reason == "OBJECT_UNKNOWN"
    assert cloud.call("NetworkService/ListNetworks", {"parent": cloud.org})["networks"] == []


def test_kinds_and_contract_fit() -> None:
    for kind in KINDS:
        for verb in kind.methods:
            answer = METHODS[kind.method(verb)].output_type.fields_by_name
            assert (kind.list_field in answer) == (verb == "List")
        message = METHODS[kind.method("Get")].output_type.fields_by_name[kind.name].message_type
        extra = {"name", "etag", "create_time", "update_time"} | {f"{name}_set" for name in kind.secrets}
        assert set(kind.model.model_fields) | extra <= set(message.fields_by_name)
        assert kind.fixed | kind.secrets | {*kind.filters} <= set(kind.model.model_fields)


class Tunnel(Value):
    display_name: DisplayName
    key: str = ""


TUNNEL = Kind(
    name="tunnel", form="orgs/*/tunnels/*", service="TunnelService", noun="Tunnel", plural="Tunnels", words="Tunnel",
    model=Tunnel, read=Permission.RESOURCES_READ, write=Permission.NETWORKS_WRITE, secrets=frozenset({"key"}),
)  # fmt: skip


def test_secrets_are_sealed_and_stay(cloud: Cloud) -> None:
    store, vault = cloud.world.store, cloud.world.vault
    with store.write(PROVIDER) as unit:
        changes = Changes(unit, vault)
        made = changes.create(TUNNEL, cloud.org, Tunnel(display_name="t", key="geheim"))
        bare = changes.create(TUNNEL, cloud.org, Tunnel(display_name="u"))
    assert "geheim" not in json.dumps(made.body)
    assert made.value(Tunnel) == Tunnel(display_name="t")
    assert (unsealed(vault, made, "key"), unsealed(vault, bare, "key")) == ("geheim", "")
    with store.write(PROVIDER) as unit:
        changes = Changes(unit, vault)
        renamed = changes.update(TUNNEL, made, Tunnel(display_name="v"))
        other = changes.update(TUNNEL, renamed, Tunnel(display_name="v", key="anders"))
    assert (unsealed(vault, renamed, "key"), unsealed(vault, other, "key")) == ("geheim", "anders")
    assert set(bare.body) == {"display_name", "key"}
    assert set(other.body) == {"display_name", "key", SEALED}


def test_messages_are_read_and_filled() -> None:
    network = network_pb2.Network(network_type="NETWORK_TYPE_ISOLATED", gateway_cidrs=["a"])
    network.dhcp.lease_time_s = 0
    found = messages.read(network, "network", {"network_type", "connection_type", "gateway_cidrs", "dhcp", "shared"})
    assert found == {"network_type": "ISOLATED", "gateway_cidrs": ["a"], "shared": False,
                     "dhcp": {"enabled": False, "pools": [], "lease_time_s": 0}}  # fmt: skip
    assert "quota" not in messages.read(vdc_pb2.Vdc(), "vdc")
    options = struct_pb2.Struct()
    options.update({"mtu": 1500, "seed": 1.5, "list": [{"a": 1}], "off": None})
    edge = edge_pb2.EdgeGateway(options=options)
    edge.create_time.FromNanoseconds(1_800_000_000_000_000_001)
    found = messages.read(edge, "edge", {"options", "create_time"})
    assert found == {"options": {"mtu": 1500, "seed": 1.5, "list": [{"a": 1}], "off": None},
                     "create_time": 1_800_000_000_000_000_001}  # fmt: skip
    assert repr(found["options"]["mtu"]) == "1500"
    again = edge_pb2.EdgeGateway()
    messages.fill(again, {**found, "description": None, "public_addresses": ["x"], "state": {"status": "PENDING"}})
    assert (again.options, again.create_time, again.state.status) == (edge.options, edge.create_time, 1)
    network.network_type = 9  # type: ignore[assignment]
    with pytest.raises(ArgumentError) as caught:
        messages.read(network, "network")
    assert caught.value.violations == (("network.network_type", "expected one of ISOLATED, NAT_ROUTED"),)


def test_comments_name_the_fields_that_can_be_changed() -> None:
    named = 0
    for kind in KINDS:
        comment = COMMENTS.get(f"Update{kind.noun}Request.update_mask", "")
        match = re.fullmatch(r"Which fields: (.*)\. Empty: all of these\.", comment)
        if match is not None:
            named += 1
            assert set(match[1].split(", ")) == set(kind.changeable()), kind.name
    assert named > 5
