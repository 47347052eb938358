"""The readable edge, stage by stage, in packets that a network engineer can read."""

from __future__ import annotations

from dataclasses import replace

import pytest

from edge.addresses import PortRange
from edge.firewall.config import Section
from edge.packets import build_frame, format_frame, parse_packet
from edge.reference import ReferenceEdge
from edge.reference_trip import SplitMix64
from edge.state import RuleCounters
from edge.verdicts import Reason, Stage, Verdict
from tests.reference_bench import Bench, left, stages, why
from tests.support import (
    SECOND,
    acme,
    default_rule,
    edge_config,
    logged,
    nat,
    network,
    ranges,
    rule,
    static_route,
    uplink,
    with_options,
)

EVERYTHING = [default_rule("ALLOW")]


def test_splitmix64_is_the_published_one() -> None:
    draw = SplitMix64(1234567)
    assert [draw() for _ in range(3)] == [6457827717110365317, 3203168211198807973, 9817491932198370423]


# --- the order ------------------------------------------------------------------------------------------------------


def test_every_stage_of_a_published_server_in_order() -> None:
    assert stages(Bench(acme()).send("tcp 198.51.100.99:40000 > 203.0.113.11:80 S")) == [
        "SESSION MISS",
        "PROVIDER_FILTER PASS",
        "NAT DNAT pub-web",
        "ROUTE CONNECTED LAN",
        "FIREWALL ALLOW in-web",
    ]


def test_every_stage_of_the_way_out_in_order() -> None:
    outcome = Bench(acme()).send("udp 10.20.0.10:4000 > 8.8.8.8:53")
    assert stages(outcome) == [
        "SESSION MISS",
        "ROUTE DEFAULT INTERNET",
        "PROVIDER_FILTER PASS",
        "NAT SNAT internet",
        "FIREWALL ALLOW out",
    ]
    snat = outcome.steps[3]
    assert snat.after is not None
    assert str(snat.after.src) == "203.0.113.10"
    assert snat.after.sport >= 1024


def test_both_lookups_between_uplinks() -> None:
    config = edge_config(
        uplinks=[uplink("A", "203.0.113.1/24 203.0.113.10"), uplink("B", "198.18.0.1/24 198.18.0.10")],
        nat_rules=[
            nat("d", "DNAT", "203.0.113.10", "198.18.0.77"),
            nat("s", "SNAT", "198.18.0.10", "192.0.2.0/24"),
        ],
        firewall=EVERYTHING,
    )
    outcome = Bench(config).send("esp 192.0.2.1 > 203.0.113.10")
    assert stages(outcome)[1:] == [
        "PROVIDER_FILTER PASS",
        "NAT DNAT d",
        "ROUTE CONNECTED B",
        "PROVIDER_FILTER PASS",
        "NAT SNAT s",
        "FIREWALL ALLOW default_rule",
    ]
    assert left(outcome) == [("B", "esp 198.18.0.10 > 198.18.0.77")]


# --- what never gets far --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("udp 10.20.0.10:1 > 224.0.0.251:5353", "MULTICAST"),
        ("udp 10.20.0.10:1 > 255.255.255.255:67", "MULTICAST"),
        ("udp 10.20.0.10:1 > 10.20.0.255:137", "MULTICAST"),
        ("udp 198.51.100.1:1 > 203.0.113.255:1", "MULTICAST"),
        ("udp [2001:db8:20::5]:1 > [ff02::1]:1", "MULTICAST"),
        ("udp 127.0.0.1:1 > 8.8.8.8:1", "MARTIAN"),
        ("udp 10.20.0.10:1 > 169.254.169.254:80", "MARTIAN"),
        ("udp 240.0.0.1:1 > 8.8.8.8:1", "MARTIAN"),
        ("udp [fe80::1]:1 > [2001:db8::1]:1", "MARTIAN"),
        ("udp [2001:db8::1]:1 > [::]:1", "MARTIAN"),
    ],
)
def test_addresses_that_no_router_forwards(text: str, reason: str) -> None:
    outcome = Bench(acme()).send(text)
    assert why(outcome) == ("DROP", reason)
    assert not outcome.outputs


