"""What a session has been, as its packets tell."""

from __future__ import annotations

from dataclasses import dataclass, field

from tests.twin.wire import ACK, RST, SYN, Datagram, End

Flow = tuple[int, frozenset[End]]


@dataclass(slots=True)
class Heard:
    """What one end of a TCP session got through: the number behind the furthest byte, the flags of the first segment,
    and of all, its last window, unscaled, the furthest number that this leaves room for, the number of its last SYN,
    and the number behind the first segment."""

    next: int
    first: int
    flags: set[int] = field(default_factory=set)
    window: int = 0
    room: int | None = None
    syn: int | None = None
    opened: int = 0


@dataclass(slots=True)
class Past:
    """A session as its packets that the engine forwarded tell of it: the first one's flags and source, all flows that
    it goes by, its ends, each by the names that it has on both sides, and its ICMP codes, that of the first packet
    apart.  ``unasked``: an ICMP reply began it.  ``cut_off``: both boxes have sent a reset themselves, which Linux
    takes for one of the session.  ``doubted``: a reset was refused, or died.  ``parted``: the two know different
    numbers, because one of its packets died by its TTL, size or extension headers, was a SYN or reset that was refused,
    was a second SYN behind the answer or with a number before that of the first, left the window, taken unscaled, or
    was a further one of the responder before the caller had acknowledged anything."""

    begins: int = 0
    origin: frozenset[End] = frozenset()
    flows: set[Flow] = field(default_factory=set)
    ends: dict[End, Heard] = field(default_factory=dict)
    codes: set[int] = field(default_factory=set)
    code: int | None = None
    unasked: bool = False
    cut_off: bool = False
    doubted: bool = False
    parted: bool = False

    @property
    def reset(self) -> bool:
        """An end has reset it, or the twin in the name of one."""
        return self.cut_off or any(flags & RST for end in self.ends.values() for flags in end.flags)

    @property
    def shaken(self) -> bool:
        """The handshake was SYN, SYN with ACK, ACK."""
        return self.answered and any(flags & ACK for end in self.origin for flags in self.ends[end].flags)

    @property
    def answered(self) -> bool:
        """A SYN was answered by SYN with ACK."""
        return self.begins == SYN and any(end.first == SYN | ACK for end in self.ends.values())

    def note(self, packet: Datagram, here: Datagram) -> None:
        """A TCP segment as it came and as it left."""
        peer = self.ends.get(packet.dst)
        if peer is not None and peer.room is not None and 0 < (packet.behind - peer.room) % 2**32 < 2**31:
            self.parted = True
        own = self.ends.get(packet.src)
        if packet.flags & SYN and own is not None:
            self.parted |= peer is not None or 0 < (own.next - packet.behind) % 2**32 < 2**31
        if own is not None and packet.src not in self.origin and self.answered and not self.shaken:
            self.parted |= 0 < (packet.seq - own.opened) % 2**32 < 2**31
        if peer is not None and peer.room is None and packet.flags & SYN:
            peer.room = packet.seq + 1 + max(1, peer.window)
        for end in {packet.src, here.src}:
            heard = self.ends.setdefault(
                end, Heard(packet.behind, packet.flags, window=packet.window, opened=packet.behind)
            )
            heard.flags.add(packet.flags)
            if packet.flags & SYN:
                heard.syn = packet.seq
            heard.window = packet.window if heard.room else min(packet.window, heard.window)
            if packet.flags & ACK:
                heard.room = packet.ack + max(1, packet.window)
            anew = bool(packet.flags & SYN) and peer is None
            if not packet.flags & RST and (anew or (packet.behind - heard.next) % 2**32 < 2**31):
                heard.next = packet.behind
