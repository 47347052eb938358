"""What lies on an edge: references, what goes together, what is told of it and what is not."""

from __future__ import annotations

import json
from typing import Any

import pytest

from control import gather
from control.machines import book
from control.objects.values import Value
from control.store.unit import PROVIDER
from control.surroundings import SECOND_NS
from edge.document import loads
from tests.control.edges import KINDS, PROVIDER_NETWORK, REGION, Tenant
from tests.control.samples import plant
from tests.control.world import RefusedError, World, unsealed

CRITERION = {"rules": [{"attribute_type": "VM_TAG", "operator": "EQUALS", "attribute_value": "Web"}]}
SECRET = "correct-horse-battery-staple"


@pytest.fixture
def tenant(either: World) -> Tenant:
    return Tenant(either, either.administrator(), "US1")


def everything(tenant: Tenant) -> dict[str, str]:
    """One of each kind that names another where it can; kind -> name."""
    made = {"ip_set": tenant.make("ip_set", "web", ip_addresses=["10.20.0.10", "10.20.0.20-10.20.0.25"])}
    made["security_group"] = tenant.make("security_group", "lan", members=[tenant.lan])
    ports = [{"protocol": "TCP", "destination_ports": ["8080"]}]
    made["application_port_profile"] = tenant.make("application_port_profile", "web-8080", application_ports=ports)
    made["firewall_rule"] = tenant.make(
        "firewall_rule", "in web", action_value="ALLOW", source_firewall_groups=[made["security_group"]],
        destination_firewall_groups=[made["ip_set"]], application_port_profiles=[made["application_port_profile"]],
    )  # fmt: skip
    made["nat_rule"] = tenant.make(
        "nat_rule", "pub", type="DNAT", external_addresses=tenant.addresses[1], internal_addresses="10.20.0.10",
        dnat_external_port="80", application_port_profile=made["application_port_profile"],
    )  # fmt: skip
    hops = [{"ip_address": "10.20.0.254", "scope": tenant.lan}]
    made["static_route"] = tenant.make("static_route", "far", network_cidr="172.16.0.0/16", next_hops=hops)
    made["ipsec_tunnel"] = tenant.make("ipsec_tunnel", "hq", **tunnel(tenant))
    made["load_balancer_pool"] = tenant.make("load_balancer_pool", "servers", member_group=made["ip_set"])
    made["virtual_service"] = tenant.make(
        "virtual_service", "site", virtual_ip_address=tenant.addresses[0], service_ports=[{"port_start": 443}],
        load_balancer_pool=made["load_balancer_pool"],
    )  # fmt: skip
    return made


def tunnel(tenant: Tenant, **more: Any) -> dict[str, Any]:
    return {
        "pre_shared_key": SECRET,
        "local_endpoint": {"local_address": tenant.addresses[0], "local_networks": ["10.20.0.0/24"]},
        "remote_endpoint": {"remote_address": "198.51.100.7", "remote_networks": ["192.168.50.0/24"]},
        **more,
    }


def refused(tenant: Tenant, method: str, request: dict[str, Any]) -> RefusedError:
    with pytest.raises(RefusedError) as found:
        tenant.call(method, request)
    return found.value


def method(verb: str, kind: str) -> str:
    service, noun, _ = KINDS[kind]
    return f"{service}/{verb}{noun}"


def test_what_is_used_names_its_users(tenant: Tenant) -> None:
    made = everything(tenant)
    users = {
        "ip_set": ["firewall_rule", "load_balancer_pool"],
        "security_group": ["firewall_rule"],
        "application_port_profile": ["firewall_rule", "nat_rule"],
        "load_balancer_pool": ["virtual_service"],
    }
    for kind, expected in users.items():
        told = refused(tenant, method("Delete", kind), {"name": made[kind]})
        assert (told.reason, told.users) == ("OBJECT_IN_USE", [made[each] for each in expected])
    with tenant.world.store.read() as state:
        network = state.users_of(tenant.lan)
    assert {record.path for record in network} == {made["security_group"], made["static_route"]}
    for kind in reversed(made):
        answer = tenant.call(method("Delete", kind), {"name": made[kind]})
        assert answer["task"]["status"] == "TASK_STATUS_RUNNING"
    assert tenant.world.woken[-9:] == [tenant.edge] * 9
    tasks = tenant.call("TaskService/ListTasks", {"parent": tenant.org, "pageSize": 1_000})["tasks"]
    assert {task["status"] for task in tasks} == {"TASK_STATUS_SUCCESS"}
    words = {task["operation"] for task in tasks}
    assert {"Create NAT Rule", "Delete IP Set", "Delete IPsec VPN Tunnel", "Create Virtual Service"} <= words