def test_no_route_is_answered() -> None:
    config = edge_config(
        uplinks=[uplink("INTERNET", "203.0.113.1/24 203.0.113.10")], networks=[network("LAN", "2001:db8::1/64")]
    )
    outcome = Bench(config).send("udp [2001:db8::5]:1 > [2001:db9::1]:1")
    assert why(outcome) == ("DROP", "NO_ROUTE")
    assert left(outcome) == [
        ("LAN", 'icmp6 2001:db8::1 > 2001:db8::5 no-route of="udp [2001:db8::5]:1 > [2001:db9::1]:1"')
    ]


def test_isolated_networks_neither_send_nor_receive() -> None:
    config = acme(networks=[network("LAN", "10.20.0.1/24"), network("CAGE", "172.16.0.1/24", kind="ISOLATED")])
    bench = Bench(config)
    out = bench.send("udp 172.16.0.5:1 > 8.8.8.8:53")
    assert (why(out), stages(out)) == (("DROP", "ISOLATED"), ["SESSION MISS", "ROUTE ISOLATED"])
    assert left(out) == [("CAGE", 'icmp 172.16.0.1 > 172.16.0.5 net-unreachable of="udp 172.16.0.5:1 > 8.8.8.8:53"')]
    into = bench.send("udp 10.20.0.10:1 > 172.16.0.5:1")
    assert why(into) == ("DROP", "ISOLATED")
    assert why(bench.send("icmp 172.16.0.5 > 172.16.0.1 echo-request")) == ("DROP", "ISOLATED")


def test_an_isolated_network_cannot_ride_the_session_of_another() -> None:
    bench = Bench(acme(networks=[network("LAN", "10.20.0.1/24"), network("CAGE", "172.16.0.1/24", kind="ISOLATED")]))
    assert why(bench.send("udp 10.20.0.10:1 > 8.8.8.8:53")) == ("ALLOW", "FW_RULE")
    assert why(bench.send("udp 10.20.0.10:1 > 8.8.8.8:53 in=CAGE")) == ("DROP", "ISOLATED")


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda f: f[:13], "MALFORMED"),
        (lambda f: f[:12] + b"\x81\x00\x00", "MALFORMED"),
        (lambda f: f[:12] + b"\x08\x06" + f[14:], "NOT_IP"),
        (lambda f: f[:12] + b"\x81\x00\x00\x01" * 3 + f[12:], "NOT_IP"),
        (lambda f: f[:30], "MALFORMED"),
        (lambda f: f[:14] + b"\x55" + f[15:], "MALFORMED"),
        (lambda f: f[:14] + b"\x44" + f[15:], "MALFORMED"),
        (lambda f: f[:-1], "MALFORMED"),
        (lambda f: f[:24] + b"\x12\x34" + f[26:], "BAD_CHECKSUM"),
    ],
)
def test_what_cannot_be_parsed(change: object, reason: str) -> None:
    bench = Bench(acme())
    frame = build_frame(parse_packet("udp 10.20.0.10:1 > 8.8.8.8:53"))
    outcome = bench.frame("LAN", change(frame))  # type: ignore[operator]
    assert (why(outcome), stages(outcome)) == (("DROP", reason), ["PARSE DROP"])


@pytest.mark.parametrize("tags", [b"", b"\x81\x00\x00\x07", b"\x88\xa8\x00\x01\x81\x00\x00\x07"])
def test_tags_and_padding_are_left_behind(tags: bytes) -> None:
    frame = build_frame(parse_packet("udp 10.20.0.10:1 > 8.8.8.8:53"))
    outcome = Bench(acme()).frame("LAN", frame[:12] + tags + frame[12:] + b"\xee" * 18)
    assert why(outcome) == ("ALLOW", "FW_RULE")
    assert len(outcome.outputs[0].frame) == len(frame)


