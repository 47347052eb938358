"""The cases of ``t1edge bench``, and the run of those that were asked for."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from edge.bench import changes, classify, established, fragments, ipset, new_sessions, peers, workers
from edge.bench.machine import pinned
from edge.bench.measurement import TRIALS, BenchmarkError, Case, Measurement

FEW_TRIALS = 11
"""Of what takes seconds each."""

KINDS = ("acl1", "fw1", "ipc1")


def cases(peer: classify.Peer) -> tuple[Case, ...]:
    """Every case there is; those of the classifier measure the peer beside it."""
    return (
        Case("established_1", lambda trials: established.established(1, trials)),
        Case("established_10k", lambda trials: established.established(10_000, trials)),
        Case("established_1m", lambda trials: established.established(1_000_000, trials)),
        _of_kind("established_ipv6_10k", "ipv6"),
        _of_kind("established_tcp_10k", "tcp"),
        Case("mixed_imix", lambda trials: established.imix(10_000, trials)),
        Case("fragments_10pct", lambda trials: fragments.fragments(10_000, trials)),
        Case("two_workers", lambda trials: workers.two_workers(10_000, trials)),
        *(_new_sessions(name, rules) for name, rules in (("10", 10), ("1k", 1000), ("10k", 10_000))),
        Case("nat_rules_10k", lambda trials: new_sessions.nat_rules(10_000, trials)),
        *(_classify(kind, thousands, peer) for thousands in (1, 10, 100) for kind in KINDS),
        Case("classify_ipset_30k", lambda trials: classify.classify(classify.ip_set(30_000), trials, peer)),
        Case("ipset_30k_beside_prefix", lambda trials: ipset.beside_prefix(30_000, trials)),
        *(_build(thousands, peer) for thousands in (10, 100)),
        Case("change_one_rule_100k", lambda trials: changes.change_one_rule(100_000, trials)),
        Case("change_all_rules_100k", lambda trials: changes.change_all_rules(100_000, min(trials, FEW_TRIALS))),
    )


def run(
    pattern: str = "",
    trials: int = TRIALS,
    started: Callable[[str], None] | None = None,
    peer: classify.Peer | None = None,
) -> list[Measurement]:
    """Measure the case called ``pattern``, or those whose names contain it, on one processor; ``started`` hears of each
    before it runs, ``peer`` takes part where it can.

    Raises BenchmarkError when no case has such a name, or one cannot be measured.
    """
    results = []
    with pinned():
        for case in choose(pattern, cases(peer or classify.Peer())):
            if started is not None:
                started(case.name)
            results.append(case.measure(trials))
    return results


def choose(pattern: str, known: Sequence[Case]) -> list[Case]:
    """The case called ``pattern``, or those whose names contain it.  Raises BenchmarkError when there is none."""
    chosen = [case for case in known if case.name == pattern] or [case for case in known if pattern in case.name]
    if not chosen:
        raise BenchmarkError(f"no case has {pattern!r} in its name; there are {', '.join(case.name for case in known)}")
    return chosen


def find_peer() -> classify.Peer:
    """rte_acl, compiled, where it is installed.  Raises BenchmarkError."""
    return classify.Peer(None if peers.rte_acl_missing() else peers.compile_rte_acl())


def _of_kind(name: str, kind: str) -> Case:
    return Case(name, lambda trials: established.established(10_000, trials, kind=kind, name=name))


def _new_sessions(name: str, rules: int) -> Case:
    return Case(f"new_sessions_{name}_rules", lambda trials: new_sessions.new_sessions(rules, trials))


def _classify(kind: str, thousands: int, peer: classify.Peer) -> Case:
    return Case(
        f"classify_{kind}_{thousands}k",
        lambda trials: classify.classify(classify.rule_set(kind, thousands), trials, peer),
    )


def _build(thousands: int, peer: classify.Peer) -> Case:
    return Case(
        f"build_fw1_{thousands}k",
        lambda trials: classify.build(classify.rule_set("fw1", thousands), min(trials, FEW_TRIALS), peer),
    )
