"""Warnings: which documents have them, and that those about shadowed rules are exact."""

from __future__ import annotations

import random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge.checks import check
from edge.checks.coverage import Budget, Match, Ranges, covers, find_covered, merged, overlap
from edge.document import from_data, loads
from edge.errors import DocumentError
from edge.firewall.config import Direction

RANGES = [{"startAddress": "203.0.113.10", "endAddress": "203.0.113.20"}]
BASE: dict[str, Any] = {
    "edgeGateway": {
        "name": "T1",
        "edgeGatewayUplinks": [
            {"uplinkName": "UP", "subnets": [{"gateway": "203.0.113.1", "prefixLength": 24, "ipRanges": RANGES}]}
        ],
    },
    "orgVdcNetworks": [{"name": "LAN", "subnets": [{"gateway": "10.0.0.1", "prefixLength": 24}]}],
}


def profile(name: str, protocol: str, *ports: str) -> dict[str, Any]:
    return {"name": name, "applicationPorts": [{"protocol": protocol, "destinationPorts": list(ports)}]}


PROFILES = [
    profile("web", "TCP", "80"),
    profile("web2", "TCP", "80", "443"),
    profile("all-tcp", "TCP"),
    profile("smb", "TCP", "445"),
    profile("many", "TCP", "8000-8009"),
    profile("ping", "ICMPv4"),
    profile("ping6", "ICMPv6"),
]


def warnings(**sections: Any) -> list[str]:
    """``path CODE`` of each warning, without the codes about groups."""
    loaded = from_data(BASE | {"applicationPortProfiles": PROFILES} | sections)
    found = check(loaded.config, loaded)
    assert all(problem.severity == "warning" and problem.message for problem in found)
    return [f"{problem.path} {problem.code}" for problem in found]


def rule(source: str = "", destination: str = "", service: str = "", **fields: Any) -> dict[str, Any]:
    """A rule with inline addresses (separated by spaces) and at most one profile."""
    return {
        "name": "r",
        "actionValue": "ALLOW",
        "sourceFirewallIpAddresses": source.split(),
        "destinationFirewallIpAddresses": destination.split(),
        "applicationPortProfiles": [service] if service else [],
    } | fields


def shadows(*rules: dict[str, Any]) -> list[int]:
    """Places of the rules said to be shadowed."""
    found = warnings(firewallRules={"userDefinedRules": list(rules)})
    return [int(text.split("[")[1].split("]")[0]) for text in found if text.endswith("SHADOWED_RULE")]


RAW = {"layer4Item": {"protocol": "TCP", "sourcePorts": ["1000-2000"], "destinationPorts": ["80"]}}
RAW_LOW = {"layer4Item": {"protocol": "TCP", "sourcePorts": ["0-1500"], "destinationPorts": ["80"]}}
RAW_HIGH = {"layer4Item": {"protocol": "TCP", "sourcePorts": ["1400-65535"], "destinationPorts": ["80"]}}

