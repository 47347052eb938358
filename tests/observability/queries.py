"""Every expression of the dashboard and of the alerts."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[2]
ALERTS = ROOT / "deploy" / "observability" / "alerts.yaml"
DASHBOARD = json.loads((ROOT / "deploy" / "observability" / "dashboard.json").read_text(encoding="utf-8"))

METRIC = re.compile(r"\b(?:t1edge_\w+|process_\w+|scrape_\w+|up\b)")


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


def panels() -> list[dict[str, Any]]:
    return [panel for panel in DASHBOARD["panels"] if panel["type"] != "row"]


def alert_rules() -> list[dict[str, Any]]:
    [group] = yaml.safe_load(ALERTS.read_text(encoding="utf-8"))["groups"]
    return list(group["rules"])


def of_dashboard() -> list[Query]:
    found = [
        Query(f"{panel['title']} {target['refId']}", target["expr"])
        for panel in panels()
        for target in panel["targets"]
    ]
    annotations = DASHBOARD["annotations"]["list"]
    return [*found, *(Query(item["name"], item["expr"]) for item in annotations if "expr" in item)]


def of_documentation() -> list[Query]:
    text = (ROOT / "docs" / "observability.md").read_text(encoding="utf-8")
    blocks = re.findall(r"^```promql\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    return [Query(f"docs/observability.md {number}", block) for number, block in enumerate(blocks, 1)]


def of_alerts() -> list[Query]:
    return [Query(rule["alert"], rule["expr"]) for rule in alert_rules()]


def variables() -> list[dict[str, Any]]:
    return [variable for variable in DASHBOARD["templating"]["list"] if variable["type"] == "query"]
