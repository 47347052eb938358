from collections.abc import Iterator
from types import TracebackType
from typing import NamedTuple, Self

class CapturedFrame(NamedTuple):
    number: int
    ts_ns: int
    frame: bytes
    wire_length: int
    interface: int

class CaptureReader(Iterator[CapturedFrame]):
    number: int
    wire_length: int
    captured_length: int
    interface: int
    size: int | None
    name: str
    @property
    def bytes_read(self) -> int: ...
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
    def close(self) -> None: ...
    def raise_for_error(self) -> None: ...
