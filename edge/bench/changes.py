"""How soon a changed rule counts: from the call that changes it to the first packet that is judged by it."""

from __future__ import annotations

import random
import time
from dataclasses import replace
from ipaddress import IPv4Address
from typing import TYPE_CHECKING

from edge.addresses import AddressRange, PortRange
from edge.bench.documents import snat_document
from edge.bench.established import short
from edge.bench.frames import udp_frame
from edge.bench.measurement import SECONDS, SEED, BenchmarkError, Measurement
from edge.bench.profiles import draw_rules
from edge.bench.rules import PORTS, BoxRule, Packet, first_match
from edge.verdicts import Reason, Verdict

if TYPE_CHECKING:
    from collections.abc import Callable

    from edge.firewall.config import Action, FirewallRule
    from edge.model import EdgeConfig

KIND = "acl1"
UDP = 17
NOW_NS = 1_000_000_000
DRAWS = 1000


def change_one_rule(count: int, trials: int) -> Measurement:
    """A rule in the middle of ``count`` changes from DROP to REJECT and back, with no packet in between.

    What is timed is :meth:`edge.runtime.Edge.apply` with a whole configuration of which one rule is another object, and
    the first packet after it.  That rule is never the one that the edge began with: no trial has less to do than that.
    Raises BenchmarkError when the packet is not judged by the rule as it is now.
    """

    def changed(config: EdgeConfig, place: int, action: Action) -> EdgeConfig:
        rules = config.firewall.rules
        return with_rules(config, (*rules[:place], replace(rules[place], action=action), *rules[place + 1 :]))

    return _measured(f"change_one_rule_{short(count)}", count, trials, changed)


def change_all_rules(count: int, trials: int) -> Measurement:
    """Likewise every rule changes: what it takes to compile them all."""
    from edge.firewall.config import Action

    def changed(config: EdgeConfig, place: int, action: Action) -> EdgeConfig:
        rules = config.firewall.rules
        return with_rules(
            config,
            tuple(
                replace(rule, action=action if number == place else Action.DROP, logging=action is Action.REJECT)
                for number, rule in enumerate(rules)
            ),
        )

    return _measured(f"change_all_rules_{short(count)}", count, trials, changed)


def with_rules(config: EdgeConfig, rules: tuple[FirewallRule, ...]) -> EdgeConfig:
    """The configuration with other rules in its firewall."""
    return replace(config, firewall=replace(config.firewall, rules=rules))


def _measured(
    name: str, count: int, trials: int, change: Callable[[EdgeConfig, int, Action], EdgeConfig]
) -> Measurement:
    """``change`` makes of the first configuration and a rule's place the one in which that rule has another action."""
    from edge.firewall.config import Action
    from edge.runtime import Edge

    rules = draw_rules(KIND, count, SEED)
    place, packet = _changed(rules)
    first = firewall_of(rules)
    dropping, rejecting = change(first, place, Action.DROP), change(first, place, Action.REJECT)
    edge = Edge(first, seed=SEED)
    frame = udp_frame(packet.source, packet.source_port, packet.destination, packet.destination_port)
    _judged(edge.process("LAN", frame, NOW_NS).verdict, Verdict.DROP)
    seconds = []
    for trial in range(-1, trials):
        config, verdict = (rejecting, Verdict.REJECT) if trial % 2 else (dropping, Verdict.DROP)
        begun = time.perf_counter()
        edge.apply(config)
        outcome = edge.process("LAN", frame, NOW_NS)
        took = time.perf_counter() - begun
        _judged(outcome.verdict, verdict)
        if outcome.reason is not Reason.FW_RULE:
            raise BenchmarkError(f"the packet of the changed rule ended as {outcome.reason.name}")
        if trial >= 0:
            seconds.append(took)
    return Measurement(name, tuple(seconds), unit=SECONDS, details={"rules": count, "changed": place})


def _judged(verdict: Verdict, expected: Verdict) -> None:
    if verdict is not expected:
        raise BenchmarkError(f"the packet of the changed rule was judged {verdict.name}, not {expected.name}")


def _changed(rules: list[BoxRule]) -> tuple[int, Packet]:
    """The rule nearest behind the middle that a UDP packet of unicast addresses reaches, and that packet."""
    generator = random.Random(SEED)  # noqa: S311 - repeatable, not secret
    for place in range(len(rules) // 2, min(len(rules), len(rules) // 2 + DRAWS)):
        rule = rules[place]
        packet = Packet(
            rule.source | generator.getrandbits(32 - rule.source_length),
            rule.destination | generator.getrandbits(32 - rule.destination_length),
            UDP,
            generator.randint(*rule.source_ports),
            generator.randint(*rule.destination_ports),
        )
        if all(_ordinary(address) for address in packet[:2]) and first_match(rules, packet) == place:
            return place, packet
    raise BenchmarkError("no rule in the middle can be reached")


def _ordinary(address: int) -> bool:
    return IPv4Address(address).is_global and address < 224 << 24


def firewall_of(rules: list[BoxRule]) -> EdgeConfig:
    """An edge whose firewall drops what these rules match."""
    from edge.document import from_data

    config = from_data(snat_document([])).config
    written = tuple(_rule(number, rule) for number, rule in enumerate(rules))
    return replace(config, firewall=replace(config.firewall, rules=(*written, *config.firewall.rules)))


def _rule(number: int, rule: BoxRule) -> FirewallRule:
    from edge.firewall.config import Action, FirewallRule, IpProtocol, Section, Service

    def ranges(address: int, length: int) -> tuple[AddressRange, ...]:
        if length == 0:
            return ()
        return (AddressRange(IPv4Address(address), IPv4Address(address | (1 << (32 - length)) - 1)),)

    def ports(first_and_last: tuple[int, int]) -> tuple[PortRange, ...]:
        return () if first_and_last == PORTS else (PortRange(*first_and_last),)

    services: tuple[Service, ...] = ()
    if rule.protocol is not None:
        services = (Service(rule.protocol, ports(rule.destination_ports), ports(rule.source_ports)),)
    return FirewallRule(
        id=f"rule-{number}",
        name=f"rule-{number}",
        section=Section.USER,
        action=Action.DROP,
        ip_protocol=IpProtocol.IPV4,
        source_addresses=ranges(rule.source, rule.source_length),
        destination_addresses=ranges(rule.destination, rule.destination_length),
        services=services,
    )
