"""Machines in the store: what they need, what they get, what is done with them.  They are simulated."""

from __future__ import annotations

import asyncio
import json
import os
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from control import gather
from control.api.errors import status_of
from control.errors import MachineError
from control.machines import book
from control.machines.wishes import Power
from control.planner import plan
from control.serving import ControlSettings, made_machines, serve
from edge.cli.main import cli
from tests.control.office import (
    DEBIAN,
    DEMAND,
    LAN,
    ORG,
    OTHER_REGION,
    POOL,
    REGION,
    SMALL,
    WINDOWS,
    Office,
    nic,
    refusal,
)
from tests.control.samples import plant
from tests.control.world import World, world_at


@pytest.fixture
def office(either: World) -> Office:
    return Office(either)


@pytest.fixture
def quick(world: World) -> Office:
    return Office(world)


def test_what_the_host_says_of_a_machine_is_for_the_log_alone(caplog: pytest.LogCaptureFixture) -> None:
    status = status_of(MachineError("/srv/t1edge/machines/1: no space"))
    assert status.message == MachineError.told
    assert "/srv" not in str(status)
    assert "/srv/t1edge/machines/1: no space" in caplog.text


def test_the_provider_begins_with_its_catalog(quick: Office) -> None:
    templates = quick.world.call("CatalogService/ListTemplates", {"parent": REGION}, quick.token)["templates"]
    shown = {each["displayName"]: (each["osFamily"], each["baseDiskGb"]) for each in templates}
    assert len(shown) == 26
    assert shown["Windows Server 2016 R2 SQL ST 2019"] == ("OS_FAMILY_WINDOWS", 50)
    assert shown["Ubuntu Server 20.04 LTS"] == ("OS_FAMILY_LINUX", 20)
    request = {"orderBy": "vcpu desc", "pageSize": 2}
    sizes = quick.world.call("CatalogService/ListSizingPolicies", request, quick.token)["sizingPolicies"]
    assert [(each["displayName"], each["vcpu"], each["memoryGb"]) for each in sizes] == [
        ("gp.xlarge-02", 32, 128), ("gp.xlarge-01", 32, 96),
    ]  # fmt: skip
    assert len(quick.world.call("CatalogService/ListSizingPolicies", {}, quick.token)["sizingPolicies"]) == 11


def test_a_region_goes_with_its_catalog_unless_that_is_used(quick: Office) -> None:
    quick.create("web")
    refused = refusal(quick.world.call, "RegionService/DeleteRegion", {"name": REGION}, quick.admin)
    assert refused.reason == "OBJECT_IN_USE"
    quick.world.call("RegionService/DeleteRegion", {"name": OTHER_REGION}, quick.admin)
    with quick.world.store.read() as state:
        assert not state.all("template", OTHER_REGION)
        assert state.all("template", REGION)


def test_a_machine_from_its_beginning_to_its_end(office: Office) -> None:
    answer = office.create("Web 01", nics=[nic()], tags=["web"], metadata={"owner": "María"}, powerOn=True)
    machine = answer["machine"]
    name = machine["name"]
    assert machine["computerName"] == "Web-01"
    assert office.task(answer)["status"] == "TASK_STATUS_SUCCESS"
    found = office.get(name)
    assert found["powerState"] == "POWER_STATE_POWERED_ON"
    assert (found["vcpu"], found["memoryGb"], found["storageGb"]) == (2, 4, 20)
    (card,) = found["interfaces"]
    assert (card["network"], card["address"], card["primary"]) == (LAN, "10.20.0.10", True)
    assert card["mac"].startswith("00:50:56:")
    there = office.world.driver.inventory()
    uid = office.record(name).uid
    assert there[uid].power is Power.ON
    assert there[uid].wish.nics[0].addresses == ("10.20.0.10/24",)
    assert there[uid].wish.nics[0].gateways == ("10.20.0.1",)
    assert (there[uid].wish.dns, there[uid].wish.dns_suffix) == (("9.9.9.9",), "acme.example")
    refused = refusal(office.do, "DeleteMachine", name)
    assert refused.reason == "INVALID_POWER_STATE"
    assert refused.text == (
        "The requested operation could not be executed on vApp Web 01. Stop the vApp and try again."
    )
    refused = refusal(office.world.call, "NetworkService/DeleteNetwork", {"name": LAN}, office.token)
    assert refused.users == [name]
    office.do("PowerOffMachine", name)
    task = office.task(office.do("DeleteMachine", name))
    assert (task["operation"], task["status"]) == ("Delete Machine", "TASK_STATUS_SUCCESS")
    assert office.world.driver.inventory() == {}
    assert refusal(office.do, "GetMachine", name).reason == "OBJECT_UNKNOWN"