# --- routing --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("destination", "route"),
    [
        ("10.20.0.10", "CONNECTED LAN"),
        ("203.0.113.77", "CONNECTED INTERNET"),
        ("10.30.0.1", "STATIC LAN"),
        ("10.30.9.1", "STATIC INTERNET"),
        ("192.0.2.1", "DEFAULT INTERNET"),
        ("10.20.0.1", "LOCAL LAN"),
        ("203.0.113.10", "LOCAL INTERNET"),
        ("203.0.113.11", "CONNECTED INTERNET"),
    ],
)
def test_longest_prefix_from_a_distributed_network(destination: str, route: str) -> None:
    routes = [
        static_route("10.30.0.0/16", "203.0.113.1"),
        static_route("10.30.0.0/24", "10.20.1.2", distance=9, name="far", scope="DMZ"),
        static_route("10.30.0.0/24", "10.20.0.254", distance=2, name="near"),
    ]
    networks = [network("LAN", "10.20.0.1/24"), network("DMZ", "10.20.1.1/24")]
    outcome = Bench(acme(networks=networks, routes=routes)).send(f"udp 10.20.0.10:1 > {destination}:9")
    assert stages(outcome)[1] == f"ROUTE {route}"


def test_a_static_default_route_beats_the_implicit_one() -> None:
    bench = Bench(acme(routes=[static_route("0.0.0.0/0", "10.20.0.254")]))
    assert stages(bench.send("udp 10.20.0.10:1 > 8.8.8.8:9"))[1] == "ROUTE STATIC LAN"
    assert stages(bench.send("udp [2001:db8:20::5]:1 > [2001:db9::1]:9"))[1] == "ROUTE DEFAULT INTERNET"


def test_ttl_runs_out_behind_the_route() -> None:
    outcome = Bench(acme()).send("udp 10.20.0.10:1 > 8.8.8.8:53 ttl=1")
    assert why(outcome) == ("DROP", "TTL_EXPIRED")
    assert stages(outcome) == ["SESSION MISS", "ROUTE DEFAULT INTERNET", "ROUTE TTL_EXPIRED"]
    quoted = 'icmp 10.20.0.1 > 10.20.0.10 time-exceeded of="udp 10.20.0.10:1 > 8.8.8.8:53 ttl=1"'
    assert left(outcome) == [("LAN", quoted)]


def test_one_hop_is_taken_off() -> None:
    assert left(Bench(acme()).send("udp 10.20.0.10:1 > 192.168.50.1:53 ttl=9"), "ttl")[0][1].endswith("ttl=8")


def test_distributed_networks_talk_past_the_edge() -> None:
    networks = [
        network("A", "10.20.0.1/24"),
        network("B", "10.20.1.1/24"),
        network("S", "10.20.2.1/24", kind="NON_DISTRIBUTED"),
    ]
    bench = Bench(acme(networks=networks))
    outcome = bench.send("tcp 10.20.0.10:1 > 10.20.1.10:9 A")
    assert (why(outcome), bench.edge.sessions()) == (("ALLOW", "EAST_WEST"), [])
    assert why(bench.send("udp 10.20.1.10:1 > 10.20.2.10:9")) == ("DROP", "FW_DEFAULT")
    watched = Bench(with_options(acme(networks=networks), east_west_firewall=True))
    assert why(watched.send("udp 10.20.0.10:1 > 10.20.1.10:9")) == ("ALLOW", "FW_RULE")
    assert why(watched.send("udp 10.20.1.10:1 > 10.20.0.10:99")) == ("DROP", "FW_DEFAULT")


# --- provider filter ------------------------------------------------------------------------------------------------


