"""Which machines a security group holds."""

from __future__ import annotations

from typing import Any

import pytest

from tests.control.office import DEMAND, ORG, Office
from tests.control.samples import plant
from tests.control.world import RefusedError, World

EDGE = f"{ORG}/edges/T1"
WIDE, DMZ = f"{ORG}/networks/WIDE", f"{ORG}/networks/DMZ"
METHOD = "GroupService/ListSecurityGroupMachines"


@pytest.fixture
def office(either: World) -> Office:
    found = Office(either)
    both = {"owner": f"{ORG}/vdcGroups/both", "network_type": "NAT_ROUTED", "edge": EDGE}
    for name, gateway in (("WIDE", "10.40.0.1/24"), ("DMZ", "10.30.0.1/24")):
        plant(either, "network", ORG, name, display_name=name, gateway_cidrs=[gateway], **both)
    return found


def group(office: Office, id: str, **fields: Any) -> str:
    return plant(office.world, "security_group", EDGE, id, display_name=id, **fields).path


def nic(network: str = WIDE, address: str = "", **fields: Any) -> dict[str, Any]:
    mode = {"ipMode": "IP_MODE_MANUAL", "address": address} if address else {"ipMode": "IP_MODE_NONE"}
    return {"network": network, **mode, **fields}


def machines(office: Office, name: str, **query: Any) -> list[tuple[str, list[str]]]:
    """Display names and addresses."""
    found = office.world.call(METHOD, {"parent": name, **query}, office.token)["machines"]
    return [(each["displayName"], each["ipAddresses"]) for each in found]


def test_a_group_of_networks_holds_what_is_connected_to_them(office: Office) -> None:
    office.create("both", nics=[nic(address="10.40.0.9", primary=True), nic(DMZ, "10.30.0.9")])
    office.create("lan", vdc=DEMAND, nics=[nic(address="10.40.0.8")], powerOn=True)
    office.create("quiet", nics=[nic()])
    office.create("cut", nics=[nic(address="10.40.0.7", connected=False)])
    office.create("dmz", nics=[nic(DMZ, "10.30.0.8")])
    office.create("none")
    lan, every = group(office, "one", members=[WIDE]), group(office, "two", members=[WIDE, DMZ])
    assert machines(office, lan) == [("both", ["10.40.0.9"]), ("lan", ["10.40.0.8"]), ("quiet", [])]
    assert machines(office, every)[:2] == [("both", ["10.40.0.9", "10.30.0.9"]), ("dmz", ["10.30.0.8"])]
    assert [name for name, _ in machines(office, every)] == ["both", "dmz", "lan", "quiet"]
    assert machines(office, group(office, "three")) == []


def test_a_group_by_criteria_holds_what_they_fit(office: Office) -> None:
    by_name = {"attribute_type": "VM_NAME", "operator": "STARTS_WITH", "attribute_value": "WEB"}
    by_tag = {"attribute_type": "VM_TAG", "operator": "EQUALS", "attribute_value": "web"}
    name = group(office, "web", vm_criteria=[{"rules": [by_name]}, {"rules": [by_tag]}])
    assert machines(office, name) == []
    first = office.create("web1", nics=[nic(address="10.40.0.9")])["machine"]["name"]
    office.create("shop", vdc=DEMAND, tags=["Web"], nics=[nic(address="10.40.0.8", connected=False)])
    office.create("db", tags=["db"], nics=[nic(address="10.40.0.7")])
    assert machines(office, name) == [("shop", []), ("web1", ["10.40.0.9"])]
    office.update(first, "displayName", displayName="old")
    assert machines(office, name) == [("shop", [])]


def test_pages_filters_and_orders(office: Office) -> None:
    name = group(office, "lan", members=[WIDE])
    for number in (1, 3, 2):
        office.create(f"web{number}", nics=[nic(address=f"10.40.0.{number + 1}")])
    office.create("web2", vdc=DEMAND, nics=[nic(address="10.40.0.9")])
    request: dict[str, Any] = {"parent": name, "pageSize": 3, "orderBy": "display_name desc"}
    first = office.world.call(METHOD, request, office.token)
    rest = office.world.call(METHOD, {**request, "pageToken": first["nextPageToken"]}, office.token)
    assert [each["displayName"] for each in first["machines"]] == ["web3", "web2", "web2"]
    assert [each["displayName"] for each in rest["machines"]] == ["web1"]
    assert rest["nextPageToken"] == ""
    names = [each["name"] for each in first["machines"]]
    assert names == sorted(names, reverse=True)
    chosen = machines(office, name, filter='display_name = "web2"')
    assert sorted(address for _, (address,) in chosen) == ["10.40.0.3", "10.40.0.9"]
    for wrong, reason in (
        ({"filter": 'tags = "x"'}, "INVALID_FILTER"),
        ({"orderBy": "create_time"}, "INVALID_FILTER"),
        ({"pageSize": -1}, "INVALID_ARGUMENT"),
        ({"pageToken": first["nextPageToken"]}, "INVALID_PAGE_TOKEN"),
        ({"pageToken": "x"}, "INVALID_PAGE_TOKEN"),
        ({"parent": f"{EDGE}/securityGroups/none"}, "OBJECT_UNKNOWN"),
        ({"parent": EDGE}, "INVALID_ARGUMENT"),
    ):
        with pytest.raises(RefusedError) as refused:
            office.world.call(METHOD, {"parent": name, **wrong}, office.token)
        assert refused.value.reason == reason
