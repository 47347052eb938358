"""The edges that frames are sent through: few, unlike each other, around the same addresses."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

from edge.addresses import PortRange
from edge.model import EdgeConfig, Options, SessionsOnChange, SnatServicePort, Timers
from edge.nat.config import NatRule
from edge.routing.config import Network, Uplink
from tests.support import default_rule, edge_config, nat, network, rule, static_route, uplink


@cache
def edges() -> tuple[EdgeConfig, ...]:
    """Any of them may follow any other while it runs."""
    rules = (
        rule("web", services="tcp/80-82 udp/53 icmp icmp6", logging=True),
        rule("no-telnet", "REJECT", services="tcp/23 udp/161"),
        rule("no-ping-inside", "REJECT", destination="10.0.1.0/24 2001:db8:b::/64", services="icmp/8 icmp6/128"),
        rule("out", source="10.0.0.0/22 2001:db8:a::/64", direction="OUT", logging=True),
        rule("odd", "DROP", services="udp/1031", direction="IN"),
    )
    anything = (default_rule("ALLOW"),)
    base = edge_config(
        uplinks=some_uplinks(),
        networks=some_networks(),
        routes=[static_route("10.9.0.0/24", "10.0.0.2"), static_route("2001:db8:9::/64", "2001:db8:a::2")],
        firewall=rules,
        nat_rules=nat_rules("MATCH_INTERNAL_ADDRESS"),
    )
    opened = edge_config(
        uplinks=some_uplinks(), networks=some_networks(), firewall=anything, nat_rules=nat_rules("BYPASS")
    )
    second = replace(
        base,
        routing=replace(base.routing, uplinks=(*some_uplinks(), uplink("WAN2", "198.18.0.1/29 198.18.0.2-198.18.0.3"))),
    )
    return (
        base,
        replace(opened, options=Options(tcp_strict=False, provider_filter=())),
        replace(
            base,
            firewall=opened.firewall,
            options=Options(
                max_sessions=9,
                max_half_open=3,
                snat_port_range=PortRange(1030, 1033),
                tcp_strict=False,
                sessions_on_change=SessionsOnChange.RECHECK,
            ),
        ),
        replace(
            base,
            firewall=replace(base.firewall, rules=(*rules[:2], default_rule("REJECT", logging=True))),
            options=Options(mtu=1280, reject_code=10, sessions_on_change=SessionsOnChange.FLUSH),
        ),
        replace(
            second,
            options=Options(
                east_west_firewall=True,
                snat_service_port=SnatServicePort.MATCH,
                timers=Timers(udp_first=1, udp_single=1, udp_multiple=1, icmp_first=1, other=1, tcp_opening=1),
                sessions_on_change=SessionsOnChange.RECHECK,
            ),
        ),
        edge_config(
            uplinks=some_uplinks(),
            networks=some_networks()[:2],
            firewall=(*rules, *anything),
            nat_rules=nat_rules("MATCH_EXTERNAL_ADDRESS"),
        ),
    )


def some_uplinks() -> tuple[Uplink, ...]:
    return (
        uplink(
            "INTERNET",
            "203.0.113.1/24 203.0.113.10-203.0.113.14",
            "2001:db8:ff::1/64 2001:db8:ff::10-2001:db8:ff::12",
        ),
    )


def some_networks() -> tuple[Network, ...]:
    return (
        network("LAN", "10.0.0.1/24", "2001:db8:a::1/64"),
        network("DMZ", "10.0.1.1/24", "2001:db8:b::1/64", kind="NON_DISTRIBUTED"),
        network("LAB", "10.0.2.1/30"),
        network("CAGE", "10.0.3.1/24", "2001:db8:c::1/64", kind="ISOLATED"),
    )


def nat_rules(match: str) -> tuple[NatRule, ...]:
    """Every type."""
    return (
        nat("exempt", "NO_SNAT", internal="10.0.0.0/24", destination="192.0.2.0/28", priority=1),
        nat("not-this", "NO_DNAT", "203.0.113.12", external_port="81", app="tcp/81", priority=1),
        nat(
            "publish", "DNAT", "203.0.113.11", "10.0.1.2", external_port="80", app="tcp/8080", match=match, logging=True
        ),
        nat("all", "DNAT", "203.0.113.12", "10.0.0.3", match=match, priority=5),
        nat("mirror", "REFLEXIVE", "203.0.113.13", "10.0.1.3", match=match, logging=True),
        nat("pool", "SNAT", "203.0.113.10-203.0.113.11", "10.0.0.0/24", match=match, priority=7, logging=True),
        nat("rest", "SNAT", "203.0.113.14", "10.0.0.0/22", priority=9),
        nat("six", "SNAT", "2001:db8:ff::10", "2001:db8:a::/64", match=match, priority=9),
        nat("publish6", "DNAT", "2001:db8:ff::11", "2001:db8:b::2", external_port="80", app="tcp/80"),
        nat("mirror6", "REFLEXIVE", "2001:db8:ff::12", "2001:db8:a::3"),
    )