def test_the_provider_filters_both_ways_but_only_destinations() -> None:
    bench = Bench(acme(firewall=EVERYTHING))
    assert why(bench.send("tcp 198.51.100.1:9 > 203.0.113.11:445 S")) == ("DROP", "PROVIDER_FILTER")
    assert why(bench.send("tcp 10.20.0.10:9 > 8.8.8.8:445 S")) == ("DROP", "PROVIDER_FILTER")
    assert why(bench.send("udp 10.20.0.10:9 > 8.8.8.8:445")) == ("ALLOW", "FW_DEFAULT")
    assert why(bench.send("tcp 10.20.0.10:445 > 8.8.8.8:80 S")) == ("ALLOW", "FW_DEFAULT")
    off = Bench(with_options(acme(firewall=EVERYTHING), provider_filter=()))
    outcome = off.send("tcp 10.20.0.10:9 > 8.8.8.8:445 S")
    assert why(outcome) == ("ALLOW", "FW_DEFAULT")
    assert "PROVIDER_FILTER PASS" not in stages(outcome)


def test_snat_never_draws_a_filtered_port() -> None:
    config = with_options(acme(), snat_port_range=PortRange(134, 140))
    bench = Bench(config)
    drawn = {format_frame(bench.send(f"udp 10.20.0.10:{port} > 8.8.8.8:53").outputs[0].frame) for port in (1, 2)}
    assert drawn == {"udp 203.0.113.10:134 > 8.8.8.8:53", "udp 203.0.113.10:140 > 8.8.8.8:53"}
    assert why(bench.send("udp 10.20.0.10:3 > 8.8.8.8:53")) == ("DROP", "NAT_PORTS_EXHAUSTED")


# --- firewall -------------------------------------------------------------------------------------------------------


def test_the_first_match_decides_and_sections_have_an_order() -> None:
    rules = [
        rule("user", "DROP", services="udp/53"),
        default_rule("ALLOW"),
        rule("system", section=Section.SYSTEM, services="udp/54"),
        rule("off", "DROP", enabled=False),
        rule("never", "REJECT", services="udp/53"),
    ]
    bench = Bench(acme(firewall=rules))
    results = [why(bench.send(f"udp 10.20.0.10:1 > 8.8.8.8:{port}")) for port in (53, 54, 55)]
    assert results == [("DROP", "FW_RULE"), ("ALLOW", "FW_SYSTEM"), ("ALLOW", "FW_DEFAULT")]


@pytest.mark.parametrize(
    ("options", "matches", "misses"),
    [
        ({"direction": "IN"}, "udp 198.51.100.1:1 > 203.0.113.11:80", "udp 10.20.0.10:1 > 8.8.8.8:80"),
        ({"direction": "OUT"}, "udp 10.20.0.10:1 > 8.8.8.8:80", "udp 198.51.100.1:1 > 203.0.113.11:80"),
        ({"family": "IPV6"}, "udp [2001:db8:20::1:1]:1 > [2001:db9::1]:1", "udp 10.20.0.10:1 > 8.8.8.8:80"),
        ({"source": "10.20.0.8/30"}, "udp 10.20.0.11:1 > 8.8.8.8:80", "udp 10.20.0.12:1 > 8.8.8.8:80"),
        ({"destination": "8.8.8.8-8.8.8.9"}, "udp 10.20.0.11:1 > 8.8.8.9:80", "udp 10.20.0.11:1 > 8.8.8.10:80"),
        ({"services": "tcp/80 udp/80-81"}, "udp 10.20.0.11:1 > 8.8.8.9:81", "udp 10.20.0.11:1 > 8.8.8.9:82"),
        (
            {"services": "icmp/8"},
            "icmp 10.20.0.11 > 8.8.8.9 echo-request",
            "icmp 10.20.0.11 > 8.8.8.9 timestamp-request",
        ),
        (
            {"services": "icmp"},
            "icmp 10.20.0.11 > 8.8.8.9 echo-request",
            "icmp6 2001:db8:20::5 > 2001:db9::1 echo-request",
        ),
        ({"services": "icmp"}, "icmp 10.20.0.11 > 8.8.8.9 type=9 code=0", "proto=1 2001:db8:20::5 > 2001:db9::1 len=8"),
    ],
)
def test_every_part_of_a_rule_counts(options: dict[str, str], matches: str, misses: str) -> None:
    config = acme(firewall=[rule("it", "REJECT", **options), default_rule("ALLOW")], nat_rules=[])  # type: ignore[arg-type]
    config = replace(config, nat=replace(config.nat, rules=(nat("d", "DNAT", "203.0.113.11", "10.20.0.10"),)))
    results = [Bench(config).send(text).steps[-1].rule_id for text in (matches, misses)]
    assert results == ["it", "default_rule"]


