"""One edge by several workers: an engine each, whose sessions are its own.

:mod:`native.steer` says which worker a packet belongs to, docs/workers.md what they share.  What cannot be divided
among workers is left to one, and :func:`reasons_for_one` names it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from edge.bindings import Bindings
from edge.compiler import Tables
from edge.errors import ResourceError
from edge.model import EdgeConfig
from edge.nat.config import NatConfig, NatType
from edge.placing import placing_program
from edge.runtime import Edge, Prepared, ReplayChunk, chosen_seed
from edge.steering import Ranges, together, touched_ranges
from native import control
from native.capture import CaptureReader
from native.engine import Engine
from native.neighbour import NeighbourTable
from native.port import Ports
from native.program import Program
from native.snapshot import Blank, copy_team
from native.steer import Steerer
from native.team import Lane, Team

Touched = tuple[Ranges, Ranges]

MAPPINGS = "sessions from under profile strict-rfc still have their external ports towards everybody"


def reasons_for_one(config: EdgeConfig) -> list[str]:
    """Why an edge has to have one worker; empty: it may have more."""
    found = []
    if config.options.max_sessions_per_source is not None:
        found.append("options.maxSessionsPerSource counts sessions of one machine with everybody")
    if config.options.endpoint_independent and any(
        rule.enabled and rule.type is NatType.SNAT for rule in config.nat.rules
    ):
        found.append("profile strict-rfc keeps the external port of SNAT towards everybody")
    return found


@dataclass(frozen=True, slots=True)
class Way:
    """One way to divide packets: by the addresses that NAT may touch; ``placing`` has the kernel do the same."""

    touched: Touched
    steerer: Steerer
    placing: bytes


@dataclass(frozen=True, slots=True)
class Division:
    """How packets are divided under a configuration: the ``narrow`` way, by what its own NAT rules read and write, or,
    as long as there are sessions that this would tear apart, the ``wide`` one, by that and what there was ``before``.

    ``reasons`` tell why one worker does everything.
    """

    nat: NatConfig
    narrow: Way
    wide: Way
    before: Touched
    reasons: list[str]


class Workers(Edge):
    """An edge with ``workers`` workers.  Each forwards in a thread of its own; everything else takes a turn, in which
    all of them stand between two bursts.

    With ``one_sequence`` it does what :class:`edge.runtime.Edge` does with the same seed, bytes and random choices
    included, in one thread: it does not forward; without it each worker draws from a sequence of its own.  Raises
    ResourceError for lack of memory, ValueError for a number of workers that cannot be.
    """

    def __init__(
        self,
        config: EdgeConfig,
        workers: int,
        *,
        seed: int | None = None,
        revision: int = 1,
        tables: Tables | None = None,
        one_sequence: bool = False,
    ) -> None:
        chosen = chosen_seed(config, seed)
        try:
            self._alone = Way(([], []), Steerer(1, ([], []), chosen), placing_program(([], []), chosen, 1))
            first = Steerer(workers, ([], []), chosen)
            engines = [Engine(chosen) for _ in range(workers)]
            team = Team(engines, first, one_sequence)
        except MemoryError as error:
            raise ResourceError(str(error)) from error
        self._seed = chosen
        self._division: Division | None = None
        self._touched: Touched = ([], [])
        self._set_team(team)
        self._begin(team.engines[0], team, Bindings(), None, {})
        self.commit(self.prepare(config, tables=tables, revision=revision))

    def _set_team(self, team: Team) -> None:
        self._team = team
        self._reasons: list[str] = []
        self._placing = self._alone.placing

    @property
    def workers(self) -> int:
        """How many threads may forward at once."""
        return len(self._team.engines)

    @property
    def reasons_for_one(self) -> list[str]:
        """Why one worker does everything although there are more; empty: it does not."""
        return self._reasons

    @property
    def placing(self) -> bytes:
        """As :attr:`edge.runtime.Edge.placing`; another one when a configuration divides packets otherwise."""
        return self._placing

    @property
    def created(self) -> list[int]:
        """How many sessions each worker has made."""
        return self._team.created

    @property
    def handed(self) -> int:
        """How many frames workers have handed over to others."""
        return self._team.handed

    @property
    def called(self) -> int:
        """How often a worker that slept was woken for them."""
        return self._team.called

    @property
    def moved(self) -> dict[str, int]:
        """How many sessions and datagrams in pieces have gone to another worker because a configuration divides them
        otherwise."""
        return self._team.moved

    def owner(self, frame: bytes) -> int:
        """The worker that a frame belongs to."""
        return self._team.steerer.owner(frame)

    def lane(self, worker: int) -> Lane:
        """A worker for a thread of its own, to measure it."""
        return self._team.lane(worker)

    # ------------------------------------------------------------------ forwarding

    def attach(self, neighbours: NeighbourTable) -> None:
        """Have a link layer from now on, which follows the configurations.  Raises ResourceError."""
        neighbours.share()
        try:
            for engine in self._team.engines:
                engine.attach(neighbours)
        except MemoryError as error:
            raise ResourceError(str(error)) from error

    def forward(self, ports: Ports, worker: int = 0) -> None:
        """Forward between ports until somebody stops them, by the clock CLOCK_MONOTONIC; in a thread of its own for
        each worker."""
        self._team.engines[worker].forward(ports)

    @property
    def forwarding(self) -> bool:
        """Is a thread inside :meth:`forward`, of each worker?"""
        return all(engine.forwarding for engine in self._team.engines)

    # ------------------------------------------------------------------ configurations

    def prepare(self, config: EdgeConfig, *, tables: Tables | None = None, revision: int | None = None) -> Prepared:
        """As :meth:`edge.runtime.Edge.prepare`."""
        division = self._divide(config)
        prepared = super().prepare(config, tables=tables, revision=revision)
        prepared.division = division
        return prepared

    def _divide(self, config: EdgeConfig) -> Division:
        """How packets are to be divided under a configuration that may follow what runs now."""
        with self._turn:
            last, before = self._division, self._touched
        reasons = reasons_for_one(config) if self.workers > 1 else []
        touched = last.narrow.touched if last is not None and last.nat is config.nat else touched_ranges(config.nat)
        both = together(touched, before)
        try:
            if reasons:
                return Division(config.nat, self._by_one(touched), self._by_one(both), before, reasons)
            narrow = self._way(last, touched)
            wide = narrow if both == touched else self._way(last, both)
        except MemoryError as error:
            raise ResourceError(str(error)) from error
        return Division(config.nat, narrow, wide, before, reasons)

    def _way(self, last: Division | None, touched: Touched) -> Way:
        """By these addresses; the one that there is stays, so that nothing has to move."""
        for way in () if last is None else (last.narrow, last.wide):
            if way.touched == touched and way.steerer is not self._alone.steerer:
                return way
        steerer = Steerer(self.workers, touched, self._seed)
        return Way(touched, steerer, placing_program(touched, self._seed, self.workers))

    def _by_one(self, touched: Touched) -> Way:
        """By one worker, under a configuration with these addresses."""
        return replace(self._alone, touched=touched)

    def _swap(self, prepared: Prepared, port_map: list[int | None], flush: bool, sources: bool) -> Program | None:
        division = prepared.division
        if division is None or division.before != self._touched:  # another change came first
            division = self._divide(prepared.running.config)
        narrow, wide, reasons = division.narrow, division.wide, division.reasons
        alone = self._alone.steerer
        if not reasons and self._team.steerer is alone and control.mappings(self._engine):
            narrow, wide = self._by_one(narrow.touched), self._by_one(wide.touched)
            reasons = [MAPPINGS]
        old, fits = self._team.swap(prepared.program, port_map, flush, narrow.steerer, wide.steerer, sources)
        self._placing = narrow.placing if fits else wide.placing
        # One worker has sessions of every kind.
        self._touched = narrow.touched if fits and narrow.steerer is not alone else wide.touched
        self._division = division
        self._reasons = reasons
        return old

    def snapshot(self) -> Workers:
        """As :meth:`edge.runtime.Edge.snapshot`, with as many workers."""
        copy = Workers.__new__(Workers)
        try:
            blanks = [Blank(engine) for engine in self._team.engines]
            with self._turn:
                team = copy_team(self._team, blanks)
                copy._alone, copy._seed = self._alone, self._seed  # noqa: SLF001 - it is one of these
                copy._division, copy._touched = self._division, self._touched  # noqa: SLF001 - likewise
                copy._set_team(team)  # noqa: SLF001 - likewise
                copy._reasons, copy._placing = self._reasons, self._placing  # noqa: SLF001 - likewise
                copy._begin(team.engines[0], team, self._bindings, self._running, self._port_counters)  # noqa: SLF001 - likewise
        except MemoryError as error:
            raise ResourceError(str(error)) from error
        return copy

    def replay(
        self,
        reader: CaptureReader,  # noqa: ARG002 - likewise
        *,
        in_port: str | None = None,  # noqa: ARG002 - likewise
        map_replies: bool = True,  # noqa: ARG002 - likewise
        max_packets: int = 1 << 62,  # noqa: ARG002 - likewise
    ) -> ReplayChunk:
        """Captures are one worker's work: raises RuntimeError."""
        raise RuntimeError("a capture is replayed by an edge with one worker")

    def time_bursts(self, *_: object, **__: object) -> list[int]:
        """Likewise measurements, but for those of :meth:`lane`."""
        raise RuntimeError("one worker is measured, or each by its lane")
