"""Several changes as one: together or not at all, seen before, judged one by one."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.control.edges import Tenant
from tests.control.test_on_edge import CRITERION
from tests.control.world import RefusedError, World

APPLY = "ChangeSetService/ApplyChangeSet"


@pytest.fixture
def tenant(either: World) -> Tenant:
    return Tenant(either, either.administrator(), "US1")


def publishing(tenant: Tenant) -> list[tuple[str, dict[str, Any]]]:
    """A server that becomes reachable: later requests name what earlier ones make."""
    profile, group = f"{tenant.edge}/applicationPortProfiles/web-8080", f"{tenant.edge}/ipSets/web"
    return [
        tenant.making("ip_set", "web", ip_addresses=["10.20.0.10"]),
        tenant.making(
            "application_port_profile",
            "web-8080",
            application_ports=[{"protocol": "TCP", "destination_ports": ["8080"]}],
        ),
        tenant.making(
            "firewall_rule",
            "in-web",
            action_value="ALLOW",
            destination_firewall_groups=[group],
            application_port_profiles=[profile],
        ),
        tenant.making(
            "nat_rule",
            "pub",
            type="DNAT",
            external_addresses=tenant.addresses[1],
            internal_addresses="10.20.0.10",
            dnat_external_port="80",
            application_port_profile=profile,
        ),
    ]


def refused(tenant: Tenant, *parts: tuple[str, dict[str, Any]], **more: Any) -> RefusedError:
    with pytest.raises(RefusedError) as found:
        tenant.apply(*parts, **more)
    return found.value


def count(tenant: Tenant) -> int:
    with tenant.world.store.read() as state:
        return sum(state.object_counts().values())


def test_all_of_it_is_one_change(tenant: Tenant) -> None:
    answer = tenant.apply(*publishing(tenant), request_id="one")
    names = ["ipSets/web", "applicationPortProfiles/web-8080", "firewallRules/in-web", "natRules/pub"]
    assert [each["name"] for each in answer["changed"]] == [f"{tenant.edge}/{name}" for name in names]
    assert answer["task"]["operation"] == "Apply Change Set"
    assert answer["previews"] == []
    assert tenant.world.woken == [tenant.edge]
    tasks = tenant.call("TaskService/ListTasks", {"parent": tenant.org, "orderBy": "start_time desc"})["tasks"]
    assert [task["operation"] for task in tasks].count("Apply Change Set") == 1
    assert not {"Create IP Set", "Create NAT Rule"} & {task["operation"] for task in tasks}
    newest = {"parent": tenant.org, "orderBy": "number desc", "pageSize": 1}
    (record,) = tenant.call("AuditService/ListAuditRecords", newest)["records"]
    assert (record["method"], record["object"]) == (APPLY, tenant.org)
    changes = json.loads(record["details"])["changes"]
    assert [(each["method"], each["object"]) for each in changes] == [
        ("GroupService/CreateIpSet", answer["changed"][0]["name"]),
        ("ProfileService/CreateApplicationPortProfile", answer["changed"][1]["name"]),
        ("FirewallService/CreateFirewallRule", answer["changed"][2]["name"]),
        ("NatService/CreateNatRule", answer["changed"][3]["name"]),
    ]
    before = count(tenant)
    assert tenant.apply(*publishing(tenant), request_id="one") == answer
    assert count(tenant) == before


def test_changes_moves_and_deletions_in_order(tenant: Tenant) -> None:
    for name in ("a", "b"):
        tenant.make("firewall_rule", name, action_value="ALLOW")
    a, b = f"{tenant.edge}/firewallRules/a", f"{tenant.edge}/firewallRules/b"
    answer = tenant.apply(
        tenant.making("firewall_rule", "c", action_value="DROP", request={"position": {"first": True}}),
        ("FirewallService/MoveFirewallRule", {"name": b, "position": {"before": f"{tenant.edge}/firewallRules/c"}}),
        (
            "FirewallService/UpdateFirewallRule",
            {"firewall_rule": {"name": b, "logging": True}, "update_mask": "logging"},
        ),
        ("FirewallService/DeleteFirewallRule", {"name": a}),
    )  # fmt: skip
    assert tenant.rules() == ["b", "c"]
    assert answer["changed"][3] == {"name": a, "etag": ""}
    replaced = ("FirewallService/ReplaceFirewallRules", {"parent": tenant.edge, "firewall_rules": [
        {"display_name": "only", "action_value": "ALLOW"},
    ]})  # fmt: skip
    answer = tenant.apply(replaced, tenant.making("firewall_rule", "last", action_value="DROP"))
    assert answer["changed"][0]["name"] == tenant.edge
    assert tenant.rules() == ["only", "last"]


def test_nothing_of_it_where_one_is_wrong(tenant: Tenant) -> None:
    before = count(tenant)
    good, nat = publishing(tenant), {"type": "SNAT", "external_addresses": "1.1.1.1", "internal_addresses": "10.20.0.9"}
    bad: dict[str, tuple[str, dict[str, Any]]] = {
        "requests[4].ip_set.ip_addresses[1]": tenant.making("ip_set", "x", ip_addresses=["10.0.0.1", "10.0.0.300"]),
        "requests[4].nat_rule.external_addresses": tenant.making("nat_rule", "x", **nat),
        "requests[4].security_group_id": tenant.making("security_group", "x", request={"security_group_id": "/"}),
        "requests[4].position.after": tenant.making(
            "firewall_rule", "x", action_value="DROP", request={"position": {"after": "x"}}
        ),
        "requests[4].name": ("NatService/DeleteNatRule", {"name": tenant.org}),
    }  # fmt: skip
    for field, part in bad.items():
        error = refused(tenant, *good, part)
        assert (error.reason, list(error.fields)) == ("INVALID_ARGUMENT", [field])
    used = refused(tenant, *good, ("GroupService/DeleteIpSet", {"name": f"{tenant.edge}/ipSets/web"}))
    assert (used.reason, used.users) == ("OBJECT_IN_USE", [f"{tenant.edge}/firewallRules/in-web"])
    assert used.text.startswith("requests[4]: ")
    gone = refused(tenant, *good, ("GroupService/DeleteIpSet", {"name": f"{tenant.edge}/ipSets/none"}))
    assert (gone.reason, gone.text[:13]) == ("OBJECT_UNKNOWN", "requests[4]: ")
    again = refused(tenant, *good, (good[0][0], {**good[0][1], "ip_set_id": "other"}))
    assert (again.reason, again.text[:13]) == ("OBJECT_EXISTS", "requests[4]: ")
    assert count(tenant) == before
    assert tenant.world.woken == []


def test_what_can_be_part_of_it(world: World, admin: str) -> None:
    tenant, other = Tenant(world, admin, "US1"), Tenant(world, admin, "US2", 2)
    assert list(refused(tenant).fields) == ["requests"]
    many = [tenant.making("ip_set", "x")] * 1_001
    assert list(refused(tenant, *many).fields) == ["requests"]
    name, request = tenant.making("ip_set", "x")
    for field, value in (("validate_only", True), ("request_id", "x"), ("busy_timeout", "0s")):
        assert list(refused(tenant, (name, {**request, field: value})).fields) == [f"requests[0].{field}"]
    for inner in (("GroupService/GetIpSet", {"name": f"{tenant.edge}/ipSets/x"}), (APPLY, {"parent": tenant.org})):
        assert list(refused(tenant, inner).fields) == ["requests[0]"]
    user = ("UserService/DeleteUser", {"name": f"{tenant.org}/users/maria"})
    assert list(refused(tenant, user).fields) == ["requests[0]"]
    theirs = refused(tenant, other.making("ip_set", "x"))
    assert (theirs.reason, theirs.text) == ("OBJECT_UNKNOWN", f"requests[0]: there is no {other.edge}")
    mixed = refused(tenant, other.making("ip_set", "x"), token=admin)
    assert mixed.fields == {"requests[0].parent": f"expected an object of {tenant.org}"}
    raw = {"parent": tenant.org, "requests": [{"@type": "type.googleapis.com/google.protobuf.Duration", "value": "1s"}]}
    with pytest.raises(RefusedError) as found:
        world.call(APPLY, raw, tenant.token)
    assert list(found.value.fields) == ["requests[0]"]


def test_every_part_is_judged_by_the_callers_rights(world: World, admin: str) -> None:
    tenant = Tenant(world, admin, "US1")
    staff = world.add_user(tenant.token, tenant.org, "eva", "ROLE_STAFF")
    technician = world.add_user(tenant.token, tenant.org, "teo", "ROLE_TECHNICAL_ADMINISTRATOR")
    assert refused(tenant, tenant.making("ip_set", "x"), token=staff).reason == "PERMISSION_DENIED"
    region = ("RegionService/DeleteRegion", {"name": "regions/USMIA01P"})
    denied = refused(tenant, tenant.making("ip_set", "x"), region, token=technician)
    assert (denied.reason, denied.text) == ("PERMISSION_DENIED", "requests[1]: the role does not allow it")
    newest = {"parent": tenant.org, "orderBy": "number desc", "pageSize": 1}
    (record,) = tenant.call("AuditService/ListAuditRecords", newest)["records"]
    assert (record["actor"][-3:], record["method"], record["outcome"]) == ("teo", APPLY, "PERMISSION_DENIED")
    tenant.apply(tenant.making("ip_set", "x"), token=technician)


def test_what_would_come_of_it_is_seen_before(tenant: Tenant) -> None:
    tenant.make("firewall_rule", "out", action_value="ALLOW")
    before = count(tenant)
    answer = tenant.apply(
        *publishing(tenant),
        tenant.making("security_group", "dyn", vm_criteria=[CRITERION]),
        tenant.making(
            "ipsec_tunnel",
            "hq",
            pre_shared_key="very secret",
            local_endpoint={"local_address": tenant.addresses[0], "local_networks": ["10.20.0.0/24"]},
            remote_endpoint={"remote_address": "198.51.100.7"},
        ),
        validate_only=True,
    )
    assert count(tenant) == before
    (preview,) = answer["previews"]
    assert preview["edge"] == tenant.edge
    assert preview["notEmulated"] == [f"{tenant.edge}/ipsecTunnels/hq"]
    document = json.loads(preview["document"])
    assert [rule["name"] for rule in document["firewallRules"]["userDefinedRules"]] == ["out", "in-web"]
    assert "very secret" not in json.dumps(answer)
    assert [(each["kind"], each["section"], each["name"]) for each in preview["changes"]] == [
        ("CHANGE_KIND_ADDED", "firewallGroups", "web"),
        ("CHANGE_KIND_ADDED", "firewallGroups", "dyn"),
        ("CHANGE_KIND_ADDED", "applicationPortProfiles", "web-8080"),
        ("CHANGE_KIND_ADDED", "userDefinedRules", "in-web"),
        ("CHANGE_KIND_ADDED", "natRules", "pub"),
    ]


def test_edges_that_would_be_deleted_are_seen_before(tenant: Tenant) -> None:
    networks = tenant.call("NetworkService/ListNetworks", {"parent": tenant.org})["networks"]
    parts = [
        *(("NetworkService/DeleteNetwork", {"name": network["name"]}) for network in networks),
        ("EdgeGatewayService/DeleteEdgeGateway", {"name": tenant.edge}),
    ]
    (preview,) = tenant.apply(*parts, validate_only=True)["previews"]
    assert preview == {"edge": tenant.edge, "document": "", "changes": [], "notEmulated": []}
    tenant.apply(*parts)
    assert tenant.call("EdgeGatewayService/ListEdgeGateways", {"parent": tenant.org})["edgeGateways"] == []