def test_what_others_have_is_not_there(world: World, admin: str) -> None:
    mine, theirs = Tenant(world, admin, "US1"), Tenant(world, admin, "US2", 2)
    group = theirs.make("ip_set", "web", ip_addresses=["10.0.0.1"])
    told = set()
    for name in (group, group.replace("web", "none")):
        fields = {"action_value": "ALLOW", "source_firewall_groups": [name]}
        error = refused(mine, *mine.making("firewall_rule", "r", **fields))
        told.add((error.reason, error.text.replace(name, "NAME"), str(error.fields)))
    assert len(told) == 1
    assert told.pop()[0] == "OBJECT_UNKNOWN"
    nat = {"type": "SNAT", "external_addresses": theirs.addresses[0], "internal_addresses": "10.20.0.0/24"}
    error = refused(mine, *mine.making("nat_rule", "steal", **nat))
    assert error.fields == {
        "nat_rule.external_addresses": f"expected public addresses of the edge, not {theirs.addresses[0]}"
    }


def test_references_lead_to_what_lies_on_the_same_edge(world: World, admin: str) -> None:
    tenant = Tenant(world, admin, "US1")
    made = everything(tenant)
    edge = {"region": REGION, "owner": tenant.vdc, "provider_network": PROVIDER_NETWORK, "wan_access": "INTERNET"}
    plant(world, "edge_gateway", tenant.org, "T2", display_name="T2", public_addresses=["203.0.113.50"], **edge)
    wrong: dict[str, tuple[str, dict[str, Any]]] = {
        "firewall_rule.source_firewall_groups[0]": (
            "firewall_rule", {"action_value": "DROP", "source_firewall_groups": [made["ip_set"]]},
        ),
        "firewall_rule.application_port_profiles[1]": (
            "firewall_rule",
            {"action_value": "DROP", "application_port_profiles": ["systemProfiles/HTTP", "systemProfiles/HTTPX"]},
        ),
        "firewall_rule.application_port_profiles[2]": (
            "firewall_rule",
            {
                "action_value": "DROP",
                "application_port_profiles": [
                    *("systemProfiles/HTTP", "systemProfiles/SSH"), made["application_port_profile"],
                ],
            },
        ),
        "nat_rule.application_port_profile": (
            "nat_rule", {"type": "NO_SNAT", "application_port_profile": made["application_port_profile"]},
        ),
        "virtual_service.load_balancer_pool": (
            "virtual_service",
            {"virtual_ip_address": "10.9.9.9", "service_ports": [{"port_start": 1}],
             "load_balancer_pool": made["load_balancer_pool"]},
        ),
        "load_balancer_pool.member_group": ("load_balancer_pool", {"member_group": made["ip_set"]}),
        "security_group.members[0]": ("security_group", {"members": [tenant.lan]}),
        "security_group.vm_criteria": ("security_group", {"vm_criteria": [CRITERION]}),
        "static_route.next_hops[0].ip_address": (
            "static_route", {"network_cidr": "10.0.0.0/8", "next_hops": [{"ip_address": "10.20.0.254"}]},
        ),
        "ipsec_tunnel.local_endpoint.local_address": ("ipsec_tunnel", tunnel(tenant)),
    }  # fmt: skip
    for field, (kind, fields) in wrong.items():
        name, request = tenant.making(kind, "x", **fields)
        error = refused(tenant, name, {**request, "parent": f"{tenant.org}/edges/T2"})
        assert (error.reason, list(error.fields)) == ("INVALID_ARGUMENT", [field])


