"""Good documents: what they load as, and what CloudAPI's ways of writing come to."""

from __future__ import annotations

import json
import subprocess
import sys
import uuid
from dataclasses import asdict, replace
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import Any

import pytest

from edge.addresses import AddressRange, PortRange
from edge.document import from_data, load, loads
from edge.document.context import NAMESPACE, generated_id
from edge.errors import DocumentError
from edge.firewall.config import Action, Direction, IpProtocol, Section, Service
from edge.firewall.system_profiles import system_profile, system_profile_names
from edge.model import PROVIDER_FILTER, BlockedPorts, Options, Profile, SessionsOnChange, SnatServicePort, Timers
from edge.nat.config import FirewallMatch, NatType
from edge.routing.config import ConnectionType, NetworkType

DATA = Path(__file__).parent.parent / "data"
ROOT = Path(__file__).parent.parent.parent


def edge(**sections: Any) -> dict[str, Any]:
    """A small document with an uplink and a network, and the given sections over it."""
    ranges = [{"startAddress": "203.0.113.10", "endAddress": "203.0.113.11"}]
    subnet = {"gateway": "203.0.113.1", "prefixLength": 24, "ipRanges": ranges}
    base: dict[str, Any] = {
        "edgeGateway": {"name": "T1", "edgeGatewayUplinks": [{"uplinkName": "UP", "subnets": [subnet]}]},
        "orgVdcNetworks": [
            {
                "name": "LAN",
                "subnets": [
                    {"gateway": "10.0.0.1", "prefixLength": 24},
                    {"gateway": "2001:db8::1", "prefixLength": 64},
                ],
            }
        ],
    }
    return base | sections


def rules(*items: dict[str, Any], **sections: Any) -> dict[str, Any]:
    return edge(
        firewallRules={"userDefinedRules": [{"name": "r", "actionValue": "ALLOW"} | item for item in items]}, **sections
    )


def codes(data: Any, **options: Any) -> list[str]:
    with pytest.raises(DocumentError) as caught:
        from_data(data, **options)
    return [f"{problem.path} {problem.code}" for problem in caught.value.problems]


def test_the_example_of_the_manual_loads() -> None:
    loaded = load(DATA / "edge.yaml")
    assert loaded.problems == ()
    config = loaded.config
    assert config.name == "T1-ACME"
    assert config.ports == ("INTERNET", "LAN-ACME")
    uplink = config.routing.uplinks[0].subnets[0]
    assert uplink.network == ip_network("203.0.113.0/24")
    assert uplink.ranges == (AddressRange.parse("203.0.113.10-203.0.113.11"),)
    assert uplink.primary == ip_address("203.0.113.10")
    network = config.routing.networks[0]
    assert (network.type, network.connection) == (NetworkType.NAT_ROUTED, ConnectionType.INTERNAL)
    web, out, default = config.firewall.rules
    assert [str(r) for r in web.destination_groups[0].ranges] == ["10.20.0.10", "10.20.0.20-10.20.0.25"]
    assert web.profiles[0].services == (Service(6, (PortRange(8080, 8080),)),)
    assert web.logging
    assert web.ip_protocol is IpProtocol.IPV4
    assert web.any_source
    assert [str(r) for r in out.source_groups[0].ranges] == ["10.20.0.0/24"]
    assert (default.section, default.action, default.name) == (Section.DEFAULT, Action.DROP, "default_rule")
    dnat, snat = config.nat.rules
    assert (dnat.type, dnat.external_port, dnat.profile, dnat.priority) == (
        NatType.DNAT,
        PortRange(80, 80),
        web.profiles[0],
        10,
    )
    assert (snat.type, str(snat.internal), snat.firewall_match) == (
        NatType.SNAT,
        "10.20.0.0/24",
        FirewallMatch.MATCH_INTERNAL_ADDRESS,
    )
    assert config.options == Options()


