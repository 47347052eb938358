"""ICMP errors through the readable edge: whom they reach, and as what they speak of the packet that died."""

from __future__ import annotations

import struct
from collections.abc import Callable
from ipaddress import ip_address

import pytest

from edge.model import EdgeConfig, SessionsOnChange
from edge.nat.config import NatRule
from edge.packets import build_frame, format_frame, parse_packet
from edge.reference import ReferenceEdge
from edge.runtime import Edge
from edge.state import RuleCounters
from edge.verdicts import Outcome
from tests.model.frames import Parts, checksum, frame, icmp
from tests.reference_bench import Bench, left, stages, why
from tests.support import SECOND, acme, default_rule, logged, nat, rule, uplink, with_options

EVERYTHING = [default_rule("ALLOW")]


def edge(*rules: NatRule, **changes: object) -> EdgeConfig:
    six = "2001:db8:ff::1/64 2001:db8:ff::10-2001:db8:ff::1f"
    uplinks = [uplink("INTERNET", "203.0.113.1/24 203.0.113.10-203.0.113.19", six)]
    return acme(**({"uplinks": uplinks, "nat_rules": rules, "firewall": EVERYTHING} | changes))


def error_on(data: bytes, router: str, *, kind: int, code: int, quote: int | None = None) -> bytes:
    """The error that a router sends about a frame, quoting so many bytes of the upper protocol."""
    ip = data[14:]
    sender = ip[12:16] if ip[0] >> 4 == 4 else ip[8:24]
    header = (ip[0] & 15) * 4 if ip[0] >> 4 == 4 else 40
    end = None if quote is None else header + quote
    return frame(icmp(ip_address(router).packed, sender, kind, code, 0, 1400, ip[:end]))


def one_hop_later(data: bytes) -> bytes:
    """The IP packet of a frame, one hop older."""
    ip = bytearray(data[14:])
    if ip[0] >> 4 == 6:
        ip[7] -= 1
        return bytes(ip)
    ip[8] -= 1
    ip[10:12] = b"\0\0"
    ip[10:12] = struct.pack("!H", checksum(bytes(ip[:20])))
    return bytes(ip)


KINDS: dict[str, tuple[NatRule, ...]] = {
    "none": (),
    "snat": (
        nat("s", "SNAT", "203.0.113.10", "10.20.0.0/24"),
        nat("s6", "SNAT", "2001:db8:ff::12", "2001:db8:20::/64"),
    ),
    "dnat": (
        nat("d", "DNAT", "203.0.113.11", "10.20.0.10", external_port="80", app="tcp/8080"),
        nat("d6", "DNAT", "2001:db8:ff::11", "2001:db8:20::a", external_port="80", app="tcp/8080"),
    ),
    "dnat of everything": (
        nat("d", "DNAT", "203.0.113.11", "10.20.0.10"),
        nat("d6", "DNAT", "2001:db8:ff::11", "2001:db8:20::a"),
    ),
    "reflexive": (
        nat("r", "REFLEXIVE", "203.0.113.14-203.0.113.17", "10.20.0.8-10.20.0.11"),
        nat("r6", "REFLEXIVE", "2001:db8:ff::1a", "2001:db8:20::a"),
    ),
}
OUT = {
    4: (
        "udp 10.20.0.10:7 > 8.8.8.8:53 len=40",
        "tcp 10.20.0.10:7 > 8.8.8.8:80 S",
        "icmp 10.20.0.10 > 8.8.8.8 echo-request id=9 len=11",
        "esp 10.20.0.10 > 8.8.8.8 len=30",
    ),
    6: (
        "udp [2001:db8:20::a]:7 > [2001:db8:9::9]:53 len=41",
        "tcp [2001:db8:20::a]:7 > [2001:db8:9::9]:80 S",
        "icmp6 2001:db8:20::a > 2001:db8:9::9 echo-request id=9",
        "proto=50 2001:db8:20::a > 2001:db8:9::9 len=30",
    ),
}
PUBLIC = {"none": ("10.20.0.10", "2001:db8:20::a"), "reflexive": ("203.0.113.16", "2001:db8:ff::1a")}
ROUTERS = {4: ("198.51.100.1", "10.20.0.99"), 6: ("2001:db8:1::1", "2001:db8:20::99")}
ERRORS = {4: ((3, 4), (11, 0), (12, 0)), 6: ((2, 0), (3, 0), (100, 1))}


