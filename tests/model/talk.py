"""TCP conversations whose ends know what they are doing, most of the time: numbers, windows and scales that fit what
went through the edge, and now and then a number at the very limit of what may pass, just past it, or anywhere."""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from random import Random

from tests.model.frames import Parts, tcp
from tests.model.lines import line

FIN, SYN, RST, PSH, ACK, URG = 1, 2, 4, 8, 16, 32
OPENINGS = (SYN,) * 16 + (SYN | URG, SYN | ACK, ACK, PSH | ACK, FIN | ACK, RST, SYN | FIN, 0)
ODD = (0, FIN, PSH, SYN | FIN, SYN | RST, FIN | RST, SYN | FIN | ACK, SYN | ACK | RST, URG)
PLAIN_SCALES = (
    b"\x03\x03\x00\x01", b"\x01\x03\x03\x02", b"\x02\x04\x05\xb4\x01\x03\x03\x07", b"\x03\x03\x0e\x00",
)  # fmt: skip
SCALE_OPTIONS = (
    *PLAIN_SCALES, b"", b"\x02\x04\x05\xb4",
    b"\x03\x03\x0f\x00", b"\x03\x03\xff\x00", b"\x03\x02\x03\x03\x05\x00\x00\x00",
    b"\x03\x04\x03\x03\x03\x03\x04\x00", b"\x00\x03\x03\x07", b"\x03\x03\x03\x03\x03\x03\x09\x00", b"\x01\x01\x01\x03",
    b"\x05\x00\x03\x03\x07\x00\x00\x00", b"\x08\x40\x03\x03\x07\x00\x00\x00", b"\x03\x01\x03\x03\x07\x00\x00\x00",
)  # fmt: skip
WINDOWS = (0, 1, 2, 100, 8192, 64240, 65535)
STRAY = 67035
"""How far an acknowledgement may stray from what was sent."""

Address = tuple[bytes, int]


def scale_in(options: bytes) -> int | None:
    """A guess at the scale that a receiver reads, for numbers near the limit; nobody judges by it."""
    at = options.find(b"\x03\x03")
    return min(options[at + 2], 14) if 0 <= at < len(options) - 2 else None


@dataclass(slots=True)
class End:
    """One end: where it is, whom it talks to, what it sent and may send.  ``limit`` is what the other end can take;
    ``acked`` is what this one had acknowledged when it last set the other's limit, ``window`` the most bytes that it
    has advertised and ``offered`` the window in its SYN.  ``seen`` is what the other end has seen, in the numbers that
    reached it; ``said`` is the last line of FTP."""

    port: str
    own: Address
    far: Address
    first: int
    next: int
    limit: int
    acked: int = 0
    window: int = 1
    offered: int = 1
    scale: int | None = None
    heard: bool = False
    finished: bool = False
    seen: int = 0
    said: bytes = b""


@dataclass(frozen=True, slots=True)
class Said:
    """A segment that an end sent, to be noted when it got through."""

    end: int
    seq: int
    ack: int
    flags: int
    window: int
    length: int
    options: bytes
    text: bytes = b""


