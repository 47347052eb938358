"""Compressed captures, unpacked as they are read: gzip (RFC 1952) and Zstandard (RFC 8878), told by their first bytes.

Both formats are a row of independent members (Zstandard calls them frames), which unpack to one stream.  Zeros after
the last member are padding, as tapes and block devices leave it; anything else there is an error.  What is held in
memory is one piece of input, one of output and the decompressor's window: 32 KiB for gzip, for Zstandard what the
frame asks for, at most 128 MiB.
"""

from __future__ import annotations

import os
import select
import sys
import zlib
from typing import Literal, Protocol

from edge.errors import CaptureError

Compression = Literal["gzip", "zstd"]

MAGIC_BYTES = 4
"""How many bytes tell what a file is compressed with."""

_CHUNK = 1 << 17
_GZIP = b"\x1f\x8b"
_ZSTD = b"\x28\xb5\x2f\xfd"
_ZSTD_SKIPPABLE = b"\x2a\x4d\x18"  # behind one byte of 0x50 to 0x5f; parallel compressors put such a frame first
_NOT_UNPACKED = {b"BZh": "bzip2", b"\xfd7zX": "xz", b"\x04\x22\x4d\x18": "lz4", b"\x1f\x9d": "compress"}


def compression_of(head: bytes) -> Compression | None:
    """What the file that begins with ``head`` (MAGIC_BYTES of it) is compressed with, None where it is not.

    Raises CaptureError, without a file name, for a known compression that is not unpacked here.
    """
    if head.startswith(_GZIP):
        return "gzip"
    if head.startswith(_ZSTD) or (head[1:4] == _ZSTD_SKIPPABLE and head[0] >> 4 == 5):
        return "zstd"
    for magic, name in _NOT_UNPACKED.items():
        if head.startswith(magic):
            raise CaptureError(f"is compressed with {name}; gzip and zstd are unpacked, {name} is not")
    return None


class _Member(Protocol):
    """What :mod:`zlib` and Zstandard have in common."""

    @property
    def eof(self) -> bool:
        """True behind the member's last byte."""

    @property
    def unused_data(self) -> bytes:
        """Input from behind the member."""

    def decompress(self, data: bytes, max_length: int, /) -> bytes:
        """Up to ``max_length`` bytes; none when more input is needed, or at the end."""


class Unpacker:
    """Unpacks what can be read from ``descriptor``, of which ``head`` has been read already.

    The descriptor stays the caller's.  Signals are handled while :meth:`read` waits, so Ctrl-C ends it.
    """

    def __init__(self, compression: Compression, descriptor: int, head: bytes) -> None:
        self.compression = compression
        self.taken = len(head)
        """Bytes of the compressed file that have been read so far."""
        self._descriptor = descriptor
        self._ready = select.poll()
        self._ready.register(descriptor, select.POLLIN)
        self._input = head
        self._member: _Member | None = _new_member(compression)

    def read(self, most: int) -> bytes:
        """The next bytes, at least one and at most ``most``; none at the end.

        Raises CaptureError, without a file name, where the data is damaged, breaks off or cannot be read.
        """
        while self._member is not None:
            data = self._decompress(self._member, most)
            if data:
                return data
            if self._member.eof:
                self._input = self._member.unused_data
                self._member = self._next_member()
            elif not self._input and not self._receive():
                raise CaptureError(f"the {self.compression} data breaks off after {self.taken:,} bytes")
        return b""

    def _decompress(self, member: _Member, most: int) -> bytes:
        if member.eof:
            return b""
        try:
            data = member.decompress(self._input, most)
        except _errors(self.compression) as error:
            # Both libraries put what they were about before what is wrong.
            problem = str(error).rpartition(": ")[2].lower()
            raise CaptureError(
                f"the {self.compression} data is damaged within its first {self.taken:,} bytes: {problem}"
            ) from error
        # zlib hands back what it had no room to unpack, Zstandard keeps it.
        self._input = getattr(member, "unconsumed_tail", b"")
        return data

    def _next_member(self) -> _Member | None:
        """The member that begins at the input, None at the end of the file.  Raises CaptureError for anything else."""
        while True:
            self._input = self._input.lstrip(b"\0")
            if len(self._input) >= MAGIC_BYTES or not self._receive():
                break
        if not self._input:
            return None
        if _is_member(self.compression, self._input[:MAGIC_BYTES]):
            return _new_member(self.compression)
        place = self.taken - len(self._input)
        raise CaptureError(f"the {self.compression} data ends at byte {place:,}, and something else follows")

    def _receive(self) -> bool:
        """Read more input; False at the end of the file."""
        try:
            # Whoever shares a pipe with this process may have made it one that does not block.
            self._ready.poll()
            data = os.read(self._descriptor, _CHUNK)
        except OSError as error:
            raise CaptureError(error.strerror or str(error)) from error
        self.taken += len(data)
        self._input += data
        return bool(data)


def _is_member(compression: Compression, head: bytes) -> bool:
    try:
        return compression_of(head) == compression
    except CaptureError:
        return False


def _new_member(compression: Compression) -> _Member:
    if compression == "gzip":
        return zlib.decompressobj(wbits=16 + zlib.MAX_WBITS)  # 16: with the header and trailer of gzip
    if sys.version_info >= (3, 14):
        from compression import zstd
    else:
        from backports import zstd
    return zstd.ZstdDecompressor()


def _errors(compression: Compression) -> type[Exception]:
    if compression == "gzip":
        return zlib.error
    if sys.version_info >= (3, 14):
        from compression import zstd
    else:
        from backports import zstd
    return zstd.ZstdError