def called(kind: str, version: int) -> str:
    """A call from outside to the machine inside."""
    inside, outside = PUBLIC.get(kind, ("203.0.113.11", "2001:db8:ff::11"))
    if version == 4:
        return f"tcp 198.51.100.9:7 > {inside}:80 S len=5"
    return f"tcp [2001:db8:9::9]:7 > [{outside}]:80 S len=5"


def mishap(bench: Bench, text: str, router: str, kind: tuple[int, int], quote: int | None) -> tuple[Outcome, bytes]:
    """Send a packet, let a router on its way behind the edge complain: what becomes of that, and what was sent."""
    packet = parse_packet(text)
    sent = build_frame(packet)
    forwarded = bench.frame(bench.edge.ingress_port(sent), sent)
    assert why(forwarded)[0] == "ALLOW"
    output = forwarded.outputs[0]
    error = error_on(output.frame, router, kind=kind[0], code=kind[1], quote=quote)
    return bench.frame(output.port, error), sent


def expected(sent: bytes, source: str, kind: tuple[int, int], quote: int | None) -> bytes:
    """The error as the sender gets it, made from nothing: it quotes what was sent, and every checksum is right."""
    error = error_on(ETHERNET + one_hop_later(sent), source, kind=kind[0], code=kind[1], quote=quote)
    return one_hop_later(error)


ETHERNET = bytes(14)


@pytest.mark.parametrize("quote", [None, 8])
@pytest.mark.parametrize("version", [4, 6])
@pytest.mark.parametrize("kind", ["none", "snat", "reflexive"])
def test_an_error_from_outside_reaches_who_sent_the_packet(kind: str, version: int, quote: int | None) -> None:
    for text in OUT[version]:
        for message in ERRORS[version]:
            router = ROUTERS[version][0]
            outcome, sent = mishap(Bench(edge(*KINDS[kind])), text, router, message, quote)
            assert why(outcome) == ("ALLOW", "RELATED"), text
            assert [output.port for output in outcome.outputs] == ["LAN"]
            assert outcome.outputs[0].frame[14:] == expected(sent, router, message, quote), text


@pytest.mark.parametrize("quote", [None, 8])
@pytest.mark.parametrize("version", [4, 6])
@pytest.mark.parametrize("kind", ["none", "dnat", "dnat of everything", "reflexive"])
def test_an_error_from_inside_bears_the_address_that_was_called(kind: str, version: int, quote: int | None) -> None:
    text, message = called(kind, version), ERRORS[version][0]
    router = ROUTERS[version][1]
    outcome, sent = mishap(Bench(edge(*KINDS[kind])), text, router, message, quote)
    assert why(outcome) == ("ALLOW", "RELATED")
    source = router if kind == "none" else format_frame(sent).split()[3].rpartition(":")[0].strip("[]")
    assert outcome.outputs[0].port == "INTERNET"
    assert outcome.outputs[0].frame[14:] == expected(sent, source, message, quote)


@pytest.mark.parametrize("version", [4, 6])
@pytest.mark.parametrize("protocol", range(4))
def test_an_error_about_an_answer_leaves_with_the_source_that_snat_chose(version: int, protocol: int) -> None:
    bench = Bench(edge(*KINDS["snat"]))
    out = bench.send(OUT[version][protocol])
    if protocol == 3:
        answer = out.outputs[0].frame
        ip = answer[14:]
        size, first = (4, 12) if version == 4 else (16, 8)
        src, dst = ip[first : first + size], ip[first + size : first + 2 * size]
        answer = frame(Parts(50, dst, src, bytes(30)))
        back = bench.frame("INTERNET", answer)
    else:
        before = bench.last
        assert before is not None
        back = bench.reply("SA" if protocol == 1 else "")
        answer = back.outputs[0].frame
    assert left(back)[0][0] == "LAN"
    error = error_on(back.outputs[0].frame, ROUTERS[version][1], kind=3, code=3 if version == 4 else 0)
    outcome = bench.frame("LAN", error)
    assert (why(outcome), outcome.outputs[0].port) == (("ALLOW", "RELATED"), "INTERNET")
    source = "203.0.113.10" if version == 4 else "2001:db8:ff::12"
    shown = format_frame(outcome.outputs[0].frame)
    assert shown.split()[1] == source
    server = "8.8.8.8" if version == 4 else "2001:db8:9::9"
    assert shown.split()[3] == server
    public = left(out)[0][1].split()[1]
    quoted = shown.partition('of="')[2]
    assert quoted.split()[3].rstrip('"') == public


