"""Data centers, groups, networks and edges: what belongs together, what may not, and in which order it goes."""

from __future__ import annotations

from typing import Any

import pytest

from tests.control.cloud import INTERNET, QUOTA, Cloud
from tests.control.world import World

ROUTED = {"networkType": "NETWORK_TYPE_NAT_ROUTED"}


@pytest.fixture
def cloud(world: World) -> Cloud:
    """With a data center, its edge and its first network, and a data center in another region."""
    found = Cloud(world)
    found.vdc()
    found.provider("Region", "DAL", displayName="Dallas")
    other = {**INTERNET, "gatewayCidr": "192.0.2.1/24", "pools": ["192.0.2.10-192.0.2.11"]}
    found.provider("ProviderNetwork", "internet", parent="regions/DAL", **other)
    found.vdc("DAL")
    return found


def owner(cloud: Cloud, region: str = "MIA") -> str:
    (found,) = (name for name in cloud.names("VdcService", "Vdcs") if f"/{region}-" in name)
    return found


def edge(cloud: Cloud, region: str = "MIA") -> str:
    return f"{cloud.org}/edges/T1-US1-{region}"


def test_dhcp_is_told_to_be_not_emulated_on_every_network(cloud: Cloud) -> None:
    isolated = {"networkType": "NETWORK_TYPE_ISOLATED", "gatewayCidrs": ["10.40.0.1/24"]}
    routed = {**ROUTED, "edge": edge(cloud), "gatewayCidrs": ["10.41.0.1/24"]}
    for name, fields in (("alone", isolated), ("routed", routed)):
        dhcp = {"enabled": True, "pools": [fields["gatewayCidrs"][0].replace(".1/24", ".100")]}
        request = cloud.network(name, owner(cloud), **fields, dhcp=dhcp)
        made = cloud.call("NetworkService/CreateNetwork", request)["network"]
        assert made["state"] == {"notEmulated": [f"{made['name']} dhcp"]}
        assert cloud.call("NetworkService/GetNetwork", {"name": made["name"]})["network"]["state"] == made["state"]
        off = {"network": {"name": made["name"], "dhcp": {"enabled": False}}, "updateMask": "dhcp"}
        assert cloud.call("NetworkService/UpdateNetwork", off)["network"]["state"] == {"notEmulated": []}


