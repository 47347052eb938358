"""Sessions of the readable edge: TCP states, timers, limits, and what a change of configuration does to them."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest

from edge.model import EdgeConfig, SessionsOnChange, Timers
from edge.packets import format_frame
from edge.state import RuleCounters
from tests.reference_bench import Bench, left, stages, why
from tests.support import SECOND, acme, default_rule, nat, network, rule, uplink, with_options

CLIENT, SERVER = "10.20.0.10:5", "8.8.8.8:80"
PUBLIC = re.compile(r"203\.0\.113\.1\d:\d+")


class Line:
    """One TCP session through the edge: ``>SA`` is a segment of the client, ``<SA`` one of the server."""

    def __init__(self, config: EdgeConfig) -> None:
        self.bench = Bench(config)
        self.public = ""

    def play(self, text: str) -> None:
        for word in text.split():
            flags = word[1:]
            if word[0] == ">":
                outcome = self.bench.send(f"tcp {CLIENT} > {SERVER} {flags}")
                found = PUBLIC.search(format_frame(outcome.outputs[0].frame)) if outcome.outputs else None
                self.public = found[0] if found else self.public
            else:
                self.bench.send(f"tcp {SERVER} > {self.public} {flags}")

    @property
    def state(self) -> str:
        sessions = self.bench.edge.sessions()
        return sessions[0].state if sessions else "none"

    @property
    def seconds_left(self) -> int:
        return (self.bench.edge.sessions()[0].expires_ns - self.bench.now_ns) // SECOND


# Every timer a different number, so that none is taken for another.
TIMERS = Timers(
    tcp_first=101, tcp_opening=102, tcp_established=103, tcp_fin_wait=104, tcp_closing=105, tcp_closed=106,
    udp_first=107, udp_single=108, udp_multiple=109, icmp_first=110, icmp_error_reply=111, other=112,
)  # fmt: skip


@pytest.mark.parametrize(
    ("segments", "state", "seconds"),
    [
        (">S", "SYN_SENT:CLOSED", TIMERS.tcp_first),
        (">S >S", "SYN_SENT:CLOSED", TIMERS.tcp_opening),
        (">S <SA", "ESTABLISHED:SYN_SENT", TIMERS.tcp_opening),
        (">S <SA >A", "ESTABLISHED:ESTABLISHED", TIMERS.tcp_established),
        (">S <SA >PA <A", "ESTABLISHED:ESTABLISHED", TIMERS.tcp_established),
        (">S <S", "SYN_SENT:SYN_SENT", TIMERS.tcp_opening),
        (">S <S >SA <SA", "ESTABLISHED:ESTABLISHED", TIMERS.tcp_established),
        (">S <A", "ESTABLISHED:ESTABLISHED", TIMERS.tcp_established),
        (">S <SA >A >FA", "CLOSING:ESTABLISHED", TIMERS.tcp_closing),
        (">S <SA >A <FA", "ESTABLISHED:CLOSING", TIMERS.tcp_closing),
        (">S <SA >A >FA <A", "FIN_WAIT_2:ESTABLISHED", TIMERS.tcp_closing),
        (">S <SA >FA <FA", "FIN_WAIT_2:CLOSING", TIMERS.tcp_fin_wait),
        (">S <SA >A >FA <FA", "FIN_WAIT_2:CLOSING", TIMERS.tcp_fin_wait),
        (">S <SA >A >FA <FA >A", "FIN_WAIT_2:FIN_WAIT_2", TIMERS.tcp_closed),
        (">S <RA", "TIME_WAIT:TIME_WAIT", TIMERS.tcp_closed),
        (">S <SA >A >R", "TIME_WAIT:TIME_WAIT", TIMERS.tcp_closed),
        (">S >FA", "CLOSING:CLOSED", TIMERS.tcp_opening),
        (">S >R", "TIME_WAIT:TIME_WAIT", TIMERS.tcp_closed),
    ],
)
def test_tcp_states_and_their_timers(segments: str, state: str, seconds: int) -> None:
    line = Line(with_options(acme(), timers=TIMERS))
    line.play(segments)
    assert (line.state, line.seconds_left) == (state, seconds)


@pytest.mark.parametrize(
    ("flags", "state"),
    [("A", "ESTABLISHED:CLOSED"), ("SA", "ESTABLISHED:CLOSED"), ("FA", "CLOSING:CLOSED"), ("R", "TIME_WAIT:TIME_WAIT")],
)
def test_a_session_picked_up_in_the_middle(flags: str, state: str) -> None:
    line = Line(with_options(acme(), timers=TIMERS, tcp_strict=False))
    line.play(f">{flags}")
    assert (line.state, line.seconds_left) == (state, TIMERS.tcp_first)


def test_udp_and_icmp_timers() -> None:
    bench = Bench(with_options(acme(), timers=TIMERS))

    def after(text: str) -> tuple[str, int]:
        if text:
            bench.send(text)
        else:
            bench.reply()
        info = max(bench.edge.sessions(), key=lambda item: item.protocol)
        return info.state, (info.expires_ns - bench.now_ns) // SECOND

    ping = "icmp 10.20.0.10 > 8.8.8.8 echo-request"
    assert [after(ping), after(""), after(ping)] == [("", 110), ("", 111), ("", 111)]
    query = "udp 10.20.0.10:5 > 8.8.8.8:53"
    assert [after(query), after(query)] == [("SINGLE:NO_TRAFFIC", 107), ("SINGLE:NO_TRAFFIC", 108)]
    assert [after(""), after(query)] == [("MULTIPLE:SINGLE", 108), ("MULTIPLE:MULTIPLE", 109)]
    assert after("esp 10.20.0.10 > 8.8.8.8") == ("", 112)


def test_a_session_ends_at_its_last_nanosecond() -> None:
    bench = Bench(acme())
    bench.send("udp 10.20.0.10:5 > 8.8.8.8:53")
    answer = left(bench.reply())
    assert answer == [("LAN", "udp 8.8.8.8:53 > 10.20.0.10:5")]
    bench.now_ns = bench.edge.sessions()[0].expires_ns - 1
    assert stages(bench.send("udp 10.20.0.10:5 > 8.8.8.8:53"))[0] == "SESSION HIT out INTERNET"
    bench.now_ns = bench.edge.sessions()[0].expires_ns
    assert stages(bench.send("udp 10.20.0.10:5 > 8.8.8.8:53"))[0] == "SESSION MISS"


def test_time_does_not_run_backwards() -> None:
    bench = Bench(acme())
    bench.now_ns = 40 * SECOND
    bench.send("udp 10.20.0.10:5 > 8.8.8.8:53")
    bench.now_ns = 0
    assert stages(bench.send("udp 10.20.0.10:5 > 8.8.8.8:53"))[0] == "SESSION HIT out INTERNET"
    assert bench.edge.sessions()[0].expires_ns == 70 * SECOND


def test_a_syn_on_a_closed_session_begins_another() -> None:
    line = Line(acme())
    line.play(">S <SA >A >FA <FA >A")
    line.play(">S")
    assert line.bench.last is not None
    assert stages(line.bench.last)[:2] == ["SESSION ENDED", "ROUTE DEFAULT INTERNET"]
    assert line.state == "SYN_SENT:CLOSED"
    assert line.bench.edge.stats().sessions_created == 2


def test_a_packet_that_dies_here_moves_no_state() -> None:
    bench = Bench(acme())
    bench.send("tcp 10.20.0.10:5 > 8.8.8.8:80 S")
    before = bench.edge.sessions()
    bench.now_ns = SECOND
    outcome = bench.send("tcp 10.20.0.10:5 > 8.8.8.8:80 R ttl=1")
    assert (why(outcome), stages(outcome)) == (
        ("DROP", "TTL_EXPIRED"),
        ["SESSION HIT out INTERNET", "ROUTE TTL_EXPIRED"],
    )
    assert bench.edge.sessions() == before
    assert bench.edge.rule_counters()["out"] == RuleCounters(1, 1, 40)


def test_limits() -> None:
    few = Bench(with_options(acme(), max_sessions=2))
    results = [why(few.send(f"udp 10.20.0.10:{port} > 8.8.8.8:53")) for port in (1, 2, 3)]
    assert results == [("ALLOW", "FW_RULE"), ("ALLOW", "FW_RULE"), ("DROP", "SESSION_LIMIT")]
    assert few.edge.rule_counters()["out"].hits == 2
    half = Bench(with_options(acme(), max_half_open=1))
    assert why(half.send("tcp 10.20.0.10:1 > 8.8.8.8:80 S")) == ("ALLOW", "FW_RULE")
    assert why(half.send("tcp 10.20.0.10:2 > 8.8.8.8:80 S")) == ("DROP", "SESSION_LIMIT")
    assert why(half.send("udp 10.20.0.10:2 > 8.8.8.8:80")) == ("ALLOW", "FW_RULE")


# --- another configuration ------------------------------------------------------------------------------------------


def mode(config: EdgeConfig, value: SessionsOnChange) -> EdgeConfig:
    return with_options(config, sessions_on_change=value)


CLOSED = acme(firewall=[default_rule("DROP")])
PUBLISHED = "tcp 198.51.100.9:5 > 203.0.113.11:80 S"


@pytest.mark.parametrize(
    ("value", "verdict", "steps"),
    [
        (SessionsOnChange.KEEP, "ALLOW", ["SESSION HIT INTERNET"]),
        (SessionsOnChange.RECHECK, "DROP", ["SESSION ENDED", "ROUTE DEFAULT INTERNET"]),
        (SessionsOnChange.FLUSH, "DROP", ["SESSION MISS", "ROUTE DEFAULT INTERNET"]),
    ],
)
def test_rules_that_would_not_allow_it_any_more(value: SessionsOnChange, verdict: str, steps: list[str]) -> None:
    bench = Bench(acme())
    bench.send("udp 10.20.0.10:5 > 8.8.8.8:53")
    bench.edge.apply(mode(CLOSED, value))
    outcome = bench.send("udp 10.20.0.10:5 > 8.8.8.8:53")
    assert (outcome.verdict.name, stages(outcome)[:2]) == (verdict, steps)


def test_recheck_passes_the_session_on_to_the_rule_that_allows_it_now() -> None:
    bench = Bench(acme())
    bench.send(PUBLISHED)
    renamed = acme(firewall=[rule("web", services="tcp/8080"), rule("in-web", "DROP")])
    bench.edge.apply(mode(renamed, SessionsOnChange.RECHECK))
    assert stages(bench.reply("SA")) == ["SESSION HIT web INTERNET"]
    session = bench.edge.sessions()[0]
    assert (session.firewall_rule_id, session.revision) == ("web", 2)
    counters = bench.edge.rule_counters()
    assert (counters["in-web"], counters["web"]) == (RuleCounters(1, 1, 40), RuleCounters(0, 1, 40))


@pytest.mark.parametrize(
    "rules",
    [
        [],
        [nat("pub-web", "DNAT", "203.0.113.11", "10.20.0.11", external_port="80", app="tcp/8080")],
        [nat("pub-web", "DNAT", "203.0.113.11", "10.20.0.10", external_port="80", app="tcp/8081")],
        [nat("pub-web", "REFLEXIVE", "203.0.113.11", "10.20.0.10")],
    ],
    ids=["no rule", "other machine", "other port", "stateless"],
)
def test_recheck_ends_what_nat_would_send_elsewhere(rules: list[object]) -> None:
    everything = [default_rule("ALLOW")]
    bench = Bench(acme(firewall=everything))
    bench.send(PUBLISHED)
    bench.edge.apply(mode(acme(firewall=everything, nat_rules=rules), SessionsOnChange.RECHECK))
    assert stages(bench.reply("SA"))[0] == "SESSION ENDED"


@pytest.mark.parametrize(
    ("external", "lives"), [("203.0.113.10", True), ("203.0.113.10-203.0.113.11", True), ("203.0.113.11", False)]
)
def test_recheck_wants_the_snat_address_to_be_still_in_the_pool(external: str, *, lives: bool) -> None:
    bench = Bench(acme())
    bench.send("udp 10.20.0.10:5 > 8.8.8.8:53")
    bench.edge.apply(mode(acme(nat_rules=[nat("s", "SNAT", external, "10.20.0.0/24")]), SessionsOnChange.RECHECK))
    first = stages(bench.send("udp 10.20.0.10:5 > 8.8.8.8:53"))[0]
    assert first == ("SESSION HIT out INTERNET" if lives else "SESSION ENDED")


@pytest.mark.parametrize(
    "changes",
    [
        {"networks": [network("OTHER", "10.20.0.1/24")]},
        {"networks": [network("LAN", "10.20.0.1/24", kind="NON_DISTRIBUTED")]},
        {"networks": [network("LAN", "10.20.1.1/24"), network("NEW", "10.20.0.1/24")]},
        {"networks": [network("LAN", "10.20.0.10/24")]},
        {"uplinks": [uplink("INTERNET", "203.0.113.1/24 203.0.113.10")]},
        {"uplinks": [uplink("WAN", "203.0.113.1/24 203.0.113.10-203.0.113.11")]},
    ],
    ids=["port gone", "port of another kind", "route elsewhere", "the edge itself", "address gone", "uplink gone"],
)
def test_even_kept_sessions_end_with_their_port_route_or_address(changes: dict[str, object]) -> None:
    bench = Bench(acme())
    bench.send(PUBLISHED)
    bench.edge.apply(acme(**changes))
    assert bench.edge.sessions() == []


def test_a_kept_session_lives_on_with_the_revision_and_the_ports_that_it_had() -> None:
    bench = Bench(acme())
    bench.send(PUBLISHED)
    moved = acme(networks=[network("FIRST", "10.1.0.1/24"), network("LAN", "10.20.0.1/24")])
    bench.edge.apply(replace(moved, firewall=CLOSED.firewall))
    assert stages(bench.reply("SA")) == ["SESSION HIT INTERNET"]
    session = bench.edge.sessions()[0]
    assert (session.revision, session.in_port, session.out_port) == (1, "INTERNET", "LAN")
    assert bench.send("tcp 198.51.100.9:5 > 203.0.113.11:80 A").outputs[0].frame[4:6] == b"\x00\x02"
