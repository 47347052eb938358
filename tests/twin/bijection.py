"""Which public end of a flow here is which one there: both sides choose source ports for themselves."""

from __future__ import annotations

from dataclasses import replace

from tests.twin.wire import Datagram, End, dissect, with_ends, with_quoted_ends

Key = tuple[int, End, End]
"""Protocol, an end, and the end that it speaks to."""


class Bijection:
    """Pairs of ends, towards a far end each."""

    def __init__(self) -> None:
        self._there: dict[Key, End] = {}
        self._here: dict[Key, End] = {}

    def learn(self, protocol: int, here: End, there: End, far: End) -> bool:
        """From now on ``here`` is ``there`` towards ``far``; False if something else is already, which is then over."""
        fresh = self._there.get((protocol, here, far), there) == there
        fresh &= self._here.get((protocol, there, far), here) == here
        self._there[protocol, here, far] = there
        self._here[protocol, there, far] = here
        return fresh

    def is_guess(self, packet: Datagram) -> bool:
        """Does a packet for the engine go to an end that only the twin has given to a flow?"""
        what = packet if packet.quote is None else packet.quote
        ends = ((what.protocol, what.src, what.dst), (what.protocol, what.dst, what.src))
        return any(key in self._here and key not in self._there for key in ends)

    def there(self, packet: bytes) -> bytes:
        """A packet of the engine's as its twin is to get it."""
        before = dissect(packet)
        after = translated(before, self._there)
        if after == before:
            return packet
        if before.quote is None or after.quote is None:
            return with_ends(packet, after.src, after.dst)
        return with_quoted_ends(packet, after.src, after.dst, (after.quote.src, after.quote.dst))

    def here(self, packet: Datagram) -> Datagram:
        """A packet of the twin's as the engine would write it."""
        return translated(packet, self._here)


def translated(packet: Datagram, table: dict[Key, End]) -> Datagram:
    """The packet with the ends that the table has for its own, and for those of what it quotes."""
    if packet.quote is not None:
        quote = translated(packet.quote, table)
        src, dst = packet.src, packet.dst
        # An error goes to the sender of what it quotes, and may come from whom that went to.
        if dst[0] == packet.quote.src[0]:
            dst = (quote.src[0], 0)
        if src[0] == packet.quote.dst[0]:
            src = (quote.dst[0], 0)
        return replace(packet, src=src, dst=dst, quote=quote)
    src = table.get((packet.protocol, packet.src, packet.dst), packet.src)
    dst = table.get((packet.protocol, packet.dst, packet.src), packet.dst)
    return replace(packet, src=src, dst=dst)
