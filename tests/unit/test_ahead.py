"""Packets of a burst that ask the firewall together are treated as packets that ask one by one."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest

from edge.firewall.config import FirewallConfig, FirewallRule
from edge.model import EdgeConfig
from edge.packets import build_frame, parse_packet
from edge.runtime import Edge
from tests.support import edge_config, nat, network, rule, uplink

NOT_ASKED = 0xFFFFFFFE


def frame(text: str) -> bytes:
    return build_frame(parse_packet(text))


def draw_rule(rng: random.Random, number: int, directions: bool) -> FirewallRule:
    port = rng.randrange(1000, 1060)
    return rule(
        f"r{number}",
        rng.choice(("ALLOW", "ALLOW", "DROP", "REJECT")),
        source=rng.choice(("", f"10.20.0.{rng.randrange(8)}", f"10.30.0.{rng.randrange(8)}", "10.20.0.0/30")),
        destination=rng.choice(("", f"198.51.100.{rng.randrange(8)}", "10.20.0.4", "203.0.113.10")),
        services=f"{rng.choice(('tcp', 'udp'))}/{port}-{port + 1 + rng.randrange(3)}",
        direction=rng.choice(("IN_OUT", "IN_OUT", "IN", "OUT")) if directions else "IN_OUT",
    )


def draw_config(rng: random.Random, directions: bool) -> EdgeConfig:
    match = rng.choice(("MATCH_INTERNAL_ADDRESS", "MATCH_EXTERNAL_ADDRESS", "BYPASS"))
    return edge_config(
        uplinks=[uplink("INTERNET", "203.0.113.1/24 203.0.113.10-203.0.113.11")],
        networks=[network("LAN", "10.20.0.1/24"), network("DMZ", "10.30.0.1/24")],
        firewall=[draw_rule(rng, number, directions) for number in range(120)],
        nat_rules=[
            nat("way-out", "SNAT", "203.0.113.10", "10.20.0.0/25", match=match),
            nat("web", "DNAT", "203.0.113.11", "10.20.0.4", match=rng.choice(("MATCH_INTERNAL_ADDRESS", match))),
        ],
    )


def draw_frame(rng: random.Random) -> tuple[str, bytes]:
    port, source = rng.choice((("LAN", "10.20.0"), ("LAN", "10.20.0"), ("DMZ", "10.30.0"), ("INTERNET", "198.51.100")))
    target = rng.choice((f"198.51.100.{rng.randrange(8)}", "10.20.0.4", "203.0.113.11"))
    kind = rng.choice(("udp", "tcp", "udp", "icmp"))
    if kind == "icmp":
        return port, frame(f"icmp {source}.{rng.randrange(8)} > {target} echo-request id={rng.randrange(9)}")
    flags = " S" if kind == "tcp" else ""
    ports = rng.randrange(5000, 5040), rng.randrange(998, 1064)
    return port, frame(f"{kind} {source}.{rng.randrange(8)}:{ports[0]} > {target}:{ports[1]}{flags}")


def test_first_packets_from_networks_are_asked_for() -> None:
    config = edge_config(
        uplinks=[uplink("INTERNET", "203.0.113.1/24 203.0.113.10-203.0.113.11")],
        networks=[network("LAN", "10.20.0.1/24", "2001:db8:20::1/64")],
        firewall=[
            rule("a", services="udp/1-2"),
            rule("b", services="udp/3-4", direction="OUT"),
            rule("c", direction="IN"),
        ],
    )
    edge = Edge(config)
    wave = [("LAN", frame(f"udp 10.20.0.{number}:5 > 198.51.100.1:{number % 6}")) for number in range(2, 8)]
    wave += [
        ("LAN", frame("udp [2001:db8:20::5]:5 > [2001:db8:9::1]:3")),
        ("LAN", frame("icmp 10.20.0.9 > 198.51.100.1 echo-request id=1")),
        ("INTERNET", frame("udp 198.51.100.1:9 > 203.0.113.10:1")),
    ]
    engine = edge._engine
    numbers = [(edge.port_number(port), octets) for port, octets in wave]
    # Port 2 is rule 0, 3 and 4 are rule 1, which 0, 1 and 5 are not: the default rule is the last.
    assert engine.asked_ahead(numbers) == [0, 1, 1, 3, 3, 0, 1, NOT_ASKED, NOT_ASKED]
    assert engine.asked_ahead(numbers[:3]) == [NOT_ASKED] * 3  # so few ask as they come
    edge.process_batch(wave, 1, outputs=False)
    assert engine.asked_ahead(numbers)[:3] == [NOT_ASKED] * 3  # they have sessions
    with pytest.raises(ValueError, match="at the most"):
        engine.asked_ahead(numbers * 4)


@pytest.mark.parametrize("directions", [False, True])
@pytest.mark.parametrize("seed", range(12))
def test_a_burst_is_treated_as_its_packets_are(seed: int, directions: bool) -> None:
    rng = random.Random(seed)
    config = draw_config(rng, directions)
    together, alone = Edge(config, seed=seed), Edge(config, seed=seed)
    for turn in range(4):
        frames = [draw_frame(rng) for _ in range(100)]
        now = (turn + 1) * 1_000_000_000
        done = together.process_batch(frames, now, outputs=True)
        assert done == [alone.process_batch([one], now, outputs=True)[0] for one in frames]
        assert together.rule_counters() == alone.rule_counters()
        rules = list(config.firewall.rules)
        rules[rng.randrange(100)] = draw_rule(rng, 1000 + turn, directions)
        config = replace(config, firewall=FirewallConfig(tuple(rules)))
        together.apply(config)
        alone.apply(config)
