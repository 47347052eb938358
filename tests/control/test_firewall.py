"""Firewall rules: their order, their list as a whole, their limits."""

from __future__ import annotations

from typing import Any

import pytest

from control.kinds.order import GAP
from control.store.unit import PROVIDER
from tests.control.edges import Tenant
from tests.control.world import RefusedError, World

CREATE, MOVE = "FirewallService/CreateFirewallRule", "FirewallService/MoveFirewallRule"
REPLACE, LIST = "FirewallService/ReplaceFirewallRules", "FirewallService/ListFirewallRules"


def rule(tenant: Tenant, name: str, **position: Any) -> str:
    request = {"position": position} if position else {}
    return tenant.make("firewall_rule", name, request=request, action_value="ALLOW")


@pytest.fixture
def tenant(either: World) -> Tenant:
    return Tenant(either, either.administrator(), "US1")


def test_rules_stand_where_they_are_put(tenant: Tenant) -> None:
    b = rule(tenant, "b")
    rule(tenant, "d")
    rule(tenant, "a", first=True)
    rule(tenant, "c", after=b)
    e = rule(tenant, "e", before=b)
    assert tenant.rules() == ["a", "e", "b", "c", "d"]
    moved = tenant.call(MOVE, {"name": e, "position": {"last": True}})
    assert moved["task"]["operation"] == "Move Firewall Rule"
    assert tenant.rules() == ["a", "b", "c", "d", "e"]
    tenant.call(MOVE, {"name": e, "position": {"before": b}})
    tenant.call(MOVE, {"name": b, "position": {"after": b.replace("/b", "/d")}})
    assert tenant.rules() == ["a", "e", "c", "d", "b"]


def test_a_gap_that_is_used_up_is_made_anew(tenant: Tenant) -> None:
    last = rule(tenant, "z")
    rule(tenant, "a", first=True)
    etag = tenant.call("FirewallService/GetFirewallRule", {"name": last})["firewallRule"]["etag"]
    names = [f"r{number}" for number in range(25)]  # more than the 20 bits of a gap
    for name in names:
        rule(tenant, name, before=last)
    for name in ("x", "y"):
        rule(tenant, name, after=f"{tenant.edge}/firewallRules/a")
    assert tenant.rules() == ["a", "y", "x", *names, "z"]
    assert tenant.call("FirewallService/GetFirewallRule", {"name": last})["firewallRule"]["etag"] == etag


@pytest.mark.parametrize(
    ("position", "field"),
    [
        ({}, "position"),
        ({"first": False}, "position"),
        ({"before": ""}, "position"),
        ({"before": "orgs/US1/edges/T1/firewallRules/none"}, "position.before"),
        ({"after": "orgs/US1/edges/T2/firewallRules/a"}, "position.after"),
        ({"after": "orgs/US1/edges/T1/firewallRules/a"}, "position.after"),
    ],
)
def test_a_position_that_is_none(world: World, admin: str, position: dict[str, Any], field: str) -> None:
    tenant = Tenant(world, admin, "US1")
    a = rule(tenant, "a")
    with pytest.raises(RefusedError) as refused:
        tenant.call(MOVE, {"name": a, "position": position})
    assert list(refused.value.fields) == [field]
    if not a.endswith(str(position.get("after"))):
        with pytest.raises(RefusedError) as refused:
            tenant.call(*tenant.making("firewall_rule", "b", request={"position": position}, action_value="DROP"))
        assert tenant.rules() == ["a"]


def test_moves_know_what_they_move(world: World, admin: str) -> None:
    tenant = Tenant(world, admin, "US1")
    a, _ = rule(tenant, "a"), rule(tenant, "b")
    etag = tenant.call("FirewallService/GetFirewallRule", {"name": a})["firewallRule"]["etag"]
    tenant.call(MOVE, {"name": a, "position": {"last": True}, "etag": etag})
    with pytest.raises(RefusedError) as refused:
        tenant.call(MOVE, {"name": a, "position": {"first": True}, "etag": etag})
    assert refused.value.reason == "ETAG_MISMATCH"
    assert tenant.rules() == ["b", "a"]


