"""What has to become of a connection, by the trace of its first packet."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from edge.api.client import EdgeClient
from edge.trace import TraceResult
from edge.verdicts import Reason, Verdict
from tests.netns.peers import REACHED, REFUSED, SILENT

SOFT = (Reason.NO_ROUTE, Reason.ISOLATED)
"""The edge answers net-unreachable: a hint, which UDP keeps from programs (RFC 1122, section 4.1.3.3; Linux does)."""


def traced(client: EdgeClient, packets: Sequence[str]) -> list[list[TraceResult]]:
    """For each packet its trace by the running edge, and those of its hairpins."""
    grouped: list[list[TraceResult]] = []
    for result in client.trace(packets).results:
        if result.hairpin:
            grouped[-1].append(result)
        else:
            grouped.append([result])
    assert len(grouped) == len(packets)
    return grouped


def predicted(results: Sequence[TraceResult]) -> tuple[str, str]:
    """What has to become of an attempt, given its trace and those of its hairpins; how its receiver sees it."""
    last = results[-1]
    if not last.outputs:
        return SILENT, ""
    protocol, source, _, destination, *_ = last.outputs[0].packet.split()
    first, caller, *_ = results[0].packet.split()
    comes_back = destination == caller if protocol == first else destination == address(caller)
    if last.verdict is Verdict.ALLOW and not comes_back:
        return REACHED, "" if protocol == "icmp" else f"{source.rpartition(':')[0]} > {destination}"
    # The edge's own answer; through a hairpin it comes back to the caller as a packet of his session.
    if first == "icmp" and "echo-reply" in last.outputs[0].packet:
        return REACHED, ""
    if first == "udp" and last.reason in SOFT:
        return SILENT, ""
    return REFUSED, ""


def address(end: str) -> str:
    """``192.0.2.1`` of ``192.0.2.1:80``."""
    if end.startswith("["):
        return end[1 : end.index("]")]
    return end if end.count(":") > 1 else end.partition(":")[0]


def combined(predictions: Iterable[tuple[str, str]]) -> tuple[str, str]:
    """That of a program whose connections follow each other: the first that fails ends it, else the last counts."""
    what = SILENT, ""
    for what in predictions:
        if what[0] != REACHED:
            break
    return what
