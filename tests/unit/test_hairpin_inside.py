"""Under the profile strict-rfc what leaves for an address of the edge enters again at once.

Each test runs on the native edge and on the readable one.
"""

from __future__ import annotations

from dataclasses import replace

import pytest

from edge.model import STRICT_RFC_TIMERS, EdgeConfig, Profile
from edge.packets import build_frame, parse_packet
from edge.reference_wire import internet_checksum
from edge.verdicts import Reason, Verdict
from tests.reference_bench import Bench, MakeEdge, left, stages, why
from tests.support import acme, default_rule, logged, nat, network, rule, uplink, with_options

OPEN = {
    "uplinks": [uplink("INTERNET", "203.0.113.1/24 203.0.113.10-203.0.113.19")],
    "networks": [network("LAN", "10.20.0.1/24"), network("CAGE", "10.99.0.1/24", kind="ISOLATED")],
    "firewall": [default_rule("ALLOW")],
}
WEB = nat("pub-web", "DNAT", "203.0.113.11", "10.20.0.10", external_port="80", app="tcp/8080")
OUT = nat("internet", "SNAT", "203.0.113.10", "10.20.0.0/24", priority=100)


def strict(config: EdgeConfig, **options: object) -> EdgeConfig:
    return with_options(config, profile=Profile.STRICT_RFC, timers=STRICT_RFC_TIMERS, **options)


def edge(**changes: object) -> EdgeConfig:
    return strict(acme(**(OPEN | changes)))


def totals(bench: Bench) -> tuple[dict[str, int], dict[str, int]]:
    stats = bench.edge.stats()
    return (
        {verdict.name: count for verdict, count in stats.verdicts.items() if count},
        {reason.name: count for reason, count in stats.reasons.items() if count},
    )


def test_a_machine_calls_its_own_public_address(make: MakeEdge) -> None:
    bench = Bench(strict(acme()), make=make)
    out = bench.send("tcp 10.20.0.10:5 > 203.0.113.11:80 S")
    assert why(out) == ("ALLOW", "FW_RULE")
    assert stages(out) == [
        "SESSION MISS",
        "ROUTE CONNECTED INTERNET",
        "PROVIDER_FILTER PASS",
        "NAT SNAT internet",
        "FIREWALL ALLOW out",
        "ROUTE HAIRPIN INTERNET",
        "SESSION MISS",
        "PROVIDER_FILTER PASS",
        "NAT DNAT pub-web",
        "ROUTE CONNECTED LAN",
        "FIREWALL ALLOW in-web",
    ]
    (port, text), *_ = left(out, "ttl")
    public = text.split()[1]
    assert (port, text) == ("LAN", f"tcp {public} > 10.20.0.10:8080 S ttl=63")
    assert public.startswith("203.0.113.10:")
    assert internet_checksum(out.outputs[0].frame[14:34]) == 0
    assert not out.outputs[0].hairpin
    # The answer goes the same way back.
    back = bench.reply("SA")
    assert why(back) == ("ALLOW", "SESSION")
    assert stages(back) == ["SESSION HIT in-web INTERNET", "ROUTE HAIRPIN INTERNET", "SESSION HIT out LAN"]
    assert left(back, "ttl") == [("LAN", "tcp 203.0.113.11:80 > 10.20.0.10:5 SA ttl=63")]
    assert left(bench.reply("A")) == [("LAN", f"tcp {public} > 10.20.0.10:8080 A")]


def test_each_pass_has_its_session_rules_and_log_but_the_packet_counts_once(make: MakeEdge) -> None:
    config = strict(acme())
    rules = tuple(replace(item, logging=True) for item in config.firewall.rules)
    bench = Bench(replace(config, firewall=replace(config.firewall, rules=rules)), make=make)
    bench.send("tcp 10.20.0.10:5 > 203.0.113.11:80 S")
    sessions = bench.edge.sessions()
    assert sorted((item.in_port, item.out_port) for item in sessions) == [("INTERNET", "LAN"), ("LAN", "INTERNET")]
    hits = {name: counters.hits for name, counters in bench.edge.rule_counters().items() if counters.hits}
    assert hits == {"out": 1, "internet": 1, "in-web": 1, "pub-web": 1}
    assert [event.rule_id for event in logged(bench.edge)] == ["out", "in-web"]
    assert totals(bench) == ({"ALLOW": 1}, {"FW_RULE": 1})