# --- what a trace says, and what is counted -------------------------------------------------------------------------


def session(config: EdgeConfig | None = None, text: str = "udp 10.20.0.10:7 > 8.8.8.8:53") -> tuple[Bench, str]:
    """An edge with one session, and the packet that left."""
    bench = Bench(acme() if config is None else config)
    return bench, left(bench.send(text))[0][1]


ABOUT = "icmp 192.0.2.1 > 203.0.113.10 port-unreachable"


def test_the_steps_and_the_counters_of_a_related_error() -> None:
    bench, public = session()
    expires = bench.edge.sessions()[0].expires_ns
    bench.now_ns += SECOND
    outcome = bench.send(f'{ABOUT} of="{public}"')
    assert stages(outcome) == ["SESSION HIT out LAN"]
    after = outcome.steps[0].after
    assert after is not None
    assert (str(after.src), after.sport, str(after.dst), after.dport) == ("192.0.2.1", 0, "10.20.0.10", 0)
    found = bench.edge.sessions()[0]
    assert (found.packets, found.bytes, found.state) == ((1, 1), (28, 56), "SINGLE:NO_TRAFFIC")
    assert found.expires_ns == expires
    assert bench.edge.rule_counters()["out"] == RuleCounters(1, 2, 84)


def test_a_related_error_may_die_here_in_silence() -> None:
    bench, public = session()
    outcome = bench.send(f'{ABOUT} of="{public}" ttl=1')
    assert (why(outcome), outcome.outputs) == (("DROP", "TTL_EXPIRED"), ())
    assert stages(outcome) == ["SESSION HIT out LAN", "ROUTE TTL_EXPIRED"]
    assert bench.edge.sessions()[0].packets == (1, 0)


def test_an_error_is_judged_again_with_its_session() -> None:
    bench, public = session()
    recheck = with_options(acme(firewall=[default_rule("DROP")]), sessions_on_change=SessionsOnChange.RECHECK)
    bench.edge.apply(recheck)
    outcome = bench.send(f'{ABOUT} of="{public}"')
    assert why(outcome) == ("DROP", "ICMP_UNRELATED")
    assert stages(outcome) == ["SESSION ENDED", "PROVIDER_FILTER PASS", "ROUTE LOCAL INTERNET", "FIREWALL DROP"]
    assert bench.edge.sessions() == []


@pytest.mark.parametrize(
    "change",
    [
        lambda text: text.replace("8.8.8.8:53", "8.8.8.8:54"),
        lambda text: text.replace("8.8.8.8:53", "8.8.4.4:53"),
        lambda text: text.replace("udp", "tcp"),
    ],
    ids=["port", "address", "protocol"],
)
def test_nobody_had_sent_that(change: Callable[[str], str]) -> None:
    bench, public = session()
    assert why(bench.send(f'{ABOUT} of="{change(public)}"')) == ("DROP", "ICMP_UNRELATED")


def test_it_has_to_go_to_the_sender_and_come_from_its_side() -> None:
    bench, public = session()
    other = ABOUT.replace("203.0.113.10", "203.0.113.11")
    assert why(bench.send(f'{other} of="{public}"')) == ("DROP", "ICMP_UNRELATED")
    assert why(bench.send(f'{ABOUT} of="{public}" in=LAN'))[1] != "RELATED"
    private = 'icmp 192.0.2.1 > 10.20.0.10 port-unreachable of="udp 10.20.0.10:7 > 8.8.8.8:53"'
    assert why(bench.send(private)) == ("DROP", "ICMP_UNRELATED")


