"""Random changes of an edge: whatever is accepted is what edges take, whatever is refused leaves no trace."""

from __future__ import annotations

import random
from typing import Any

from control import gather
from control.checking import checked_plan
from tests.control.edges import KINDS, Tenant
from tests.control.world import RefusedError, World

REASONS = {"INVALID_ARGUMENT", "OBJECT_UNKNOWN", "OBJECT_EXISTS", "OBJECT_IN_USE"}


class Walk:
    """Requests that make sense often enough."""

    def __init__(self, tenant: Tenant, seed: int) -> None:
        self.tenant = tenant
        self.random = random.Random(seed)
        self.known: dict[str, list[str]] = {kind: [] for kind in KINDS}

    def name(self, *kinds: str) -> str:
        """Of an object that is there, of one that was, or of none."""
        found = [name for kind in kinds for name in self.known[kind]]
        if not found or self.random.random() < 0.05:
            return f"{self.tenant.edge}/{KINDS[kinds[0]][2]}/none"
        return self.random.choice(found)

    def fields(self, kind: str) -> dict[str, Any]:
        pick, some = self.random.choice, self.random.random() < 0.5
        group = [self.name("ip_set", "security_group")] if some else []
        profile = self.name("application_port_profile") if some else "systemProfiles/HTTPS"
        external, internal = pick([*self.tenant.addresses, "192.0.2.1"]), pick(["10.20.0.0/24", "10.20.0.9", ""])
        port = {"protocol": pick(["TCP", "UDP"]), "destination_ports": pick([["80"], ["1", "9"]])}
        found: dict[str, dict[str, Any]] = {
            "ip_set": {"ip_addresses": pick([[], ["10.20.0.10"], ["10.20.0.0/28", "2001:db8::1"]])},
            "security_group": {"members": pick([[], [self.tenant.lan]])},
            "application_port_profile": {"application_ports": [port]},
            "firewall_rule": {
                "action_value": pick(["ALLOW", "DROP"]),
                "source_firewall_groups": group,
                "application_port_profiles": [profile],
            },
            "nat_rule": {
                "type": pick(["DNAT", "SNAT", "NO_SNAT"]),
                "external_addresses": external,
                "internal_addresses": internal,
                "application_port_profile": profile if some else "",
            },
            "static_route": {
                "network_cidr": pick(["172.16.0.0/16", "0.0.0.0/0"]),
                "next_hops": [{"ip_address": pick(["10.20.0.254", "10.99.0.1"])}],
            },
        }  # fmt: skip
        return found[kind]

    def request(self) -> tuple[str, dict[str, Any]]:
        kind = self.random.choice(["ip_set", "security_group", "application_port_profile", "firewall_rule", "nat_rule",
                                   "static_route"])  # fmt: skip
        service, noun, _ = KINDS[kind]
        verb = self.random.choice(["Create", "Create", "Update", "Delete", "Move"])
        if verb == "Move" or (kind == "firewall_rule" and self.random.random() < 0.2):
            other = {self.random.choice(["before", "after"]): self.name("firewall_rule")}
            return "FirewallService/MoveFirewallRule", {"name": self.name("firewall_rule"), "position": other}
        if verb == "Create":
            return self.tenant.making(kind, self.random.choice("abcdefgh"), **self.fields(kind))
        if verb == "Delete":
            return f"{service}/Delete{noun}", {"name": self.name(kind)}
        given = {"name": self.name(kind), "display_name": self.random.choice("abcdefgh"), **self.fields(kind)}
        return f"{service}/Update{noun}", {kind: given}

    def look(self) -> list[str]:
        """What is there; the document of it has to be one that the edge takes."""
        with self.tenant.world.store.read() as state:
            found = state.inside(self.tenant.edge, KINDS)
            checked_plan(gather.inputs(state, self.tenant.edge), {})
        self.known = {kind: [each.path for each in found if each.kind == kind] for kind in KINDS}
        return [f"{each.path} {each.etag} {each.position}" for each in found]


def test_random_changes(world: World, admin: str) -> None:
    walk = Walk(Tenant(world, admin, "US1"), 7)
    accepted = refused = 0
    before = walk.look()
    for _ in range(250):
        parts = [walk.request() for _ in range(walk.random.choice([1, 1, 2, 3]))]
        try:
            if len(parts) == 1:
                walk.tenant.call(*parts[0])
            else:
                walk.tenant.apply(*parts)
        except RefusedError as error:
            reason = error.reason
        else:
            reason = ""
        after = walk.look()
        assert reason in REASONS or not reason
        assert not reason or after == before
        accepted, refused, before = accepted + (not reason), refused + bool(reason), after
    assert accepted > 50
    assert refused > 50
