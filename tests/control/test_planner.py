"""From objects to documents: what an edge takes, in one order, and packets through it."""

from __future__ import annotations

import json
import random
import re
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from control.checking import checked_plan
from control.edge_rules import check_size, troubles
from control.errors import LimitReachedError
from control.objects import load_balancer, routing
from control.objects.edge import EdgeGateway
from control.objects.firewall import FirewallRule
from control.objects.group import IpSet, SecurityGroup
from control.objects.ipsec import IpsecTunnel
from control.objects.nat import NatRule
from control.objects.network import Network
from control.objects.profile import ApplicationPortProfile
from control.objects.region import ProviderNetwork
from control.objects.values import Value, checked
from control.planner import EdgeInputs, Item, MachineFacts, object_id, plan
from edge.document import from_data
from edge.errors import ArgumentError
from edge.runtime import Edge
from edge.trace import Tracer

ORG = "orgs/US1"
EDGE = f"{ORG}/edges/T1-ACME"
LAN, WEB = f"{ORG}/networks/LAN", f"{EDGE}/ipSets/web"


def item(model: type[Value], name: str, **fields: Any) -> Item[Any]:
    """An object on the edge, or one whose name is whole; its display name is its id."""
    path = name if name.startswith(("orgs/", "regions/")) else f"{EDGE}/{name}"
    return Item(path, checked(model, {"display_name": path.rpartition("/")[2], **fields}, "object"))


def edge_item(**fields: Any) -> Item[EdgeGateway]:
    given: dict[str, Any] = {
        "region": "regions/USMIA01P",
        "owner": f"{ORG}/vdcs/V1P1",
        "provider_network": "regions/USMIA01P/providerNetworks/INTERNET",
        "wan_access": "INTERNET",
        "public_addresses": ["203.0.113.10", "203.0.113.11"],
    }
    return item(EdgeGateway, EDGE, **{**given, **fields})


def network(name: str, *cidrs: str, **fields: Any) -> Item[Network]:
    given = {"owner": f"{ORG}/vdcs/V1P1", "network_type": "NAT_ROUTED", "edge": EDGE, "gateway_cidrs": list(cidrs)}
    return item(Network, f"{ORG}/networks/{name}", **{**given, **fields})


def inputs(**more: Any) -> EdgeInputs:
    """An edge with one uplink and one network."""
    uplink = item(
        ProviderNetwork,
        "regions/USMIA01P/providerNetworks/INTERNET",
        gateway_cidr="203.0.113.1/24",
        pools=["203.0.113.10-203.0.113.99"],
    )
    given: dict[str, Any] = {"edge": edge_item(), "uplink": uplink, "networks": (network("LAN", "10.20.0.1/24"),)}
    return EdgeInputs(**{**given, **more})


def published() -> EdgeInputs:
    """A web server that is published, and a way out."""
    return inputs(
        ip_sets=(item(IpSet, "ipSets/web", ip_addresses=["10.20.0.10", "10.20.0.20-10.20.0.25"]),),
        security_groups=(item(SecurityGroup, "securityGroups/lan", members=[LAN]),),
        application_port_profiles=(
            item(
                ApplicationPortProfile,
                "applicationPortProfiles/web-8080",
                application_ports=[{"protocol": "TCP", "destination_ports": ["8080"]}],
            ),
        ),
        firewall_rules=(
            item(
                FirewallRule,
                "firewallRules/in-web",
                action_value="ALLOW",
                ip_protocol="IPV4",
                destination_firewall_groups=[WEB],
                application_port_profiles=[f"{EDGE}/applicationPortProfiles/web-8080"],
            ),
            item(
                FirewallRule,
                "firewallRules/out",
                action_value="ALLOW",
                source_firewall_groups=[f"{EDGE}/securityGroups/lan"],
            ),
        ),
        nat_rules=(
            item(
                NatRule,
                "natRules/pub-web",
                type="DNAT",
                external_addresses="203.0.113.11",
                internal_addresses="10.20.0.10",
                dnat_external_port="80",
                application_port_profile=f"{EDGE}/applicationPortProfiles/web-8080",
                priority=10,
            ),
            item(
                NatRule,
                "natRules/internet",
                type="SNAT",
                external_addresses="203.0.113.10",
                internal_addresses="10.20.0.0/24",
                priority=100,
            ),
        ),
    )