def test_a_bundle_of_api_answers_loads_with_what_is_not_emulated_left_out() -> None:
    path = DATA / "cloudapi_bundle.json"
    with pytest.raises(DocumentError) as caught:
        load(path)
    assert {problem.code for problem in caught.value.problems} == {"NOT_EMULATED"}
    loaded = load(path, allow_unsupported=True)
    assert [(p.path, p.code, p.severity, p.line) for p in loaded.problems] == [
        ("ipsec/tunnels.values[0]", "NOT_EMULATED", "warning", 185),
        ("dns", "NOT_EMULATED", "warning", 204),
    ]
    assert [rule.action.value for rule in loaded.config.firewall.rules] == ["ALLOW", "REJECT", "DROP"]
    assert [rule.type.value for rule in loaded.config.nat.rules] == ["DNAT", "NO_SNAT", "SNAT"]
    assert loaded.config.nat.rules[1].external is None
    assert loaded.config.firewall.groups[1].type_value == "STATIC_MEMBERS"
    assert loaded.config.firewall.groups[1].members == ("SERVERS",)
    assert loaded.config.id == "urn:vcloud:gateway:0d6f7c1e-3f51-4a8e-9b57-6f2f5f7a9101"
    assert loaded.document == json.loads(path.read_text(encoding="utf-8"))


def test_a_document_of_a_name_alone_has_a_default_rule() -> None:
    config = loads("edgeGateway: {name: T1}").config
    assert [(r.name, r.action, r.section) for r in config.firewall.rules] == [
        ("default_rule", Action.DROP, Section.DEFAULT)
    ]
    assert config.firewall.rules[0].any_source
    assert config.ports == ()


def test_ids_are_made_of_section_name_and_occurrence() -> None:
    config = from_data(rules({}, {}, {"id": "own"}, {})).config
    ids = [rule.id for rule in config.firewall.rules[:4]]
    assert ids == [
        str(uuid.uuid5(NAMESPACE, "userDefinedRules/r/0")),
        str(uuid.uuid5(NAMESPACE, "userDefinedRules/r/1")),
        "own",
        str(uuid.uuid5(NAMESPACE, "userDefinedRules/r/3")),
    ]
    assert config.id == generated_id("edgeGateway", "T1", 0)


def test_primary_address_defaults_to_the_first_of_the_first_range() -> None:
    assert from_data(edge()).config.routing.uplinks[0].subnets[0].primary == ip_address("203.0.113.10")


GROUPS = [
    {"id": "urn:1", "name": "a", "typeValue": "IP_SET", "ipAddresses": ["10.0.0.1"]},
    {"id": "urn:2", "name": "a", "typeValue": "STATIC_MEMBERS", "members": ["LAN"]},
    {"id": "urn:3", "name": "urn:1", "typeValue": "IP_SET", "ipAddresses": ["10.0.0.3"]},
]


@pytest.mark.parametrize(
    ("reference", "found"),
    [
        ("urn:2", "urn:2"),
        ("urn:1", "urn:1"),  # an id before a name
        ({"id": "urn:1"}, "urn:1"),
        ({"name": "urn:1"}, "urn:3"),
        ({"name": "a", "id": "urn:2"}, "urn:2"),
        ({"name": "anything", "id": "urn:2"}, "urn:2"),
        ({"name": "urn:1", "id": None}, "urn:3"),
        ({"name": "urn:1", "id": ""}, "urn:3"),
    ],
)
def test_references(reference: Any, found: str) -> None:
    data = rules({"sourceFirewallGroups": [reference]}, {"sourceFirewallGroups": [reference]}, firewallGroups=GROUPS)
    assert [rule.source_groups[0].id for rule in from_data(data).config.firewall.rules[:2]] == [found, found]


