"""The sessions of an edge as a trace meets them: which one a packet belongs to, and what its ends would send next."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

from edge.addresses import AddressRange, IPAddress
from edge.packets.conversation import Direction, Known
from edge.packets.decode import decode_frame
from edge.packets.names import TCP, UDP
from edge.packets.show import format_endpoints, format_frame
from edge.state import NextSegment, SessionInfo, SessionMatch, SessionsPage
from edge.verdicts import Endpoints


class EdgeWithSessions(Protocol):
    """What is asked here."""

    def sessions_page(self, *, after: int = 0, limit: int = 1000, match: SessionMatch | None = None) -> SessionsPage:
        """Some of the live sessions that match."""


def session_of(edge: EdgeWithSessions, port: str, frame: bytes) -> SessionInfo | None:
    """The live session whose next packet, in one direction or the other, is like the frame that entered by ``port``."""
    headers = decode_frame(frame)
    if headers is None:
        return None
    ports: tuple[int, ...] = ()
    if headers.protocol in (TCP, UDP) and len(headers.rest) >= 4:
        ports = int.from_bytes(headers.rest[0:2], "big"), int.from_bytes(headers.rest[2:4], "big")
    shown = format_frame(frame)
    for info in sessions_with(edge, headers.protocol, headers.src, ports):
        forth = info.in_port == port and format_endpoints(frame, info.original) == shown
        back = info.out_port == port and format_endpoints(frame, answered(info)) == shown
        if forth or back:
            return info
    return None


def known_of(edge: EdgeWithSessions, direction: Direction) -> list[Known]:
    """What is known of the TCP session whose packets one end sends, or receives, in a direction."""
    src, sport, dst, dport = direction
    wanted = Endpoints(src, sport, dst, dport)
    for info in sessions_with(edge, TCP, src, (sport, dport)):
        views = (info.original, info.translated)
        if wanted in views or wanted in map(reverse, views):
            return list(known_ends(info))
    return []


def sessions_with(
    edge: EdgeWithSessions, protocol: int, address: IPAddress, ports: tuple[int, ...]
) -> Iterator[SessionInfo]:
    """Live sessions of a protocol and an address, and of the larger one of its ports, if it has any: few have that in
    common, while many share the port of a service."""
    match = SessionMatch(
        protocol=protocol, address=AddressRange(address, address), port_number=max(ports, default=None)
    )
    after: int | None = 0
    while after is not None:
        page = edge.sessions_page(after=after, match=match)
        yield from page.sessions
        after = page.next


def known_ends(info: SessionInfo) -> Iterator[Known]:
    """What both ends of a session know, each by the addresses that it sees."""
    originator, responder = info.next_segments
    inside, outside = info.original, info.translated
    yield from known_segment(inside, outside, originator)
    yield from known_segment(reverse(outside), reverse(inside), responder)


def known_segment(sent: Endpoints, received: Endpoints, segment: NextSegment | None) -> Iterator[Known]:
    """What is known of one direction, whose packets are sent with some endpoints and received with others."""
    if segment is not None:
        yield Known((sent.src, sent.sport, sent.dst, sent.dport), segment.seq, segment.window)
        yield Known((received.src, received.sport, received.dst, received.dport), segment.shown_seq, None)


def reverse(ends: Endpoints) -> Endpoints:
    """Those of an answer."""
    return Endpoints(ends.dst, ends.dport, ends.src, ends.sport)


def answered(info: SessionInfo) -> Endpoints:
    """The endpoints of a reply to the session's translated packets; an ICMP identifier stays where it is shown."""
    seen = info.translated
    if info.icmp_type is not None:
        return Endpoints(seen.dst, seen.sport, seen.src, seen.dport)
    return reverse(seen)