SHADOWS = [
    ("any before all", [rule(), rule("10.0.0.1")], [1]),
    ("any after all", [rule("10.0.0.1"), rule()], []),
    ("the same", [rule("10.0.0.1"), rule("10.0.0.1")], [1]),
    ("wider source", [rule("10.0.0.0/8"), rule("10.0.0.1 10.9.0.0/16")], [1]),
    ("one source outside", [rule("10.0.0.0/8"), rule("10.0.0.1 11.0.0.1")], []),
    ("two halves of one rule", [rule("10.0.0.0/25 10.0.0.128/25"), rule("10.0.0.0/24")], [1]),
    ("two halves of two rules", [rule("10.0.0.0/25"), rule("10.0.0.128/25"), rule("10.0.0.0/24")], []),
    ("wider destination, narrower source", [rule("10.0.0.1", "192.0.2.0/24"), rule("10.0.0.0/24", "192.0.2.1")], []),
    ("both sides", [rule("10.0.0.0/24", "192.0.2.0/24"), rule("10.0.0.3", "192.0.2.1")], [1]),
    ("more ports", [rule(service="web2"), rule(service="web")], [1]),
    ("fewer ports", [rule(service="web"), rule(service="web2")], []),
    ("all ports", [rule(service="all-tcp"), rule(service="web2")], [1]),
    ("another protocol", [rule(service="all-tcp"), rule(service="ping")], []),
    ("a service before any", [rule(service="all-tcp"), rule()], []),
    ("direction", [rule(direction="IN"), rule(direction="OUT"), rule(direction="IN")], [2]),
    ("both directions", [rule(), rule(direction="OUT")], [1]),
    ("one direction", [rule(direction="IN"), rule()], []),
    ("family", [rule(ipProtocol="IPV4"), rule(), rule(ipProtocol="IPV6"), rule(ipProtocol="IPV4")], [2, 3]),
    ("family by address", [rule(ipProtocol="IPV4"), rule("10.0.0.1"), rule("2001:db8::1")], [1]),
    ("family by service", [rule(ipProtocol="IPV4"), rule(service="ping"), rule(service="ping6")], [1]),
    ("disabled before", [rule(enabled=False), rule("10.0.0.1")], []),
    ("disabled after", [rule(), rule("10.0.0.1", enabled=False)], []),
    ("another action", [rule(actionValue="DROP"), rule("10.0.0.1")], [1]),
    ("source ports", [rule(rawPortProtocols=[RAW]), rule(service="web")], []),
    ("source ports within any", [rule(service="web"), rule(rawPortProtocols=[RAW])], [1]),
    ("the same source ports", [rule(rawPortProtocols=[RAW]), rule(rawPortProtocols=[RAW])], [1]),
    ("source ports in two parts", [rule(rawPortProtocols=[RAW_LOW, RAW_HIGH]), rule(service="web")], [1]),
    ("source ports with a gap", [rule(rawPortProtocols=[RAW_HIGH]), rule(rawPortProtocols=[RAW])], []),
    (
        "many small rules",
        [rule(f"10.0.{i}.0/24", "192.0.2.1") for i in range(60)] + [rule("10.0.7.7", "192.0.2.1")],
        [60],
    ),
    ("many destinations", [rule("", f"10.0.{i}.0/24") for i in range(60)] + [rule("192.0.2.1", "10.0.7.7")], [60]),
]


@pytest.mark.parametrize(("rules", "expected"), [case[1:] for case in SHADOWS], ids=[case[0] for case in SHADOWS])
def test_shadowed_rules(rules: list[dict[str, Any]], expected: list[int]) -> None:
    assert shadows(*rules) == expected


def test_the_covering_rule_is_named_and_the_first_of_several() -> None:
    rules = [rule("10.0.0.0/8", name="a"), rule(name="b", actionValue="DROP"), rule("10.0.0.1", name="c")]
    loaded = from_data(BASE | {"firewallRules": {"userDefinedRules": rules}})
    assert [problem.message for problem in check(loaded.config, loaded)] == [
        "'c' (rule 3) can never match: 'a' (rule 1) before it matches everything it does, to the same effect"
    ]


def test_the_default_rule_is_never_called_shadowed() -> None:
    assert warnings(firewallRules={"userDefinedRules": [rule()]}) == []


# The search against a slow oracle: a tiny universe in which rules often cover one another.

_SETS = st.lists(st.tuples(st.integers(0, 7), st.integers(0, 7)), min_size=1, max_size=3).map(
    lambda pairs: merged((min(pair), max(pair)) for pair in pairs)
)
_MATCHES = st.builds(
    Match,
    st.dictionaries(st.sampled_from((4, 6)), st.tuples(_SETS, _SETS, _SETS), max_size=2),
    st.sampled_from(tuple(Direction)),
)


def _points(ranges: Ranges) -> set[int]:
    return {number for low, high in ranges for number in range(low, high + 1)}


