"""Fifty changes under load; and what is looked for would be seen."""

from __future__ import annotations

from dataclasses import replace

from edge.bench.frames import udp_frame
from edge.model import EdgeConfig
from edge.runtime import Edge
from tests.soak.changes import CLIENTS, MACHINES, PORT, PUBLISHED, configuration, large, lost, number_of, run


def verdict(config: EdgeConfig) -> str:
    """What becomes of a probe."""
    probe = udp_frame(CLIENTS, 1024, number_of(PUBLISHED), PORT)
    return Edge(config).process("INTERNET", probe, 0).verdict.name


def test_a_mixture_of_two_revisions_lets_no_probe_pass() -> None:
    base = large(5)
    one, other = configuration(base, 0), configuration(base, 1)
    assert verdict(one) == verdict(other) == "ALLOW"
    assert verdict(replace(one, nat=other.nat)) == verdict(replace(one, firewall=other.firewall)) == "DROP"


def test_what_is_lost_or_comes_twice_is_told() -> None:
    one, other = (1, 2, 3, 4), (1, 2, 3, 5)
    assert lost([one], [one]) == []
    assert lost([one, other], [other, other]) == ["0.0.0.1:2 > 0.0.0.3:4: 0 of 1", "0.0.0.1:2 > 0.0.0.3:5: 2 of 1"]


def test_every_packet_is_judged_by_one_revision_and_no_session_is_disturbed() -> None:
    result = run(rules=2000, changes=50)
    assert result.wrong == []
    assert result.changes == 50
    assert len(result.overlaid_s) == 40
    assert len(result.anew_s) == 10
    assert result.rounds >= 50
    assert result.machines == set(MACHINES)
