"""A tenant with an edge and a network, and short words for what lies on it."""

from __future__ import annotations

from typing import Any

from google.protobuf import json_format

from control.api.contract import REQUESTS
from tests.control.samples import QUOTA, plant
from tests.control.world import World

REGION = "regions/USMIA01P"
PROVIDER_NETWORK = f"{REGION}/providerNetworks/INTERNET"
KINDS = {
    "firewall_rule": ("FirewallService", "FirewallRule", "firewallRules"),
    "nat_rule": ("NatService", "NatRule", "natRules"),
    "ip_set": ("GroupService", "IpSet", "ipSets"),
    "security_group": ("GroupService", "SecurityGroup", "securityGroups"),
    "application_port_profile": ("ProfileService", "ApplicationPortProfile", "applicationPortProfiles"),
    "static_route": ("RoutingService", "StaticRoute", "staticRoutes"),
    "ipsec_tunnel": ("IpsecService", "IpsecTunnel", "ipsecTunnels"),
    "load_balancer_pool": ("LoadBalancerService", "LoadBalancerPool", "loadBalancerPools"),
    "virtual_service": ("LoadBalancerService", "VirtualService", "virtualServices"),
}


class Tenant:
    """``orgs/ACCOUNT`` with the edge T1 (203.0.113.10 and .11, by number of the tenant), owned by a data center group,
    and the network LAN, 10.20.0.1/24."""

    def __init__(self, world: World, admin: str, account: str, number: int = 1) -> None:
        self.world = world
        self.org, self.token = world.tenant(admin, account)
        self.edge, self.lan = f"{self.org}/edges/T1", f"{self.org}/networks/LAN"
        self.vdc, self.group = f"{self.org}/vdcs/USMIA01P-{account}P1", f"{self.org}/vdcGroups/G"
        self.addresses = [f"203.0.113.{10 * number}", f"203.0.113.{10 * number + 1}"]
        with world.store.read() as state:
            shared = state.find(PROVIDER_NETWORK) is not None
        if not shared:
            plant(world, "region", "", "USMIA01P", display_name="Miami")
            more = {"gateway_cidr": "203.0.113.1/24", "pools": ["203.0.113.10-203.0.113.99"]}
            plant(world, "provider_network", REGION, "INTERNET", display_name="INTERNET", **more)
        vdc = {"region": REGION, "plan": "POOL", "subscription": "1", "quota": QUOTA}
        plant(world, "vdc", self.org, f"USMIA01P-{account}P1", **vdc)
        plant(world, "vdc_group", self.org, "G", display_name="G", region=REGION, vdcs=[self.vdc])
        edge = {"region": REGION, "owner": self.group, "provider_network": PROVIDER_NETWORK, "wan_access": "INTERNET"}
        plant(world, "edge_gateway", self.org, "T1", display_name="T1", public_addresses=self.addresses, **edge)
        network = {"owner": self.group, "network_type": "NAT_ROUTED", "edge": self.edge}
        plant(world, "network", self.org, "LAN", display_name="LAN", gateway_cidrs=["10.20.0.1/24"], **network)

    def call(self, name: str, request: dict[str, Any], token: str = "") -> dict[str, Any]:
        return self.world.call(name, request, token or self.token)

    def make(
        self, kind: str, display_name: str, *, token: str = "", request: dict[str, Any] | None = None, **fields: Any
    ) -> str:
        """An object on the edge; its name."""
        answer = self.call(*self.making(kind, display_name, request=request, **fields), token)
        return str(next(value["name"] for key, value in answer.items() if key != "task"))

    def making(
        self, kind: str, display_name: str, *, request: dict[str, Any] | None = None, **fields: Any
    ) -> tuple[str, dict[str, Any]]:
        """The method and the request that make it."""
        service, noun, _ = KINDS[kind]
        return f"{service}/Create{noun}", {
            "parent": self.edge, kind: {"display_name": display_name, **fields}, **(request or {}),
        }  # fmt: skip

    def apply(self, *parts: tuple[str, dict[str, Any]], token: str = "", **more: Any) -> dict[str, Any]:
        """A change set."""
        requests = []
        for name, request in parts:
            message = json_format.ParseDict(request, REQUESTS[name]())
            kind = f"type.googleapis.com/{message.DESCRIPTOR.full_name}"
            requests.append({"@type": kind, **json_format.MessageToDict(message)})
        return self.call("ChangeSetService/ApplyChangeSet", {"parent": self.org, "requests": requests, **more}, token)

    def rules(self) -> list[str]:
        """The display names of the firewall rules, in order."""
        answer = self.call("FirewallService/ListFirewallRules", {"parent": self.edge})
        return [rule["displayName"] for rule in answer["firewallRules"]]
