"""What a running edge can be asked for: snapshots of sessions, counters and log, as plain values.

The readable reference and the native engine return the same classes, so that tests compare them with ``==``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from edge.verdicts import Endpoints, Reason, Verdict

TCP_STATES = {
    0: "CLOSED",
    2: "SYN_SENT",
    3: "SYN_RECEIVED",
    4: "ESTABLISHED",
    5: "CLOSE_WAIT",
    6: "FIN_WAIT_1",
    7: "CLOSING",
    8: "LAST_ACK",
    9: "FIN_WAIT_2",
    10: "TIME_WAIT",
}
"""States of one side of a TCP session, numbered as in BSD."""

UDP_STATES = {0: "NO_TRAFFIC", 1: "SINGLE", 2: "MULTIPLE"}
"""What one side of a UDP session has sent, as PF calls it."""


def state_text(protocol: int, originator: int, responder: int) -> str:
    """``SYN_SENT:CLOSED`` for TCP (6), ``SINGLE:NO_TRAFFIC`` for UDP (17), '' for protocols without states."""
    names = {6: TCP_STATES, 17: UDP_STATES}.get(protocol)
    return f"{names[originator]}:{names[responder]}" if names else ""


@dataclass(frozen=True, slots=True)
class SessionInfo:
    """One live session.

    ``original`` is its first packet as it entered by ``in_port``, ``translated`` the same packet as it left by
    ``out_port``.  ``packets`` and ``bytes`` (of IP) are pairs: the original direction, the replies.  Rule ids are
    those that admitted it (firewall: None when a NAT rule bypassed it); ``icmp_type`` is the type of the ICMP message
    that made it, None for other protocols.
    """

    protocol: int
    icmp_type: int | None
    in_port: str
    out_port: str
    original: Endpoints
    translated: Endpoints
    state: str
    firewall_rule_id: str | None
    dnat_rule_id: str | None
    snat_rule_id: str | None
    revision: int
    created_ns: int
    expires_ns: int
    packets: tuple[int, int]
    bytes: tuple[int, int]


@dataclass(frozen=True, slots=True)
class RuleCounters:
    """``hits``: sessions (or packets that made none) the rule decided; ``packets`` and ``bytes``: both directions."""

    hits: int = 0
    packets: int = 0
    bytes: int = 0


@dataclass(frozen=True, slots=True)
class Stats:
    """Packets by verdict and by reason (those that occurred); sessions: made so far, most at once, alive; the answers
    (ICMP errors, challenge ACKs, resets of stale connections) that ``options.icmpErrorRate`` kept back; datagrams that
    came in pieces: complete so far, given up for their time so far; and units of ``maxFragments`` held now."""

    verdicts: Mapping[Verdict, int]
    reasons: Mapping[Reason, int]
    sessions_created: int
    sessions_peak: int
    sessions_open: int
    answers_limited: int = 0
    datagrams_reassembled: int = 0
    datagrams_timed_out: int = 0
    fragments_held: int = 0


@dataclass(frozen=True, slots=True)
class LogEvent:
    """A rule with logging on decided: ``saw`` are the endpoints it judged, ``revision`` the configuration's number."""

    now_ns: int
    rule_id: str
    revision: int
    verdict: Verdict
    protocol: int
    saw: Endpoints
