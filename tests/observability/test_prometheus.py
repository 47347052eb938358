"""Dashboard and alerts asked of a real Prometheus that scrapes real edges: everything has an answer."""

from __future__ import annotations

import re
import socket
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace

import pytest

from edge.addresses import PortRange
from edge.metrics_server import MetricsServer
from edge.model import EdgeConfig
from edge.runtime import Edge
from edge.state import LinkCounters
from tests.observability import queries
from tests.observability.queries import Query
from tests.observability.scene import Prometheus, Served
from tests.support import acme, rule, with_options

pytestmark = pytest.mark.needs("prometheus")

NASTY = 'say "no" to \\ and\nto \x00 \u00e9 \U0001f600'

EMPTY: dict[str, str] = {}
"""Expressions without an answer in this scene, and why."""


@dataclass(frozen=True)
class Scene:
    """Two edges, one well and one in trouble; nobody answers at ``gone``."""

    prometheus: Prometheus
    well: Served
    trouble: Served
    gone: str


def troubled() -> EdgeConfig:
    """Ten ports of SNAT, eleven sessions."""
    config = with_options(acme(), max_sessions=11, max_half_open=11, snat_port_range=PortRange(2000, 2009))
    return replace(config, name="trouble")


def stir(well: Served, trouble: Served) -> None:
    """What happens between two scrapes."""
    well.send("LAN", *(f"tcp 10.20.0.5:{port} > 198.51.100.7:443 S" for port in range(4000, 4005)))
    well.send("INTERNET", "tcp 198.51.100.9:999 > 203.0.113.11:80 S", "tcp 198.51.100.9:999 > 203.0.113.11:81 S")
    trouble.send("LAN", *(f"tcp 10.20.0.5:{port} > 198.51.100.7:443 S" for port in range(4000, 4010)))
    trouble.send("LAN", "tcp 10.20.0.6:9 > 198.51.100.7:443 S", times=10_000)
    trouble.edge.apply(replace(trouble.edge.config, id="another"))
    trouble.applies.update(failed=1, not_confirmed=1, applied=2)
    trouble.events_lost += 5
    trouble.pending = True
    trouble.ports_up["INTERNET"] = False
    trouble.links["INTERNET"] = LinkCounters({"DEVICE_SEND": 10_000, "TOO_BIG": 1}, 1)


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    rules = [rule("nasty", source="10.20.0.0/24", services="tcp/443"), *acme().firewall.rules]
    rules[0] = replace(rules[0], name=NASTY)
    healthy = replace(acme(firewall=rules), name="well")
    services = [
        Served(
            Edge(config),
            neighbours={"REACHABLE": 2, "STALE": 1},
            ports_up={"INTERNET": True, "LAN": True},
            links={"INTERNET": LinkCounters(), "LAN": LinkCounters()},
        )
        for config in (healthy, troubled())
    ]
    with ExitStack() as stack:
        addresses = []
        for service in services:
            server = MetricsServer(service.exposition().page, "127.0.0.1:0")
            addresses.append(server.start())
            stack.callback(server.stop)
        nobody = stack.enter_context(socket.socket())
        nobody.bind(("127.0.0.1", 0))  # and does not listen
        gone = f"127.0.0.1:{nobody.getsockname()[1]}"
        prometheus = Prometheus(tmp_path_factory.mktemp("prometheus"), [*addresses, gone], queries.EDGE.alerts)
        stack.callback(prometheus.stop)
        prometheus.eventually("t1edge_events_lost_total", lambda found: len(found) == 2)
        stir(*services)
        yield Scene(prometheus, *services, gone)


def test_what_is_read_is_what_was_counted(scene: Scene) -> None:
    found = scene.prometheus.eventually(
        't1edge_firewall_rule_hits_total{edge="well", rule_id="nasty"}', lambda found: found[0][1] == 5
    )
    assert found[0][0]["instance"].startswith("127.0.0.1:")
    [(labels, value)] = scene.prometheus.query('t1edge_firewall_rule_info{edge="well", rule_id="nasty"}')
    assert (labels["name"], value) == (NASTY, 1)
    lines = scene.well.exposition().page().decode().splitlines()
    series = sum(not line.startswith("#") for line in lines)
    scene.prometheus.eventually(
        'scrape_samples_scraped{job="t1edge"} and on (instance) t1edge_sessions{edge="well"}',
        lambda found: bool(found) and found[0][1] == series,
    )


QUERIES = [*queries.of_dashboard(), *queries.of_documentation()]


@pytest.mark.parametrize("query", QUERIES, ids=lambda query: query.title)
def test_every_panel_has_something_to_show(scene: Scene, query: Query) -> None:
    assert query.title not in EMPTY
    found = scene.prometheus.eventually(query.filled("(well|trouble)", r"127\\.0\\.0\\.1:\\d+"))
    assert all(labels.get("edge", "well") in {"well", "trouble"} for labels, _ in found)


@pytest.mark.parametrize("query", queries.of_alerts(), ids=lambda query: query.title)
def test_every_alert_is_raised_by_trouble_and_by_nothing_else(scene: Scene, query: Query) -> None:
    who = {"instance": scene.gone} if query.title == "T1EdgeAbsent" else {"edge": "trouble"}
    scene.prometheus.eventually(
        query.filled(),
        lambda found: bool(found) and all(labels.items() >= who.items() for labels, _ in found),
    )


def test_prometheus_evaluates_the_alerts(scene: Scene) -> None:
    [group] = scene.prometheus.api("rules")["groups"]
    assert [rule["name"] for rule in group["rules"]] == [query.title for query in queries.of_alerts()]
    assert [rule.get("lastError", "") for rule in group["rules"]] == [""] * len(group["rules"])
    scene.prometheus.eventually('ALERTS{alertstate="firing", alertname="T1EdgeEventsLost", edge="trouble"}')
    scene.prometheus.eventually('ALERTS{alertstate="pending", alertname="T1EdgePortDown", port="INTERNET"}')


@pytest.mark.parametrize("variable", queries.variables(), ids=lambda variable: variable["name"])
def test_every_variable_has_values(scene: Scene, variable: dict[str, str]) -> None:
    match = re.fullmatch(r"label_values\((.*), (\w+)\)", variable["definition"])
    assert match is not None
    selector, label = Query(variable["name"], match[1]).filled(), match[2]
    values = scene.prometheus.api(f"label/{label}/values", **{"match[]": selector})
    assert len(values) == 2
    assert label != "edge" or values == ["trouble", "well"]


def test_no_counter_goes_back(scene: Scene) -> None:
    counters = re.findall(r"^# TYPE (t1edge_\w+) counter$", scene.trouble.exposition().page().decode(), re.MULTILINE)
    assert len(counters) >= 8
    for counter in counters:
        found = scene.prometheus.eventually(f"resets({counter}[5m])")
        assert [labels for labels, resets in found if resets] == []
