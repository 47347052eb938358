"""How the reference ends a packet's way: as what it goes on, or what the edge sends back, and then the bytes of it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, auto

from edge.reference_cut import cut_ipv4, cut_ipv6
from edge.reference_fragments import last_next_header
from edge.reference_quote import rewrite_error
from edge.reference_trip import Bucket, Trip
from edge.reference_window import ChallengeAck
from edge.reference_wire import (
    ACK,
    RST,
    Flow,
    Kind,
    destination,
    echo_reply,
    ethernet,
    icmp_error,
    rewrite,
    tcp_answer,
    tcp_reset,
)
from edge.routing.reference import Port, PortKind, is_unspecified
from edge.verdicts import Fragmentation, Output, Reason, Stage, StepResult, Verdict


class Answer(Enum):
    """What the edge sends back instead of forwarding."""

    RESET = auto()
    STALE_RESET = auto()  # in the name of an originator whose SYN was answered with numbers of another connection
    ECHO_REPLY = auto()
    NET_UNREACHABLE = auto()
    UNKNOWN_PROTOCOL = auto()
    PORT_UNREACHABLE = auto()
    PROHIBITED = auto()
    TIME_EXCEEDED = auto()
    TOO_BIG = auto()


# Type and code for (IPv4, IPv6): RFC 792, RFC 1812 5.2.7, RFC 4443, RFC 8200 4.  PROHIBITED's IPv4 code is an option.
ICMP_ERRORS = {
    Answer.NET_UNREACHABLE: ((3, 0), (1, 0)),
    Answer.UNKNOWN_PROTOCOL: ((3, 2), (4, 1)),
    Answer.PORT_UNREACHABLE: ((3, 3), (1, 4)),
    Answer.PROHIBITED: ((3, None), (1, 1)),
    Answer.TIME_EXCEEDED: ((11, 0), (3, 0)),
    Answer.TOO_BIG: ((3, 4), (2, 0)),
}


@dataclass(frozen=True, slots=True)
class Ruling:
    """The end of a packet's way through the stages: what is sent back, or as what it goes on and by which port;
    ``quote`` is the flow that a forwarded ICMP error speaks of then, None for as before."""

    verdict: Verdict
    reason: Reason
    answer: Answer | ChallengeAck | None = None
    forward: tuple[Port, Flow] | None = None
    quote: Flow | None = None


def outputs(trip: Trip, ruling: Ruling) -> tuple[Output, ...]:
    """The frames of a ruling: the packet itself, rewritten and one hop older, or an answer by the way it came."""
    if ruling.forward is not None:
        port, flow = ruling.forward
        ip: bytes | None = forwarded(trip, flow, ruling.quote)
    else:
        port, ip = trip.entered, None if ruling.answer is None else answer(trip, ruling.answer)
    if ip is None:
        return ()
    # The provider's router sends back in what an uplink's own addresses are called by.
    hairpin = port.kind is PortKind.UPLINK and trip.policy.routing.owner(destination(ip)) is not None
    fragmentation = leaves_like(trip, ruling)
    pieces = cut(trip, ruling, ip, fragmentation)
    frames = tuple(ethernet(piece, port.number) for piece in pieces)
    return (Output(port.name, ethernet(ip, port.number), hairpin, frames, fragmentation),)


def leaves_like(trip: Trip, ruling: Ruling) -> Fragmentation | None:
    """How large the pieces of an output may be if the packet came in pieces: of itself, or of an echo reply to it."""
    came, echoed = trip.fragmentation, ruling.answer is Answer.ECHO_REPLY
    if came is None or not (ruling.forward or echoed):
        return None
    at = 40 if echoed and trip.packet.version == 6 else came.at  # an answer has no extension headers
    return Fragmentation(trip.largest_output, came.identification, at)


def cut(trip: Trip, ruling: Ruling, ip: bytes, fragmentation: Fragmentation | None) -> list[bytes]:
    """The pieces of an output; none if it leaves whole.  An answer to what came whole is never cut."""
    if fragmentation is None and ruling.forward is None:
        return []
    if len(ip) <= trip.largest_output:
        return []
    if fragmentation is not None and trip.packet.version == 6:
        return cut_ipv6(ip, fragmentation)
    return cut_ipv4(ip, trip.largest_output)


def forwarded(trip: Trip, flow: Flow, quote: Flow | None) -> bytes:
    """The IP packet as it goes on."""
    if quote is None or trip.quote is None:
        return rewrite(trip.packet, flow, hops=1)
    return rewrite_error(trip.packet, flow, trip.quote, quote)


def answer(trip: Trip, kind: Answer | ChallengeAck) -> bytes | None:
    """The IP packet of an answer, None where none may be given (RFC 1122 3.2.2, RFC 4443 2.4)."""
    packet, routing = trip.packet, trip.policy.routing
    src, dst = packet.flow.src, packet.flow.dst
    if packet.kind is Kind.ICMP_ERROR or is_unspecified(src) or routing.is_multicast(src) or routing.is_multicast(dst):
        return None
    if isinstance(kind, ChallengeAck):
        return tcp_answer(packet, kind.seq, kind.ack, ACK, kind.window) if may_send(trip, trip.state.segments) else None
    if kind is Answer.ECHO_REPLY:
        return echo_reply(packet)
    if kind is Answer.RESET:
        return None if packet.tcp_flags & RST else tcp_reset(packet)
    if kind is Answer.STALE_RESET:
        return tcp_reset(packet) if may_send(trip, trip.state.segments) else None
    source = trip.entered.answers_from(src)
    if source is None:
        return None
    icmp_type, code = ICMP_ERRORS[kind][0 if packet.version == 4 else 1]
    if not may_send(trip, trip.state.errors):
        return None
    chosen = trip.policy.options.reject_code if code is None else code
    return icmp_error(packet, source, icmp_type, chosen, second_word(trip, kind))


def second_word(trip: Trip, kind: Answer) -> int:
    """What an error says behind its checksum: an MTU, or where a next header that nobody knows is announced."""
    if kind is Answer.TOO_BIG:
        return trip.policy.options.mtu
    if kind is Answer.UNKNOWN_PROTOCOL and trip.packet.version == 6:
        return last_next_header(trip.packet.ip[: trip.packet.l4])
    return 0


def may_send(trip: Trip, bucket: Bucket) -> bool:
    """False, and so noted, for an answer of which there were too many of late."""
    if trip.state.may_send(bucket, trip.policy.options.icmp_error_rate):
        return True
    trip.note(Stage.LOCAL, StepResult.LIMITED)
    return False