def test_strict_tcp_wants_a_syn() -> None:
    loose = Bench(with_options(acme(), tcp_strict=False))
    assert why(Bench(acme()).send("tcp 10.20.0.10:1 > 8.8.8.8:80 A")) == ("DROP", "TCP_STRICT")
    assert why(Bench(acme()).send("tcp 10.20.0.10:1 > 8.8.8.8:80 SA")) == ("DROP", "TCP_STRICT")
    assert why(loose.send("tcp 10.20.0.10:1 > 8.8.8.8:80 A")) == ("ALLOW", "FW_RULE")
    assert loose.edge.sessions()[0].state == "ESTABLISHED:CLOSED"


def test_icmp_replies_need_a_question() -> None:
    bench = Bench(acme())
    assert why(bench.send("icmp 8.8.8.8 > 203.0.113.10 echo-reply")) == ("DROP", "ICMP_UNRELATED")
    assert why(bench.send("icmp 10.20.0.10 > 8.8.8.8 echo-request id=7")) == ("ALLOW", "FW_RULE")
    assert left(bench.reply()) == [("LAN", "icmp 8.8.8.8 > 10.20.0.10 echo-reply id=7 seq=1")]


def test_icmp_errors_about_nothing_that_passed_are_dropped() -> None:
    outcome = Bench(acme()).send('icmp 192.0.2.1 > 203.0.113.11 port-unreachable of="udp 203.0.113.11:1 > 8.8.8.8:53"')
    assert why(outcome) == ("DROP", "ICMP_UNRELATED")
    assert stages(outcome)[-1] == "FIREWALL DROP"
    assert not any(step.stage is Stage.NAT for step in outcome.steps)


# --- the edge itself ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "result", "answer"),
    [
        (
            "icmp 10.20.0.10 > 10.20.0.1 echo-request id=7 seq=3 len=9",
            "ECHO_REPLY",
            "icmp 10.20.0.1 > 10.20.0.10 echo-reply id=7 seq=3 len=9",
        ),
        (
            "icmp6 2001:db8:20::5 > 2001:db8:20::1 echo-request",
            "ECHO_REPLY",
            "icmp6 2001:db8:20::1 > 2001:db8:20::5 echo-reply id=1 seq=1",
        ),
        (
            "icmp 10.20.0.10 > 203.0.113.10 echo-request",
            "ECHO_REPLY",
            "icmp 203.0.113.10 > 10.20.0.10 echo-reply id=1 seq=1",
        ),
        ("tcp 10.20.0.10:5 > 10.20.0.1:22 S", "RESET", "tcp 10.20.0.1:22 > 10.20.0.10:5 RA"),
        ("tcp 10.20.0.10:5 > 10.20.0.1:22 A", "RESET", "tcp 10.20.0.1:22 > 10.20.0.10:5 R"),
        ("tcp 10.20.0.10:5 > 10.20.0.1:22 R", "ACCEPTED", None),
        (
            "udp 10.20.0.10:5 > 10.20.0.1:53",
            "UNREACHABLE",
            'icmp 10.20.0.1 > 10.20.0.10 port-unreachable of="udp 10.20.0.10:5 > 10.20.0.1:53"',
        ),
        (
            "esp 10.20.0.10 > 10.20.0.1",
            "UNREACHABLE",
            'icmp 10.20.0.1 > 10.20.0.10 protocol-unreachable of="esp 10.20.0.10 > 10.20.0.1"',
        ),
        ("icmp 10.20.0.10 > 10.20.0.1 timestamp-request", "ACCEPTED", None),
        ("icmp 10.20.0.10 > 10.20.0.1 redirect", "ACCEPTED", None),
    ],
)
def test_the_edge_answers_a_network_unasked(text: str, result: str, answer: str | None) -> None:
    bench = Bench(acme(firewall=[default_rule("DROP")]))
    outcome = bench.send(text)
    assert (why(outcome), outcome.steps[-1].result.name) == (("LOCAL", "LOCAL_SERVICE"), result)
    assert left(outcome) == ([] if answer is None else [("LAN", answer)])
    assert bench.edge.sessions() == []