def traced(given: EdgeInputs, *packets: str) -> list[str]:
    """What becomes of each packet: verdict, reason and what leaves."""
    _, loaded = checked_plan(given, {})
    tracer = Tracer(Edge(loaded.config))
    found = []
    for text in packets:
        results = [result for result in tracer.send(text) if not result.hairpin]
        left = " + ".join(f"{output.port}: {output.packet}" for output in results[0].outputs)
        left = re.sub(r"(?<=203.0.113.10:)\d+", "PORT", left)
        found.append(f"{results[0].verdict.name} {results[0].reason.name} {left}".strip())
    return found


def test_a_published_server_and_a_way_out() -> None:
    assert traced(
        published(),
        "tcp 198.51.100.99:40000 > 203.0.113.11:80 S",
        "tcp 198.51.100.99:40001 > 203.0.113.11:8080 S",
        "udp 10.20.0.10:4000 > 8.8.8.8:53",
    ) == [
        "ALLOW FW_RULE LAN: tcp 198.51.100.99:40000 > 10.20.0.10:8080 S",
        "DROP FW_DEFAULT",
        "ALLOW FW_RULE INTERNET: udp 203.0.113.10:PORT > 8.8.8.8:53",
    ]


def test_profiles_that_vmware_ships_are_told_from_those_of_the_same_name() -> None:
    own = item(
        ApplicationPortProfile,
        "applicationPortProfiles/HTTPS",
        application_ports=[{"protocol": "TCP", "destination_ports": ["9443"]}],
    )
    rules = tuple(
        item(FirewallRule, f"firewallRules/r{n}", action_value="ALLOW", application_port_profiles=[name])
        for n, name in enumerate(("systemProfiles/HTTPS", own.name))
    )
    shipped, tenants = (inputs(application_port_profiles=(own,), firewall_rules=(rule,)) for rule in rules)
    packets = [f"tcp 10.20.0.9:{port} > 198.51.100.1:{port} S" for port in (443, 9443)]
    assert [text.partition(" ")[0] for text in traced(shipped, *packets)] == ["ALLOW", "DROP"]
    assert [text.partition(" ")[0] for text in traced(tenants, *packets)] == ["DROP", "ALLOW"]


def test_groups_by_criteria_follow_machines() -> None:
    criteria = [
        {"rules": [{"attribute_type": "VM_TAG", "operator": "EQUALS", "attribute_value": "Web"}]},
        {
            "rules": [
                {"attribute_type": "VM_NAME", "operator": "STARTS_WITH", "attribute_value": "db-"},
                {"attribute_type": "VM_TAG", "operator": "ENDS_WITH", "attribute_value": "prod"},
            ]
        },
    ]
    group = item(SecurityGroup, "securityGroups/dyn", vm_criteria=criteria)
    rule = item(FirewallRule, "firewallRules/r", action_value="ALLOW", source_firewall_groups=[group.name])
    machines = [
        MachineFacts("v/1", "one", ("web",), ("10.20.0.1", "10.20.0.7")),
        MachineFacts("v/2", "DB-2", ("x", "eu-prod"), ("10.20.0.8",)),
        MachineFacts("v/3", "db-3", ("prod-not",), ("10.20.0.9",)),
        MachineFacts("v/4", "websrv", ("webs",), ("10.20.0.10",)),
    ]
    given = inputs(edge=edge_item(owner=f"{ORG}/vdcGroups/G"), security_groups=(group,), firewall_rules=(rule,))
    assert plan(replace(given, machines=machines)).document["firewallGroups"] == [
        {
            "id": object_id(group.name),
            "name": "dyn",
            "typeValue": "IP_SET",
            "ipAddresses": ["10.20.0.1", "10.20.0.7", "10.20.0.8"],
        }
    ]
    packet = "udp 10.20.0.8:1 > 198.51.100.1:9"
    assert traced(replace(given, machines=machines), packet)[0].startswith("ALLOW")
    assert traced(given, packet) == ["DROP FW_DEFAULT"]  # nobody fits: the rule means nobody, not anybody
    with pytest.raises(ArgumentError) as refused:
        checked_plan(inputs(security_groups=(group,)), {group.name: "security_group"})
    assert [field for field, _ in refused.value.violations] == ["security_group.vm_criteria"]


