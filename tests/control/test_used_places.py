"""What machines have stays theirs: addresses of pools, quotas, networks and data centers that are to shrink or go."""

from __future__ import annotations

from typing import Any

import pytest

from tests.control.office import LAN, ORG, POOL, SMALL, Office
from tests.control.samples import plant
from tests.control.world import RefusedError, World

GROUP, EDGE = f"{ORG}/vdcGroups/both", f"{ORG}/edges/T1"


@pytest.fixture
def office(either: World) -> Office:
    return Office(either)


def refused(office: Office, method: str, request: dict[str, Any]) -> RefusedError:
    with pytest.raises(RefusedError) as caught:
        office.world.call(method, request, office.admin)
    return caught.value


def pools(*texts: str) -> dict[str, Any]:
    return {"network": {"name": LAN, "staticPools": texts}, "updateMask": "staticPools"}


def test_a_static_pool_keeps_the_addresses_that_machines_have(office: Office) -> None:
    first = office.create("first", nics=[{"network": LAN}])["machine"]["name"]
    fixed = office.create("fixed", nics=[{"network": LAN, "ipMode": "IP_MODE_MANUAL", "address": "10.20.0.200"}])
    assert office.addresses(first) == ["10.20.0.10"]
    update = "NetworkService/UpdateNetwork"
    for narrow in (pools(), pools("10.20.0.11-10.20.0.14"), pools("10.20.0.20-10.20.0.25")):
        said = refused(office, update, narrow).fields
        assert said == {"network.static_pools": f"expected pools with 10.20.0.10: {first} has this address"}
    for fits in (pools("10.20.0.10"), pools("10.20.0.100-10.20.0.250", "10.20.0.9-10.20.0.11")):
        office.world.call(update, fits, office.admin)
    said = refused(office, update, pools("10.20.0.10")).fields
    assert fixed["machine"]["name"] in said["network.static_pools"], "its address has come into a pool"
    office.do("DeleteMachine", fixed["machine"]["name"])
    office.do("DeleteMachine", first)
    office.world.call(update, pools(), office.admin)


def quota(vcpu: int, memory_gb: int, storage_gb: int) -> dict[str, Any]:
    bought = {"vcpu": vcpu, "memoryGb": memory_gb, "storageGb": storage_gb}
    return {"vdc": {"name": POOL, "quota": bought}, "updateMask": "quota"}


def test_a_quota_holds_what_machines_have(office: Office) -> None:
    update = "VdcService/UpdateVdc"
    office.world.call(update, quota(40, 100, 400), office.admin)
    name = office.create("large", custom={"vcpu": 30, "memoryGb": 60})["machine"]["name"]
    one = {"vcpu": 1, "memoryGb": 1}
    more = [office.create(f"m{number}", custom=one)["machine"]["name"] for number in range(10)]
    for narrow, what in (
        (quota(39, 100, 400), "vcpu: the machines of {} have 40, more than 39"),
        (quota(40, 69, 400), "memory_gb: the machines of {} have 70, more than 69"),
        (quota(40, 100, 219), "storage_gb: the machines of {} have 220, more than 219"),
    ):
        said = refused(office, update, narrow)
        assert (said.reason, said.text) == ("QUOTA_EXCEEDED", what.format(POOL))
    office.world.call(update, quota(40, 70, 220), office.admin)
    for each in (name, *more):
        office.do("DeleteMachine", each)
    office.world.call(update, quota(20, 50, 200), office.admin)


def test_a_group_keeps_the_data_centers_whose_machines_are_on_its_networks(office: Office) -> None:
    plant(
        office.world, "network", ORG, "shared", display_name="shared", owner=GROUP, network_type="ISOLATED",
        gateway_cidrs=["10.30.0.1/24"],
    )  # fmt: skip
    shared = f"{ORG}/networks/shared"
    nic = {"network": shared, "ipMode": "IP_MODE_MANUAL", "address": "10.30.0.9"}
    name = office.create("web", nics=[nic])["machine"]["name"]
    other = office.record(GROUP).body["vdcs"][1]
    narrow = {"vdcGroup": {"name": GROUP, "vdcs": [other]}, "updateMask": "vdcs"}
    said = refused(office, "VdcService/UpdateVdcGroup", narrow).fields
    assert said == {"vdc_group.vdcs": f"expected {POOL}: {name} has a card on {shared}"}
    swapped = {"vdcGroup": {"name": GROUP, "vdcs": [other, POOL]}, "updateMask": "vdcs"}
    office.world.call("VdcService/UpdateVdcGroup", swapped, office.admin)
    office.do("DeleteMachine", name)
    office.world.call("VdcService/UpdateVdcGroup", narrow, office.admin)


def test_where_machines_are_is_not_deleted(office: Office) -> None:
    name = office.create("web", nics=[{"network": LAN}])["machine"]["name"]
    for method, place, users in (
        ("NetworkService/DeleteNetwork", LAN, [name]),
        ("EdgeGatewayService/DeleteEdgeGateway", EDGE, [LAN]),
        ("VdcService/DeleteVdc", POOL, [GROUP, LAN, name]),
        ("VdcService/DeleteVdcGroup", GROUP, [EDGE]),
        ("CatalogService/DeleteSizingPolicy", SMALL, [name]),
    ):
        said = refused(office, method, {"name": place})
        assert (said.reason, sorted(said.users)) == ("OBJECT_IN_USE", sorted(users)), method
    assert office.get(name)["interfaces"][0]["network"] == LAN