@pytest.mark.parametrize(
    ("reference", "code"),
    [
        ("a", "AMBIGUOUS_REFERENCE"),
        ({"name": "a"}, "AMBIGUOUS_REFERENCE"),
        ("b", "DANGLING_REFERENCE"),
        ({"id": "a"}, "DANGLING_REFERENCE"),
        ({"id": "urn:9", "name": "urn:1"}, "DANGLING_REFERENCE"),
        ({}, "MISSING_FIELD"),
        ({"name": "a", "href": "x"}, "UNKNOWN_FIELD"),
        (["a"], "WRONG_TYPE"),
        (None, "WRONG_TYPE"),
        ({"name": ["a"]}, "WRONG_TYPE"),
    ],
)
def test_references_to_nothing_or_to_several(reference: Any, code: str) -> None:
    found = codes(rules({"destinationFirewallGroups": [reference]}, firewallGroups=GROUPS))
    assert len(found) == 1
    assert found[0].startswith("firewallRules.userDefinedRules[0].destinationFirewallGroups[0]")
    assert found[0].endswith(code)


def test_what_refers_to_a_broken_object_is_not_reported_too() -> None:
    data = rules(
        {"sourceFirewallGroups": ["a"], "applicationPortProfiles": ["p"]},
        firewallGroups=[{"name": "a", "typeValue": "IP_SET", "ipAddresses": 5}],
        applicationPortProfiles=[{"name": "p", "applicationPorts": [{"protocol": "TCP", "port": "80"}]}],
    )
    assert codes(data) == [
        "firewallGroups[0].ipAddresses WRONG_TYPE",
        "applicationPortProfiles[0].applicationPorts[0].port UNKNOWN_FIELD",
    ]


def test_fields_of_firewall_version_2() -> None:
    layer4 = {"protocol": "UDP", "sourcePorts": ["500"], "destinationPorts": ["500", "4500"]}
    rule = {
        "active": False,
        "sourceFirewallIpAddresses": ["10.0.0.0/24", "2001:db8::/64"],
        "destinationFirewallIpAddresses": ["192.0.2.1-192.0.2.9"],
        "rawPortProtocols": [{"layer4Item": layer4}, {"layer4Item": {"protocol": "ICMPv6"}}],
        "direction": "OUT",
    }
    found = from_data(rules(rule)).config.firewall.rules[0]
    assert not found.enabled
    assert found.direction is Direction.OUT
    assert [str(item) for item in found.source_addresses] == ["10.0.0.0/24", "2001:db8::/64"]
    assert [str(item) for item in found.destination_addresses] == ["192.0.2.1-192.0.2.9"]
    assert found.services == (
        Service(17, (PortRange(500, 500), PortRange(4500, 4500)), (PortRange(500, 500),)),
        Service(58),
    )


def test_members_are_the_subnets_of_their_networks() -> None:
    groups = from_data(edge(firewallGroups=GROUPS[1:2])).config.firewall.groups
    assert [str(item) for item in groups[0].ranges] == ["10.0.0.0/24", "2001:db8::/64"]


NAT = {"name": "n", "externalAddresses": "203.0.113.10", "internalAddresses": "10.0.0.5"}


@pytest.mark.parametrize(
    "rule",
    [
        NAT | {"type": "DNAT"},
        NAT | {"ruleType": "DNAT", "dnatExternalPort": "ANY"},
        NAT | {"type": "DNAT", "externalAddresses": "203.0.113.8/30"},  # n:1
        NAT | {"type": "DNAT", "externalAddresses": "203.0.113.8/30", "internalAddresses": "10.0.0.8/30"},  # n:n
        NAT | {"type": "SNAT", "externalAddresses": "203.0.113.10-203.0.113.11", "internalAddresses": "10.0.0.0/24"},
        NAT | {"type": "SNAT", "snatDestinationAddresses": "192.0.2.0/24", "applicationPortProfile": "HTTP"},
        NAT | {"type": "REFLEXIVE"},
        {"name": "n", "type": "NO_DNAT", "externalAddresses": "203.0.113.10", "dnatExternalPort": "22"},
        {"name": "n", "type": "NO_DNAT", "externalAddresses": "", "internalAddresses": ""},
        {"name": "n", "type": "NO_SNAT", "internalAddresses": "10.0.0.0/24", "externalAddresses": ""},
        {"name": "n", "type": "NO_SNAT", "snatDestinationAddresses": "192.0.2.0/24"},
        {"name": "n", "type": "SNAT", "externalAddresses": "2001:db8:1::/120", "internalAddresses": "2001:db8::/64"},
    ],
)
def test_nat_rules_that_are_well(rule: dict[str, Any]) -> None:
    found = from_data(edge(natRules=[rule])).config.nat.rules[0]
    assert found.type == (rule.get("type") or rule.get("ruleType"))
    written = rule.get("externalAddresses")
    assert found.external == (AddressRange.parse(written) if written else None)


