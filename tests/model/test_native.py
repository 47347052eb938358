"""The native engine does what the reference does: verdict, reason, steps, bytes, sessions, counters, events."""

from __future__ import annotations

import time
from pathlib import Path
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge.reference import ReferenceEdge
from edge.runtime import Edge
from tests.conftest import ModelBudget
from tests.model.compare import explore
from tests.model.run import report, search

SIDES = (ReferenceEdge, Edge)


@pytest.mark.timeout(0)  # its length is the caller's choice
def test_native_is_the_reference(model_budget: ModelBudget, tmp_path: Path) -> None:
    """``--model-seconds``, ``--model-packets`` and ``--model-seed`` say how much."""
    started = time.monotonic()
    packets = None if model_budget.seconds is not None else model_budget.packets
    done, _, found = search(SIDES, model_budget.seed, packets=packets, seconds=model_budget.seconds)
    if found is not None:
        seconds = time.monotonic() - started
        case = report(SIDES, *found, tmp_path / "case.pickle")
        pytest.fail(f"seed {model_budget.seed}, {done} packets, {seconds:.1f} s\n{case}", pytrace=False)
    assert done >= (packets or 1)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**64 - 1))
def test_native_is_the_reference_in_universes_of_any_seed(seed: int) -> None:
    """A few packets in each of many universes, other ones in every run; hypothesis keeps a seed that failed.

    The seed is drawn and not the universe: one that is drawn choice by choice is mostly larger than hypothesis lets an
    example be, and is thrown away after it was made.
    """
    _, difference, _ = explore(SIDES, Random(seed), 40)
    assert difference is None, str(difference)
