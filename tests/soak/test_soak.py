"""The soak's own parts, and a soak of a few seconds."""

from __future__ import annotations

from dataclasses import replace
from itertools import islice
from pathlib import Path
from random import Random

import pytest

from edge.document import loads
from edge.model import EdgeConfig
from edge.runtime import Edge
from tests.soak.memory import Sample, trend
from tests.soak.revisions import FIRST, SECOND, document, judged_by, probes
from tests.soak.run import served, soak


def config(which: int) -> EdgeConfig:
    return loads(document(which, 1), file="edge.yaml").config


def verdicts(of: EdgeConfig) -> set[int | None]:
    """What ``judged_by`` makes of some probes."""
    edge, found = Edge(of), set()
    for port, frame in islice(probes(), 200):
        outcome = edge.process(port, frame, 0)
        left = outcome.outputs[0].frame if outcome.outputs else b""
        found.add(judged_by(port, outcome.verdict, left))
    return found


@pytest.mark.parametrize("which", [FIRST, SECOND])
def test_a_probe_passes_and_says_by_which_configuration(which: int) -> None:
    assert verdicts(config(which)) == {which}


@pytest.mark.parametrize("which", [FIRST, SECOND])
def test_no_mixture_lets_a_probe_pass(which: int) -> None:
    mixed = replace(config(which), firewall=config(1 - which).firewall)
    assert verdicts(mixed) == {None}


def test_the_trend_of_a_line_is_the_line() -> None:
    line = trend([Sample(10.0 + second, 5_000_000 + 2_000 * second) for second in range(101)])
    assert line.slope == pytest.approx(120_000)
    assert line.growth == pytest.approx(91 * 2_000)


def test_one_sample_has_no_trend() -> None:
    with pytest.raises(ValueError, match="two samples"):
        trend([Sample(0.0, 1)])


def test_a_short_soak_finds_nothing(tmp_path: Path) -> None:
    with served(tmp_path, None) as service:
        found = soak(service, 3, Random(1), None)
    assert found.problems() == []
    assert found.changes >= 2
