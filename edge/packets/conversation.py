"""What comes next: the numbers of a TCP session as its ends see them, and the answer to a packet."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from edge.addresses import IPAddress
from edge.errors import PacketSyntaxError
from edge.packets.decode import decode_frame
from edge.packets.names import ACK, FIN, SYN, TCP, UDP
from edge.packets.show import format_endpoint, format_frame, protocol_word
from edge.packets.text import PacketText, parse_packet

INITIAL_SEQUENCE = 1000
"""Of every end; a fixed number keeps traces the same from run to run."""

INITIAL_WINDOW = 65535
"""Of every end that begins."""

Direction = tuple[IPAddress, int, IPAddress, int]
"""Source address and port, destination address and port, as one end writes or receives them."""

# Request -> the reply's words, by IP version; ``id`` and ``seq`` are copied.
_REPLIES = {
    4: {8: "echo-reply", 13: "timestamp-reply", 15: "type=16 code=0", 17: "type=18 code=0"},
    6: {128: "echo-reply"},
}


@dataclass(frozen=True, slots=True)
class Expected:
    """Sequence and acknowledgement number, and window, that a well-behaved end would send next."""

    seq: int
    ack: int
    window: int = INITIAL_WINDOW


@dataclass(frozen=True, slots=True)
class Known:
    """Of a session that was there before: the number that follows what was sent in a direction, as the end that sends
    in it or receives from it knows it, and the window of the sender, None where the receiver is meant."""

    direction: Direction
    seq: int
    window: int | None


Lookup = Callable[[Direction], Iterable[Known]]
"""What is known of the session of a direction, nothing if there is none."""


@dataclass(slots=True)
class Conversation:
    """Every TCP session of one trace or test, from the outside.

    Told of each frame that an end sends and of each that is delivered, it knows what an end would send next.  An end
    knows a session by the addresses that it sees itself, so NAT between the ends does not matter.  Of a session that
    it has not seen from the beginning it asks ``lookup``, once a direction.
    """

    lookup: Lookup | None = None
    _next: dict[Direction, int] = field(default_factory=dict)
    _windows: dict[Direction, int] = field(default_factory=dict)
    _asked: set[Direction] = field(default_factory=set)

    def saw(self, frame: bytes) -> None:
        """A frame was sent, or delivered; anything but a whole TCP header is of no interest."""
        headers = decode_frame(frame)
        if headers is None or headers.protocol != TCP or headers.part is not None or len(headers.rest) < 20:
            return
        rest = headers.rest
        sport, dport, seq = (int.from_bytes(rest[a:b], "big") for a, b in ((0, 2), (2, 4), (4, 8)))
        flags = rest[13]
        length = headers.length - (rest[12] >> 4) * 4 + bool(flags & SYN) + bool(flags & FIN)
        direction = headers.src, sport, headers.dst, dport
        self._next[direction] = (seq + max(length, 0)) & 0xFFFFFFFF
        if flags & SYN:
            self._windows.pop(direction, None)

    def expected(self, direction: Direction, flags: int) -> Expected:
        """What the end that sends in ``direction`` would write into a segment with these flags.

        A SYN starts from the beginning, sent again or not; everything else goes on behind what was sent last.
        """
        src, sport, dst, dport = direction
        back = dst, dport, src, sport
        if flags & (SYN | ACK) != SYN and not {direction, back} <= self._next.keys():
            self._ask(direction)
        seq, window = INITIAL_SEQUENCE, INITIAL_WINDOW
        if not flags & SYN:
            seq, window = self._next.get(direction, seq), self._windows.get(direction, window)
        return Expected(seq, self._next.get(back, 0), window)

    def _ask(self, direction: Direction) -> None:
        if self.lookup is None or direction in self._asked:
            return
        self._asked.add(direction)
        for known in self.lookup(direction):
            if known.direction not in self._next:
                self._next[known.direction] = known.seq
                if known.window is not None:
                    self._windows[known.direction] = known.window


def reply_to(frame: bytes, text: str = "") -> PacketText:
    """The packet with which the other end answers a frame.

    ``text`` is what follows the addresses: for TCP the flags (``SA``), and ``key=value`` for any protocol.  ICMP
    queries are answered with the reply that belongs to them.  Raises PacketSyntaxError when there is no answer to
    such a packet, or when ``text`` cannot be read.
    """
    headers = decode_frame(frame)
    shown = format_frame(frame)
    if headers is None or not headers.header_complete:
        raise PacketSyntaxError("nothing answers this packet", shown)
    rest, sport, dport = headers.rest, None, None
    words = text
    if headers.protocol in (TCP, UDP):
        sport, dport = int.from_bytes(rest[0:2], "big"), int.from_bytes(rest[2:4], "big")
        if headers.protocol == TCP and not text:
            raise PacketSyntaxError("an answer in TCP needs its flags, such as SA", shown)
    elif headers.is_icmp:
        reply = _REPLIES[headers.version].get(rest[0])
        if reply is None:
            raise PacketSyntaxError("nothing answers this message", shown)
        identifier, sequence = int.from_bytes(rest[4:6], "big"), int.from_bytes(rest[6:8], "big")
        words = f"{reply} id={identifier} seq={sequence} {text}"
    protocol = protocol_word(headers)
    left, right = format_endpoint(headers.dst, dport), format_endpoint(headers.src, sport)
    return parse_packet(f"{protocol} {left} > {right} {words}".strip())