@pytest.mark.parametrize(
    ("rule", "problem"),
    [
        (NAT | {"type": "DNAT", "internalAddresses": "10.0.0.8/30"}, "natRules[0].internalAddresses CONFLICT"),
        (
            NAT | {"type": "DNAT", "externalAddresses": "203.0.113.0/28", "internalAddresses": "10.0.0.8/30"},
            "natRules[0].internalAddresses CONFLICT",
        ),
        (NAT | {"type": "REFLEXIVE", "externalAddresses": "10.0.0.77"}, "natRules[0].externalAddresses CONFLICT"),
        (NAT | {"type": "DNAT", "applicationPortProfile": "DNS-IN-TCP"}, "natRules[0].applicationPortProfile CONFLICT"),
        (
            NAT | {"type": "DNAT", "applicationPortProfile": "MS_RPC_UDP"},
            "natRules[0].applicationPortProfile NOT_EMULATED",
        ),
        (NAT | {"type": "SNAT", "snatDestinationAddresses": "2001:db8::/64"}, "natRules[0] CONFLICT"),
        (NAT | {"type": "SNAT", "externalAddresses": "2001:db8::/120"}, "natRules[0] CONFLICT"),
        (NAT | {"type": "DNAT", "internalAddresses": "224.0.0.5"}, "natRules[0].internalAddresses CONFLICT"),
        (NAT | {"type": "SNAT", "externalAddresses": "224.0.0.0/24"}, "natRules[0].externalAddresses CONFLICT"),
        (NAT | {"type": "DNAT", "dnatExternalPort": "0"}, "natRules[0].dnatExternalPort OUT_OF_RANGE"),
        (NAT | {"type": "DNAT", "applicationPortProfile": {}}, "natRules[0].applicationPortProfile MISSING_FIELD"),
        (
            NAT | {"type": "SNAT", "internalAddresses": "10.0.0.1,10.0.0.2"},
            "natRules[0].internalAddresses INVALID_VALUE",
        ),
        (NAT | {"type": "NO_DNAT"}, "natRules[0].internalAddresses CONFLICT"),
    ],
)
def test_nat_rules_that_are_not(rule: dict[str, Any], problem: str) -> None:
    assert codes(edge(natRules=[rule])) == [problem]


def test_limits_are_errors_or_with_report_warnings() -> None:
    many = rules(*({} for _ in range(1001)))
    assert codes(many) == ["firewallRules.userDefinedRules LIMIT_EXCEEDED"]
    loaded = from_data(many | {"options": {"limits": "report"}})
    assert [(p.code, p.severity) for p in loaded.problems] == [("LIMIT_EXCEEDED", "warning")]
    groups = [{"name": f"g{i}", "typeValue": "IP_SET", "ipAddresses": []} for i in range(129)]
    wide = rules({"sourceFirewallGroups": [group["name"] for group in groups]}, firewallGroups=groups)
    assert codes(wide) == ["firewallRules.userDefinedRules[0].sourceFirewallGroups LIMIT_EXCEEDED"]
    assert codes(rules({"comments": "x" * 2049})) == ["firewallRules.userDefinedRules[0].comments LIMIT_EXCEEDED"]
    assert from_data(rules(*({} for _ in range(1000)))).problems == ()


