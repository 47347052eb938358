"""ICMP errors about a session that no router would forward, on the native edge and on the reference."""

from __future__ import annotations

import pytest

from edge.reference import ReferenceEdge
from edge.runtime import Edge
from tests.reference_bench import Bench, stages, why
from tests.support import acme, default_rule, nat

ABOUT = 'icmp {} > 203.0.113.10 host-unreachable of="udp 203.0.113.10:{} > 8.8.8.8:53" in=INTERNET'


@pytest.fixture(params=[Edge, ReferenceEdge], ids=["native", "reference"])
def bench(request: pytest.FixtureRequest) -> Bench:
    rules = [nat("out", "SNAT", "203.0.113.10", "10.20.0.0/24")]
    return Bench(acme(firewall=[default_rule("ALLOW")], nat_rules=rules), make=request.param)


@pytest.mark.parametrize(
    "source", ["127.0.0.1", "0.0.0.0", "0.1.2.3", "169.254.1.1", "224.0.0.5", "240.0.0.1", "255.255.255.255"]
)
def test_a_martian_speaks_of_no_session(bench: Bench, source: str) -> None:
    bench.send("udp 10.20.0.10:7 > 8.8.8.8:53")
    port = bench.edge.sessions()[0].translated.sport
    outcome = bench.send(ABOUT.format(source, port))
    assert (why(outcome), stages(outcome)) == (("DROP", "MARTIAN"), ["SESSION MISS", "ROUTE MARTIAN"])
    assert outcome.outputs == ()
    assert why(bench.send(ABOUT.format("192.0.2.1", port))) == ("ALLOW", "RELATED")


def test_nothing_is_told_to_a_broadcast_address(bench: Bench) -> None:
    """A source that is the broadcast address of the uplink gets out, but what comes back for it does not get in."""
    machine = "udp 203.0.113.255:7 > 8.8.8.8:53"
    assert why(bench.send(f"{machine} in=LAN")) == ("ALLOW", "FW_DEFAULT")
    outcome = bench.send(f'icmp 192.0.2.1 > 203.0.113.255 host-unreachable of="{machine}" in=INTERNET')
    assert (why(outcome), stages(outcome)) == (("DROP", "MULTICAST"), ["SESSION MISS", "ROUTE MULTICAST"])