def test_an_edge_of_its_own_switches_and_default() -> None:
    options = {"tcpStrict": False, "timers": {"udpFirst": 20}, "rejectCode": 10}
    given = inputs(edge=edge_item(default_action="REJECT", default_logging=True, options=options))
    _, loaded = checked_plan(given, {})
    assert loaded.config.firewall.rules[-1].action.value == "REJECT"
    assert loaded.config.firewall.rules[-1].logging
    assert plan(given).document["options"] == {"rejectCode": 10, "tcpStrict": False, "timers": {"udpFirst": 20}}
    with pytest.raises(ArgumentError) as refused:
        checked_plan(inputs(edge=edge_item(options={"tcpStrikt": True})), {EDGE: "edge_gateway"})
    ((field, text),) = refused.value.violations
    assert field == "edge_gateway.options.tcpStrikt"
    assert "did you mean 'tcpStrict'?" in text


def test_routes_and_two_networks() -> None:
    other = network("DMZ", "10.30.0.1/24", "2001:db8:30::1/64", connection_type="NON_DISTRIBUTED")
    route = item(
        routing.StaticRoute,
        "staticRoutes/far",
        network_cidr="172.16.0.0/16",
        next_hops=[{"ip_address": "10.30.0.254", "scope": other.name}],
    )
    rule = item(FirewallRule, "firewallRules/all", action_value="ALLOW")
    given = inputs(networks=(other, network("LAN", "10.20.0.1/24")), static_routes=(route,), firewall_rules=(rule,))
    (found,) = traced(given, "udp 10.20.0.9:1 > 172.16.5.5:9")
    assert found == "ALLOW FW_RULE DMZ: udp 10.20.0.9:1 > 172.16.5.5:9"


def test_what_is_not_emulated_is_left_out_and_told() -> None:
    tunnel = item(
        IpsecTunnel,
        "ipsecTunnels/hq",
        local_endpoint={"local_address": "203.0.113.10", "local_networks": ["10.20.0.0/24"]},
        remote_endpoint={"remote_address": "198.51.100.7", "remote_networks": ["192.168.50.0/24"]},
    )
    off = Item(f"{EDGE}/ipsecTunnels/off", tunnel.value.model_copy(update={"enabled": False}))
    pool = item(load_balancer.LoadBalancerPool, "loadBalancerPools/p", members=[{"ip_address": "10.20.0.10"}])
    service = item(
        load_balancer.VirtualService,
        "virtualServices/v",
        virtual_ip_address="203.0.113.11",
        service_ports=[{"port_start": 80}],
        load_balancer_pool=pool.name,
    )
    given = inputs(
        edge=edge_item(dns={"enabled": True, "upstreams": ["8.8.8.8"]}),
        networks=(network("LAN", "10.20.0.1/24", dhcp={"enabled": True, "pools": ["10.20.0.100-10.20.0.110"]}),),
        ipsec_tunnels=(off, tunnel),
        load_balancer_pools=(pool,),
        virtual_services=(service,),
    )
    planned, loaded = checked_plan(given, {})
    assert planned.not_emulated == (f"{EDGE} dns", f"{LAN} dhcp", tunnel.name, service.name)
    assert not loaded.problems