def test_a_network_is_made_on_an_edge(either: World) -> None:
    cloud = Cloud(either)
    vdc = cloud.vdc()["vdc"]["name"]
    more = {
        **ROUTED, "edge": edge(cloud), "gatewayCidrs": ["10.20.0.1/24", "2001:DB8::1/64"],
        "staticPools": ["10.20.0.10-10.20.0.99", "2001:db8::10-2001:db8::20"], "dnsPrimary": "10.20.0.53",
        "dnsSuffix": "acme.example", "dhcp": {"enabled": True, "pools": ["10.20.0.100-10.20.0.200"]}, "shared": True,
    }  # fmt: skip
    made = cloud.call("NetworkService/CreateNetwork", cloud.network("LAN", vdc, **more))
    network = made["network"]
    assert network["gatewayCidrs"] == ["10.20.0.1/24", "2001:db8::1/64"]
    assert (network["connectionType"], network["dhcp"]["leaseTimeS"]) == ("CONNECTION_TYPE_INTERNAL", "86400")
    assert made["task"]["status"] == "TASK_STATUS_RUNNING"
    task = cloud.call("TaskService/GetTask", {"name": made["task"]["name"]})["task"]
    assert (task["operation"], task["status"]) == ("Create Network", "TASK_STATUS_SUCCESS")
    assert cloud.names("NetworkService", "Networks", filter=f'edge = "{edge(cloud)}"') == [
        network["name"],
        f"{cloud.org}/networks/LAN-MIA",
    ]
    change = {"network": {"name": network["name"], "description": "x", "staticPools": []}, "updateMask": "staticPools"}
    changed = cloud.call("NetworkService/UpdateNetwork", change)["network"]
    assert (changed["staticPools"], changed["description"], changed["dnsSuffix"]) == ([], "", "acme.example")
    deleted = cloud.call("NetworkService/DeleteNetwork", {"name": network["name"]})
    assert deleted["task"]["status"] == "TASK_STATUS_RUNNING"
    state = cloud.call("EdgeGatewayService/GetEdgeGateway", {"name": edge(cloud)})["edgeGateway"]["state"]
    assert (state["status"], state["desiredRevision"], state["realizedRevision"]) == ("EDGE_STATUS_REALIZED", "4", "4")


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"gatewayCidrs": []}, "gateway_cidrs"),
        ({"gatewayCidrs": ["10.50.0.1/24", "10.51.0.1/24"]}, ""),
        ({"gatewayCidrs": ["10.50.0.1/24"] * 3}, "gateway_cidrs"),
        ({"gatewayCidrs": ["10.50.0.255/24"]}, "gateway_cidrs[0]"),
        ({"gatewayCidrs": ["fe80::1%eth0/64"]}, "gateway_cidrs[0]"),
        ({"gatewayCidrs": ["10.50.0.1/٢٤"]}, "gateway_cidrs[0]"),
        ({"networkType": "NETWORK_TYPE_UNSPECIFIED"}, "network_type"),
        ({"networkType": 9}, "network_type"),
        ({**ROUTED}, ""),  # without an edge
        ({"edge": "orgs/US1/edges/T1-US1-MIA"}, ""),  # isolated
        ({"connectionType": "CONNECTION_TYPE_INTERNAL"}, ""),
        ({"staticPools": ["10.50.0.1-10.50.0.9"]}, ""),  # the gateway's
        ({"staticPools": ["10.50.0.0-10.50.0.9"]}, ""),
        ({"staticPools": ["10.50.0.250-10.50.0.255"]}, ""),
        ({"staticPools": ["10.50.1.2"]}, ""),
        ({"staticPools": ["2001:db8::1"]}, ""),
        ({"staticPools": ["10.50.0.5", "10.50.0.2-10.50.0.9"]}, ""),
        ({"staticPools": ["10.50.0.5"], "dhcp": {"pools": ["10.50.0.2-10.50.0.9"]}}, ""),
        ({"staticPools": ["10.50.0.9-10.50.0.2"]}, "static_pools[0]"),
        ({"dhcp": {"enabled": True}}, "dhcp"),
        ({"dhcp": {"leaseTimeS": 59}}, "dhcp.lease_time_s"),
        ({"dnsPrimary": "dns.example"}, "dns_primary"),
        ({"dnsPrimary": "0.0.0.0"}, "dns_primary"),
        ({"dnsSuffix": "-a.example"}, "dns_suffix"),
        ({"dnsSuffix": "a.example\n"}, "dns_suffix"),
        ({"dnsSuffix": "a" * 100_000}, "dns_suffix"),
        ({"displayName": "x\x00"}, "display_name"),
    ],
)
def test_networks_that_are_none(cloud: Cloud, change: dict[str, Any], field: str) -> None:
    before = cloud.names("NetworkService", "Networks")
    refused = cloud.refused("NetworkService/CreateNetwork", cloud.network("x", owner(cloud), **change))
    assert list(refused.fields) == ["network" + (f".{field}" if field else "")]
    assert cloud.names("NetworkService", "Networks") == before


@pytest.mark.parametrize("cidr", ["10.1.0.1/24", "10.1.0.129/25", "10.0.0.1/8", "203.0.113.129/25"])
def test_no_two_networks_of_an_edge_overlap(cloud: Cloud, cidr: str) -> None:
    request = cloud.network("x", owner(cloud), **ROUTED, edge=edge(cloud), gatewayCidrs=[cidr])
    refused = cloud.refused("NetworkService/CreateNetwork", request)
    assert list(refused.fields) == ["network.gateway_cidrs"]
    isolated = cloud.network("x", owner(cloud), gatewayCidrs=[cidr])
    cloud.call("NetworkService/CreateNetwork", isolated)


def test_a_network_and_its_edge_are_of_one_region(cloud: Cloud) -> None:
    request = cloud.network("x", owner(cloud, "DAL"), **ROUTED, edge=edge(cloud))
    assert cloud.refused("NetworkService/CreateNetwork", request).fields == {
        "network.edge": "expected an edge of regions/DAL"
    }


def test_what_is_fixed_of_a_network_stays(cloud: Cloud) -> None:
    name = f"{cloud.org}/networks/LAN-MIA"
    for change in (
        {"owner": owner(cloud, "DAL")},
        {"networkType": "NETWORK_TYPE_ISOLATED"},
        {"edge": edge(cloud, "DAL")},
        {"gatewayCidrs": ["10.99.0.1/24"]},
    ):
        refused = cloud.refused("NetworkService/UpdateNetwork", {"network": {"name": name, **change}})
        assert list(refused.fields.values()) == ["cannot be changed"]