def test_shipped_profiles_can_be_named_and_the_documents_own_come_first() -> None:
    by_name = rules({"applicationPortProfiles": ["HTTPS"]})
    assert from_data(by_name).config.firewall.rules[0].profiles[0].services == (Service(6, (PortRange(443, 443),)),)
    own = [{"name": "HTTPS", "applicationPorts": [{"protocol": "TCP", "destinationPorts": ["8443"]}]}]
    found = from_data(by_name | {"applicationPortProfiles": own}).config.firewall
    assert found.rules[0].profiles == found.profiles
    assert found.profiles[0].scope == "TENANT"


def test_helpers_belong_to_profiles_of_the_system() -> None:
    ports = [{"protocol": "TCP", "destinationPorts": ["135"]}]
    for scope, problems in (("SYSTEM", 1), ("TENANT", 0), ("PROVIDER", 0)):
        profiles = [{"name": "MS_RPC_TCP", "scope": scope, "applicationPorts": ports}]
        data = rules({"applicationPortProfiles": ["MS_RPC_TCP"]}, applicationPortProfiles=profiles)
        loaded = from_data(data, allow_unsupported=True)
        assert [p.code for p in loaded.problems] == ["NOT_EMULATED"] * problems
        assert from_data(edge(applicationPortProfiles=profiles)).problems == ()  # declared and not used


def test_helpers_that_are_emulated_need_no_permission() -> None:
    for name in ("FTP", "TFTP"):
        loaded = from_data(rules({"applicationPortProfiles": [name]}))
        assert (loaded.problems, loaded.config.firewall.rules[0].profiles[0].alg) == ((), name)
        dnat = NAT | {"type": "DNAT", "applicationPortProfile": name}
        assert "NOT_EMULATED" not in {problem.code for problem in from_data(edge(natRules=[dnat])).problems}


def test_shipped_profiles_are_all_readable() -> None:
    names = system_profile_names()
    assert len(names) == 416
    found = [system_profile(name) for name in names]
    assert all(profile is not None and profile.services and profile.scope == "SYSTEM" for profile in found)
    assert system_profile("ICMP Echo Request") is not None
    assert system_profile("ICMP Echo Request").services == (Service(1, icmp_type=8, icmp_code=0),)  # type: ignore[union-attr]
    assert system_profile("nothing") is None


def test_the_table_of_shipped_profiles_is_made_of_its_source(data: Path) -> None:
    command = [sys.executable, "tools/make_system_profiles.py", str(data / "system_profiles.yaml"), "--check"]
    assert subprocess.run(command, check=False, cwd=ROOT).returncode == 0


UNSUPPORTED = [
    (edge(orgVdcNetworks=[{"name": "L", "networkType": "DIRECT"}]), "orgVdcNetworks[0].networkType"),
    (
        edge(firewallGroups=[{"name": "g", "typeValue": "VM_CRITERIA", "vmCriteria": [{}]}]),
        "firewallGroups[0].typeValue",
    ),
    (rules({"appliedTo": {"name": "LAN"}}), "firewallRules.userDefinedRules[0].appliedTo"),
    (rules({"relativePosition": {"rulePosition": "TOP"}}), "firewallRules.userDefinedRules[0].relativePosition"),
    (edge(natRules=[NAT | {"type": "SNAT", "appliedTo": "LAN"}]), "natRules[0].appliedTo"),
    (edge(qos={"ingressProfile": {"name": "gold"}}), "qos"),
    (edge(bgp={"enabled": True}), "bgp"),
    (edge(slaacProfile={"mode": "SLAAC"}), "slaacProfile"),
    (edge(dhcpForwarder={"enabled": True}), "dhcpForwarder"),
    (edge(**{"l2vpn/tunnels": [{"name": "t"}]}), "l2vpn/tunnels[0]"),
    (edge(loadBalancer={"virtualServices": [{"name": "vs"}]}), "loadBalancer"),
]


