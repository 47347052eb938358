"""What becomes of a configuration in nftables, and of packets on their way there."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_address
from random import Random

import pytest

from edge.model import EdgeConfig
from tests.model.frames import frame, icmp, tcp, udp
from tests.support import acme, default_rule, nat, network, rule, static_route, uplink, with_options
from tests.twin.bijection import Bijection
from tests.twin.joined import joined
from tests.twin.links import batch, routes, sysctls
from tests.twin.phrases import InexpressibleError
from tests.twin.places import Arrival, Span, place
from tests.twin.ruleset import ruleset
from tests.twin.twin import Twin
from tests.twin.wire import ICMP, UDP, checksums_right, dissect, with_ends

HERE, THERE, FAR = (bytes((203, 0, 113, 10)), 1024), (bytes((203, 0, 113, 11)), 2048), (bytes((192, 0, 2, 1)), 53)


def lines(config: EdgeConfig, chain: str) -> list[str]:
    """The rules of a chain."""
    text = ruleset(config)
    body = text[text.index(f"chain {chain} {{\n") :].split("\n")[1:]
    return [line.strip() for line in body[: body.index("}")]]


def test_nat_rules_by_priority_and_what_they_ask() -> None:
    config = acme()
    assert lines(config, "inbound") == [
        "ip daddr 203.0.113.11 meta l4proto 6 th dport 80 meta mark set meta mark or 0x10000 accept"
    ]
    assert lines(config, "to_1") == ["meta l4proto 6 dnat ip to 10.20.0.10:8080"]
    outbound, office = lines(config, "outbound")[2:], "meta nfproto ipv4 ip saddr 10.20.0.0-10.20.0.255"
    assert outbound == [
        f"{office} ip daddr 192.168.50.0-192.168.50.255 meta mark set meta mark or 0x1000000 return",
        f"{office} meta mark set meta mark or 0x2000000 return",
    ]
    assert lines(config, "from_2") == [
        "meta l4proto { tcp, udp } snat ip to 203.0.113.10:1024-65535 fully-random", "snat ip to 203.0.113.10"
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("external_port", "app", "expected"),
    [
        ("", "", ["dnat ip to 10.20.0.10"]),
        ("80", "", ["dnat ip to 10.20.0.10"]),
        ("80", "tcp/80", ["dnat ip to 10.20.0.10"]),
        ("80-81", "tcp/8080", ["meta l4proto 6 dnat ip to 10.20.0.10:8080"]),
        ("80-81", "tcp/8080-8081", [
            "meta l4proto 6 th dport 80 dnat ip to 10.20.0.10:8080",
            "meta l4proto 6 th dport 81 dnat ip to 10.20.0.10:8081",
        ]),
        ("80", "icmp", ["dnat ip to 10.20.0.10"]),
    ],
)  # fmt: skip
def test_where_a_dnat_rule_leads(external_port: str, app: str, expected: list[str]) -> None:
    rules = [nat("d", "DNAT", "203.0.113.11", "10.20.0.10", external_port=external_port, app=app)]
    assert lines(acme(nat_rules=rules), "to_1") == expected


def test_ranges_of_addresses_map_in_order() -> None:
    rules = [nat("d", "DNAT", "203.0.113.10-203.0.113.11", "10.20.0.10-10.20.0.11")]
    assert lines(acme(nat_rules=rules), "to_1") == [
        "ip daddr 203.0.113.10 dnat ip to 10.20.0.10", "ip daddr 203.0.113.11 dnat ip to 10.20.0.11"
    ]  # fmt: skip


def test_firewall_rules_by_family_direction_and_service() -> None:
    rules = [
        rule("a", "REJECT", direction="IN", services="tcp/80-81 tcp/90 icmp/8.0", family="IPV4"),
        rule("b", source="10.20.0.0/24 10.20.1.0/24", destination="2001:db8::1"),
        rule("c", enabled=False),
        default_rule("ALLOW"),
    ]
    web, admin, ping = "meta l4proto 6 th dport { 80-81 }", "meta l4proto 6 th dport { 90 }", "icmp type 8 icmp code 0"
    match = 'meta nfproto ipv4 iifname { "p0" }'
    reset, prohibited = "meta l4proto tcp reject with tcp reset", "reject with icmp type admin-prohibited"
    assert lines(acme(firewall=rules), "rules_0") == [
        *(f"{match} {service} {answer}" for service in (web, admin) for answer in (reset, prohibited)),
        f"{match} meta l4proto 1 {ping} {reset}",
        f"{match} meta l4proto 1 {ping} {prohibited}",
        "meta nfproto ipv4 accept",
        "meta nfproto ipv6 accept",
    ]


def test_external_match_asks_for_what_was_called() -> None:
    firewall = [rule("in", services="tcp/80", destination="203.0.113.11", family="IPV4")]
    rules = [
        nat(
            "d",
            "DNAT",
            "203.0.113.11",
            "10.20.0.10",
            match="MATCH_EXTERNAL_ADDRESS",
            app="tcp/8080",
            external_port="80",
        )
    ]
    config = acme(firewall=firewall, nat_rules=rules)
    expected = "meta nfproto ipv4 ct original ip daddr @dst_0_4 meta l4proto 6 ct original proto-dst { 80 } accept"
    assert lines(config, "rules_0_called")[0] == expected
    assert lines(config, "judge") == ["meta mark and 0x7f0000 == 0x10000 goto rules_0_called", "goto rules_0"]


def test_an_external_source_is_known_before_it_is_there() -> None:
    firewall = [
        rule("public", source="203.0.113.10", family="IPV4"),
        rule("private", source="10.20.0.0/24", family="IPV4"),
    ]
    rules = [nat("s", "SNAT", "203.0.113.10", "10.20.0.0/24", match="MATCH_EXTERNAL_ADDRESS")]
    config = acme(firewall=firewall, nat_rules=rules)
    assert lines(config, "rules_0")[0] == "meta nfproto ipv4 accept"
    assert lines(config, "rules_1")[0] == "meta nfproto ipv4 ip saddr @src_0_4 accept"
    assert lines(config, "judge") == ["meta mark and 0x7f000000 == 0x1000000 goto rules_0", "goto rules_1"]


@pytest.mark.parametrize(
    ("rules", "words"),
    [
        ([nat("r", "REFLEXIVE", "203.0.113.11", "10.20.0.10")], "REFLEXIVE"),
        ([nat("d", "DNAT", "10.0.0.0/20", "10.1.0.0/20")], "the most"),
        ([nat("s", "SNAT", "203.0.113.10-203.0.113.11", "10.20.0.0/24", match="MATCH_EXTERNAL_ADDRESS")], "pool apart"),
        ([nat(str(number), "NO_DNAT", "203.0.113.10") for number in range(128)], "127 NAT rules"),
    ],
)
def test_what_nftables_has_no_words_for_is_said(rules: list[object], words: str) -> None:
    config = acme(nat_rules=rules, firewall=[rule("one", source="203.0.113.10")])
    with pytest.raises(InexpressibleError, match=words):
        ruleset(config)


def test_routes_in_order_of_preference() -> None:
    config = acme(
        uplinks=[uplink("A", "203.0.113.1/24 203.0.113.10"), uplink("B", "198.18.0.1/24 198.18.0.2")],
        networks=[network("LAN", "10.20.0.1/24"), network("CAGE", "10.30.0.1/24", kind="ISOLATED")],
        routes=[
            static_route("10.9.0.0/16", "198.18.0.9", distance=2),
            static_route("10.9.0.0/16", "10.20.0.9", distance=1, name="near"),
            static_route("10.8.0.0/16", "10.99.0.1", scope="B"),
        ],
    )
    found = [(str(net), device) for net, device in routes(config, 4)]
    assert found == [
        ("203.0.113.0/24", "p0"), ("198.18.0.0/24", "p1"), ("10.20.0.0/24", "p2"), ("10.9.0.0/16", "p2"),
        ("10.8.0.0/16", "p1"), ("10.9.0.0/16", "p1"), ("0.0.0.0/0", "p0"), ("0.0.0.0/0", "p1"),
    ]  # fmt: skip
    assert "addr add 10.30.0.1/24 dev p3 noprefixroute" in batch(config, 4)
    assert [line for line in batch(config, 4) if "local" in line and "route" in line] == [
        "route replace local 198.18.0.2 dev lo table local", "route replace local 203.0.113.10 dev lo table local"
    ]  # fmt: skip


def test_timers_and_strictness_are_sysctls() -> None:
    config = acme()
    options = replace(config.options, timers=replace(config.options.timers, tcp_established=77, other=5))
    found = sysctls(with_options(replace(config, options=options), tcp_strict=False))
    assert found["netfilter/nf_conntrack_tcp_timeout_established"] == "77"
    assert found["netfilter/nf_conntrack_generic_timeout"] == "5"
    assert found["netfilter/nf_conntrack_tcp_loose"] == "1"
    assert sysctls(config)["netfilter/nf_conntrack_tcp_loose"] == "0"


@pytest.mark.needs("netns", "nft")
def test_nftables_takes_what_is_written() -> None:
    for number in range(5):
        config = place(Random(f"taken:{number}")).config
        with Twin(config) as twin:
            listed = twin.command("nft", "list", "table", "inet", "edge")
        assert listed.count("hook ") == 8


def test_a_packet_finds_its_other_ends() -> None:
    pairs = Bijection()
    assert pairs.learn(UDP, HERE, THERE, FAR)
    answer = frame(udp(FAR[0], HERE[0], FAR[1], HERE[1], b"data"))[14:]
    there = pairs.there(answer)
    assert (dissect(there).dst, checksums_right(there)) == (THERE, True)
    other = frame(udp(FAR[0], HERE[0], FAR[1], HERE[1] + 1, b"data"))[14:]
    assert pairs.there(other) == other
    left = frame(udp(THERE[0], FAR[0], THERE[1], FAR[1]))[14:]
    assert pairs.here(dissect(left)).src == HERE
    assert pairs.is_guess(dissect(frame(udp(FAR[0], THERE[0], FAR[1], THERE[1]))[14:]))
    assert not pairs.is_guess(dissect(answer))
    assert not pairs.learn(UDP, HERE, (THERE[0], 7), FAR)


def test_an_end_that_only_the_twin_renames_is_not_sent_from_again() -> None:
    pairs = Bijection()
    pairs.learn(UDP, HERE, THERE, FAR)
    pairs.double(UDP, HERE, FAR)
    again = dissect(frame(udp(HERE[0], FAR[0], HERE[1], FAR[1]))[14:])
    answer = dissect(frame(udp(FAR[0], HERE[0], FAR[1], HERE[1]))[14:])
    assert pairs.is_guess(again)
    assert not pairs.is_guess(answer)


def test_an_error_finds_the_ends_that_it_quotes() -> None:
    pairs = Bijection()
    pairs.learn(UDP, HERE, THERE, FAR)
    sent = frame(udp(HERE[0], FAR[0], HERE[1], FAR[1], b"data"), ttl=9)[14:]
    there = pairs.there(frame(icmp(bytes((192, 0, 2, 7)), HERE[0], 3, 3, 0, 0, sent))[14:])
    found = dissect(there)
    assert found.quote is not None
    assert (found.dst[0], found.quote.src, checksums_right(there), checksums_right(there[28:48])) == (
        THERE[0], THERE, True, True
    )  # fmt: skip


def test_an_identifier_belongs_to_who_asks() -> None:
    asked = dissect(frame(icmp(HERE[0], FAR[0], 8, 0, 77, 1, b"ping"))[14:])
    answered = dissect(frame(icmp(FAR[0], HERE[0], 0, 0, 77, 1, b"ping"))[14:])
    assert (asked.protocol, asked.src, asked.dst) == (ICMP, (HERE[0], 77), (FAR[0], 0))
    assert answered.flow == asked.flow
    moved = with_ends(frame(icmp(FAR[0], HERE[0], 0, 0, 77, 1, b"ping"))[14:], (FAR[0], 0), (THERE[0], 78))
    assert (dissect(moved).dst, checksums_right(moved)) == ((THERE[0], 78), True)


def test_a_segment_in_numbers() -> None:
    source, target = ip_address("2001:db8::1").packed, ip_address("2001:db8::2").packed
    segment = dissect(
        frame(tcp(source, target, 1, 2, 0x03, 2**32 - 1, 7, b"abc", b"\x01" * 4, 99), extensions=(60,))[14:]
    )
    assert (segment.seq, segment.ack, segment.behind, segment.window, segment.flags) == (2**32 - 1, 7, 4, 99, 3)
    assert (segment.extensions, segment.upper) == ([60], 27)


@pytest.mark.parametrize("version", [4, 6])
def test_pieces_are_joined_in_their_order_and_how_they_were_cut_is_told(version: int) -> None:
    src, dst = (bytes(4), bytes(4)) if version == 4 else (bytes(16), bytes(16))
    whole = frame(udp(src, dst, 1, 2, bytes(range(100))), fragment=0)
    arrival = Arrival("LAN", whole, 0, spans=(Span(48, 108, more=False), Span(0, 48, more=True)), identification=7)
    pieces = arrival.pieces(whole[14:])
    assert [len(piece) for piece in pieces] == [80, 68] if version == 4 else [108, 96]
    (found,) = joined(("LAN", piece) for piece in reversed(pieces))
    head = 20 if version == 4 else 40
    assert (found.packet[head:], found.cuts) == (whole[14 + head :], ((head, 0, 48), (head, 48, 60)))
    assert joined([("LAN", whole[14:])])[0].cuts == ()
    with pytest.raises(ValueError, match="disorder"):
        joined(("LAN", piece) for piece in pieces)


@pytest.mark.parametrize("version", [4, 6])
def test_pieces_of_one_packet_have_their_df_and_ttl_in_common(version: int) -> None:
    src, dst = (bytes(4), bytes(4)) if version == 4 else (bytes(16), bytes(16))
    whole = frame(udp(src, dst, 1, 2, bytes(100)), fragment=0)
    spans = (Span(0, 48, more=True), Span(48, 108, more=False))
    first, second = Arrival("LAN", whole, 0, spans=spans, identification=7).pieces(whole[14:])
    changed = frame(udp(src, dst, 1, 2, bytes(100)), fragment=0, ttl=9)
    others = [Arrival("LAN", changed, 0, spans=spans, identification=7).pieces(changed[14:])[1]]
    with_df = tuple(item._replace(keeps=True) for item in spans)
    if version == 4:
        others.append(Arrival("LAN", whole, 0, spans=with_df, identification=7).pieces(whole[14:])[1])
    assert len(joined([("LAN", first), ("LAN", second)])) == 1
    for other in others:
        with pytest.raises(ValueError, match="disagree"):
            joined([("LAN", first), ("LAN", other)])


def test_queries_of_two_types_may_have_one_identifier() -> None:
    pairs = Bijection()
    far = (bytes((192, 0, 2, 1)), 0)
    kinds = [dissect(frame(icmp(HERE[0], far[0], kind, 0, 7, 1))[14:]).kind for kind in (8, 13)]
    assert pairs.learn(kinds[0], HERE, THERE, far)
    assert pairs.learn(kinds[1], (HERE[0], 9), THERE, far)
    reply = dissect(frame(icmp(far[0], HERE[0], 14, 0, 9, 1))[14:])
    assert reply.kind == kinds[1]
    assert dissect(pairs.there(frame(icmp(far[0], HERE[0], 14, 0, 9, 1))[14:])).dst == THERE