def test_groups_join_data_centers_of_one_region(either: World) -> None:
    cloud = Cloud(either)
    first, second = cloud.vdc()["vdc"]["name"], cloud.vdc()["vdc"]["name"]
    cloud.provider("Region", "DAL", displayName="Dallas")
    for vdcs, field in (([], "vdcs"), ([first, first], ""), ([f"{cloud.org}/edges/x"], "vdcs[0]")):
        group = {"displayName": "g", "region": "regions/MIA", "vdcs": vdcs}
        refused = cloud.refused("VdcService/CreateVdcGroup", {"parent": cloud.org, "vdcGroup": group})
        assert list(refused.fields) == ["vdc_group" + (f".{field}" if field else "")]
    group = {"displayName": "g", "region": "regions/DAL", "vdcs": [first]}
    refused = cloud.refused("VdcService/CreateVdcGroup", {"parent": cloud.org, "vdcGroup": group})
    assert list(refused.fields) == ["vdc_group.vdcs[0]"]
    group = {"displayName": "g", "region": "regions/MIA", "vdcs": [first, second]}
    made = cloud.call("VdcService/CreateVdcGroup", {"parent": cloud.org, "vdcGroup": group})
    assert made["task"]["status"] == "TASK_STATUS_SUCCESS"
    name = made["vdcGroup"]["name"]
    cloud.call("NetworkService/CreateNetwork", cloud.network("shared", name))
    move = {"edgeGateway": {"name": edge(cloud), "owner": name}, "updateMask": "owner"}
    assert cloud.call("EdgeGatewayService/UpdateEdgeGateway", move)["edgeGateway"]["owner"] == name
    assert cloud.names("EdgeGatewayService", "EdgeGateways", filter=f'owner = "{name}"') == [edge(cloud)]
    refused = cloud.refused("VdcService/DeleteVdcGroup", {"name": name})
    assert refused.users == [edge(cloud), f"{cloud.org}/networks/shared"]
    # What is in dynamic groups of the edge depends on which machines the group has.
    fewer = {"vdcGroup": {"name": name, "vdcs": [first]}, "updateMask": "vdcs"}
    either.woken.clear()
    assert cloud.call("VdcService/UpdateVdcGroup", fewer)["task"]["status"] == "TASK_STATUS_RUNNING"
    assert either.woken == [edge(cloud)]


def test_an_edge_stays_in_its_region(cloud: Cloud) -> None:
    move = {"edgeGateway": {"name": edge(cloud), "owner": owner(cloud, "DAL")}, "updateMask": "owner"}
    refused = cloud.refused("EdgeGatewayService/UpdateEdgeGateway", move)
    assert list(refused.fields) == ["edge_gateway.owner"]


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"displayName": ""}, "display_name"),
        ({"displayName": "T1-US1-DAL"}, "OBJECT_EXISTS"),
        ({"publicAddresses": ["203.0.113.14"]}, "public_addresses"),
        ({"region": "regions/DAL"}, "region"),
        ({"dns": {"upstreams": ["10.0.0.1"] * 4}}, "dns.upstreams"),
        ({"dns": {"upstreams": ["x"]}}, "dns.upstreams[0]"),
        ({"dns": {"upstreams": [""]}}, "dns.upstreams[0]"),
        ({"dns": {"listener": "x"}}, "dns.listener"),
        ({"defaultAction": 9}, "default_action"),
    ],
)
def test_changes_of_an_edge_that_are_none(cloud: Cloud, change: dict[str, Any], field: str) -> None:
    given = cloud.call("EdgeGatewayService/GetEdgeGateway", {"name": edge(cloud)})["edgeGateway"]
    refused = cloud.refused("EdgeGatewayService/UpdateEdgeGateway", {"edgeGateway": {**given, **change}})
    assert list(refused.fields) == [f"edge_gateway.{field}"] if field.islower() else refused.reason == field
    assert cloud.call("EdgeGatewayService/GetEdgeGateway", {"name": edge(cloud)})["edgeGateway"] == given


def test_an_edge_is_changed(cloud: Cloud) -> None:
    change = {
        "name": edge(cloud), "displayName": "T1", "defaultAction": "DEFAULT_ACTION_REJECT", "defaultLogging": True,
        "dns": {"enabled": True, "upstreams": ["198.51.100.53"]}, "options": {"mtu": 9000, "profile": "strict-rfc"},
    }  # fmt: skip
    mask = "displayName,defaultAction,defaultLogging,dns,options"
    request = {"edgeGateway": change, "updateMask": mask}
    changed = cloud.call("EdgeGatewayService/UpdateEdgeGateway", request)["edgeGateway"]
    assert changed["options"] == {"mtu": 9000.0, "profile": "strict-rfc"}
    assert (changed["displayName"], changed["dns"]["upstreams"]) == ("T1", ["198.51.100.53"])
    assert changed["publicAddresses"] == ["203.0.113.10"]


