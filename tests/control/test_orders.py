"""Orders: data centers, edges, public addresses; as a whole or not at all."""

from __future__ import annotations

import re
from itertools import pairwise
from typing import Any

import pytest

from control import orders
from control.kinds import allocations as module
from control.kinds.allocations import allocations
from control.objects import Org
from control.store.unit import PROVIDER
from control.surroundings import Surroundings
from tests.control.cloud import QUOTA, Cloud
from tests.control.world import World

EDGE = "orgs/US1/edges/T1-US1-MIA"
CATALOG = {"template", "sizing_policy"}
"""There from the start."""


@pytest.fixture
def cloud(world: World) -> Cloud:
    return Cloud(world)


def counts(cloud: Cloud) -> dict[str, int]:
    with cloud.world.store.read() as state:
        return {kind: count for kind, count in state.object_counts().items() if kind not in CATALOG}


def test_the_first_data_center_of_a_region_brings_an_edge(either: World) -> None:
    cloud = Cloud(either)
    first = cloud.vdc(subscription="1349404")
    assert first["vdc"]["name"] == "orgs/US1/vdcs/MIA-US1P1349404"
    edge, network = first["edgeGateway"], first["network"]
    assert (edge["name"], edge["displayName"], edge["wanAccess"]) == (EDGE, "T1-US1-MIA", "WAN_ACCESS_INTERNET")
    assert (edge["publicAddresses"], edge["owner"]) == (["203.0.113.10"], first["vdc"]["name"])
    assert (network["name"], network["gatewayCidrs"], network["edge"]) == (
        "orgs/US1/networks/LAN-MIA",
        ["10.1.0.1/24"],
        EDGE,
    )
    assert network["staticPools"] == ["10.1.0.128-10.1.0.254"]
    task = cloud.call("TaskService/GetTask", {"name": first["task"]["name"]})["task"]
    assert (task["operation"], task["status"]) == ("Order Virtual Data Center", "TASK_STATUS_SUCCESS")
    second = cloud.vdc(plan="VDC_PLAN_ON_DEMAND", quota=None)
    assert re.fullmatch(r"orgs/US1/vdcs/MIA-US1D[1-9]\d{6}", second["vdc"]["name"])
    assert "edgeGateway" not in second
    assert "network" not in second
    assert second["task"]["status"] == "TASK_STATUS_SUCCESS"
    assert counts(cloud) == {"org": 2, "user": 3, "region": 1, "provider_network": 1, "vdc": 2, "edge_gateway": 1,
                             "network": 1}  # fmt: skip
    tasks = cloud.call("TaskService/ListTasks", {"parent": cloud.org})["tasks"]
    assert [task["operation"] for task in tasks].count("Order Virtual Data Center") == 2
    (record,) = (found for found in cloud.audit(2) if EDGE in found["details"])
    assert record["method"] == "OrderService/OrderVdc"


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"quota": {**QUOTA, "vcpu": 19}}, "vdc.quota.vcpu"),
        ({"quota": {**QUOTA, "memoryGb": 49}}, "vdc.quota.memory_gb"),
        ({"quota": {**QUOTA, "storageGb": 199}}, "vdc.quota.storage_gb"),
        ({"quota": None}, "vdc"),
        ({"plan": "VDC_PLAN_ON_DEMAND"}, "vdc"),
        ({"plan": "VDC_PLAN_UNSPECIFIED"}, "vdc.plan"),
        ({"plan": 9}, "vdc.plan"),
        ({"region": ""}, "vdc.region"),
        ({"region": "orgs/US1"}, "vdc.region"),
        ({"subscription": "12a"}, "vdc.subscription"),
        ({"subscription": "1" * 13}, "vdc.subscription"),
        ({"subscription": "\N{ARABIC-INDIC DIGIT ONE}"}, "vdc.subscription"),
        ({"description": "\x1b[2J"}, "vdc.description"),
    ],
)
def test_data_centers_that_cannot_be_ordered(cloud: Cloud, change: dict[str, Any], field: str) -> None:
    before = counts(cloud)
    vdc = {"region": "regions/MIA", "plan": "VDC_PLAN_POOL", "quota": QUOTA, **change}
    refused = cloud.refused("OrderService/OrderVdc", {"parent": cloud.org, "vdc": vdc}, cloud.adam)
    assert list(refused.fields) == [field]
    assert counts(cloud) == before