def test_power_goes_only_where_it_can(quick: Office) -> None:
    name = quick.create("web")["machine"]["name"]
    states = {
        "POWERED_OFF": {"PowerOnMachine"},
        "POWERED_ON": {"PowerOffMachine", "ResetMachine", "SuspendMachine"},
        "SUSPENDED": {"PowerOnMachine", "PowerOffMachine"},
    }
    ways = {"POWERED_OFF": [], "POWERED_ON": ["PowerOnMachine"], "SUSPENDED": ["PowerOnMachine", "SuspendMachine"]}
    every = set().union(*states.values())
    for state, allowed in states.items():
        for method in ways[state]:
            quick.do(method, name)
        assert quick.get(name)["powerState"] == f"POWER_STATE_{state}"
        for method in every:
            if method in allowed:
                quick.do(method, name, validateOnly=True)
            else:
                assert refusal(quick.do, method, name).reason == "INVALID_POWER_STATE"
        if state != "POWERED_OFF":
            quick.do("PowerOffMachine", name)
    assert refusal(quick.do, "PowerOnMachine", name, etag="x-1").reason == "ETAG_MISMATCH"


def test_the_wrong_region_is_refused_with_the_manuals_text(quick: Office) -> None:
    refused = refusal(quick.create, "web", template=f"{OTHER_REGION}/templates/debian-10")
    assert refused.fields == {
        "machine.template": (
            'La plantilla de máquina virtual seleccionada está etiquetada con la política "DOSDQ01P-VM", '
            "que no es válida para este VDC. Seleccione otra plantilla."
        )
    }


def test_a_pool_has_so_much(quick: Office) -> None:
    quick.create("a", custom={"vcpu": 16, "memoryGb": 4, "sockets": 2})
    refused = refusal(quick.create, "b", custom={"vcpu": 8, "memoryGb": 4})
    assert (refused.reason, refused.text) == ("QUOTA_EXCEEDED", "vcpu: the machine needs 8, 4 of 20 are free")
    assert refusal(quick.create, "b", custom={"vcpu": 1, "memoryGb": 47}).text.startswith("memory_gb")
    for name in "bcd":
        quick.create(name, template=WINDOWS, custom={"vcpu": 1, "memoryGb": 1})
    assert refusal(quick.create, "e", template=WINDOWS, custom={"vcpu": 1, "memoryGb": 1}).text.startswith("storage_gb")
    quick.create("e", custom={"vcpu": 1, "memoryGb": 1})
    quick.create("f", vdc=DEMAND, custom={"vcpu": 128, "memoryGb": 2048})


def test_sizes_change_by_the_rules(quick: Office) -> None:
    small = quick.create("small")["machine"]["name"]
    custom = {"vcpu": 4, "memoryGb": 4}
    refused = refusal(quick.update, small, "sizingPolicy", sizingPolicy="sizingPolicies/gp.medium-01")
    assert "machine.sizing_policy" in refused.fields  # a pool data center
    quick.update(small, "sizingPolicy,custom", custom=custom)
    quick.do("PowerOnMachine", small)
    quick.update(small, "custom", custom={"vcpu": 5, "memoryGb": 6})
    assert (quick.get(small)["vcpu"], quick.get(small)["memoryGb"]) == (5, 6)
    assert refusal(quick.update, small, "custom", custom=custom).reason == "INVALID_POWER_STATE"
    quick.do("PowerOffMachine", small)
    quick.update(small, "custom", custom={"vcpu": 2, "memoryGb": 8})
    quick.do("PowerOnMachine", small)
    assert refusal(quick.update, small, "custom", custom={"vcpu": 3, "memoryGb": 8}).reason == "INVALID_POWER_STATE"
    demand = quick.create("demand", vdc=DEMAND)["machine"]["name"]
    quick.update(demand, "sizingPolicy", sizingPolicy="sizingPolicies/gp.medium-01")
    assert quick.get(demand)["vcpu"] == 4
    refused = refusal(quick.update, demand, "template", template=WINDOWS)
    assert refused.reason == "INVALID_ARGUMENT"


