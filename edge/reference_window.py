"""Which TCP segments of a session are plausible: the sequence numbers that each side may send, followed from its SYN.

Van Rooij, "Real Stateful TCP Packet Filtering in IP Filter", as PF does it, with RFC 5961's answers to what an attacker
who sees nothing would try.  Sequence numbers wrap at 2**32, so all comparisons are of differences.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum, auto
from typing import NamedTuple

from edge.reference_wire import ACK, FIN, RST, SYN, Packet, u16, u32

MAX_SCALE = 14  # RFC 7323 2.3
FIRST_FLIGHT = 65535
"""Bytes that the originator may send before anything is known of the responder's window."""
SLACK = 66035
"""How far an acknowledgement may stray: the largest window without scaling and a little more."""

END_OF_OPTIONS, NO_OPERATION, WINDOW_SCALE = 0, 1, 3


class Segment(NamedTuple):
    """The numbers of a TCP segment.  ``length`` is the payload's; ``scale`` is what a SYN offers, None if nothing."""

    seq: int
    ack: int
    flags: int
    window: int
    length: int
    scale: int | None

    @property
    def end(self) -> int:
        """The sequence number behind it; SYN and FIN have one each."""
        return (self.seq + self.length + bool(self.flags & SYN) + bool(self.flags & FIN)) % 2**32


@dataclass(frozen=True, slots=True)
class ChallengeAck:
    """Numbers of the ACK that asks the sender whether it meant that (RFC 5961)."""

    seq: int
    ack: int
    window: int


class Fit(Enum):
    """What becomes of a segment."""

    INSIDE = auto()
    OUTSIDE = auto()
    DOUBTFUL = auto()  # a reset that is only nearly right


@dataclass(slots=True)
class Side:
    """One end.  ``seqlo`` is the highest end of a segment that it has sent, ``seqhi`` the highest that it may send;
    ``max_win`` the largest window that it has advertised, as on the wire."""

    seen: bool = False
    seqlo: int = 0
    seqhi: int = 0
    max_win: int = 1
    scale: int | None = None


class Windows:
    """Both ends of a session that began with a SYN."""

    def __init__(self, syn: Segment) -> None:
        seqhi = (syn.end + FIRST_FLIGHT) % 2**32
        self._sides = (Side(True, syn.end, seqhi, max(syn.window, 1), syn.scale), Side())

    def judge(self, me: int, segment: Segment) -> Fit:
        """May this side send it?  Changes nothing."""
        own, peer = self._sides[me], self._sides[1 - me]
        if not own.seen:
            return Fit.INSIDE if answers_syn(segment, peer) else Fit.OUTSIDE
        if segment.flags & RST and segment.seq != own.seqlo:
            ahead = difference(segment.seq, own.seqlo) > 0 and difference(segment.seq, own.seqhi) <= 0
            return Fit.DOUBTFUL if ahead else Fit.OUTSIDE
        plausible = (
            difference(segment.end, own.seqhi) <= 0
            and difference(segment.seq, own.seqlo - self._reach(1 - me)) >= 0
            and self._acknowledges_plausibly(me, segment)
        )
        return Fit.INSIDE if plausible else Fit.OUTSIDE

    def advance(self, me: int, segment: Segment) -> None:
        """Take note of a segment that was inside; a reset teaches nothing."""
        own, peer = self._sides[me], self._sides[1 - me]
        if segment.flags & RST:
            return
        if not own.seen:
            own.seen, own.seqlo, own.scale, own.max_win = True, segment.end, segment.scale, max(segment.window, 1)
            own.seqhi = (segment.end + max(peer.max_win, 1)) % 2**32
            acknowledged = segment.ack if segment.flags & ACK else peer.seqlo
            peer.seqhi = (acknowledged + max(segment.window, 1)) % 2**32
            return
        if not segment.flags & SYN:
            own.max_win = max(own.max_win, segment.window)
        if difference(segment.end, own.seqlo) > 0:
            own.seqlo = segment.end
        if segment.flags & ACK:
            # The window of a SYN is never scaled (RFC 7323 2.2).
            window = segment.window if segment.flags & SYN else segment.window << self._scale(me)
            seqhi = (segment.ack + max(window, 1)) % 2**32
            if difference(seqhi, peer.seqhi) > 0:
                peer.seqhi = seqhi

    def challenge(self, me: int) -> ChallengeAck | None:
        """What the other end would ask this one; None while the edge does not know its numbers."""
        own, peer = self._sides[me], self._sides[1 - me]
        return ChallengeAck(peer.seqlo, own.seqlo, peer.max_win) if own.seen and peer.seen else None

    def covers(self, me: int, seq: int) -> bool:
        """True for a segment that this side could have sent of late (RFC 5927 4.1)."""
        own = self._sides[me]
        oldest = own.seqlo - self._reach(1 - me) - SLACK
        return own.seen and difference(seq, oldest) >= 0 and difference(seq, own.seqhi) <= 0

    def _scale(self, side: int) -> int:
        """By how much a side's window is shifted: not at all unless both offered it."""
        scale, other = self._sides[side].scale, self._sides[1 - side].scale
        return 0 if scale is None or other is None else scale

    def _reach(self, side: int) -> int:
        """The largest window of a side in bytes."""
        return self._sides[side].max_win << self._scale(side)

    def _acknowledges_plausibly(self, me: int, segment: Segment) -> bool:
        peer = self._sides[1 - me]
        if not segment.flags & ACK or not peer.seen:
            return True
        ahead, behind = difference(segment.ack, peer.seqlo), difference(peer.seqlo, segment.ack)
        return ahead <= SLACK and behind <= SLACK << self._scale(me)


def answers_syn(segment: Segment, originator: Side) -> bool:
    """A responder's first segment acknowledges exactly what was sent, or is a SYN of its own (RFC 9293 3.10.7.3)."""
    if segment.flags & (SYN | ACK | RST) == SYN:
        return True
    return bool(segment.flags & ACK) and segment.ack == originator.seqlo


def difference(one: int, other: int) -> int:
    """``one - other`` on the circle of sequence numbers, from -2**31 up to 2**31 - 1."""
    return (one - other + 2**31) % 2**32 - 2**31


def segment_of(packet: Packet) -> Segment:
    """The numbers of a TCP packet."""
    ip, at = packet.ip, packet.l4
    header = (ip[at + 12] >> 4) * 4
    scale = offered_scale(ip[at + 20 : at + header]) if packet.tcp_flags & SYN else None
    return Segment(
        seq=u32(ip, at + 4),
        ack=u32(ip, at + 8),
        flags=packet.tcp_flags,
        window=u16(ip, at + 14),
        length=len(ip) - at - header,
        scale=scale,
    )


def offered_scale(options: bytes) -> int | None:
    """The shift count in a SYN's options, None without one."""
    shifts = (value[0] for kind, value in each_option(options) if kind == WINDOW_SCALE and len(value) == 1)
    shift = next(shifts, None)
    return None if shift is None else min(shift, MAX_SCALE)


def each_option(options: bytes) -> Iterator[tuple[int, bytes]]:
    """Kind and value of TCP options up to their end, or to where they stop making sense."""
    at = 0
    while at < len(options) and options[at] != END_OF_OPTIONS:
        if options[at] == NO_OPERATION:
            at += 1
            continue
        if at + 2 > len(options) or options[at + 1] < 2 or at + options[at + 1] > len(options):
            return
        yield options[at], options[at + 2 : at + options[at + 1]]
        at += options[at + 1]
