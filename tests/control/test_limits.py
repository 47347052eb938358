"""How much an organization may have."""

from __future__ import annotations

from types import MappingProxyType
from typing import Any

import pytest

from control import limits
from tests.control.cloud import Cloud
from tests.control.office import DEMAND, POOL, Office
from tests.control.world import RefusedError, World, user


@pytest.fixture
def cloud(world: World) -> Cloud:
    return Cloud(world)


def allow(monkeypatch: pytest.MonkeyPatch, **most: int) -> None:
    monkeypatch.setattr(limits, "OF_ORGANIZATION", MappingProxyType({**limits.OF_ORGANIZATION, **most}))


def told(cloud: Cloud, name: str, request: dict[str, Any], token: str = "") -> str:
    error = cloud.refused(name, request, token)
    assert (error.code, error.reason) == ("RESOURCE_EXHAUSTED", "ORGANIZATION_LIMIT")
    return error.text


def test_objects_of_an_organization_are_limited(cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
    vdc = cloud.vdc()["vdc"]["name"]
    allow(monkeypatch, user=2, vdc=1, vdc_group=0, edge_gateway=1, network=1)
    order = {"parent": cloud.org, "vdc": {"region": "regions/MIA", "plan": "VDC_PLAN_ON_DEMAND"}}
    group = {"parent": cloud.org, "vdcGroup": {"displayName": "g", "region": "regions/MIA", "vdcs": [vdc]}}
    edge = {
        "parent": cloud.org,
        "vdc": vdc,
        "wanAccess": "WAN_ACCESS_INTERNET",
        "gatewayCidr": "10.9.0.1/24",
        "lanName": "x",
    }
    eva = {"parent": cloud.org, "user": user("eva")}
    tried = [
        ("UserService/CreateUser", eva, "", "2 of the kind user, and may have 2"),
        ("OrderService/OrderVdc", order, cloud.adam, "1 of the kind vdc, and may have 1"),
        ("VdcService/CreateVdcGroup", group, "", "0 of the kind vdc group, and may have 0"),
        ("OrderService/AddEdgeGateway", edge, "", "1 of the kind edge gateway, and may have 1"),
        ("NetworkService/CreateNetwork", cloud.network("i", vdc), "", "1 of the kind network, and may have 1"),
    ]  # fmt: skip
    for name, request, token, text in tried:
        assert told(cloud, name, request, token) == f"{cloud.org} has {text}"
        assert told(cloud, name, {**request, "validateOnly": True}, token) == f"{cloud.org} has {text}"
    # What others have does not count.
    other, ana = cloud.world.tenant(cloud.admin, "US2")
    assert cloud.world.add_user(ana, other, "eva", "ROLE_STAFF")


def test_machines_on_demand_are_limited(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    office = Office(world)
    monkeypatch.setattr(limits, "ON_DEMAND_MACHINES", 1)
    office.create("one", DEMAND)
    with pytest.raises(RefusedError, match="ORGANIZATION_LIMIT: orgs/US1 has 1 of the kind machine on demand, and may"):
        office.create("two", DEMAND)
    office.create("two", POOL)


def test_api_tokens_of_an_organization_are_limited(cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "API_TOKENS", 2)

    def request(who: str, name: str) -> dict[str, Any]:
        return {"parent": f"{cloud.org}/users/{who}", "apiToken": {"displayName": name}}

    cloud.call("ApiTokenService/CreateApiToken", request("maria", "a"))
    cloud.call("ApiTokenService/CreateApiToken", request("adam", "b"), cloud.adam)
    text = told(cloud, "ApiTokenService/CreateApiToken", request("maria", "c"))
    assert text == "orgs/US1 has 2 of the kind API token, and may have 2"