def test_regions_may_have_long_names(cloud: Cloud) -> None:
    region = "R" * 63
    cloud.provider("Region", region, displayName="x" * 128)
    fields = {"displayName": "I", "gatewayCidr": "192.0.2.1/24", "pools": ["192.0.2.9"]}
    cloud.provider("ProviderNetwork", "internet", parent=f"regions/{region}", **fields)
    made = cloud.vdc(region)
    assert made["vdc"]["name"] == f"orgs/US1/vdcs/{region}-US1P{made['vdc']['subscription']}"
    assert cloud.call("VdcService/GetVdc", {"name": made["vdc"]["name"]})["vdc"] == made["vdc"]
    assert made["edgeGateway"]["displayName"] == f"T1-US1-{region}"


def test_regions_that_are_not_there_have_no_data_centers(cloud: Cloud) -> None:
    vdc = {"region": "regions/nowhere", "plan": "VDC_PLAN_POOL", "quota": QUOTA}
    refused = cloud.refused("OrderService/OrderVdc", {"parent": cloud.org, "vdc": vdc}, cloud.adam)
    assert (refused.reason, refused.text) == ("OBJECT_UNKNOWN", "there is no regions/nowhere")


def test_where_no_address_is_left_nothing_is_made(either: World) -> None:
    cloud = Cloud(either)
    cloud.provider("Region", "DAL", displayName="Dallas")
    before = counts(cloud)
    vdc = {"region": "regions/DAL", "plan": "VDC_PLAN_POOL", "quota": QUOTA}
    refused = cloud.refused("OrderService/OrderVdc", {"parent": cloud.org, "vdc": vdc}, cloud.adam)
    assert (refused.code, refused.reason) == ("RESOURCE_EXHAUSTED", "NO_ADDRESS_LEFT")
    assert "regions/DAL" in refused.text
    assert counts(cloud) == before
    cloud.vdc()
    cloud.call("OrderService/AddPublicIpAddress", {"edge": EDGE, "quantity": 4})
    refused = cloud.refused("OrderService/AddPublicIpAddress", {"edge": EDGE, "quantity": 1})
    assert refused.reason == "NO_ADDRESS_LEFT"
    # Another organization's order finds none either, and leaves no data center behind.
    other, maria = either.tenant(cloud.admin, "US2")
    vdc["region"] = "regions/MIA"
    refused = cloud.refused("OrderService/OrderVdc", {"parent": other, "vdc": vdc}, cloud.admin)
    assert refused.reason == "NO_ADDRESS_LEFT"
    assert either.call("VdcService/ListVdcs", {"parent": other}, maria)["vdcs"] == []


def test_the_same_order_again_has_the_same_answer(cloud: Cloud) -> None:
    vdc = {"region": "regions/MIA", "plan": "VDC_PLAN_POOL", "quota": QUOTA}
    request = {"parent": cloud.org, "vdc": vdc, "requestId": "order-1"}
    first = cloud.call("OrderService/OrderVdc", request, cloud.adam)
    assert cloud.call("OrderService/OrderVdc", request, cloud.adam) == first
    assert counts(cloud)["vdc"] == 1
    trial = {**request, "requestId": "", "validateOnly": True}
    given = first["vdc"]["subscription"]
    assert cloud.call("OrderService/OrderVdc", trial, cloud.adam)["vdc"]["subscription"] != given
    assert counts(cloud)["vdc"] == 1
    taken = {"parent": cloud.org, "vdc": {**vdc, "subscription": given}}
    assert cloud.refused("OrderService/OrderVdc", taken, cloud.adam).reason == "OBJECT_EXISTS"


