"""Application layer gateways: how long what they expect is waited for, how much of it, and on which port."""

from __future__ import annotations

from dataclasses import replace

import pytest

from edge import reference_expect
from edge.addresses import PortRange
from edge.model import BlockedPorts, SessionsOnChange, Timers
from edge.nat.config import NatType
from edge.packets import build_frame, parse_packet
from edge.runtime import Edge
from edge.trace import Tracer, TraceResult
from edge.verdicts import Reason, Stage, StepResult
from tests.alg_bench import (
    CLIENT,
    DMZ_SERVER,
    FTP,
    OUT,
    OUTSIDE,
    SERVER,
    TFTP,
    WAY_OUT,
    Control,
    Make,
    expected,
    ftp_edge,
    outputs,
    payload_of,
    port_line,
    ports,
    said,
    session_of,
    steps,
    why,
)
from tests.support import default_rule, logged, nat, rule, with_options


def test_an_expectation_ends_after_its_time(make: Make) -> None:
    config = ftp_edge(options=ports("1024-65535", timers=replace(Timers(), tcp_opening=7)))
    control = Control(make(config), OUT)
    said(control, port_line(5000))
    said(control, port_line(5001))
    control.tracer.wait(6)
    said(control, port_line(5001))  # again
    control.tracer.wait(1)
    assert why(control.tracer.send(f"tcp {OUTSIDE}:20 > {CLIENT}:5000 S")) == "DROP FW_DEFAULT"
    control.tracer.wait(5.9)
    assert why(control.tracer.send(f"tcp {OUTSIDE}:20 > {CLIENT}:5001 S")) == "ALLOW ALG"


def test_a_ninth_replaces_the_oldest(make: Make) -> None:
    control = Control(make(ftp_edge()), OUT)
    for number in range(5000, 5008):
        said(control, port_line(number))
    said(control, port_line(5000))  # announced again, so 5001 is the oldest now
    said(control, port_line(5008))
    came = [why(control.tracer.send(f"tcp {OUTSIDE}:20 > {CLIENT}:{number} S")) for number in (5000, 5001, 5002, 5008)]
    assert came == ["ALLOW ALG", "DROP FW_DEFAULT", "ALLOW ALG", "ALLOW ALG"]


