"""Sequence numbers of a connection whose payload an ALG has made longer or shorter: what the ends say of each other's
numbers is taken back on the way in, and their own are shifted on the way out."""

from __future__ import annotations

import struct
from dataclasses import dataclass, replace

from edge.reference_quote import Quote
from edge.reference_window import END_OF_OPTIONS, NO_OPERATION, ChallengeAck, difference
from edge.reference_wire import ACK, ICMP_KINDS, Kind, Packet, u32, update, words

SACK = 5  # RFC 2018


@dataclass(slots=True)
class Shift:
    """Of what one side sends: by how much its numbers are shifted before ``pos`` (in its own space) and from there on.
    ``pos`` is None until something of it has been rewritten."""

    pos: int | None = None
    before: int = 0
    after: int = 0

    def rewritten(self, end: int, growth: int) -> None:
        """A segment whose payload ends at ``end`` has grown; one that ends where the last one did is that one again."""
        ahead = None if self.pos is None else difference(end, self.pos)
        if ahead is None or ahead > 0:
            self.before, self.after, self.pos = self.after, self.after + growth, end
        elif ahead == 0:
            self.after = self.before + growth

    def shifted(self, number: int) -> int:
        """A number of this side as the other one has to see it."""
        if self.pos is None:
            return number
        return (number + (self.after if difference(number, self.pos) >= 0 else self.before)) % 2**32

    def taken_back(self, number: int) -> int:
        """What this side means by a number that the other one saw."""
        if self.pos is None:
            return number
        behind = (number - self.after) % 2**32
        return behind if difference(behind, self.pos) >= 0 else (number - self.before) % 2**32


def understood(packet: Packet, other: Shift) -> Packet:
    """A segment whose acknowledgements speak of the other side's numbers as that side knows them."""
    if packet.kind is not Kind.TCP or other.pos is None or not packet.tcp_flags & ACK:
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
    if packet.kind is not Kind.TCP or own.pos is None:
        return packet
    return with_numbers(packet, {packet.l4 + 4: own.shifted(u32(packet.ip, packet.l4 + 4))})


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
    if quote.seq is None or sender.pos is None or packet.kind not in ICMP_KINDS:
        return packet
    ip = bytearray(packet.ip)
    struct.pack_into("!I", ip, quote.l4 + 4, sender.taken_back(quote.seq))
    if quote.l4 + 18 <= len(ip):
        follow(ip, quote.l4 + 4, packet.ip[quote.l4 + 4 :], quote.l4 + 16)
    follow(ip, packet.l4 + 8, packet.ip[packet.l4 + 8 :], packet.l4 + 2)
    return replace(packet, ip=bytes(ip))
