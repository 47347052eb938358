"""What a searching process and the one that watches it share: a count, and the input being tried, in a mapped file.

Layout, little endian: executions (8 bytes), size of the input (8), the input.
"""

from __future__ import annotations

import mmap
import os
import struct
from pathlib import Path

ROOM = 4 << 20


class Shared:
    """The mapped file at ``path``; made anew with ``create``."""

    def __init__(self, path: Path, *, create: bool = False) -> None:
        descriptor = os.open(path, os.O_RDWR | (os.O_CREAT | os.O_TRUNC if create else 0), 0o600)
        if create:
            os.ftruncate(descriptor, ROOM)
        self.memory = mmap.mmap(descriptor, ROOM)
        os.close(descriptor)

    @property
    def executions(self) -> int:
        """How many inputs, or frames, were begun."""
        return int(struct.unpack_from("<Q", self.memory)[0])

    def begin(self, data: bytes) -> None:
        """Another input, which counts as one execution."""
        self.write(data)
        struct.pack_into("<Q", self.memory, 0, self.executions + 1)

    def write(self, data: bytes) -> None:
        """The input so far is this."""
        struct.pack_into("<Q", self.memory, 8, len(data))
        self.memory[16 : 16 + len(data)] = data

    def extend(self, data: bytes) -> bool:
        """The input goes on; False where it has no room to."""
        size = len(self.read())
        if 16 + size + len(data) > ROOM:
            return False
        self.memory[16 + size : 16 + size + len(data)] = data
        struct.pack_into("<Q", self.memory, 8, size + len(data))
        return True

    def read(self) -> bytes:
        """The input."""
        size = struct.unpack_from("<Q", self.memory, 8)[0]
        return self.memory[16 : 16 + size]
