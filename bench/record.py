"""Everything that ``docs/performance.md`` shows, from one run: the result file, the tables of the page, the pictures.

    python bench/record.py [--result FILE] [--filter TEXT]

Without ``--result`` all cases are measured, beside the peers that are installed, and the result is written to
``docs/performance/result.json``; with it, tables and pictures are made of that file.  The page's tables stand between
markers; the rest of it is written by hand.
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

from edge.bench.profiles import PROFILES, draw_rules
from edge.bench.rules import data_folder, read_classbench, statistics_of

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


def measure(pattern: str) -> None:
    """Run the benchmarks and keep what they print."""
    command = [str(Path(sys.executable).parent / "t1edge"), "bench", "--peers", "--json", "--filter", pattern]
    done = subprocess.run(command, stdout=subprocess.PIPE, check=False)
    if done.returncode != 0:
        raise SystemExit(f"t1edge bench ended with {done.returncode}")
    RESULT.parent.mkdir(parents=True, exist_ok=True)
    RESULT.write_bytes(done.stdout)


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


def environment(document: dict[str, Any]) -> str:
    """Where it was measured."""
    env = document["env"]
    kind = "virtual, " if env.get("virtual") else ""
    ticks = f"{env['ticksPerSecond'] / 1e9:.3f} G a second"
    return "\n".join(
        (
            f"- {env['cpu']}, {kind}{env['cpus']} processors; clocks are those of a counter of {ticks}",
            f"- Linux {env['kernel']}, Python {env['python']}, {env['compiler']}",
            f"- {env['date']}, load average {', '.join(map(str, env['loadAverage']))} before it began",
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
            drawn = draw_rules(kind, 1000 * thousands, 1)
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
    if options.result is None:
        measure(options.filter)
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
    ):
        page = fill(page, name, text)
    PAGE.write_text(page, encoding="utf-8")
    print(PAGE)
    subprocess.run([sys.executable, str(ROOT / "bench" / "pictures.py"), str(RESULT), str(FOLDER)], check=True)


if __name__ == "__main__":
    main()