@pytest.mark.parametrize(
    ("more", "field", "text"),
    [
        (
            {"nat_rules": [("natRules/x", NatRule, {"type": "DNAT"})]},
            "object.external_addresses",
            "a DNAT rule needs 'externalAddresses'",
        ),
        (
            {
                "nat_rules": [
                    (
                        "natRules/x",
                        NatRule,
                        {"type": "SNAT", "external_addresses": "203.0.113.12", "internal_addresses": "10.20.0.0/24"},
                    )
                ]
            },
            "object.external_addresses",
            "expected public addresses of the edge, not 203.0.113.12",
        ),
        (
            {"security_groups": [("securityGroups/x", SecurityGroup, {"members": [LAN, f"{ORG}/networks/NO"]})]},
            "object.members[1]",
            "orgs/US1/networks/NO is no network of this edge",
        ),
        (
            {
                "static_routes": [
                    (
                        "staticRoutes/x",
                        routing.StaticRoute,
                        {"network_cidr": "172.16.0.0/16", "next_hops": [{"ip_address": "10.99.0.1"}]},
                    )
                ]
            },
            "object.next_hops[0].ip_address",
            "10.99.0.1 is in no subnet that is attached to the edge",
        ),
        (
            {
                "firewall_rules": [
                    (
                        "firewallRules/x",
                        FirewallRule,
                        {"action_value": "ALLOW", "application_port_profiles": ["systemProfiles/MS_RPC_TCP"]},
                    )
                ]
            },
            "object.application_port_profiles",
            "the MS_RPC_TCP application layer gateway",
        ),
    ],
)
def test_what_does_not_go_together_is_said_of_the_field(more: dict[str, Any], field: str, text: str) -> None:
    ((section, ((name, model, fields),)),) = more.items()
    made = item(model, name, **fields)
    with pytest.raises(ArgumentError) as refused:
        checked_plan(inputs(**{section: (made,)}), {made.name: "object"})
    assert field in dict(refused.value.violations)
    assert text in dict(refused.value.violations)[field]
    with pytest.raises(ArgumentError) as elsewhere:
        checked_plan(inputs(**{section: (made,)}), {"orgs/US1/edges/other": "edge_gateway"})
    assert all(place == "" and told.startswith(made.name) for place, told in elsewhere.value.violations)


def tunnel(name: str, local: str, remote: str, **more: Any) -> Item[Any]:
    given = {
        "local_endpoint": {"local_address": "203.0.113.10", "local_networks": local.split()},
        "remote_endpoint": {"remote_address": "198.51.100.7", "remote_networks": remote.split()},
    }
    return item(IpsecTunnel, f"ipsecTunnels/{name}", **given, **more)


@pytest.mark.parametrize(
    ("one", "other", "meet"),
    [
        (("10.20.0.0/24", "192.168.0.0/16"), ("10.20.0.0/25", "192.168.5.0/24"), True),
        (("10.20.0.0/24", "192.168.0.0/16"), ("10.21.0.0/24", "192.168.5.0/24"), False),
        (("10.20.0.0/24", "192.168.0.0/24"), ("10.20.0.0/24", "192.168.1.0/24"), False),
        (("10.20.0.0/24 10.30.0.0/24", "192.168.0.0/24"), ("10.0.0.0/8", ""), True),
        (("10.20.0.0/24", ""), ("10.21.0.0/24", ""), False),
        (("2001:db8:1::/64", "2001:db8:2::/64"), ("10.20.0.0/24", ""), False),
        (("2001:db8:1::/64", "2001:db8:2::/64"), ("2001:db8::/32", "2001:db8:2::7/128"), True),
    ],
)
def test_tunnels_that_want_the_same_packets(one: tuple[str, str], other: tuple[str, str], meet: bool) -> None:
    for first, second in ((one, other), (other, one)):
        tunnels = (tunnel("a", *first), tunnel("b", *second))
        told = {each.object for each in troubles(inputs(ipsec_tunnels=tunnels))}
        assert told == ({tunnels[0].name, tunnels[1].name} if meet else set())
        off = (tunnels[0], tunnel("b", *second, enabled=False))
        assert not list(troubles(inputs(ipsec_tunnels=off)))


def service(name: str, address: str, *ports: tuple[int, int], pool: str = "") -> Item[Any]:
    return item(
        load_balancer.VirtualService,
        f"virtualServices/{name}",
        virtual_ip_address=address,
        service_ports=[{"port_start": first, "port_end": last} for first, last in ports],
        load_balancer_pool=f"{EDGE}/loadBalancerPools/{pool or name}",
    )


