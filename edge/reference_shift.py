"""Sequence numbers of a connection whose payload an ALG has made longer or shorter: what the ends say of each other's
numbers is taken back on the way in, and their own are shifted on the way out."""

from __future__ import annotations

import struct
from dataclasses import dataclass, replace
from typing import NamedTuple

from edge.reference_quote import Quote
from edge.reference_window import END_OF_OPTIONS, NO_OPERATION, ChallengeAck, difference
from edge.reference_wire import ACK, ICMP_KINDS, Kind, Packet, u32, update, words

SACK = 5  # RFC 2018


class Rewriting(NamedTuple):
    """A line whose text has become another: where the line begins and where the text that was replaced ends, as its
    sender counts; the port that it names, and the one that stands for it."""

    begin: int
    end: int
    named: int
    shown: int


@dataclass(slots=True)
class Shift:
    """Of what one side sends: by how much its numbers are shifted before the end of the ``last`` text that was
    rewritten, and from there on.  ``last`` is None until that has happened."""

    last: Rewriting | None = None
    before: int = 0
    after: int = 0

    def rewritten(self, what: Rewriting, growth: int) -> None:
        """A line has grown; one whose text ends where the last one's did is that one again."""
        ahead = None if self.last is None else difference(what.end, self.last.end)
        if ahead is None or ahead > 0:
            self.before, self.after, self.last = self.after, self.after + growth, what
        elif ahead == 0:
            self.after, self.last = self.before + growth, what

    def line_in(self, seq: int, size: int) -> int:
        """Where in a payload of so many bytes, the first being number ``seq``, to look for a command: at the line that
        was rewritten last, if that is sent again, else at the beginning."""
        ahead = 0 if self.last is None else (self.last.begin - seq) % 2**32
        return ahead if ahead < size else 0

    def shown_before(self, end: int, named: int) -> int | None:
        """The port that has been shown for the one that a command names, if its text ends at ``end``; None if it is not
        the last one again."""
        if self.last is None or (self.last.end, self.last.named) != (end, named):
            return None
        return self.last.shown

    def shifted(self, number: int) -> int:
        """A number of this side as the other one has to see it."""
        if self.last is None:
            return number
        return (number + (self.after if difference(number, self.last.end) >= 0 else self.before)) % 2**32

    def taken_back(self, number: int) -> int:
        """What this side means by a number that the other one saw."""
        if self.last is None:
            return number
        behind = (number - self.after) % 2**32
        return behind if difference(behind, self.last.end) >= 0 else (number - self.before) % 2**32


def understood(packet: Packet, other: Shift) -> Packet:
    """A segment whose acknowledgements speak of the other side's numbers as that side knows them."""
    if packet.kind is not Kind.TCP or other.last is None or not packet.tcp_flags & ACK:
        return packet
    return with_numbers(packet, {at: other.taken_back(u32(packet.ip, at)) for at in acknowledgements(packet)})


def acknowledgements(packet: Packet) -> list[int]:
    """Where the numbers of the other side stand in a segment: its acknowledgement, and the edges of SACK blocks."""
    ip, l4 = packet.ip, packet.l4
    found = [l4 + 8]
    at, end = l4 + 20, l4 + (ip[l4 + 12] >> 4) * 4
    while at < end and ip[at] != END_OF_OPTIONS:
        if ip[at] == NO_OPERATION:
            at += 1
            continue
        if at + 2 > end or ip[at + 1] < 2 or at + ip[at + 1] > end:
            break
        if ip[at] == SACK and ip[at + 1] % 8 == 2:
            found += range(at + 2, at + ip[at + 1], 4)
        at += ip[at + 1]
    return found


def with_sequence(packet: Packet, own: Shift) -> Packet:
    """A segment as the other side has to see it."""
    if packet.kind is not Kind.TCP or own.last is None:
        return packet
    return with_numbers(packet, {packet.l4 + 4: own.shifted(u32(packet.ip, packet.l4 + 4))})


def before_shifts(packet: Packet, own: Shift, other: Shift) -> Packet:
    """A segment as its sender, whose numbers ``own`` has shifted, had sent it: this is the one that arrived."""
    if packet.kind is not Kind.TCP:
        return packet
    numbers = {}
    if other.last is not None and packet.tcp_flags & ACK:
        numbers = {at: other.shifted(u32(packet.ip, at)) for at in acknowledgements(packet)}
    return with_numbers(packet, numbers | {packet.l4 + 4: own.taken_back(u32(packet.ip, packet.l4 + 4))})


def with_numbers(packet: Packet, numbers: dict[int, int]) -> Packet:
    """The packet with other 32-bit numbers at some offsets of it, its TCP checksum kept as right or wrong as it was."""
    ip = bytearray(packet.ip)
    for at, number in numbers.items():
        struct.pack_into("!I", ip, at, number)
    follow(ip, packet.l4, packet.ip[packet.l4 :], packet.l4 + 16)
    return replace(packet, ip=bytes(ip))


def follow(data: bytearray, first: int, old: bytes, checksum: int) -> None:
    """Update a checksum for what has become of the bytes from ``first`` on; nothing changes where they are the same."""
    changes = zip(words(old), words(bytes(data[first:])), strict=True)
    update(data, checksum, [(before, after) for before, after in changes if before != after])


def challenge(asked: ChallengeAck | None, other: Shift) -> ChallengeAck | None:
    """A challenge in the other side's name, with that side's numbers as this one knows them."""
    return None if asked is None else replace(asked, seq=other.shifted(asked.seq))


def quoting(packet: Packet, quote: Quote, sender: Shift) -> Packet:
    """An ICMP error that quotes a segment with the number that its sender gave it."""
    return packet if quote.seq is None else quoting_number(packet, quote, sender.taken_back(quote.seq))


def quoting_as_shifted(packet: Packet, quote: Quote, sender: Shift) -> Packet:
    """An ICMP error that quotes a segment with the number that the other side was told."""
    return packet if quote.seq is None else quoting_number(packet, quote, sender.shifted(quote.seq))


def quoting_number(packet: Packet, quote: Quote, number: int) -> Packet:
    """An ICMP error that quotes a segment with this sequence number; the checksums inside and outside follow."""
    if number == quote.seq or packet.kind not in ICMP_KINDS:
        return packet
    ip = bytearray(packet.ip)
    struct.pack_into("!I", ip, quote.l4 + 4, number)
    if quote.l4 + 18 <= len(ip):
        follow(ip, quote.l4 + 4, packet.ip[quote.l4 + 4 :], quote.l4 + 16)
    follow(ip, packet.l4 + 8, packet.ip[packet.l4 + 8 :], packet.l4 + 2)
    return replace(packet, ip=bytes(ip))