def test_the_world_needs_a_rule_to_reach_the_edge() -> None:
    ping = "icmp 198.51.100.1 > 203.0.113.10 echo-request"
    assert why(Bench(acme()).send(ping)) == ("DROP", "FW_DEFAULT")
    open_edge = Bench(acme(firewall=[rule("ping", services="icmp", direction="IN", logging=True)]))
    outcome = open_edge.send(ping)
    assert left(outcome) == [("INTERNET", "icmp 203.0.113.10 > 198.51.100.1 echo-reply id=1 seq=1")]
    assert open_edge.edge.rule_counters()["ping"] == RuleCounters(1, 1, 28)
    assert [event.verdict for event in logged(open_edge.edge)] == [Verdict.LOCAL]


# --- rejecting ------------------------------------------------------------------------------------------------------


def test_reject_answers_from_where_it_was_called() -> None:
    bench = Bench(acme(firewall=[default_rule("REJECT")]))
    syn = bench.send("tcp 198.51.100.9:5 > 203.0.113.11:80 S seq=100 len=4")
    assert why(syn) == ("REJECT", "FW_DEFAULT")
    answer = "tcp 203.0.113.11:80 > 198.51.100.9:5 RA seq=0 ack=105"
    assert left(syn, "seq", "ack") == [("INTERNET", answer)]
    udp = bench.send("udp 10.20.0.10:5 > 8.8.8.8:53")
    quoted = 'icmp 10.20.0.1 > 10.20.0.10 admin-prohibited of="udp 10.20.0.10:5 > 8.8.8.8:53"'
    assert left(udp) == [("LAN", quoted)]
    assert not bench.send("udp 0.0.0.0:5 > 8.8.8.8:53 in=LAN").outputs


def test_nobody_rejects_a_reset() -> None:
    bench = Bench(with_options(acme(firewall=[default_rule("REJECT")]), tcp_strict=False))
    outcome = bench.send("tcp 10.20.0.10:5 > 8.8.8.8:80 R")
    assert (why(outcome), outcome.outputs) == (("REJECT", "FW_DEFAULT"), ())


def test_a_refused_hairpin_is_told_to_the_machine_inside() -> None:
    bench = Bench(acme(firewall=[rule("out", direction="OUT"), default_rule("REJECT")]))
    bench.send("tcp 10.20.0.10:5 > 203.0.113.11:80 S")
    refused = bench.hairpin()
    assert why(refused) == ("REJECT", "FW_DEFAULT")
    assert left(bench.hairpin()) == [("LAN", "tcp 203.0.113.11:80 > 10.20.0.10:5 RA")]


# --- counters, events, other questions ------------------------------------------------------------------------------


def test_counters_count_both_directions_and_survive_reordering() -> None:
    bench = Bench(acme())
    bench.send("tcp 198.51.100.9:5 > 203.0.113.11:80 S len=60")
    bench.reply("SA")
    bench.send("tcp 198.51.100.9:5 > 203.0.113.11:22 S")
    counters = bench.edge.rule_counters()
    assert counters["in-web"] == counters["pub-web"] == RuleCounters(1, 2, 140)
    assert counters["default_rule"] == RuleCounters(1, 1, 40)
    assert counters["internet"] == RuleCounters()
    config = acme()
    bench.edge.apply(replace(config, firewall=replace(config.firewall, rules=config.firewall.rules[::-1])))
    assert bench.edge.rule_counters() == counters