@pytest.mark.parametrize(
    "options",
    [
        {"providerFilter": []}, {"providerFilter": False}, {"limits": "report"}, {"maxSessions": 9}, {"seed": 1},
        {"maxSessionsPerSource": 9}, {"maxHalfOpen": 9}, {"maxFragments": 9}, {"snatPortRange": "1024-2047"},
    ],
)  # fmt: skip
def test_what_protects_the_provider_is_not_the_tenants_to_change(cloud: Cloud, options: dict[str, Any]) -> None:
    def change(options: dict[str, Any]) -> dict[str, Any]:
        return {"edgeGateway": {"name": edge(cloud), "options": options}, "updateMask": "options"}

    (option,) = options
    method = "EdgeGatewayService/UpdateEdgeGateway"
    assert list(cloud.refused(method, change(options)).fields) == [f"edge_gateway.options.{option}"]
    cloud.call(method, change(options), cloud.admin)
    cloud.call(method, change({**options, "mtu": 9000}))  # what the provider has set stays
    assert list(cloud.refused(method, change({"mtu": 9000})).fields) == [f"edge_gateway.options.{option}"]


def test_what_was_ordered_goes_in_the_right_order(either: World) -> None:
    cloud = Cloud(either)
    vdc = cloud.vdc()["vdc"]["name"]
    network = f"{cloud.org}/networks/LAN-MIA"
    assert cloud.refused("VdcService/DeleteVdc", {"name": vdc}, cloud.adam).users == [edge(cloud), network]
    assert cloud.refused("EdgeGatewayService/DeleteEdgeGateway", {"name": edge(cloud)}).users == [network]
    assert cloud.refused("RegionService/DeleteRegion", {"name": "regions/MIA"}, cloud.admin).users == [
        *(edge(cloud), vdc, "regions/MIA/providerNetworks/internet"),
    ]
    cloud.call("NetworkService/DeleteNetwork", {"name": network})
    gone = cloud.call("EdgeGatewayService/DeleteEdgeGateway", {"name": edge(cloud)})
    assert gone["task"]["status"] == "TASK_STATUS_SUCCESS"
    cloud.call("VdcService/DeleteVdc", {"name": vdc}, cloud.adam)
    cloud.call("RegionService/DeleteProviderNetwork", {"name": "regions/MIA/providerNetworks/internet"}, cloud.admin)
    cloud.call("RegionService/DeleteRegion", {"name": "regions/MIA"}, cloud.admin)


def test_a_data_center_keeps_what_was_bought_or_more(cloud: Cloud) -> None:
    name = owner(cloud)
    for field, snake in (("vcpu", "vcpu"), ("memoryGb", "memory_gb"), ("storageGb", "storage_gb")):
        given = {"name": name, "quota": {**QUOTA, field: QUOTA[field] - 1}}
        refused = cloud.refused("VdcService/UpdateVdc", {"vdc": given, "updateMask": "quota"}, cloud.adam)
        assert list(refused.fields) == [f"vdc.quota.{snake}"]
    more = {"vdc": {"name": name, "quota": {**QUOTA, "vcpu": 40}}, "updateMask": "quota"}
    assert cloud.call("VdcService/UpdateVdc", more, cloud.adam)["vdc"]["quota"]["vcpu"] == 40
    none = {"vdc": {"name": name}, "updateMask": "quota"}
    assert list(cloud.refused("VdcService/UpdateVdc", none, cloud.adam).fields) == ["vdc"]


def test_a_provider_network_keeps_what_edges_have(cloud: Cloud) -> None:
    network = {"name": "regions/MIA/providerNetworks/internet", "pools": ["203.0.113.11-203.0.113.14"]}
    request = {"providerNetwork": network, "updateMask": "pools"}
    refused = cloud.refused("RegionService/UpdateProviderNetwork", request, cloud.admin)
    assert (refused.reason, refused.users) == ("OBJECT_IN_USE", [edge(cloud)])
    network["pools"] = ["203.0.113.10", "203.0.113.200"]
    cloud.call("RegionService/UpdateProviderNetwork", request, cloud.admin)
