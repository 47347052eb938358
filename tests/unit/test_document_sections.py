"""Sections and settings that are not emulated: which are known, what they may say, and what is never passed over."""

from __future__ import annotations

from typing import Any

import pytest

from edge.document import from_data
from edge.errors import DocumentError

EDGE: dict[str, Any] = {"edgeGateway": {"name": "T1"}}


def found(data: dict[str, Any], **options: Any) -> list[str]:
    """``path CODE`` of every problem."""
    try:
        problems = from_data(data, **options).problems
    except DocumentError as error:
        problems = error.problems
    return [f"{problem.path} {problem.code}" for problem in problems]


def network(**fields: Any) -> dict[str, Any]:
    subnets = [{"gateway": "10.0.0.1", "prefixLength": 24}]
    return EDGE | {"orgVdcNetworks": [{"name": "LAN", "subnets": subnets} | fields]}


def gateway(uplink: dict[str, Any] | None = None, **fields: Any) -> dict[str, Any]:
    uplinks = [{"uplinkName": "UP"} | uplink] if uplink else []
    return {"edgeGateway": {"name": "T1", "edgeGatewayUplinks": uplinks} | fields}


NAT = {"name": "n", "type": "SNAT", "externalAddresses": "203.0.113.10", "internalAddresses": "10.0.0.5"}
ROUTE = {"name": "r", "networkCidr": "10.9.0.0/16", "nextHops": [{"ipAddress": "10.0.0.9"}]}

SETTINGS = [
    (network(guestVlanTaggingAllowed=True), "orgVdcNetworks[0].guestVlanTaggingAllowed"),
    (gateway({"backingType": "IMPORTED_T_LOGICAL_SWITCH"}), "edgeGateway.edgeGatewayUplinks[0].backingType"),
    (gateway(gatewayBacking={"gatewayType": "NSXV_BACKED"}), "edgeGateway.gatewayBacking.gatewayType"),
    (EDGE | {"natRules": [NAT | {"systemRule": True}]}, "natRules[0].systemRule"),
    (network() | {"staticRoutes": [ROUTE | {"systemOwned": True}]}, "staticRoutes[0].systemOwned"),
]


@pytest.mark.parametrize(("data", "path"), SETTINGS, ids=[path for _, path in SETTINGS])
def test_settings_that_change_packets_are_not_passed_over(data: dict[str, Any], path: str) -> None:
    assert found(data) == [f"{path} NOT_EMULATED"]
    assert from_data(data, allow_unsupported=True).problems[0].severity == "warning"


HARMLESS = [
    network(guestVlanTaggingAllowed=False, routeAdvertised=False, shared=True, isDefaultNetwork=True),
    gateway({"dedicated": True, "backingType": "NSXT_VRF_TIER0"}, gatewayBacking={"gatewayType": "NSXT_BACKED"}),
    gateway(nonDistributedRoutingEnabled=True, distributedRoutingEnabled=False),
    EDGE | {"natRules": [NAT | {"systemRule": False}]},
]


@pytest.mark.parametrize("data", HARMLESS, ids=range(len(HARMLESS)))
def test_settings_that_change_no_packet_are_carried(data: dict[str, Any]) -> None:
    assert found(data) == []


def test_a_network_that_its_edge_does_not_allow() -> None:
    data = network(connection={"connectionTypeValue": "NON_DISTRIBUTED"})
    assert found(data) == []
    data |= gateway(nonDistributedRoutingEnabled=False)
    assert found(data) == ["orgVdcNetworks[0].connection CONFLICT"]


@pytest.mark.parametrize(
    ("ports", "usable", "reason"),
    [
        (["8080", "8081"], None, "it has 2 destination ports"),
        (["80", "80"], None, "it has 2 destination ports"),
        (["80-81", "82"], True, "it has 2 destination ports"),
        (["80"], False, "it says so itself"),
    ],
)
def test_profiles_that_nat_cannot_use(ports: list[str], usable: bool | None, reason: str) -> None:
    profile = {
        "name": "p",
        "usableForNAT": usable,
        "applicationPorts": [{"protocol": "TCP", "destinationPorts": ports}],
    }
    data = EDGE | {
        "applicationPortProfiles": [profile],
        "natRules": [NAT | {"type": "DNAT", "applicationPortProfile": "p"}],
    }
    with pytest.raises(DocumentError) as caught:
        from_data(data)
    (problem,) = caught.value.problems
    assert (problem.path, problem.code) == ("natRules[0].applicationPortProfile", "CONFLICT")
    assert reason in problem.message
    assert found(data | {"natRules": []}) == []