@dataclass(slots=True)
class Talk:
    """Two ends; the second is known once the first segment left the edge.  ``strangers``: addresses that one may name
    in place of its own.  ``calm``: it lasts, and is about data connections of FTP."""

    random: Random
    ends: list[End] = field(default_factory=list)
    strangers: list[bytes] = field(default_factory=list)
    calm: bool = False

    @classmethod
    def begin(cls, random: Random, port: str, own: Address, far: Address) -> Talk:
        """The first end alone."""
        first = random.choice((0, 0xFFFFFFFF, 0xFFFFFF00, 0x7FFFFFFF, random.getrandbits(32)))
        return cls(random, [End(port, own, far, first, first, (first + 65536) % 2**32, seen=first)])

    def joined(self, port: str, own: Address, far: Address) -> None:
        """The other end has been reached: this is how it sees itself and the first one."""
        first = self.random.choice((0, 0xFFFFFFF0, 0x80000000, self.random.getrandbits(32)))
        self.ends.append(End(port, own, far, first, first, first, seen=first))

    @property
    def over(self) -> bool:
        """Nothing more to say, apart from nonsense."""
        return len(self.ends) == 2 and all(end.finished for end in self.ends)

    @property
    def opening(self) -> bool:
        """The second end has not said anything yet."""
        return len(self.ends) == 1 or not self.ends[1].heard

    def edges(self) -> list[int]:
        """Numbers at which what an error may quote begins and ends."""
        found = [end.limit for end in self.ends]
        if self.opening:
            return [*found, self.ends[0].first]
        return [*found, *(end.next - reach_of(self.ends[1 - number]) - STRAY for number, end in enumerate(self.ends))]

    def speak(self) -> tuple[str, Parts, Said]:
        """What one end says next, and on which port of the edge that arrives."""
        random = self.random
        number = 0 if len(self.ends) == 1 else random.randrange(2)
        if len(self.ends) == 2 and self.opening and random.random() < 0.5:
            number = 1
        flags = self._flags(number)
        said = self._sensible(number, flags)
        doubt = 0.7 if flags & RST else 0.1 if self.calm else 0.3
        if random.random() < doubt and (self.ends[number].heard or random.random() < 0.6):
            said = self._strange(said)
        me = self.ends[number]
        data = said.text if len(said.text) == said.length else bytes(said.length)
        parts = tcp(
            me.own[0], me.far[0], me.own[1], me.far[1], said.flags, said.seq, said.ack, data, said.options, said.window
        )
        return me.port, parts, said

    def passed(self, said: Said, behind_seen: int) -> None:
        """A segment got through, and ended at that number where it arrived."""
        me = self.ends[said.end]
        me.said = said.text or me.said
        me.finished |= bool(said.flags & (FIN | RST))
        if said.flags & RST:
            return
        behind = (said.seq + said.length + bool(said.flags & SYN) + bool(said.flags & FIN)) % 2**32
        if self.opening and said.end == 0:
            if not me.heard or (said.flags & (SYN | ACK) == SYN and said.seq != me.first):
                me.first = me.next = said.seq
            me.next = later(me.next, behind)
            if said.flags & (SYN | ACK) == SYN:
                me.limit, me.scale = (me.next + 65535) % 2**32, scale_in(said.options)
                me.window = me.offered = said.window
        elif not me.heard:
            peer = self.ends[0]
            me.heard, me.first, me.next, me.offered = True, said.seq, behind, said.window
            me.scale = scale_in(said.options) if said.flags & SYN else None
            self._permit(1, said.ack if said.flags & ACK else peer.first + 1, units(said.window, self._scale(1)))
            self._permit(0, said.seq + bool(said.flags & SYN), units(peer.offered, self._scale(0)))
        else:
            peer = self.ends[1 - said.end]
            me.next = later(me.next, behind)
            scale = self._scale(said.end)
            window = units(said.window, scale) if said.flags & SYN else max(1, said.window << scale)
            acked = (said.ack + peer.next - peer.seen) % 2**32  # in the numbers of the peer's own
            limit = (acked + window) % 2**32
            if said.flags & ACK and later(limit, peer.limit) == limit:
                self._permit(said.end, acked, window)
        if me.next == behind:
            me.seen = behind_seen
        me.heard = True
        if not said.flags & SYN or me.window == 1:
            me.window = max(me.window, said.window << (0 if said.flags & SYN else self._scale(said.end)))

    def _permit(self, number: int, acked: int, window: int) -> None:
        """This end acknowledges, and lets the other one send so many bytes from there on."""
        self.ends[number].acked = acked % 2**32
        self.ends[1 - number].limit = (acked + window) % 2**32

    def _scale(self, number: int) -> int:
        scales = [end.scale for end in self.ends]
        return 0 if len(scales) < 2 or None in scales else scales[number] or 0

    def _flags(self, number: int) -> int:
        random = self.random
        if self.calm and random.random() < 0.9:
            heard = self.ends[number].heard
            return SYN if len(self.ends) == 1 else random.choice((ACK, PSH | ACK, PSH | ACK)) if heard else SYN | ACK
        if len(self.ends) == 1:
            return random.choice(OPENINGS)
        if not self.ends[number].heard:
            return random.choice((SYN | ACK,) * 12 + (SYN, SYN, ACK, RST | ACK, RST, FIN | ACK))
        if not self.ends[1 - number].heard:
            return random.choice((SYN, SYN, SYN, SYN | ACK, ACK, RST, RST | ACK, FIN | ACK))
        if random.random() < 0.05:
            return random.choice(ODD)
        return random.choice((ACK,) * 8 + (PSH | ACK,) * 8 + (FIN | ACK, RST, RST | ACK, SYN, SYN | ACK))

    def _sensible(self, number: int, flags: int) -> Said:
        """Right numbers: the next ones, or those of the SYN again."""
        random, me = self.random, self.ends[number]
        length = random.choice((0, 0, 1, 10, 100)) if not flags & SYN else random.choice((0,) * 6 + (7, 7, 100))
        ack = self.ends[1 - number].seen if len(self.ends) == 2 else random.choice((0, random.getrandbits(32)))
        seq = me.next
        if flags & SYN and me.heard:
            seq = random.choice((me.first, me.next - 1 - length)) % 2**32
        options = b""
        if flags & SYN and random.random() < 0.8:
            options = random.choice(PLAIN_SCALES if random.random() < 0.5 else SCALE_OPTIONS)
        if len(self.ends) == 2 and flags & ACK and not flags & SYN and random.random() < 0.1:
            edges = [
                (ack + random.choice((0, 1, 10, 100, -30, 2**31))) % 2**32 for _ in range(random.choice((2, 2, 4, 1)))
            ]
            options = struct.pack(f"!4B{len(edges)}I", 1, random.choice((1, 1, 1, 0)), 5, 2 + 4 * len(edges), *edges)
        text = b""
        if len(self.ends) == 2 and flags & PSH and random.random() < 0.7:
            again = bool(me.said) and random.random() < (0.3 if self.calm else 0.15)
            before, behind_it = self._around(me.said) if again else (b"", b"")
            text = before + me.said + behind_it if again else self._line(number)
            length = len(text)
            if again and random.random() < 0.7:
                seq = (me.next - len(before) - len(me.said)) % 2**32
        window = 64240 if self.calm and random.random() < 0.8 else random.choice(WINDOWS)
        return Said(number, seq, ack if flags & ACK else 0, flags, window, length, options, text)

    def _around(self, said: bytes) -> tuple[bytes, bytes]:
        """What a line that is sent again brings along in its segment."""
        random = self.random
        if len(said) > 200 or random.random() < 0.6:
            return b"", b""
        return random.choice((b"", b"", b"a\r\n")), random.choice((b"", b"NOOP\r\n", b"\r\n", said))

    def _line(self, number: int) -> bytes:
        """What one end says of a data connection."""
        return line(self.random, self.ends[number].own[0], self.strangers, from_originator=number == 0)

    def _strange(self, said: Said) -> Said:
        """One of the numbers is another: sent again, at a limit or past it, or a guess."""
        random, me = self.random, self.ends[said.end]
        length = said.length + bool(said.flags & SYN) + bool(said.flags & FIN)
        near = random.choice((-1, 0, 1))
        seq, ack = said.seq, said.ack
        if self.opening and said.end == 0:
            seq = random.choice((
                *(me.first + near,) * 3, *(me.next + near,) * 2, *(me.limit - length + near,) * 3, me.limit + near,
                me.first + 2**31 + near, me.first + random.randrange(200), random.getrandbits(32),
            ))  # fmt: skip
        elif self.opening:
            peer = self.ends[0]
            ack = random.choice((
                *(peer.first + 1 + near,) * 3, *(peer.next + near,) * 3, peer.first + random.randrange(110),
                random.getrandbits(32),
            ))  # fmt: skip
        elif said.flags & RST:
            acked = self.ends[1 - said.end].acked
            seq = random.choice((
                *(acked + near,) * 3, *(me.next + near,) * 3, *(me.limit + near,) * 2, (acked + me.next) // 2,
                acked + 2**31 + near, random.getrandbits(32),
            ))  # fmt: skip
            ack += random.choice((0, STRAY + 1, 2**31))
        elif random.random() < 0.7 or not said.flags & ACK:
            reach = reach_of(self.ends[1 - said.end])
            seq = random.choice((
                me.next - 1, me.next - length, me.next + 1, me.next + random.randrange(2000),
                *(me.limit - length + near,) * 3, *(me.limit + near,) * 2,
                *(me.next - reach + near,) * 2, me.next - reach // 2, me.next + 2**31 + near,
                random.getrandbits(32),
            ))  # fmt: skip
        else:
            stray = STRAY << self._scale(said.end)
            ack = random.choice((
                *(ack + STRAY + near,) * 2, *(ack - stray + near,) * 2, ack - 1,
                ack + 1, ack - 10, ack - 100, ack - 1000, ack + 2**31 + near, 0,
                random.getrandbits(32),
            ))  # fmt: skip
        return Said(said.end, seq % 2**32, ack % 2**32, said.flags, said.window, said.length, said.options, said.text)


def behind(parts: Parts) -> int:
    """The sequence number behind a TCP segment."""
    seq, offset, flags = struct.unpack_from("!4xI4xBB", parts.payload)
    size = len(parts.payload) - (offset >> 4) * 4
    return int(seq + size + bool(flags & SYN) + bool(flags & FIN)) % 2**32


def later(one: int, other: int) -> int:
    """The one of two sequence numbers that is further on."""
    return one if (one - other) % 2**32 < 2**31 else other


def units(window: int, scale: int) -> int:
    """A SYN's window rounded up to what can be written scaled, in bytes."""
    return max(1, (window + (1 << scale) - 1) >> scale) << scale


def reach_of(end: End) -> int:
    """The largest window of an end, rounded up to a power of two."""
    return 1 << (max(1, end.window) - 1).bit_length()


def tcp_ends(parts: Parts) -> tuple[Address, Address] | None:
    """Source and destination of a TCP packet."""
    if parts.protocol != 6 or len(parts.payload) < 20:
        return None
    sport, dport = struct.unpack_from("!HH", parts.payload)
    return (parts.src, sport), (parts.dst, dport)