def test_virtual_services_have_places_of_their_own() -> None:
    def told(*services: Item[Any]) -> list[tuple[str, str]]:
        found = troubles(inputs(virtual_services=services))
        return [(each.object.rpartition("/")[2], each.field) for each in found]

    web = service("a", "203.0.113.11", (80, 80), (443, 443))
    assert told(web, service("b", "203.0.113.10", (80, 80)), service("c", "10.99.0.1", (80, 80))) == []
    assert told(web, service("b", "203.0.113.11", (400, 500))) == [
        ("b", "service_ports[0]"),
        ("a", "service_ports[1]"),
    ]
    assert told(service("a", "203.0.113.11", (80, 90), (85, 85)))[0] == ("a", "service_ports[0]")
    assert told(service("a", "10.20.0.77", (80, 80))) == [("a", "virtual_ip_address")]
    assert told(web, service("b", "203.0.113.10", (1, 1), pool="a")) == [
        ("b", "load_balancer_pool"),
        ("a", "load_balancer_pool"),
    ]


def test_an_edge_is_given_so_much_and_no_more() -> None:
    def sets(number: int) -> list[Item[Any]]:
        first = item(IpSet, "ipSets/s", ip_addresses=["10.0.0.1"] * 4_000)
        return [Item(f"{EDGE}/ipSets/s{each}", first.value) for each in range(number)]

    check_size(inputs(ip_sets=sets(6)))
    with pytest.raises(LimitReachedError, match="at most 25,000"):
        checked_plan(inputs(ip_sets=sets(7)), {})
    criteria = [{"rules": [{"attribute_type": "VM_TAG", "operator": "EQUALS", "attribute_value": "x"}]}]
    groups = [item(SecurityGroup, f"securityGroups/{each}", vm_criteria=criteria) for each in range(26)]
    machines = [MachineFacts(f"m/{each}", "m", (), ()) for each in range(1_000)]
    with pytest.raises(LimitReachedError):
        checked_plan(inputs(security_groups=groups, machines=machines), {})


# ---------------------------------------------------------------- random inputs

NAMES = st.sampled_from(["web", "db", "HTTPS", "INTERNET", "LAN", "web 2", "ü", "default_rule", "in-web"])
ADDRESSES = st.sampled_from(["10.20.0.5", "10.20.0.0/28", "10.20.0.20-10.20.0.25", "2001:db8::/64", "198.51.100.0/24"])
PORTS = st.sampled_from(["80", "8000-8010", "443", "1-65535"])
SYSTEM = st.sampled_from(["systemProfiles/HTTPS", "systemProfiles/SSH", "systemProfiles/DNS-UDP"])


