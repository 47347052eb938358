from collections.abc import Sequence
from typing import Self, TypeAlias

from typing_extensions import disjoint_base

from native.engine import Engine
from native.steer import Steerer

_Output: TypeAlias = tuple[int, bytes, bool, tuple[bytes, ...], tuple[int, int, int] | None]

@disjoint_base
class Team:
    """``engines``, new ones that run the same program, as the workers that ``steerer`` knows.

    They share what limits are about, and hand over what belongs to another.  None of them may get another program, nor
    room for more external addresses.  Raises ValueError for engines of another number or with sessions, MemoryError.
    """

    def __new__(cls, engines: list[Engine], steerer: Steerer) -> Self: ...
    @property
    def engines(self) -> list[Engine]: ...
    def set_pace(self, each: int, most: int) -> None: ...
    @property
    def peak(self) -> int:
        """The most sessions that all workers together have had at once."""

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
    ) -> tuple[int, tuple[int, int, list[tuple[object, ...]], _Output | None]]:
        """One frame, by its worker: that one's number, and what :meth:`native.engine.Engine.process` tells.

        What a single engine draws at random is drawn in the same order here, so that with the seed of the first engine
        it would do the same.
        """

    def lane(self, worker: int) -> Lane:
        """A worker that :meth:`Lane.time_bursts` runs.  Raises ValueError where there is none, MemoryError."""

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