def test_updates_are_held_against_the_whole_edge(tenant: Tenant) -> None:
    made = everything(tenant)
    profile = {"name": made["application_port_profile"], "application_ports": [
        {"protocol": "TCP", "destination_ports": ["80", "443"]},
    ]}  # fmt: skip
    only = {"update_mask": "applicationPorts"}
    error = refused(tenant, method("Update", "application_port_profile"), {"application_port_profile": profile, **only})
    assert error.fields == {
        "": f"{made['nat_rule']}, application_port_profile: the profile 'web-8080' is not usable for NAT: it has 2 "
        "destination ports, and one is all NAT can use"
    }
    tenant.call(method("Delete", "nat_rule"), {"name": made["nat_rule"]})
    answer = tenant.call(method("Update", "application_port_profile"), {"application_port_profile": profile, **only})
    assert answer["applicationPortProfile"]["usableForNat"] is False
    rule = {"name": made["firewall_rule"], "enabled": False, "etag": "old"}
    request = {"firewall_rule": rule, "update_mask": "enabled"}
    assert refused(tenant, method("Update", "firewall_rule"), request).reason == "ETAG_MISMATCH"
    del rule["etag"]
    found = tenant.call(method("Update", "firewall_rule"), request)["firewallRule"]
    assert (found["enabled"], found["actionValue"], found["destinationFirewallGroups"]) == (
        False, "ALLOW", [made["ip_set"]],
    )  # fmt: skip


def test_a_pre_shared_key_is_never_told(tenant: Tenant, caplog: pytest.LogCaptureFixture) -> None:
    name, request = tenant.making("ipsec_tunnel", "hq", **tunnel(tenant))
    told = [tenant.call(name, request)]
    path = told[0]["ipsecTunnel"]["name"]
    assert told[0]["ipsecTunnel"]["preSharedKeySet"] is True
    logging = {"name": path, "logging": True}
    change = {"name": path, "pre_shared_key": SECRET + "2"}
    told += [
        tenant.call(method("Get", "ipsec_tunnel"), {"name": path}),
        tenant.call("IpsecService/ListIpsecTunnels", {"parent": tenant.edge}),
        tenant.call(method("Update", "ipsec_tunnel"), {"ipsec_tunnel": logging, "update_mask": "logging"}),
        tenant.call(method("Update", "ipsec_tunnel"), {"ipsec_tunnel": change, "update_mask": "preSharedKey"}),
        tenant.apply(tenant.making("ipsec_tunnel", "b", **tunnel(tenant, enabled=False)), request_id="r"),
        tenant.apply(tenant.making("ipsec_tunnel", "d", **tunnel(tenant, enabled=False)), validate_only=True),
    ]  # fmt: skip
    errors = [
        refused(tenant, name, {**request, "ipsec_tunnel": {**request["ipsec_tunnel"], "pre_shared_key": SECRET * 9}}),
        refused(tenant, name, request),
        refused(tenant, *tenant.making("ipsec_tunnel", "c", **{**tunnel(tenant), "pre_shared_key": ""})),
    ]
    assert list(errors[2].fields) == ["ipsec_tunnel.pre_shared_key"]
    told.append(tenant.call("TaskService/ListTasks", {"parent": tenant.org}))
    told.append(tenant.call("AuditService/ListAuditRecords", {"parent": tenant.org, "pageSize": 1_000}))
    with tenant.world.store.read() as state:
        record = state.get(path)
        assert unsealed(tenant.world.vault, record, "pre_shared_key") == SECRET + "2"
        told.append({"body": record.body})
    everything_said = json.dumps(told) + str([error.raw for error in errors]) + caplog.text
    assert SECRET not in everything_said
    for file in tenant.world.data.rglob("*"):
        assert not file.is_file() or SECRET.encode() not in file.read_bytes()


