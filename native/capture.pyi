from collections.abc import Iterator
from types import TracebackType
from typing import NamedTuple, Self

from typing_extensions import disjoint_base

from native.stream import InputStream

class CapturedFrame(NamedTuple):
    """One record: its number from 1, nanoseconds since 1970, the Ethernet frame, its length on the wire as the file
    states it, and the interface it was seen on (from 0 within its section)."""

    number: int
    ts_ns: int
    frame: bytes
    wire_length: int
    interface: int

@disjoint_base
class CaptureReader(InputStream, Iterator[CapturedFrame]):
    """Iterates over a capture, compressed with gzip or zstd or not; takes over the descriptor.  ``number`` to
    ``interface`` tell of the last record, ``size`` is None for what is no regular file.  Raises CaptureError at the
    header or record that is no good."""

    number: int
    wire_length: int
    interface: int
    size: int | None
    name: str
    @property
    def bytes_read(self) -> int:
        """How much of the file, as it is stored, has been read; to be held against ``size``."""
    def __init__(self, fd: int, name: str) -> None: ...
    def __iter__(self) -> Self: ...
    def __next__(self) -> CapturedFrame: ...
    def __enter__(self) -> Self: ...
    def __exit__(
        self,
        exception_type: type[BaseException] | None,
        exception: BaseException | None,
        traceback: TracebackType | None,
        /,
    ) -> None: ...
    def raise_for_error(self) -> None:
        """Raise what ended the reading, if it was not the end of the file.  Raises CaptureError."""
