from array import array
from collections.abc import Callable
from typing import Self, TypeAlias

from typing_extensions import disjoint_base

from native.capture import CaptureReader
from native.neighbour import NeighbourTable
from native.port import Ports
from native.program import Program

_RawEndpoints: TypeAlias = tuple[int, int, int, int, int]
_RawStep: TypeAlias = tuple[
    int, int, int | None, int | None, _RawEndpoints | None, _RawEndpoints | None, bool, int | None, int | None
]
_RawFragmentation: TypeAlias = tuple[int, int, int]
_RawOutput: TypeAlias = tuple[int, bytes, bool, tuple[bytes, ...], _RawFragmentation | None]

AT_WORK: str
ONE_THREAD: str

@disjoint_base
class Engine:
    def __new__(cls, seed: int) -> Self: ...
    def set_pace(self, each: int, most: int) -> None: ...
    def reserve(
        self,
        slots: int,
        usage: int,
        sessions: int,
        fragments: int,
        mappings: int = 0,
        sources: bool = False,
        ports: int = 0,
    ) -> None: ...
    def swap(
        self,
        program: Program,
        port_map: list[int | None],
        flush: bool,
        sources: bool = False,
        between: Callable[[], object] | None = None,
    ) -> Program | None: ...
    def process(
        self,
        port: int,
        frame: bytes,
        now_ns: int,
        record: bool = True,
        unsegmented: bool = False,
        map_replies: bool = False,
        fragmentation: _RawFragmentation | None = None,
    ) -> tuple[int, int, list[_RawStep], _RawOutput | None]: ...
    def process_batch(
        self, frames: list[tuple[int, bytes]], now_ns: int, outputs: bool
    ) -> list[tuple[int, int, _RawOutput | None]]: ...
    def ingress_port(self, frame: bytes) -> int: ...
    def map_reply(self, port: int, frame: bytes, now_ns: int) -> tuple[int, bytes]: ...
    def replay(
        self, reader: CaptureReader, in_port: int | None, map_replies: bool, max_packets: int
    ) -> tuple[int, int, bool]: ...
    def take_turn(self) -> None: ...
    def give_turn(self) -> None: ...
    @property
    def forwarding(self) -> bool: ...
    @property
    def waiting_turns(self) -> int: ...
    def __enter__(self) -> Self: ...
    def __exit__(self, *_: object) -> None: ...
    @property
    def neighbours(self) -> NeighbourTable | None: ...
    def reserve_links(self, program: Program) -> None: ...
    def attach(self, neighbours: NeighbourTable) -> None: ...
    def emit(self, ports: Ports, frames: list[tuple[int, bytes]]) -> None: ...
    def forward(self, ports: Ports) -> None: ...
    def asked_ahead(self, frames: list[tuple[int, bytes]]) -> list[int]: ...
    def time_bursts(
        self,
        frames: list[bytes],
        ports: array[int],
        order: array[int],
        trials: int,
        bursts: int,
        step_ns: int = 50_000,
        aside: bytes | None = None,
    ) -> list[int]: ...
