"""Every expression of the dashboard and of the alerts."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "deploy" / "observability"

METRIC = re.compile(r"\b(?:t1edge_\w+|process_\w+|scrape_\w+|up\b)")


@dataclass(frozen=True)
class Board:
    """A dashboard and the alerts that belong to it; ``tests`` are these for promtool."""

    name: str
    dashboard: dict[str, Any]
    alerts: Path
    tests: Path


def _board(name: str, prefix: str) -> Board:
    dashboard = json.loads((FOLDER / f"{prefix}dashboard.json").read_text(encoding="utf-8"))
    tests = ROOT / "tests" / "observability" / f"{prefix}alerts.test.yaml"
    return Board(name, dashboard, FOLDER / f"{prefix}alerts.yaml", tests)


EDGE = _board("edge", "")
CONTROL = _board("control", "control-")


@dataclass(frozen=True)
class Query:
    """``title`` says where it stands."""

    title: str
    expression: str

    def filled(self, edge: str = ".*", instance: str = ".*") -> str:
        """As Grafana sends it, its variables replaced."""
        text = self.expression.replace("$edge", edge).replace("$instance", instance)
        text = re.sub(r"\$__(rate_interval|range|interval)\b", "5m", text)
        assert "$" not in text, f"{self.title}: a variable is left in {text}"
        return text


def panels(board: Board = EDGE) -> list[dict[str, Any]]:
    return [panel for panel in board.dashboard["panels"] if panel["type"] != "row"]


def alert_rules(board: Board = EDGE) -> list[dict[str, Any]]:
    [group] = yaml.safe_load(board.alerts.read_text(encoding="utf-8"))["groups"]
    return list(group["rules"])


def of_dashboard(board: Board = EDGE) -> list[Query]:
    found = [
        Query(f"{panel['title']} {target['refId']}", target["expr"])
        for panel in panels(board)
        for target in panel["targets"]
    ]
    annotations = board.dashboard["annotations"]["list"]
    return [*found, *(Query(item["name"], item["expr"]) for item in annotations if "expr" in item)]


def of_documentation() -> list[Query]:
    text = (ROOT / "docs" / "observability.md").read_text(encoding="utf-8")
    blocks = re.findall(r"^```promql\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    return [Query(f"docs/observability.md {number}", block) for number, block in enumerate(blocks, 1)]


def of_alerts(board: Board = EDGE) -> list[Query]:
    return [Query(rule["alert"], rule["expr"]) for rule in alert_rules(board)]


def variables(board: Board = EDGE) -> list[dict[str, Any]]:
    return [variable for variable in board.dashboard["templating"]["list"] if variable["type"] == "query"]
