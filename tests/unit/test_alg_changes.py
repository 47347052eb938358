"""Application layer gateways: what becomes of the sessions that they admitted when the configuration changes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from edge.firewall.config import FirewallRule
from edge.model import EdgeConfig, Profile, SessionsOnChange
from edge.nat.config import NatRule
from edge.trace import Tracer
from tests.alg_bench import CLIENT, SERVER, Control, Make, hairpin_control, hairpin_edge, why
from tests.support import nat, rule, with_options

PRIMARY, SERVERS = "203.0.113.10", "203.0.113.11"
CLAIMED = nat("claim", "DNAT", PRIMARY, CLIENT, external_port="51210")
"""To this rule a call to the client is like any other."""

ADMITTED = rule("calls", source=SERVER)
SERVERS_OUT = nat("servers-out", "SNAT", SERVERS, SERVER)


def with_rules(
    config: EdgeConfig, firewall: tuple[FirewallRule, ...] = (), nat_rules: tuple[NatRule, ...] = ()
) -> EdgeConfig:
    return replace(
        config,
        firewall=replace(config.firewall, rules=(*firewall, *config.firewall.rules)),
        nat=replace(config.nat, rules=(*nat_rules, *config.nat.rules)),
    )


def another_firewall_rule(config: EdgeConfig) -> EdgeConfig:
    return with_rules(config, firewall=(rule("more", source="10.20.0.77"),))


def another_nat_rule(config: EdgeConfig) -> EdgeConfig:
    return with_rules(config, nat_rules=(nat("more", "DNAT", SERVERS, SERVER, external_port="2121"),))


def another_route(config: EdgeConfig) -> EdgeConfig:
    return replace(config, routing=replace(config.routing, networks=config.routing.networks[:1]))


def called(make: Make, config: EdgeConfig, outside: str) -> Control:
    """The server has called the client that waited for it."""
    control = hairpin_control(make, config, outside)
    assert why(control.tracer.send(call(outside, "S"))) == "ALLOW ALG"
    control.tracer.reply("SA")
    control.tracer.reply("A")
    return control


def call(outside: str, flags: str) -> str:
    return f"tcp {SERVER}:20 > {outside}:51210 {flags}"


@pytest.mark.parametrize("change", [another_firewall_rule, another_nat_rule, another_route])
@pytest.mark.parametrize("profile", Profile)
@pytest.mark.parametrize("outside", [PRIMARY, SERVERS], ids=["the primary address", "the server's"])
def test_a_call_to_a_client_behind_the_same_edge_lives_on(
    make: Make, profile: Profile, outside: str, change: Callable[[EdgeConfig], EdgeConfig]
) -> None:
    config = hairpin_edge(outside, profile)
    control = called(make, config, outside)
    before = len(control.edge.sessions())
    control.edge.apply(change(config))
    assert len(control.edge.sessions()) == before
    assert why(control.tracer.send(call(outside, "A"))) == "ALLOW SESSION"


def test_under_recheck_it_ends_with_its_next_packet(make: Make) -> None:
    config = hairpin_edge(PRIMARY)
    control = called(make, config, PRIMARY)
    control.edge.apply(with_options(another_nat_rule(config), sessions_on_change=SessionsOnChange.RECHECK))
    assert why(control.tracer.send(call(PRIMARY, "A"))) == "LOCAL LOCAL_SERVICE"


def test_once_the_rules_have_admitted_it_it_stands_on_them_alone(make: Make) -> None:
    config = hairpin_edge(PRIMARY)
    edge = called(make, config, PRIMARY).edge
    claimed = with_rules(config, (ADMITTED,), (CLAIMED, SERVERS_OUT))
    edge.apply(with_options(claimed, sessions_on_change=SessionsOnChange.RECHECK))
    assert why(Tracer(edge).send(call(PRIMARY, "A"))[:1]) == "ALLOW SESSION"
    edge.apply(with_rules(config, (ADMITTED,)))
    assert why(Tracer(edge).send(call(PRIMARY, "A"))) == "LOCAL LOCAL_SERVICE"