def test_totals() -> None:
    bench = Bench(acme())
    for port in (1, 2, 2):
        bench.send(f"udp 10.20.0.10:{port} > 8.8.8.8:53")
    bench.send("udp 198.51.100.1:1 > 203.0.113.10:53 wait=31")
    stats = bench.edge.stats()
    assert stats.verdicts == {Verdict.ALLOW: 3, Verdict.DROP: 1}
    assert stats.reasons == {Reason.FW_RULE: 2, Reason.SESSION: 1, Reason.FW_DEFAULT: 1}
    assert (stats.sessions_created, stats.sessions_peak, stats.sessions_open) == (2, 2, 0)


def test_logging_rules_log_what_they_saw_once() -> None:
    bench = Bench(
        acme(
            nat_rules=[
                nat("pub-web", "DNAT", "203.0.113.11", "10.20.0.10", external_port="80", app="tcp/8080", logging=True)
            ]
        )
    )
    bench.now_ns = 5
    bench.send("tcp 198.51.100.9:5 > 203.0.113.11:80 S")
    bench.reply("SA")
    client, inside, public = (item.first for item in ranges("198.51.100.9 10.20.0.10 203.0.113.11"))
    events = logged(bench.edge)
    assert [(event.rule_id, event.saw.dst, event.saw.dport) for event in events] == [
        ("in-web", inside, 8080),
        ("pub-web", public, 80),
    ]
    assert (events[0].now_ns, events[0].revision, events[0].protocol) == (5, 1, 6)
    assert (events[0].verdict, events[0].reason) == (Verdict.ALLOW, Reason.FW_RULE)
    assert (events[0].in_port, events[0].packet) == ("INTERNET", "tcp 198.51.100.9:5 > 203.0.113.11:80 S")
    assert events[0].saw.src == client
    assert logged(bench.edge) == []


def test_unknown_ports_are_named() -> None:
    with pytest.raises(ValueError, match="no port is called 'DMZ'; there are INTERNET, LAN"):
        ReferenceEdge(acme()).process("DMZ", b"", 0)


def test_where_a_frame_enters() -> None:
    edge = ReferenceEdge(
        acme(networks=[network("WIDE", "10.0.0.1/8"), network("CAGE", "10.9.0.1/16", kind="ISOLATED")])
    )
    sources = {"10.1.1.1": "WIDE", "10.9.1.1": "CAGE", "192.0.2.1": "INTERNET", "203.0.113.10": "INTERNET"}
    for source, port in sources.items():
        assert edge.ingress_port(build_frame(parse_packet(f"esp {source} > 8.8.8.8"))) == port
    assert edge.ingress_port(b"") == "INTERNET"


def test_a_capture_from_behind_the_edge_is_turned_into_what_was_in_front() -> None:
    bench = Bench(acme())
    outside = format_frame(bench.send("udp 10.20.0.10:5 > 8.8.8.8:53").outputs[0].frame).split(" ")[1]
    captured = build_frame(parse_packet("udp 8.8.8.8:53 > 10.20.0.10:5 ttl=9"))
    port, frame = bench.edge.map_reply("INTERNET", captured, 0)
    assert (port, format_frame(frame)) == ("INTERNET", f"udp 8.8.8.8:53 > {outside} ttl=9")
    assert left(bench.frame(port, frame)) == [("LAN", "udp 8.8.8.8:53 > 10.20.0.10:5 ttl=8")]
    stranger = build_frame(parse_packet("udp 8.8.8.8:54 > 10.20.0.10:5"))
    assert bench.edge.map_reply("INTERNET", stranger, 0) == ("INTERNET", stranger)
    assert bench.edge.map_reply("INTERNET", captured, 31 * SECOND) == ("INTERNET", captured)