def _contains(outer: Match, inner: Match) -> bool:
    return outer.direction in (Direction.IN_OUT, inner.direction) and all(
        version in outer.families
        and all(_points(b) <= _points(a) for a, b in zip(outer.families[version], dimensions, strict=True))
        for version, dimensions in inner.families.items()
    )


@settings(max_examples=400, deadline=None)
@given(st.lists(st.none() | _MATCHES, max_size=50))
def test_search_agrees_with_comparing_every_pair(matches: list[Match | None]) -> None:
    expected: dict[int, int] = {}
    for position, match in enumerate(matches):
        if match is None or not match.families:
            continue
        for earlier in range(position):
            other = matches[earlier]
            if other is not None and _contains(other, match):
                expected[position] = earlier
                break
    found, stopped = find_covered(matches, Budget(10_000_000))
    assert stopped is None
    assert found == expected


@given(_SETS, _SETS)
def test_sets(one: Ranges, other: Ranges) -> None:
    assert covers(one, other) == (_points(other) <= _points(one))
    assert overlap(one, other) == bool(_points(one) & _points(other))


def _worst_cases() -> dict[str, list[dict[str, Any]]]:
    draw = random.Random(1)

    def host() -> str:
        return f"10.{draw.randrange(256)}.{draw.randrange(256)}.{draw.randrange(256)}"

    return {
        "a block list": [rule(host(), actionValue="DROP") for _ in range(20_000)],
        "one common address": [rule(f"192.0.2.1 {host()}", f"192.0.2.2 {host()}", "web") for _ in range(20_000)],
        "nested networks": [rule(f"10.0.0.0/{8 + i % 25}", host()) for i in range(20_000)],
        "ports": [
            rule(rawPortProtocols=[{"layer4Item": {"protocol": "TCP", "destinationPorts": [str(i)]}}])
            for i in range(20_000)
        ],
        "source ports": [
            rule(rawPortProtocols=[{"layer4Item": {"protocol": "TCP", "sourcePorts": [str(i)]}}]) for i in range(5_000)
        ],
    }


@pytest.mark.parametrize("name", _worst_cases())
def test_search_is_bounded(name: str) -> None:
    rules = _worst_cases()[name]
    loaded = from_data(
        BASE
        | {
            "firewallRules": {"userDefinedRules": rules},
            "applicationPortProfiles": PROFILES,
            "options": {"limits": "report"},
        }
    )
    assert all(problem.code for problem in check(loaded.config, loaded))  # without the bound this takes hours


def test_a_search_that_is_cut_says_so() -> None:
    matches: list[Match | None] = [Match({4: (((i, i + 50),), ((0, 9),), ((0, 9),))}) for i in range(100)]
    _, stopped = find_covered(matches, Budget(20))
    assert stopped is not None


NAT = {"name": "n", "externalAddresses": "203.0.113.10", "internalAddresses": "10.0.0.5"}
SNAT = {"name": "s", "type": "SNAT", "externalAddresses": "203.0.113.10", "internalAddresses": "10.0.0.0/24"}
DNAT = NAT | {"type": "DNAT"}
NO_SNAT = {
    "name": "x",
    "type": "NO_SNAT",
    "internalAddresses": "10.0.0.0/24",
    "snatDestinationAddresses": "192.0.2.0/24",
}
NO_DNAT = {"name": "x", "type": "NO_DNAT", "externalAddresses": "203.0.113.10", "dnatExternalPort": "22"}

