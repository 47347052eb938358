"""Warnings about what is legal but dangerous: every one from a fact about NSX or from the rules themselves.

Each search is exact.  Those that compare rules with one another are bounded, and say so where the bound cut them.
"""

from __future__ import annotations

from edge.checks.findings import Warnings
from edge.checks.firewall import check_firewall
from edge.checks.nat import check_nat
from edge.collector import collector_paused
from edge.document import LoadedDocument
from edge.document.problems import to_problems
from edge.errors import Problem
from edge.model import EdgeConfig

__all__ = ["check", "checked"]


def check(config: EdgeConfig, loaded: LoadedDocument | None = None) -> list[Problem]:
    """All warnings about a configuration, in the order of the document.

    ``loaded`` is the document that the configuration came from: with it, problems have the author's own paths, and
    lines and columns where there was a text.
    """
    warnings = checked(config, loaded)
    return loaded.locate(warnings.items) if loaded else to_problems(warnings.items, None, {})


def checked(config: EdgeConfig, loaded: LoadedDocument | None) -> Warnings:
    """The same, as they were found."""
    warnings = Warnings(config, loaded)
    with collector_paused():
        if not config.ports:
            warnings.add("NO_PORT", ("edgeGateway",), "no uplink and no network: no packet can enter this edge")
        check_firewall(warnings)
        check_nat(warnings)
    return warnings
