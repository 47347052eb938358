"""Differences between two edges: which are there, and what is no difference."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import pytest

from edge.diff import Change, ChangeKind, diff, render
from edge.document import from_data, load, loads

DATA = Path(__file__).parent.parent / "data"
TEXT = (DATA / "edge.yaml").read_text(encoding="utf-8")


def changes(old: str, new: str) -> list[Change]:
    """What changes when a piece of tests/data/edge.yaml is replaced."""
    assert old in TEXT
    return diff(loads(TEXT), loads(TEXT.replace(old, new, 1)))


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
