"""A cloud with a region, a provider network and a tenant, and short ways to call for its objects."""

from __future__ import annotations

from typing import Any

import pytest

from tests.control.world import RefusedError, World

QUOTA = {"vcpu": 20, "memoryGb": 50, "storageGb": 200}
INTERNET = {"displayName": "Internet", "gatewayCidr": "203.0.113.1/24", "pools": ["203.0.113.10-203.0.113.14"]}


class Cloud:
    """``maria`` administers the organization, ``adam`` buys for it."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.admin = world.administrator()
        self.org, self.maria = world.tenant(self.admin, "US1")
        self.adam = world.add_user(self.admin, self.org, "adam", "ROLE_ADMINISTRATOR")
        self.provider("Region", "MIA", displayName="Miami")
        self.provider("ProviderNetwork", "internet", parent="regions/MIA", **INTERNET)

    def call(self, name: str, request: dict[str, Any], token: str = "") -> dict[str, Any]:
        return self.world.call(name, request, token or self.maria)

    def refused(self, name: str, request: dict[str, Any], token: str = "") -> RefusedError:
        with pytest.raises(RefusedError) as caught:
            self.call(name, request, token)
        return caught.value

    def provider(self, noun: str, id: str, *, parent: str = "", **fields: Any) -> dict[str, Any]:
        """An object of the provider's."""
        field = noun[0].lower() + noun[1:]
        request = {field: fields, f"{field}Id": id, **({"parent": parent} if parent else {})}
        found: dict[str, Any] = self.call(f"RegionService/Create{noun}", request, self.admin)[field]
        return found

    def vdc(self, region: str = "MIA", **more: Any) -> dict[str, Any]:
        """The answer to an order of a data center."""
        fields = {"region": f"regions/{region}", "plan": "VDC_PLAN_POOL", "quota": QUOTA, **more}
        return self.call("OrderService/OrderVdc", {"parent": self.org, "vdc": fields}, self.adam)

    def network(self, name: str, owner: str, **more: Any) -> dict[str, Any]:
        """A Create request for a network."""
        fields = {"displayName": name, "owner": owner, "networkType": "NETWORK_TYPE_ISOLATED",
                  "gatewayCidrs": ["10.50.0.1/24"], **more}  # fmt: skip
        return {"parent": self.org, "network": fields}

    def names(self, service: str, noun: str, **more: Any) -> list[str]:
        """The names in a list."""
        found = self.call(f"{service}/List{noun}", {"parent": self.org, **more})
        return [each["name"] for each in found[noun[0].lower() + noun[1:]]]

    def audit(self, number: int = 1) -> list[dict[str, Any]]:
        """The newest audit records of the organization."""
        request = {"parent": self.org, "orderBy": "number desc", "pageSize": number}
        found: list[dict[str, Any]] = self.call("AuditService/ListAuditRecords", request)["records"]
        return found