def test_the_number_of_an_order_tells_nothing_of_others(cloud: Cloud) -> None:
    numbers = [int(cloud.vdc()["vdc"]["subscription"]) for _ in range(4)]
    assert all(1_000_000 <= number < 10_000_000 for number in numbers)
    assert all(abs(one - other) > 4 for one, other in pairwise(numbers))
    # Whoever has a number, or gave it, nobody gets it again.
    drawn = iter([numbers[0] - 1_000_000, 4_321])
    with cloud.world.store.write(PROVIDER) as unit:
        unit.surroundings = Surroundings(random=lambda size: next(drawn).to_bytes(size, "big"))
        assert orders._subscription(unit) == "1004321"


def test_addresses_are_the_lowest_free_ones_of_all_edges(either: World) -> None:
    cloud = Cloud(either)
    vdc = cloud.vdc()["vdc"]["name"]
    other, maria = either.tenant(cloud.admin, "US2")
    order = {"parent": other, "vdc": {"region": "regions/MIA", "plan": "VDC_PLAN_ON_DEMAND"}}
    second = cloud.call("OrderService/OrderVdc", order, cloud.admin)["edgeGateway"]
    assert second["publicAddresses"] == ["203.0.113.11"]
    added = cloud.call("OrderService/AddPublicIpAddress", {"edge": EDGE, "quantity": 2})
    assert added["addresses"] == ["203.0.113.12", "203.0.113.13"]
    assert added["edgeGateway"]["publicAddresses"] == ["203.0.113.10", "203.0.113.12", "203.0.113.13"]
    assert (added["task"]["operation"], added["task"]["status"]) == ("Add Public IP Address", "TASK_STATUS_RUNNING")
    released = {"edge": EDGE, "address": "203.0.113.12"}
    cloud.call("OrderService/ReleasePublicIpAddress", released)
    again = cloud.refused("OrderService/ReleasePublicIpAddress", released)
    assert list(again.fields) == ["address"]
    request = {"edge": second["name"], "quantity": 1}
    assert either.call("OrderService/AddPublicIpAddress", request, maria)["addresses"] == ["203.0.113.12"]
    # What an edge had is free when it is gone.
    cloud.call("NetworkService/DeleteNetwork", {"name": "orgs/US1/networks/LAN-MIA"})
    cloud.call("EdgeGatewayService/DeleteEdgeGateway", {"name": EDGE})
    more = {"parent": cloud.org, "vdc": vdc, "gatewayCidr": "10.30.0.1/24", "lanName": "lan"}
    new = cloud.call("OrderService/AddEdgeGateway", more)
    assert new["edgeGateway"]["publicAddresses"] == ["203.0.113.10"]


@pytest.mark.parametrize("quantity", [0, -1, 65, 2_000_000_000])
def test_quantities_that_are_none(cloud: Cloud, quantity: int) -> None:
    cloud.vdc()
    refused = cloud.refused("OrderService/AddPublicIpAddress", {"edge": EDGE, "quantity": quantity})
    assert list(refused.fields) == ["quantity"]


