"""What holds whatever comes in: of one outcome, and of an edge after any number of them."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

from edge.reference_wire import Kind, Packet, parse
from edge.verdicts import Outcome, Reason, Verdict
from tests.model.frames import checksum

if TYPE_CHECKING:  # what is only about texts goes without native code
    from edge.runtime import Edge

_RULED = frozenset({Verdict.ALLOW, Verdict.DROP, Verdict.REJECT, Verdict.LOCAL})
_ALLOWED = frozenset({Verdict.ALLOW})
_DROPPED = frozenset({Verdict.DROP})

PAIRS: dict[Reason, frozenset[Verdict]] = dict.fromkeys(Reason, _DROPPED) | {
    Reason.FW_RULE: _RULED - {Verdict.LOCAL},
    Reason.FW_DEFAULT: _RULED - {Verdict.LOCAL},
    Reason.FW_SYSTEM: _RULED - {Verdict.LOCAL},
    Reason.NAT_BYPASS: _ALLOWED,
    Reason.EAST_WEST: _ALLOWED,
    Reason.ALG: _ALLOWED,
    Reason.SESSION: _ALLOWED,
    Reason.RELATED: _ALLOWED,
    Reason.LOCAL_SERVICE: frozenset({Verdict.LOCAL}),
    Reason.FRAGMENT_HELD: frozenset({Verdict.HELD}),
}  # fmt: skip
"""Which verdicts a reason goes with: the table of ``docs/pipeline.md``."""

PAIR_TABLE = bytes(verdict in PAIRS[reason] for verdict in Verdict for reason in Reason)


class ViolationError(AssertionError):
    """Something that must hold does not."""


def expect(holds: bool, message: str) -> None:
    """Raises ViolationError with the message unless ``holds``."""
    if not holds:
        raise ViolationError(message)


def check_outcome(frame: bytes, outcome: Outcome) -> None:
    """Raises ViolationError unless one outcome makes sense by itself."""
    expect(outcome.verdict in PAIRS[outcome.reason], f"{outcome.verdict.name} does not go with {outcome.reason.name}")
    expect(len(outcome.outputs) <= 1, f"{len(outcome.outputs)} frames leave for one that came in")
    expect(outcome.verdict is not Verdict.ALLOW or len(outcome.outputs) == 1, "allowed, and nothing leaves")
    for output in outcome.outputs:
        left = parse(output.frame)
        if not isinstance(left, Packet):
            raise ViolationError(f"what leaves cannot be read: {left}")
        for piece in (output.frame, *output.fragments):
            check_lengths(piece)
        came = parse(frame)
        # The hops of a datagram are those of its first piece, which came before.
        if outcome.verdict is Verdict.ALLOW and not (isinstance(came, Packet) and came.kind is Kind.FRAGMENT):
            expect(isinstance(came, Packet) and came.ttl == left.ttl + 1, "forwarded without taking one hop")


def check_lengths(frame: bytes) -> None:
    """Raises ViolationError unless an untagged frame is as long as its IP header says, with a right checksum."""
    ip = frame[14:]
    if ip[0] >> 4 == 4:
        expect(struct.unpack_from("!H", ip, 2)[0] == len(ip), "what leaves has another length than it says")
        expect(checksum(ip[: (ip[0] & 15) * 4]) == 0, "the IPv4 header that leaves has a wrong checksum")
    else:
        expect(struct.unpack_from("!H", ip, 4)[0] + 40 == len(ip), "what leaves has another length than it says")


def check_edge(edge: Edge, packets: int, most_sessions: int) -> None:
    """Raises ViolationError unless an edge that took ``packets`` has counters that add up and no more sessions than the
    configurations so far allow."""
    stats = edge.stats()
    expect(sum(stats.verdicts.values()) == packets, f"{packets} packets, but verdicts {stats.verdicts}")
    expect(sum(stats.reasons.values()) == packets, f"{packets} packets, but reasons {stats.reasons}")
    expect(stats.sessions_open == len(edge.sessions()), "the number of open sessions is not that of the list")
    expect(stats.sessions_open <= stats.sessions_peak <= stats.sessions_created, f"sessions do not add up: {stats}")
    expect(stats.sessions_open <= most_sessions, f"{stats.sessions_open} sessions, {most_sessions} are allowed")