def test_under_nsx_it_leaves(make: MakeEdge) -> None:
    bench = Bench(acme(), make=make)
    out = bench.send("tcp 10.20.0.10:5 > 203.0.113.11:80 S")
    assert [(output.port, output.hairpin) for output in out.outputs] == [("INTERNET", True)]
    assert "ROUTE HAIRPIN INTERNET" not in stages(out)


def test_the_last_pass_decides(make: MakeEdge) -> None:
    config = acme(**OPEN | {"firewall": [rule("in", "DROP", direction="IN"), default_rule("ALLOW")]})
    bench = Bench(strict(config), make=make)
    outcome = bench.send("tcp 10.20.0.10:5 > 203.0.113.11:80 S")
    assert (why(outcome), left(outcome), stages(outcome)[-1]) == (("DROP", "FW_RULE"), [], "FIREWALL DROP in")
    assert totals(bench) == ({"DROP": 1}, {"FW_RULE": 1})


def test_what_is_refused_behind_the_hairpin_is_told_to_the_machine_inside(make: MakeEdge) -> None:
    config = acme(**OPEN | {"firewall": [rule("in", "REJECT", direction="IN"), default_rule("ALLOW")]})
    for text, answer in (
        ("tcp 10.20.0.10:5 > 203.0.113.11:80 S", "tcp 203.0.113.11:80 > 10.20.0.10:5 RA"),
        ("udp 10.20.0.10:5 > 203.0.113.11:80", "icmp 203.0.113.10 > 10.20.0.10 admin-prohibited"),
    ):
        bench = Bench(strict(config), make=make)
        outcome = bench.send(text)
        assert why(outcome) == ("REJECT", "FW_RULE")
        assert stages(outcome)[-3:] == [
            "FIREWALL REJECT in",
            "ROUTE HAIRPIN INTERNET",
            "SESSION HIT default_rule LAN",
        ]
        ((port, told),) = left(outcome)
        assert (port, told.split(" of=")[0]) == ("LAN", answer)
        assert totals(bench) == ({"REJECT": 1}, {"FW_RULE": 1})


def test_the_edge_answers_a_ping_of_an_address_of_its_own(make: MakeEdge) -> None:
    bench = Bench(edge(), make=make)
    outcome = bench.send("icmp 10.20.0.10 > 203.0.113.12 echo-request id=7")
    assert why(outcome) == ("LOCAL", "LOCAL_SERVICE")
    assert stages(outcome)[-5:] == [
        "ROUTE LOCAL INTERNET",
        "FIREWALL ALLOW default_rule",
        "LOCAL ECHO_REPLY",
        "ROUTE HAIRPIN INTERNET",
        "SESSION HIT default_rule LAN",
    ]
    # An answer has spent no hop, so none is given back: the way in costs it one.
    assert left(outcome, "ttl") == [("LAN", "icmp 203.0.113.12 > 10.20.0.10 echo-reply id=7 seq=1 ttl=63")]
    assert totals(bench) == ({"LOCAL": 1}, {"LOCAL_SERVICE": 1})


def test_an_answer_to_an_answer_leaves_verdict_and_reason_alone(make: MakeEdge) -> None:
    # A SYN with a source of the edge's own: its RST enters again, and DNAT sends it into an isolated network.
    rules = [nat("cage", "DNAT", "203.0.113.11", "10.99.0.5")]
    bench = Bench(edge(nat_rules=rules), make=make)
    outcome = bench.send("tcp 203.0.113.11:1234 > 203.0.113.10:80 S in=INTERNET")
    assert (why(outcome), left(outcome)) == (("LOCAL", "LOCAL_SERVICE"), [])
    assert [item for item in stages(outcome) if item.startswith(("LOCAL", "ROUTE", "FIREWALL"))] == [
        "ROUTE LOCAL INTERNET",
        "FIREWALL ALLOW default_rule",
        "LOCAL RESET",
        "ROUTE HAIRPIN INTERNET",
        "ROUTE ISOLATED",
        "ROUTE HAIRPIN INTERNET",
        "ROUTE LOCAL INTERNET",
        "FIREWALL DROP",
    ]
    assert totals(bench) == ({"LOCAL": 1}, {"LOCAL_SERVICE": 1})


