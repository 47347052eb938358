"""ICMP errors about packets that left the edge: as a router on their way would write them, or somebody who guesses."""

from __future__ import annotations

import struct
from ipaddress import ip_address
from random import Random

from tests.model.frames import Parts, checksum, icmp, parts_of
from tests.model.universe import ODD

ERRORS = {
    4: ((3, 1), (3, 3), (3, 4), (3, 13), (11, 0), (11, 1), (4, 0), (5, 1), (12, 0)),
    6: ((1, 0), (1, 4), (2, 0), (3, 0), (4, 1), (100, 0), (127, 3), (0, 0)),
}
MARTIANS = {
    version: tuple(ip_address(text).packed for text in ODD if (":" in text) is (version == 6)) for version in (4, 6)
}
CUTS = (0, 4, 7, 8, 9, 16, 17, 18, 19, 20, 27, 1000, 1000, 1000)
"""Bytes of the upper protocol that are quoted."""


def error_about(random: Random, frame: bytes, sources: list[bytes], edges: list[int]) -> Parts | None:
    """An error about the packet in an untagged frame, to its sender or to somebody else; None if there is no packet.

    ``sources`` are routers that may write it, of any IP version; ``edges`` are sequence numbers worth quoting.
    """
    parts = parts_of(frame)
    if parts is None:
        return None
    ip = frame[14:]
    upper = len(ip) - len(parts.payload)
    quote = ip[: upper + random.choice(CUTS)]
    if random.random() < 0.35:
        quote = another(random, parts.version, quote, upper, edges)
    if random.random() < 0.15:
        quote += random.randbytes(random.choice((1, 4, 32)))
    kind, code = random.choice(ERRORS[parts.version])
    same = [item for item in sources if len(item) == len(parts.src)]
    src = random.choice(same) if same and random.random() < 0.6 else parts.dst
    if random.random() < 0.06:
        src = random.choice(MARTIANS[parts.version])
    dst = random.choice(same) if same and random.random() < 0.08 else parts.src
    error = icmp(src, dst, kind, code, random.choice((0, 0, 0x8000)), random.choice((0, 1400)), quote)
    if random.random() < 0.05:
        payload = error.payload[:2] + random.choice((b"\0\0", b"\xff\xff", b"\x12\x34")) + error.payload[4:]
        error = Parts(error.protocol, error.src, error.dst, payload)
    return error


def another(random: Random, version: int, quote: bytes, upper: int, edges: list[int]) -> bytes:
    """The quote of a packet that is not quite the one that left."""
    changed = bytearray(quote)

    def put(at: int, data: bytes) -> None:
        if at + len(data) <= len(changed):
            changed[at : at + len(data)] = data

    drawn = random.choice((0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8))
    if drawn == 0 and len(changed) >= upper + 8:  # another sequence number
        put(upper + 4, struct.pack("!I", another_number(random, bytes(changed[upper + 4 : upper + 8]), edges)))
    elif drawn == 1:  # ports, or type and code
        put(upper + random.choice((0, 2)), random.randbytes(2))
    elif drawn == 2:  # the quote's checksums, none and all ones among them
        put(upper + random.choice((2, 6, 16)), random.choice((b"\0\0", b"\xff\xff", random.randbytes(2))))
    elif drawn == 3:  # an address
        put(random.choice((12, 16)) + 3 if version == 4 else random.choice((8, 24)) + 15, random.randbytes(1))
    elif drawn == 4:  # some byte of the header
        put(random.randrange(upper), random.choice((b"\0", b"\x45", b"\x46", b"\x60", b"\xff")))
    elif version == 4 and drawn < 7:  # a first fragment, a later one, a length of its own, a wrong checksum
        at, value = random.choice(((6, 0x2000), (6, 0x2000), (6, 0x0001), (2, 28), (2, 20), (2, 65535), (10, 0)))
        put(at, struct.pack("!H", value))
    elif version == 4:  # options
        options = random.choice((b"\x01" * 4, b"\x01" * 40))
        changed = changed[:upper] + options + changed[upper:]
        changed[0] = 0x40 | min(15, (changed[0] & 15) + len(options) // 4)
        changed[10:12] = b"\0\0"
        changed[10:12] = struct.pack("!H", checksum(bytes(changed[: (changed[0] & 15) * 4])))
    else:  # extension headers, fragments among them
        chain = random.choice(((44,), (44,), (0,), (60, 44), (44, 60), (44, 0), (43,) * 8, (60,) * 9, (44,) * 9))
        last, headers = changed[6], b""
        for place, kind in enumerate(chain):
            following = chain[place + 1] if place + 1 < len(chain) else last
            offset = random.choice((0, 1, 6, 8)) if kind == 44 else 0
            headers += struct.pack("!BBHI", following, random.choice((0, 9)) if kind == 44 else 0, offset, 0)
        changed = changed[:40] + headers + changed[40:]
        changed[6] = chain[0]
    return bytes(changed)


def another_number(random: Random, number: bytes, edges: list[int]) -> int:
    """A sequence number at an edge of what is believed, right next to the true one, or far away."""
    if edges and random.random() < 0.6:
        return (random.choice(edges) + random.choice((-1, 0, 1))) % 2**32
    far = random.choice((-1, 1, 1000, -1000, 65535, 67035, -67035, 200_000, -200_000, 2**31, 2**24, -(2**24)))
    return (int.from_bytes(number, "big") + far) % 2**32