def test_redirects_are_not_related() -> None:
    bench, public = session()
    outcome = bench.send(f'icmp 192.0.2.1 > 203.0.113.10 redirect of="{public}"')
    assert why(outcome) == ("DROP", "ICMP_UNRELATED")


@pytest.mark.parametrize(("offset", "passes"), [(0, True), (65535, True), (65536, False), (-1, True), (-2, False)])
def test_a_guessed_sequence_number_does_not_reset_anything(offset: int, *, passes: bool) -> None:
    """RFC 5927: the quoted number must have been sent of late.  The SYN has number 1000."""
    bench, public = session(text="tcp 10.20.0.10:7 > 8.8.8.8:80 S seq=1000")
    address = public.removesuffix(" S")
    quote = f"{address} A seq={(1001 + offset) % 2**32}"
    assert (why(bench.send(f'{ABOUT} of="{quote}"'))[1] == "RELATED") is passes


def test_a_session_met_in_the_middle_knows_no_numbers() -> None:
    bench, public = session(with_options(acme(), tcp_strict=False), "tcp 10.20.0.10:7 > 8.8.8.8:80 A seq=5")
    quote = public.removesuffix(" A") + " A seq=3000000000"
    assert why(bench.send(f'{ABOUT} of="{quote}"')) == ("ALLOW", "RELATED")


# --- quotes ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "related"),
    [
        (lambda ip: ip[:28], True),
        (lambda ip: ip[:27], False),
        (lambda ip: ip[:19], False),
        (lambda ip: ip[:0], False),
        (lambda ip: ip + bytes(100), True),
        (lambda ip: b"\x44" + ip[1:], False),
        (lambda ip: b"\x65" + ip[1:], False),
        (lambda ip: b"\x46" + ip[1:20] + b"\x01" * 4 + ip[20:], True),
        (lambda ip: ip[:2] + b"\xff\xff" + ip[4:], True),  # the router saw more of it than it quotes
        (lambda ip: ip[:2] + b"\x00\x00" + ip[4:], True),
        (lambda ip: ip[:6] + b"\x20\x00" + ip[8:], True),  # a first fragment
        (lambda ip: ip[:6] + b"\x20\x01" + ip[8:], False),
        (lambda ip: ip[:10] + b"\x12\x34" + ip[12:], True),  # checksums of a quote are not judged
    ],
)
def test_what_an_ipv4_quote_has_to_show(change: Callable[[bytes], bytes], *, related: bool) -> None:
    bench = Bench(acme())
    ip = bench.send("udp 10.20.0.10:7 > 8.8.8.8:53 len=9").outputs[0].frame[14:]
    error = icmp(ip_address("192.0.2.1").packed, ip_address("203.0.113.10").packed, 3, 3, 0, 0, change(ip))
    outcome = bench.frame("INTERNET", frame(error))
    assert why(outcome) == (("ALLOW", "RELATED") if related else ("DROP", "ICMP_UNRELATED"))


FIRST, LATER, ROUTING = "{next}00000100000000", "{next}00000900000000", "{next}00000000000000"


@pytest.mark.parametrize(
    ("headers", "related"),
    [
        ((), True),
        ((44, FIRST), True),
        ((44, LATER), False),
        ((44, FIRST, 44, FIRST), True),
        ((0, ROUTING, 60, ROUTING, 44, FIRST, 43, ROUTING), True),
        ((60, ROUTING, 0, ROUTING), False),
        ((43, ROUTING) * 8, True),
        ((43, ROUTING) * 9, False),
        ((43, "{next}ff000000000000"), False),
    ],
)
def test_extension_headers_of_an_ipv6_quote(headers: tuple[object, ...], *, related: bool) -> None:
    bench = Bench(edge(*KINDS["snat"]))
    ip = bench.send("udp [2001:db8:20::a]:7 > [2001:db8:9::9]:53").outputs[0].frame[14:]
    kinds = [*(item for item in headers if isinstance(item, int)), 17]
    chain = "".join(
        text.replace("{next}", f"{following:02x}")
        for text, following in zip((item for item in headers if isinstance(item, str)), kinds[1:], strict=True)
    )
    quote = ip[:6] + bytes([kinds[0]]) + ip[7:40] + bytes.fromhex(chain) + ip[40:]
    error = icmp(ip_address("2001:db8:1::1").packed, ip_address("2001:db8:ff::12").packed, 1, 4, 0, 0, quote)
    outcome = bench.frame("INTERNET", frame(error))
    assert why(outcome) == (("ALLOW", "RELATED") if related else ("DROP", "ICMP_UNRELATED"))