def test_an_icmp_error_hairpins(make: MakeEdge) -> None:
    rules = [nat("d", "DNAT", "203.0.113.11", "10.20.0.20"), OUT]
    bench = Bench(edge(nat_rules=rules), make=make)
    (_, arrived), *_ = left(bench.send("udp 10.20.0.10:5 > 203.0.113.11:53"))
    outcome = bench.send(f'icmp 10.20.0.20 > 203.0.113.10 port-unreachable of="{arrived}"')
    assert why(outcome) == ("ALLOW", "RELATED")
    assert stages(outcome) == [
        "SESSION HIT default_rule INTERNET",
        "ROUTE HAIRPIN INTERNET",
        "SESSION HIT default_rule LAN",
    ]
    quoted = "udp 10.20.0.10:5 > 203.0.113.11:53"
    assert left(outcome) == [("LAN", f'icmp 203.0.113.11 > 10.20.0.10 port-unreachable of="{quoted}"')]
    header = outcome.outputs[0].frame[14:34]
    assert (header[8], internet_checksum(header)) == (63, 0)


def test_ipv6_hairpins_with_one_hop(make: MakeEdge) -> None:
    config = acme(
        uplinks=[uplink("INTERNET", "2001:db8:ff::1/64 2001:db8:ff::10-2001:db8:ff::12")],
        networks=[network("LAN", "2001:db8:20::1/64")],
        nat_rules=[
            nat("d", "DNAT", "2001:db8:ff::11", "2001:db8:20::9"),
            nat("s", "SNAT", "2001:db8:ff::10", "2001:db8:20::/64"),
        ],
        firewall=[default_rule("ALLOW")],
    )
    bench = Bench(strict(config), make=make)
    ((port, text),) = left(bench.send("udp [2001:db8:20::5]:7 > [2001:db8:ff::11]:53 ttl=9"), "ttl")
    assert (port, text.split(" > ")[1]) == ("LAN", "[2001:db8:20::9]:53 ttl=8")
    ((port, text),) = left(bench.reply(), "ttl")
    assert (port, text) == ("LAN", "udp [2001:db8:ff::11]:53 > [2001:db8:20::5]:7 ttl=63")


@pytest.mark.parametrize(("ttl", "reason"), [(1, "TTL_EXPIRED"), (2, "FW_DEFAULT")])
def test_the_trip_costs_one_hop(make: MakeEdge, ttl: int, reason: str) -> None:
    bench = Bench(edge(nat_rules=[WEB, OUT]), make=make)
    outcome = bench.send(f"tcp 10.20.0.10:5 > 203.0.113.11:80 S ttl={ttl}")
    assert why(outcome)[1] == reason
    assert left(outcome, "ttl")[0][1].endswith("ttl=1") is (ttl == 2)


def test_a_loop_inside_the_edge_ends_after_four_passes(make: MakeEdge) -> None:
    # A session whose answers go to an address of the edge and are translated to themselves; then such an answer.
    bench = Bench(edge(nat_rules=[]), make=make)
    assert why(bench.send("udp 203.0.113.12:7 > 198.51.100.9:53 in=INTERNET")) == ("ALLOW", "FW_DEFAULT")
    outcome = bench.send("udp 198.51.100.9:53 > 203.0.113.12:7 in=INTERNET")
    assert (why(outcome), left(outcome)) == (("DROP", "TTL_EXPIRED"), [])
    passed = ["SESSION HIT default_rule INTERNET", "ROUTE HAIRPIN INTERNET"]
    assert stages(outcome) == [*passed * 4, "ROUTE TTL_EXPIRED"]
    assert bench.edge.sessions()[0].packets == (1, 4)
    assert totals(bench) == ({"ALLOW": 1, "DROP": 1}, {"FW_DEFAULT": 1, "TTL_EXPIRED": 1})


def test_an_answer_in_a_loop_keeps_the_verdict_of_what_it_answers(make: MakeEdge) -> None:
    bench = Bench(edge(uplinks=[uplink("INTERNET", "2001:db8:ff::1/64 2001:db8:ff::10-2001:db8:ff::12")]), make=make)
    text = "udp [2001:db8:ff::12]:7 > [2001:db8:beef::9]:53 in=INTERNET"
    assert why(bench.send(text)) == ("ALLOW", "FW_DEFAULT")
    # Too big, which its sender is told: an ICMP error about the session, which leads round and round.
    outcome = bench.send(f"{text} len=3000")
    assert (why(outcome), left(outcome)) == (("DROP", "TOO_BIG"), [])
    assert stages(outcome)[:2] == ["SESSION HIT default_rule INTERNET", "ROUTE TOO_BIG"]
    passed = ["ROUTE HAIRPIN INTERNET", "SESSION HIT default_rule INTERNET"]
    assert stages(outcome)[2:] == [*passed * 3, "ROUTE HAIRPIN INTERNET", "ROUTE TTL_EXPIRED"]
    assert totals(bench) == ({"ALLOW": 1, "DROP": 1}, {"FW_DEFAULT": 1, "TOO_BIG": 1})


