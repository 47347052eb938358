"""Behaviours of docs/fidelity.md that a rule-set test cannot show: bytes, changes of configuration, refused documents.

Each runs on the native edge and on the readable one.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import replace
from ipaddress import ip_address
from typing import Any

import pytest

from edge.checks import check
from edge.document import from_data, loads
from edge.errors import DocumentError
from edge.firewall.config import Action, FirewallRule, Section
from edge.model import EdgeConfig, SessionsOnChange
from edge.reference import ReferenceEdge
from edge.runtime import Edge
from edge.verdicts import Fragmentation, Outcome, Reason, Stage, StepResult, Verdict

DOCUMENT = loads("""
edgeGateway:
  name: T1
  edgeGatewayUplinks:
    - uplinkName: INTERNET
      subnets: {values: [{gateway: 203.0.113.1, prefixLength: 24,
                          ipRanges: {values: [{startAddress: 203.0.113.10, endAddress: 203.0.113.11}]}}]}
orgVdcNetworks:
  - name: LAN
    networkType: NAT_ROUTED
    connection: {connectionTypeValue: INTERNAL}
    subnets: {values: [{gateway: 10.20.0.1, prefixLength: 24}, {gateway: "2001:db8:20::1", prefixLength: 64}]}
firewallRules:
  userDefinedRules: [{name: everything, actionValue: ALLOW}]
natRules:
  - {name: web, type: DNAT, externalAddresses: 203.0.113.11, internalAddresses: 10.20.0.10, priority: 10}
  - {name: out, type: SNAT, externalAddresses: 203.0.113.10, internalAddresses: 10.20.0.0/24, priority: 100}