BAD: list[tuple[str, dict[str, Any], str]] = [
    ("ip_set", {"display_name": "a\x00b"}, "display_name"),
    ("ip_set", {"display_name": " a"}, "display_name"),
    ("ip_set", {"display_name": "x" * 129}, "display_name"),
    ("ip_set", {"description": "\x1b[2J"}, "description"),
    ("ip_set", {"ip_addresses": ["10.0.0.9-10.0.0.1"]}, "ip_addresses[0]"),
    ("ip_set", {"ip_addresses": ["fe80::1%eth0"]}, "ip_addresses[0]"),
    ("ip_set", {"ip_addresses": ["10.0.0.1"] * 4_097}, "ip_addresses"),
    ("ip_set", {"ip_addresses": ["1" * 10_000]}, "ip_addresses[0]"),
    ("security_group", {"vm_criteria": [{"rules": []}]}, "vm_criteria[0].rules"),
    ("security_group", {"vm_criteria": [CRITERION] * 4}, "vm_criteria"),
    ("application_port_profile", {}, "application_ports"),
    (
        "application_port_profile",
        {"application_ports": [{"protocol": "TCP", "destination_ports": ["70000"]}]},
        "application_ports[0].destination_ports[0]",
    ),
    (
        "application_port_profile",
        {"application_ports": [{"protocol": "ICMPv4", "destination_ports": ["1"]}]},
        "application_ports[0]",
    ),
    ("firewall_rule", {}, "action_value"),
    ("firewall_rule", {"action_value": "PERMIT"}, "action_value"),
    ("firewall_rule", {"action_value": "DROP", "direction": "UP"}, "direction"),
    ("firewall_rule", {"action_value": "DROP", "comments": "x" * 2_049}, "comments"),
    ("nat_rule", {"type": "DNAT", "priority": -1}, "priority"),
    ("nat_rule", {"type": "DNAT", "dnat_external_port": "80;"}, "dnat_external_port"),
    ("nat_rule", {"type": "SNAT", "internal_addresses": "10.0.0.1-10.0.0.9"}, "internal_addresses"),
    ("static_route", {"network_cidr": "10.0.0.1", "next_hops": [{"ip_address": "10.20.0.9"}]}, "network_cidr"),
    ("static_route", {"network_cidr": "10.0.0.0/8"}, "next_hops"),
    (
        "virtual_service",
        {"virtual_ip_address": "10.9.0.1", "service_ports": [{"port_start": 9, "port_end": 8}]},
        "service_ports[0]",
    ),
]


@pytest.mark.parametrize(("kind", "fields", "field"), BAD)
def test_fields_that_are_wrong(world: World, admin: str, kind: str, fields: dict[str, Any], field: str) -> None:
    tenant = Tenant(world, admin, "US1")
    name, request = tenant.making(kind, "x")
    error = refused(tenant, name, {**request, kind: {**request[kind], **fields}})
    assert error.reason == "INVALID_ARGUMENT"
    assert f"{kind}.{field}" in error.fields
    assert all(len(text) < 300 and "Tuple" not in text for text in error.fields.values())


NICS = ({"connected": True}, {"connected": False})


class Machine(Value):
    """As much of a machine as groups ask for."""

    display_name: str
    tags: tuple[str, ...]
    nics: tuple[dict[str, Any], ...]


def test_groups_by_criteria_follow_the_machines_of_the_group(world: World, admin: str) -> None:
    tenant = Tenant(world, admin, "US1")
    with world.store.read() as state:
        assert gather.following(state, tenant.vdc) == []
    tenant.make("security_group", "web", vm_criteria=[CRITERION])
    with world.store.write(PROVIDER) as unit:
        for name, tag in (("m1", "web"), ("m2", "db")):
            path = f"{tenant.vdc}/machines/{name}"
            made = unit.create("machine", path, Machine(display_name=name, tags=(tag,), nics=NICS))
            book.add(unit, book.State(path, made.uid, tenant.vdc, "OFF", "OFF", 1, 1, 20))
            got = (f"10.20.0.{name[1]}", f"10.20.0.9{name[1]}")  # of the second, which is not connected
            cards = (book.Card(path, number, "lan", f"{name}-{number}", text) for number, text in enumerate(got))
            book.set_cards(unit, path, cards)
    with world.store.read() as state:
        found = gather.inputs(state, tenant.edge)
        assert gather.following(state, tenant.vdc) == [tenant.edge]
    assert [(each.display_name, each.tags, each.addresses) for each in found.machines] == [
        ("m1", ("web",), ("10.20.0.1",)),
        ("m2", ("db",), ("10.20.0.2",)),
    ]