def test_frames_of_a_capture_stay_exempt_from_the_mtu(make: MakeEdge) -> None:
    machine = edge(nat_rules=[nat("d", "DNAT", "203.0.113.11", "10.20.0.20"), OUT])
    frame = build_frame(parse_packet("udp 10.20.0.10:5 > 203.0.113.11:53 len=3000"))
    outcome = make(machine).process("LAN", frame, 0, unsegmented=True)
    assert (outcome.verdict, outcome.reason, outcome.outputs[0].port) == (Verdict.ALLOW, Reason.FW_DEFAULT, "LAN")
    assert make(machine).process("LAN", frame, 0).verdict is Verdict.DROP


def test_limits_count_the_source_of_each_pass(make: MakeEdge) -> None:
    config = strict(acme(**OPEN | {"nat_rules": [WEB, OUT]}), max_sessions_per_source=1)
    bench = Bench(config, make=make)
    assert why(bench.send("tcp 10.20.0.10:5 > 203.0.113.11:80 S")) == ("ALLOW", "FW_DEFAULT")
    # Another machine, but behind SNAT the same source: its first pass has opened a session all the same.
    assert why(bench.send("tcp 10.20.0.11:5 > 203.0.113.11:80 S")) == ("DROP", "SESSION_LIMIT")
    assert len(bench.edge.sessions()) == 3


def test_a_pass_that_was_refused_has_no_translation_to_show(make: MakeEdge) -> None:
    config = acme(
        uplinks=[uplink("INTERNET", "203.0.113.1/24 203.0.113.9-203.0.113.12")],
        networks=[network("DMZ", "10.20.1.1/24", kind="NON_DISTRIBUTED")],
        nat_rules=[
            nat("own", "SNAT", "203.0.113.9", "203.0.113.9"),
            nat("in", "DNAT", "203.0.113.9", "10.20.1.9", match="BYPASS"),
            nat("out", "SNAT", "203.0.113.9", "10.20.1.0/24"),
        ],
        firewall=[default_rule("REJECT")],
    )
    bench = Bench(strict(config), make=make)
    outcome = bench.send("tcp 203.0.113.9:80 > 10.20.1.9:443 S in=INTERNET")
    shown = {step.rule_id: step.after is not None for step in outcome.steps if step.rule_id in ("own", "in", "out")}
    assert why(outcome)[0] == "REJECT"
    assert shown["own"] is False
    assert shown["out"] is True


def test_each_pass_shows_its_own_translation(make: MakeEdge) -> None:
    config = acme(
        uplinks=[uplink("INTERNET", "203.0.113.1/24 203.0.113.10-203.0.113.12")],
        networks=[network("LAN", "10.20.0.1/24"), network("DMZ", "10.20.1.1/24", kind="NON_DISTRIBUTED")],
        nat_rules=[
            nat("server", "DNAT", "203.0.113.11", "10.20.1.9"),
            nat("out", "SNAT", "203.0.113.10", "10.20.0.0/24"),
            nat("again", "SNAT", "203.0.113.12", "203.0.113.0/24"),
        ],
        firewall=[default_rule("ALLOW")],
    )
    bench = Bench(strict(config), make=make)
    outcome = bench.send("tcp 10.20.0.10:5 > 203.0.113.11:80 S")
    sources = {step.rule_id: str(step.after.src) for step in outcome.steps if step.after is not None}
    assert sources == {"out": "203.0.113.10", "server": "203.0.113.10", "again": "203.0.113.12"}
    ((port, text),) = left(outcome)
    assert (port, text.split(" > ")[1]) == ("DMZ", "10.20.1.9:80 S")
    assert left(bench.reply("SA")) == [("LAN", "tcp 203.0.113.11:80 > 10.20.0.10:5 SA")]
