"""The application layer gateway of TFTP: the server answers from another port."""

from __future__ import annotations

from dataclasses import replace

from edge.model import Timers
from edge.trace import Tracer
from tests.alg_bench import (
    CLIENT,
    CLIENT6,
    DMZ_SERVER,
    HIDDEN,
    IN_DMZ,
    OUTSIDE,
    OUTSIDE6,
    PUBLISHED,
    SERVER,
    WAY_OUT,
    WAY_OUT6,
    Make,
    expected,
    ftp_edge,
    outputs,
    ports,
    steps,
    why,
)

ASKS = f"udp {CLIENT}:4000 > {OUTSIDE}:69"


def test_tftp(make: Make) -> None:
    tracer = Tracer(make(ftp_edge()))
    first = tracer.send(ASKS)
    assert (steps(first)[-1], expected(first)) == ("SESSION EXPECT", f"udp {OUTSIDE}:0 > {CLIENT}:4000")
    assert why(first) == "ALLOW FW_RULE"
    assert why(tracer.send(f"udp {OUTSIDE}:3000 > {CLIENT}:4001")) == "DROP FW_DEFAULT"
    came = tracer.send(f"udp {OUTSIDE}:3000 > {CLIENT}:4000")
    assert (why(came), outputs(came)) == ("ALLOW ALG", [f"LAN udp {OUTSIDE}:3000 > {CLIENT}:4000"])
    assert why(tracer.reply()) == "ALLOW SESSION"
    assert why(tracer.send(f"udp {OUTSIDE}:3001 > {CLIENT}:4000")) == "DROP FW_DEFAULT"  # one use
    again = tracer.send(ASKS)
    assert (steps(again), expected(again)) == (["SESSION HIT tftp", "SESSION EXPECT"], expected(first))
    assert why(tracer.send(f"udp {OUTSIDE}:3001 > {CLIENT}:4000")) == "ALLOW ALG"
    answer = tracer.send(f"udp {OUTSIDE}:69 > {CLIENT}:4000")
    assert (why(answer), expected(answer)) == ("ALLOW SESSION", None)


def test_tftp_behind_snat(make: Make) -> None:
    edge = make(ftp_edge(WAY_OUT))
    tracer = Tracer(edge)
    tracer.send(ASKS)
    seen = edge.sessions()[0].translated
    came = tracer.send(f"udp {OUTSIDE}:3000 > 203.0.113.10:{seen.sport}")
    assert (why(came), outputs(came)) == ("ALLOW ALG", [f"LAN udp {OUTSIDE}:3000 > {CLIENT}:4000"])
    assert steps(came)[2] == "NAT DNAT internet"


def test_tftp_behind_dnat(make: Make) -> None:
    tracer = Tracer(make(ftp_edge(PUBLISHED, WAY_OUT)))
    tracer.send(f"udp {OUTSIDE}:4000 > 203.0.113.11:69")
    came = tracer.send(f"udp {SERVER}:3000 > {OUTSIDE}:4000")
    assert (why(came), outputs(came)) == ("ALLOW ALG", [f"INTERNET udp 203.0.113.11:3000 > {OUTSIDE}:4000"])
    assert steps(came)[-2:] == ["NAT SNAT pub-ftp", "FIREWALL ALG tftp"]
    back = tracer.reply()
    assert outputs(back) == [f"LAN udp {OUTSIDE}:4000 > {SERVER}:3000"]


def test_tftp_behind_both(make: Make) -> None:
    edge = make(ftp_edge(IN_DMZ, HIDDEN))
    tracer = Tracer(edge)
    tracer.send(f"udp {OUTSIDE}:4000 > 203.0.113.11:69")
    seen = edge.sessions()[0].translated
    came = tracer.send(f"udp {DMZ_SERVER}:3000 > 203.0.113.10:{seen.sport}")
    assert (why(came), outputs(came)) == ("ALLOW ALG", [f"INTERNET udp 203.0.113.11:3000 > {OUTSIDE}:4000"])


def test_tftp_over_ipv6(make: Make) -> None:
    tracer = Tracer(make(ftp_edge(WAY_OUT6)))
    tracer.send(f"udp [{CLIENT6}]:4000 > [{OUTSIDE6}]:69")
    (awaited,) = (expected([result]) for result in tracer.send(f"udp [{CLIENT6}]:4000 > [{OUTSIDE6}]:69"))
    assert awaited is not None
    came = tracer.send(awaited.replace("]:0 >", "]:3000 >"))
    assert (why(came), outputs(came)) == ("ALLOW ALG", [f"LAN udp [{OUTSIDE6}]:3000 > [{CLIENT6}]:4000"])


def test_tftp_waits_as_long_as_a_first_packet(make: Make) -> None:
    options = ports("1024-65535", timers=replace(Timers(), udp_first=5, udp_single=50))
    tracer = Tracer(make(ftp_edge(options=options)))
    tracer.send(ASKS)
    tracer.wait(3)
    tracer.send(f"udp {OUTSIDE}:69 > {CLIENT}:4000")  # the session lives longer than what it expects
    tracer.wait(2)
    assert why(tracer.send(f"udp {OUTSIDE}:3000 > {CLIENT}:4000")) == "DROP FW_DEFAULT"


def test_what_an_alg_opened_is_no_control_session(make: Make) -> None:
    tracer = Tracer(make(ftp_edge()))
    tracer.send(ASKS)
    came = tracer.send(f"udp {OUTSIDE}:3000 > {CLIENT}:4000")
    more = tracer.send(f"udp {OUTSIDE}:3000 > {CLIENT}:4000")
    assert [expected(came), expected(more)] == [None, None]
