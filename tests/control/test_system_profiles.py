"""The profiles that VMware ships: there to be read."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest

from edge.firewall.system_profiles import system_profile_names
from tests.control.edges import Tenant
from tests.control.world import RefusedError, World

LIST, GET = "ProfileService/ListSystemProfiles", "ProfileService/GetSystemProfile"


@pytest.fixture
def tenant(world: World, admin: str) -> Tenant:
    return Tenant(world, admin, "US1")


def listed(tenant: Tenant, **query: Any) -> list[str]:
    found = tenant.call(LIST, {"pageSize": 1_000, **query})["systemProfiles"]
    return [profile["displayName"] for profile in found]


def refused(tenant: Tenant, name: str, request: dict[str, Any]) -> RefusedError:
    with pytest.raises(RefusedError) as caught:
        tenant.call(name, request)
    return caught.value


def test_all_of_them_page_by_page(tenant: Tenant) -> None:
    found, token = [], ""
    while True:
        answer = tenant.call(LIST, {"pageSize": 100, "orderBy": "display_name desc", "pageToken": token})
        found += [profile["name"] for profile in answer["systemProfiles"]]
        token = answer["nextPageToken"]
        if not token:
            break
    assert found == [f"systemProfiles/{name}" for name in sorted(system_profile_names(), reverse=True)]
    assert len(tenant.call(LIST, {})["systemProfiles"]) == 50


def test_every_one_can_be_read_and_named_by_a_rule(tenant: Tenant) -> None:
    for profile in tenant.call(LIST, {"pageSize": 1_000})["systemProfiles"]:
        assert tenant.call(GET, {"name": profile["name"]}) == {"systemProfile": profile}
    tenant.make(
        "firewall_rule", "in", action_value="ALLOW", application_port_profiles=["systemProfiles/EdgeSync service/ADAM"]
    )


@pytest.mark.parametrize(
    ("name", "services", "alg", "usable"),
    [
        ("HTTPS", [{"protocol": "TCP", "destinationPorts": ["443"], "sourcePorts": []}], "", True),
        ("FTP", [{"protocol": "TCP", "destinationPorts": ["21"], "sourcePorts": []}], "FTP", True),
        (
            "ICMP Echo Request",
            [{"protocol": "ICMPv4", "destinationPorts": [], "sourcePorts": [], "icmpType": 8, "icmpCode": 0}],
            "", True,
        ),
        (
            "DHCPv6 Server",
            [{"protocol": "UDP", "destinationPorts": ["547"], "sourcePorts": []}],
            "", True,
        ),
    ],
)  # fmt: skip
def test_what_is_told_of_one(tenant: Tenant, name: str, services: list[Any], alg: str, usable: bool) -> None:
    found = tenant.call(GET, {"name": f"systemProfiles/{name}"})["systemProfile"]
    assert found == {
        "name": f"systemProfiles/{name}", "displayName": name, "services": services, "alg": alg,
        "usableForNat": usable,
    }  # fmt: skip


def test_nothing_of_a_service_is_left_out(tenant: Tenant) -> None:
    every = tenant.call(LIST, {"pageSize": 1_000})["systemProfiles"]
    services = [service for profile in every for service in profile["services"]]
    assert {service["protocol"] for service in services} == {"TCP", "UDP", "ICMPv4", "ICMPv6", "IGMP"}
    assert any(service["sourcePorts"] for service in services)
    assert any("icmpType" in service and "icmpCode" not in service for service in services)
    assert any("-" in text for service in services for text in service["destinationPorts"])
    assert any(len(profile["services"]) > 1 and not profile["usableForNat"] for profile in every)


def test_filters(tenant: Tenant) -> None:
    assert listed(tenant, filter='display_name = "HTTPS"') == ["HTTPS"]
    assert set(listed(tenant, filter='alg = "FTP"')) >= {"FTP"}
    assert "HTTPS" in listed(tenant, filter='port = "443" AND protocol = "TCP"')
    assert "HTTPS" not in listed(tenant, filter='port = "443" AND protocol = "UDP"')
    assert "ICMP ALL" not in listed(tenant, filter="port = 8")
    assert "DNS-IN-TCP" not in listed(tenant, filter="port = 53")  # it names the sender's port alone
    assert "VMware-VDM2.x-Ephemeral" in listed(tenant, filter="port = 65535")  # the end of a range
    for nonsense in ("x", "²", "65536", "99999", "123456"):
        assert listed(tenant, filter=f'port = "{nonsense}"') == []
    assert refused(tenant, LIST, {"filter": "scope = SYSTEM"}).reason == "INVALID_FILTER"


@pytest.mark.parametrize("after", [["x", 1], [1, "x"], [True, "x"]])
def test_tokens_of_other_types(tenant: Tenant, after: list[Any]) -> None:
    token = tenant.call(LIST, {})["nextPageToken"]
    forged = [json.loads(base64.urlsafe_b64decode(token))[0], *after]
    request = {"pageToken": base64.urlsafe_b64encode(json.dumps(forged).encode()).decode()}
    assert refused(tenant, LIST, request).reason == "INVALID_PAGE_TOKEN"


def test_names_that_are_none(tenant: Tenant) -> None:
    unknown = refused(tenant, GET, {"name": "systemProfiles/HTTPX"})
    assert (unknown.code, unknown.reason) == ("NOT_FOUND", "OBJECT_UNKNOWN")
    wrong = refused(tenant, GET, {"name": "orgs/US2/edges/T1/applicationPortProfiles/x"})
    assert (wrong.reason, list(wrong.fields)) == ("INVALID_ARGUMENT", ["name"])


@pytest.mark.parametrize(
    ("verb", "request_"),
    [
        ("Create", {"parent": "systemProfiles/x", "applicationPortProfile": {"displayName": "x"}}),
        ("Update", {"applicationPortProfile": {"name": "systemProfiles/HTTPS", "description": "x"}}),
        ("Delete", {"name": "systemProfiles/HTTPS"}),
        ("Get", {"name": "systemProfiles/HTTPS"}),
    ],
)
def test_they_cannot_be_changed(tenant: Tenant, verb: str, request_: dict[str, Any]) -> None:
    told = refused(tenant, f"ProfileService/{verb}ApplicationPortProfile", request_)
    assert told.reason == "INVALID_ARGUMENT"
    assert ["what VMware ships can only be read" in text for text in told.fields.values()] == [True]
