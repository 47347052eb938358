"""Captures in and out: pcap and pcapng read as Ethernet frames, pcapng written with a comment on every packet.

Reading is native (:mod:`native.capture`) and streams: memory stays flat whatever the size of the file, and what is
compressed with gzip or zstd is unpacked on the way (:mod:`edge.decompression`).  A record that
the capture cut short (its snap length was smaller than the packet) is filled up with zeros to its length on the wire,
at most 65,553 bytes: its headers are judged as if it were whole, its payload is not there to be looked at.  A frame
check sequence, where the file declares one, is cut off.  Raw IP, Linux cooked and BSD loopback captures get an
Ethernet header.
"""

from __future__ import annotations

import contextlib
import os
import stat
import struct
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Self

from edge.errors import CaptureError
from native.capture import CapturedFrame, CaptureReader

__all__ = ["STANDARD_INPUT", "CaptureReader", "CaptureWriteError", "CapturedFrame", "PcapngWriter", "open_capture"]


class CaptureWriteError(CaptureError):
    """A capture file that cannot be written."""

    reason = "OUTPUT_FAILED"


STANDARD_INPUT = "-"
"""The path that stands for standard input; a file of that name is ``./-``."""


def open_capture(path: str | os.PathLike[str]) -> CaptureReader:
    """Open a pcap or pcapng file, compressed with gzip or zstd or not; iterate over it, and close it or use it in a
    ``with`` statement.

    ``path`` may be a pipe, or ``-`` for standard input, which stays open.  Raises CaptureError for what cannot be
    opened or is no capture, LinkTypeUnsupportedError for a pcap file of a link type that is not emulated (in a pcapng
    file only a packet of such an interface raises it).
    """
    name = os.fspath(path)
    try:
        if name == STANDARD_INPUT:
            name = "standard input"
            descriptor = os.dup(0)
        else:
            descriptor = os.open(name, os.O_RDONLY | os.O_CLOEXEC)
    except OSError as error:
        raise CaptureError(f"{name}: {error.strerror}") from error
    if os.isatty(descriptor):
        os.close(descriptor)
        raise CaptureError(f"{name}: is a terminal, not a capture")
    return CaptureReader(descriptor, name)


# draft-ietf-opsawg-pcapng: blocks and options that are written.
_SECTION = 0x0A0D0D0A
_INTERFACE = 1
_ENHANCED_PACKET = 6
_OPT_COMMENT = 1
_SHB_USERAPPL = 4
_IF_NAME = 2
_IF_TSRESOL = 9
_NANOSECONDS = b"\x09"
_LINKTYPE_ETHERNET = 1
_LONGEST_OPTION = 65_532

_PACKET_HEADER = struct.Struct("<7I")
_OPTION_HEADER = struct.Struct("<2H")
_LENGTH = struct.Struct("<I")
_BUFFER = 1 << 20


class PcapngWriter:
    """Writes Ethernet frames to a pcapng file, one interface per port, with nanoseconds and a comment per packet.

    The file appears whole or not at all: it is written beside its place and renamed on :meth:`close`; leaving a
    ``with`` statement by an exception, or :meth:`abort`, removes it.  A path that is no regular file (a pipe, a
    device) is written to as it is.  Raises CaptureWriteError when something cannot be written.
    """

    def __init__(self, path: str | os.PathLike[str], ports: Sequence[str]) -> None:
        self.path = os.fspath(path)
        self._interfaces = {name: number for number, name in enumerate(ports)}
        self._target = Path(os.path.realpath(self.path))
        self._temporary: Path | None = None
        try:
            self._file: BinaryIO = self._open()
        except OSError as error:
            raise self._failure(error) from error
        self._write(_block(_SECTION, struct.pack("<IHHq", 0x1A2B3C4D, 1, 0, -1) + _option(_SHB_USERAPPL, b"t1edge")))
        for name in ports:
            options = _option(_IF_NAME, _text(name)) + _option(_IF_TSRESOL, _NANOSECONDS)
            self._write(_block(_INTERFACE, struct.pack("<HHI", _LINKTYPE_ETHERNET, 0, 0) + options))

    def _open(self) -> BinaryIO:
        if self._target.exists() and not stat.S_ISREG(self._target.stat().st_mode):
            return self._target.open("wb", buffering=_BUFFER)
        temporary = self._target.with_name(f".{self._target.name[:200]}.{os.getpid()}.tmp")
        file = temporary.open("xb", buffering=_BUFFER)
        self._temporary = temporary
        return file

    def write(self, port: str, frame: bytes, ts_ns: int, comment: str = "") -> None:
        """Append one frame that was seen on ``port`` at ``ts_ns`` nanoseconds since 1970."""
        size = len(frame)
        padding = -size & 3
        options = _option(_OPT_COMMENT, _text(comment)) + b"\0\0\0\0" if comment else b""
        total = 32 + size + padding + len(options)
        header = _PACKET_HEADER.pack(
            _ENHANCED_PACKET, total, self._interfaces[port], ts_ns >> 32, ts_ns & 0xFFFFFFFF, size, size
        )
        self._write(b"".join((header, frame, bytes(padding), options, _LENGTH.pack(total))))

    def close(self) -> None:
        """Put the finished file in its place."""
        if self._file.closed:
            return
        try:
            self._file.flush()
            if self._temporary is not None:
                os.fsync(self._file.fileno())
            self._file.close()
            if self._temporary is not None:
                self._temporary.rename(self._target)
        except OSError as error:
            self.abort()
            raise self._failure(error) from error
        self._temporary = None

    def abort(self) -> None:
        """Leave nothing behind."""
        # Closing writes out what is buffered, which fails again on a full disk; the file goes anyway.
        with contextlib.suppress(OSError):
            self._file.close()
        if self._temporary is not None:
            self._temporary.unlink(missing_ok=True)
            self._temporary = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exception: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if kind is None:
            self.close()
        else:
            self.abort()

    def _write(self, data: bytes) -> None:
        try:
            self._file.write(data)
        except OSError as error:
            self.abort()
            raise self._failure(error) from error

    def _failure(self, error: OSError) -> CaptureWriteError:
        return CaptureWriteError(f"{self.path}: cannot be written: {error.strerror or error}")


def _text(text: str) -> bytes:
    """UTF-8 that fits an option; what does not is cut between two characters."""
    data = text.encode("utf-8", "replace")
    return data if len(data) <= _LONGEST_OPTION else data[:_LONGEST_OPTION].decode("utf-8", "ignore").encode()


def _option(code: int, value: bytes) -> bytes:
    return _OPTION_HEADER.pack(code, len(value)) + value + bytes(-len(value) & 3)


def _block(kind: int, body: bytes) -> bytes:
    """A block whose body ends in options."""
    total = len(body) + 16
    return struct.pack("<2I", kind, total) + body + struct.pack("<2HI", 0, 0, total)