def test_another_edge_is_ordered(either: World) -> None:
    cloud = Cloud(either)
    vdc = cloud.vdc()["vdc"]["name"]
    request = {"parent": cloud.org, "vdc": vdc, "gatewayCidr": "10.1.0.1/24", "lanName": "lan"}
    made = cloud.call("OrderService/AddEdgeGateway", request)  # another edge may have the same addresses inside
    assert made["edgeGateway"]["name"] == f"{EDGE}-2"
    assert made["network"]["edge"] == f"{EDGE}-2"
    assert (made["network"]["gatewayCidrs"], made["network"]["displayName"]) == (["10.1.0.1/24"], "lan")
    assert (made["task"]["operation"], made["task"]["object"]) == ("Add Edge Gateway", f"{EDGE}-2")
    fields = {"displayName": "M", "wanAccess": "WAN_ACCESS_MPLS", "gatewayCidr": "10.9.0.1/24", "pools": ["10.9.0.5"]}
    mpls = {**request, "wanAccess": "WAN_ACCESS_MPLS", "lanName": "lan2"}
    assert cloud.refused("OrderService/AddEdgeGateway", mpls).reason == "NO_ADDRESS_LEFT"
    cloud.provider("ProviderNetwork", "mpls", parent="regions/MIA", **fields)
    edge = cloud.call("OrderService/AddEdgeGateway", mpls)["edgeGateway"]
    assert (edge["wanAccess"], edge["publicAddresses"]) == ("WAN_ACCESS_MPLS", ["10.9.0.5"])


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"gatewayCidr": "10.30.0.1"}, "gateway_cidr"),
        ({"gatewayCidr": ""}, "gateway_cidr"),
        ({"gatewayCidr": "203.0.113.200/25"}, "gateway_cidr"),
        ({"lanName": ""}, "lan_name"),
        ({"lanName": "x" * 500_000}, "lan_name"),
        ({"vdc": ""}, "vdc"),
        ({"vdc": "orgs/US1"}, "vdc"),
        ({"wanAccess": 7}, "wan_access"),
        ({"lanName": "LAN-MIA"}, "OBJECT_EXISTS"),
        ({"vdc": "orgs/US2/vdcs/MIA-US2P1"}, "OBJECT_UNKNOWN"),
        ({"vdc": "orgs/US1/vdcs/MIA-US1P1"}, "OBJECT_UNKNOWN"),
    ],
)
def test_edges_that_cannot_be_ordered(cloud: Cloud, change: dict[str, Any], field: str) -> None:
    vdc = cloud.vdc()["vdc"]["name"]
    before = counts(cloud)
    request = {"parent": cloud.org, "vdc": vdc, "gatewayCidr": "10.30.0.1/24", "lanName": "lan", **change}
    refused = cloud.refused("OrderService/AddEdgeGateway", request)
    assert list(refused.fields) == [field] if field.islower() else refused.reason == field
    assert counts(cloud) == before


def test_first_networks_do_not_overlap(cloud: Cloud) -> None:
    def first(region: str, address: int) -> list[str]:
        cloud.provider("Region", region, displayName=region)
        fields = {"displayName": "I", "gatewayCidr": "192.0.2.1/24", "pools": [f"192.0.2.{address}"]}
        cloud.provider("ProviderNetwork", "internet", parent=f"regions/{region}", **fields)
        found: list[str] = cloud.vdc(region)["network"]["gatewayCidrs"]
        return found

    def take(*cidrs: str) -> None:
        for cidr in cidrs:
            cloud.call("NetworkService/CreateNetwork", cloud.network(f"all {cidr}", vdc, gatewayCidrs=[cidr]))

    answer = cloud.vdc()
    vdc = answer["vdc"]["name"]
    assert answer["network"]["gatewayCidrs"] == ["10.1.0.1/24"]
    assert first("DAL", 9) == ["10.2.0.1/24"]
    take("10.0.0.1/8")
    assert first("LIM", 10) == ["172.16.0.1/24"]
    take("172.16.0.1/12", "192.168.0.1/17")
    assert first("BOG", 11) == ["192.168.128.1/24"]
    take("192.168.128.1/17")
    cloud.provider("Region", "UIO", displayName="Quito")
    fields = {"displayName": "I", "gatewayCidr": "192.0.2.1/24", "pools": ["192.0.2.12"]}
    cloud.provider("ProviderNetwork", "internet", parent="regions/UIO", **fields)
    order = {"region": "regions/UIO", "plan": "VDC_PLAN_ON_DEMAND"}
    refused = cloud.refused("OrderService/OrderVdc", {"parent": cloud.org, "vdc": order}, cloud.adam)
    assert refused.reason == "LIMIT_REACHED"