def test_a_quoted_udp_checksum_of_zero_stays_zero() -> None:
    bench = Bench(acme())
    ip = bytearray(bench.send("udp 10.20.0.10:7 > 8.8.8.8:53").outputs[0].frame[14:])
    ip[26:28] = b"\0\0"
    error = icmp(ip_address("192.0.2.1").packed, ip_address("203.0.113.10").packed, 3, 3, 0, 0, bytes(ip))
    out = bench.frame("INTERNET", frame(error)).outputs[0].frame
    assert out[14 + 28 + 26 :] == b"\0\0"
    assert checksum(out[34:]) == 0


def test_what_was_wrong_in_an_error_stays_wrong() -> None:
    bench = Bench(acme())
    forwarded = bench.send("udp 10.20.0.10:7 > 8.8.8.8:53").outputs[0].frame
    error = bytearray(error_on(forwarded, "192.0.2.1", kind=3, code=3))
    error[36:38] = struct.pack("!H", int.from_bytes(error[36:38], "big") ^ 1)
    out = bench.frame("INTERNET", bytes(error)).outputs[0].frame
    assert checksum(out[34:]) not in (0, 0xFFFF)


# --- without a session ----------------------------------------------------------------------------------------------


def test_the_steps_of_an_error_that_reflexive_translates() -> None:
    config = edge(nat("r", "REFLEXIVE", "203.0.113.15", "10.20.0.15", logging=True))
    bench = Bench(config)
    inwards = bench.send('icmp 192.0.2.1 > 203.0.113.15 time-exceeded of="udp 203.0.113.15:7 > 8.8.8.8:53"')
    assert why(inwards) == ("ALLOW", "RELATED")
    assert stages(inwards) == [
        "SESSION MISS",
        "PROVIDER_FILTER PASS",
        "NAT REFLEXIVE r",
        "ROUTE CONNECTED LAN",
        "FIREWALL ALLOW default_rule",
    ]
    assert left(inwards) == [("LAN", 'icmp 192.0.2.1 > 10.20.0.15 time-exceeded of="udp 10.20.0.15:7 > 8.8.8.8:53"')]
    outwards = bench.send('icmp 10.20.0.77 > 8.8.8.8 time-exceeded of="udp 8.8.8.8:53 > 10.20.0.15:7"')
    assert why(outwards) == ("ALLOW", "RELATED")
    assert stages(outwards) == [
        "SESSION MISS",
        "ROUTE DEFAULT INTERNET",
        "PROVIDER_FILTER PASS",
        "NAT REFLEXIVE r",
        "FIREWALL ALLOW default_rule",
    ]
    assert left(outwards) == [
        ("INTERNET", 'icmp 203.0.113.15 > 8.8.8.8 time-exceeded of="udp 8.8.8.8:53 > 203.0.113.15:7"')
    ]
    assert (bench.edge.rule_counters()["r"], logged(bench.edge), bench.edge.sessions()) == (RuleCounters(), [], [])


INWARDS = 'icmp 192.0.2.1 > 203.0.113.15 time-exceeded of="udp 203.0.113.15:7 > 8.8.8.8:53"'
OUTWARDS = 'icmp 10.20.0.77 > 8.8.8.8 time-exceeded of="udp 8.8.8.8:53 > 10.20.0.15:7"'


