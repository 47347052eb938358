"""Random edges between the two sides of the lab, and random calls through them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from random import Random

from tests.netns.lab import Lab, Space
from tests.netns.programs import Call

CLIENTS = ("10.20.0.10", "10.20.0.11", "10.20.0.12")
SERVERS = ("198.51.100.5", "198.51.100.6", "198.51.100.7")
PUBLIC = ("203.0.113.10", "203.0.113.11", "203.0.113.12")
PROVIDER, GATEWAY = "203.0.113.1", "10.20.0.1"
CLIENT_6, SERVER_6 = "2001:db8:20::10", "2001:db8:5::5"
INSIDE, OUTSIDE = (*CLIENTS, CLIENT_6), (*SERVERS, PROVIDER, SERVER_6)

PROGRAMS = ("curl", "curl", "curl", "dig", "dig", "dig +tcp", "ssh", "ssh", "iperf3", "iperf3 -u")
WEB, WEB_INSIDE, NAMES, LOGIN = 80, 8080, 53, 22
FIRST_MEASURED = 5200

HEAD = """\
edgeGateway:
  name: T1-SCENE
  edgeGatewayUplinks:
    - uplinkName: INTERNET
      subnets: {values: [{gateway: 203.0.113.1, prefixLength: 24, primaryIp: 203.0.113.10,
                          ipRanges: {values: [{startAddress: 203.0.113.10, endAddress: 203.0.113.12}]}}UPLINK6]}
orgVdcNetworks:
  - {name: LAN, networkType: NAT_ROUTED, connection: {connectionTypeValue: INTERNAL},
     subnets: {values: [{gateway: 10.20.0.1, prefixLength: 24}, {gateway: "2001:db8:20::1", prefixLength: 64}]}}
firewallGroups:
  - {name: lan, typeValue: STATIC_MEMBERS, members: [LAN]}
  - {name: pc-10, typeValue: IP_SET, ipAddresses: [10.20.0.10, "2001:db8:20::10"]}
  - {name: pc-11, typeValue: IP_SET, ipAddresses: [10.20.0.11]}
  - {name: host-5, typeValue: IP_SET, ipAddresses: [198.51.100.5, "2001:db8:5::5"]}
  - {name: host-7, typeValue: IP_SET, ipAddresses: [198.51.100.7]}
applicationPortProfiles:
  - {name: web, applicationPorts: [{protocol: TCP, destinationPorts: ["80", "8080"]}]}
  - {name: web-inside, applicationPorts: [{protocol: TCP, destinationPorts: ["8080"]}]}
  - {name: names, applicationPorts: [{protocol: UDP, destinationPorts: ["53"]}]}
  - {name: names-tcp, applicationPorts: [{protocol: TCP, destinationPorts: ["53"]}]}
  - {name: login, applicationPorts: [{protocol: TCP, destinationPorts: ["22"]}]}
  - {name: measure, applicationPorts: [{protocol: TCP, destinationPorts: ["5200-5999"]}]}
  - {name: measure-udp, applicationPorts: [{protocol: UDP, destinationPorts: ["5200-5999"]}]}