""").document

CLIENT, MACHINE, PUBLIC, RESOLVER = "198.51.100.99", "10.20.0.10", "203.0.113.11", "198.51.100.53"
ETHERNET_4 = bytes(12) + b"\x08\x00"
SECOND_NS = 1_000_000_000

AnyEdge = Edge | ReferenceEdge
Make = Callable[[EdgeConfig], AnyEdge]


@pytest.fixture
def config() -> EdgeConfig:
    return from_data(DOCUMENT).config


def changed(**sections: Any) -> EdgeConfig:
    return from_data({**DOCUMENT, **sections}).config


def ones_complement(data: bytes) -> int:
    total = sum(struct.unpack(f"!{len(data) // 2}H", data)) if len(data) % 2 == 0 else ones_complement(data + b"\0")
    while total > 0xFFFF:
        total = (total & 0xFFFF) + (total >> 16)
    return total


def ipv4(protocol: int, source: str, target: str, payload: bytes, fragment: int = 0) -> bytes:
    """An Ethernet frame; ``fragment`` is the second word of flags and offset."""
    ends = ip_address(source).packed + ip_address(target).packed
    head = struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(payload), 1, fragment, 64, protocol, 0)
    checksum = 0xFFFF - ones_complement(head + ends)
    return ETHERNET_4 + head[:10] + struct.pack("!H", checksum) + ends + payload


def udp(source: str, sport: int, target: str, dport: int, checksum: int | None = None, size: int = 4) -> bytes:
    """A UDP frame over IPv4; ``checksum`` None computes the right one, ``size`` is an even number of bytes of data."""
    head = struct.pack("!HHHH", sport, dport, 8 + size, 0) + (b"data" * size)[:size]
    pseudo = ip_address(source).packed + ip_address(target).packed + struct.pack("!HH", 17, 8 + size)
    right = 0xFFFF - ones_complement(pseudo + head)
    return ipv4(17, source, target, head[:6] + struct.pack("!H", right if checksum is None else checksum) + head[8:])


def tcp(source: str, sport: int, target: str, dport: int, flags: int) -> bytes:
    return ipv4(6, source, target, struct.pack("!HHIIBBHHH", sport, dport, 1, 0, 0x50, flags, 1024, 0, 0))


def udp_error(frame: bytes) -> int:
    """What the checksum of a UDP frame over IPv4 is off by: 0xFFFF where it is right."""
    segment = frame[34:]
    return ones_complement(frame[26:34] + struct.pack("!HH", 17, len(segment)) + segment)


def only_output(outcome: Outcome) -> bytes:
    assert outcome.verdict is Verdict.ALLOW, outcome
    (output,) = outcome.outputs
    return output.frame


# ---------------------------------------------------------------------------------------------------- the pipeline


def test_what_is_larger_than_the_mtu_is_told_to_its_sender(make: Make) -> None:
    def large(size: int, flags: int, target: str = RESOLVER) -> bytes:
        return ipv4(17, MACHINE, target, struct.pack("!HHHH", 4000, 53, size - 20, 0) + bytes(size - 28), flags)

    edge = make(changed(options={"mtu": 1280}))
    assert edge.process("LAN", large(1280, 0x4000), 0).verdict is Verdict.ALLOW
    # The second packet is one of a session by now, the third of none: MTU and reason are the same.
    for frame in (large(1281, 0x4000), large(1281, 0x4000, "192.0.2.7")):
        outcome = edge.process("LAN", frame, 0)
        assert (outcome.verdict, outcome.reason) == (Verdict.DROP, Reason.TOO_BIG)
        (answer,) = outcome.outputs
        assert (answer.port, answer.frame[34:36], answer.frame[40:42]) == ("LAN", b"\x03\x04", b"\x05\x00")
        assert answer.frame[42:62] == frame[14:34]
    assert edge.sessions()[0].packets == (1, 0)
    # What a network card has yet to cut up passes as one packet; so does what stays at the edge.
    assert edge.process("LAN", large(9000, 0x4000), 0, unsegmented=True).verdict is Verdict.ALLOW
    assert edge.process("LAN", large(9000, 0x4000, "10.20.0.1"), 0).verdict is Verdict.LOCAL


def test_an_ipv6_packet_that_is_too_big(make: Make) -> None:
    source, target = (ip_address(text).packed for text in ("2001:db8:20::10", "2001:db8:20::11"))
    payload = struct.pack("!HHHH", 4000, 53, 1500, 1) + bytes(1492)
    frame = bytes(12) + b"\x86\xdd" + struct.pack("!IHBB", 6 << 28, 1500, 17, 64) + source + target + payload
    outcome = make(changed(options={"mtu": 1500})).process("LAN", frame, 0)
    assert (outcome.verdict, outcome.reason) == (Verdict.DROP, Reason.TOO_BIG)
    (answer,) = outcome.outputs
    assert answer.frame[54:56] == b"\x02\x00"
    assert answer.frame[58:62] == (1500).to_bytes(4, "big")
    assert len(answer.frame) == 14 + 1280


def test_ipv4_without_df_leaves_in_pieces(make: Make) -> None:
    frame = udp(MACHINE, 4000, RESOLVER, 53, size=2000)
    (output,) = make(changed(options={"mtu": 1280})).process("LAN", frame, 0).outputs
    assert [len(piece) - 14 for piece in output.frames] == [1276, 772]
    assert output.frame[34 + 8 :] == frame[34 + 8 :]
    assert b"".join(piece[34:] for piece in output.fragments) == output.frame[34:]
    assert [piece[20:22].hex() for piece in output.fragments] == ["2000", "009d"]
    assert output.fragmentation is None


def pieces(frame: bytes, *cuts: int) -> list[bytes]:
    """A UDP frame of this module in fragments that begin at 0 and at each cut."""
    source, target = (str(ip_address(frame[at : at + 4])) for at in (26, 30))
    data = frame[34:]
    return [
        ipv4(17, source, target, data[start:end], (0x2000 if end < len(data) else 0) | start // 8)
        for start, end in zip((0, *cuts), (*cuts, len(data)), strict=True)
    ]


def test_fragments_are_judged_as_the_datagram_that_they_make(make: Make, config: EdgeConfig) -> None:
    first, second, third = pieces(udp(MACHINE, 4000, RESOLVER, 53, size=200), 80, 160)
    edge = make(config)
    for frame in (third, first):
        outcome = edge.process("LAN", frame, 0)
        assert (outcome.verdict, outcome.reason, outcome.outputs) == (Verdict.HELD, Reason.FRAGMENT_HELD, ())
        assert [(step.stage, step.result) for step in outcome.steps] == [(Stage.REASSEMBLY, StepResult.HELD)]
    outcome = edge.process("LAN", second, 0)
    assert (outcome.verdict, outcome.reason) == (Verdict.ALLOW, Reason.FW_RULE)
    assert (outcome.steps[0].stage, outcome.steps[0].result) == (Stage.REASSEMBLY, StepResult.COMPLETE)
    (output,) = outcome.outputs
    assert output.fragmentation == Fragmentation(100, 1, 0)
    assert [len(piece) - 14 for piece in output.frames] == [100, 100, 68]
    assert b"".join(piece[34:] for piece in output.frames) == output.frame[34:]
    assert [(info.packets, info.bytes) for info in edge.sessions()] == [((1, 0), (228, 0))]
    stats = edge.stats()
    assert (stats.verdicts, stats.datagrams_reassembled) == ({Verdict.HELD: 2, Verdict.ALLOW: 1}, 1)


def test_fragments_that_overlap_kill_their_datagram(make: Make, config: EdgeConfig) -> None:
    frame = udp(MACHINE, 4000, RESOLVER, 53, size=200)
    first, second, third = pieces(frame, 80, 160)
    edge = make(config)
    reasons = [edge.process("LAN", item, 0).reason for item in (first, first, pieces(frame, 72, 160)[1], second, third)]
    assert reasons == [Reason.FRAGMENT_HELD, Reason.FRAGMENT_HELD, *[Reason.FRAGMENT_ERROR] * 3]
    assert edge.stats().fragments_held == 1


def test_fragments_wait_for_so_long_and_no_longer(make: Make) -> None:
    first, second = pieces(udp(MACHINE, 4000, RESOLVER, 53, size=200), 80)
    edge = make(changed(options={"fragmentTimeout": 5, "maxFragments": 1}))
    other = pieces(udp(MACHINE, 4000, "192.0.2.7", 53, size=200), 80)[0]
    assert edge.process("LAN", first, 0).reason is Reason.FRAGMENT_HELD
    assert edge.process("LAN", other, 1).reason is Reason.FRAGMENT_LIMIT
    assert edge.process("LAN", other, 5 * SECOND_NS).reason is Reason.FRAGMENT_HELD
    assert edge.stats().datagrams_timed_out == 1
    assert edge.process("LAN", second, 5 * SECOND_NS).reason is Reason.FRAGMENT_LIMIT


def test_the_route_is_looked_up_between_dnat_and_firewall(make: Make, config: EdgeConfig) -> None:
    outcome = make(config).process("INTERNET", udp(CLIENT, 4000, PUBLIC, 53), 0)
    stages = [Stage.SESSION, Stage.PROVIDER_FILTER, Stage.NAT, Stage.ROUTE, Stage.FIREWALL]
    assert [step.stage for step in outcome.steps] == stages
    assert outcome.steps[3].port == "LAN"


def test_system_rules_come_before_user_rules_and_the_default_last(make: Make, config: EdgeConfig) -> None:
    def rule(section: Section) -> FirewallRule:
        return FirewallRule(id=section.value, name=section.value, section=section, action=Action.DROP)

    reasons = {Section.SYSTEM: Reason.FW_SYSTEM, Section.USER: Reason.FW_RULE, Section.DEFAULT: Reason.FW_DEFAULT}
    sections = list(reasons)
    for number, section in enumerate(sections):
        rules = tuple(map(rule, sections[number:]))
        edge = make(replace(config, firewall=replace(config.firewall, rules=rules)))
        assert edge.process("LAN", udp(MACHINE, 4000, CLIENT, 53), 0).reason is reasons[section]


def test_system_rules_of_a_document_are_compared_and_not_installed() -> None:
    rules = {**DOCUMENT["firewallRules"], "systemRules": [{"name": "dns", "actionValue": "ALLOW"}]}
    loaded = from_data({**DOCUMENT, "firewallRules": rules})
    assert "SYSTEM_RULES_DIFFER" in {problem.code for problem in check(loaded.config, loaded)}
    assert {rule.section for rule in loaded.config.firewall.rules} == {Section.USER, Section.DEFAULT}


def test_strict_tcp_has_no_exception_for_a_rule_that_allows_everything(make: Make, config: EdgeConfig) -> None:
    outcome = make(config).process("LAN", tcp(MACHINE, 40000, CLIENT, 443, flags=0x10), 0)
    assert (outcome.verdict, outcome.reason) == (Verdict.DROP, Reason.TCP_STRICT)


def test_match_external_address_of_snat_sees_the_public_source(make: Make) -> None:
    out = {**DOCUMENT["natRules"][1], "firewallMatch": "MATCH_EXTERNAL_ADDRESS"}
    outcome = make(changed(natRules=[out])).process("LAN", udp(MACHINE, 4000, RESOLVER, 53), 0)
    saw = outcome.steps[-1].saw
    assert saw is not None
    assert (str(saw.src), saw.sport) == ("203.0.113.10", 4000)


# -------------------------------------------------------------------------------------------- refused documents


def refusals(**sections: Any) -> set[str]:
    with pytest.raises(DocumentError) as caught:
        changed(**sections)
    return {problem.code for problem in caught.value.problems}


RULE, NAT_RULE = DOCUMENT["firewallRules"]["userDefinedRules"][0], DOCUMENT["natRules"][1]
NETWORK = DOCUMENT["orgVdcNetworks"][0]
NOT_EMULATED: dict[str, dict[str, Any]] = {
    "IPsec": {"ipsecTunnels": [{"name": "hq"}]},
    "DNS": {"dns": {"enabled": True}},
    "LB": {"loadBalancer": {"virtualServices": [{"name": "vip"}]}},
    "L2 VPN": {"l2vpnTunnels": [{"name": "stretched"}]},
    "DHCP": {"dhcp": {"enabled": True}},
    "SLAAC": {"slaacProfile": {"enabled": True, "mode": "SLAAC"}},
    "QoS": {"qos": {"ingressProfile": {"name": "slow"}}},
    "BGP": {"bgp": {"enabled": True}},
    "route advertisement": {"routeAdvertisement": {"enable": True, "subnets": ["10.20.0.0/24"]}},
    "DFW": {"distributedFirewall": [{"name": "between"}]},
    "L7": {"firewallRules": {"userDefinedRules": [{**RULE, "networkContextProfiles": [{"name": "DNS"}]}]}},
    "ALGs": {"firewallRules": {"userDefinedRules": [{**RULE, "applicationPortProfiles": [{"name": "MS_RPC_TCP"}]}]}},
    "VM_CRITERIA": {"firewallGroups": [{"name": "tagged", "typeValue": "VM_CRITERIA"}]},
    "SUBINTERFACE": {"orgVdcNetworks": [{**NETWORK, "connection": {"connectionTypeValue": "SUBINTERFACE"}}]},
    "policyBasedVpnMode": {"natRules": [{**NAT_RULE, "policyBasedVpnMode": "MATCH"}]},
    "appliedTo": {"natRules": [{**NAT_RULE, "appliedTo": {"name": "LAN"}}]},
}


@pytest.mark.parametrize("sections", NOT_EMULATED.values(), ids=NOT_EMULATED.keys())
def test_what_is_not_emulated_is_refused_or_listed(sections: dict[str, Any]) -> None:
    assert refusals(**sections) == {"NOT_EMULATED"}
    allowed = from_data({**DOCUMENT, **sections}, allow_unsupported=True)
    assert {(problem.code, problem.severity) for problem in allowed.problems} == {("NOT_EMULATED", "warning")}


def test_a_pool_has_at_most_65536_addresses() -> None:
    rule = {"name": "out", "type": "SNAT", "internalAddresses": "10.20.0.0/24"}
    assert changed(natRules=[{**rule, "externalAddresses": "100.64.0.0/16"}]).nat.rules[0].external is not None
    assert refusals(natRules=[{**rule, "externalAddresses": "100.64.0.0/15"}]) == {"LIMIT_EXCEEDED"}


def test_a_dnat_address_inside_a_network_is_refused() -> None:
    rule = {"name": "in", "type": "DNAT", "externalAddresses": "10.20.0.99", "internalAddresses": "10.20.0.10"}
    assert refusals(natRules=[rule]) == {"CONFLICT"}


# ---------------------------------------------------------------------------------- changes of the configuration


def open_session(make: Make, config: EdgeConfig) -> tuple[AnyEdge, bytes]:
    """An edge with one UDP session to the resolver, and the resolver's answer."""
    edge = make(config)
    left = only_output(edge.process("LAN", udp(MACHINE, 4000, RESOLVER, 53), 0))
    (port,) = struct.unpack_from("!H", left, 34)
    return edge, udp(RESOLVER, 53, "203.0.113.10", port)