@pytest.mark.parametrize(
    ("section", "path", "hint"),
    [
        ({"ipsecTunnels": [{"name": "t", "preSharedKy": "x"}]}, "ipsecTunnels[0].preSharedKy", "preSharedKey"),
        (
            {"ipsec/tunnels": {"values": [{"localEndpoint": {"localAdress": "192.0.2.1"}}]}},
            "ipsec/tunnels.values[0].localEndpoint.localAdress",
            "localAddress",
        ),
        ({"dns": {"enabld": True}}, "dns.enabld", "enabled"),
        ({"loadBalancer": {"pools": [{"membres": []}]}}, "loadBalancer.pools[0].membres", "members"),
        (
            {"routing/bgp/neighbors": [{"bfd": {"bfdIntervall": 5}}]},
            "routing/bgp/neighbors[0].bfd.bfdIntervall",
            "bfdInterval",
        ),
        ({"qos": {"ingresProfile": None}}, "qos.ingresProfile", "ingressProfile"),
    ],
)
def test_fields_of_sections_that_are_not_emulated_are_known(section: dict[str, Any], path: str, hint: str) -> None:
    with pytest.raises(DocumentError) as caught:
        from_data(EDGE | section, allow_unsupported=True)
    (problem,) = (problem for problem in caught.value.problems if problem.severity == "error")
    assert (problem.path, problem.code) == (path, "UNKNOWN_FIELD")
    assert problem.message.endswith(f"did you mean '{hint}'?")


def test_fields_of_criteria_and_of_dhcp_are_known() -> None:
    rule = {"attributeType": "VM_NAME", "operator": "CONTAINS", "value": "web"}
    group = {"name": "g", "typeValue": "VM_CRITERIA", "vmCriteria": [{"rules": [rule]}]}
    assert found(EDGE | {"firewallGroups": [group]}) == [
        "firewallGroups[0].vmCriteria[0].rules[0].value UNKNOWN_FIELD",
        "firewallGroups[0].typeValue NOT_EMULATED",
    ]
    dhcp = {"enabled": False, "dhcpPool": []}
    assert found(network(dhcp=dhcp)) == ["orgVdcNetworks[0].dhcp.dhcpPool UNKNOWN_FIELD"]


ENDPOINTS = [
    *("ipsec/tunnels", "l2vpn/tunnels", "dns", "routing/advertisement", "routing/bgp", "routing/bgp/neighbors"),
    *("routing/bgp/prefixLists", "dhcpForwarder", "slaacProfile", "qos", "loadBalancer", "ipSpaces", "edgeGateways"),
    *("loadBalancer/virtualServices", "loadBalancer/pools", "orgVdcNetworks/urn:vcloud:network:1/dhcp"),
    *(
        "orgVdcNetworks/{id}/dhcp/bindings",
        "vdcGroups/urn:1/dfwPolicies/default/rules",
        "ipsec/tunnels/e0/connectionProperties",
    ),
    *("firewall/rules/c1", "nat/rules/d0", "ipsec/tunnels/e0", "l2vpn/tunnels/f0", "firewallGroups/urn:2"),
]


@pytest.mark.parametrize("key", ENDPOINTS)
def test_every_endpoint_may_be_a_key_and_must_ask_for_nothing(key: str) -> None:
    assert found(EDGE | {key: None}) == []
    assert found(EDGE | {key: {}}) == []
    for asking in ({"enabled": True}, [{"name": "x", "enabled": True}]):
        codes = {text.rsplit(" ", 1)[1] for text in found(EDGE | {key: asking})}
        assert "NOT_EMULATED" in codes


READ_ONLY = [
    *("usedIpAddresses", "securityTags", "ssl/certificateLibrary", "loadBalancer/virtualServiceSummaries"),
    *("loadBalancer/poolSummaries", "loadBalancer/serviceEngineGroups", "firewallGroups/summaries"),
    *("firewallGroups/urn:vcloud:firewallGroup:1/associatedVMs", "orgVdcNetworks/urn:1/allocatedIpAddresses"),
    *("externalNetworks/urn:1/availableIpAddresses", "ipsec/tunnels/e0/status", "ipsec/tunnels/e0/statistics"),
    *("ipsec/tunnels/defaultConnectionProperties", "l2vpn/tunnels/f0/status", "l2vpn/tunnels/f0/metrics"),
]


@pytest.mark.parametrize("key", READ_ONLY)
def test_what_only_tells_how_things_stand_is_carried(key: str) -> None:
    assert found(EDGE | {key: {"values": [{"anything": 1}], "resultTotal": 40}}) == []


def test_two_networks_have_an_answer_of_one_endpoint_each() -> None:
    answers = {f"orgVdcNetworks/urn:{number}/dhcp": {"enabled": False} for number in (1, 2)}
    assert found(EDGE | answers) == []


