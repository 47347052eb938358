"""Packets in pieces: as a router cuts them, and as a network, or somebody with bad intentions, delivers them."""

from __future__ import annotations

import struct
from dataclasses import dataclass, replace
from random import Random

from tests.model.frames import EXTENSION_HEADERS, checksum

MORE, DONT = 0x2000, 0x4000
OPTIONS = (b"\x94\x04\0\0", b"\x07\x04\x04\0", b"\x01\x83\x03\x04", b"\x01" * 4, b"\x82\x09\0\0", b"\x83\x01\0\0")


@dataclass(frozen=True, slots=True)
class Piece:
    """One fragment of a packet whose IP headers are ``head``; for IPv6 the Fragment header comes behind them."""

    head: bytes
    following: int  # IPv6: what the Fragment header says
    data: bytes
    offset: int
    more: bool
    identification: int
    flags: int = 0  # DF and the reserved bit of IPv4, the reserved bits of IPv6

    def frame(self, ethernet: bytes) -> bytes:
        """Behind addresses and ethertype."""
        if self.head[0] >> 4 == 4:
            word = self.flags | (MORE if self.more else 0) | self.offset // 8 & 0x1FFF
            head = self.head[:2] + struct.pack("!HHH", len(self.head) + len(self.data), self.identification, word)
            head += self.head[8:10] + b"\0\0" + self.head[12:]
            return ethernet + head[:10] + struct.pack("!H", checksum(head)) + head[12:] + self.data
        word = self.offset & 0xFFF8 | self.flags & 6 | self.more
        body = struct.pack("!BBHI", self.following, self.flags >> 8, word, self.identification) + self.data
        return ethernet + self.head[:4] + struct.pack("!H", len(self.head) - 40 + len(body)) + self.head[6:] + body


def in_pieces(random: Random, frame: bytes) -> list[bytes]:
    """An untagged frame cut up; most of the time so that it can be put together.  Empty if it cannot be cut."""
    whole = taken_apart(random, frame)
    if whole is None or len(whole.data) < 16:
        return []
    step = random.choice((8, 8, 8, 16, 24, 24, 1232))
    if len(whole.data) > 1200 and step < 200:
        step = random.choice((248, 512, 1232))
    first = random.choice((8, 16, 24, 24, 24, 40))
    starts = sorted({0, *range(first, len(whole.data), step)})
    if len(starts) > 5 and random.random() < 0.8:
        starts = [0, *sorted(random.sample(starts[1:], random.randrange(1, 4)))]
    ends = [*starts[1:], len(whole.data)]
    pieces = [
        replace(whole, data=whole.data[start:end], offset=start, more=end < len(whole.data))
        for start, end in zip(starts, ends, strict=True)
    ]
    if random.random() < 0.4:
        pieces = mishap(random, pieces)
    order = random.randrange(4)
    if order == 0:
        pieces.reverse()
    elif order == 1:
        random.shuffle(pieces)
    frames = [piece.frame(frame[:14]) for piece in pieces]
    return [dressed(random, item) for item in frames] if random.random() < 0.1 else frames


def taken_apart(random: Random, frame: bytes) -> Piece | None:
    """The whole as one piece; None for what is no packet, or is one already."""
    ip = frame[14:]
    if frame[12:14] == b"\x08\x00" and len(ip) >= 20 and not struct.unpack_from("!H", ip, 6)[0] & 0x3FFF:
        length = (ip[0] & 15) * 4
        total = int.from_bytes(ip[2:4], "big")
        if ip[0] >> 4 != 4 or not 20 <= length <= total:
            return None
        return Piece(ip[:length], 0, ip[length:total], 0, more=False, identification=random.randrange(4))
    if frame[12:14] != b"\x86\xdd" or len(ip) < 40 or ip[0] >> 4 != 6:
        return None
    places = [(6, 40)]
    protocol, at = ip[6], 40
    while protocol in EXTENSION_HEADERS and at + 8 <= len(ip):
        places.append((at, at + (ip[at + 1] + 1) * 8))
        protocol, at = ip[at], places[-1][1]
    if protocol in (44, *EXTENSION_HEADERS):
        return None
    place, at = random.choice(places)
    head = ip[:place] + b"\x2c" + ip[place + 1 : at]
    data = ip[at : 40 + int.from_bytes(ip[4:6], "big")]
    return Piece(head, ip[place], data, 0, more=False, identification=random.choice((0, 1, 2, 2**32 - 1)))