NAT_CASES = [
    ("port without profile", [DNAT | {"dnatExternalPort": "80"}], ["[0].dnatExternalPort DNAT_PORT_IGNORED"]),
    (
        "port with ICMP",
        [DNAT | {"dnatExternalPort": "80", "applicationPortProfile": "ping"}],
        ["[0].dnatExternalPort DNAT_PORT_IGNORED"],
    ),
    ("port with profile", [DNAT | {"dnatExternalPort": "81", "applicationPortProfile": "web"}], []),
    ("SNAT with a port", [SNAT | {"applicationPortProfile": "web"}], ["[0].applicationPortProfile SNAT_PORT_IGNORED"]),
    ("SNAT with a protocol", [SNAT | {"applicationPortProfile": "all-tcp"}], []),
    ("not owned", [DNAT | {"externalAddresses": "203.0.113.99"}], ["[0].externalAddresses EXTERNAL_ADDRESS_NOT_OWNED"]),
    (
        "owned in part",
        [SNAT | {"externalAddresses": "203.0.113.19-203.0.113.21"}],
        ["[0].externalAddresses EXTERNAL_ADDRESS_NOT_OWNED"],
    ),
    ("blocked", [DNAT | {"applicationPortProfile": "smb"}], ["[0] PROVIDER_BLOCKED_PORT"]),
    ("blocked inside, open outside", [DNAT | {"applicationPortProfile": "smb", "dnatExternalPort": "1445"}], []),
    (
        "blocked outside",
        [DNAT | {"applicationPortProfile": "web", "dnatExternalPort": "5700-5800"}],
        ["[0] PROVIDER_BLOCKED_PORT"],
    ),
    (
        "two DNATs on one address without profile",
        [DNAT | {"dnatExternalPort": "80"}, DNAT | {"dnatExternalPort": "22", "priority": 5}],
        ["[0].dnatExternalPort DNAT_PORT_IGNORED", "[1] SHADOWED_RULE", "[1].dnatExternalPort DNAT_PORT_IGNORED"],
    ),
    ("the second comes first by priority", [DNAT | {"priority": 9}, DNAT | {"priority": 5}], ["[0] SHADOWED_RULE"]),
    (
        "tie",
        [DNAT | {"applicationPortProfile": "web"}, DNAT | {"applicationPortProfile": "all-tcp"}],
        ["[1].priority NAT_PRIORITY_TIE"],
    ),
    (
        "no tie of two ports",
        [
            DNAT | {"applicationPortProfile": "web", "dnatExternalPort": "80"},
            DNAT | {"applicationPortProfile": "web", "dnatExternalPort": "81"},
        ],
        [],
    ),
    (
        "two ranges of unequal length",
        [DNAT | {"dnatExternalPort": "80", "applicationPortProfile": "many"}],
        ["[0].dnatExternalPort DNAT_PORTS_COLLAPSE"],
    ),
    ("two ranges of one length", [DNAT | {"dnatExternalPort": "10-19", "applicationPortProfile": "many"}], []),
    ("many ports onto one", [DNAT | {"dnatExternalPort": "10-19", "applicationPortProfile": "web"}], []),
    (
        "nowhere inside",
        [DNAT | {"internalAddresses": "10.9.9.9"}],
        ["[0].internalAddresses INTERNAL_ADDRESS_UNREACHABLE"],
    ),
    ("nowhere inside, and off", [DNAT | {"internalAddresses": "10.9.9.9", "enabled": False}], []),
    (
        "NO_ rules that name a side",
        [NO_DNAT | {"firewallMatch": "MATCH_EXTERNAL_ADDRESS"}, NO_SNAT | {"firewallMatch": "BYPASS"}],
        ["[0].firewallMatch FIREWALL_MATCH_IGNORED"],
    ),
    ("no tie of two kinds", [DNAT, SNAT], []),
    ("no tie of two networks", [SNAT, SNAT | {"internalAddresses": "10.0.1.0/24"}], []),
    ("exemption first", [NO_SNAT | {"priority": 1}, SNAT | {"priority": 2}], []),
    (
        "exemption behind",
        [NO_SNAT | {"priority": 2}, SNAT | {"priority": 1}],
        ["[0] NAT_EXEMPTION_BEHIND", "[0] SHADOWED_RULE"],
    ),
    (
        "exemption behind a part",
        [DNAT | {"applicationPortProfile": "all-tcp"}, NO_DNAT | {"priority": 1}],
        ["[1] NAT_EXEMPTION_BEHIND"],
    ),
    ("exemption tied", [NO_SNAT, SNAT], ["[1].priority NAT_PRIORITY_TIE"]),
    ("disabled", [DNAT, DNAT | {"enabled": False}], []),
    (
        "reflexive in both lookups",
        [NAT | {"type": "REFLEXIVE"}, SNAT | {"priority": 1}, DNAT | {"priority": 1}],
        ["[2] SHADOWED_RULE"],
    ),
]