@pytest.mark.parametrize(
    ("on_change", "reason"),
    [
        (SessionsOnChange.KEEP, Reason.SESSION),
        (SessionsOnChange.RECHECK, Reason.FW_DEFAULT),
        (SessionsOnChange.FLUSH, Reason.FW_DEFAULT),
    ],
)
def test_a_rule_change_keeps_rechecks_or_flushes_sessions(
    make: Make, config: EdgeConfig, on_change: SessionsOnChange, reason: Reason
) -> None:
    edge, answer = open_session(make, config)
    edge.apply(changed(firewallRules={"userDefinedRules": []}, options={"sessionsOnChange": on_change.value}))
    assert edge.process("INTERNET", answer, SECOND_NS).reason is reason


def test_a_session_ends_with_its_route_and_its_public_address(make: Make, config: EdgeConfig) -> None:
    subnets = [{"gateway": "203.0.113.1", "prefixLength": 24}]
    elsewhere = {"ipRanges": {"values": [{"startAddress": "203.0.113.11", "endAddress": "203.0.113.11"}]}}
    uplink = {"uplinkName": "INTERNET", "subnets": {"values": [{**subnets[0], **elsewhere}]}}
    route = {"name": "inwards", "networkCidr": "198.51.100.0/24", "nextHops": [{"ipAddress": "10.20.0.254"}]}
    for change in (
        changed(edgeGateway={"name": "T1", "edgeGatewayUplinks": [uplink]}),
        changed(staticRoutes=[route]),
    ):
        edge, _ = open_session(make, config)
        assert edge.stats().sessions_open == 1
        edge.apply(change)
        assert edge.stats().sessions_open == 0