def test_addresses_are_the_lowest_that_are_free(office: Office) -> None:
    names = [office.create(f"m{number}", nics=[nic()])["machine"]["name"] for number in range(3)]
    assert [office.addresses(name) for name in names] == [["10.20.0.10"], ["10.20.0.11"], ["10.20.0.12"]]
    office.do("DeleteMachine", names[1])
    two = office.create("two", nics=[nic(), nic(ipMode="IP_MODE_MANUAL", address="10.20.0.13"), nic()])["machine"][
        "name"
    ]
    assert office.addresses(two) == ["10.20.0.11", "10.20.0.13", "10.20.0.14"]
    macs = [each["mac"] for each in office.get(two)["interfaces"]]
    assert len(set(macs)) == 3
    for number in range(6):
        office.create(f"n{number}", vdc=DEMAND if number else POOL, nics=[nic()] if number < 1 else [])
    refused = refusal(office.create, "x", nics=[nic() for _ in range(6)])
    assert (refused.code, refused.reason) == ("RESOURCE_EXHAUSTED", "NO_ADDRESS_LEFT")
    office.update(two, "nics", nics=[nic(connected=False), nic()])
    assert office.addresses(two) == ["10.20.0.11", "10.20.0.14"]
    assert [each["mac"] for each in office.get(two)["interfaces"]] == macs[::2]
    with office.world.store.read() as state:
        assert book.addresses(state, [POOL])[two] == {0: "10.20.0.11", 1: "10.20.0.14"}


OTHER = f"{ORG}/networks/OTHER"


def by_hand(number: int) -> dict[str, Any]:
    return nic(ipMode="IP_MODE_MANUAL", address=f"10.20.0.{number}")


@pytest.mark.parametrize(
    ("before", "after", "same"),
    [  # same: the number that the card of each place had before
        ([nic(primary=True), nic()], [nic()], [1]),
        ([nic(), nic()], [nic()], [0]),
        ([nic(), nic(OTHER)], [nic(OTHER)], [1]),
        ([nic(), nic(OTHER)], [nic(OTHER), nic()], [1, 0]),
        ([nic(), nic()], [by_hand(11)], [1]),
        ([nic(), nic()], [by_hand(11), nic()], [1, 0]),
        ([nic(), nic()], [nic(), by_hand(10)], [1, 0]),
        ([by_hand(90), by_hand(91), by_hand(92)], [by_hand(92), by_hand(90)], [2, 0]),
        ([by_hand(90), by_hand(91)], [by_hand(95), by_hand(91)], [0, 1]),
        ([nic(primary=True), nic()], [nic(), nic(primary=True)], [0, 1]),
        ([nic(primary=True)], [nic(), nic(primary=True)], [None, 0]),
        ([nic(), nic(connected=False), nic()], [nic(), nic()], [0, 2]),
        ([nic(), nic(), nic()], [nic(connected=False), nic(), nic()], [0, 1, 2]),
        ([nic()], [nic(), nic()], [0, None]),
        ([nic()], [nic(OTHER)], [0]),
        ([nic(ipMode="IP_MODE_DHCP"), nic("", ipMode="IP_MODE_NONE")], [nic("", ipMode="IP_MODE_NONE")], [1]),
        ([], [nic()], [None]),
    ],
)  # fmt: skip
def test_a_card_stays_the_same_card(quick: Office, before: Any, after: Any, same: Any) -> None:
    plant(
        quick.world, "network", ORG, "OTHER", display_name="OTHER", owner=POOL, network_type="ISOLATED",
        gateway_cidrs=["10.30.0.1/24"], static_pools=["10.30.0.10-10.30.0.20"],
    )  # fmt: skip
    name = quick.create("web", nics=before)["machine"]["name"]
    had = quick.get(name)["interfaces"]
    quick.update(name, "nics", nics=after)
    has = quick.get(name)["interfaces"]
    macs = [each["mac"] for each in had]
    assert [macs.index(each["mac"]) if each["mac"] in macs else None for each in has] == same
    for number, card in zip(same, has, strict=True):
        asked = after[has.index(card)]
        if number is not None and asked == before[number]:
            assert card["address"] == had[number]["address"]
    taken = [each["address"] for each in has if each["address"]]
    assert len(set(taken)) == len(taken)


