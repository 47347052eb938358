"""The eighteen packets of docs/fidelity.md, on the native edge and on the readable one.

client 198.51.100.99 -- INTERNET -- T1-ACME -- LAN-ACME -- machine 10.20.0.10
                        203.0.113.10, .11    10.20.0.0/24
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest

from edge.checks import check
from edge.document import from_data, loads
from edge.reference import ReferenceEdge
from edge.runtime import Edge
from edge.trace import Tracer, TraceResult
from edge.verdicts import Reason, Verdict
from tests.support import SAMPLE

LAN_TWO = {
    "name": "LAN-TWO",
    "networkType": "NAT_ROUTED",
    "connection": {"connectionTypeValue": "INTERNAL"},
    "subnets": {"values": [{"gateway": "10.20.1.1", "prefixLength": 24}]},
}
OWN_FTP = {"name": "own-ftp", "applicationPorts": [{"protocol": "TCP", "destinationPorts": ["21"]}]}
VPN_EXEMPT = {
    "name": "vpn-exempt",
    "type": "NO_SNAT",
    "internalAddresses": "10.20.0.0/24",
    "snatDestinationAddresses": "192.168.50.0/24",
    "priority": 0,
}

WEB, EXEMPT, SNAT = 0, 1, 2  # places in natRules
SYN_TO_WEB = "tcp 198.51.100.99:40000 > 203.0.113.11:80 S"

Trace = Callable[..., Tracer]


@pytest.fixture
def document() -> Any:
    """The sample with a second network and an exemption from SNAT."""
    data = loads(SAMPLE).document
    data["orgVdcNetworks"].append(copy.deepcopy(LAN_TWO))
    data["applicationPortProfiles"].append(copy.deepcopy(OWN_FTP))
    data["natRules"].insert(EXEMPT, copy.deepcopy(VPN_EXEMPT))
    return data


@pytest.fixture(params=[Edge, ReferenceEdge], ids=["native", "reference"])
def trace(request: pytest.FixtureRequest) -> Trace:
    return lambda document: Tracer(request.param(from_data(document, allow_unsupported=True).config))


def rules(result: TraceResult) -> tuple[str | None, list[str]]:
    """The firewall rule and the NAT rules, by name."""
    return result.firewall_rule and result.firewall_rule[0], [name for name, _ in result.nat_rules]


def left(result: TraceResult) -> list[str]:
    return [f"{output.port} {output.packet}" for output in result.outputs]


def test_01_published_web_server(trace: Trace, document: Any) -> None:
    tracer = trace(document)
    (there,) = tracer.send(SYN_TO_WEB)
    assert (there.verdict, there.reason) == (Verdict.ALLOW, Reason.FW_RULE)
    assert rules(there) == ("in-web", ["pub-web"])
    assert left(there) == ["LAN-ACME tcp 198.51.100.99:40000 > 10.20.0.10:8080 S"]
    assert there.steps[-1].logged
    (back,) = tracer.reply("SA")
    assert left(back) == ["INTERNET tcp 203.0.113.11:80 > 198.51.100.99:40000 SA"]


def test_02_the_servers_own_port_is_not_published(trace: Trace, document: Any) -> None:
    (result,) = trace(document).send("tcp 198.51.100.99:40000 > 203.0.113.11:8080 S")
    assert (result.verdict, result.reason, rules(result)) == (Verdict.DROP, Reason.FW_DEFAULT, ("default_rule", []))


@pytest.mark.parametrize("port", [80, 22])
def test_03_without_a_profile_the_port_is_ignored(trace: Trace, document: Any, port: int) -> None:
    del document["natRules"][WEB]["applicationPortProfile"]
    (result,) = trace(document).send(f"tcp 198.51.100.99:40000 > 203.0.113.11:{port} S")
    nat, firewall = result.steps[-3], result.steps[-1]
    assert nat.after == firewall.saw == f"tcp 198.51.100.99:40000 > 10.20.0.10:{port} S"
    assert (result.verdict, result.reason) == (Verdict.DROP, Reason.FW_DEFAULT)


def test_04_match_external_address_sees_the_public_address(trace: Trace, document: Any) -> None:
    document["natRules"][WEB]["firewallMatch"] = "MATCH_EXTERNAL_ADDRESS"
    (result,) = trace(document).send(SYN_TO_WEB)
    assert (result.verdict, result.reason) == (Verdict.DROP, Reason.FW_DEFAULT)
    assert result.steps[-1].saw == SYN_TO_WEB


def test_05_bypass_asks_no_rule(trace: Trace, document: Any) -> None:
    document["natRules"][WEB]["firewallMatch"] = "BYPASS"
    (result,) = trace(document).send(SYN_TO_WEB)
    assert (result.verdict, result.reason, rules(result)) == (Verdict.ALLOW, Reason.NAT_BYPASS, (None, ["pub-web"]))
    assert left(result) == ["LAN-ACME tcp 198.51.100.99:40000 > 10.20.0.10:8080 S"]


def test_06_outgoing_gets_the_public_address_and_a_new_port(trace: Trace, document: Any) -> None:
    (result,) = trace(document).send("udp 10.20.0.10:40000 > 8.8.8.8:53")
    assert rules(result) == ("out", ["internet"])
    assert result.steps[-1].saw == "udp 10.20.0.10:40000 > 8.8.8.8:53"
    source, _, destination = result.outputs[0].packet.removeprefix("udp ").partition(" > ")
    address, _, port = source.partition(":")
    assert (address, destination) == ("203.0.113.10", "8.8.8.8:53")
    assert 1024 <= int(port) <= 65535


def test_07_the_exemption_wins_by_priority(trace: Trace, document: Any) -> None:
    (result,) = trace(document).send("udp 10.20.0.10:40000 > 192.168.50.5:53")
    assert (result.verdict, rules(result)) == (Verdict.ALLOW, ("out", ["vpn-exempt"]))
    assert left(result) == ["INTERNET udp 10.20.0.10:40000 > 192.168.50.5:53"]


def test_08_equal_priorities_go_by_the_list_with_a_warning(trace: Trace, document: Any) -> None:
    document["natRules"][EXEMPT]["priority"] = 100
    (result,) = trace(document).send("udp 10.20.0.10:40000 > 192.168.50.5:53")
    assert rules(result)[1] == ["vpn-exempt"]
    loaded = from_data(document)
    assert "NAT_PRIORITY_TIE" in {problem.code for problem in check(loaded.config, loaded)}


def test_09_without_the_exemption_the_source_is_translated(trace: Trace, document: Any) -> None:
    document["natRules"][EXEMPT]["enabled"] = False
    (result,) = trace(document).send("udp 10.20.0.10:40000 > 192.168.50.5:53")
    assert rules(result)[1] == ["internet"]
    assert result.outputs[0].packet.startswith("udp 203.0.113.10:")


def test_10_what_a_tunnel_would_deliver_needs_an_inbound_rule(trace: Trace, document: Any) -> None:
    (result,) = trace(document).send("tcp 192.168.50.5:40000 > 10.20.0.10:22 S in=INTERNET")
    assert (result.verdict, result.reason, rules(result)) == (Verdict.DROP, Reason.FW_DEFAULT, ("default_rule", []))


@pytest.mark.parametrize(
    ("strict", "verdict", "reason"),
    [(True, Verdict.DROP, Reason.TCP_STRICT), (False, Verdict.ALLOW, Reason.FW_RULE)],
)
def test_11_an_ack_without_a_session(
    trace: Trace, document: Any, strict: bool, verdict: Verdict, reason: Reason
) -> None:
    document["options"] = {"tcpStrict": strict}
    (result,) = trace(document).send("tcp 10.20.0.10:40000 > 198.51.100.99:443 A")
    assert (result.verdict, result.reason) == (verdict, reason)


def test_12_a_udp_answer_after_thirty_seconds(trace: Trace, document: Any) -> None:
    tracer = trace(document)
    tracer.send("udp 10.20.0.10:40000 > 8.8.8.8:53")
    tracer.wait(29)
    (in_time,) = tracer.reply()
    assert (in_time.verdict, in_time.reason) == (Verdict.ALLOW, Reason.SESSION)
    tracer.send("udp 10.20.0.10:40001 > 8.8.8.8:53")
    tracer.wait(31)
    (late,) = tracer.reply()
    assert (late.verdict, late.reason) == (Verdict.DROP, Reason.FW_DEFAULT)


def test_13_reject_answers(trace: Trace, document: Any) -> None:
    document["firewallRules"]["userDefinedRules"][1]["actionValue"] = "REJECT"
    tracer = trace(document)
    (tcp,) = tracer.send("tcp 10.20.0.10:40000 > 8.8.8.8:53 S")
    assert (tcp.verdict, left(tcp)) == (Verdict.REJECT, ["LAN-ACME tcp 8.8.8.8:53 > 10.20.0.10:40000 RA"])
    (udp,) = tracer.send("udp 10.20.0.10:40000 > 8.8.8.8:53")
    assert udp.verdict is Verdict.REJECT
    assert left(udp)[0].startswith("LAN-ACME icmp 10.20.0.1 > 10.20.0.10 admin-prohibited")


def test_14_between_distributed_networks_no_rule_is_asked(trace: Trace, document: Any) -> None:
    (result,) = trace(document).send("tcp 10.20.1.10:40000 > 10.20.0.10:22 S")
    assert (result.verdict, result.reason, rules(result)) == (Verdict.ALLOW, Reason.EAST_WEST, (None, []))


def test_14_unless_the_switch_says_so(trace: Trace, document: Any) -> None:
    document["options"] = {"eastWestFirewall": True}
    (result,) = trace(document).send("tcp 10.20.1.10:40000 > 10.20.0.10:22 S")
    assert (result.verdict, result.reason) == (Verdict.DROP, Reason.FW_DEFAULT)


def test_15_ones_own_public_address_is_reached_by_the_provider(trace: Trace, document: Any) -> None:
    out, back = trace(document).send("tcp 10.20.0.10:40000 > 203.0.113.11:80 S")
    assert (out.hairpin, rules(out)[1], out.outputs[0].port) == (False, ["internet"], "INTERNET")
    assert (back.hairpin, back.in_port, rules(back)) == (True, "INTERNET", ("in-web", ["pub-web"]))
    assert "> 10.20.0.10:8080 S" in back.outputs[0].packet


def test_16_the_provider_filters_upstream(trace: Trace, document: Any) -> None:
    del document["natRules"][WEB]["applicationPortProfile"]
    (result,) = trace(document).send("tcp 198.51.100.99:40000 > 203.0.113.11:445 S")
    assert (result.verdict, result.reason, rules(result)) == (Verdict.DROP, Reason.PROVIDER_FILTER, (None, []))


def test_17_an_icmp_error_about_a_session_is_translated_inside_and_out(trace: Trace, document: Any) -> None:
    tracer = trace(document)
    (query,) = tracer.send("udp 10.20.0.10:40000 > 8.8.8.8:53")
    quoted = query.outputs[0].packet
    (error,) = tracer.send(f'icmp 198.51.100.1 > 203.0.113.10 frag-needed mtu=1400 of="{quoted}"')
    assert (error.verdict, error.reason) == (Verdict.ALLOW, Reason.RELATED)
    inside = 'of="udp 10.20.0.10:40000 > 8.8.8.8:53"'
    assert left(error) == [f"LAN-ACME icmp 198.51.100.1 > 10.20.0.10 frag-needed mtu=1400 {inside}"]


@pytest.mark.parametrize("profile", ["own-ftp", "FTP"])
def test_18_only_the_system_profile_opens_a_data_channel(trace: Trace, document: Any, profile: str) -> None:
    document["firewallRules"]["userDefinedRules"].append(
        {"name": "in-ftp", "actionValue": "ALLOW", "applicationPortProfiles": [{"name": profile}]}
    )
    assert from_data(document).problems == ()
    tracer = trace(document)
    (control,) = tracer.send("tcp 198.51.100.99:40000 > 10.20.0.10:21 S")
    assert (control.verdict, rules(control)[0]) == (Verdict.ALLOW, "in-ftp")
    tracer.reply("SA")
    tracer.reply("A")
    (passive,) = tracer.reply('PA data="227 Entering Passive Mode (10,20,0,10,195,80)\\r\\n"')
    assert passive.verdict is Verdict.ALLOW
    (data,) = tracer.send("tcp 198.51.100.99:40001 > 10.20.0.10:50000 S")
    if profile == "own-ftp":
        assert (data.verdict, data.reason) == (Verdict.DROP, Reason.FW_DEFAULT)
    else:
        assert (data.verdict, data.reason, rules(data)[0]) == (Verdict.ALLOW, Reason.ALG, "in-ftp")
        assert left(data) == ["LAN-ACME tcp 198.51.100.99:40001 > 10.20.0.10:50000 S"]
    (other,) = tracer.send("tcp 198.51.100.99:40001 > 10.20.0.10:50001 S")
    assert (other.verdict, other.reason) == (Verdict.DROP, Reason.FW_DEFAULT)