@pytest.mark.parametrize(
    ("text", "match", "allowed", "reason"),
    [
        (INWARDS, "MATCH_INTERNAL_ADDRESS", {}, "RELATED"),
        (INWARDS, "MATCH_INTERNAL_ADDRESS", {"source": "203.0.113.15"}, "ICMP_UNRELATED"),
        (INWARDS, "MATCH_EXTERNAL_ADDRESS", {"source": "203.0.113.15"}, "RELATED"),
        (INWARDS, "MATCH_INTERNAL_ADDRESS", {"source": "10.20.0.15", "services": "udp/53"}, "RELATED"),
        (INWARDS, "MATCH_INTERNAL_ADDRESS", {"services": "udp/7"}, "ICMP_UNRELATED"),
        (INWARDS, "MATCH_INTERNAL_ADDRESS", {"direction": "OUT"}, "RELATED"),
        (INWARDS, "MATCH_INTERNAL_ADDRESS", {"direction": "IN"}, "ICMP_UNRELATED"),
        (INWARDS, "BYPASS", {"source": "192.0.2.77"}, "RELATED"),
        (OUTWARDS, "MATCH_INTERNAL_ADDRESS", {"destination": "10.20.0.15", "direction": "IN"}, "RELATED"),
        (OUTWARDS, "MATCH_INTERNAL_ADDRESS", {"direction": "OUT"}, "ICMP_UNRELATED"),
        (OUTWARDS, "MATCH_EXTERNAL_ADDRESS", {"destination": "10.20.0.15"}, "ICMP_UNRELATED"),
        (OUTWARDS, "MATCH_EXTERNAL_ADDRESS", {"destination": "203.0.113.15"}, "RELATED"),
    ],
)
def test_an_error_passes_reflexive_if_what_it_is_about_would(
    text: str, match: str, allowed: dict[str, str], reason: str
) -> None:
    config = edge(
        nat("r", "REFLEXIVE", "203.0.113.15", "10.20.0.15", match=match),
        firewall=[rule("some", **allowed), default_rule("DROP")],
    )
    for make in (ReferenceEdge, Edge):
        frame = build_frame(parse_packet(text))
        outcome = make(config).process("INTERNET" if text == INWARDS else "LAN", frame, 0)
        assert why(outcome) == ("ALLOW" if reason == "RELATED" else "DROP", reason)


@pytest.mark.parametrize(
    "text",
    [
        'icmp 192.0.2.1 > 203.0.113.15 redirect of="udp 203.0.113.15:7 > 8.8.8.8:53"',
        'icmp 192.0.2.1 > 203.0.113.15 time-exceeded of="udp 203.0.113.16:7 > 8.8.8.8:53"',
        'icmp 192.0.2.1 > 203.0.113.15 time-exceeded of="icmp 203.0.113.15 > 8.8.8.8 time-exceeded"',
        'icmp 10.20.0.77 > 8.8.4.4 time-exceeded of="udp 8.8.8.8:53 > 10.20.0.15:7"',
        'icmp 10.20.0.77 > 8.8.8.8 time-exceeded of="udp 8.8.8.8:53 > 10.20.0.16:7"',
    ],
    ids=["redirect", "to another", "about an error", "to another, outwards", "about another machine"],
)
def test_what_reflexive_does_not_translate(text: str) -> None:
    outcome = Bench(edge(nat("r", "REFLEXIVE", "203.0.113.15", "10.20.0.15"))).send(text)
    assert why(outcome) == ("DROP", "ICMP_UNRELATED")
    assert not any(step.startswith("NAT") for step in stages(outcome))


def test_a_rule_before_reflexive_takes_its_packets_and_their_errors() -> None:
    config = edge(
        nat("d", "DNAT", "203.0.113.15", "10.20.0.10", app="udp/53"),
        nat("r", "REFLEXIVE", "203.0.113.15", "10.20.0.15", priority=9),
    )
    about = 'icmp 192.0.2.1 > 203.0.113.15 time-exceeded of="udp 203.0.113.15:{port} > 8.8.8.8:9"'
    results = [why(Bench(config).send(about.format(port=port)))[1] for port in (53, 54)]
    assert results == ["ICMP_UNRELATED", "RELATED"]


def test_reflexive_to_the_edge_itself_is_no_exception() -> None:
    config = edge(nat("r", "REFLEXIVE", "203.0.113.15", "10.20.0.1"))
    outcome = Bench(config).send('icmp 192.0.2.1 > 203.0.113.15 time-exceeded of="udp 203.0.113.15:7 > 8.8.8.8:53"')
    assert (why(outcome), stages(outcome)[-2:]) == (("DROP", "ICMP_UNRELATED"), ["ROUTE LOCAL LAN", "FIREWALL DROP"])