def test_addresses_by_hand(quick: Office) -> None:
    def manual(address: str) -> dict[str, Any]:
        return nic(ipMode="IP_MODE_MANUAL", address=address)

    first = quick.create("a", nics=[manual("10.20.0.99")])["machine"]["name"]
    for address, part in (
        ("10.20.0.1", "gateway"), ("10.20.0.255", "broadcast"), ("10.20.0.0", "network"), ("10.21.0.5", "10.20.0.0/24"),
        ("2001:db8::5", "10.20.0.0/24"), ("10.20.0.99", first),
    ):  # fmt: skip
        refused = refusal(quick.create, "b", nics=[manual(address)])
        assert part in refused.fields["machine.nics[0].address"], address
    assert refusal(quick.create, "b", nics=[manual("10.20.0.98"), manual("10.20.0.98")]).fields
    for wrong in (
        nic(address="10.20.0.5"), nic(ipMode="IP_MODE_MANUAL"), nic(""), nic(ipMode="IP_MODE_MANUAL", address="x"),
        nic("orgs/US2/networks/x"), nic("regions/x"), {**nic(), "adapter": 77},
    ):  # fmt: skip
        assert refusal(quick.create, "b", nics=[wrong]).code in {"INVALID_ARGUMENT", "NOT_FOUND"}
    quick.update(first, "nics", nics=[manual("10.20.0.97")])
    quick.create("b", nics=[manual("10.20.0.99"), nic("", ipMode="IP_MODE_NONE"), nic(ipMode="IP_MODE_DHCP")])
    found = quick.get(f"{POOL}/machines/b")
    assert found["notEmulated"] == ["nics[2].ip_mode DHCP"]
    assert [each["address"] for each in found["interfaces"]] == ["10.20.0.99", "", ""]


def test_networks_of_others_are_not_there(quick: Office) -> None:
    plant(quick.world, "vdc", ORG, "DOSDQ01P-US1D3", region=OTHER_REGION, plan="ON_DEMAND", subscription="3")
    far = f"{ORG}/vdcs/DOSDQ01P-US1D3"
    refused = refusal(quick.create, "web", vdc=far, template=f"{OTHER_REGION}/templates/debian-10", nics=[nic()])
    assert "machine.nics[0].network" in refused.fields
    refused = refusal(quick.create, "web", vdc=DEMAND, nics=[nic()])
    assert "machine.nics[0].network" in refused.fields


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("displayName", ""), ("displayName", "a\tb"), ("displayName", "x" * 129), ("computerName", "-a"),
        ("computerName", "12"), ("computerName", "a.b"), ("computerName", "x" * 64), ("storagePolicy", "HDD"),
        ("startCommand", "a\0b"), ("startCommand", "x" * 16_385), ("tags", ["a", "a"]), ("tags", ["x"] * 51),
        ("nics", [{}] * 11), ("nics", [{"primary": True, "ipMode": "IP_MODE_NONE"}] * 2),
        ("custom", {"vcpu": 1, "memoryGb": 1}), ("custom", {"vcpu": 129, "memoryGb": 1}),
        ("custom", {"vcpu": 3, "memoryGb": 1, "sockets": 2}), ("template", "regions/x"), ("metadata", {"": "x"}),
    ],
)  # fmt: skip
def test_bad_fields(quick: Office, field: str, value: Any) -> None:
    size = {"sizingPolicy": SMALL}
    machine = {"displayName": "web", "template": DEBIAN, **size, field: value}
    request = {"parent": POOL, "machine": machine}
    refused = refusal(quick.world.call, "MachineService/CreateMachine", request, quick.token)
    assert refused.reason == "INVALID_ARGUMENT"
    assert all(each.startswith("machine") for each in refused.fields)