def test_a_busy_edge_is_waited_for_or_not(world: World, admin: str) -> None:
    tenant = Tenant(world, admin, "US1")
    world.attended = False
    first = tenant.call(*tenant.making("ip_set", "a"))
    assert first["task"]["status"] == "TASK_STATUS_RUNNING"
    name, request = tenant.making("ip_set", "b")
    error = refused(tenant, name, {**request, "busy_timeout": "0s"})
    assert (error.code, error.reason) == ("ABORTED", "BUSY_ENTITY")
    assert "Create IP Set" in error.text
    assert tenant.call(name, {**request, "busy_timeout": "0s", "validate_only": True})["ipSet"]["displayName"] == "b"
    world.realize([tenant.edge])
    assert tenant.call(name, {**request, "busy_timeout": "0s"})["task"]["status"] == "TASK_STATUS_RUNNING"
    world.now_s += 11  # nobody is busy for ever
    with world.store.write(PROVIDER) as unit:
        assert unit.now_ns // SECOND_NS == int(world.now_s)
        assert unit.busy([tenant.edge]) is None


def test_the_document_of_an_edge_can_be_seen(tenant: Tenant) -> None:
    made = everything(tenant)
    found = tenant.call("EdgeGatewayService/GetEdgeDocument", {"name": tenant.edge})
    document = json.loads(found["document"])
    assert [rule["name"] for rule in document["firewallRules"]["userDefinedRules"]] == ["in web"]
    assert found["notEmulated"] == [made["ipsec_tunnel"], made["virtual_service"]]
    edge = tenant.call("EdgeGatewayService/GetEdgeGateway", {"name": tenant.edge})["edgeGateway"]
    assert edge["state"]["notEmulated"] == found["notEmulated"]
    assert loads(found["document"]).config.name == "T1"


def test_the_users_of_public_addresses(tenant: Tenant) -> None:
    made = everything(tenant)
    found = tenant.call("EdgeGatewayService/ListIpAllocations", {"parent": tenant.edge})["ipAllocations"]
    assert [[(user["category"], user["name"]) for user in each["users"]] for each in found] == [
        [
            ("PRIMARY_IP", tenant.edge),
            ("IPSEC_VPN", made["ipsec_tunnel"]),
            ("LOAD_BALANCER", made["virtual_service"]),
        ],
        [("DNAT", made["nat_rule"])],
    ]
    request = {"edge": tenant.edge, "address": tenant.addresses[1]}
    assert refused(tenant, "OrderService/ReleasePublicIpAddress", request).users == [made["nat_rule"]]


def test_switches_of_an_edge_are_held_against_what_edges_take(tenant: Tenant) -> None:
    fields = {"name": tenant.edge, "options": {"tcpStrict": False, "mtu": 9000, "timers": {"udpFirst": 20}}}
    update = {"edge_gateway": fields, "update_mask": "options"}
    tenant.call("EdgeGatewayService/UpdateEdgeGateway", update)
    document = tenant.call("EdgeGatewayService/GetEdgeDocument", {"name": tenant.edge})["document"]
    assert json.loads(document)["options"] == fields["options"]
    for options, field in (({"mtu": 12}, "options.mtu"), ({"tcpStrikt": 1}, "options.tcpStrikt")):
        update["edge_gateway"] = {**fields, "options": options}
        error = refused(tenant, "EdgeGatewayService/UpdateEdgeGateway", update)
        assert list(error.fields) == [f"edge_gateway.{field}"]


def test_of_nat_rules_with_one_priority_the_oldest_is_the_first(tenant: Tenant) -> None:
    names = ["web 2", "web 1", "a"]
    for name in names:
        tenant.world.now_s += 1
        tenant.make("nat_rule", name, type="NO_SNAT", internal_addresses="10.20.0.10")
    document = tenant.call("EdgeGatewayService/GetEdgeDocument", {"name": tenant.edge})["document"]
    assert [rule["name"] for rule in json.loads(document)["natRules"]] == names


@pytest.mark.parametrize("name", ["regions/MIA/providerNetworks/{}", "orgs/US1/users/{}", "orgs/system/users/{}"])
@pytest.mark.parametrize("last", ["internet", "maria", "nobody", "administrator"])
def test_another_kind_of_object_is_never_told_to_be_there(tenant: Tenant, name: str, last: str) -> None:
    given = [name.format(last)]
    error = refused(tenant, *tenant.making("security_group", "g", members=given))
    assert error.fields == {"security_group.members[0]": "expected orgs/*/networks/*"}
    error = refused(tenant, *tenant.making("firewall_rule", "r", action_value="DROP", source_firewall_groups=given))
    assert list(error.fields) == ["firewall_rule.source_firewall_groups[0]"]
