"""Which TCP segments of a session are plausible: the sequence numbers that each side may send, followed from its SYN.

After Van Rooij, "Real Stateful TCP Packet Filtering in IP Filter", with RFC 5961's answers to what an attacker who sees
nothing would try.  Sequence numbers wrap at 2**32, so all comparisons are of differences.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum, auto
from typing import NamedTuple

from edge.reference_wire import ACK, FIN, RST, SYN, Packet, u16, u32

ORIGINATOR, RESPONDER = 0, 1

MAX_SCALE = 14  # RFC 7323 2.3
FIRST_FLIGHT = 65535
"""Bytes that the originator may send before anything is known of the responder's window."""
SLACK = 67035
"""How far an acknowledgement may stray: the largest window without scaling and a segment of Ethernet."""

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

    @property
    def behind_syn(self) -> int:
        """The sequence number of its first byte of data."""
        return (self.seq + bool(self.flags & SYN)) % 2**32


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
    STALE = auto()  # the answer to another SYN than the one that was sent


@dataclass(slots=True)
class Side:
    """One end.  ``low`` is the highest end of a segment that it has sent, ``high`` the highest that it may send.

    No window that it has advertised is larger than ``2**reach`` bytes.  ``edge_window`` is the field of the segment
    by which it set the other side's ``high``, so that what it acknowledged in it can be told.
    """

    seen: bool = False
    low: int = 0
    high: int = 0
    reach: int = 0
    edge_window: int = 1
    scale: int | None = None


