"""Files that are almost right, made of others."""

from __future__ import annotations

import gzip
import struct
import sys
from random import Random

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

NUMBERS = (0, 1, 2, 3, 4, 6, 8, 12, 16, 28, 32, 64, 127, 128, 255, 256, 0x7FFF, 0x8000, 0xFFFF, 0x10000, 65553, 65554,
           262144, 262145, 1048576, 1048577, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFC, 0xFFFFFFFF)  # fmt: skip
LARGEST = 1 << 16


def mutated(random: Random, pool: list[bytes]) -> bytes:
    """One file of the pool with a few things changed, and now and then compressed."""
    data = changed(random, pool)
    packed = random.randrange(16)
    if packed == 0:
        return gzip.compress(data, 1)
    return zstd.compress(data) if packed == 1 else data[:LARGEST]


def changed(random: Random, pool: list[bytes]) -> bytes:
    """One input of the pool with a few things changed."""
    data = bytearray(random.choice(pool))
    for _ in range(random.choice((1, 1, 2, 3, 6))):
        change(random, data, pool)
    return bytes(data)


def change(random: Random, data: bytearray, pool: list[bytes]) -> None:
    """Something small about a file becomes different."""
    at = random.randrange(len(data) + 1)
    match random.randrange(9):
        case 0 if at < len(data):
            data[at] = random.randrange(256)
        case 1 if at < len(data):
            data[at] ^= 1 << random.randrange(8)
        case 2 | 3:  # a length or a type, where those stand
            at &= ~3
            kind = random.choice(("<I", ">I", "<H", ">H"))
            number = random.choice(NUMBERS) if random.random() < 0.7 else len(data) + random.randrange(-40, 5)
            value = struct.pack(kind, number % (1 << 8 * struct.calcsize(kind)))
            data[at : at + len(value)] = value
        case 4:
            del data[at:]
        case 5:
            del data[at & ~3 : (at & ~3) + random.choice((1, 4, 8, 16, 24, 28, 32))]
        case 6:  # a piece again
            piece = data[at : at + random.choice((4, 16, 28, 32, 60, 200))]
            data[random.randrange(len(data) + 1) & ~3 : 0] = piece
        case 7:  # a piece of another file
            other = random.choice(pool)
            begin = random.randrange(len(other) + 1) & ~3
            data[at & ~3 : 0] = other[begin : begin + random.choice((4, 16, 32, 100, 1000))]
        case _:
            data += random.randbytes(random.randrange(1, 40))