@pytest.mark.parametrize(("rules", "expected"), [case[1:] for case in NAT_CASES], ids=[case[0] for case in NAT_CASES])
def test_nat_rules(rules: list[dict[str, Any]], expected: list[str]) -> None:
    assert sorted(warnings(natRules=rules)) == sorted(f"natRules{text}" for text in expected)


@pytest.mark.parametrize(
    ("match", "destination", "expected"),
    [
        ("MATCH_INTERNAL_ADDRESS", "10.0.0.5", False),
        ("MATCH_INTERNAL_ADDRESS", "203.0.113.10", True),
        ("MATCH_EXTERNAL_ADDRESS", "10.0.0.5", True),
        ("MATCH_EXTERNAL_ADDRESS", "203.0.113.10", False),
        ("MATCH_EXTERNAL_ADDRESS", "203.0.113.10 10.0.0.5", False),
        ("MATCH_EXTERNAL_ADDRESS", "192.0.2.1", False),
        ("MATCH_EXTERNAL_ADDRESS", "", False),
        ("BYPASS", "203.0.113.10", False),
    ],
)
def test_rules_that_name_the_other_side(match: str, destination: str, expected: bool) -> None:
    found = warnings(
        natRules=[DNAT | {"firewallMatch": match}], firewallRules={"userDefinedRules": [rule("", destination)]}
    )
    assert found == (["natRules[0].firewallMatch EXTERNAL_MATCH_PRIVATE"] if expected else [])


FIREWALL_CASES = [
    ("IPv4 rule, IPv6 addresses", [rule("2001:db8::1", ipProtocol="IPV4")], ["[0] FAMILY_MISMATCH"]),
    ("one side each", [rule("2001:db8::1", "10.0.0.1")], ["[0] FAMILY_MISMATCH"]),
    ("IPv4 rule, ICMPv6", [rule(service="ping6", ipProtocol="IPV4")], ["[0] FAMILY_MISMATCH"]),
    ("IPv6 addresses, ICMPv4", [rule("2001:db8::1", service="ping")], ["[0] FAMILY_MISMATCH"]),
    ("mixed", [rule("2001:db8::1 10.0.0.1", ipProtocol="IPV4")], []),
    ("blocked port", [rule(service="smb")], ["[0] PROVIDER_BLOCKED_PORT"]),
    ("blocked port dropped", [rule(service="smb", actionValue="DROP")], []),
    ("blocked port within the networks", [rule("10.0.0.1", "10.0.0.2", "smb")], []),
    (
        "blocked raw port",
        [rule(rawPortProtocols=[{"layer4Item": {"protocol": "UDP", "destinationPorts": ["161"]}}])],
        ["[0] PROVIDER_BLOCKED_PORT"],
    ),
    ("disabled", [rule("2001:db8::1", "10.0.0.1", enabled=False), rule(service="smb", enabled=False)], []),
]


@pytest.mark.parametrize(
    ("rules", "expected"), [case[1:] for case in FIREWALL_CASES], ids=[case[0] for case in FIREWALL_CASES]
)
def test_firewall_rules(rules: list[dict[str, Any]], expected: list[str]) -> None:
    found = warnings(firewallRules={"userDefinedRules": rules})
    assert found == [f"firewallRules.userDefinedRules{text}" for text in expected]


def test_no_filter_blocks_no_port() -> None:
    rules = {"userDefinedRules": [rule(service="smb")]}
    assert warnings(firewallRules=rules, options={"providerFilter": False}) == []