@pytest.mark.parametrize(("data", "path"), UNSUPPORTED, ids=[path for _, path in UNSUPPORTED])
def test_what_is_not_emulated_is_an_error_or_where_allowed_a_warning(data: dict[str, Any], path: str) -> None:
    assert codes(data) == [f"{path} NOT_EMULATED"]
    loaded = from_data(data, allow_unsupported=True)
    assert [(p.path, p.code, p.severity) for p in loaded.problems] == [(path, "NOT_EMULATED", "warning")]


INERT = [
    edge(dns={"enabled": False, "listenerIp": "192.168.255.228"}),
    edge(dns=None, natRules=None, firewallGroups={"values": None}, staticRoutes={"values": [], "resultTotal": 0}),
    edge(
        bgp={"enabled": False, "localASNumber": "65000"},
        qos={"ingressProfile": None},
        slaacProfile={"mode": "DISABLED"},
    ),
    edge(loadBalancer={"enabled": False, "pools": []}, ipsecTunnels={"values": []}),
    edge(
        options={
            "profile": "nsx",
            "mtu": 1500,
            "maxFragments": 4096,
            "fragmentTimeout": 30,
            "maxSessionsPerSource": None,
        }
    ),
    edge(options={"profile": "strict-rfc", "maxSessionsPerSource": 10}),
    rules({"appliedTo": None, "networkContextProfiles": [], "sourceGroupsExcluded": False, "version": {"version": 1}}),
    edge(natRules=[NAT | {"type": "SNAT", "internalPort": "", "policyBasedVpnMode": "BYPASS"}]),
    edge(bundle="x", apiVersion="39.0", usedIpAddresses=[{"ipAddress": "203.0.113.10"}], securityTags={"values": [{}]}),
]


@pytest.mark.parametrize("data", INERT, ids=range(len(INERT)))
def test_what_asks_for_nothing_is_no_problem(data: dict[str, Any]) -> None:
    assert from_data(data).problems == ()


def test_options() -> None:
    options = {
        "limits": "report",
        "tcpStrict": False,
        "timers": {"tcpEstablished": 60, "udpMultiple": 4_320_000},
        "providerFilter": [{"protocol": "UDP", "ports": ["9"]}, {"protocol": "TCP", "ports": ["445", "135-139"]}],
        "sessionsOnChange": "RECHECK",
        "eastWestFirewall": True,
        "snatServicePort": "MATCH",
        "rejectCode": 9,
        "snatPortRange": "2000-3000",
        "maxSessions": 10,
        "maxHalfOpen": 5,
        "fragmentTimeout": 255,
        "maxFragments": 1_048_576,
        "seed": 2**64 - 1,
        "natTieBreak": "LIST_ORDER",
    }
    found = from_data(edge(options=options)).config.options
    assert (found.limits, found.tcp_strict, found.east_west_firewall, found.reject_code) == ("report", False, True, 9)
    assert (found.timers.tcp_established, found.timers.udp_multiple, found.timers.tcp_first) == (60, 4_320_000, 120)
    assert found.provider_filter == (
        BlockedPorts(6, (PortRange(135, 139), PortRange(445, 445))),
        BlockedPorts(17, (PortRange(9, 9),)),
    )
    assert found.sessions_on_change is SessionsOnChange.RECHECK
    assert found.snat_service_port is SnatServicePort.MATCH
    assert found.snat_port_range == PortRange(2000, 3000)
    assert (found.max_sessions, found.max_half_open, found.seed) == (10, 5, 2**64 - 1)
    assert (found.fragment_timeout, found.max_fragments) == (255, 1_048_576)
    assert from_data(edge(options={"providerFilter": False})).config.options.provider_filter == ()
    assert from_data(edge(options={"providerFilter": True})).config.options.provider_filter == PROVIDER_FILTER


