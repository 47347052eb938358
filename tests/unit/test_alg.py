"""Application layer gateways of FTP: what control sessions announce comes through, once, as NAT hides it."""

from __future__ import annotations

from dataclasses import dataclass, replace

import pytest

from edge.addresses import PortRange
from edge.firewall.config import ApplicationPortProfile, FirewallRule, Service
from edge.model import EdgeConfig, Profile
from edge.nat.config import NatRule
from edge.trace import Tracer
from tests.alg_bench import (
    CALLED,
    CALLED6,
    CLIENT,
    CLIENT6,
    DMZ_SERVER,
    FTP,
    HIDDEN,
    IN,
    IN6,
    IN_DMZ,
    OUT,
    OUT6,
    OUTSIDE,
    OUTSIDE6,
    OWN,
    PUBLISHED,
    PUBLISHED6,
    SERVER,
    SERVER6,
    TFTP,
    WAY_OUT,
    WAY_OUT6,
    Control,
    Make,
    expected,
    ftp_edge,
    hairpin_control,
    hairpin_edge,
    outputs,
    payload_of,
    said,
    session_of,
    steps,
    why,
    with_profile,
)
from tests.support import default_rule, logged, nat, rule


@dataclass(frozen=True)
class Case:
    """A control session, a line (``>`` the client's, ``<`` the server's), what becomes of it, and the data connection
    that it announces: as it is awaited, as it comes, as it leaves."""

    rules: tuple[NatRule, ...]
    syn: str
    line: str
    leaves: str
    awaited: str
    comes: str
    goes: str