class Windows:
    """Both ends of a session that began with a SYN.  Everywhere ``me`` is the side that sends."""

    def __init__(self, syn: Segment) -> None:
        self._sides = (Side(), Side())
        self._iss = syn.seq
        self._open(syn)

    # --- judging ---

    def judge(self, me: int, segment: Segment, *, finished: bool = False) -> Fit:
        """May this side, which has ``finished`` if it has sent FIN, send it?  Changes nothing."""
        if not self._sides[RESPONDER].seen:
            return self._judge_opening(segment) if me == ORIGINATOR else self._judge_first_answer(segment)
        if segment.flags & RST:
            return self._judge_reset(me, segment.seq, finished=finished)
        own, peer = self._sides[me], self._sides[1 - me]
        ahead = difference(segment.ack, peer.low)
        plausible = (
            difference(segment.end, own.high) <= 0
            and difference(segment.seq, own.low - (1 << peer.reach)) >= 0
            and (not segment.flags & ACK or -(SLACK << self._scale(me)) <= ahead <= SLACK)
        )
        return Fit.INSIDE if plausible else Fit.OUTSIDE

    def repeats_syn(self, me: int, segment: Segment) -> bool:
        """Is it a SYN with ACK like one that this side had sent, with nothing behind it?"""
        own, peer = self._sides[me], self._sides[1 - me]
        return own.seen and peer.seen and bool(segment.flags & ACK) and segment.end == own.low

    def _judge_opening(self, segment: Segment) -> Fit:
        """The originator alone: a SYN may be sent again, and even be another one."""
        own = self._sides[ORIGINATOR]
        if segment.flags & RST:
            return Fit.INSIDE if segment.seq in (own.low, (self._iss + 1) % 2**32) else Fit.OUTSIDE
        if is_plain_syn(segment):
            return Fit.INSIDE
        inside = difference(segment.seq, self._iss) >= 0 and difference(segment.end, own.high) <= 0
        return Fit.INSIDE if inside else Fit.OUTSIDE

    def _judge_first_answer(self, segment: Segment) -> Fit:
        """It acknowledges the SYN, and of the data that came with it as much as it likes (RFC 7413); or it is a SYN of
        its own (RFC 9293 3.5).  Another acknowledgement is of a connection that the originator knows nothing of."""
        if not segment.flags & ACK:
            return Fit.INSIDE if is_plain_syn(segment) else Fit.OUTSIDE
        sent = difference(self._sides[ORIGINATOR].low, self._iss)
        if 1 <= difference(segment.ack, self._iss) <= sent:
            return Fit.INSIDE
        return Fit.OUTSIDE if segment.flags & RST else Fit.STALE

    def _judge_reset(self, me: int, seq: int, *, finished: bool) -> Fit:
        """RFC 5961 3: good is the number that the receiver waits for, as far as can be told.

        That is behind all that was sent, or behind all that was acknowledged, if the rest was lost; a FIN may have been
        sent again and have been the first to arrive.
        """
        own = self._sides[me]
        acknowledged = self._acknowledged(1 - me)
        if seq in (own.low, acknowledged) or (finished and seq == (own.low - 1) % 2**32):
            return Fit.INSIDE
        near = difference(seq, acknowledged) >= 0 and difference(seq, own.high) <= 0
        return Fit.DOUBTFUL if near else Fit.OUTSIDE

    # --- taking note ---

    def advance(self, me: int, segment: Segment) -> None:
        """Take note of a segment that was inside; a reset teaches nothing."""
        own = self._sides[me]
        if segment.flags & RST:
            return
        if not self._sides[RESPONDER].seen:
            if me == RESPONDER:
                self._answer(segment)
            elif is_plain_syn(segment):
                self._open(segment)
            else:
                own.low = later(own.low, segment.end)
                if not segment.flags & SYN:
                    own.reach = max(own.reach, reach_of(segment.window))
            return
        own.low = later(own.low, segment.end)
        if not segment.flags & SYN:
            own.reach = max(own.reach, reach_of(segment.window << self._scale(me)))
        if segment.flags & ACK:
            self._allow(me, segment.ack, self._window_field(me, segment))

    def _open(self, syn: Segment) -> None:
        """The originator's SYN: the first one, the same again, perhaps without what it offered, or another one."""
        own = self._sides[ORIGINATOR]
        own.low = later(own.low, syn.end) if own.seen and syn.seq == self._iss else syn.end
        own.high = (own.low + FIRST_FLIGHT) % 2**32
        own.seen, own.reach, own.edge_window, own.scale = True, reach_of(syn.window), syn.window, syn.scale
        self._iss = syn.seq

    def _answer(self, segment: Segment) -> None:
        """The responder's first segment.  From here on it is known whether windows are scaled."""
        originator, responder = self._sides
        responder.seen, responder.low, responder.scale = True, segment.end, segment.scale
        responder.reach = reach_of(segment.window)
        acknowledged = segment.ack if segment.flags & ACK else self._iss + 1
        self._set_limit(RESPONDER, acknowledged, self._window_field(RESPONDER, segment))
        # A SYN is read as if it acknowledged the other side's SYN and no data.
        self._set_limit(ORIGINATOR, segment.behind_syn, in_units(originator.edge_window, self._scale(ORIGINATOR)))

    def _allow(self, me: int, ack: int, field: int) -> None:
        """This side acknowledges and advertises: that may let the other side send more, never less."""
        if difference(self._limit(me, ack, field), self._sides[1 - me].high) >= 0:
            self._set_limit(me, ack, field)

    def _set_limit(self, me: int, ack: int, field: int) -> None:
        self._sides[1 - me].high = self._limit(me, ack, field)
        self._sides[me].edge_window = field

    # --- what is known ---

    def challenge(self, me: int) -> ChallengeAck | None:
        """What the other end would ask this one; None while the edge does not know its numbers."""
        own, peer = self._sides[me], self._sides[1 - me]
        if not own.seen or not peer.seen:
            return None
        return ChallengeAck(peer.low, self._acknowledged(1 - me), peer.edge_window)

    def next_of(self, side: int) -> tuple[int, int] | None:
        """The sequence number behind all that a side has sent, and its window; None while it has sent nothing."""
        own = self._sides[side]
        return (own.low, own.edge_window) if own.seen else None

    def covers(self, me: int, seq: int) -> bool:
        """True for a segment that this side could have sent of late (RFC 5927 4.1)."""
        own, peer = self._sides[me], self._sides[1 - me]
        oldest = own.low - (1 << peer.reach) - SLACK if self._sides[RESPONDER].seen else self._iss
        return own.seen and difference(seq, oldest) >= 0 and difference(seq, own.high) <= 0

    def _acknowledged(self, side: int) -> int:
        """What a side acknowledged when it last set the limit of the other one."""
        return (self._sides[1 - side].high - self._bytes(side, self._sides[side].edge_window)) % 2**32

    def _limit(self, side: int, ack: int, field: int) -> int:
        """How far the other side may send after this side's acknowledgement."""
        return (ack + self._bytes(side, field)) % 2**32

    def _bytes(self, side: int, field: int) -> int:
        """A window of a side in bytes; a closed one still lets one in, to probe it."""
        return max(field << self._scale(side), 1)

    def _window_field(self, side: int, segment: Segment) -> int:
        """The window of a segment as it would be advertised behind the handshake: that of a SYN is never scaled
        (RFC 7323 2.2)."""
        return in_units(segment.window, self._scale(side)) if segment.flags & SYN else segment.window

    def _scale(self, side: int) -> int:
        """By how much a side's window is shifted: not at all unless both offered it."""
        scale, other = self._sides[side].scale, self._sides[1 - side].scale
        return 0 if scale is None or other is None else scale


def is_plain_syn(segment: Segment) -> bool:
    """SYN and nothing that would make it the answer to one or the end of something."""
    return segment.flags & (SYN | ACK | RST | FIN) == SYN


def in_units(window: int, scale: int) -> int:
    """A window in bytes in units of ``2**scale``, rounded up, at least one."""
    return max(-(-window // (1 << scale)), 1)


def reach_of(window: int) -> int:
    """The smallest r for which a window of so many bytes, at least one, is no larger than ``2**r``."""
    return (max(window, 1) - 1).bit_length()


def later(one: int, other: int) -> int:
    """The one of two sequence numbers that is further on; of two that are half the circle apart, the first."""
    return other if difference(other, one) > 0 else one


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
