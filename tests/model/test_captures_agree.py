"""Real captures, packet by packet: the native engine and the reference answer every one alike."""

from __future__ import annotations

from pathlib import Path

import pytest

from edge.captures import open_capture
from edge.errors import LinkTypeUnsupportedError
from edge.model import EdgeConfig, Options
from edge.reference import ReferenceEdge
from edge.runtime import Edge
from tests.support import edge_config, nat, network, rule, uplink

CAPTURES = 290
"""How many the public data has at least; fewer means that the test looks in the wrong place."""


def wide_edge() -> EdgeConfig:
    """Networks where the captures' machines live, so that packets go every way there is: out by SNAT, from network to
    network, to the edge itself, into an isolated network, and away from it."""
    return edge_config(
        uplinks=[
            uplink(
                "INTERNET",
                "203.0.113.1/24 203.0.113.10-203.0.113.19",
                "2001:db8:ff::1/64 2001:db8:ff::10-2001:db8:ff::1f",
            )
        ],
        networks=[
            network("TEN", "10.0.0.1/8"),
            network("HOME", "192.168.0.1/16", kind="NON_DISTRIBUTED"),
            network("SIXTEEN", "16.0.0.1/8", "2001:db8:16::1/48"),
            network("SERVERS", "48.0.0.1/8"),
            network("CLOSED", "172.16.0.1/12", kind="ISOLATED"),
        ],
        firewall=[
            rule("no-telnet", "REJECT", services="tcp/23 udp/161", logging=True),
            rule("no-six", "REJECT", family="IPV6", services="icmp6", logging=True),
            rule("out", direction="OUT", logging=True),
            rule("in", destination="10.0.0.0/8 16.0.0.0/8 2001:db8:16::/48", direction="IN"),
            rule("between", source="192.168.0.0/16 10.0.0.0/8"),
        ],
        nat_rules=[
            nat("pool", "SNAT", "203.0.113.10-203.0.113.12", "10.0.0.0/8", priority=10),
            nat("home", "SNAT", "203.0.113.13", "192.168.0.0/16", priority=20),
            nat("six", "SNAT", "2001:db8:ff::10", "2001:db8:16::/48", priority=30),
        ],
        options=Options(tcp_strict=False, max_half_open=50),
    )


def compare(config: EdgeConfig, path: Path) -> int:
    """Replay one capture through both; how many packets it has."""
    native, reference = Edge(config), ReferenceEdge(config)
    packets = 0
    with open_capture(path) as capture:
        for record in capture:
            packets += 1
            port = native.ingress_port(record.frame)
            assert port == reference.ingress_port(record.frame), packets
            mapped = native.map_reply(port, record.frame, record.ts_ns)
            assert mapped == reference.map_reply(port, record.frame, record.ts_ns), packets
            assert native.process(*mapped, record.ts_ns) == reference.process(*mapped, record.ts_ns), packets
    assert native.stats() == reference.stats()
    assert native.rule_counters() == reference.rule_counters()
    assert sorted(map(repr, native.sessions())) == sorted(map(repr, reference.sessions()))
    return packets


@pytest.mark.needs("data")
def test_every_capture_is_judged_alike(data: Path) -> None:
    captures = [path for path in sorted((data / "captures").rglob("*")) if path.suffix in (".pcap", ".pcapng")]
    assert len(captures) >= CAPTURES
    unsupported = 0
    packets = 0
    for path in captures:
        try:
            packets += compare(wide_edge(), path)
        except LinkTypeUnsupportedError:
            unsupported += 1
        except AssertionError as error:
            raise AssertionError(f"{path}: {error}") from error
    assert packets > 10_000
    assert unsupported < len(captures) // 4