CASES = {
    "active": Case(
        (), IN, "> PORT 198,51,100,9,200,10", "PORT 198,51,100,9,200,10",
        f"tcp {SERVER}:0 > {OUTSIDE}:51210 S", f"tcp {SERVER}:20 > {OUTSIDE}:51210 S",
        f"INTERNET tcp {SERVER}:20 > {OUTSIDE}:51210 S",
    ),
    "active behind SNAT": Case(
        (WAY_OUT,), OUT, "> PORT 10,20,0,50,200,10", "PORT 203,0,113,10,200,10",
        f"tcp {OUTSIDE}:0 > 203.0.113.10:51210 S", f"tcp {OUTSIDE}:20 > 203.0.113.10:51210 S",
        f"LAN tcp {OUTSIDE}:20 > {CLIENT}:51210 S",
    ),
    "active behind DNAT": Case(
        (PUBLISHED,), CALLED, "> PORT 198,51,100,9,200,10", "PORT 198,51,100,9,200,10",
        f"tcp {SERVER}:0 > {OUTSIDE}:51210 S", f"tcp {SERVER}:20 > {OUTSIDE}:51210 S",
        f"INTERNET tcp 203.0.113.11:20 > {OUTSIDE}:51210 S",
    ),
    "active behind DNAT, from any port": Case(
        (PUBLISHED, WAY_OUT), CALLED, "> PORT 198,51,100,9,200,10", "PORT 198,51,100,9,200,10",
        f"tcp {SERVER}:0 > {OUTSIDE}:51210 S", f"tcp {SERVER}:2020 > {OUTSIDE}:51210 S",
        f"INTERNET tcp 203.0.113.11:2020 > {OUTSIDE}:51210 S",
    ),
    "EPRT over IPv6 behind DNAT": Case(
        (PUBLISHED6, WAY_OUT6), CALLED6, "> EPRT |2|2001:db8:beef::9|51210|", "EPRT |2|2001:db8:beef::9|51210|",
        f"tcp [{SERVER6}]:0 > [{OUTSIDE6}]:51210 S", f"tcp [{SERVER6}]:20 > [{OUTSIDE6}]:51210 S",
        f"INTERNET tcp [2001:db8:ff::10]:20 > [{OUTSIDE6}]:51210 S",
    ),
    "active behind both": Case(
        (IN_DMZ, HIDDEN), CALLED, "> PORT 198,51,100,9,200,10", "PORT 203,0,113,10,200,10",
        f"tcp {DMZ_SERVER}:0 > 203.0.113.10:51210 S", f"tcp {DMZ_SERVER}:20 > 203.0.113.10:51210 S",
        f"INTERNET tcp 203.0.113.11:20 > {OUTSIDE}:51210 S",
    ),
    "EPRT": Case(
        (), IN, "> EPRT |1|198.51.100.9|51210|", "EPRT |1|198.51.100.9|51210|",
        f"tcp {SERVER}:0 > {OUTSIDE}:51210 S", f"tcp {SERVER}:2020 > {OUTSIDE}:51210 S",
        f"INTERNET tcp {SERVER}:2020 > {OUTSIDE}:51210 S",
    ),
    "EPRT behind SNAT": Case(
        (WAY_OUT,), OUT, "> eprt !1!10.20.0.50!51210!", "eprt !1!203.0.113.10!51210!",
        f"tcp {OUTSIDE}:0 > 203.0.113.10:51210 S", f"tcp {OUTSIDE}:20 > 203.0.113.10:51210 S",
        f"LAN tcp {OUTSIDE}:20 > {CLIENT}:51210 S",
    ),
    "EPRT over IPv6": Case(
        (), IN6, "> EPRT |2|2001:DB8:beef:0::9|51210|", "EPRT |2|2001:DB8:beef:0::9|51210|",
        f"tcp [{SERVER6}]:0 > [{OUTSIDE6}]:51210 S", f"tcp [{SERVER6}]:20 > [{OUTSIDE6}]:51210 S",
        f"INTERNET tcp [{SERVER6}]:20 > [{OUTSIDE6}]:51210 S",
    ),
    "EPRT over IPv6, exploded": Case(
        (), IN6, "> EPRT |2|2001:0db8:beef:0000:0000:0000:0000:0009|1234|",
        "EPRT |2|2001:0db8:beef:0000:0000:0000:0000:0009|1234|",
        f"tcp [{SERVER6}]:0 > [{OUTSIDE6}]:1234 S", f"tcp [{SERVER6}]:20 > [{OUTSIDE6}]:1234 S",
        f"INTERNET tcp [{SERVER6}]:20 > [{OUTSIDE6}]:1234 S",
    ),
    "EPRT over IPv6, exploded, behind SNAT": Case(
        (WAY_OUT6,), OUT6, "> EPRT |2|2001:0db8:0020:0000:0000:0000:0000:0050|1234|", "EPRT |2|2001:db8:ff::10|1234|",
        f"tcp [{OUTSIDE6}]:0 > [2001:db8:ff::10]:1234 S", f"tcp [{OUTSIDE6}]:20 > [2001:db8:ff::10]:1234 S",
        f"LAN tcp [{OUTSIDE6}]:20 > [{CLIENT6}]:1234 S",
    ),
    "EPRT over IPv6, ended as IPv4": Case(
        (), IN6, "> EPRT |2|2001:0DB8:BEEF:0000:0000:0000:0.0.0.9|1234|",
        "EPRT |2|2001:0DB8:BEEF:0000:0000:0000:0.0.0.9|1234|",
        f"tcp [{SERVER6}]:0 > [{OUTSIDE6}]:1234 S", f"tcp [{SERVER6}]:20 > [{OUTSIDE6}]:1234 S",
        f"INTERNET tcp [{SERVER6}]:20 > [{OUTSIDE6}]:1234 S",
    ),
    "EPRT over IPv6 behind SNAT": Case(
        (WAY_OUT6,), OUT6, "> EPRT |2|2001:0db8:20:0:0:0:0:50|51210|", "EPRT |2|2001:db8:ff::10|51210|",
        f"tcp [{OUTSIDE6}]:0 > [2001:db8:ff::10]:51210 S", f"tcp [{OUTSIDE6}]:20 > [2001:db8:ff::10]:51210 S",
        f"LAN tcp [{OUTSIDE6}]:20 > [{CLIENT6}]:51210 S",
    ),
    "passive": Case(
        (), OUT, "< 227 Entering Passive Mode (198,51,100,9,200,10).",
        "227 Entering Passive Mode (198,51,100,9,200,10).",
        f"tcp {CLIENT}:0 > {OUTSIDE}:51210 S", f"tcp {CLIENT}:40001 > {OUTSIDE}:51210 S",
        f"INTERNET tcp {CLIENT}:40001 > {OUTSIDE}:51210 S",
    ),
    "passive behind DNAT": Case(
        (PUBLISHED,), CALLED, "< 227 Entering Passive Mode (10,20,0,5,200,10).",
        "227 Entering Passive Mode (203,0,113,11,200,10).",
        f"tcp {OUTSIDE}:0 > 203.0.113.11:51210 S", f"tcp {OUTSIDE}:40001 > 203.0.113.11:51210 S",
        f"LAN tcp {OUTSIDE}:40001 > {SERVER}:51210 S",
    ),
    "EPSV": Case(
        (), IN, "< 229 Entering Extended Passive Mode (|||51210|)", "229 Entering Extended Passive Mode (|||51210|)",
        f"tcp {OUTSIDE}:0 > {SERVER}:51210 S", f"tcp {OUTSIDE}:40001 > {SERVER}:51210 S",
        f"LAN tcp {OUTSIDE}:40001 > {SERVER}:51210 S",
    ),
    "EPSV behind DNAT": Case(
        (PUBLISHED,), CALLED, "< 229 ok (!!!51210!) bye", "229 ok (!!!51210!) bye",
        f"tcp {OUTSIDE}:0 > 203.0.113.11:51210 S", f"tcp {OUTSIDE}:40001 > 203.0.113.11:51210 S",
        f"LAN tcp {OUTSIDE}:40001 > {SERVER}:51210 S",
    ),
    "EPSV over IPv6": Case(
        (), OUT6, "< 229 (|||51210|)", "229 (|||51210|)",
        f"tcp [{CLIENT6}]:0 > [{OUTSIDE6}]:51210 S", f"tcp [{CLIENT6}]:40001 > [{OUTSIDE6}]:51210 S",
        f"INTERNET tcp [{CLIENT6}]:40001 > [{OUTSIDE6}]:51210 S",
    ),
    "EPSV over IPv6 behind DNAT": Case(
        (PUBLISHED6,), CALLED6, "< 229 (|||51210|)", "229 (|||51210|)",
        f"tcp [{OUTSIDE6}]:0 > [2001:db8:ff::10]:51210 S", f"tcp [{OUTSIDE6}]:40001 > [2001:db8:ff::10]:51210 S",
        f"LAN tcp [{OUTSIDE6}]:40001 > [{SERVER6}]:51210 S",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
def test_what_is_announced_comes_through_once(make: Make, case: Case) -> None:
    control = Control(make(ftp_edge(*case.rules)), case.syn)
    refused = control.tracer.send(case.comes)
    assert why(refused) in ("DROP FW_DEFAULT", "LOCAL LOCAL_SERVICE")
    results = said(control, case.line)
    assert why(results) == "ALLOW SESSION"
    assert payload_of(results) == case.leaves.encode() + b"\r\n"
    assert expected(results) == case.awaited
    came = control.tracer.send(case.comes)
    assert (why(came), outputs(came)) == ("ALLOW ALG", [case.goes])
    assert why(control.tracer.reply("SA")) == "ALLOW SESSION"
    assert why(control.tracer.reply("A")) == "ALLOW SESSION"
    other = case.comes.replace(":20 >", ":21 >").replace(":2020 >", ":21 >").replace(":40001 >", ":40002 >")
    assert why(control.tracer.send(other)) == why(refused)


def test_the_steps_of_a_data_connection(make: Make) -> None:
    control = Control(make(ftp_edge(IN_DMZ, HIDDEN)), CALLED)
    assert steps(said(control, "> PORT 198,51,100,9,200,10")) == ["SESSION HIT ftp", "SESSION EXPECT"]
    came = control.tracer.send(f"tcp {DMZ_SERVER}:20 > 203.0.113.10:51210 S")
    assert steps(came) == [
        "SESSION MISS", "NAT DNAT hide", "ROUTE DEFAULT", "PROVIDER_FILTER PASS", "NAT SNAT pub-dmz",
        "FIREWALL ALG ftp",
    ]  # fmt: skip
    assert came[-1].steps[1].after == f"tcp {DMZ_SERVER}:20 > {OUTSIDE}:51210 S"
    assert came[-1].steps[4].after == f"tcp 203.0.113.11:20 > {OUTSIDE}:51210 S"
    assert came[-1].steps[5].saw == f"tcp {DMZ_SERVER}:20 > {OUTSIDE}:51210 S"
    info = session_of(control.edge, f"{DMZ_SERVER}:20")
    assert (info.firewall_rule_id, info.dnat_rule_id, info.snat_rule_id) == ("ftp", "hide", "pub-dmz")
    assert 'on behalf of the firewall rule "ftp"' in came[-1].explanation


def test_rules_count_and_log_a_data_connection(make: Make) -> None:
    logging = replace(FTP, logging=True)
    edge = make(ftp_edge(replace(WAY_OUT, logging=True), firewall=(logging,)))
    control = Control(edge, OUT)
    said(control, "> PORT 10,20,0,50,200,10")
    logged(edge)
    before = edge.rule_counters()
    came = control.tracer.send(f"tcp {OUTSIDE}:20 > 203.0.113.10:51210 S")
    assert [step.logged for step in came[-1].steps if step.stage.name in ("NAT", "FIREWALL")] == [True, True]
    seen = [(event.rule_id, str(event.saw.dst), event.saw.dport) for event in logged(edge)]
    assert seen == [("ftp", CLIENT, 51210), ("internet", "203.0.113.10", 51210)]
    after = edge.rule_counters()
    for name in ("ftp", "internet"):
        grown = after[name].hits - before[name].hits, after[name].packets - before[name].packets
        assert (*grown, after[name].bytes - before[name].bytes) == (1, 1, 40)


def test_answers_of_a_passive_server_are_left_to_the_snat_rules(make: Make) -> None:
    control = Control(make(ftp_edge(WAY_OUT)), OUT)
    said(control, "< 227 (198,51,100,9,200,10)")
    came = control.tracer.send(f"tcp {CLIENT}:40001 > {OUTSIDE}:51210 S")
    assert (why(came), steps(came)[-2:]) == ("ALLOW ALG", ["NAT SNAT internet", "FIREWALL ALG ftp"])
    assert outputs(came)[0].startswith("INTERNET tcp 203.0.113.10:")


def test_a_server_calls_back_by_the_address_that_was_called(make: Make) -> None:
    edge = make(ftp_edge(PUBLISHED, WAY_OUT))
    control = Control(edge, CALLED)
    said(control, "> PORT 198,51,100,9,200,10")
    came = control.tracer.send(f"tcp {SERVER}:20 > {OUTSIDE}:51210 S")
    assert (why(came), steps(came)[-2:]) == ("ALLOW ALG", ["NAT SNAT pub-ftp", "FIREWALL ALG ftp"])
    info = session_of(edge, f"{SERVER}:20")
    assert (info.firewall_rule_id, info.dnat_rule_id, info.snat_rule_id) == ("ftp", None, "pub-ftp")
    assert outputs(control.tracer.reply("SA")) == [f"LAN tcp {OUTSIDE}:51210 > {SERVER}:20 SA"]


@pytest.mark.parametrize("profile", Profile)
@pytest.mark.parametrize("outside", ["203.0.113.10", "203.0.113.11"], ids=["the primary address", "the server's"])
def test_a_client_behind_the_same_edge_is_called_back(make: Make, profile: Profile, outside: str) -> None:
    control = hairpin_control(make, hairpin_edge(outside, profile), outside)
    call = f"tcp {SERVER}:20 > {outside}:51210 S"
    came = control.tracer.send(call)
    assert why(came) == "ALLOW ALG"
    passed = [came, control.tracer.reply("SA"), control.tracer.reply("A")]
    assert [outputs(results)[0].removesuffix(" ttl=62") for results in passed] == [
        f"LAN tcp 203.0.113.11:20 > {CLIENT}:51210 S",
        f"LAN tcp {outside}:51210 > {SERVER}:20 SA",
        f"LAN tcp 203.0.113.11:20 > {CLIENT}:51210 A",
    ]
    again = control.tracer.send(call.replace(":20 ", ":21 "))
    assert why(again) == ("LOCAL LOCAL_SERVICE" if outside == "203.0.113.10" else "DROP FW_DEFAULT")


def test_reflexive_on_the_way_makes_a_session_all_the_same(make: Make) -> None:
    both_ways = nat("both-ways", "REFLEXIVE", "203.0.113.11", SERVER, match="BYPASS")
    edge = make(ftp_edge(both_ways))
    control = Control(edge, IN)
    said(control, "> PORT 198,51,100,9,200,10")
    came = control.tracer.send(f"tcp {SERVER}:20 > {OUTSIDE}:51210 S")
    assert (why(came), outputs(came)) == ("ALLOW ALG", [f"INTERNET tcp 203.0.113.11:20 > {OUTSIDE}:51210 S"])
    assert session_of(edge, f"{SERVER}:20").snat_rule_id == "both-ways"


PASTED = ApplicationPortProfile("pasted", "FTP", "SYSTEM", (Service(6, (PortRange(2121, 2121),)),), "FTP")


@pytest.mark.parametrize(
    ("firewall", "port", "listens"),
    [
        ((FTP,), 21, True),
        ((with_profile("many", "HTTP", "FTP", "TFTP"),), 21, True),
        ((with_profile("many", "HTTP", "FTP"),), 80, False),  # not a port of the profile with the helper
        ((replace(rule("own"), profiles=(OWN,)),), 21, False),
        ((replace(rule("both"), profiles=(OWN, *FTP.profiles)),), 21, True),
        ((rule("any"),), 21, False),
        ((replace(rule("raw"), services=OWN.services),), 21, False),
        ((replace(rule("pasted"), profiles=(PASTED,)),), 2121, True),
        ((replace(rule("raw"), services=OWN.services, profiles=(PASTED,)),), 21, False),
        ((default_rule("ALLOW"),), 21, False),
    ],
    ids=str,
)
def test_which_sessions_are_listened_to(
    make: Make, firewall: tuple[FirewallRule, ...], port: int, *, listens: bool
) -> None:
    edge = make(ftp_edge(firewall=firewall))
    tracer = Tracer(edge)
    tracer.send(f"tcp {CLIENT}:40000 > {OUTSIDE}:{port} S")
    tracer.reply("SA")
    tracer.reply("A")
    line = 'PA data="PORT 10,20,0,50,200,10\\r\\n"'
    results = tracer.send(f"tcp {CLIENT}:40000 > {OUTSIDE}:{port} {line}")
    assert (why(results), expected(results) is not None) == ("ALLOW SESSION", listens)


def test_the_port_is_the_one_that_the_firewall_sees(make: Make) -> None:
    published = nat("pub", "DNAT", "203.0.113.11", SERVER, external_port="2121", app="tcp/21")
    edge = make(ftp_edge(published))
    control = Control(edge, f"tcp {OUTSIDE}:40000 > 203.0.113.11:2121 S")
    assert expected(said(control, "< 227 (10,20,0,5,200,10)")) == f"tcp {OUTSIDE}:0 > 203.0.113.11:51210 S"


def test_under_bypass_nobody_listens(make: Make) -> None:
    edge = make(ftp_edge(replace(WAY_OUT, firewall_match=nat("", "SNAT", match="BYPASS").firewall_match)))
    tracer = Tracer(edge)
    assert why(tracer.send(OUT)) == "ALLOW NAT_BYPASS"
    tracer.reply("SA")
    tracer.reply("A")
    results = tracer.send(f'{OUT[:-2]} PA data="PORT 10,20,0,50,200,10\\r\\n"')
    assert (why(results), expected(results)) == ("ALLOW SESSION", None)


def test_commands_count_once_the_handshake_is_over_and_until_a_reset(make: Make) -> None:
    tracer = Tracer(make(ftp_edge()))
    line = 'data="PORT 10,20,0,50,200,10\\r\\n"'
    tracer.send(OUT)
    early = tracer.send(f"{OUT[:-2]} PA {line}")
    assert (why(early), expected(early)) == ("ALLOW SESSION", None)
    tracer.send(f"tcp {OUTSIDE}:21 > {CLIENT}:40000 SA ack=1025")
    assert expected(tracer.send(f"{OUT[:-2]} PA {line}")) is not None  # with the ACK that ends it
    assert expected(tracer.send(f"{OUT[:-2]} FPA {line}")) is not None
    tracer.send(f"tcp {OUTSIDE}:21 > {CLIENT}:40000 R")
    reset = tracer.send(f"{OUT[:-2]} PA {line}")
    assert expected(reset) is None


def test_a_nat_rule_with_a_helpers_profile_is_its_port_only(make: Make) -> None:
    published = replace(
        nat("pub", "DNAT", "203.0.113.11", SERVER), profile=FTP.profiles[0], external_port=PortRange(21, 21)
    )
    config: EdgeConfig = ftp_edge(published, firewall=(replace(rule("own"), profiles=(OWN,)), TFTP))
    control = Control(make(config), CALLED)
    results = said(control, "< 227 (10,20,0,5,200,10)")
    assert (payload_of(results), expected(results)) == (b"227 (10,20,0,5,200,10)\r\n", None)
