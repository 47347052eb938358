"""The text of /metrics: families, labels, limits, and that nothing goes back."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from edge import metrics
from edge.counters import Counted
from edge.metrics import Exposition, Reading, escaped, shared
from edge.model import EdgeConfig
from edge.runtime import Edge
from edge.state import LINK_DROPS, LinkCounters
from edge.verdicts import Reason, Stage
from tests.observability.scene import Served, edge_part
from tests.support import acme, default_rule, nat, rule, with_options

SYN = "tcp 10.20.0.5:4000 > 198.51.100.7:443 S"


def samples(page: bytes) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    """(name, labels) -> value, as prometheus-client reads it."""
    found: dict[tuple[str, frozenset[tuple[str, str]]], float] = {}
    for family in text_string_to_metric_families(page.decode()):
        for sample in family.samples:
            key = (sample.name, frozenset(sample.labels.items()))
            assert key not in found, f"{key} is there twice"
            found[key] = sample.value
    return found


def value(page: bytes, name: str, **labels: str) -> float:
    return samples(page)[f"t1edge_{name}", frozenset({"edge": "edge", **labels}.items())]


def ids(page: bytes, kind: str) -> list[str]:
    return re.findall(rf't1edge_{kind}_rule_hits_total{{edge="edge",rule_id="([^"]*)"}}', page.decode())


def test_what_was_counted_is_shown() -> None:
    served = Served(Edge(acme()))
    served.send("LAN", SYN, "tcp 10.20.0.5:4001 > 198.51.100.7:443 S")
    served.send("INTERNET", "tcp 198.51.100.9:999 > 203.0.113.11:80 S", "udp 198.51.100.9:1 > 203.0.113.11:9")
    page = served.exposition().page()
    assert value(page, "config_revision") == 1
    assert value(page, "packets_total", port="LAN", direction="in") == 2
    assert value(page, "bytes_total", port="LAN", direction="in") == 80
    assert value(page, "packets_total", port="INTERNET", direction="in") == 2
    assert value(page, "packets_total", port="INTERNET", direction="out") == 2
    assert value(page, "packets_total", port="LAN", direction="out") == 1
    assert value(page, "drops_total", stage="FIREWALL", reason="FW_DEFAULT") == 1
    assert value(page, "firewall_rule_hits_total", rule_id="out") == 2
    assert value(page, "firewall_rule_hits_total", rule_id="in-web") == 1
    assert value(page, "firewall_rule_hits_total", rule_id="default_rule") == 1
    assert value(page, "nat_rule_hits_total", rule_id="internet") == 2
    assert value(page, "nat_rule_hits_total", rule_id="pub-web") == 1
    assert value(page, "sessions") == 3
    assert value(page, "sessions_half_open") == 3
    assert value(page, "sessions_created_total") == 3
    assert value(page, "sessions_limit") == 1_000_000
    assert value(page, "nat_ports_used") == 2
    assert value(page, "nat_ports_used_max_ratio") == pytest.approx(2 / value(page, "nat_ports_limit"))


def test_what_the_service_knows_is_shown() -> None:
    served = Served(
        Edge(acme()),
        applies={"applied": 3, "failed": 1},
        neighbours={"STALE": 2, "REACHABLE": 1},
        ports_up={"LAN": True, "INTERNET": False},
        links={"LAN": LinkCounters({"DEVICE_SEND": 4, "TOO_BIG": 2}, 1)},
        events_lost=7,
        pending=True,
    )
    page = served.exposition().page()
    assert samples(page)["t1edge_build_info", frozenset({("version", "1.2.3")})] == 1
    assert [value(page, "config_applies_total", result=result) for result in metrics.APPLY_RESULTS] == [3, 1, 0, 0, 0]
    assert value(page, "config_unconfirmed") == 1
    assert value(page, "neighbours", state="STALE") == 2
    assert [value(page, "port_up", port=port) for port in ("LAN", "INTERNET")] == [1, 0]
    assert value(page, "events_lost_total") == 7
    lost = {reason: value(page, "link_drops_total", port="LAN", reason=reason) for reason in LINK_DROPS}
    assert {reason: count for reason, count in lost.items() if count} == {"DEVICE_SEND": 4, "TOO_BIG": 2}
    assert value(page, "address_conflicts_total", port="LAN") == 1


def test_the_process_is_shown() -> None:
    found = samples(Served(Edge(acme())).exposition().page())
    assert found["process_resident_memory_bytes", frozenset()] > 1_000_000
    assert any(name == "python_info" for name, _ in found)


def test_the_fullest_address_shows_beside_the_sum() -> None:
    config = acme(
        nat_rules=[
            nat("one", "SNAT", "203.0.113.10", "10.20.0.5"),
            nat("rest", "SNAT", "203.0.113.11", "10.20.0.0/24", priority=9),
        ]
    )
    served = Served(Edge(config))
    served.send("LAN", SYN, "tcp 10.20.0.5:4001 > 198.51.100.7:443 S", "tcp 10.20.0.6:1 > 198.51.100.7:443 S")
    page = served.exposition().page()
    assert value(page, "nat_ports_used") == 3
    assert value(page, "nat_ports_used_max_ratio") == pytest.approx(4 / value(page, "nat_ports_limit"))


def test_without_nat_and_rules_there_is_nothing_to_divide_by() -> None:
    page = Served(Edge(acme(nat_rules=[]))).exposition().page()
    assert (value(page, "nat_ports_used"), value(page, "nat_ports_limit")) == (0, 0)
    assert value(page, "nat_ports_used_max_ratio") == 0
    assert b"t1edge_nat_rule" not in page


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain", "plain"),
        ('a "b"', r"a \"b\""),
        ("a\\b", r"a\\b"),
        ("a\nb", r"a\nb"),
        ("a\\nb", r"a\\nb"),
        ("\udc41x", r"\\udc41x"),
        ("é😀", "é😀"),
    ],
)
def test_escaping(text: str, shown: str) -> None:
    assert escaped(text) == shown


def test_hostile_names_stay_in_their_label() -> None:
    names = ['x"} 1\nt1edge_sessions{edge="edge', "back\\", "\ud800", "\ud801", "#", " ", "tab\t"]
    rules = [replace(rule(f"id{number}"), name=name) for number, name in enumerate(names)]
    config = replace(acme(firewall=rules), name='the "edge"\n')
    page = Served(Edge(config)).exposition().page()
    info = [dict(labels) for name, labels in samples(page) if name == "t1edge_firewall_rule_info"]
    found = {labels["rule_id"]: labels["name"] for labels in info}
    shown = [*names[:2], "\\ud800", "\\ud801", *names[4:]]
    assert [found[f"id{number}"] for number in range(len(names))] == shown
    assert samples(page)["t1edge_sessions", frozenset({("edge", config.name)})] == 0


@pytest.mark.parametrize(
    ("most", "first", "second", "rooms"),
    [
        (10, 3, 4, (3, 4)),
        (10, 3, 7, (3, 7)),
        (10, 30, 0, (10, 0)),
        (10, 0, 30, (0, 10)),
        (10, 30, 2, (8, 2)),
        (10, 2, 30, (2, 8)),
        (10, 30, 30, (5, 5)),
        (11, 30, 30, (6, 5)),
        (0, 3, 4, (0, 0)),
    ],
)
def test_room_is_shared(most: int, first: int, second: int, rooms: tuple[int, int]) -> None:
    assert shared(most, first, second) == rooms


def many(firewall: int, nat_rules: int) -> EdgeConfig:
    return acme(
        firewall=[*(rule(f"f{number}", services="udp/1") for number in range(firewall - 1)), default_rule()],
        nat_rules=[nat(f"n{number}", "SNAT", "203.0.113.10", "10.20.0.0/24") for number in range(nat_rules)],
    )


def test_series_of_rules_are_capped_and_the_cut_is_told() -> None:
    page = Served(Edge(many(20, 8))).exposition(max_rule_series=10).page()
    assert ids(page, "firewall") == [f"f{number}" for number in range(5)]
    assert ids(page, "nat") == [f"n{number}" for number in range(5)]
    assert [value(page, "rule_series_cut", kind=kind) for kind in ("firewall", "nat")] == [15, 3]
    assert page.count(b"t1edge_firewall_rule_info{") == 5


def test_two_thousand_rules_have_series_unless_told_otherwise() -> None:
    page = Served(Edge(many(2_100, 3))).exposition().page()
    assert (len(ids(page, "firewall")), len(ids(page, "nat"))) == (1_997, 3)
    assert [value(page, "rule_series_cut", kind=kind) for kind in ("firewall", "nat")] == [103, 0]


def test_series_follow_the_configuration_and_counters_never_go_back() -> None:
    config = acme()
    served = Served(Edge(config))
    exposition = served.exposition()
    served.send("LAN", SYN)
    pages = [exposition.page()]
    without = [item for item in config.firewall.rules if item.id != "out"]
    for rules in (without, list(config.firewall.rules), [replace(item, name=f"{item.name}!") for item in without]):
        served.edge.apply(replace(config, firewall=replace(config.firewall, rules=tuple(rules))))
        served.send("LAN", "tcp 10.20.0.5:4444 > 198.51.100.7:443 S")
        pages.append(exposition.page())
    assert [ids(page, "firewall") for page in pages] == [
        ["in-web", "out", "default_rule"],
        ["in-web", "default_rule"],
        ["in-web", "out", "default_rule"],
        ["in-web", "default_rule"],
    ]
    assert b'rule_id="in-web",name="in-web!"' in pages[-1]
    assert value(pages[2], "firewall_rule_hits_total", rule_id="out") >= 1
    last: dict[tuple[str, frozenset[tuple[str, str]]], float] = {}
    for page in pages:
        now = {key: count for key, count in samples(page).items() if key[0].endswith("_total") and "t1edge" in key[0]}
        assert all(count >= last.get(key, 0) for key, count in now.items())
        last |= now


def test_two_scrapes_of_the_same_counters_are_the_same() -> None:
    served = Served(Edge(acme()), neighbours={"STALE": 1, "PROBE": 2}, ports_up={"LAN": True}, applies={"refused": 1})
    served.send("LAN", SYN)
    exposition = served.exposition()
    first = edge_part(exposition.page())
    assert edge_part(exposition.page()) == first
    assert edge_part(served.exposition().page()) == first


def test_drops_are_there_from_the_beginning_where_the_documentation_says_they_happen(root: Path) -> None:
    text = (root / "docs" / "pipeline.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `(\w+)` \| (DROP|any) \| (\w+) \|(.*)", text, re.MULTILINE)
    said = {(Stage[stage], Reason[reason]) for reason, _, stage, _ in rows}
    said |= {(Stage.FIREWALL, Reason[reason]) for reason, _, _, what in rows if "at FIREWALL" in what}
    assert said == metrics.DROP_PLACES
    page = Served(Edge(acme())).exposition().page()
    assert page.count(b"t1edge_drops_total{") == len(said)


def test_a_drop_counts_where_it_happens() -> None:
    served = Served(Edge(with_options(acme(), max_half_open=1)))
    exposition = served.exposition()
    before = samples(exposition.page())
    served.send("LAN", SYN, "tcp 10.20.0.5:4001 > 198.51.100.7:443 S", "tcp 10.20.0.5:4 > 198.51.100.7:443 A")
    served.send("INTERNET", "udp 198.51.100.7:1 > 127.0.0.1:2", "tcp 198.51.100.7:1 > 203.0.113.11:445 S")
    after = samples(exposition.page())
    grown = {key: count - before[key] for key, count in after.items() if key[0] == "t1edge_drops_total"}
    places = [(dict(labels), count) for (_, labels), count in grown.items() if count]
    assert {(labels["stage"], labels["reason"]): count for labels, count in places} == {
        ("SESSION", "SESSION_LIMIT"): 1,
        ("FIREWALL", "TCP_STRICT"): 1,
        ("ROUTE", "MARTIAN"): 1,
        ("PROVIDER_FILTER", "PROVIDER_FILTER"): 1,
    }


def test_scrapes_at_once_do_not_mix() -> None:
    one, other = many(40, 4), many(10, 2)
    served = Served(Edge(one))
    exposition = served.exposition()
    pages: list[bytes] = []
    threads = [threading.Thread(target=lambda: pages.extend(exposition.page() for _ in range(20))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for number in range(20):
        served.edge.apply((other, one)[number % 2])
    for thread in threads:
        thread.join()
    assert len(pages) == 80
    assert {(len(ids(page, "firewall")), len(ids(page, "nat"))) for page in pages} <= {(40, 4), (10, 2)}


def test_a_reading_is_of_one_configuration(monkeypatch: pytest.MonkeyPatch) -> None:
    first = many(7, 2)
    served = Served(Edge(first))
    count = Edge.counted

    def counted(edge: Edge, *, rules: bool, beside: Callable[[], object]) -> Counted:
        found = count(edge, rules=rules, beside=beside)
        edge.apply(acme())  # somebody does while the page is being made
        return found

    monkeypatch.setattr(Edge, "counted", counted)
    reading = served.reading()
    assert (reading.config, reading.revision) == (first, 1)
    assert reading.rules.keys() == {item.id for item in (*first.firewall.rules, *first.nat.rules)}


def test_a_source_that_cannot_be_read_leaves_the_next_scrape_alone() -> None:
    served = Served(Edge(acme()))

    class Once:
        broken = True

        def reading(self) -> Reading:
            if self.broken:
                self.broken = False
                raise RuntimeError("busy")
            return served.reading()

    exposition = Exposition(Once(), version="1")
    with pytest.raises(RuntimeError, match="busy"):
        exposition.page()
    assert b"t1edge_sessions" in exposition.page()
