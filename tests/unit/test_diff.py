"""Differences between two edges: which are there, and what is no difference."""

from __future__ import annotations

import copy
import json
import random
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from edge.diff import Change, ChangeKind, compare, diff, objects_of, render
from edge.document import from_data, load, loads
from tests.support import SAMPLE

DATA = Path(__file__).parent.parent / "data"


def changes(old: str, new: str) -> list[Change]:
    """What changes when a piece of tests/data/edge.yaml is replaced."""
    assert old in SAMPLE
    return diff(loads(SAMPLE), loads(SAMPLE.replace(old, new, 1)))


def rules(*names: str, **fields: Any) -> dict[str, Any]:
    """A document with rules of these names; ``a:80`` gives the rule a port, so that rules of one name differ."""
    items = []
    for text in names:
        name, _, port = text.partition(":")
        item: dict[str, Any] = {"name": name, "actionValue": "ALLOW"}
        if port:
            item["rawPortProtocols"] = [{"layer4Item": {"protocol": "TCP", "destinationPorts": [port]}}]
        items.append(item | fields)
    return {"edgeGateway": {"name": "T1"}, "firewallRules": {"userDefinedRules": items}}


def told(old: dict[str, Any], new: dict[str, Any]) -> list[str]:
    """``KIND name old->new`` of each change."""
    found = diff(from_data(old), from_data(new))
    return [f"{change.kind} {change.name} {change.old_position}->{change.new_position}" for change in found]


CASES = [
    ("action", "in-web, actionValue: ALLOW", "in-web, actionValue: DROP", "CHANGED in-web actionValue: ALLOW -> DROP"),
    ("logging", "logging: true", "logging: false", "CHANGED in-web logging: true -> false"),
    (
        "profile",
        "applicationPortProfiles: [web-8080], l",
        "l",
        "CHANGED in-web applicationPortProfiles: [web-8080] -> []",
    ),
    (
        "address",
        "[10.20.0.10, 10.20.0.20-10.20.0.25]",
        "[10.20.0.11]",
        "CHANGED web-srv ipAddresses: [10.20.0.10, 10.20.0.20-10.20.0.25] -> [10.20.0.11]",
    ),
    (
        "port",
        'TCP, destinationPorts: ["8080"]',
        "UDP",
        (
            "CHANGED web-8080 applicationPorts: [{protocol: TCP, destinationPorts: [8080]}] -> "
            "[{protocol: UDP, destinationPorts: []}]"
        ),
    ),
    ("priority", "priority: 10}", "priority: 11}", "CHANGED pub-web priority: 10 -> 11"),
    ("NAT port", 'dnatExternalPort: "80",', "", "CHANGED pub-web dnatExternalPort: 80 -> not given"),
    ("option", "options: {}", "options: {tcpStrict: false}", "CHANGED options tcpStrict: true -> false"),
    (
        "default",
        "default_rule, actionValue: DROP",
        "default_rule, actionValue: ALLOW",
        "CHANGED default_rule actionValue: DROP -> ALLOW",
    ),
    ("edge", "name: T1-ACME", "name: T1-ACMA", "CHANGED T1-ACMA name: T1-ACME -> T1-ACMA"),
    ("description", "logging: true", "logging: true, description: web", "CHANGED in-web description: not given -> web"),
    (
        "network",
        "10.20.0.1, prefixLength: 24",
        "10.20.0.9, prefixLength: 8",
        "CHANGED LAN-ACME subnets: [{gateway: 10.20.0.1, prefixLength: 24}] -> [{gateway: 10.20.0.9, prefixLength: 8}]",
    ),
]


@pytest.mark.parametrize(("old", "new", "expected"), [case[1:] for case in CASES], ids=[case[0] for case in CASES])
def test_changed_fields(old: str, new: str, expected: str) -> None:
    found = changes(old, new)
    assert len(found) == 1
    lines = str(found[0]).splitlines()
    assert f"{found[0].kind} {found[0].name} {lines[1].strip()}" == expected


NO_DIFFERENCE = [
    ("a default written out", "logging: true", "logging: true, enabled: true, direction: IN_OUT"),
    ("a wrapped list", "members: [LAN-ACME]", "members: {values: [{name: LAN-ACME}]}"),
    ("the older spelling", "in-web, actionValue: ALLOW", "in-web, action: ALLOW"),
    ("an endpoint's key", "natRules:", "nat/rules:"),
    ("addresses in another order", "[10.20.0.10, 10.20.0.20-10.20.0.25]", "[10.20.0.20-10.20.0.25, 10.20.0.10]"),
    ("an id given", "- {name: web-srv,", "- {id: 'urn:1', name: web-srv,"),
    ("read-only fields", "logging: true", "logging: true, version: {version: 9}"),
]


