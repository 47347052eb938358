"""Everything that ``docs/performance.md`` shows, from one run: the result file, the tables of the page, the pictures.

    python bench/record.py [--result FILE] [--filter TEXT]

Without ``--result`` all cases are measured, beside the peers that are installed, each in a process of its own, and the
result is written to ``docs/performance/result.json``; with ``--filter`` only those with TEXT in their names, the others
stay.  With ``--result``, tables and pictures are made of that file.  The page's tables stand between markers; the rest
of it is written by hand.
"""

from __future__ import annotations

import argparse
import json
import re
import shutil
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from edge.bench.classify import Peer, RuleSet, classify
from edge.bench.compare import SAME_MACHINE
from edge.bench.machine import pinned
from edge.bench.measurement import SEED, TRIALS
from edge.bench.profiles import PROFILES, draw_rules
from edge.bench.rules import data_folder, read_classbench, statistics_of
from edge.bench.suite import cases, choose, find_peer

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "performance.md"
FOLDER = ROOT / "docs" / "performance"
RESULT = FOLDER / "result.json"
PUBLISHED = {
    # What sets of 100,000 rules that ClassBench made from its seeds have: length pairs, masks, port ranges, wide rules.
    "acl": ("135-372", "48-965", "up to 235", "0-3 %"),
    "fw": ("67-139", "48-965", "up to 49", "0-3 %"),
    "ipc": ("30-343", "48-965", "up to 235", "0-3 %"),
}


def measure(pattern: str) -> list[str]:
    """Run the case called ``pattern`` or those with it in their names, one after the other, and keep what each prints
    as soon as it is there; the names of those that failed.

    With a pattern, other cases of the result stay as they are if they were measured in the same place.
    """
    document: dict[str, Any] = {"env": {}, "cases": [], "drawn": [], "peers": []}
    if pattern and RESULT.exists():
        document = json.loads(RESULT.read_text(encoding="utf-8"))
    failed = []
    for name in [case.name for case in choose(pattern, cases(Peer()))]:
        command = [str(Path(sys.executable).parent / "t1edge"), "bench", "--peers", "--json", "--filter", name]
        done = subprocess.run(command, stdout=subprocess.PIPE, check=False)
        if done.returncode == 0:
            keep(document, json.loads(done.stdout))
        else:
            failed.append(name)
    return failed


def keep(document: dict[str, Any], new: dict[str, Any]) -> None:
    """Take the cases of another run into the result, and write it.  Raises SystemExit when they do not belong to it."""
    for what in SAME_MACHINE:
        if document["env"] and document["env"][what] != new["env"][what]:
            raise SystemExit(f"{RESULT.name} was measured with another {what}: measure all cases anew")
    document["env"] = document["env"] or new["env"]
    # Each case is measured in a process of its own, some on another day: what differs is told with it.
    around = {name: value for name, value in new["env"].items() if document["env"].get(name) != value}
    fresh = [{**case, "env": around} for case in new["cases"]]
    measured = {case["name"]: case for case in (*document["cases"], *fresh)}
    document["cases"] = [measured[case.name] for case in cases(Peer()) if case.name in measured]
    for case in new["cases"]:
        document["drawn"] = [*(old for old in document["drawn"] if old["name"] != case["name"]), *drawn_set(case)]
    document["peers"] = [
        old if old["status"] == "MEASURED" else peer
        for old, peer in zip(document["peers"] or new["peers"], new["peers"], strict=True)
    ]
    RESULT.parent.mkdir(parents=True, exist_ok=True)
    RESULT.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")


def drawn_set(case: dict[str, Any]) -> list[dict[str, Any]]:
    """Of a case with public rules, the same with drawn ones of that kind and size: are they as hard?"""
    match = re.fullmatch(r"classify_([a-z]+1)_(\d+)k", case["name"])
    if match is None or case["details"]["origin"] != "classbench":
        return []
    kind, size = match[1], int(match[2])
    rules = RuleSet(f"{kind}_{size}k", draw_rules(kind, 1000 * size, SEED), "generated")
    print(f"measuring {case['name']}, drawn", file=sys.stderr)
    with pinned():
        return [classify(rules, TRIALS, find_peer()).to_json()]


