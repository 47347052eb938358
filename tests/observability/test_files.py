"""Dashboard, alerts and documentation hold together, and with what the edge exposes."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path

import pytest
import yaml

from edge.metrics import APPLY_RESULTS
from edge.runtime import Edge
from edge.state import LinkCounters
from tests.observability import queries
from tests.observability.queries import METRIC, ROOT, Board
from tests.observability.scene import Served
from tests.support import acme

PAGE = (ROOT / "docs" / "observability.md").read_text(encoding="utf-8")
BOARDS = pytest.mark.parametrize("board", [queries.EDGE, queries.CONTROL], ids=lambda board: board.name)
OF_PROMETHEUS = {"up", "scrape_duration_seconds", "scrape_samples_scraped"}


def exposed() -> dict[str, tuple[str, frozenset[str]]]:
    """Family -> (type, labels), of an edge that has everything."""
    served = Served(Edge(acme()), neighbours={"STALE": 1}, ports_up={"LAN": True}, links={"LAN": LinkCounters()})
    text = served.exposition().page().decode()
    kinds = dict(re.findall(r"^# TYPE (\w+) (\w+)$", text, re.MULTILINE))
    labels = {
        name: frozenset(re.findall(r'(\w+)="', inner))
        for name, inner in re.findall(r"^(\w+)(?:\{(.*)\})? \S+$", text, re.MULTILINE)
    }
    return {name: (kind, labels[name]) for name, kind in kinds.items()}


def documented() -> dict[str, tuple[str, frozenset[str]]]:
    """The rows ``| `family` | type | labels | ...`` of docs/observability.md that are of an edge."""
    rows = re.findall(r"^\| `((?!t1edge_control_)\w+)` \| (counter|gauge) \| ([^|]*) \|", PAGE, re.MULTILINE)
    return {name: (kind, frozenset(re.findall(r"`(\w+)`", labels))) for name, kind, labels in rows}


def test_every_family_is_documented_with_its_labels() -> None:
    of_edge = {name: rest for name, rest in exposed().items() if name.startswith("t1edge_")}
    assert documented() == of_edge


def test_every_result_of_a_change_is_documented() -> None:
    [row] = [line for line in PAGE.splitlines() if line.startswith("| `t1edge_config_applies_total`")]
    assert set(re.findall(r"`(\w+)`", row.split("|")[4])) == set(APPLY_RESULTS)


@pytest.mark.parametrize("query", [*queries.of_dashboard(), *queries.of_alerts()], ids=lambda query: query.title)
def test_a_query_asks_for_what_is_exposed(query: queries.Query) -> None:
    known = exposed()
    names = set(METRIC.findall(query.expression))
    assert names
    assert names <= known.keys() | OF_PROMETHEUS
    for name, selector in re.findall(r"(t1edge_\w+)\{([^}]*)\}", query.expression):
        labels = set(re.findall(r"(\w+)\s*[=!]", selector)) - {"instance", "job"}
        assert labels <= known[name][1]


def test_every_family_of_the_edge_is_on_the_dashboard() -> None:
    shown = {name for query in queries.of_dashboard() for name in METRIC.findall(query.expression)}
    assert documented().keys() - shown == set()


@BOARDS
def test_panels_have_their_own_place(board: Board) -> None:
    everything = board.dashboard["panels"]
    assert len({panel["id"] for panel in everything}) == len(everything)
    taken: set[tuple[int, int]] = set()
    for panel in everything:
        place = panel["gridPos"]
        cells = {(place["x"] + column, place["y"] + line) for column in range(place["w"]) for line in range(place["h"])}
        assert max(column for column, _ in cells) < 24
        assert not cells & taken, panel["title"]
        taken |= cells


@BOARDS
def test_every_panel_asks_the_chosen_data_source_about_what_is_chosen(board: Board) -> None:
    for panel in queries.panels(board):
        assert panel["title"]
        assert len({target["refId"] for target in panel["targets"]}) == len(panel["targets"])
        for place in (panel, *panel["targets"]):
            assert place["datasource"] == {"type": "prometheus", "uid": "${datasource}"}
        for target in panel["targets"]:
            for selector in re.findall(rf"{METRIC.pattern}(\{{[^}}]*\}}|)", target["expr"]):
                assert 'edge=~"$edge"' in selector or 'instance=~"$instance"' in selector
    chosen = ["datasource", "edge", "instance"] if board is queries.EDGE else ["datasource", "instance"]
    assert [variable["name"] for variable in board.dashboard["templating"]["list"]] == chosen


@BOARDS
def test_every_alert_says_what_it_is_about_and_is_documented(board: Board) -> None:
    rules = queries.alert_rules(board)
    assert len({rule["alert"] for rule in rules}) == len(rules)
    for rule in rules:
        assert rule["labels"]["severity"] in {"critical", "warning", "info"}
        assert rule["annotations"].keys() == {"summary", "description"}
    prefix = "T1Edge" if board is queries.EDGE else "T1Control"
    rows = re.findall(rf"^\| `({prefix}\w+)` \| (\w+) \|", PAGE, re.MULTILINE)
    assert rows == [(rule["alert"], rule["labels"]["severity"]) for rule in rules]


@BOARDS
def test_every_alert_is_tested_when_it_fires_and_when_it_does_not(board: Board) -> None:
    text = board.tests.read_text(encoding="utf-8")
    cases = [case for test in yaml.safe_load(text)["tests"] for case in test["alert_rule_test"]]
    for fires in (True, False):
        tested = {case["alertname"] for case in cases if bool(case["exp_alerts"]) == fires}
        assert tested == {rule["alert"] for rule in queries.alert_rules(board)}


def promtool(*arguments: str, text: str | None = None) -> None:
    done = subprocess.run(["promtool", *arguments], input=text, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "error" not in done.stderr.lower()


@pytest.mark.needs("prometheus")
@BOARDS
def test_promtool_accepts_the_alerts(board: Board) -> None:
    promtool("check", "rules", "--lint=all", "--lint-fatal", str(board.alerts))


@pytest.mark.needs("prometheus")
@BOARDS
def test_alerts_fire_when_they_should(board: Board) -> None:
    promtool("test", "rules", str(board.tests))


@pytest.mark.needs("prometheus")
def test_promtool_parses_every_query_of_the_dashboards(tmp_path: Path) -> None:
    found = [*queries.of_dashboard(), *queries.of_dashboard(queries.CONTROL), *queries.of_documentation()]
    rules = [{"record": f"query:number{number}", "expr": query.filled()} for number, query in enumerate(found)]
    file = tmp_path / "queries.yaml"
    file.write_text(json.dumps({"groups": [{"name": "dashboard", "rules": rules}]}))
    promtool("check", "rules", str(file))


@pytest.mark.needs("prometheus")
def test_promtool_accepts_the_configuration_in_the_documentation(tmp_path: Path) -> None:
    [block] = re.findall(r"^```yaml\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    (tmp_path / "t1edge").mkdir()
    for board in (queries.EDGE, queries.CONTROL):
        (tmp_path / "t1edge" / board.alerts.name).write_text(board.alerts.read_text(encoding="utf-8"))
    (tmp_path / "prometheus.yml").write_text(block)
    promtool("check", "config", str(tmp_path / "prometheus.yml"))


@pytest.mark.needs("prometheus")
def test_promtool_finds_nothing_wrong_with_the_metrics() -> None:
    served = Served(Edge(acme()), neighbours={"STALE": 1}, ports_up={"LAN": True}, links={"LAN": LinkCounters()})
    promtool("check", "metrics", text=served.exposition().page().decode())