@pytest.mark.parametrize(("old", "new"), [case[1:] for case in NO_DIFFERENCE], ids=[case[0] for case in NO_DIFFERENCE])
def test_what_is_no_difference(old: str, new: str) -> None:
    assert changes(old, new) == []


ORDERS = [
    (["a", "b", "c"], ["a", "b", "c"], []),
    (["a", "b"], ["a", "x", "b"], ["ADDED x None->2"]),
    (["a", "x", "b"], ["a", "b"], ["REMOVED x 2->None"]),
    (["a", "b", "c"], ["c", "a", "b"], ["MOVED c 3->1"]),
    (["a", "b", "c", "d"], ["b", "c", "d", "a"], ["MOVED a 1->4"]),
    (["a", "b"], ["b", "a"], ["MOVED b 2->1"]),
    (["a:1", "a:2", "a:3"], ["a:9", "a:1", "a:2", "a:3"], ["ADDED a None->1"]),
    (["a:1", "a:2", "a:3"], ["a:1", "a:3"], ["REMOVED a 2->None"]),
    (["a:1", "a:2"], ["a:2", "a:1"], ["MOVED a 2->1"]),
    (["a:1", "b"], ["b", "a:2"], ["MOVED b 2->1", "CHANGED a 1->2"]),
    ([], ["a"], ["ADDED a None->1"]),
    (["a"], ["b"], ["REMOVED a 1->None", "ADDED b None->1"]),
]


@pytest.mark.parametrize(("old", "new", "expected"), ORDERS)
def test_orders(old: list[str], new: list[str], expected: list[str]) -> None:
    assert told(rules(*old), rules(*new)) == expected


def test_as_few_rules_as_possible_are_said_to_have_moved() -> None:
    draw = random.Random(7)
    names = [f"r{i}" for i in range(200)]
    for _ in range(5):
        new = list(names)
        moved = draw.sample(names, 10)
        for name in moved:
            new.remove(name)
            new.insert(draw.randrange(len(new)), name)
        found = diff(from_data(rules(*names)), from_data(rules(*new)))
        assert {change.kind for change in found} <= {ChangeKind.MOVED}
        assert {change.name for change in found} <= set(moved)


def test_a_renamed_group_changes_no_rule_that_refers_to_it_by_id() -> None:
    def document(name: str) -> dict[str, Any]:
        groups = [{"id": "urn:1", "name": name, "typeValue": "IP_SET", "ipAddresses": ["10.0.0.1"]}]
        return rules("r", sourceFirewallGroups=["urn:1"]) | {"firewallGroups": groups}

    found = diff(from_data(document("old")), from_data(document("new")))
    assert [(change.kind, change.section, change.fields[0].field) for change in found] == [
        (ChangeKind.CHANGED, "firewallGroups", "name")
    ]


def test_a_file_and_its_pasted_twin_with_ids_compare_by_name() -> None:
    with_ids = {"id": "d9a1"}
    old = from_data(rules("a"))
    new = from_data(rules("a", **with_ids))
    assert diff(old, new) == []
    assert diff(old.config, new.config) == []


BUNDLE: dict[str, Any] = json.loads((DATA / "cloudapi_bundle.json").read_text(encoding="utf-8"))


def bundle_changes(change: Callable[[dict[str, Any]], object]) -> str:
    """What is told when tests/data/cloudapi_bundle.json is changed."""
    new = copy.deepcopy(BUNDLE)
    change(new)
    loaded = [from_data(data, allow_unsupported=True) for data in (BUNDLE, new)]
    return render(diff(*loaded))


