"""Which public end of a flow here is which one there: both sides choose source ports for themselves."""

from __future__ import annotations

from dataclasses import replace

from tests.twin.wire import Datagram, End, dissect, with_ends, with_quoted_ends

Key = tuple[int, End, End]
"""Kind of packet, an end, and the end that it speaks to."""


class Bijection:
    """Pairs of ends, towards a far end each."""

    def __init__(self) -> None:
        self._there: dict[Key, End] = {}
        self._here: dict[Key, End] = {}
        self._double: set[Key] = set()

    def learn(self, kind: int, here: End, there: End, far: End) -> bool:
        """From now on ``here`` is ``there`` towards ``far``; False if something else is already, which is then over."""
        fresh = self._there.get((kind, here, far), there) == there
        fresh &= self._here.get((kind, there, far), here) == here
        self._there[kind, here, far] = there
        self._here[kind, there, far] = here
        return fresh

    def double(self, kind: int, end: End, far: End) -> None:
        """SNAT has left an end as it was here, and not there: by this name it is the one before and the one behind."""
        self._double.add((kind, end, far))

    def holder(self, kind: int, there: End, far: End) -> End | None:
        """What ``there`` has been here so far."""
        return self._here.get((kind, there, far))

    def is_guess(self, packet: Datagram) -> bool:
        """Does a packet for the engine go to an end that only the twin has given to a flow, or come from one whose name
        stands for two there, or is it from an end to itself on one side, where it is its own answer, but not on the
        other?"""
        if packet.quote is None and (packet.kind, packet.src, packet.dst) in self._double:
            return True
        what = packet if packet.quote is None else packet.quote
        theirs = translated(what, self._there)
        if theirs != what and (what.src == what.dst or theirs.src == theirs.dst):
            return True
        if packet.quote is not None and packet.dst[0] != what.src[0]:
            # To somebody else, who may be the sender of what it quotes on the other side.
            return packet.dst[0] == theirs.src[0]
        ends = ((what.kind, what.src, what.dst), (what.kind, what.dst, what.src))
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

    def here(self, packet: Datagram, like: Datagram | None = None) -> Datagram:
        """A packet of the twin's as the engine would write it; an end that it has in common with ``like``, the one that
        the engine wrote, needs no translation: what SNAT makes of an address of the edge may be another's name."""
        return translated(packet, self._here, like)


def translated(packet: Datagram, table: dict[Key, End], like: Datagram | None = None) -> Datagram:
    """The packet with the ends that the table has for its own, and for those of what it quotes."""
    if packet.quote is not None:
        quote = translated(packet.quote, table, like.quote if like is not None else None)
        src, dst = packet.src, packet.dst
        # An error goes to the sender of what it quotes, and may come from whom that went to.
        if dst[0] == packet.quote.src[0]:
            dst = (quote.src[0], 0)
        if src[0] == packet.quote.dst[0]:
            src = (quote.dst[0], 0)
        return replace(packet, src=src, dst=dst, quote=quote)
    src, dst = packet.src, packet.dst
    if like is None or src != like.src:
        src = table.get((packet.kind, packet.src, packet.dst), src)
    if like is None or dst != like.dst:
        dst = table.get((packet.kind, packet.dst, packet.src), dst)
    return replace(packet, src=src, dst=dst)