def table(columns: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """Markdown; every column but the first is aligned to the right."""
    heads = list(columns)
    lines = [heads, ["---", *["--:"] * (len(heads) - 1)], *(list(row) for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def number(value: float) -> str:
    """A rate or a time as people read it."""
    for size, letter in ((1e6, " M"), (1e3, " k")):
        if value >= size:
            return f"{value / size:.3g}{letter}"
    return f"{value:.3g}"


def results(document: dict[str, Any]) -> str:
    """Every case."""
    rows = []
    for case in document["cases"]:
        clocks = case.get("clocksPerPacket")
        rows.append(
            (
                f"`{case['name']}`",
                f"{number(case['median'])} {case['unit']}",
                f"{clocks['median']:,.0f}" if clocks else "",
                f"{case['spread']:.1%}",
                str(len(case["samples"])),
            )
        )
    return table(("case", "median", "clocks a packet", "spread", "trials"), rows)


def ratios(document: dict[str, Any]) -> str:
    """Every case that a peer took part in."""
    rows = []
    for case in document["cases"]:
        for peer in case.get("peers", ()):
            ratio = peer["ratio"]
            rows.append(
                (
                    f"`{case['name']}`",
                    peer["name"],
                    f"{number(case['median'])} {case['unit']}",
                    f"{number(peer['median'])} {case['unit']}",
                    f"{ratio['median']:.3g}",
                    f"{ratio['low']:.3g}-{ratio['high']:.3g}",
                )
            )
    beside = table(("case", "peer", "t1edge", "the peer", "times as fast", "interval"), rows) if rows else ""
    told = "\n".join(
        f"- {peer['name']}: {peer['status'].lower().replace('_', ' ')} ({peer['detail']})"
        for peer in document.get("peers", ())
    )
    return f"{beside}\n\n{told}".strip()


def hardness(document: dict[str, Any]) -> str:
    """Lookups in public and in drawn sets of the same kind, and by how much larger ones are slower."""
    public = {case["name"]: case for case in document["cases"]}
    drawn = {case["name"]: case for case in document.get("drawn", ())}
    rows = []
    for kind in PROFILES:
        for size in (1, 10, 100):
            for where in (public, drawn):
                case = where.get(f"classify_{kind}_{size}k")
                if case is None:
                    continue
                origin = "ClassBench" if case["details"]["origin"] == "classbench" else "drawn"
                beside = [f"{number(peer['median'])}" for peer in case.get("peers", ())] or [""]
                rows.append((f"{origin} {kind}, {size} k", number(case["median"]), *beside))
    return table(("set", "t1edge, lookups/s", "rte_acl, lookups/s"), rows)


def environment(document: dict[str, Any]) -> str:
    """Where and when it was measured: each case in a process of its own, some perhaps on another day."""
    env = document["env"]
    around = [{**env, **case.get("env", {})} for case in document["cases"]] or [env]
    dates = sorted(found["date"] for found in around)
    loads = sorted(found["loadAverage"][0] for found in around)
    load = f"load average before a case began {loads[0]:g} to {loads[-1]:g}"
    kind = "virtual, " if env.get("virtual") else ""
    ticks = f"{env['ticksPerSecond'] / 1e9:.3f} G a second"
    return "\n".join(
        (
            f"- {env['cpu']}, {kind}{env['cpus']} processors; clocks are those of a counter of {ticks}",
            f"- Linux {env['kernel']}, Python {env['python']}, {env['compiler']}",
            f"- measured from {dates[0]} to {dates[-1]}, {load}",
        )
    )


def sets() -> str:
    """Rule sets that are drawn, beside the public ones."""
    rows = []
    for kind in PROFILES:
        for thousands in (1, 10, 100):
            path = data_folder() / "classbench" / f"{kind}_{thousands}k.gz"
            if path.exists():
                rows.append(_statistics(f"ClassBench {kind}, {thousands} k", statistics_of(read_classbench(path))))
            drawn = draw_rules(kind, 1000 * thousands, SEED)
            rows.append(_statistics(f"drawn {kind}, {thousands} k", statistics_of(drawn)))
        pairs, masks, ports, wide = PUBLISHED[kind.rstrip("1")]
        rows.append((f"ClassBench, seeds of {kind.rstrip('1')}, 100 k", pairs, masks, ports, "", "", wide))
    columns = ("set", "length pairs", "masks", "port ranges", "sources", "destinations", "both /8 or wider")
    return table(columns, rows)


def _statistics(name: str, found: dict[str, float]) -> tuple[str, ...]:
    counts = (f"{found[key]:,.0f}" for key in ("lengthPairs", "masks", "portRanges", "sources", "destinations"))
    return name, *counts, f"{found['wideShare']:.1%}"


def fill(page: str, name: str, text: str) -> str:
    """The page with other text between the markers of that name."""
    begin, end = f"<!-- {name} -->", f"<!-- end of {name} -->"
    pattern = re.compile(f"{re.escape(begin)}.*?{re.escape(end)}", re.DOTALL)
    if not pattern.search(page):
        raise SystemExit(f"{PAGE.name} has no place for {name}")
    return pattern.sub(lambda _: f"{begin}\n{text}\n{end}", page)


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description="Measure, and write tables and pictures of docs/performance.md.")
    parser.add_argument("--result", type=Path, help="do not measure: this is what was measured")
    parser.add_argument("--filter", default="", help="measure only these cases, as t1edge bench does")
    options = parser.parse_args()
    failed: list[str] = []
    if options.result is None:
        failed = measure(options.filter)
    elif options.result.resolve() != RESULT:
        RESULT.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(options.result, RESULT)
    document = json.loads(RESULT.read_text(encoding="utf-8"))
    page = PAGE.read_text(encoding="utf-8")
    for name, text in (
        ("environment", environment(document)),
        ("results", results(document)),
        ("peers", ratios(document)),
        ("sets", sets()),
        ("hardness", hardness(document)),
    ):
        page = fill(page, name, text)
    PAGE.write_text(page, encoding="utf-8")
    print(PAGE)
    subprocess.run([sys.executable, str(ROOT / "bench" / "pictures.py"), str(RESULT), str(FOLDER)], check=True)
    if failed:
        raise SystemExit(f"not measured: {', '.join(failed)}")


if __name__ == "__main__":
    main()
