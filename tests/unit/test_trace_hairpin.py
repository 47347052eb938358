"""What a trace shows of packets that enter again within the edge (profile strict-rfc), on either edge."""

from __future__ import annotations

from edge.model import Profile
from edge.trace import Tracer, TraceResult, render
from edge.verdicts import Reason, Stage, StepResult, Verdict
from tests.alg_bench import with_profile
from tests.reference_bench import MakeEdge
from tests.support import acme, default_rule, nat, network, rule, uplink, with_options

WEB = nat("web", "DNAT", "203.0.113.11", "10.20.0.10", external_port="80", app="tcp/8080", logging=True)
OUT = nat("internet", "SNAT", "203.0.113.10", "10.20.0.0/24", priority=100)


def trace(make: MakeEdge, text: str, **changes: object) -> TraceResult:
    """The only result for one packet."""
    networks = [network("LAN", "10.20.0.1/24"), network("CAGE", "10.99.0.1/24", kind="ISOLATED")]
    uplinks = [uplink("INTERNET", "203.0.113.1/24 203.0.113.10-203.0.113.12")]
    config = acme(**({"uplinks": uplinks, "networks": networks, "nat_rules": [WEB, OUT]} | changes))
    (result,) = Tracer(make(with_options(config, profile=Profile.STRICT_RFC))).send(text)
    return result


def test_both_passes_are_one_result(make: MakeEdge) -> None:
    result = trace(make, "tcp 10.20.0.20:5 > 203.0.113.11:80 S")
    assert (result.verdict, result.reason, result.hairpin) == (Verdict.ALLOW, Reason.FW_RULE, False)
    assert result.explanation == 'the firewall rule "in-web" allows it'
    assert result.firewall_rule == ("in-web", "in-web")
    assert [name for name, _ in result.nat_rules] == ["internet", "web"]
    assert [output.port for output in result.outputs] == ["LAN"]
    assert result.session is not None
    assert result.session.state == "SYN_SENT:CLOSED"
    lines = render(result).splitlines()
    assert "  6. ROUTE            HAIRPIN    INTERNET" in lines
    public = result.outputs[0].packet.split()[1]
    assert f"  9. NAT              DNAT       web       -> tcp {public} > 10.20.0.10:8080 S  (logged)" in lines


def test_a_session_that_announces_another_is_told_of_its_last_pass(make: MakeEdge) -> None:
    ways = [with_profile("tftp-out", "TFTP", direction="OUT"), with_profile("tftp-in", "TFTP", direction="IN")]
    published = nat("pub", "DNAT", "203.0.113.12", "10.20.0.10")
    text = "udp 10.20.0.20:5 > 203.0.113.12:69"
    result = trace(make, text, firewall=ways, nat_rules=[published, OUT])
    assert [step.result for step in result.steps].count(StepResult.EXPECT) == 2
    assert result.firewall_rule == ("tftp-in", "tftp-in")
    assert [name for name, _ in result.nat_rules] == ["internet", "pub"]
    assert result.explanation == 'the firewall rule "tftp-in" allows it'


def test_the_rule_that_refused_behind_a_hairpin_is_named(make: MakeEdge) -> None:
    refusing = [rule("no", "REJECT", direction="IN"), default_rule("ALLOW")]
    result = trace(make, "tcp 10.20.0.20:5 > 203.0.113.11:80 S", firewall=refusing)
    assert (result.verdict, result.firewall_rule) == (Verdict.REJECT, ("no", "no"))
    assert result.explanation == 'the firewall rule "no" rejects it'
    # The answer's steps show the answer.
    answer = result.steps[-1]
    assert (answer.stage, answer.after) == (Stage.SESSION, "tcp 203.0.113.11:80 > 10.20.0.20:5 RA")
    assert [output.packet for output in result.outputs] == ["tcp 203.0.113.11:80 > 10.20.0.20:5 RA"]


def test_steps_of_an_answer_of_another_protocol_show_that(make: MakeEdge) -> None:
    refusing = [rule("no", "REJECT", direction="IN"), default_rule("ALLOW")]
    result = trace(make, "udp 10.20.0.20:5 > 203.0.113.12:53", firewall=refusing)
    assert result.firewall_rule == ("no", "no")
    after = result.steps[-1].after
    assert after is not None
    assert after.startswith("icmp 203.0.113.10 > 10.20.0.20 admin-prohibited")


def test_the_rule_that_meets_an_answer_is_not_the_packets(make: MakeEdge) -> None:
    # The reset to a feigned address of the edge enters again, and DNAT sends it to a machine behind a rule of its own.
    rules = [rule("other", "DROP", destination="10.20.0.9"), rule("all"), default_rule("ALLOW")]
    cage = nat("inwards", "DNAT", "203.0.113.11", "10.20.0.9", match="BYPASS")
    text = "tcp 203.0.113.11:5 > 203.0.113.10:80 S in=INTERNET"
    result = trace(make, text, firewall=rules, nat_rules=[cage])
    assert (result.verdict, result.reason, result.firewall_rule) == (
        *(Verdict.LOCAL, Reason.LOCAL_SERVICE),
        ("all", "all"),
    )
    assert result.nat_rules == ()
    assert (result.steps[-1].result, result.steps[-1].rule) == (StepResult.BYPASS, "inwards")
    nat_step = next(step for step in result.steps if step.stage is Stage.NAT and step.rule)
    assert nat_step.after == "tcp 203.0.113.10:80 > 10.20.0.9:5 RA"


def test_an_answer_of_which_nothing_is_left_is_shown_by_its_endpoints(make: MakeEdge) -> None:
    rules = [rule("other", "DROP", destination="10.20.0.9"), rule("all"), default_rule("ALLOW")]
    inwards = nat("inwards", "DNAT", "203.0.113.11", "10.20.0.9")
    echo = "icmp 203.0.113.11 > 203.0.113.10 echo-request in=INTERNET"
    lost = trace(make, echo, firewall=rules, nat_rules=[inwards])
    assert (lost.verdict, lost.outputs) == (Verdict.LOCAL, ())
    assert [step.after for step in lost.steps if step.after] == ["203.0.113.10:1 > 10.20.0.9"]
    assert lost.steps[-1].result is StepResult.DROP