def test_the_edge_awaits_so_many_and_no_more(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    assert reference_expect.MAX_EXPECTED == 4096
    monkeypatch.setattr(reference_expect, "MAX_EXPECTED", 100)  # the reference looks at all of them, all the time
    control = Control(make(ftp_edge()), OUT)
    for number in range(4096 if make is Edge else 100):
        control.edge.process("LAN", build_frame(parse_packet(f"udp {CLIENT}:{2000 + number} > {OUTSIDE}:69")), 0)
    full = said(control, port_line(5000))
    assert (why(full), expected(full)) == ("ALLOW SESSION", None)
    frame = build_frame(parse_packet(f"udp {OUTSIDE}:3000 > {CLIENT}:2000"))
    assert control.edge.process("INTERNET", frame, 0).reason is Reason.ALG
    assert expected(said(control, port_line(5000))) is not None


@pytest.mark.parametrize("end", ["expiry", "reset", "flush", "recheck", "closed"])
def test_expectations_end_with_their_control_session(make: Make, end: str) -> None:
    config = ftp_edge(options=ports("1024-65535", timers=replace(Timers(), tcp_opening=9000, tcp_established=10)))
    control = Control(make(config), OUT)
    said(control, port_line(5000))
    stricter = replace(config, firewall=replace(config.firewall, rules=config.firewall.rules[1:]))
    match end:
        case "expiry":
            control.tracer.wait(10)
        case "reset":
            control.answer(b"", "R")
            control.tracer.wait(2)
        case "flush":
            control.edge.apply(with_options(config, sessions_on_change=SessionsOnChange.FLUSH))
        case "recheck":
            control.edge.apply(with_options(stricter, sessions_on_change=SessionsOnChange.RECHECK))
            assert why(control.say(b"NOOP\r\n")) == "DROP TCP_STRICT"
        case _:
            control.say(b"", "FA")
            control.answer(b"", "FA")
            control.say(b"", "A")
            control.tracer.wait(4)
    assert why(control.tracer.send(f"tcp {OUTSIDE}:20 > {CLIENT}:5000 S")) == "DROP FW_DEFAULT"


def test_recheck_asks_anew_whether_to_listen(make: Make) -> None:
    config = ftp_edge(options=ports("1024-65535", sessions_on_change=SessionsOnChange.RECHECK))
    control = Control(make(config), OUT)
    said(control, port_line(5000))
    deaf = replace(config, firewall=replace(config.firewall, rules=(rule("any"), default_rule())))
    control.edge.apply(deaf)
    results = said(control, port_line(5001))
    assert (why(results), expected(results)) == ("ALLOW SESSION", None)
    control.edge.apply(config)
    assert why(control.tracer.send(f"tcp {OUTSIDE}:20 > {CLIENT}:5000 S")) == "DROP FW_DEFAULT"
    assert expected(said(control, port_line(5002))) is not None
    assert why(control.tracer.send(f"tcp {OUTSIDE}:20 > {CLIENT}:5002 S")) == "ALLOW ALG"


def test_keep_leaves_everything_as_it_is(make: Make) -> None:
    config = ftp_edge(WAY_OUT)
    control = Control(make(config), OUT)
    said(control, port_line(5000))
    control.edge.apply(replace(config, firewall=replace(config.firewall, rules=(default_rule(),))))
    came = control.tracer.send(f"tcp {OUTSIDE}:20 > 203.0.113.10:5000 S")
    assert (why(came), steps(came)[-1]) == ("ALLOW ALG", "FIREWALL ALG")
    assert session_of(control.edge, f"{OUTSIDE}:20").firewall_rule_id is None
    assert came[-1].explanation.endswith("on behalf of the firewall rule")


def test_a_configuration_that_was_prepared_before_the_rules_of_the_control_session(make: Make) -> None:
    later = ftp_edge(WAY_OUT)
    bare = replace(later, firewall=replace(later.firewall, rules=()), nat=replace(later.nat, rules=()))
    edge = make(bare)
    prepared = edge.prepare(bare)
    edge.apply(later)
    control = Control(edge, OUT)
    said(control, port_line(5000))
    edge.commit(prepared)  # type: ignore[arg-type]
    came = control.tracer.send(f"tcp {OUTSIDE}:20 > 203.0.113.10:5000 S")
    assert (why(came), outputs(came)) == ("ALLOW ALG", [f"LAN tcp {OUTSIDE}:20 > {CLIENT}:5000 S"])
    data = session_of(edge, f"{OUTSIDE}:20")
    assert (data.firewall_rule_id, data.dnat_rule_id) == (None, None)


def test_a_rule_that_is_lent_is_logged_as_what_it_does(make: Make) -> None:
    way_out = replace(WAY_OUT, logging=True)
    config = ftp_edge(way_out)
    control = Control(make(config), OUT)
    said(control, port_line(5000))
    exempt = replace(way_out, type=NatType.NO_SNAT, external=None)
    control.edge.apply(replace(config, nat=replace(config.nat, rules=(exempt,))))
    logged(control.edge)
    assert why(control.tracer.send(f"tcp {OUTSIDE}:20 > 203.0.113.10:5000 S")) == "ALLOW ALG"
    (event,) = (event for event in logged(control.edge) if event.step.stage is Stage.NAT)
    assert (event.rule_id, event.step.result) == (way_out.id, StepResult.DNAT)
    assert event.step.after is not None
    assert str(event.step.after.dst) == CLIENT


def test_beside_an_alg_a_rule_of_its_own_is_logged_as_what_it_is(make: Make) -> None:
    both_ways = nat("both-ways", "REFLEXIVE", "203.0.113.11", SERVER, logging=True)
    edge = make(ftp_edge(both_ways))
    tracer = Tracer(edge)
    tracer.send(f"udp {OUTSIDE}:4000 > {SERVER}:69")
    came = tracer.send(f"udp {SERVER}:3000 > {OUTSIDE}:4000")
    assert (why(came), outputs(came)) == ("ALLOW ALG", [f"INTERNET udp 203.0.113.11:3000 > {OUTSIDE}:4000"])
    (event,) = (event for event in logged(edge) if event.step.stage is Stage.NAT)
    assert (event.rule_id, event.step.result) == (both_ways.id, StepResult.REFLEXIVE)


@pytest.mark.parametrize(
    "packet",
    [
        f"tcp {OUTSIDE}:20 > {CLIENT}:5001 S",
        f"tcp {OUTSIDE[:-1]}8:20 > {CLIENT}:5000 S",
        f"tcp {OUTSIDE}:20 > {CLIENT[:-1]}1:5000 S",
        f"tcp {OUTSIDE}:20 > {CLIENT}:5000 SA",
        f"tcp {OUTSIDE}:20 > {CLIENT}:5000 A",
        f"udp {OUTSIDE}:20 > {CLIENT}:5000",
        f"tcp {OUTSIDE}:20 > {CLIENT}:5000 S in=DMZ",  # from a network, not by the uplink
    ],
)
def test_what_is_not_quite_what_was_announced(make: Make, packet: str) -> None:
    control = Control(make(ftp_edge()), OUT)
    said(control, port_line(5000))
    assert why(control.tracer.send(packet)).startswith("DROP")
    assert why(control.tracer.send(f"tcp {OUTSIDE}:20 > {CLIENT}:5000 S")) == "ALLOW ALG"


def test_what_refuses_a_packet_before_leaves_the_expectation(make: Make) -> None:
    blocked = (BlockedPorts(6, (PortRange(5000, 5000),)),)
    config = ftp_edge(options=ports("1024-65535", provider_filter=blocked))
    control = Control(make(config), OUT)
    said(control, port_line(5000))
    said(control, port_line(5001))
    assert why(control.tracer.send(f"tcp {OUTSIDE}:20 > {CLIENT}:5000 S")) == "DROP PROVIDER_FILTER"
    assert why(control.tracer.send(f"tcp {OUTSIDE}:20 > {CLIENT}:5001 S ttl=1")) == "DROP TTL_EXPIRED"
    assert why(control.tracer.send(f"tcp {OUTSIDE}:20 > {CLIENT}:5001 S")) == "ALLOW ALG"


def test_a_full_session_table_leaves_the_expectation(make: Make) -> None:
    config = ftp_edge(options=ports("1024-65535", max_sessions=2, timers=replace(Timers(), tcp_opening=7)))
    control = Control(make(config), OUT)
    said(control, port_line(5000))
    control.tracer.send(f"udp {CLIENT}:4000 > {OUTSIDE}:69")
    comes = f"tcp {OUTSIDE}:20 > {CLIENT}:5000 S"
    results = control.tracer.send(comes)
    assert (why(results), steps(results)[-2:]) == ("DROP SESSION_LIMIT", ["FIREWALL ALG ftp", "SESSION DROP"])
    control.edge.apply(with_options(config, max_sessions=3))
    assert why(control.tracer.send(comes)) == "ALLOW ALG"
    assert why(control.tracer.send(comes.replace(":20 ", ":21 "))) == "DROP FW_DEFAULT"


def test_an_expectation_for_which_there_was_no_room_ends_after_its_time(make: Make) -> None:
    config = ftp_edge(options=ports("1024-65535", max_sessions=1, timers=replace(Timers(), tcp_opening=7)))
    control = Control(make(config), OUT)
    said(control, port_line(5000))
    comes = f"tcp {OUTSIDE}:20 > {CLIENT}:5000 S"
    control.tracer.wait(6)
    assert why(control.tracer.send(comes)) == "DROP SESSION_LIMIT"
    control.tracer.wait(1)
    assert why(control.tracer.send(comes)) == "DROP FW_DEFAULT"


def test_exhausted_ports_leave_the_expectation(make: Make) -> None:
    control = Control(make(ftp_edge(WAY_OUT, options=ports("1024-1024", timers=replace(Timers(), tcp_first=2)))), OUT)
    announces, comes = "< 227 (198,51,100,9,200,10)", f"tcp {CLIENT}:40001 > {OUTSIDE}:51210 S"
    said(control, announces)
    assert why(control.tracer.send(comes)) == "ALLOW ALG"
    said(control, announces)
    results = control.tracer.send(comes.replace("40001", "40002"))
    assert (why(results), steps(results)[-1]) == ("DROP NAT_PORTS_EXHAUSTED", "NAT DROP internet")
    control.tracer.wait(2)
    assert why(control.tracer.send(comes.replace("40001", "40003"))) == "ALLOW ALG"


def test_to_the_edge_itself_the_firewall_is_asked(make: Make) -> None:
    control = Control(make(ftp_edge()), f"tcp {OUTSIDE}:40000 > {SERVER}:21 S")
    edge = make(ftp_edge(nat("pub", "DNAT", "203.0.113.10", SERVER, external_port="21", app="tcp/21")))
    control = Control(edge, f"tcp {OUTSIDE}:40000 > 203.0.113.10:21 S")
    said(control, "< 227 (10,20,0,5,200,10)")
    assert why(control.tracer.send(f"tcp {OUTSIDE}:40001 > 203.0.113.10:51211 S")) == "DROP FW_DEFAULT"
    assert why(control.tracer.send(f"tcp {OUTSIDE}:40001 > 203.0.113.10:51210 S")) == "ALLOW ALG"


def test_between_distributed_networks_the_expectation_stays(make: Make) -> None:
    edge = make(ftp_edge(replace(WAY_OUT, logging=True)))
    tracer = Tracer(edge)
    tracer.send(f"udp {CLIENT}:4000 > {DMZ_SERVER}:69")
    port = edge.sessions()[0].translated.sport
    before = edge.rule_counters()["internet"].hits
    logged(edge)
    comes = f"udp {DMZ_SERVER}:3000 > 203.0.113.10:{port}"
    spoofed = tracer.send(f"{comes} in=LAN")
    assert (why(spoofed), outputs(spoofed)) == ("ALLOW EAST_WEST", [f"LAN udp {DMZ_SERVER}:3000 > {CLIENT}:4000"])
    assert edge.rule_counters()["internet"].hits == before + 1
    assert [(event.rule_id, event.reason) for event in logged(edge)] == [("internet", Reason.EAST_WEST)]
    assert why(tracer.send(comes)) == "ALLOW ALG"


def chosen(results: list[TraceResult]) -> int | None:
    text = expected(results)
    return None if text is None else int(text.rpartition(":")[2].removesuffix(" S"))


def test_the_commands_own_port_then_the_next_ones(make: Make) -> None:
    config = ftp_edge(WAY_OUT, options=ports("5000-5003"))
    edge = make(config)
    first = Control(edge, OUT)
    second = Control(edge, OUT.replace(CLIENT, "10.20.0.51"), first.tracer)
    third = "> PORT 10,20,0,51,19,{}"
    taken = [chosen(said(first, port_line(5002)))]
    taken += [chosen(said(second, third.format(138))), chosen(said(second, third.format(139)))]
    assert taken == [5002, 5003, 5000]  # 19 * 256 + 138 is 5002; the next one is taken too; round to the first
    assert chosen(said(first, port_line(9999))) == 5001
    full = said(first, port_line(9998))
    assert (chosen(full), payload_of(full)) == (None, b"PORT 10,20,0,50,39,14\r\n")


@pytest.mark.parametrize(("port", "found"), [(4999, 5000), (5004, 5000), (5001, 5002), (5002, 5002)])
def test_ports_outside_the_range_and_blocked_ones(make: Make, port: int, found: int) -> None:
    options = ports("5000-5003", provider_filter=(BlockedPorts(6, (PortRange(5001, 5001),)),))
    assert chosen(said(Control(make(ftp_edge(WAY_OUT, options=options)), OUT), port_line(port))) == found


def test_a_port_that_answers_from_port_20_already_use(make: Make) -> None:
    control = Control(make(ftp_edge(WAY_OUT)), OUT)
    assert chosen(said(control, port_line(5000))) == 5000
    control.tracer.send(f"tcp {OUTSIDE}:20 > 203.0.113.10:5000 S")
    assert chosen(said(control, port_line(5000))) == 5001


def test_the_reply_tuple_is_taken(make: Make) -> None:
    out = rule("out", services="tcp/20")
    options = ports("1024-65535", timers=replace(Timers(), tcp_first=2))
    control = Control(make(ftp_edge(WAY_OUT, firewall=(FTP, TFTP, out), options=options)), OUT)
    control.tracer.send(f"tcp {CLIENT}:5000 > {OUTSIDE}:20 S")
    said(control, port_line(5000))
    results = control.tracer.send(f"tcp {OUTSIDE}:20 > 203.0.113.10:5000 S")
    assert (why(results), steps(results)[-1]) == ("DROP NAT_COLLISION", "NAT DROP internet")
    control.tracer.wait(2)
    assert why(control.tracer.send(f"tcp {OUTSIDE}:20 > 203.0.113.10:5000 S")) == "ALLOW ALG"


def test_two_control_sessions_announce_the_same(make: Make) -> None:
    first = Control(make(ftp_edge()), OUT)
    second = Control(first.edge, OUT.replace("40000", "40001"), first.tracer)
    said(first, port_line(5000))
    said(second, port_line(5000))  # takes the other's place
    first.say(b"", "R")
    first.tracer.wait(2)
    assert why(first.tracer.send(f"tcp {OUTSIDE}:20 > {CLIENT}:5000 S")) == "ALLOW ALG"


def test_a_packet_that_would_grow_too_large(make: Make) -> None:
    config = ftp_edge(WAY_OUT, options=ports("1024-65535", mtu=61))
    control = Control(make(config), OUT)
    short = said(control, "> PORT 10,20,0,50,4,1", b"\n")  # 60 bytes, 62 with the new address
    assert (why(short), payload_of(short), expected(short)) == ("ALLOW SESSION", b"PORT 10,20,0,50,4,1\n", None)


def test_client_and_server_are_one_machine_and_name_one_port(make: Make) -> None:
    published = nat("pub", "DNAT", "203.0.113.10", DMZ_SERVER, external_port="21", app="tcp/21")
    edge = make(ftp_edge(published, nat("out", "SNAT", "203.0.113.10", "10.30.0.0/24"), options=ports("5000-5003")))
    control = Control(edge, f"tcp {DMZ_SERVER}:40000 > 203.0.113.10:21 S in=DMZ")
    assert chosen(said(control, "> PORT 10,30,0,5,19,136")) == 5000
    assert chosen(said(control, "< 227 (10,30,0,5,19,136)")) == 5001  # what comes there bears another source
    assert chosen(said(control, "> PORT 10,30,0,5,19,136")) == 5000


def test_what_is_announced_on_a_copy_is_not_awaited_here(make: Make) -> None:
    control = Control(make(ftp_edge(WAY_OUT, options=ports("2000-2001"))), OUT)
    said(control, port_line(2000))
    copy = Control.__new__(Control)
    copy.edge, copy.info = control.edge.snapshot(), control.info
    copy.tracer = Tracer(copy.edge)
    assert expected(said(copy, port_line(2001))) == f"tcp {OUTSIDE}:0 > 203.0.113.10:2001 S"
    assert expected(said(copy, port_line(2002))) is None  # both are awaited there
    assert expected(said(control, port_line(2002))) == f"tcp {OUTSIDE}:0 > 203.0.113.10:2001 S"
    assert why(copy.tracer.send(f"tcp {OUTSIDE}:20 > 203.0.113.10:2000 S")) == "ALLOW ALG"
    assert why(control.tracer.send(f"tcp {OUTSIDE}:20 > 203.0.113.10:2000 S")) == "ALLOW ALG"