@pytest.mark.parametrize(
    ("wrapped", "path", "numbers"),
    [
        ({"nat/rules": {"values": [], "resultTotal": 40}}, "nat/rules", "0 of 40"),
        ({"natRules": {"values": [NAT], "pageCount": 3, "page": 1}}, "natRules", "one of 3 pages"),
        ({"firewallGroups": {"values": [], "resultTotal": 129, "pageCount": 2}}, "firewallGroups", "0 of 129"),
        ({"ipsecTunnels": {"values": [], "resultTotal": 1}}, "ipsecTunnels", "0 of 1"),
        (
            {"firewallRules": {"userDefinedRules": {"values": [], "pageCount": 2}}},
            "firewallRules.userDefinedRules",
            "2 pages",
        ),
    ],
)
def test_one_page_is_not_taken_as_the_whole_list(wrapped: dict[str, Any], path: str, numbers: str) -> None:
    (problem,) = from_data(EDGE | wrapped).problems
    assert (problem.path, problem.code, problem.severity) == (path, "INCOMPLETE_LIST", "warning")
    assert numbers in problem.message


def test_a_whole_list_with_its_counts_is_well() -> None:
    assert found(EDGE | {"natRules": {"values": [NAT], "resultTotal": 1, "pageCount": 1, "page": 1}}) == []


@pytest.mark.parametrize("section", ["natRules", "firewallGroups", "ipsecTunnels", "staticRoutes"])
def test_counts_without_the_list_itself(section: str) -> None:
    assert found(EDGE | {section: {"resultTotal": 0}}) == [f"{section}.values MISSING_FIELD"]
    assert found(network(subnets={"resultTotal": 0, "page": 1})) == ["orgVdcNetworks[0].subnets MISSING_FIELD"]


def test_an_unknown_id_beside_the_name_of_a_shipped_profile() -> None:
    reference = {"name": "HTTPS", "id": "urn:vcloud:applicationPortProfile:1"}
    rule = {"name": "r", "actionValue": "ALLOW", "applicationPortProfiles": [reference]}
    with pytest.raises(DocumentError) as caught:
        from_data(EDGE | {"firewallRules": {"userDefinedRules": [rule]}})
    (problem,) = caught.value.problems
    assert problem.code == "DANGLING_REFERENCE"
    assert "VMware ships a profile with the name 'HTTPS'" in problem.message
    assert "answer of applicationPortProfiles" in problem.message


def test_far_fetched_names_are_not_suggested() -> None:
    for key in ("foo", "natPool", "profiles", "name"):
        with pytest.raises(DocumentError) as caught:
            from_data(EDGE | {key: 1})
        assert "did you mean" not in caught.value.problems[0].message


def test_independent_problems_of_one_nat_rule_come_in_one_go() -> None:
    rule = {
        "name": "n",
        "type": "DNAT",
        "internalAddresses": "224.0.0.5",
        "externalAddresses": "10.0.0.77",
        "snatDestinationAddresses": "2001:db8::1",
        "dnatExternalPort": "0",
        "applicationPortProfile": "nothing",
    }
    assert sorted(found(network() | {"natRules": [rule]})) == [
        "natRules[0].applicationPortProfile DANGLING_REFERENCE",
        "natRules[0].dnatExternalPort OUT_OF_RANGE",
        "natRules[0].externalAddresses CONFLICT",
        "natRules[0].internalAddresses CONFLICT",
        "natRules[0].snatDestinationAddresses CONFLICT",
    ]
    del rule["type"]
    assert "natRules[0].dnatExternalPort OUT_OF_RANGE" in found(EDGE | {"natRules": [rule]})


def test_one_wrong_entry_of_a_list_hides_no_other() -> None:
    rule = {"name": "r", "sourceFirewallGroups": {"values": [{}, 5, "nobody"]}, "sourceFirewallIpAddresses": [7, "x"]}
    assert sorted(found(EDGE | {"firewallRules": {"userDefinedRules": [rule]}})) == [
        "firewallRules.userDefinedRules[0].actionValue MISSING_FIELD",
        "firewallRules.userDefinedRules[0].sourceFirewallGroups.values[0] MISSING_FIELD",
        "firewallRules.userDefinedRules[0].sourceFirewallGroups.values[1] WRONG_TYPE",
        "firewallRules.userDefinedRules[0].sourceFirewallGroups.values[2] DANGLING_REFERENCE",
        "firewallRules.userDefinedRules[0].sourceFirewallIpAddresses[0] WRONG_TYPE",
        "firewallRules.userDefinedRules[0].sourceFirewallIpAddresses[1] INVALID_VALUE",
    ]
