"""A tenant with data centers, an edge and a network, for tests of machines."""

from __future__ import annotations

from typing import Any

import pytest

from tests.control.samples import plant
from tests.control.world import RefusedError, World

REGION, OTHER_REGION = "regions/USMIA01P", "regions/DOSDQ01P"
ORG = "orgs/US1"
POOL, DEMAND = f"{ORG}/vdcs/USMIA01P-US1P1", f"{ORG}/vdcs/USMIA01P-US1D2"
DEBIAN = f"{REGION}/templates/debian-10"
WINDOWS = f"{REGION}/templates/windows-server-2019"
SMALL = "sizingPolicies/gp.small-01"
LAN = f"{ORG}/networks/LAN"


class Office:
    """A tenant with two data centers, a group of them with an edge, and a network with eleven addresses in its pool."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.admin = world.administrator()
        _, self.token = world.tenant(self.admin, "US1")
        for region in (REGION, OTHER_REGION):
            request = {"region": {"displayName": region[8:]}, "regionId": region[8:]}
            world.call("RegionService/CreateRegion", request, self.admin)
        quota = {"vcpu": 20, "memory_gb": 50, "storage_gb": 200}
        plant(world, "vdc", ORG, POOL.rpartition("/")[2], region=REGION, plan="POOL", subscription="1", quota=quota)
        plant(world, "vdc", ORG, DEMAND.rpartition("/")[2], region=REGION, plan="ON_DEMAND", subscription="2")
        plant(world, "vdc_group", ORG, "both", display_name="both", region=REGION, vdcs=[POOL, DEMAND])
        plant(
            world, "provider_network", REGION, "INET",
            display_name="INET", gateway_cidr="203.0.113.1/24", pools=["203.0.113.10-203.0.113.39"],
        )  # fmt: skip
        plant(
            world, "edge_gateway", ORG, "T1", display_name="T1", region=REGION, owner=f"{ORG}/vdcGroups/both",
            provider_network=f"{REGION}/providerNetworks/INET", wan_access="INTERNET",
            public_addresses=["203.0.113.10"],
        )  # fmt: skip
        plant(
            world, "network", ORG, "LAN", display_name="LAN", owner=POOL, network_type="NAT_ROUTED",
            edge=f"{ORG}/edges/T1",
            gateway_cidrs=["10.20.0.1/24"], static_pools=["10.20.0.20-10.20.0.25", "10.20.0.10-10.20.0.14"],
            dns_primary="9.9.9.9", dns_suffix="acme.example",
        )  # fmt: skip

    def create(self, name: str, vdc: str = POOL, **fields: Any) -> dict[str, Any]:
        """The answer."""
        more = {key: fields.pop(key) for key in ("powerOn", "validateOnly", "requestId") if key in fields}
        size = {} if "custom" in fields else {"sizingPolicy": SMALL}
        machine = {"displayName": name, "template": DEBIAN, **size, **fields}
        return self.world.call("MachineService/CreateMachine", {"parent": vdc, "machine": machine, **more}, self.token)

    def update(self, name: str, mask: str, **fields: Any) -> dict[str, Any]:
        request = {"machine": {"name": name, **fields}, "updateMask": mask}
        return self.world.call("MachineService/UpdateMachine", request, self.token)

    def do(self, method: str, name: str, **more: Any) -> dict[str, Any]:
        return self.world.call(f"MachineService/{method}", {"name": name, **more}, self.token)

    def get(self, name: str) -> dict[str, Any]:
        found: dict[str, Any] = self.do("GetMachine", name)["machine"]
        return found

    def task(self, answer: dict[str, Any]) -> dict[str, Any]:
        """The task of an answer as it is now."""
        request = {"name": answer["task"]["name"]}
        found: dict[str, Any] = self.world.call("TaskService/GetTask", request, self.token)["task"]
        return found

    def record(self, name: str) -> Any:
        with self.world.store.read() as state:
            return state.get(name)

    def addresses(self, name: str) -> list[str]:
        return [each["address"] for each in self.get(name)["interfaces"]]


def refusal(call: Any, *arguments: Any, **more: Any) -> RefusedError:
    """Why a call is refused."""
    with pytest.raises(RefusedError) as caught:
        call(*arguments, **more)
    return caught.value


def nic(network: str = LAN, **more: Any) -> dict[str, Any]:
    """A card of a machine as a request has it."""
    return {"network": network, **more}