# --------------------------------------------------------------------------------------------------- on the wire


def test_frames_leave_with_the_addresses_of_the_table_and_without_tags(make: Make, config: EdgeConfig) -> None:
    frame = udp(MACHINE, 4000, CLIENT, 53)
    tagged = frame[:12] + bytes.fromhex("88a80002 8100000a") + frame[12:]
    for sent in (frame, tagged):
        left = only_output(make(config).process("LAN", sent, 0))
        assert left[:14].hex(":") == "02:00:00:01:00:00:02:00:00:00:00:00:08:00"  # INTERNET is port 0
    left = only_output(make(config).process("INTERNET", udp(CLIENT, 4000, PUBLIC, 53), 0))
    assert left[:14].hex(":") == "02:00:00:01:00:01:02:00:00:00:00:01:08:00"


@pytest.mark.parametrize(("headers", "reason"), [(8, Reason.FW_RULE), (9, Reason.MALFORMED)])
def test_eight_extension_headers_are_walked_and_no_more(
    make: Make, config: EdgeConfig, headers: int, reason: Reason
) -> None:
    destination_options = 60
    options = bytes([destination_options, 0]) + bytes([1, 4, 0, 0, 0, 0])
    chain = options * (headers - 1) + bytes([17]) + options[1:]
    payload = chain + struct.pack("!HHHH", 4000, 53, 8, 0xFFFF)
    ends = ip_address("2001:db8:feed::1").packed + ip_address("2001:db8:20::10").packed
    frame = bytes(12) + struct.pack("!HIHBB", 0x86DD, 6 << 28, len(payload), destination_options, 64) + ends + payload
    assert make(config).process("INTERNET", frame, 0).reason is reason


