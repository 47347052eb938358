"""Steering: one worker for everything that has to do with a session, whatever NAT does to it."""

from __future__ import annotations

from ipaddress import ip_address
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge.addresses import AddressRange
from edge.nat.config import NatConfig, NatRule
from edge.reference import ReferenceEdge
from edge.reference_steer import is_fixed, owner
from edge.reference_wire import Kind, parse
from edge.state import SessionInfo
from edge.steering import together, touched_ranges, within
from edge.verdicts import Reason, Verdict
from native.steer import Steerer
from tests.model.frames import Parts, frame
from tests.model.traffic import PacketEvent, Traffic
from tests.model.universe import universe
from tests.support import nat

SEED = 7


def ethernet_ip(src: str, dst: str) -> bytes:
    """A packet of a protocol without ports."""
    return frame(Parts(47, ip_address(src).packed, ip_address(dst).packed, bytes(8)))


def steerer_of(*rules: NatRule, workers: int = 5) -> Steerer:
    """One that knows these rules."""
    return Steerer(workers, touched_ranges(NatConfig(rules)), SEED)


def test_what_rules_translate_is_touched() -> None:
    rules = (
        nat("out", "SNAT", "203.0.113.2-203.0.113.3", "10.0.0.0/24"),
        nat("in", "DNAT", "203.0.113.4", "10.0.1.0"),
        nat("in6", "DNAT", "2001:db8:ff::4", "2001:db8:a::2"),
        nat("both", "REFLEXIVE", "203.0.113.9", "10.0.2.9"),
        nat("not", "NO_SNAT", "", "192.0.2.0/24"),
        nat("off", "DNAT", "203.0.113.7", "10.0.3.1", enabled=False),
    )
    four, six = touched_ranges(NatConfig(rules))
    known = [
        AddressRange.parse(text) for text in ("10.0.0.0-10.0.1.0", "10.0.2.9", "203.0.113.2-203.0.113.4", "203.0.113.9")
    ]
    assert four == [(int(item.first), int(item.last)) for item in known]
    assert len(six) == 2
    assert within((four, six), (four, six))
    assert within((four[:1], []), (four, six))
    assert not within((four, six), (four[1:], six))
    assert together((four[:1], []), (four[1:], six)) == (four, six)


def test_a_rule_for_any_source_leaves_no_address_of_its_family_fixed() -> None:
    rule = nat("out", "SNAT", "203.0.113.2", "")
    assert touched_ranges(NatConfig((rule,))) == ([(0, 2**32 - 1)], [])
    assert not is_fixed((rule,), AddressRange.parse("198.51.100.1").first)
    assert is_fixed((rule,), AddressRange.parse("2001:db8::1").first)


def test_the_last_addresses_of_all() -> None:
    rules = (
        nat("out", "SNAT", "203.0.113.2", "255.255.0.0/16"),
        nat("out6", "SNAT", "2001:db8:ff::2", "ffff::/16"),
    )
    for text in ("255.255.255.255", "255.254.255.255", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "fffe::1"):
        data = ethernet_ip(text, "192.0.2.1" if "." in text else "2001:db8::9")
        assert steerer_of(*rules, workers=64).owner(data) == owner(rules, 64, SEED, data)


@pytest.mark.parametrize("workers", [0, 65])
def test_there_are_1_to_64_workers(workers: int) -> None:
    with pytest.raises(ValueError, match="1 to 64 workers"):
        Steerer(workers, ([], []), SEED)


def test_remote_ends_spread_evenly() -> None:
    steerer = steerer_of(nat("out", "SNAT", "203.0.113.2", "10.0.0.0/8"), workers=4)
    found = [steerer.owner(ethernet_ip("10.0.0.2", f"198.18.{a}.{b}")) for a in range(64) for b in range(0, 256, 4)]
    assert all(950 < found.count(worker) < 1100 for worker in range(4))


def is_piece(data: bytes) -> bool:
    """Is it a fragment?"""
    packet = parse(data)
    return not isinstance(packet, Reason) and packet.kind is Kind.FRAGMENT


def owners(steerer: Steerer, session: SessionInfo) -> set[int]:
    """Of its packets as they enter and as they leave, both ways."""
    return {
        steerer.owner(ethernet_ip(str(src), str(dst)))
        for ends in (session.original, session.translated)
        for src, dst in ((ends.src, ends.dst), (ends.dst, ends.src))
    }


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**64 - 1))
def test_all_that_belongs_together_has_one_worker(seed: int) -> None:
    """In universes of any seed: a packet, what it leaves as, its session, and what the reference says of it."""
    random = Random(seed)
    place = universe(random)
    traffic, edge = Traffic(random, place), ReferenceEdge(place.config)
    rules = place.config.nat.rules
    steerer = Steerer(5, touched_ranges(place.config.nat), SEED)
    for _ in range(60):
        event = traffic.event()
        if not isinstance(event, PacketEvent) or traffic.universe is not place:
            traffic.universe = place
            continue
        mine = steerer.owner(event.frame)
        assert mine == owner(rules, 5, SEED, event.frame)
        outcome = edge.process(
            event.port,
            event.frame,
            event.now_ns,
            map_replies=event.mapped,
            fragmentation=event.fragmentation,
        )
        traffic.saw(event, outcome)
        if outcome.verdict is Verdict.ALLOW and not is_piece(event.frame):  # an ICMP error in pieces cannot be read
            assert all(steerer.owner(output.frame) == mine for output in outcome.outputs)
    for session in edge.sessions():
        assert len(owners(steerer, session)) == 1