def test_errors_to_the_edge_itself_are_taken_from_a_network() -> None:
    outcome = Bench(acme()).send('icmp 10.20.0.10 > 10.20.0.1 port-unreachable of="udp 10.20.0.1:7 > 10.20.0.10:53"')
    assert (why(outcome), stages(outcome)[-1]) == (("LOCAL", "LOCAL_SERVICE"), "LOCAL ACCEPTED")


@pytest.mark.parametrize("make", [ReferenceEdge, Edge])
def test_an_error_in_a_capture_behind_the_edge_was_one_about_the_translated_packet(
    make: type[ReferenceEdge | Edge],
) -> None:
    bench = Bench(acme(), make=make)
    sent = left(bench.send("udp 10.20.0.10:7 > 8.8.8.8:53"))[0][1]
    error = build_frame(parse_packet('icmp 192.0.2.1 > 10.20.0.10 time-exceeded of="udp 10.20.0.10:7 > 8.8.8.8:53"'))
    port, frame = bench.edge.map_reply("LAN", error, 0)
    assert (port, format_frame(frame)) == ("INTERNET", f'icmp 192.0.2.1 > 203.0.113.10 time-exceeded of="{sent}"')
    assert (checksum(frame[14:34]), checksum(frame[34:])) == (0, 0)
    outcome = bench.edge.process("LAN", error, 0, unsegmented=True, map_replies=True)
    assert why(outcome) == ("ALLOW", "RELATED")
    assert left(outcome) == [("LAN", 'icmp 192.0.2.1 > 10.20.0.10 time-exceeded of="udp 10.20.0.10:7 > 8.8.8.8:53"')]


@pytest.mark.parametrize("make", [ReferenceEdge, Edge])
@pytest.mark.parametrize(
    "text",
    [
        'icmp 192.0.2.1 > 10.20.0.10 time-exceeded of="udp 10.20.0.10:8 > 8.8.8.8:53"',
        'icmp 192.0.2.1 > 10.20.0.11 time-exceeded of="udp 10.20.0.10:7 > 8.8.8.8:53"',
        'icmp 192.0.2.1 > 203.0.113.10 time-exceeded of="udp 203.0.113.10:14529 > 8.8.8.8:53"',
    ],
    ids=["of another flow", "to another machine", "captured before the edge"],
)
def test_other_errors_in_a_capture_stay_as_they_are(make: type[ReferenceEdge | Edge], text: str) -> None:
    bench = Bench(acme(), make=make)
    assert left(bench.send("udp 10.20.0.10:7 > 8.8.8.8:53")) == [("INTERNET", "udp 203.0.113.10:14529 > 8.8.8.8:53")]
    error = build_frame(parse_packet(text))
    assert bench.edge.map_reply("INTERNET", error, 0) == ("INTERNET", error)


# --- an opinion from outside ----------------------------------------------------------------------------------------


@pytest.mark.needs("scapy")
@pytest.mark.parametrize("version", [4, 6])
def test_scapy_reads_the_translated_error_as_the_sender_should(version: int) -> None:
    from scapy.layers.inet import ICMP, IP, IPerror, UDPerror
    from scapy.layers.inet6 import ICMPv6PacketTooBig, IPerror6, IPv6
    from scapy.utils import checksum as scapy_checksum

    outcome, _ = mishap(Bench(edge(*KINDS["snat"])), OUT[version][0], ROUTERS[version][0], ERRORS[version][0], None)
    data = outcome.outputs[0].frame[14:]
    packet = IP(data) if version == 4 else IPv6(data)
    inner = packet[IPerror if version == 4 else IPerror6]
    assert (inner.src, inner[UDPerror].sport) == ("10.20.0.10" if version == 4 else "2001:db8:20::a", 7)
    assert packet.dst == inner.src
    if version == 4:
        assert scapy_checksum(data[20:]) == scapy_checksum(data[28:48]) == scapy_checksum(data[:20]) == 0
        assert packet[ICMP].nexthopmtu == 1400
    else:
        right = packet[ICMPv6PacketTooBig].cksum
        del packet[ICMPv6PacketTooBig].cksum
        assert IPv6(bytes(packet))[ICMPv6PacketTooBig].cksum == right