def test_the_list_as_a_whole(tenant: Tenant) -> None:
    for name in ("a", "b", "c"):
        rule(tenant, name)
    found = tenant.call(LIST, {"parent": tenant.edge})
    a, b, c = found["firewallRules"]
    wanted = [c, {"displayName": "new", "actionValue": "REJECT"}, {**a, "actionValue": "DROP"}]
    request = {"parent": tenant.edge, "firewallRules": wanted, "etag": found["etag"]}
    trial = tenant.call(REPLACE, {**request, "validateOnly": True})
    assert [each["displayName"] for each in trial["firewallRules"]] == ["c", "new", "a"]
    assert tenant.rules() == ["a", "b", "c"]
    done = tenant.call(REPLACE, request)
    assert done["task"]["operation"] == "Replace Firewall Rules"
    assert done["etag"] == tenant.call(LIST, {"parent": tenant.edge})["etag"] != found["etag"]
    assert [(each["displayName"], each["actionValue"]) for each in done["firewallRules"]] == [
        ("c", "ALLOW"), ("new", "REJECT"), ("a", "DROP"),
    ]  # fmt: skip
    assert done["firewallRules"][0]["etag"] == c["etag"]
    assert tenant.rules() == ["c", "new", "a"]
    with pytest.raises(RefusedError) as refused:
        tenant.call(REPLACE, request)
    assert refused.value.reason == "ETAG_MISMATCH"
    tenant.call(MOVE, {"name": a["name"], "position": {"first": True}})
    with pytest.raises(RefusedError) as refused:
        tenant.call(REPLACE, {**request, "etag": done["etag"]})
    assert refused.value.reason == "ETAG_MISMATCH"
    with pytest.raises(RefusedError) as gone:
        tenant.call("FirewallService/GetFirewallRule", {"name": b["name"]})
    assert gone.value.reason == "OBJECT_UNKNOWN"
    assert tenant.call(REPLACE, {"parent": tenant.edge})["firewallRules"] == []
    assert tenant.rules() == []


def test_a_list_that_is_wrong_says_where(world: World, admin: str) -> None:
    tenant = Tenant(world, admin, "US1")
    a = rule(tenant, "a")
    fine = {"displayName": "x", "actionValue": "ALLOW"}

    def fields(*rules: dict[str, Any]) -> list[str]:
        with pytest.raises(RefusedError) as refused:
            tenant.call(REPLACE, {"parent": tenant.edge, "firewallRules": rules})
        return list(refused.value.fields)

    assert fields(fine, {**fine, "actionValue": "PERMIT"}) == ["firewall_rules[1].action_value"]
    assert fields({**fine, "name": a}, fine, {**fine, "name": a}) == ["firewall_rules[2].name"]
    assert fields({**fine, "name": f"{tenant.edge}/firewallRules/no"}) == ["firewall_rules[0].name"]
    other = {"sourceFirewallGroups": [f"{tenant.edge}/applicationPortProfiles/p"]}
    tenant.make("application_port_profile", "p", application_ports=[{"protocol": "TCP"}])
    assert fields(fine, {**fine, **other}) == ["firewall_rules[1].source_firewall_groups[0]"]
    alg = {"applicationPortProfiles": ["systemProfiles/HTTPS", "systemProfiles/MS_RPC_TCP"]}
    assert fields(fine, {**fine, **alg}) == ["firewall_rules[1].application_port_profiles"]
    with pytest.raises(RefusedError) as refused:
        tenant.call(REPLACE, {"parent": tenant.edge, "firewallRules": [fine, {**fine, "name": a, "etag": "old"}]})
    assert (refused.value.reason, refused.value.text[:18]) == ("ETAG_MISMATCH", "firewall_rules[1]:")
    assert tenant.rules() == ["a"]


def test_an_edge_has_so_many_rules_and_no_more(world: World, admin: str) -> None:
    tenant = Tenant(world, admin, "US1")
    fine = {"displayName": "x", "actionValue": "ALLOW"}
    tenant.call(REPLACE, {"parent": tenant.edge, "firewallRules": [fine] * 1_000})
    for name, request in (
        (CREATE, {"parent": tenant.edge, "firewallRule": fine}),
        (REPLACE, {"parent": tenant.edge, "firewallRules": [fine] * 1_001}),
    ):
        with pytest.raises(RefusedError) as refused:
            tenant.call(name, request)
        assert refused.value.reason == "LIMIT_REACHED"
        assert "at most 1,000" in refused.value.text
    groups = [f"{tenant.edge}/ipSets/{number}" for number in range(129)]
    with pytest.raises(RefusedError) as refused:
        tenant.call(CREATE, {"parent": tenant.edge, "firewallRule": {**fine, "sourceFirewallGroups": groups}})
    assert list(refused.value.fields) == ["firewall_rule.source_firewall_groups"]


def test_places_are_numbers_with_gaps(world: World, admin: str) -> None:
    tenant = Tenant(world, admin, "US1")
    for name in ("a", "b", "c"):
        rule(tenant, name)
    with world.store.read() as state:
        places = state.places_of("firewall_rule", tenant.edge)
    assert [place.position for place in places] == [GAP, 2 * GAP, 3 * GAP]
    with world.store.write(PROVIDER) as unit:
        unit.renumber([place.path for place in reversed(places)], 1)
    assert tenant.rules() == ["c", "b", "a"]
    rule(tenant, "d", after=places[1].path)
    assert tenant.rules() == ["c", "b", "d", "a"]
