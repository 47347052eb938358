"""Draws what ``t1edge bench --peers --json`` wrote: rates over rules and over sessions, as SVG.

python bench/pictures.py RESULT.json FOLDER
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter, NullLocator

OURS, THEIRS = "t1edge", "rte_acl"
KINDS = ("acl1", "fw1", "ipc1")
COLOURS = {"acl1": "#0072b2", "fw1": "#d55e00", "ipc1": "#009e73"}  # to be told apart by everybody (Okabe and Ito)
SIZES = {"1": 1, "10": 10, "1k": 1_000, "10k": 10_000, "100k": 100_000, "1m": 1_000_000}
MILLION = 1_000_000

Point = tuple[int, dict[str, Any]]


def points(cases: dict[str, dict[str, Any]], prefix: str, suffix: str = "") -> list[Point]:
    """The cases called ``prefix``, a size and ``suffix``, by size."""
    named = ((size, cases.get(f"{prefix}{text}{suffix}")) for text, size in SIZES.items())
    return [(size, case) for size, case in named if case is not None]


def draw(axes: Axes, found: list[Point], label: str, colour: str, style: str = "o-") -> None:
    """Medians, with the middle half of the trials as bars."""
    if not found:
        return
    sizes = [size for size, _ in found]
    medians = [case["median"] / MILLION for _, case in found]
    bars = [case["median"] * case["spread"] / 2 / MILLION for _, case in found]
    axes.errorbar(
        sizes, medians, yerr=bars, fmt=style, color=colour, label=label, capsize=3, markersize=5, linewidth=1.4
    )


def beside(found: list[Point]) -> list[Point]:
    """What the peer did in those cases."""
    return [(size, peer) for size, case in found for peer in case.get("peers", ()) if peer["name"] == THEIRS]


def finish(
    figure: Figure, axes: Axes, title: str, across: str, up: str, path: Path, *, from_zero: bool = False
) -> None:
    """Scales, labels and file."""
    axes.set_xscale("log")
    axes.set_xticks([size for size in SIZES.values() if axes.get_xlim()[0] <= size <= axes.get_xlim()[1]])
    axes.xaxis.set_major_formatter("{x:,.0f}")
    axes.xaxis.set_minor_locator(NullLocator())
    if from_zero:
        axes.set_ylim(bottom=0)
    else:
        axes.set_yscale("log")
        axes.yaxis.set_minor_formatter(NullFormatter())
    axes.set_title(title, fontsize=11)
    axes.set_xlabel(across)
    axes.set_ylabel(up)
    axes.yaxis.set_major_formatter("{x:g}")
    axes.grid(visible=True, which="major", linewidth=0.5, alpha=0.6)
    axes.grid(visible=True, which="minor", linewidth=0.3, alpha=0.25)
    if axes.get_legend_handles_labels()[0]:
        axes.legend(fontsize=8, frameon=False, loc="upper left", bbox_to_anchor=(1.0, 1.0))  # beside the curves
    figure.savefig(path, metadata={"Date": None})
    print(path)


def new_figure() -> tuple[Figure, Axes]:
    """One picture of the size that a page has room for."""
    figure = Figure(figsize=(7.2, 4.2), layout="constrained")
    return figure, figure.add_subplot()


def lookups(cases: dict[str, dict[str, Any]], path: Path) -> None:
    """Rate over rules, the classifier alone."""
    figure, axes = new_figure()
    for kind in KINDS:
        found = points(cases, f"classify_{kind}_")
        draw(axes, found, f"{OURS}, {kind}", COLOURS[kind])
        draw(axes, beside(found), f"{THEIRS}, {kind}", COLOURS[kind], "s--")
    finish(figure, axes, "First-match lookups, one processor", "rules", "million lookups a second", path)


def opened(cases: dict[str, dict[str, Any]], path: Path) -> None:
    """Rate over rules, whole first packets."""
    figure, axes = new_figure()
    draw(axes, points(cases, "new_sessions_", "_rules"), "firewall, SNAT and routing", "#0072b2")
    draw(axes, points(cases, "nat_rules_"), "so many NAT rules, ten firewall rules", "#d55e00", "D")
    title = "New sessions while a million are live, one processor"
    finish(figure, axes, title, "rules", "million sessions a second", path, from_zero=True)


def established(cases: dict[str, dict[str, Any]], path: Path) -> None:
    """Rate over sessions."""
    figure, axes = new_figure()
    draw(axes, points(cases, "established_"), "UDP with SNAT", "#0072b2")
    draw(axes, points(cases, "established_tcp_"), "TCP with SNAT", "#d55e00", "D")
    draw(axes, points(cases, "established_ipv6_"), "UDP over IPv6", "#009e73", "s")
    title = "Packets of established sessions, 64 bytes, one processor"
    finish(figure, axes, title, "sessions", "million packets a second", path, from_zero=True)


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description="Draw a result of t1edge bench --json.")
    parser.add_argument("result", type=Path)
    parser.add_argument("folder", type=Path)
    options = parser.parse_args()
    cases = {case["name"]: case for case in json.loads(options.result.read_text(encoding="utf-8"))["cases"]}
    mpl.rcParams["svg.hashsalt"] = "t1edge"  # the same picture for the same result
    options.folder.mkdir(parents=True, exist_ok=True)
    lookups(cases, options.folder / "classify.svg")
    opened(cases, options.folder / "new-sessions.svg")
    established(cases, options.folder / "established.svg")


if __name__ == "__main__":
    main()
