"""An ICMP identifier is any 16-bit number: none makes a request look like the answer to one."""

from __future__ import annotations

from ipaddress import ip_address

import pytest

from edge.model import EdgeConfig
from edge.reference import ReferenceEdge
from edge.runtime import Edge
from edge.verdicts import Outcome
from tests.model.frames import frame, icmp
from tests.reference_bench import why
from tests.support import acme, default_rule, rule

QUERIES = [(4, 8, 0), (4, 13, 14), (4, 15, 16), (4, 17, 18), (6, 128, 129)]
"""IP version, type of the request, type of its reply."""

INSIDE = {4: "10.20.0.10", 6: "2001:db8:20::a"}
OUTSIDE = {4: "192.0.2.1", 6: "2001:db8:9::1"}


def message(src: str, dst: str, icmp_type: int, identifier: int) -> bytes:
    return frame(icmp(ip_address(src).packed, ip_address(dst).packed, icmp_type, 0, identifier, 1, b"data"))


@pytest.fixture
def config() -> EdgeConfig:
    """What goes out may go out, nothing may come in, nothing is translated."""
    return acme(nat_rules=(), firewall=[rule("out", direction="OUT"), default_rule("DROP")])


@pytest.mark.parametrize("make", [Edge, ReferenceEdge])
@pytest.mark.parametrize(("version", "request_type", "reply_type"), QUERIES)
def test_no_identifier_turns_a_request_into_a_reply(
    config: EdgeConfig, make: type[Edge | ReferenceEdge], version: int, request_type: int, reply_type: int
) -> None:
    inside, outside = INSIDE[version], OUTSIDE[version]
    for identifier in (0, 1, request_type << 8, reply_type << 8, request_type << 8 | 1, 0x0100, 0x0200, 0xFFFF):
        edge = make(config)

        def send(
            port: str, src: str, dst: str, icmp_type: int, edge: Edge | ReferenceEdge = edge, number: int = identifier
        ) -> Outcome:
            return edge.process(port, message(src, dst, icmp_type, number), 0)

        assert why(send("LAN", inside, outside, request_type)) == ("ALLOW", "FW_RULE")
        # A request the other way is one of its own, and nobody asked the machine outside for a reply.
        assert why(send("INTERNET", outside, inside, request_type)) == ("DROP", "FW_DEFAULT")
        assert why(send("LAN", inside, outside, reply_type)) == ("DROP", "ICMP_UNRELATED")
        assert why(send("INTERNET", outside, inside, reply_type)) == ("ALLOW", "SESSION")


@pytest.mark.parametrize("make", [Edge, ReferenceEdge])
def test_two_machines_may_ask_each_other_with_one_identifier(make: type[Edge | ReferenceEdge]) -> None:
    edge = make(acme(nat_rules=(), firewall=[default_rule("ALLOW")]))
    for identifier in (7, 8 << 8):
        assert why(edge.process("LAN", message(INSIDE[4], OUTSIDE[4], 8, identifier), 0))[0] == "ALLOW"
        assert why(edge.process("INTERNET", message(OUTSIDE[4], INSIDE[4], 8, identifier), 0)) == (
            "ALLOW",
            "FW_DEFAULT",
        )
        for port, src, dst in (("INTERNET", OUTSIDE[4], INSIDE[4]), ("LAN", INSIDE[4], OUTSIDE[4])):
            assert why(edge.process(port, message(src, dst, 0, identifier), 0)) == ("ALLOW", "SESSION")