def test_the_profile_strict_rfc_brings_its_timers() -> None:
    plain = from_data(edge()).config.options
    assert (plain.profile, plain.timers, plain.endpoint_independent, plain.hairpin_inside) == (
        *(Profile.NSX, Timers(), False, False),
    )
    found = from_data(edge(options={"profile": "strict-rfc"})).config.options
    assert (found.profile, found.endpoint_independent, found.hairpin_inside) == (Profile.STRICT_RFC, True, True)
    assert asdict(found.timers) == {
        "tcp_first": 240,
        "tcp_opening": 240,
        "tcp_established": 7440,
        "tcp_fin_wait": 240,
        "tcp_closing": 240,
        "tcp_closed": 240,
        "udp_first": 300,
        "udp_single": 300,
        "udp_multiple": 300,
        "icmp_first": 60,
        "icmp_error_reply": 60,
        "other": 60,
    }
    # What the document says of a timer holds, even the value of nsx.
    options = {"profile": "strict-rfc", "timers": {"udpFirst": 30, "other": 5}}
    some = from_data(edge(options=options)).config.options.timers
    assert some == replace(found.timers, udp_first=30, other=5)
    assert from_data(edge(options={"profile": "nsx"})).config.options.timers == Timers()


def test_sessions_per_source() -> None:
    assert from_data(edge()).config.options.max_sessions_per_source is None
    found = from_data(edge(options={"maxSessionsPerSource": 10})).config.options
    assert found.max_sessions_per_source == 10


def test_static_routes() -> None:
    hops = [{"ipAddress": "10.0.0.9", "adminDistance": 5, "scope": {"name": "LAN"}}, {"ipAddress": "203.0.113.1"}]
    route = {"name": "r", "networkCidr": "172.16.0.5/12", "nextHops": hops, "systemOwned": False}
    found = from_data(edge(staticRoutes=[route])).config.routing.static_routes[0]
    assert found.network == ip_network("172.16.0.0/12")
    assert [(str(hop.address), hop.admin_distance, hop.scope) for hop in found.next_hops] == [
        ("10.0.0.9", 5, "LAN"),
        ("203.0.113.1", 1, ""),
    ]


def test_two_groups_without_a_type_are_two_mistakes() -> None:
    assert codes(edge(firewallGroups=[{"name": "a"}, {"name": "a"}])) == [
        "firewallGroups[0].typeValue MISSING_FIELD",
        "firewallGroups[1].typeValue MISSING_FIELD",
    ]


def test_nested_subnets_are_found_to_overlap() -> None:
    networks = [
        {"name": name, "subnets": [{"gateway": gateway, "prefixLength": length}]}
        for name, gateway, length in (
            ("A", "10.0.0.1", 8),
            ("B", "10.1.0.1", 24),
            ("C", "10.2.0.1", 24),
            ("D", "11.0.0.1", 8),
        )
    ]
    assert codes(edge(orgVdcNetworks=networks)) == [
        "orgVdcNetworks[1].subnets[0] CONFLICT",
        "orgVdcNetworks[2].subnets[0] CONFLICT",
    ]
    isolated = [network | {"networkType": "ISOLATED"} for network in networks[1:3]]
    assert from_data(edge(orgVdcNetworks=[networks[0], *isolated])).problems == ()


def test_deep_values_that_are_carried_through_are_refused() -> None:
    deep: Any = []
    for _ in range(150):
        deep = [deep]
    assert codes(edge(apiVersion=deep)) == ["apiVersion INVALID_VALUE"]


def test_import_pulls_in_nothing_heavy() -> None:
    program = (
        "import sys, edge.document\n"
        "print(sorted({'grpc', 'rich', 'scapy', 'click', 'edge.firewall.system_profiles'} & sys.modules.keys()))"
    )
    found = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=ROOT)
    assert found.stdout.strip() == "[]"