def test_windows_has_short_names(quick: Office) -> None:
    refused = refusal(quick.create, "x", template=WINDOWS, computerName="a-long-name-of-sixteen")
    assert "machine.computer_name" in refused.fields


def test_a_snapshot_is_one(quick: Office) -> None:
    name = quick.create("web", powerOn=True)["machine"]["name"]
    for method in ("RevertSnapshot", "RemoveSnapshot"):
        assert refusal(quick.do, method, name).reason == "INVALID_SNAPSHOT"
    for field in ("memory", "quiesce"):
        assert refusal(quick.do, "CreateSnapshot", name, **{field: True}).reason == "NOT_EMULATED"
    quick.do("CreateSnapshot", name)
    first = quick.get(name)["snapshot"]["createTime"]
    quick.world.now_s += 100
    quick.do("CreateSnapshot", name)
    assert quick.get(name)["snapshot"]["createTime"] > first
    quick.do("RevertSnapshot", name)
    assert quick.get(name)["powerState"] == "POWER_STATE_POWERED_OFF"
    quick.do("RemoveSnapshot", name)
    assert "snapshot" not in quick.get(name)


def test_the_first_password_is_told_once(quick: Office) -> None:
    name = quick.create("web")["machine"]["name"]
    assert quick.get(name)["passwordSet"]
    assert not quick.do("TakePassword", name, validateOnly=True)["password"]
    first = quick.do("TakePassword", name, requestId="p1")["password"]
    assert len(first) == 27
    assert quick.do("TakePassword", name, requestId="p1")["password"] == first  # the same request
    assert refusal(quick.do, "TakePassword", name).reason == "PASSWORD_TAKEN"
    quick.do("PowerOnMachine", name)
    assert refusal(quick.do, "RegeneratePassword", name).reason == "INVALID_POWER_STATE"
    quick.do("PowerOffMachine", name)
    quick.do("RegeneratePassword", name)
    assert quick.do("TakePassword", name)["password"] != first
    records = quick.world.call("AuditService/ListAuditRecords", {"parent": ORG, "pageSize": 1000}, quick.token)
    assert first not in json.dumps(records)
    for file in quick.world.data.glob("control.sqlite3*"):
        assert first.encode() not in file.read_bytes()


def test_the_first_password_is_told_in_a_session_only(quick: Office) -> None:
    name = quick.create("web")["machine"]["name"]
    request = {"parent": f"{ORG}/users/maria", "apiToken": {"displayName": "ci"}}
    token = quick.world.call("ApiTokenService/CreateApiToken", request, quick.token)["secret"]
    refused = refusal(quick.world.call, "MachineService/TakePassword", {"name": name}, token)
    assert refused.reason == "PERMISSION_DENIED"
    assert "session" in refused.text
    assert quick.do("TakePassword", name)["password"]


def test_a_list_tells_of_each_machine_what_the_machine_itself_does(quick: Office) -> None:
    names = [quick.create(f"vm{count}", nics=[nic()] * count)["machine"]["name"] for count in range(3)]
    quick.do("PowerOnMachine", names[1])
    listed = quick.world.call("MachineService/ListMachines", {"parent": POOL}, quick.token)["machines"]
    assert listed == [quick.get(name) for name in sorted(names)]
    assert [len(machine.get("interfaces", [])) for machine in listed] == [0, 1, 2]
    powers = [machine["powerState"].removeprefix("POWER_STATE_") for machine in listed]
    assert powers == ["POWERED_OFF", "POWERED_ON", "POWERED_OFF"]


