"""Which nouns the commands have for the kinds of objects; loads nothing, so that help is quick."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType


@dataclass(frozen=True, slots=True)
class Action:
    """A method that does something, as a command: an option for each field of its request.

    ``target``: the field that the command's argument is for; ``body``: the field whose own fields are options, those
    of the noun's kind; ``names``: other fields that name objects -> of which kinds.  ``secret``: the field of the
    answer that nobody can read again.
    """

    method: str
    text: str
    target: str = "name"
    body: str = ""
    names: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    example: str = "NAME"
    secret: str = ""


@dataclass(frozen=True, slots=True)
class Noun:
    """``kind`` is a kind's name in :mod:`control.kinds`; ``columns`` are JSON names of fields, which lists show.

    ``verbs``: name of a command that only this noun has, or has otherwise than others -> what it does, or the module
    whose ``COMMANDS`` has it.
    """

    kind: str
    text: str
    columns: tuple[str, ...]
    example: str
    """What a create command may look like."""
    verbs: Mapping[str, Action | str] = field(default_factory=dict)


_POWER = {
    "power-on": Action("MachineService/PowerOnMachine", "Start a machine, or go on with one that is suspended."),
    "power-off": Action("MachineService/PowerOffMachine", "End everything in a machine at once."),
    "reset": Action("MachineService/ResetMachine", "Off and on again."),
    "suspend": Action("MachineService/SuspendMachine", "Stop a machine where it is."),
    "snapshot": Action("MachineService/CreateSnapshot", "Keep the machine's files as they are, instead of a snapshot "
                       "that there was."),
    "revert": Action("MachineService/RevertSnapshot", "The machine's files as they were kept; it is off afterwards."),
    "remove-snapshot": Action("MachineService/RemoveSnapshot", "Keep the snapshot no longer."),
    "password": Action("MachineService/TakePassword", "Show the generated first password, once.", secret="password"),  # noqa: S106
    "new-password": Action("MachineService/RegeneratePassword", "Generate another first password; the machine is off."),
}  # fmt: skip

NOUNS: Mapping[str, Noun] = MappingProxyType(
    {
        "regions": Noun("region", "Regions of the cloud.", ("displayName", "description"), "USMIA01P"),
        "providers": Noun(
            "provider_network",
            "The provider's networks, from whose pools edges have their public addresses.",
            ("displayName", "wanAccess", "gatewayCidr", "pools"),
            "INTERNET --region USMIA01P --wan-access INTERNET --gateway-cidr 203.0.113.1/24 --pool 203.0.113.10-"
            "203.0.113.99",
        ),
        "templates": Noun(
            "template", "Templates of machines, in each region.", ("displayName", "catalog", "osFamily", "baseDiskGb"),
            "debian-13 --region USMIA01P --catalog VM-Catalog --os-family LINUX --base-disk-gb 20",
        ),
        "sizes": Noun(
            "sizing_policy", "Sizes that machines can have.", ("displayName", "vcpu", "memoryGb"),
            "gp.medium-05 --vcpu 8 --memory-gb 24",
        ),
        "vdcs": Noun(
            "vdc", "Virtual data centers, which are ordered.", ("name", "region", "plan", "quota"), "",
            {
                "order": Action(
                    "OrderService/OrderVdc", "Order a data center; the first in a region comes with an edge, a public "
                    "address and a network.", target="", body="vdc",
                    example="--region USMIA01P --plan POOL --quota vcpu=20,memoryGb=50,storageGb=200",
                ),
            },
        ),
        "vdc-groups": Noun(
            "vdc_group", "Groups of data centers of one region.", ("displayName", "region", "vdcs"),
            "EAST --region USMIA01P --vdc USMIA01P-US1134362P1349404",
        ),
        "networks": Noun(
            "network", "Networks of data centers, isolated or behind an edge.",
            ("displayName", "networkType", "edge", "gatewayCidrs", "staticPools"),
            "LAN --owner USMIA01P-US1134362P1349404 --network-type NAT_ROUTED --edge T1-ACME "
            "--gateway-cidr 10.20.0.1/24 --static-pool 10.20.0.128-10.20.0.254",
        ),
        "edges": Noun(
            "edge_gateway", "Edge gateways, which are ordered.",
            ("displayName", "region", "publicAddresses", "defaultAction", "state.status"), "",
            {
                "order": Action(
                    "OrderService/AddEdgeGateway", "Order an edge with a public address and a network.", target="",
                    names={"vdc": ("vdc",)}, example="--vdc USMIA01P-US1134362P1349404 --wan-access INTERNET "
                    "--gateway-cidr 10.30.0.1/24 --lan-name OFFICE",
                ),
                "add-ip": Action(
                    "OrderService/AddPublicIpAddress", "Order public addresses for an edge.", target="edge",
                    example="T1-ACME --quantity 2",
                ),
                "release-ip": Action(
                    "OrderService/ReleasePublicIpAddress", "Give back a public address that nothing uses.",
                    target="edge", example="T1-ACME --address 203.0.113.12",
                ),
                "addresses": "edge.cli.control.edges",
                "show": "edge.cli.control.edges",
                "document": "edge.cli.control.edges",
                "trace": "edge.cli.control.edges",
                "enroll": "edge.cli.control.edges",
                "former-hosts": "edge.cli.control.edges",
                "forget-host": "edge.cli.control.edges",
                "host": "edge.cli.control.edges",
            },
        ),
        "firewall": Noun(
            "firewall_rule", "Firewall rules of an edge, in their order.",
            ("displayName", "actionValue", "sourceFirewallGroups", "destinationFirewallGroups",
             "applicationPortProfiles", "enabled", "logging"),
            "in-web --edge T1-ACME --action-value ALLOW --destination-firewall-group web-srv "
            "--application-port-profile HTTPS --first",
            {
                "move": Action("FirewallService/MoveFirewallRule", "Put a rule elsewhere among the others.",
                               example="in-web --before out"),
                "replace": "edge.cli.control.firewall",
            },
        ),
        "nat": Noun(
            "nat_rule", "NAT rules of an edge.",
            ("displayName", "type", "externalAddresses", "internalAddresses", "dnatExternalPort",
             "applicationPortProfile", "priority"),
            "internet --edge T1-ACME --type SNAT --external-addresses 203.0.113.10 --internal-addresses 10.20.0.0/24",
        ),
        "ip-sets": Noun(
            "ip_set", "IP sets of an edge.", ("displayName", "ipAddresses"),
            "web-srv --edge T1-ACME --ip-address 10.20.0.10 --ip-address 10.20.0.20-10.20.0.25",
        ),
        "groups": Noun(
            "security_group", "Security groups of an edge.", ("displayName", "members", "vmCriteria"),
            "lan --edge T1-ACME --member LAN", {"machines": "edge.cli.control.groups"},
        ),
        "profiles": Noun(
            "application_port_profile", "Application port profiles of an edge.", ("displayName", "applicationPorts"),
            "web-8080 --edge T1-ACME --application-port protocol=TCP,destinationPorts=8080",
            {"list": "edge.cli.control.profiles", "get": "edge.cli.control.profiles"},
        ),
        "routes": Noun(
            "static_route", "Static routes of an edge.", ("displayName", "networkCidr", "nextHops"),
            "branch --edge T1-ACME --network-cidr 10.99.0.0/16 --next-hop ipAddress=10.20.0.2",
        ),
        "ipsec": Noun(
            "ipsec_tunnel", "IPsec tunnels of an edge.", ("displayName", "enabled", "preSharedKeySet"),
            "branch --edge T1-ACME -f branch.yaml",
        ),
        "pools": Noun(
            "load_balancer_pool", "Load balancer pools of an edge.",
            ("displayName", "algorithm", "defaultPort", "members"),
            "web --edge T1-ACME --member ipAddress=10.20.0.10 --member ipAddress=10.20.0.11",
        ),
        "services": Noun(
            "virtual_service", "Virtual services of an edge's load balancer.",
            ("displayName", "virtualIpAddress", "servicePorts", "loadBalancerPool"),
            "shop --edge T1-ACME --virtual-ip-address 203.0.113.11 --service-port portStart=443 "
            "--load-balancer-pool web",
        ),
        "vms": Noun(
            "machine", "Machines.",
            ("displayName", "powerState", "template", "sizingPolicy", "interfaces.address", "tags"),
            "web1 --vdc USMIA01P-US1134362P1349404 --template debian-10 --sizing-policy gp.small-01 "
            "--nic network=LAN,ipMode=POOL,primary=true",
            {**_POWER, "exec": "edge.cli.control.machines", "console": "edge.cli.control.machines"},
        ),
    }
)  # fmt: skip
"""Name of a command -> what it is about."""