"""
UPLINK_6 = """,
                         {gateway: "2001:db8:ff::1", prefixLength: 64, primaryIp: "2001:db8:ff::10"}"""
PUBLISHED_WEB = """{name: pub-web, type: DNAT, externalAddresses: 203.0.113.11, dnatExternalPort: "80",
     internalAddresses: 10.20.0.10, applicationPortProfile: web-inside, priority: 10}"""
PUBLISHED_HOST = (
    "{name: pub-all, type: DNAT, externalAddresses: 203.0.113.12, internalAddresses: 10.20.0.11, priority: 20}"
)
OUT = "{name: internet, type: SNAT, externalAddresses: 203.0.113.10, internalAddresses: 10.20.0.0/24, priority: 100}"
OUT_12 = "{name: out-12, type: SNAT, externalAddresses: 203.0.113.12, internalAddresses: 10.20.0.12, priority: 50}"
AS_IT_IS = """{name: as-it-is, type: NO_SNAT, internalAddresses: 10.20.0.0/24,
     snatDestinationAddresses: 198.51.100.6, priority: 30}"""
PROFILES = ("web", "names", "names-tcp", "login", "measure", "measure-udp")
ACTIONS = ("ALLOW",) * 5 + ("DROP", "REJECT")
GROUPS = ("lan", "pc-10", "pc-11", "host-5", "host-7", "", "")


@dataclass(frozen=True)
class Scene:
    """``text``: the document; ``translates``: whoever goes out gets an address of the edge; ``six``: the uplink
    has IPv6."""

    text: str
    translates: bool
    six: bool


def scene(rng: Random) -> Scene:
    """One edge."""
    rules = [rule(rng, number) for number in range(rng.randrange(8, 16))]
    default = rng.choice(("ALLOW", "ALLOW", "DROP", "REJECT"))
    translates = rng.random() < 0.75
    nat = [PUBLISHED_WEB]
    if rng.random() < 0.75:
        nat.append(PUBLISHED_HOST)
    if translates:
        nat.append(OUT)
        nat += [OUT_12] if rng.random() < 0.5 else []
        nat += [AS_IT_IS] if rng.random() < 0.3 else []
    six = rng.random() < 0.6
    head = HEAD.replace("UPLINK6", UPLINK_6 if six else "")
    text = head + "firewallRules:\n  userDefinedRules:\n" + "".join(f"    - {item}\n" for item in rules)
    text += f"  defaultRules: [{{name: default_rule, actionValue: {default}}}]\n"
    text += "natRules:\n" + "".join(f"  - {item}\n" for item in nat)
    return Scene(f"{text}options: {{icmpErrorRate: 100000}}\n", translates, six)


def rule(rng: Random, number: int) -> str:
    """One firewall rule."""
    source, destination, profile = rng.choice(GROUPS), rng.choice(GROUPS), rng.choice((*PROFILES, *PROFILES, ""))
    words = [f"name: rule-{number}", f"actionValue: {rng.choice(ACTIONS)}"]
    words += [f"sourceFirewallGroups: [{source}]"] if source else []
    words += [f"destinationFirewallGroups: [{destination}]"] if destination else []
    words += [f"applicationPortProfiles: [{profile}]"] if profile else []
    return "{" + ", ".join(words) + "}"


def calls(lab: Lab, rng: Random, edge: Scene, source_ports: Sequence[int], first_measured: int) -> Iterator[Call]:
    """One for each source port; each measurement has a port of its own from ``first_measured`` on."""
    for number, source_port in enumerate(source_ports):
        program = rng.choice(PROGRAMS)
        space, source, destination = ends(lab, rng, edge)
        if program.startswith("iperf3"):
            port = first_measured + number
        elif program == "curl":
            port = rng.choice((WEB, WEB, WEB_INSIDE))
        else:
            port = LOGIN if program == "ssh" else NAMES
        yield Call(program, space, source, source_port, destination, port)


def ends(lab: Lab, rng: Random, edge: Scene) -> tuple[Space, str, str]:
    """Who calls whom."""
    outward = rng.random() < 0.6
    if rng.random() < 0.15:
        return (lab.client, CLIENT_6, SERVER_6) if outward or not edge.six else (lab.server, SERVER_6, CLIENT_6)
    if not outward:
        return lab.server, rng.choice((*SERVERS, PROVIDER)), rng.choice((*PUBLIC, *PUBLIC[1:], CLIENTS[0]))
    # Whoever meets an answer from inside with his own address takes it for a forgery: no hairpins without SNAT.
    public = PUBLIC if edge.translates else ()
    return lab.client, rng.choice(CLIENTS), rng.choice((*SERVERS, *SERVERS, PROVIDER, GATEWAY, *public))


def places(lab: Lab, destination: str) -> tuple[Space, tuple[str, ...]]:
    """Where a call to an address may arrive."""
    if destination in OUTSIDE:
        return lab.server, (destination,)
    if destination in INSIDE:
        return lab.client, (destination,)
    return lab.client, CLIENTS if destination in PUBLIC else ()