@st.composite
def worlds(draw: st.DrawFn) -> EdgeInputs:
    """Objects that each make sense, with names that get in each other's way."""

    def several(model: type[Value], coll: str, fields: st.SearchStrategy[dict[str, Any]], most: int = 4) -> list[Any]:
        made = draw(st.lists(st.tuples(NAMES, fields), max_size=most))
        ids = draw(st.permutations(["web", "HTTPS", "x", "LAN", "a", "b"]))
        return [
            item(model, f"{coll}/{id}", **{"display_name": name, **more})
            for id, (name, more) in zip(ids, made, strict=False)
        ]

    lans = [network(f"N{n}", f"10.20.{n}.1/24", display_name=draw(NAMES)) for n in range(draw(st.integers(1, 3)))]
    sets = several(IpSet, "ipSets", st.fixed_dictionaries({"ip_addresses": st.lists(ADDRESSES, max_size=3)}))
    members = st.lists(st.sampled_from([lan.name for lan in lans]), max_size=2)
    groups = several(SecurityGroup, "securityGroups", st.fixed_dictionaries({"members": members}))
    ports = st.fixed_dictionaries({"protocol": st.sampled_from(["TCP", "UDP"]), "destination_ports": st.lists(PORTS)})
    listed = st.lists(ports, min_size=1, max_size=2)
    profiles = several(
        ApplicationPortProfile, "applicationPortProfiles", st.fixed_dictionaries({"application_ports": listed})
    )
    named = st.lists(st.sampled_from([each.name for each in [*sets, *groups]] or [""]).filter(bool), max_size=3)
    used = st.lists(st.one_of(SYSTEM, *[st.just(each.name) for each in profiles]), max_size=2)
    rule = st.fixed_dictionaries(
        {
            "action_value": st.sampled_from(["ALLOW", "DROP", "REJECT"]),
            "direction": st.sampled_from(["IN", "OUT", "IN_OUT"]),
            "enabled": st.booleans(),
            "source_firewall_groups": named if sets or groups else st.just([]),
            "destination_firewall_ip_addresses": st.lists(ADDRESSES, max_size=2),
            "application_port_profiles": used,
        }
    )
    rules = several(FirewallRule, "firewallRules", rule, 6)
    nat = st.fixed_dictionaries(
        {
            "type": st.just("SNAT"),
            "external_addresses": st.sampled_from(["203.0.113.10", "203.0.113.10-203.0.113.11"]),
            "internal_addresses": st.sampled_from(["10.20.0.0/24", "10.20.1.9"]),
            "priority": st.integers(0, 2_147_481_599),
        }
    )
    return inputs(
        networks=lans,
        ip_sets=sets,
        security_groups=groups,
        application_port_profiles=profiles,
        firewall_rules=rules,
        nat_rules=several(NatRule, "natRules", nat),
    )


@settings(max_examples=150, deadline=None)
@given(worlds(), st.randoms(use_true_random=False))
def test_every_document_is_one_that_edges_take(world: EdgeInputs, shuffle: random.Random) -> None:
    planned, loaded = checked_plan(world, {})
    assert len(loaded.config.firewall.rules) == len(world.firewall_rules) + 1
    ids = [rule.id for rule in loaded.config.firewall.rules[:-1]]
    assert ids == [object_id(each.name) for each in world.firewall_rules]
    lists = ("networks", "ip_sets", "security_groups", "application_port_profiles")
    mixed = {name: shuffle.sample(getattr(world, name), len(getattr(world, name))) for name in lists}
    assert json.dumps(plan(replace(world, **mixed)).document) == json.dumps(planned.document)


ANY_NAT = st.fixed_dictionaries(
    {"type": st.sampled_from(["DNAT", "SNAT", "NO_DNAT", "NO_SNAT", "REFLEXIVE"])},
    optional={
        "external_addresses": st.sampled_from(["203.0.113.10", "203.0.113.11", "198.51.100.1", "2001:db8::1", "::/0"]),
        "internal_addresses": st.sampled_from(["10.20.0.10", "10.20.0.0/24", "2001:db8::/64", "127.0.0.1"]),
        "dnat_external_port": st.sampled_from(["80", "8000-8010", "any", "0"]),
        "snat_destination_addresses": st.sampled_from(["192.0.2.0/24", "2001:db8::9"]),
        "application_port_profile": st.sampled_from(["systemProfiles/HTTPS", "systemProfiles/FTP"]),
    },
)  # fmt: skip


@settings(max_examples=150, deadline=None)
@given(st.lists(ANY_NAT, min_size=1, max_size=4))
def test_what_an_edge_does_not_take_is_refused_by_name(rules: list[dict[str, Any]]) -> None:
    made = [item(NatRule, f"natRules/r{n}", **fields) for n, fields in enumerate(rules)]
    places = {each.name: f"requests[{n}].nat_rule" for n, each in enumerate(made)}
    try:
        planned, _ = checked_plan(inputs(nat_rules=made), places)
    except ArgumentError as error:
        fields = [field for field, _ in error.violations]
        wanted = all(field.startswith("requests[") for field in fields) and bool(fields)
    else:
        edge = Edge(from_data(planned.document).config)
        wanted = {rule.id for rule in edge.config.nat.rules} == {object_id(each.name) for each in made}
    assert wanted
