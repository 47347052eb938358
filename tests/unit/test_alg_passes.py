"""Commands that an ALG rewrites on their way back into the edge, and in pieces.  On both edges."""

from __future__ import annotations

import struct
from dataclasses import replace
from ipaddress import ip_address

from edge.addresses import PortRange
from edge.firewall.system_profiles import system_profile
from edge.model import STRICT_RFC_TIMERS, EdgeConfig, Profile
from edge.verdicts import Fragmentation, Outcome, Reason, Verdict
from tests.model import frames
from tests.reference_bench import AnyEdge, MakeEdge, left, stages, why
from tests.support import acme, nat, network, rule, uplink, with_options

CLIENT, SERVER, OUTSIDE, PUBLIC = "10.20.0.50", "10.20.0.10", "203.0.113.10", "203.0.113.11"
SYN, SYN_ACK, ACK = 2, 18, 16
COMMAND = b"PORT 10,20,0,50,8,1\r\n"


def config() -> EdgeConfig:
    """Machines call each other by public addresses, and what leaves for those comes back in at once."""
    profile = system_profile("FTP")
    assert profile is not None
    found = acme(
        uplinks=[uplink("INTERNET", "203.0.113.1/24 203.0.113.10-203.0.113.19")],
        networks=[network("LAN", "10.20.0.1/24")],
        firewall=[replace(rule("ftp"), profiles=(profile,))],
        nat_rules=[nat("in", "DNAT", PUBLIC, SERVER), nat("out", "SNAT", OUTSIDE, "10.20.0.0/24")],
    )
    return with_options(
        found,
        profile=Profile.STRICT_RFC,
        timers=STRICT_RFC_TIMERS,
        snat_port_range=PortRange(2000, 2999),
        provider_filter=(),
    )


def say(
    edge: AnyEdge, ends: tuple[str, int, str, int], flags: int, numbers: tuple[int, int], data: bytes = b"",
    came: Fragmentation | None = None,
) -> Outcome:  # fmt: skip
    src, sport, dst, dport = ends
    segment = frames.tcp(ip_address(src).packed, ip_address(dst).packed, sport, dport, flags, *numbers, data, b"")
    return edge.process("LAN", frames.frame(segment), 0, fragmentation=came)


def connected(make: MakeEdge) -> tuple[AnyEdge, tuple[str, int, str, int], tuple[str, int, str, int]]:
    """A control connection, and its ends as client and server see them."""
    edge = make(config())
    client = (CLIENT, 5000, PUBLIC, 21)
    opened = say(edge, client, SYN, (1000, 0))
    parts = frames.parts_of(opened.outputs[0].frame)
    assert parts is not None
    server = (SERVER, 21, OUTSIDE, struct.unpack_from("!H", parts.payload)[0])
    say(edge, server, SYN_ACK, (7000, 1001))
    say(edge, client, ACK, (1001, 7001))
    return edge, client, server


def test_a_command_that_enters_again_is_no_answer_of_the_edge(make: MakeEdge) -> None:
    edge, client, server = connected(make)
    out = say(edge, client, ACK, (1001, 7001), COMMAND)
    assert (out.verdict, out.reason) == (Verdict.ALLOW, Reason.SESSION)
    assert [text for text in stages(out) if "EXPECT" in text or "HAIRPIN" in text] == [
        "SESSION EXPECT",
        "ROUTE HAIRPIN INTERNET",
        "SESSION EXPECT",
    ]
    ((port, text),) = left(out, "ttl", "seq", "data")
    assert port == "LAN"
    assert "ttl=63" in text
    assert "PORT 203,0,113,10,8,1" in text
    reply = say(edge, server, ACK, (7001, 1001 + len(COMMAND) + 2), b"227 Passive (10,20,0,10,9,1)\r\n")
    ((_, text),) = left(reply, "ack", "data")
    assert f"ack={1001 + len(COMMAND)}" in text
    assert "(203,0,113,11,9,1)" in text
    assert why(say(edge, (CLIENT, 5001, PUBLIC, 2305), SYN, (1, 0))) == ("ALLOW", "ALG")


def test_a_command_that_came_in_pieces_is_cut_as_long_as_it_has_become(make: MakeEdge) -> None:
    edge, client, _ = connected(make)
    out = say(edge, client, ACK, (1001, 7001), COMMAND, Fragmentation(44, 9, 0))
    (output,) = out.outputs
    assert len(output.frame) == 14 + 40 + len(COMMAND) + 2
    assert [len(piece) - 14 for piece in output.fragments] == [44, 39]