def test_a_wrong_checksum_stays_wrong(make: Make, config: EdgeConfig) -> None:
    right = udp(MACHINE, 4000, CLIENT, 53)
    (checksum,) = struct.unpack_from("!H", right, 40)
    wrong = udp(MACHINE, 4000, CLIENT, 53, checksum=checksum ^ 0x0101)
    assert udp_error(right) == 0xFFFF
    for sent in (right, wrong):
        assert udp_error(only_output(make(config).process("LAN", sent, 0))) == udp_error(sent)


def test_a_udp_checksum_of_zero_stays_zero(make: Make, config: EdgeConfig) -> None:
    left = only_output(make(config).process("LAN", udp(MACHINE, 4000, CLIENT, 53, checksum=0), 0))
    assert left[40:42] == b"\0\0"


def test_an_echo_reply_of_nothing_but_zeros_keeps_a_right_checksum(make: Make, config: EdgeConfig) -> None:
    edge = make(config)
    message = struct.pack("!BBHHH", 8, 0, 0xF7FF, 0, 0)
    asked = only_output(edge.process("LAN", ipv4(1, MACHINE, CLIENT, message), 0))
    identifier = struct.unpack_from("!H", asked, 38)[0]
    assert identifier != 0
    answer = struct.pack("!BBHHH", 0, 0, ~identifier & 0xFFFF, identifier, 0)
    left = only_output(edge.process("INTERNET", ipv4(1, CLIENT, "203.0.113.10", answer), 0))
    assert left[34:] == b"\0\0\xff\xff\0\0\0\0"


def test_the_same_seed_gives_the_same_bytes(make: Make) -> None:
    def run(seed: int) -> list[bytes]:
        edge = make(changed(options={"seed": seed}))
        return [only_output(edge.process("LAN", udp(MACHINE, 4000 + n, CLIENT, 53), 0)) for n in range(20)]

    assert run(7) == run(7)
    assert run(7) != run(8)
