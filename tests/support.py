"""Small configurations in a few words, for tests: names are ids, addresses are text."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from ipaddress import ip_address, ip_interface, ip_network
from pathlib import Path
from typing import Protocol

from edge.addresses import AddressRange, PortRange
from edge.firewall.config import (
    Action,
    ApplicationPortProfile,
    Direction,
    FirewallConfig,
    FirewallGroup,
    FirewallRule,
    IpProtocol,
    Section,
    Service,
)
from edge.model import EdgeConfig, Options
from edge.nat.config import FirewallMatch, NatConfig, NatRule, NatType
from edge.routing.config import (
    ConnectionType,
    Network,
    NetworkType,
    NextHop,
    RoutingConfig,
    StaticRoute,
    Subnet,
    Uplink,
    UplinkSubnet,
)
from edge.state import PacketLogged, RuntimeEvent

SAMPLE = (Path(__file__).parent / "data" / "edge.yaml").read_text(encoding="utf-8")
"""tests/data/edge.yaml: T1-ACME with one uplink and one network, a web server that is published and a way out."""

SECOND = 1_000_000_000
PROTOCOLS = {"icmp": 1, "tcp": 6, "udp": 17, "icmp6": 58}


class Eventful(Protocol):
    """An edge that tells what happens on it."""

    def take_events(self) -> tuple[list[RuntimeEvent], int]: ...


def logged(edge: Eventful) -> list[PacketLogged]:
    """What rules with logging have decided since somebody asked for events."""
    return [event for event in edge.take_events()[0] if isinstance(event, PacketLogged)]


def ranges(text: str) -> tuple[AddressRange, ...]:
    """``10.0.0.1 10.0.1.0/24`` as ranges."""
    return tuple(AddressRange.parse(part) for part in text.split())


def service(text: str) -> Service:
    """``tcp/80``, ``udp/1000-1009``, ``tcp`` or ``icmp`` (optionally ``icmp/8`` or ``icmp/3.1``: type and code)."""
    protocol, _, detail = text.partition("/")
    number = PROTOCOLS[protocol]
    if not detail:
        return Service(number)
    if protocol.startswith("icmp"):
        icmp_type, _, code = detail.partition(".")
        return Service(number, icmp_type=int(icmp_type), icmp_code=int(code) if code else None)
    return Service(number, (PortRange.parse(detail),))


def profile(text: str) -> ApplicationPortProfile:
    """A profile of services as :func:`service` reads them, named by its text."""
    return ApplicationPortProfile(text, text, "TENANT", tuple(service(part) for part in text.split()))


def uplink(name: str, *subnets: str) -> Uplink:
    """Each subnet as ``203.0.113.1/24 203.0.113.10-203.0.113.11``: the provider's router, then what is allocated; the
    first address of that is the primary one."""
    found = []
    for text in subnets:
        gateway, *allocated = text.split()
        items = ranges(" ".join(allocated))
        router = ip_interface(gateway)
        found.append(UplinkSubnet(router.ip, router.network, items, items[0].first if items else None))
    return Uplink(name, name, tuple(found))


def network(name: str, *subnets: str, kind: str = "DISTRIBUTED") -> Network:
    """Each subnet as its gateway with a prefix length; ``kind`` is a connection type or ISOLATED."""
    interfaces = [ip_interface(text) for text in subnets]
    isolated = kind == "ISOLATED"
    return Network(
        name,
        name,
        NetworkType.ISOLATED if isolated else NetworkType.NAT_ROUTED,
        ConnectionType.INTERNAL if isolated else ConnectionType(kind),
        tuple(Subnet(item.ip, item.network) for item in interfaces),
    )


def static_route(cidr: str, next_hop: str, *, scope: str = "", distance: int = 1, name: str = "") -> StaticRoute:
    """A route with one next hop."""
    name = name or cidr
    return StaticRoute(name, name, ip_network(cidr), (NextHop(ip_address(next_hop), distance, scope),))


def rule(
    name: str,
    action: str = "ALLOW",
    *,
    source: str = "",
    destination: str = "",
    services: str = "",
    direction: str = "IN_OUT",
    family: str = "IPV4_IPV6",
    section: Section = Section.USER,
    enabled: bool = True,
    logging: bool = False,
) -> FirewallRule:
    """A firewall rule; sources and destinations as :func:`ranges` reads them, '' for any."""
    groups = [
        (FirewallGroup(f"{name}-{side}", f"{name}-{side}", "IP_SET", ranges(text)),) if text else ()
        for side, text in (("src", source), ("dst", destination))
    ]
    return FirewallRule(
        name,
        name,
        section,
        Action(action),
        Direction(direction),
        IpProtocol(family),
        enabled,
        logging,
        source_groups=groups[0],
        destination_groups=groups[1],
        profiles=(profile(services),) if services else (),
    )


def default_rule(action: str = "DROP", *, logging: bool = False) -> FirewallRule:
    """The last rule."""
    return rule("default_rule", action, section=Section.DEFAULT, logging=logging)


def nat(
    name: str,
    kind: str,
    external: str = "",
    internal: str = "",
    *,
    external_port: str = "",
    app: str = "",
    destination: str = "",
    match: str = "MATCH_INTERNAL_ADDRESS",
    priority: int = 0,
    enabled: bool = True,
    logging: bool = False,
) -> NatRule:
    """A NAT rule; '' leaves a side open, ``app`` is a profile as :func:`profile` reads it."""
    return NatRule(
        name,
        name,
        NatType(kind),
        AddressRange.parse(external) if external else None,
        AddressRange.parse(internal) if internal else None,
        PortRange.parse(external_port) if external_port else None,
        profile(app) if app else None,
        AddressRange.parse(destination) if destination else None,
        FirewallMatch(match),
        priority,
        enabled,
        logging,
    )


def edge_config(
    *,
    uplinks: Sequence[Uplink],
    networks: Sequence[Network] = (),
    routes: Sequence[StaticRoute] = (),
    firewall: Sequence[FirewallRule] = (),
    nat_rules: Sequence[NatRule] = (),
    options: Options | None = None,
) -> EdgeConfig:
    """A whole edge; the default rule DROP is added where the firewall has none."""
    rules = tuple(firewall)
    if all(item.section is not Section.DEFAULT for item in rules):
        rules += (default_rule(),)
    return EdgeConfig(
        "edge",
        "edge",
        RoutingConfig(tuple(uplinks), tuple(networks), tuple(routes)),
        FirewallConfig(rules),
        NatConfig(tuple(nat_rules)),
        options or Options(),
    )


def with_options(config: EdgeConfig, **changes: object) -> EdgeConfig:
    """The same edge with other options."""
    return replace(config, options=replace(config.options, **changes))  # type: ignore[arg-type]


def acme(**changes: object) -> EdgeConfig:
    """A company with one uplink, a network, a web server that is published and a way out; IPv6 is routed.

    ``changes`` replace arguments of :func:`edge_config`.
    """
    arguments: dict[str, object] = {
        "uplinks": [
            uplink("INTERNET", "203.0.113.1/24 203.0.113.10-203.0.113.11", "2001:db8:ff::1/64 2001:db8:ff::10")
        ],
        "networks": [network("LAN", "10.20.0.1/24", "2001:db8:20::1/64")],
        "firewall": [
            rule(
                "in-web",
                family="IPV4",
                services="tcp/8080",
                destination="10.20.0.10 10.20.0.20-10.20.0.25",
                logging=True,
            ),
            rule("out", source="10.20.0.0/24 2001:db8:20::/64"),
        ],
        "nat_rules": [
            nat("pub-web", "DNAT", "203.0.113.11", "10.20.0.10", external_port="80", app="tcp/8080", priority=10),
            nat("exempt", "NO_SNAT", internal="10.20.0.0/24", destination="192.168.50.0/24"),
            nat("internet", "SNAT", "203.0.113.10", "10.20.0.0/24", priority=100),
        ],
    }
    return edge_config(**(arguments | changes))  # type: ignore[arg-type]
