"""What a running edge can be asked for: snapshots of sessions, counters and log, as plain values.

The readable reference and the native engine return the same classes, so that tests compare them with ``==``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from typing import NamedTuple

from edge.addresses import AddressRange, IPNetwork
from edge.packets.show import format_frame
from edge.verdicts import Endpoints, Reason, Stage, Step, Verdict

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


class NextSegment(NamedTuple):
    """What one end of a TCP session would send next: the number behind all that it has sent, as it counts itself
    (``seq``) and as the other end is told (``shown_seq``: an ALG may have changed lengths), with the ``window``, as it
    is on the wire, by which it last said how much it takes."""

    seq: int
    shown_seq: int
    window: int


@dataclass(frozen=True, slots=True)
class SessionInfo:
    """One session.

    ``id`` is its own for good: the first session of an edge is 1, every other one more than that before it.
    ``original`` is its first packet as it entered by ``in_port``, ``translated`` the same packet as it left by
    ``out_port``.  ``packets`` and ``bytes`` (of IP) are pairs: the original direction, the replies.  Rule ids are
    those that admitted it (firewall: None when a NAT rule bypassed it); ``icmp_type`` is the type of the ICMP message
    that made it, None for other protocols.  ``next_segments`` are those of the originator and of the responder; None
    where sequence numbers are not followed: before the first packet of a side, without TCP, where the SYN was not seen,
    and in events.
    """

    id: int
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
    next_segments: tuple[NextSegment | None, NextSegment | None] = (None, None)


@dataclass(frozen=True, slots=True)
class SessionMatch:
    """Which sessions are meant: all that is given must hold.

    ``address`` has to contain, and ``port_number`` (of TCP or UDP) be that of, either end before or behind NAT.  By
    ``port`` it entered or left; ``rule_id`` is a firewall or NAT rule that it came by; it was admitted, or last judged
    again, by a revision before ``before_revision``.
    """

    protocol: int | None = None
    address: IPNetwork | AddressRange | None = None
    port_number: int | None = None
    port: str | None = None
    rule_id: str | None = None
    before_revision: int | None = None


@dataclass(frozen=True, slots=True)
class SessionsPage:
    """Some sessions; ``next`` is where the following page begins, None where there is none.  A page may be short, or
    empty, and yet have a successor."""

    sessions: Sequence[SessionInfo]
    next: int | None


@dataclass(frozen=True, slots=True)
class RuleCounters:
    """``hits``: sessions (or packets that made none) the rule decided; ``packets`` and ``bytes``: both directions."""

    hits: int = 0
    packets: int = 0
    bytes: int = 0


@dataclass(frozen=True, slots=True)
class PortCounters:
    """What entered the edge by a port, and what left it: packets, fragments counted one by one, and bytes of IP (of a
    frame that carries no readable packet, all behind the Ethernet header)."""

    received_packets: int = 0
    received_bytes: int = 0
    sent_packets: int = 0
    sent_bytes: int = 0


@dataclass(frozen=True, slots=True)
class LinkCounters:
    """Of a port and the link behind it, around what the pipeline counts: ``drops`` are the frames that came or were to
    leave and did not, by LINK_DROPS; ``address_conflicts`` is how often another station claimed an address of the
    edge's."""

    drops: Mapping[str, int] = field(default_factory=dict)
    address_conflicts: int = 0


LINK_DROPS = (
    "DEVICE_RECEIVE",
    "DEVICE_SEND",
    "INVALID",
    "LIMITED",
    "OTHER_STATION",
    "OTHER_VLAN",
    "LOOPED",
    "LINK_BROADCAST",
    "HELD_DROPPED",
    "UNREACHABLE",
    "NO_NEXT_HOP",
    "TABLE_FULL",
    "OUTBOX_FULL",
    "TOO_BIG",
)
"""Why a frame was lost at a port: two of the device, then some of :class:`edge.routing.neighbour_table.LinkCount`."""


@dataclass(frozen=True, slots=True)
class Stats:
    """Packets by verdict and by reason, and those dropped or rejected by stage and reason (those that occurred);
    sessions: made so far, most at once, alive, of those in their handshake, and ``maxSessions``; the answers (ICMP
    errors, challenge ACKs, resets of stale connections) that ``options.icmpErrorRate`` kept back; datagrams that came
    in pieces: complete so far, given up for their time so far; units of ``maxFragments`` held now; the traffic of every
    port; and for every external address of an SNAT rule the sessions that hold it and the ports that one remote
    endpoint can be given at most."""

    verdicts: Mapping[Verdict, int]
    reasons: Mapping[Reason, int]
    drops: Mapping[tuple[Stage, Reason], int]
    sessions_created: int
    sessions_peak: int
    sessions_open: int
    half_open: int
    sessions_limit: int
    answers_limited: int = 0
    datagrams_reassembled: int = 0
    datagrams_timed_out: int = 0
    fragments_held: int = 0
    ports: Mapping[str, PortCounters] = field(default_factory=dict)
    nat_addresses: Mapping[str, tuple[int, int]] = field(default_factory=dict)


class SessionEndCause(IntEnum):
    """Why a session ended."""

    EXPIRED = 1  # its timer ran out, also after an orderly close
    REUSED = 2  # a new connection took its addresses and ports
    CONFIG = 3  # a new configuration does not admit it, or has no place for it
    DELETED = 4  # somebody deleted it


@dataclass(frozen=True, slots=True)
class SessionStarted:
    """A session began."""

    now_ns: int
    session: SessionInfo


@dataclass(frozen=True, slots=True)
class SessionEnded:
    """A session ended; ``session`` is what it was last."""

    now_ns: int
    session: SessionInfo
    cause: SessionEndCause


@dataclass(frozen=True, slots=True)
class PacketLogged:
    """A rule with logging on decided about a packet.

    ``head`` is how the packet entered, the first bytes of IP; ``saw`` are the endpoints that the rule judged, ``step``
    what a trace says of that, ``revision`` the configuration's number.
    """

    now_ns: int
    in_port: str
    head: bytes
    protocol: int
    verdict: Verdict
    reason: Reason
    revision: int
    saw: Endpoints
    step: Step

    @property
    def rule_id(self) -> str | None:
        """The rule."""
        return self.step.rule_id

    @property
    def packet(self) -> str:
        """The packet in words."""
        ethertype = b"\x86\xdd" if self.head[0] >> 4 == 6 else b"\x08\x00"
        return format_frame(bytes(12) + ethertype + self.head)


@dataclass(frozen=True, slots=True)
class LimitReached:
    """A limit is reached, or there is room again: a tenth is free.

    ``limit`` is the option's name; snatPortRange means that ``address`` had no port left for some remote endpoint, and
    the tenth is one of the sessions that it had then.
    """

    now_ns: int
    limit: str
    address: str | None
    reached: bool


RuntimeEvent = SessionStarted | SessionEnded | PacketLogged | LimitReached
LIMIT_NAMES = ("maxSessions", "maxHalfOpen", "maxFragments", "snatPortRange")
"""In the order of ``native/events.pxd``."""