def test_a_retry_makes_one_machine(quick: Office) -> None:
    first = quick.create("web", requestId="r1")
    assert quick.create("web", requestId="r1") == first
    assert len(quick.world.call("MachineService/ListMachines", {"parent": POOL}, quick.token)["machines"]) == 1
    second = quick.create("web")["machine"]
    assert second["name"] != first["machine"]["name"]  # several may be called the same


def test_validate_only_leaves_nothing(quick: Office) -> None:
    quick.create("web", nics=[nic()], validateOnly=True)
    assert quick.world.ordered == []
    assert quick.world.driver.inventory() == {}
    quick.create("web", nics=[nic()])
    assert quick.addresses(f"{POOL}/machines/web") == ["10.20.0.10"]


def test_dynamic_groups_follow_machines(quick: Office) -> None:
    def members() -> list[list[str]]:
        with quick.world.store.read() as state:
            found = plan(gather.inputs(state, edge)).document["firewallGroups"]
        return [each.get("ipAddresses") for each in found]

    edge = f"{ORG}/edges/T1"
    quick.world.woken.clear()
    first = quick.create("web", tags=["web"], nics=[nic()])["machine"]["name"]
    assert quick.world.woken == []  # no edge has such a group
    rules = [{"attribute_type": "VM_TAG", "operator": "EQUALS", "attribute_value": "web"}]
    plant(quick.world, "security_group", edge, "web", display_name="web", vm_criteria=[{"rules": rules}])
    assert members() == [["10.20.0.10"]]
    quick.create("other", nics=[nic()])
    second = quick.create("second", tags=["web"], nics=[nic()])["machine"]["name"]
    assert quick.world.woken[-1] == edge
    assert sorted(members()[0]) == ["10.20.0.10", "10.20.0.12"]
    quick.update(second, "tags", tags=["db"])
    assert members() == [["10.20.0.10"]]
    quick.do("DeleteMachine", first)
    assert members() in ([None], [[]])


def test_another_tenants_machine_is_not_there(quick: Office) -> None:
    name = quick.create("web")["machine"]["name"]
    _, other = quick.world.tenant(quick.admin, "US2")
    for method in ("GetMachine", "PowerOnMachine", "TakePassword", "Exec"):
        refused = refusal(quick.world.call, f"MachineService/{method}", {"name": name}, other)
        assert refused.reason == "OBJECT_UNKNOWN"


def test_many_simulated_machines_are_back_at_once(tmp_path: Path) -> None:
    with world_at(tmp_path / "data") as world:
        office = Office(world)
        for number in range(50):
            office.create(f"m{number}", vdc=DEMAND, powerOn=True)
        world.close()
        world.open()
        assert len(world.driver.inventory()) == 50


def test_namespaces_need_root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    settings = ControlSettings(tmp_path / "data", f"unix:{tmp_path}/socket", machines="netns")
    with pytest.raises(MachineError, match="--machines simulated"):
        asyncio.run(serve(settings))
    assert not settings.data.exists()


@pytest.mark.parametrize("uplink", ["x", "=x", "x=", "x=a/b", "x=a-name-of-sixteen"])
def test_uplinks_that_are_none(tmp_path: Path, uplink: str) -> None:
    said = CliRunner().invoke(cli, ["control", "serve", "--data", str(tmp_path / "data"), "--uplink", uplink])
    assert said.exit_code == 2
    assert "NETWORK=DEVICE" in said.output


def test_namespaces_are_for_a_control_plane_alone_with_its_data(tmp_path: Path) -> None:
    options = ("--data", str(tmp_path / "data"), "--machines", "netns", "--database", "postgresql://nowhere/x")
    said = CliRunner().invoke(cli, ["control", "serve", *options])
    assert said.exit_code == 2
    assert "--machines netns needs a control plane alone with its data" in said.output
    assert not (tmp_path / "data").exists()


def test_this_replica_may_run_none(world: World) -> None:
    assert made_machines(ControlSettings(world.data, "unix:none", machines="none"), world.store) is None
