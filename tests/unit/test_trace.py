"""Traces: what is sent, what is told, and the two forms it is told in."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from edge.cli.main import cli
from edge.document import loads
from edge.errors import PacketSyntaxError
from edge.explain import SENTENCES, explain
from edge.model import EdgeConfig
from edge.runtime import Edge
from edge.trace import TraceError, Tracer, TraceResult, new_edge, render, trace_packets
from edge.verdicts import Reason, Stage, StepResult, Verdict
from tests.support import SAMPLE, logged

EDGE = SAMPLE.replace(
    "    - {name: out,",
    "    - {name: no-mail, actionValue: REJECT, sourceFirewallGroups: [lan], applicationPortProfiles: [smtp]}\n"
    "    - {name: out,",
).replace(
    "applicationPortProfiles:\n",
    'applicationPortProfiles:\n  - {name: smtp, applicationPorts: [{protocol: TCP, destinationPorts: ["25"]}]}\n',
    1,
)
"""The sample with a rule that rejects mail."""
CLIENT = "tcp 198.51.100.99:40000 > 203.0.113.11:80 S"
DELIVERED = "tcp 198.51.100.99:40000 > 10.20.0.10:8080 S"


@pytest.fixture(scope="module")
def config() -> EdgeConfig:
    return loads(EDGE).config


@pytest.fixture
def edge_file(tmp_path: Path) -> str:
    path = tmp_path / "edge.yaml"
    path.write_text(EDGE, encoding="utf-8")
    return str(path)


@pytest.fixture
def tracer(config: EdgeConfig) -> Tracer:
    return Tracer(new_edge(config))


def rule_id(config: EdgeConfig, name: str) -> str:
    return next(rule.id for rule in (*config.firewall.rules, *config.nat.rules) if rule.name == name)


def packets(results: list[TraceResult]) -> list[str]:
    return [f"{output.port} {output.packet}" for result in results for output in result.outputs]


def test_json_is_what_the_interface_shows(config: EdgeConfig) -> None:
    (result,) = trace_packets(new_edge(config), [CLIENT])
    shown = json.dumps(result.to_json())
    assert shown == json.dumps(
        {
            "packet": CLIENT,
            "in": "INTERNET",
            "verdict": "ALLOW",
            "reason": "FW_RULE",
            "steps": [
                {"stage": "SESSION", "result": "MISS"},
                {"stage": "PROVIDER_FILTER", "result": "PASS"},
                {
                    "stage": "NAT",
                    "result": "DNAT",
                    "rule": "pub-web",
                    "ruleId": rule_id(config, "pub-web"),
                    "after": DELIVERED,
                },
                {"stage": "ROUTE", "result": "CONNECTED", "port": "LAN-ACME"},
                {
                    "stage": "FIREWALL",
                    "result": "ALLOW",
                    "rule": "in-web",
                    "ruleId": rule_id(config, "in-web"),
                    "saw": DELIVERED,
                    "logged": True,
                },
            ],
            "output": [{"port": "LAN-ACME", "packet": DELIVERED}],
        }
    )


def test_the_readable_form(tracer: Tracer) -> None:
    (there,) = tracer.send(CLIENT)
    assert render(there, str.lower).splitlines() == [
        CLIENT,
        "  enters by INTERNET",
        "  1. SESSION          MISS",
        "  2. PROVIDER_FILTER  PASS",
        f"  3. NAT              DNAT       pub-web   -> {DELIVERED}",
        "  4. ROUTE            CONNECTED  LAN-ACME",
        f"  5. FIREWALL         ALLOW      in-web    saw {DELIVERED}  (logged)",
        '  allow (FW_RULE): the firewall rule "in-web" allows it',
        "  session: SYN_SENT:CLOSED, ends after 120 s without packets",
        f"  leaves by LAN-ACME: {DELIVERED}",
    ]
    (back,) = tracer.reply("SA")
    answer = "tcp 203.0.113.11:80 > 198.51.100.99:40000 SA"
    assert render(back).splitlines() == [
        "tcp 10.20.0.10:8080 > 198.51.100.99:40000 SA",
        "  enters by LAN-ACME",
        f"  1. SESSION  HIT  in-web, pub-web  to INTERNET  -> {answer}",
        "  ALLOW (SESSION): it belongs to an established session",
        "  session: ESTABLISHED:SYN_SENT, ends after 30 s without packets",
        f"  leaves by INTERNET: {answer}",
    ]


def test_a_packet_of_a_session_names_the_rules_that_it_was_begun_with(tracer: Tracer, config: EdgeConfig) -> None:
    (out,) = tracer.send("udp 10.20.0.10:4000 > 8.8.8.8:53")
    assert [name for name, _ in out.nat_rules] == ["internet"]
    assert "natRules" not in out.to_json()["steps"][0]  # type: ignore[index]
    (back,) = tracer.reply()
    assert (back.firewall_rule, back.nat_rules) == (out.firewall_rule, out.nat_rules)
    (hit,) = back.to_json()["steps"]  # type: ignore[misc]
    assert (hit["rule"], hit["natRules"]) == ("out", [{"rule": "internet", "ruleId": rule_id(config, "internet")}])


def test_a_call_of_ones_own_public_address_comes_back_by_the_uplink(tracer: Tracer) -> None:
    out, back = tracer.send("tcp 10.20.0.10:40000 > 203.0.113.11:80 S")
    assert (out.hairpin, back.hairpin) == (False, True)
    assert "hairpin" not in out.to_json()
    assert list(back.to_json())[:4] == ["packet", "in", "hairpin", "verdict"]
    # Read again, the text is the packet that came back: its TTL is shown, though 63 usually is not.
    assert (back.packet, back.in_port) == (f"{out.outputs[0].packet} ttl=63", "INTERNET")
    assert render(back).splitlines()[1] == "  comes back by INTERNET"
    assert back.outputs[0].port == "LAN-ACME"
    # The reply finds both sessions again, and the caller sees the address that it called.
    there, home = tracer.reply("SA")
    assert (there.reason, home.reason) == (Reason.SESSION, Reason.SESSION)
    assert home.outputs[0].packet.startswith("tcp 203.0.113.11:80 > 10.20.0.10:40000 SA")


def test_a_packet_that_came_back_can_be_sent_again(config: EdgeConfig) -> None:
    tracer = Tracer(new_edge(config))
    _, back = tracer.send("tcp 10.20.0.10:40000 > 203.0.113.11:80 S ttl=65")
    assert back.packet.endswith(" S ttl=64")  # the key was given
    _, back = tracer.send("tcp 10.20.0.10:40001 > 203.0.113.11:80 S")
    (again,) = Tracer(new_edge(config)).send(f"{back.packet} in={back.in_port}")
    assert again.outputs[0].frame[22] == back.outputs[0].frame[22] == 62
    assert again.outputs[0].packet.removesuffix(" ttl=62") == back.outputs[0].packet.removesuffix(" ttl=62")


def test_time_passes_only_when_told_to(tracer: Tracer) -> None:
    tracer.send("udp 10.20.0.10:4000 > 8.8.8.8:53")
    tracer.wait(29.9)
    assert tracer.reply()[0].reason is Reason.SESSION
    assert tracer.send("udp 10.20.0.10:4000 > 8.8.8.8:53 wait=29")[0].reason is Reason.SESSION
    assert tracer.send("udp 10.20.0.10:4000 > 8.8.8.8:53 wait=31")[0].reason is Reason.FW_RULE


def test_in_says_where_a_packet_enters(tracer: Tracer) -> None:
    assert tracer.send("udp 10.20.0.10:4000 > 8.8.8.8:53")[0].in_port == "LAN-ACME"
    assert tracer.send("udp 10.99.0.10:4000 > 8.8.8.8:53")[0].in_port == "INTERNET"
    assert tracer.send("udp 10.20.0.10:4001 > 8.8.8.8:53 in=INTERNET")[0].in_port == "INTERNET"
    assert tracer.send("proto=6 10.20.0.10 > 8.8.8.8")[0].reason is Reason.MALFORMED
    assert tracer.send("proto=6 10.20.0.10 > 8.8.8.8")[0].in_port == "LAN-ACME"
    assert tracer.send("proto=6 10.99.0.10 > 8.8.8.8")[0].in_port == "INTERNET"
    with pytest.raises(TraceError, match="this edge has no port 'LAN'; it has INTERNET, LAN-ACME"):
        tracer.send("udp 10.20.0.10:4000 > 8.8.8.8:53 in=LAN wait=100")
    assert tracer.send("udp 10.20.0.10:4000 > 8.8.8.8:53")[0].reason is Reason.SESSION


def test_keys_that_were_given_are_shown_again(tracer: Tracer) -> None:
    (result,) = tracer.send("tcp 198.51.100.99:40000 > 203.0.113.11:80 S ttl=9 seq=7")
    assert result.packet.split()[5:] == ["seq=7", "ttl=9"]
    assert result.outputs[0].packet.split()[5:] == ["seq=7", "ttl=8"]
    assert result.steps[2].after is not None
    assert result.steps[2].after.split()[5:] == ["seq=7", "ttl=9"]


def test_sequence_numbers_go_on_through_nat(tracer: Tracer) -> None:
    def numbers(text: str) -> list[str]:
        frame = tracer.send(text)[-1].outputs[0].frame
        return [str(int.from_bytes(frame[at : at + 4], "big")) for at in (38, 42)]

    assert numbers("tcp 198.51.100.99:40000 > 203.0.113.11:80 S seq=100") == ["100", "0"]
    assert numbers("tcp 10.20.0.10:8080 > 198.51.100.99:40000 SA seq=500") == ["500", "101"]
    assert numbers("tcp 198.51.100.99:40000 > 203.0.113.11:80 PA len=10") == ["101", "501"]
    assert numbers("tcp 10.20.0.10:8080 > 198.51.100.99:40000 A") == ["501", "111"]


def test_answers_of_the_edge_are_outputs(tracer: Tracer) -> None:
    results = tracer.send("tcp 10.20.0.10:40000 > 192.0.2.25:25 S")
    assert results[0].verdict is Verdict.REJECT
    assert packets(results) == ["LAN-ACME tcp 192.0.2.25:25 > 10.20.0.10:40000 RA"]
    assert packets(tracer.send("icmp 10.20.0.10 > 10.20.0.1 echo-request id=7 seq=3")) == [
        "LAN-ACME icmp 10.20.0.1 > 10.20.0.10 echo-reply id=7 seq=3"
    ]
    (expired,) = tracer.send("udp 10.20.0.10:4000 > 8.8.8.8:53 ttl=1")
    assert (expired.verdict, expired.reason) == (Verdict.DROP, Reason.TTL_EXPIRED)
    assert expired.outputs[0].packet.startswith("icmp 10.20.0.1 > 10.20.0.10 time-exceeded of=")


def test_answers_of_the_edge_are_packets_of_their_own(tracer: Tracer) -> None:
    rejected = "tcp 10.20.0.10:40000 > 192.0.2.25:25 S ttl=9"
    answer = "LAN-ACME tcp 192.0.2.25:25 > 10.20.0.10:40000 RA"
    assert packets(tracer.send(rejected)) == [answer]
    assert packets(tracer.send(f"{rejected} seq=7")) == [f"{answer} seq=0 ack=8"]
    assert packets(tracer.send(f"{rejected} seq=7 len=5 win=9")) == [f"{answer} seq=0 ack=13"]
    assert packets(tracer.send("icmp 10.20.0.10 > 10.20.0.1 echo-request ttl=63")) == [
        "LAN-ACME icmp 10.20.0.1 > 10.20.0.10 echo-reply id=1 seq=1"
    ]


def test_nat_rules_that_log_say_so_when_an_event_was_made(config: EdgeConfig) -> None:
    text = EDGE.replace("priority: 100}", "priority: 100, logging: true}")
    edge = Edge(loads(text).config)
    admitted, rejected = trace_packets(
        edge, ["udp 10.20.0.10:4000 > 8.8.8.8:53", "tcp 10.20.0.10:40000 > 192.0.2.25:25 S"]
    )
    assert [step.logged for step in admitted.steps if step.stage is Stage.NAT] == [True]
    assert [step.logged for step in rejected.steps if step.stage is Stage.NAT] == [False]
    assert [event.rule_id for event in logged(edge)] == [rule_id(config, "internet")]


def test_the_clock_has_an_end(edge_file: str) -> None:
    late = "udp 10.20.0.10:4000 > 8.8.8.8:53 wait=999999999"
    assert CliRunner().invoke(cli, ["trace", edge_file, *[late] * 9]).exit_code == 0
    result = CliRunner().invoke(cli, ["trace", edge_file, *[late] * 10])
    assert (result.exit_code, result.stderr) == (2, "waits add up to more than 9,000,000,000 seconds\n")


PIECES = "udp 10.20.0.10:4000 > 8.8.8.8:53 len=2000 ipid=7"


def test_a_datagram_in_pieces_is_told_as_the_whole(config: EdgeConfig) -> None:
    held, whole = trace_packets(new_edge(config), [f"{PIECES} frag=1480-", f"{PIECES} frag=0-1479"])
    assert (held.verdict, held.reason, held.outputs) == (Verdict.HELD, Reason.FRAGMENT_HELD, ())
    assert held.packet == "proto=17 10.20.0.10 > 8.8.8.8 len=2008 ipid=7 frag=1480-2007"
    assert [(step.stage, step.result) for step in held.steps] == [(Stage.REASSEMBLY, StepResult.HELD)]
    assert "HELD (FRAGMENT_HELD): it is a fragment that waits for the rest of its packet" in render(held)
    assert whole.packet == "proto=17 10.20.0.10 > 8.8.8.8 len=1488 ipid=7 frag=0-1479"
    assert (whole.steps[0].stage, whole.steps[0].result) == (Stage.REASSEMBLY, StepResult.COMPLETE)
    assert whole.steps[-1].saw == "udp 10.20.0.10:4000 > 8.8.8.8:53 len=2000 ipid=7"
    assert whole.session is not None
    assert (whole.session.packets, whole.session.bytes) == ((1, 0), (2028, 0))
    (output,) = whole.outputs
    assert re.fullmatch(r"udp 203\.0\.113\.10:\d+ > 8\.8\.8\.8:53 len=2000 ipid=7", output.packet)
    assert output.to_json() == {"port": "INTERNET", "packet": output.packet, "fragments": 2}
    assert render(whole).endswith(f"  leaves by INTERNET in 2 fragments: {output.packet}")


def test_a_datagram_that_is_refused_is_told_as_the_whole(config: EdgeConfig) -> None:
    text = "tcp 10.20.0.10:4000 > 8.8.8.8:25 S len=100 ipid=7"
    results = trace_packets(new_edge(config), [f"{text} frag={part}" for part in ("56-", "24-55", "0-23")])
    assert [result.verdict for result in results] == [Verdict.HELD, Verdict.HELD, Verdict.REJECT]
    assert results[-1].steps[-1].saw == text
    # Said by others: what the texts of the later pieces claim of the datagram does not count.
    last = "proto=6 10.20.0.10 > 8.8.8.8 len=120 ipid=7 frag=56-"
    results = trace_packets(new_edge(config), [f"{text} frag=24-55", f"{text} frag=0-23", last])
    assert results[-1].steps[-1].saw == text


def test_a_conversation_goes_on_behind_a_segment_in_pieces(config: EdgeConfig) -> None:
    tracer = Tracer(new_edge(config))
    flow = "tcp 10.20.0.10:4000 > 8.8.8.8:80"
    tracer.send(f"{flow} S")
    tracer.reply("SA")
    data = f"{flow} PA len=100"
    verdicts = [tracer.send(text)[-1].reason for text in (f"{data} frag=0-63", f"{data} frag=64-", f"{flow} A")]
    assert verdicts == [Reason.FRAGMENT_HELD, Reason.SESSION, Reason.SESSION]
    assert tracer.send(f"{flow} A seq=1101")[-1].packet.endswith("seq=1101")


def test_a_datagram_in_pieces_hairpins_in_pieces(config: EdgeConfig) -> None:
    text = "tcp 10.20.0.10:4000 > 203.0.113.11:80 S len=3000"
    results = trace_packets(new_edge(config), [f"{text} frag={part}" for part in ("0-999", "1000-1999", "2000-")])
    out, back = results[-2:]
    assert [result.hairpin for result in (out, back)] == [False, True]
    assert [result.outputs[0].fragments for result in (out, back)] == [3, 3]
    assert back.steps[0].stage is Stage.SESSION
    assert back.outputs[0].packet.endswith("> 10.20.0.10:8080 S len=3000 ttl=62")


def test_fragments_that_no_datagram_can_have(config: EdgeConfig) -> None:
    flow = "proto=17 10.20.0.10 > 8.8.8.8"
    texts = [f"{flow} len=70000 frag=65528-", f"{flow} len=2008 frag=1480-", f"{flow} len=70000 frag=0-1479 ipid=1"]
    results = trace_packets(new_edge(config), texts)
    assert [result.reason for result in results] == [Reason.FRAGMENT_ERROR, Reason.FRAGMENT_HELD, Reason.MALFORMED]
    assert results[-1].steps[0].result is StepResult.COMPLETE


def test_ipv6_in_pieces(config: EdgeConfig) -> None:
    text = "udp [2001:db8::1]:4000 > [2001:db8::2]:53 len=100"
    held, whole = trace_packets(new_edge(config), [f"{text} frag={part}" for part in ("0-63", "64-")])
    assert (held.verdict, whole.verdict) == (Verdict.HELD, Verdict.DROP)
    assert [step.result for step in whole.steps][:2] == [StepResult.COMPLETE, StepResult.MISS]


def test_the_documentation_names_every_stage_and_result(root: Path) -> None:
    page = (root / "docs" / "cli.md").read_text(encoding="utf-8")
    tables = page[page.index("| stage | results |") : page.index("\n## test")]
    words = set(re.findall(r"\w+", tables))
    assert {member.name for enum in (Stage, StepResult) for member in enum} <= words


def test_a_reply_needs_something_to_reply_to(tracer: Tracer) -> None:
    with pytest.raises(TraceError, match="nothing to reply to"):
        tracer.reply("SA")
    tracer.send("tcp 198.51.100.99:40000 > 203.0.113.11:22 S")
    with pytest.raises(TraceError, match="nothing to reply to"):
        tracer.reply("SA")


def test_printed_packets_can_be_sent_again(config: EdgeConfig) -> None:
    texts = [CLIENT, "udp 10.20.0.10:4000 > 8.8.8.8:53 len=9", "icmp 10.20.0.10 > 8.8.8.8 echo-request id=5 seq=6"]
    first = trace_packets(new_edge(config), texts)
    again = trace_packets(new_edge(config), [result.packet for result in first])
    assert [result.to_json() for result in again] == [result.to_json() for result in first]


def test_every_reason_has_a_sentence() -> None:
    assert SENTENCES.keys() == set(Reason)
    for reason in Reason:
        for verdict in Verdict:
            sentence = explain(verdict, reason, "r")
            assert "{" not in sentence
            assert not sentence.endswith(".")
    assert explain(Verdict.DROP, Reason.FW_DEFAULT) == "no user rule of the firewall matches; the default rule drops it"


def test_the_command_prints_blocks_or_one_json_document(edge_file: str) -> None:
    texts = [CLIENT, "tcp 198.51.100.99:40000 > 203.0.113.11:22 S"]
    plain = CliRunner().invoke(cli, ["trace", edge_file, *texts])
    assert (plain.exit_code, plain.stderr) == (0, "")
    assert [block.splitlines()[0] for block in plain.stdout.split("\n\n")] == texts
    shown = CliRunner().invoke(cli, ["trace", "--json", edge_file, *texts])
    assert (shown.exit_code, shown.stderr) == (0, "")
    assert [packet["verdict"] for packet in json.loads(shown.stdout)["packets"]] == ["ALLOW", "DROP"]


@pytest.mark.parametrize(
    ("text", "complaint"),
    [("tcp nonsense", "PROTO SRC"), (f"{CLIENT} in=NOWHERE", "no port 'NOWHERE'"), ("", "PROTO SRC")],
)
def test_what_cannot_be_sent_exits_2_without_a_result(edge_file: str, text: str, complaint: str) -> None:
    plain = CliRunner().invoke(cli, ["trace", edge_file, CLIENT, text])
    assert (plain.exit_code, plain.stdout) == (2, "")
    assert complaint in plain.stderr
    shown = CliRunner().invoke(cli, ["trace", "--json", edge_file, CLIENT, text])
    assert (shown.exit_code, shown.stderr) == (2, "")
    (problem,) = json.loads(shown.stdout)["problems"]
    assert complaint in problem["message"]
    assert problem["path"] == ""
    assert problem.get("packet", text) == text


def test_a_packet_that_cannot_be_read_is_shown_with_the_place(edge_file: str) -> None:
    result = CliRunner().invoke(cli, ["trace", edge_file, "udp 10.20.0.10:4000 > 8.8.8.8:domain"])
    *_, text, pointer = result.stderr.splitlines()
    assert text.strip() == "udp 10.20.0.10:4000 > 8.8.8.8:domain"
    assert text[pointer.index("^") :].startswith(("8.8.8.8:domain", "domain"))
    with pytest.raises(PacketSyntaxError):
        Tracer(new_edge(loads(EDGE).config)).send("udp 10.20.0.10:4000 > 8.8.8.8:domain")


def test_a_trace_does_not_load_what_it_does_not_need(edge_file: str) -> None:
    script = (
        "import sys\nfrom edge.cli.main import cli\n"
        f"try: cli.main(['trace', {edge_file!r}, {CLIENT!r}])\n"
        "except SystemExit: pass\n"
        "print(sorted({name.partition('.')[0] for name in sys.modules}), file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    loaded = done.stderr.strip()
    for heavy in ("rich", "grpc", "scapy", "pyroute2", "prometheus_client", "google", "pytest"):
        assert f"'{heavy}'" not in loaded


def test_what_the_edge_refused_does_not_move_the_numbers(config: EdgeConfig) -> None:
    tracer = Tracer(new_edge(config))
    tracer.send(CLIENT)
    tracer.reply("SA")
    call, answer = CLIENT.removesuffix(" S"), "tcp 10.20.0.10:8080 > 198.51.100.99:40000"
    told = [
        (text, result.verdict.name, result.reason.name)
        for text in ("A", "A seq=900000 len=5", "A", "PA len=10", "S seq=7", "SF", "PA len=10", "R seq=1500", "FA")
        for result in tracer.send(f"{call} {text}")
    ]
    assert told == [
        ("A", "ALLOW", "SESSION"),
        ("A seq=900000 len=5", "DROP", "TCP_WINDOW"),
        ("A", "ALLOW", "SESSION"),
        ("PA len=10", "ALLOW", "SESSION"),
        ("S seq=7", "DROP", "TCP_STATE"),
        ("SF", "DROP", "TCP_STATE"),
        ("PA len=10", "ALLOW", "SESSION"),
        ("R seq=1500", "DROP", "TCP_WINDOW"),
        ("FA", "ALLOW", "SESSION"),
    ]
    (result,) = tracer.send(f"{answer} A seq=1001 ack=1022")
    assert result.packet == f"{answer} A seq=1001 ack=1022"
    assert result.reason is Reason.SESSION


def test_nor_does_the_reset_for_a_server_that_means_another_connection(config: EdgeConfig) -> None:
    tracer = Tracer(new_edge(config))
    tracer.send(CLIENT)
    (stale,) = tracer.reply("A ack=70000")
    assert (stale.reason, [output.port for output in stale.outputs]) == (Reason.TCP_WINDOW, ["LAN-ACME"])
    tracer.send(CLIENT)
    assert [result.reason for result in tracer.reply("SA")] == [Reason.SESSION]
    (result,) = tracer.send(CLIENT.replace(" S", " PA len=3"))
    assert (result.reason, result.outputs[0].port) == (Reason.SESSION, "LAN-ACME")