def test_groups() -> None:
    groups = [
        {"name": "used", "typeValue": "IP_SET", "ipAddresses": ["10.0.0.1"]},
        {"name": "unused", "typeValue": "IP_SET", "ipAddresses": ["10.0.0.1"]},
        {"name": "empty", "typeValue": "IP_SET", "ipAddresses": []},
    ]
    rules = [rule(sourceFirewallGroups=["used"]), rule(destinationFirewallGroups=["empty"])]
    found = warnings(firewallGroups=groups, firewallRules={"userDefinedRules": rules})
    assert found == ["firewallGroups[1] UNUSED_GROUP", "firewallGroups[2] EMPTY_GROUP"]


def test_system_rules_are_compared_and_not_installed() -> None:
    system = [rule(name="dns", applicationPortProfiles=["MS_RPC_TCP"])]  # a helper of a rule that is not installed
    loaded = from_data(BASE | {"firewallRules": {"systemRules": system}})
    assert [r.section.value for r in loaded.config.firewall.rules] == ["defaultRules"]
    (found,) = check(loaded.config, loaded)
    assert (found.path, found.code) == ("firewallRules.systemRules", "SYSTEM_RULES_DIFFER")
    assert found.message.startswith("the document has 1 system rule ('dns') and ")
    loaded = from_data(BASE | {"firewallRules": {"systemRules": {"values": system * 5}}})
    assert "5 system rules ('dns', 'dns', 'dns', ...)" in check(loaded.config, loaded)[0].message


def test_references_of_system_rules_lead_somewhere() -> None:
    system = [rule(sourceFirewallGroups=[{"name": "nobody"}], applicationPortProfiles=["nothing"])]
    with pytest.raises(DocumentError) as caught:
        from_data(BASE | {"firewallRules": {"systemRules": system}})
    assert [f"{problem.path} {problem.code}" for problem in caught.value.problems] == [
        "firewallRules.systemRules[0].sourceFirewallGroups[0] DANGLING_REFERENCE",
        "firewallRules.systemRules[0].applicationPortProfiles[0] DANGLING_REFERENCE",
    ]


def test_warnings_stand_where_the_author_wrote() -> None:
    text = (
        "edgeGateway: {name: T1, edgeGatewayUplinks: [{uplinkName: U}]}\n"
        "firewall/rules:\n  userDefinedRules:\n"
        "    - {name: a, actionValue: DROP}\n"
        "    - {name: b, actionValue: ALLOW}\n"
        "nat/rules:\n  values:\n"
        "    - {name: n, type: DNAT, externalAddresses: 192.0.2.1, internalAddresses: 10.0.0.1}\n"
    )
    loaded = loads(text, file="edge.yaml")
    shadow, owned, internal = check(loaded.config, loaded)
    assert (internal.code, internal.line, internal.column) == ("INTERNAL_ADDRESS_UNREACHABLE", 8, 78)
    assert str(owned).startswith("edge.yaml:8:48: nat/rules.values[0].externalAddresses: EXTERNAL_ADDRESS_NOT_OWNED: ")
    assert (shadow.path, shadow.line, shadow.column) == ("firewall/rules.userDefinedRules[1]", 5, 7)
    plain = check(loaded.config)
    assert [(problem.path, problem.line) for problem in plain] == [
        ("firewallRules.userDefinedRules[1]", None),
        ("natRules[0].externalAddresses", None),
        ("natRules[0].internalAddresses", None),
    ]


def test_a_static_route_makes_an_inside_address_reachable_and_a_default_route_does_not() -> None:
    rules = [DNAT | {"internalAddresses": "10.9.9.9"}]
    for cidr, expected in (("10.9.0.0/16", 0), ("0.0.0.0/0", 1)):
        route = {"name": "r", "networkCidr": cidr, "nextHops": [{"ipAddress": "10.0.0.9"}]}
        assert len(warnings(natRules=rules, staticRoutes=[route])) == expected
