"""Rule sets for the classifier: where they come from, what they are like, and that wrong answers are not reported."""

from __future__ import annotations

import gzip
import random
from array import array
from pathlib import Path
from typing import Any

import pytest

from edge.bench import classify as cases
from edge.bench import ipset, peers
from edge.bench.classify import NO_RULE, Peer, RuleSet, build, classify, ip_set, rule_set
from edge.bench.measurement import BenchmarkError
from edge.bench.profiles import PROFILES, draw_rules
from edge.bench.rules import (
    BoxRule,
    Packet,
    draw_packets,
    first_match,
    packed_rules,
    packet_at,
    read_classbench,
    statistics_of,
)
from native.classify import RuleTable

LINES = """\
@37.184.89.216/29	37.184.85.16/29	7648 : 7648	24032 : 24032	0x11/0xFF	0x0000/0x0000
@0.0.0.0/0	186.131.67.163/28	0 : 65535	1024 : 65535	0x00/0x00	0x0000/0x0000
"""


@pytest.fixture
def no_data(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("T1EDGE_DATA", str(tmp_path))


def small(count: int = 200) -> RuleSet:
    return RuleSet("small", draw_rules("fw1", count, 1), "generated")


def test_classbench_is_read_where_it_is(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "classbench").mkdir()
    with gzip.open(tmp_path / "classbench" / "fw1_1k.gz", "wt") as file:
        file.write(LINES)
    monkeypatch.setenv("T1EDGE_DATA", str(tmp_path))
    found = rule_set("fw1", 1)
    assert found.origin == "classbench"
    assert found.rules == [
        BoxRule(0x25B859D8, 29, 0x25B85510, 29, (7648, 7648), (24_032, 24_032), 17),
        BoxRule(0, 0, 0xBA8343A0, 28, (0, 65_535), (1024, 65_535), None),
    ]
    assert found.details()["rules"] == 2


def test_what_is_no_rule_is_named(tmp_path: Path) -> None:
    with gzip.open(tmp_path / "bad.gz", "wt") as file:
        file.write("@1.2.3.4\n")
    with pytest.raises(ValueError, match=r"bad\.gz: no rule"):
        read_classbench(tmp_path / "bad.gz")


@pytest.mark.usefixtures("no_data")
@pytest.mark.parametrize("kind", sorted(PROFILES))
def test_without_the_data_rules_are_drawn(kind: str) -> None:
    found = rule_set(kind, 1)
    assert found.origin == "generated"
    assert len(set(found.rules)) == 1000
    assert rule_set(kind, 1).rules == found.rules
    assert draw_rules(kind, 1000, 2) != found.rules
    told = statistics_of(found.rules)
    assert told["lengthPairs"] > 50
    assert told["wideShare"] < 0.08
    assert told["portRanges"] <= 235


@pytest.mark.needs("data")
@pytest.mark.parametrize("kind", sorted(PROFILES))
def test_drawn_rules_are_like_those_of_classbench(kind: str) -> None:
    public, drawn = statistics_of(rule_set(kind, 10).rules), statistics_of(draw_rules(kind, 10_000, 1))
    for name in ("lengthPairs", "masks", "portRanges", "sources", "destinations"):
        assert 0.3 < drawn[name] / public[name] < 3, name
    assert abs(drawn["wideShare"] - public["wideShare"]) < 0.05


def test_packets_lie_in_the_rules_they_are_drawn_from() -> None:
    rules = small().rules
    keys, drawn = draw_packets(rules, 500, random.Random(1))
    assert len(keys) == 5 * len(drawn) == 2500
    for number, place in enumerate(drawn):
        assert rules[place].matches(packet_at(keys, number))
        found = first_match(rules, packet_at(keys, number))
        assert found is not None
        assert found <= place


def test_native_keys_are_what_the_classifier_reads() -> None:
    found = small()
    keys, drawn = draw_packets(found.rules, 300, random.Random(2))
    answers = array("I", [NO_RULE]) * len(drawn)
    RuleTable(found.columns()).lookup_many(keys, answers)
    assert list(answers) == [first_match(found.rules, packet_at(keys, number)) for number in range(300)]


@pytest.mark.parametrize("rules", [small(), ip_set(1000)], ids=["rules", "set"])
def test_lookups_are_measured(rules: RuleSet) -> None:
    measurement = classify(rules, 3, Peer(), packets=3000)
    assert measurement.name == f"classify_{rules.name}"
    assert measurement.unit == "lookups/s"
    assert len(measurement.samples) == len(measurement.clocks_per_packet) == 3
    assert measurement.details["searched"]
    assert measurement.peers == ()


@pytest.mark.parametrize("data", ["none", "lists"])
def test_a_set_of_addresses_is_measured_beside_a_prefix(
    data: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("T1EDGE_DATA", str(tmp_path))
    if data == "lists":
        (tmp_path / "iplists").mkdir()
        (tmp_path / "iplists" / "ipsum_2.txt").write_text("203.0.113.7\n192.0.2.1\n", encoding="ascii")
    measurement = ipset.beside_prefix(1000, 3, packets=3000)
    assert measurement.name == "ipset_1k_beside_prefix"
    assert measurement.details["origin"] == ("ipsum" if data == "lists" else "generated")
    (prefix,) = measurement.peers
    assert len(measurement.samples) == len(prefix.samples) == 3


def test_a_wrong_answer_in_a_set_is_not_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ipset, "lookups", lambda *_: 1)
    with pytest.raises(BenchmarkError, match="finds another rule"):
        ipset.beside_prefix(1000, 3, packets=3000)


def test_building_is_measured() -> None:
    measurement = build(small(), 3, Peer())
    assert measurement.name == "build_small"
    assert len(measurement.samples) == 3


@pytest.mark.parametrize(
    ("wrong", "why"),
    [
        (lambda number: number + 1, "behind one that matches|does not match"),
        (lambda number: max(0, number - 1), "does not match|another rule"),
        (lambda _: NO_RULE, "behind one that matches"),
    ],
)
def test_wrong_answers_are_not_reported(monkeypatch: pytest.MonkeyPatch, wrong: Any, why: str) -> None:
    right = cases.lookups

    def lookups(table: RuleTable, keys: array[int], answers: array[int], first: int, count: int) -> int:
        clocks = right(table, keys, answers, first, count)
        answers[first + count // 2] = wrong(answers[first + count // 2])
        return clocks

    monkeypatch.setattr(cases, "lookups", lookups)
    with pytest.raises(BenchmarkError, match=why):
        classify(small(), 3, Peer(), packets=3000)


def test_a_hidden_rule_is_found_by_the_linear_search() -> None:
    wide, narrow = BoxRule(0, 0, 0, 0), BoxRule(0x0A000000, 8, 0, 0)
    keys, drawn = draw_packets([narrow], 100, random.Random(3))
    assert set(drawn) == {0}
    rules = RuleSet("two", [wide, narrow], "generated")
    with pytest.raises(BenchmarkError, match="a linear search finds another rule"):
        cases._check(rules, keys, [1] * 100, array("I", [1]) * 100, 100)


def test_answers_of_a_peer_have_to_be_the_same() -> None:
    peers.same_answers([1, 2], [1, 2], "set")
    with pytest.raises(BenchmarkError, match="packet 1 matches rule 2 here and rule 3 in rte_acl"):
        peers.same_answers([1, 2], [1, 3], "set")


def test_rules_are_packed_for_the_peer() -> None:
    rules = [BoxRule(0x0A000000, 8, 0, 0, protocol=6), BoxRule(0, 0, 0, 0)]
    packed = packed_rules(rules, [7, 9])
    assert len(packed) == 2 * 24
    assert packed[8:12] == (7).to_bytes(4, "little")
    assert packed[20:24] == bytes([8, 0, 6, 0xFF])
    assert packed[44:48] == bytes(4)


@pytest.mark.needs("dpdk")
@pytest.mark.parametrize("rules", [small(), ip_set(1000)], ids=["rules", "set"])
def test_rte_acl_finds_the_same_rules(rules: RuleSet) -> None:
    peer = Peer(peers.compile_rte_acl())
    measurement = classify(rules, 3, peer, packets=3000)
    (beside,) = measurement.peers
    assert beside.name == "rte_acl"
    assert beside.details["burst"] in {32, 64, 128, 256}
    shown: Any = measurement.to_json()["peers"]
    assert shown[0]["ratio"]["low"] <= shown[0]["ratio"]["median"] <= shown[0]["ratio"]["high"]
    built = build(rules, 3, peer)
    assert built.peers[0].samples == (peer.built[rules.name][0],)


@pytest.mark.needs("dpdk")
def test_a_peer_that_ends_says_why() -> None:
    with pytest.raises(BenchmarkError, match="rte_acl ended: rte_acl_build"):
        peers.RteAcl(peers.compile_rte_acl(), b"", array("Q", [0] * 5))


def test_points_of_a_box() -> None:
    rule = BoxRule(0x0A000000, 8, 0xC0000200, 24, (1, 5), (80, 80), 6)
    inside = Packet(0x0AFFFFFF, 0xC00002FF, 6, 5, 80)
    assert rule.matches(inside)
    outside = [
        inside._replace(source=0x0B000000),
        inside._replace(destination=0xC0000300),
        inside._replace(protocol=17),
        inside._replace(source_port=6),
        inside._replace(destination_port=81),
    ]
    assert not any(rule.matches(packet) for packet in outside)