def test_an_edge_has_so_many_addresses(cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
    cloud.vdc()
    monkeypatch.setattr(orders, "MAX_PUBLIC_ADDRESSES", 2)
    refused = cloud.refused("OrderService/AddPublicIpAddress", {"edge": EDGE, "quantity": 2})
    assert refused.reason == "LIMIT_REACHED"
    cloud.call("OrderService/AddPublicIpAddress", {"edge": EDGE, "quantity": 1})


def test_addresses_are_listed_with_what_uses_them(cloud: Cloud) -> None:
    cloud.vdc()
    cloud.call("OrderService/AddPublicIpAddress", {"edge": EDGE, "quantity": 2})
    primary = {"category": "PRIMARY_IP", "name": EDGE, "displayName": "T1-US1-MIA"}
    assert cloud.call("EdgeGatewayService/ListIpAllocations", {"parent": EDGE})["ipAllocations"] == [
        {"address": "203.0.113.10", "users": [primary]},
        {"address": "203.0.113.11", "users": []},
        {"address": "203.0.113.12", "users": []},
    ]
    refused = cloud.refused("OrderService/ReleasePublicIpAddress", {"edge": EDGE, "address": "203.0.113.10"})
    assert (refused.reason, refused.users) == ("OBJECT_IN_USE", [EDGE])


def test_what_lies_on_an_edge_uses_its_addresses(cloud: Cloud) -> None:
    assert set(module._USERS) == {"nat_rule", "ipsec_tunnel", "virtual_service"}
    cloud.vdc()
    cloud.call("OrderService/AddPublicIpAddress", {"edge": EDGE, "quantity": 2})
    bodies = {
        "nat_rule": {"type": "DNAT", "external_addresses": "203.0.113.11/32", "display_name": "web"},
        "ipsec_tunnel": {"local_endpoint": {"local_address": "203.0.113.11"}, "display_name": "vpn"},
        "virtual_service": {"virtual_ip_address": "203.0.113.12", "display_name": "vs"},
    }
    with cloud.world.store.write(PROVIDER) as unit:
        for kind, body in bodies.items():
            made = unit.create(kind, f"{EDGE}/things/{kind}", Org(account_id="US1", display_name="x"))
            unit._changed(made, body=body)
        no_snat = unit.create("nat_rule", f"{EDGE}/things/none", Org(account_id="US1", display_name="x"))
        unit._changed(no_snat, body={"type": "NO_SNAT", "external_addresses": "", "display_name": "n"})
        found = allocations(unit, unit.get(EDGE))
    told = {address: [(user.category, user.display_name) for user in users] for address, users in found.items()}
    assert told == {
        "203.0.113.10": [("PRIMARY_IP", "T1-US1-MIA")],
        "203.0.113.11": [("DNAT", "web"), ("IPSEC_VPN", "vpn")],
        "203.0.113.12": [("LOAD_BALANCER", "vs")],
    }
    refused = cloud.refused("OrderService/ReleasePublicIpAddress", {"edge": EDGE, "address": "203.0.113.11"})
    assert refused.users == [f"{EDGE}/things/nat_rule", f"{EDGE}/things/ipsec_tunnel"]


def test_a_nat_rule_keeps_its_address(either: World) -> None:
    cloud = Cloud(either)
    cloud.vdc()
    cloud.call("OrderService/AddPublicIpAddress", {"edge": EDGE, "quantity": 2})
    fields = {"displayName": "web", "type": "DNAT", "externalAddresses": "203.0.113.11",
              "internalAddresses": "10.1.0.130"}  # fmt: skip
    rule = cloud.call("NatService/CreateNatRule", {"parent": EDGE, "natRule": fields})["natRule"]["name"]
    listed = cloud.call("EdgeGatewayService/ListIpAllocations", {"parent": EDGE})["ipAllocations"]
    assert [allocation["users"] for allocation in listed][1:] == [
        [{"category": "DNAT", "name": rule, "displayName": "web"}],
        [],
    ]
    release = {"edge": EDGE, "address": "203.0.113.11"}
    assert cloud.refused("OrderService/ReleasePublicIpAddress", release).users == [rule]
    cloud.call("OrderService/ReleasePublicIpAddress", {"edge": EDGE, "address": "203.0.113.12"})
    cloud.call("NatService/DeleteNatRule", {"name": rule})
    left = cloud.call("OrderService/ReleasePublicIpAddress", release)["edgeGateway"]["publicAddresses"]
    assert left == ["203.0.113.10"]