def tunnel(document: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = document["ipsec/tunnels"]["values"][0]
    return found


def network(document: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = document["orgVdcNetworks"]["values"][0]
    return found


def uplink(document: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = document["edgeGateway"]["edgeGatewayUplinks"][0]
    return found


LEFT_OUT: list[tuple[Callable[[dict[str, Any]], object], str]] = [
    (lambda d: tunnel(d).update(preSharedKey="another"), "~ ipsecTunnels 'hq' changed\n    preSharedKey: changed"),
    (lambda d: tunnel(d).update(enabled=False), "~ ipsecTunnels 'hq' changed\n    enabled: true -> false"),
    (
        lambda d: tunnel(d)["remoteEndpoint"].update(remoteNetworks=["192.168.51.0/24"]),
        "~ ipsecTunnels 'hq' changed\n    remoteEndpoint.remoteNetworks: [192.168.50.0/24] -> [192.168.51.0/24]",
    ),
    (lambda d: d["ipsec/tunnels"].update(values=[]), "- ipsecTunnels 'hq' removed, place 1"),
    (lambda d: d["dns"].update(enabled=False), "~ dns 'dns' changed\n    enabled: true -> false"),
    (lambda d: d.pop("dns"), "- dns 'dns' removed, place 1"),
    (
        lambda d: d.update({"loadBalancer": {"enabled": True, "pools": [{"name": "p", "algorithm": "RANDOM"}]}}),
        (
            "+ loadBalancer 'loadBalancer' added, place 1\n    enabled: true\n"
            "+ loadBalancer.pools 'p' added, place 1\n    name: p\n    algorithm: RANDOM"
        ),
    ),
    (
        lambda d: d.update({"routing/bgp/neighbors": [{"neighborAddress": "192.0.2.1", "neighborPassword": "x"}]}),
        (
            "+ routing/bgp/neighbors '192.0.2.1' added, place 1\n    neighborAddress: 192.0.2.1\n"
            "    neighborPassword: (hidden)"
        ),
    ),
    (
        lambda d: d["firewall/rules"]["systemRules"].append({"name": "s", "actionValue": "ALLOW"}),
        "+ systemRules 's' added, place 1\n    name: s\n    actionValue: ALLOW",
    ),
    (
        lambda d: network(d).update(routeAdvertised=True),
        "~ orgVdcNetworks 'SERVERS' changed\n    routeAdvertised: not given -> true",
    ),
    (
        lambda d: network(d)["connection"].update(connected=False),
        "~ orgVdcNetworks 'SERVERS' changed\n    connection.connected: true -> false",
    ),
    (
        lambda d: network(d)["subnets"]["values"][0].update(dnsServer1=None, ipRanges=[]),
        (
            "~ orgVdcNetworks 'SERVERS' changed\n    subnets: [{gateway: 172.16.8.1, prefixLength: 22, "
            "dnsServer1: 9.9.9.9, ipRanges: [172.16.8.10-172.16.8.99]}] -> [{gateway: 172.16.8.1, prefixLength: 22}]"
        ),
    ),
    (
        lambda d: uplink(d)["subnets"]["values"][0]["ipRanges"]["values"][0].update(endAddress="198.51.100.23"),
        (
            "~ edgeGatewayUplinks 'WAN' changed\n    subnets: [{gateway: 198.51.100.1, prefixLength: 25, "
            "ipRanges: [198.51.100.20-198.51.100.22], primaryIp: 198.51.100.20}] -> [{gateway: 198.51.100.1, "
            "prefixLength: 25, ipRanges: [198.51.100.20-198.51.100.23], primaryIp: 198.51.100.20}]"
        ),
    ),
    (lambda d: uplink(d).update(dedicated=True), "~ edgeGatewayUplinks 'WAN' changed\n    dedicated: false -> true"),
    (
        lambda d: d["firewallGroups"]["values"][0].update(description="who reads mail"),
        "~ firewallGroups 'mail' changed\n    description: not given -> who reads mail",
    ),
    (
        lambda d: d["applicationPortProfiles"]["values"][0]["applicationPorts"][0].update(name="p2"),
        (
            "~ applicationPortProfiles 'smtp-alt' changed\n    applicationPorts: [{protocol: TCP, destinationPorts: "
            "[2525], name: p1}] -> [{protocol: TCP, destinationPorts: [2525], name: p2}]"
        ),
    ),
    (
        lambda d: d["firewall/rules"]["userDefinedRules"][0].update(appliedTo={"name": "a", "id": "urn:1"}),
        "~ userDefinedRules 'mail-in' changed\n    appliedTo: not given -> {name: a, id: urn:1}",
    ),
    (
        lambda d: d.update(options={"timers": {"tcpFirst": 9}, "maxFragments": 9000}),
        "~ options 'options' changed\n    timers.tcpFirst: 120 -> 9\n    maxFragments: 4096 -> 9000",
    ),
    (
        lambda d: d["nat/rules"]["values"][0].update(internalAddresses="172.16.8.26/32"),
        ("~ natRules 'mail' changed\n    internalAddresses: 172.16.8.25 -> 172.16.8.26/32"),
    ),
]


@pytest.mark.parametrize(("change", "expected"), LEFT_OUT, ids=[text.splitlines()[-1] for _, text in LEFT_OUT])
def test_what_is_left_out_of_the_model_is_compared_too(
    change: Callable[[dict[str, Any]], object], expected: str
) -> None:
    assert bundle_changes(change) == expected


AS_BEFORE: list[Callable[[dict[str, Any]], object]] = [
    lambda d: d.update({"ipsecTunnels": d.pop("ipsec/tunnels")["values"]}),
    lambda d: tunnel(d).update(logging=False, connectorInitiationMode="INITIATOR", status="UP", description=""),
    lambda d: d.update(apiVersion="39.0", usedIpAddresses=[{"ipAddress": "198.51.100.20"}]),
    lambda d: d.update({"loadBalancer": {"enabled": False, "pools": []}, "qos": {"ingressProfile": None}}),
    lambda d: d["edgeGateway"].update(status="PENDING", version={"version": 8}),
    lambda d: uplink(d)["subnets"]["values"][0].update(usedIpCount=3),
    lambda d: network(d)["connection"].pop("connected"),
    lambda d: d["orgVdcNetworks"].update(resultTotal=1, page=2),
    lambda d: d["nat/rules"]["values"][0].update(internalAddresses="172.16.8.25/32"),
]


@pytest.mark.parametrize("change", AS_BEFORE, ids=range(len(AS_BEFORE)))
def test_how_things_stand_and_how_they_are_written_is_no_difference(
    change: Callable[[dict[str, Any]], object],
) -> None:
    assert bundle_changes(change) == ""


def test_references_of_what_is_left_out_compare_by_what_they_mean() -> None:
    def document(pool: Any, name: str = "p", certificate: Any = None) -> dict[str, Any]:
        service = {"name": "vs", "loadBalancerPoolRef": pool, "certificateRef": certificate}
        return {
            "edgeGateway": {"name": "T1"},
            "loadBalancer": {"pools": [{"id": "urn:p", "name": name}], "virtualServices": [service]},
        }

    def told_of(old: dict[str, Any], new: dict[str, Any]) -> list[str]:
        loaded = [from_data(data, allow_unsupported=True) for data in (old, new)]
        return [f"{change.section} {field.field}" for change in diff(*loaded) for field in change.fields]

    assert told_of(document("p"), document({"name": "p", "id": "urn:p"})) == []
    assert told_of(document("urn:p"), document({"id": "urn:p"}, name="q")) == ["loadBalancer.pools name"]
    outside = [{"name": "c", "id": f"urn:{number}"} for number in (1, 2)]
    assert told_of(document("p", certificate=outside[0]), document("p", certificate={"name": "c"})) == []
    assert told_of(document("p", certificate=outside[0]), document("p", certificate=outside[1])) == [
        "loadBalancer.virtualServices certificateRef"
    ]


def test_secrets_are_in_no_output() -> None:
    old, new = copy.deepcopy(BUNDLE), copy.deepcopy(BUNDLE)
    tunnel(new)["preSharedKey"] = "another-secret"
    old["l2vpnTunnels"] = [{"name": "l2", "peerCode": "old-code"}]
    found = diff(*(from_data(data, allow_unsupported=True) for data in (old, new)))
    text = render(found) + json.dumps([change.to_json() for change in found])
    assert {change.section for change in found} == {"ipsecTunnels", "l2vpnTunnels"}
    assert not any(secret in text for secret in ("another-secret", "for-tests-only", "old-code"))


def test_models_alone_compare_without_what_only_documents_have() -> None:
    old, new = from_data(rules("a")), from_data(rules("a", description="x"))
    assert [change.fields[0].field for change in diff(old, new)] == ["description"]
    assert diff(old.config, new) == diff(old, new.config) == []


def test_two_different_edges_and_their_json() -> None:
    old, new = load(DATA / "edge.yaml"), load(DATA / "cloudapi_bundle.json", allow_unsupported=True)
    found = diff(old, new)
    assert {change.kind for change in found} == {ChangeKind.ADDED, ChangeKind.REMOVED, ChangeKind.CHANGED}
    written = json.loads(json.dumps([change.to_json() for change in found]))
    assert written[0].keys() == {"kind", "section", "name", "id", "oldPosition", "newPosition", "moved", "fields"}
    text = render(found)
    assert "- userDefinedRules 'in-web' removed, place 1\n" in text
    assert "+ userDefinedRules 'mail-in' added, place 1\n" in text
    assert diff(new, new) == []


def test_objects_are_compared_without_the_fields_of_what_came_and_went() -> None:
    old, new = load(DATA / "edge.yaml"), load(DATA / "cloudapi_bundle.json", allow_unsupported=True)
    found = diff(old, new)
    short = compare(objects_of(old), objects_of(new), whole=False)
    assert [replace(change, fields=()) for change in found] == [replace(change, fields=()) for change in short]
    assert all(bool(change.fields) == (change.kind is ChangeKind.CHANGED) for change in short)


def test_of_equal_objects_each_keeps_its_own_place() -> None:
    twins = [{"id": str(number), "name": "a", "actionValue": "DROP"} for number in range(3)]
    old = from_data({"edgeGateway": {"name": "T1"}, "firewallRules": {"userDefinedRules": twins}})
    moved = old.changed(old.document | {"firewallRules": {"userDefinedRules": [twins[2], twins[0], twins[1]]}})
    assert [(change.kind, change.id) for change in diff(old, moved)] == [(ChangeKind.MOVED, "2")]
    assert diff(old, old.changed(dict(old.document))) == []