def mishap(random: Random, pieces: list[Piece]) -> list[Piece]:
    """One thing that is odd, or wrong."""
    at = random.randrange(len(pieces))
    one = pieces[at]
    before, after = pieces[:at], pieces[at + 1 :]
    match random.randrange(7):
        case 0:  # the same again, or with other data
            return [*pieces, random.choice((one, replace(one, data=bytes(len(one.data)))))]
        case 1:  # lost
            return before + after
        case 2:  # beyond what any datagram can be
            far = random.choice((65528, 65512, 65504, 65472))
            return [*pieces, replace(one, offset=far, more=random.random() < 0.5)]
        case 3:  # as many as there are of eight bytes
            return [*before, *crumbs(replace(one, data=one.data + bytes(random.choice((0, 480, 504, 512))))), *after]
        case 4:
            return [replace(piece, flags=DONT) for piece in pieces]
        case 5:
            return [*before, other_place(random, one), *after]
    return [*before, other_header(random, one), *after]


def crumbs(one: Piece) -> list[Piece]:
    """A piece in pieces of eight bytes."""
    cuts = range(0, len(one.data), 8)
    return [
        replace(one, data=one.data[cut : cut + 8], offset=one.offset + cut, more=cut != cuts[-1] or one.more)
        for cut in cuts
    ]


def other_place(random: Random, one: Piece) -> Piece:
    """A piece that says other things of what it brings."""
    match random.randrange(5):
        case 0:  # overlapping on the left
            return replace(one, data=bytes(8) + one.data, offset=max(0, one.offset - 8))
        case 1:  # on the right
            return replace(one, data=one.data + bytes(8))
        case 2:  # two ends, or none
            return replace(one, more=not one.more)
        case 3:  # a length that is no multiple of eight; nothing at all
            return replace(one, data=one.data[: random.choice((-1, -3, 0))])
    return replace(one, offset=0, more=False)  # complete by itself


def other_header(random: Random, one: Piece) -> Piece:
    """A piece with something else in its headers."""
    is_ipv4 = one.head[0] >> 4 == 4
    ttl = 8 if is_ipv4 else 7
    match random.randrange(5):
        case 0:  # DF, and the reserved bits
            return replace(one, flags=random.choice((DONT, 0x8000, 2, 4, 6, 0x700)))
        case 1:
            return replace(one, head=one.head[:ttl] + b"\x01" + one.head[ttl + 1 :])
        case 2:  # another datagram
            return replace(one, identification=one.identification ^ 1)
        case 3:
            protocol = bytes([random.choice((1, 6, 17, 47))])
            if is_ipv4:
                return replace(one, head=one.head[:9] + protocol + one.head[10:])
            return replace(one, following=random.choice((6, 17, 0, 43, 44, 58, 60)))
    if is_ipv4:
        options = random.choice(OPTIONS)
        return replace(one, head=b"\x46" + one.head[1:20] + options)
    if len(one.head) > 40:
        return one
    return replace(one, head=one.head[:6] + b"\x3c" + one.head[7:] + bytes((44, 0)) + bytes(6))


def dressed(random: Random, frame: bytes) -> bytes:
    """With a VLAN tag or padding."""
    if random.random() < 0.5:
        return frame[:12] + b"\x81\x00\x00\x07" + frame[12:]
    return frame + bytes(6)
