"""NAT of the readable edge: types, ports, pools, what the firewall sees, and checksums."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.addresses import PortRange
from edge.model import EdgeConfig, SnatServicePort
from edge.nat.config import NatRule
from edge.packets import build_frame, format_frame, parse_packet
from edge.reference_wire import Kind, Packet, parse, rewrite
from tests.packet_texts import packet_texts
from tests.reference_bench import Bench, left, stages, why
from tests.support import acme, default_rule, edge_config, logged, nat, network, rule, uplink, with_options

EVERYTHING = [default_rule("ALLOW")]


def edge(*rules: NatRule, firewall: object = None) -> EdgeConfig:
    return acme(
        uplinks=[uplink("INTERNET", "203.0.113.1/24 203.0.113.10-203.0.113.19")],
        nat_rules=list(rules),
        firewall=firewall or EVERYTHING,
    )


def arrives(config: EdgeConfig, text: str) -> str:
    """Where a packet from outside ends up."""
    outcome = Bench(config).send(text)
    return (
        format_frame(outcome.outputs[0].frame).split(" > ")[1] if outcome.verdict.name == "ALLOW" else why(outcome)[1]
    )


# --- destination ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("rule_", "called", "arrives_at"),
    [
        (nat("d", "DNAT", "203.0.113.11", "10.20.0.10"), "tcp X:80", "10.20.0.10:80 S"),
        (nat("d", "DNAT", "203.0.113.11", "10.20.0.10", external_port="99"), "tcp X:80", "10.20.0.10:80 S"),
        (nat("d", "DNAT", "203.0.113.11", "10.20.0.10", external_port="99"), "esp X", "10.20.0.10"),
        (nat("d", "DNAT", "203.0.113.11", "10.20.0.10", app="tcp/80"), "tcp X:80", "10.20.0.10:80 S"),
        (nat("d", "DNAT", "203.0.113.11", "10.20.0.10", app="tcp/80"), "udp X:80", "LOCAL_SERVICE"),
        (nat("d", "DNAT", "203.0.113.11", "10.20.0.10", app="tcp"), "tcp X:81", "10.20.0.10:81 S"),
        (nat("d", "DNAT", "203.0.113.11", "10.20.0.10", app="tcp", external_port="81"), "tcp X:81", "10.20.0.10:81 S"),
        (nat("d", "DNAT", "203.0.113.11", "10.20.0.10", app="tcp", external_port="81"), "tcp X:82", "LOCAL_SERVICE"),
        (
            nat("d", "DNAT", "203.0.113.11", "10.20.0.10", app="tcp/8080", external_port="80"),
            "tcp X:80",
            "10.20.0.10:8080 S",
        ),
        (
            nat("d", "DNAT", "203.0.113.11", "10.20.0.10", app="tcp/8080", external_port="80"),
            "tcp X:8080",
            "LOCAL_SERVICE",
        ),
        (
            nat("d", "DNAT", "203.0.113.11", "10.20.0.10", app="tcp/8080-8089", external_port="80-89"),
            "tcp X:83",
            "10.20.0.10:8083 S",
        ),
        (
            nat("d", "DNAT", "203.0.113.11", "10.20.0.10", app="tcp/8080", external_port="80-89"),
            "tcp X:83",
            "10.20.0.10:8080 S",
        ),
        (
            nat("d", "DNAT", "203.0.113.11", "10.20.0.10", app="tcp/8080-8089", external_port="80-81"),
            "tcp X:81",
            "10.20.0.10:8080 S",
        ),
        (
            nat("d", "DNAT", "203.0.113.11", "10.20.0.10", app="icmp"),
            "icmp X echo-request",
            "10.20.0.10 echo-request id=1 seq=1",
        ),
        (nat("d", "DNAT", "203.0.113.10-203.0.113.13", "10.20.0.20-10.20.0.23"), "udp X:5", "10.20.0.21:5"),
        (nat("d", "DNAT", "203.0.113.10-203.0.113.13", "10.20.0.20"), "udp X:5", "10.20.0.20:5"),
        (nat("d", "REFLEXIVE", "203.0.113.10-203.0.113.13", "10.20.0.20-10.20.0.23"), "udp X:5", "10.20.0.21:5"),
        (nat("d", "DNAT", "203.0.113.11", "10.20.0.10", enabled=False), "udp X:5", "LOCAL_SERVICE"),
    ],
)
def test_where_a_call_from_outside_arrives(rule_: NatRule, called: str, arrives_at: str) -> None:
    protocol, target, *words = called.split()
    source = "198.51.100.9:7" if ":" in target else "198.51.100.9"
    text = " ".join((protocol, source, ">", target.replace("X", "203.0.113.11"), *words))
    assert arrives(edge(rule_), text) == arrives_at


@pytest.mark.parametrize(
    ("exemption", "text", "exempt"),
    [
        (nat("n", "NO_DNAT", "203.0.113.11"), "udp 198.51.100.9:7 > 203.0.113.11:5", True),
        (nat("n", "NO_DNAT"), "udp 198.51.100.9:7 > 203.0.113.11:5", True),
        (nat("n", "NO_DNAT", "203.0.113.11", external_port="5"), "udp 198.51.100.9:7 > 203.0.113.11:5", True),
        (nat("n", "NO_DNAT", "203.0.113.11", external_port="5"), "udp 198.51.100.9:7 > 203.0.113.11:6", False),
        (nat("n", "NO_DNAT", "203.0.113.11", external_port="5"), "esp 198.51.100.9 > 203.0.113.11", False),
        (nat("n", "NO_DNAT", "203.0.113.11", app="tcp/5"), "udp 198.51.100.9:7 > 203.0.113.11:5", False),
        (nat("n", "NO_DNAT", "203.0.113.11", app="udp/5"), "udp 198.51.100.9:7 > 203.0.113.11:5", True),
        (nat("n", "NO_DNAT", "203.0.113.11", priority=9), "udp 198.51.100.9:7 > 203.0.113.11:5", False),
    ],
)
def test_exemptions_from_dnat(exemption: NatRule, text: str, *, exempt: bool) -> None:
    config = edge(exemption, nat("d", "DNAT", "203.0.113.11", "10.20.0.10", priority=1))
    assert (arrives(config, text) == "LOCAL_SERVICE") is exempt


def test_priority_then_the_order_of_the_list() -> None:
    rules = [
        nat("late", "DNAT", "203.0.113.11", "10.20.0.12", priority=5),
        nat("first", "DNAT", "203.0.113.11", "10.20.0.10", priority=1),
        nat("second", "DNAT", "203.0.113.11", "10.20.0.11", priority=1),
    ]
    assert arrives(edge(*rules), "udp 198.51.100.9:7 > 203.0.113.11:5") == "10.20.0.10:5"


# --- source ---------------------------------------------------------------------------------------------------------


def source_of(config: EdgeConfig, text: str) -> str:
    """The source address with which a packet leaves."""
    return format_frame(Bench(config).send(text).outputs[0].frame).split(" ")[1].rpartition(":")[0]


def test_an_snat_rule_may_name_destinations_and_a_protocol() -> None:
    one = edge(nat("s", "SNAT", "203.0.113.10", "10.20.0.0/24", destination="8.8.8.0/24", app="udp/53"))
    assert source_of(one, "udp 10.20.0.10:5 > 8.8.8.8:53") == "203.0.113.10"
    assert source_of(one, "udp 10.20.0.10:5 > 8.8.8.8:54") == "203.0.113.10"
    assert source_of(one, "udp 10.20.0.10:5 > 8.8.9.8:53") == "10.20.0.10"
    assert source_of(one, "tcp 10.20.0.10:5 > 8.8.8.8:53 S") == "10.20.0.10"
    strict = with_options(one, snat_service_port=SnatServicePort.MATCH)
    assert source_of(strict, "udp 10.20.0.10:5 > 8.8.8.8:53") == "203.0.113.10"
    assert source_of(strict, "udp 10.20.0.10:5 > 8.8.8.8:54") == "10.20.0.10"


def test_a_pool_gives_its_least_used_address() -> None:
    bench = Bench(edge(nat("s", "SNAT", "203.0.113.12-203.0.113.14", "10.20.0.0/24")))

    def address(text: str) -> str:
        return format_frame(bench.send(text).outputs[0].frame).split(" ")[1].rpartition(".")[2].partition(":")[0]

    assert [address(f"udp 10.20.0.10:{port} > 8.8.8.8:53") for port in range(4)] == ["12", "13", "14", "12"]
    assert address("udp 10.20.0.10:9 > 8.8.8.8:53 wait=31") == "12"


def test_ports_are_unique_towards_each_remote_end_only() -> None:
    config = with_options(edge(nat("s", "SNAT", "203.0.113.10", "10.20.0.0/24")), snat_port_range=PortRange(2000, 2001))
    bench = Bench(config)
    texts = [f"udp 10.20.0.10:{port} > 8.8.8.8:53" for port in (1, 2, 3)]
    assert [why(bench.send(text))[1] for text in texts] == ["FW_DEFAULT", "FW_DEFAULT", "NAT_PORTS_EXHAUSTED"]
    assert bench.last is not None
    assert stages(bench.last)[-1] == "NAT DROP s"
    for other in ("udp 10.20.0.10:3 > 8.8.8.8:54", "tcp 10.20.0.10:3 > 8.8.8.8:53 S", "udp 10.20.0.10:3 > 8.8.4.4:53"):
        assert why(bench.send(other)) == ("ALLOW", "FW_DEFAULT")


def test_an_exhausted_address_hands_over_to_the_next() -> None:
    config = edge(nat("s", "SNAT", "203.0.113.12-203.0.113.13", "10.20.0.0/24"))
    bench = Bench(with_options(config, snat_port_range=PortRange(2000, 2000)))
    # Three sessions to elsewhere make .13 the more used one; .12 is taken towards the resolver all the same.
    for text in ("udp 10.20.0.10:1 > 8.8.8.8:53", "udp 10.20.0.10:2 > 8.8.4.4:53", "udp 10.20.0.10:3 > 8.8.4.4:54"):
        bench.send(text)
    bench.send("udp 10.20.0.10:4 > 8.8.4.4:55")
    assert left(bench.send("udp 10.20.0.10:5 > 8.8.8.8:53")) == [("INTERNET", "udp 203.0.113.13:2000 > 8.8.8.8:53")]


def test_the_seed_decides_every_port() -> None:
    def ports(seed: int | None) -> list[str]:
        bench = Bench(acme(), seed)
        return [left(bench.send(f"udp 10.20.0.10:{port} > 8.8.8.8:53"))[0][1] for port in range(3)]

    assert ports(7) == ports(7) != ports(8)
    assert ports(None) == ports(1)
    assert (
        Bench(with_options(acme(), seed=7)).send("udp 10.20.0.10:0 > 8.8.8.8:53").outputs
        == Bench(acme(), 7).send("udp 10.20.0.10:0 > 8.8.8.8:53").outputs
    )


def test_identifiers_of_queries_are_drawn_and_given_back() -> None:
    bench = Bench(with_options(acme(), snat_port_range=PortRange(2000, 2000)))
    assert left(bench.send("icmp 10.20.0.10 > 8.8.8.8 echo-request id=7")) == [
        ("INTERNET", "icmp 203.0.113.10 > 8.8.8.8 echo-request id=2000 seq=1")
    ]
    assert left(bench.reply()) == [("LAN", "icmp 8.8.8.8 > 10.20.0.10 echo-reply id=7 seq=1")]
    assert why(bench.send("icmp 10.20.0.10 > 8.8.8.8 echo-request id=8")) == ("DROP", "NAT_PORTS_EXHAUSTED")
    assert why(bench.send("icmp 10.20.0.10 > 8.8.8.8 timestamp-request id=8")) == ("ALLOW", "FW_RULE")


def test_protocols_without_ports_collide() -> None:
    bench = Bench(acme())
    assert left(bench.send("esp 10.20.0.10 > 8.8.8.8")) == [("INTERNET", "esp 203.0.113.10 > 8.8.8.8")]
    assert why(bench.send("esp 10.20.0.11 > 8.8.8.8")) == ("DROP", "NAT_COLLISION")
    assert why(bench.send("esp 10.20.0.11 > 8.8.4.4")) == ("ALLOW", "FW_RULE")
    pool = Bench(edge(nat("s", "SNAT", "203.0.113.12-203.0.113.13", "10.20.0.0/24")))
    assert [left(pool.send(f"esp 10.20.0.{host} > 8.8.8.8"))[0][1] for host in (10, 11)] == [
        "esp 203.0.113.12 > 8.8.8.8",
        "esp 203.0.113.13 > 8.8.8.8",
    ]


def test_dnat_collides_when_two_names_lead_to_one_machine() -> None:
    bench = Bench(edge(nat("d", "DNAT", "203.0.113.11-203.0.113.12", "10.20.0.10")))
    assert why(bench.send("udp 198.51.100.9:7 > 203.0.113.11:5")) == ("ALLOW", "FW_DEFAULT")
    outcome = bench.send("udp 198.51.100.9:7 > 203.0.113.12:5")
    assert (why(outcome), stages(outcome)[-1]) == (("DROP", "NAT_COLLISION"), "NAT DROP d")


# --- where it is looked up ------------------------------------------------------------------------------------------


def test_reflexive_keeps_no_session() -> None:
    bench = Bench(edge(nat("r", "REFLEXIVE", "203.0.113.15", "10.20.0.15", logging=True)))
    assert left(bench.send("tcp 198.51.100.9:7 > 203.0.113.15:80 A")) == [
        ("LAN", "tcp 198.51.100.9:7 > 10.20.0.15:80 A")
    ]
    outcome = bench.send("tcp 10.20.0.15:80 > 198.51.100.9:7 A")
    assert left(outcome) == [("INTERNET", "tcp 203.0.113.15:80 > 198.51.100.9:7 A")]
    assert stages(outcome)[-2:] == ["NAT REFLEXIVE r", "FIREWALL ALLOW default_rule"]
    assert why(bench.send("icmp 198.51.100.9 > 203.0.113.15 echo-reply")) == ("ALLOW", "FW_DEFAULT")
    assert bench.edge.sessions() == []
    assert (bench.edge.rule_counters()["r"].hits, len(logged(bench.edge))) == (3, 3)


def test_reflexive_beside_snat_is_part_of_the_session() -> None:
    config = edge_config(
        uplinks=[uplink("A", "203.0.113.1/24 203.0.113.10"), uplink("B", "198.18.0.1/24 198.18.0.10")],
        nat_rules=[
            nat("r", "REFLEXIVE", "203.0.113.10", "198.18.0.77"),
            nat("s", "SNAT", "198.18.0.10", "192.0.2.0/24"),
        ],
        firewall=EVERYTHING,
    )
    bench = Bench(config)
    bench.send("udp 192.0.2.1:5 > 203.0.113.10:53")
    session = bench.edge.sessions()[0]
    assert (session.dnat_rule_id, session.snat_rule_id) == ("r", "s")
    assert left(bench.reply()) == [("A", "udp 203.0.113.10:53 > 192.0.2.1:5")]


def test_service_interfaces_are_a_border_too() -> None:
    config = acme(
        networks=[network("LAN", "10.20.0.1/24"), network("DMZ", "10.20.1.1/24", kind="NON_DISTRIBUTED")],
        firewall=EVERYTHING,
        nat_rules=[nat("s", "SNAT", "203.0.113.10", "10.20.0.0/16"), nat("d", "DNAT", "203.0.113.11", "10.20.0.10")],
    )
    to_dmz, from_dmz = (
        Bench(config).send("esp 10.20.0.10 > 10.20.1.10"),
        Bench(config).send("esp 10.20.1.10 > 203.0.113.11"),
    )
    assert left(to_dmz) == [("DMZ", "esp 203.0.113.10 > 10.20.1.10")]
    assert stages(from_dmz)[1:3] == ["NAT DNAT d", "ROUTE CONNECTED LAN"]
    assert left(from_dmz) == [("LAN", "esp 10.20.1.10 > 10.20.0.10")]


def test_hairpin_by_the_providers_router() -> None:
    bench = Bench(acme())
    out = bench.send("tcp 10.20.0.10:5 > 203.0.113.11:80 S")
    assert stages(out)[1:4] == ["ROUTE CONNECTED INTERNET", "PROVIDER_FILTER PASS", "NAT SNAT internet"]
    back = bench.hairpin()
    assert stages(back)[2:4] == ["NAT DNAT pub-web", "ROUTE CONNECTED LAN"]
    bench.reply("SA")
    assert left(bench.hairpin()) == [("LAN", "tcp 203.0.113.11:80 > 10.20.0.10:5 SA ttl=62")]


def test_the_primary_address_is_the_edge_unless_dnat_takes_it() -> None:
    ping = "icmp 10.20.0.10 > 203.0.113.10 echo-request"
    assert why(Bench(edge()).send(ping)) == ("LOCAL", "LOCAL_SERVICE")
    assert (
        stages(Bench(edge(nat("d", "DNAT", "203.0.113.10", "10.20.0.10"))).send(ping))[1] == "ROUTE CONNECTED INTERNET"
    )


# --- what the firewall sees -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("match", "sees"), [("MATCH_INTERNAL_ADDRESS", "10.20.0.10:8080"), ("MATCH_EXTERNAL_ADDRESS", "203.0.113.11:80")]
)
def test_the_destination_that_the_firewall_sees(match: str, sees: str) -> None:
    config = edge(nat("d", "DNAT", "203.0.113.11", "10.20.0.10", external_port="80", app="tcp/8080", match=match))
    saw = Bench(config).send("tcp 198.51.100.9:7 > 203.0.113.11:80 S").steps[-1].saw
    assert saw is not None
    assert (f"{saw.src}:{saw.sport}", f"{saw.dst}:{saw.dport}") == ("198.51.100.9:7", sees)


@pytest.mark.parametrize(
    ("match", "sees"), [("MATCH_INTERNAL_ADDRESS", "10.20.0.10:7"), ("MATCH_EXTERNAL_ADDRESS", "203.0.113.12:7")]
)
def test_the_source_that_the_firewall_sees(match: str, sees: str) -> None:
    saw = (
        Bench(edge(nat("s", "SNAT", "203.0.113.12", "10.20.0.0/24", match=match)))
        .send("udp 10.20.0.10:7 > 8.8.8.8:53")
        .steps[-1]
        .saw
    )
    assert saw is not None
    assert f"{saw.src}:{saw.sport}" == sees


def test_bypass_asks_no_rule_at_all() -> None:
    closed = [rule("no", "DROP"), default_rule("DROP")]
    bench = Bench(edge(nat("d", "DNAT", "203.0.113.11", "10.20.0.10", match="BYPASS"), firewall=closed))
    outcome = bench.send("tcp 198.51.100.9:7 > 203.0.113.11:80 A")
    assert (why(outcome), stages(outcome)[-1]) == (("ALLOW", "NAT_BYPASS"), "FIREWALL BYPASS d")
    assert stages(bench.reply("A")) == ["SESSION HIT d INTERNET"]
    assert bench.edge.rule_counters()["no"].hits == 0


def test_an_exemption_never_bypasses() -> None:
    config = edge(nat("n", "NO_SNAT", internal="10.20.0.0/24", match="BYPASS"), firewall=[default_rule("DROP")])
    outcome = Bench(config).send("udp 10.20.0.10:7 > 8.8.8.8:53")
    assert (why(outcome), stages(outcome)[-2:]) == (
        ("DROP", "FW_DEFAULT"),
        ["NAT NO_SNAT n", "FIREWALL DROP default_rule"],
    )


# --- bytes ----------------------------------------------------------------------------------------------------------


@given(packet_texts(), st.data())
def test_a_rewritten_packet_is_the_packet_that_would_have_been_written(text: str, data: st.DataObject) -> None:
    """Rewriting updates checksums; building computes them anew."""
    packet = parse(build_frame(parse_packet(text)))
    assert isinstance(packet, Packet)
    addresses = st.ip_addresses(v=packet.flow.src.version)
    flow = packet.flow._replace(src=data.draw(addresses), dst=data.draw(addresses))
    if packet.kind in (Kind.TCP, Kind.UDP):
        flow = flow._replace(sport=data.draw(st.integers(0, 65535)), dport=data.draw(st.integers(0, 65535)))
    if packet.kind is Kind.ICMP_ERROR or packet.ttl == 0:
        return
    expected = replace(
        parse_packet(text),
        src=flow.src,
        dst=flow.dst,
        sport=flow.sport if packet.kind in (Kind.TCP, Kind.UDP) else None,
        dport=flow.dport if packet.kind in (Kind.TCP, Kind.UDP) else None,
    )
    expected = replace(expected, values={**expected.values, "ttl": packet.ttl - 1})
    assert rewrite(packet, flow, hops=1) == build_frame(expected)[14:]


def test_udp_without_a_checksum_stays_without() -> None:
    frame = bytearray(build_frame(parse_packet("udp 10.20.0.10:5 > 8.8.8.8:53")))
    frame[40:42] = b"\0\0"
    assert Bench(acme()).frame("LAN", bytes(frame)).outputs[0].frame[40:42] == b"\0\0"


def test_a_wrong_checksum_stays_wrong() -> None:
    frame = bytearray(build_frame(parse_packet("udp 10.20.0.10:5 > 8.8.8.8:53")))
    right = Bench(acme()).frame("LAN", bytes(frame)).outputs[0].frame
    frame[41] ^= 1
    wrong = Bench(acme()).frame("LAN", bytes(frame)).outputs[0].frame
    assert wrong != right
    assert (wrong[:40], wrong[42:]) == (right[:40], right[42:])
