from collections.abc import Sequence
from typing import Self, TypeAlias

from typing_extensions import disjoint_base

from native.engine import Engine
from native.program import Program
from native.steer import Steerer

ONE_THREAD: str

_Endpoints: TypeAlias = tuple[int, int, int, int, int]
_Step: TypeAlias = tuple[
    int, int, int | None, int | None, _Endpoints | None, _Endpoints | None, bool, int | None, int | None
]
_Output: TypeAlias = tuple[int, bytes, bool, tuple[bytes, ...], tuple[int, int, int] | None]

@disjoint_base
class Common:
    """What ``workers`` workers share, and the rings between them."""

    def __new__(cls, workers: int) -> Self: ...

@disjoint_base
class Team:
    """``engines``, new ones with one seed and without a program, as the workers that ``steerer`` knows.

    They share what limits are about, and hand over what belongs to another.  What they have room for and what they run
    they are told by the team, all of them at once, and a turn of one is a turn of all.  ``one_sequence``, for one
    thread that runs all: what is drawn at random, and which sessions end before a packet, is as with the first engine
    alone.  Raises ValueError for engines that cannot be workers, MemoryError.
    """

    def __new__(cls, engines: list[Engine], steerer: Steerer, one_sequence: bool = False) -> Self: ...
    @property
    def engines(self) -> list[Engine]: ...
    def set_pace(self, each: int, most: int) -> None: ...
    @property
    def steerer(self) -> Steerer:
        """What divides packets now."""

    @property
    def created(self) -> list[int]:
        """How many sessions each worker has made."""

    @property
    def moved(self) -> dict[str, int]:
        """What has gone from one worker to another because configurations divide it otherwise, by what it is."""

    @property
    def handed(self) -> int:
        """Frames that workers have handed over to others."""

    @property
    def called(self) -> int:
        """How often a worker that slept was woken for them."""

    def reserve(
        self,
        slots: int,
        usage: int,
        sessions: int,
        fragments: int,
        mappings: int = 0,
        sources: bool = False,
        ports: int = 0,
    ) -> None:
        """Make room at every worker, as :meth:`native.engine.Engine.reserve` does."""

    def swap(
        self,
        program: Program,
        port_map: list[int | None],
        flush: bool,
        narrow: Steerer,
        wide: Steerer,
        sources: bool = False,
    ) -> tuple[Program | None, bool]:
        """Run ``program`` at every worker from the next packet on, as :meth:`native.engine.Engine.swap` does, and
        divide packets as ``narrow`` says if every session is one worker's by that, else as ``wide`` does: what a worker
        has that is another's then goes there.  The program that ran until now, and whether it was ``narrow``.
        """

    def map_reply(self, port: int, frame: bytes, now_ns: int) -> tuple[int, bytes]:
        """As that of an engine."""

    def process(
        self,
        port: int,
        frame: bytes,
        now_ns: int,
        unsegmented: bool = False,
        map_replies: bool = False,
        fragmentation: tuple[int, int, int] | None = None,
    ) -> tuple[int, int, list[_Step], _Output | None]:
        """One frame, by its worker: what :meth:`native.engine.Engine.process` tells."""

    def process_batch(
        self, frames: list[tuple[int, bytes]], now_ns: int, outputs: bool
    ) -> list[tuple[int, int, _Output | None]]:
        """Frames by their workers, as :meth:`native.engine.Engine.process_batch` does it."""

    def lane(self, worker: int) -> Lane:
        """A worker that :meth:`Lane.time_bursts` runs.  Raises ValueError where there is none, RuntimeError with
        ``one_sequence``, MemoryError."""

@disjoint_base
class Lane:
    """One worker of a team; each runs in a thread of its own."""

    def __new__(cls, team: Team, worker: int) -> Self: ...
    def time_bursts(
        self,
        frames: list[bytes],
        ports: Sequence[int],
        order: Sequence[int],
        first: int,
        bursts: int,
        step_ns: int,
    ) -> tuple[int, int]:
        """(nanoseconds of this thread's processor time, packets handed to others) of ``bursts`` bursts of 256 frames.

        ``order`` names the frame (and port) of each packet and is walked round and round from place ``first`` on;
        neither copying frames into the burst nor waiting is counted.  Ends when all workers' packets are done:
        every worker of the team has to be run at the same time, with as many bursts.  Raises ValueError when a packet
        was not allowed; the clock moves ``step_ns`` a burst.  Raises RuntimeError where another thread is at work with
        the engine, and, in the others, where one of the workers could not begin: the team is of no use any more.
        """
