"""A running edge: one native engine, the configuration it runs, and results as values.

Two edges can live in one process; nothing here is global.  :class:`edge.reference.ReferenceEdge` has the same methods
and is the specification of what they return.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import TYPE_CHECKING
from weakref import WeakSet

from edge.bindings import Bindings
from edge.compiler import Compiled, Tables, compile_change
from edge.counters import Counted, PortCount, rule_counters, stats_of
from edge.errors import FrameTooLongError, NoPortError, ResourceError, UnknownPortError
from edge.merging import Merge
from edge.model import DEFAULT_SEED, EdgeConfig, SessionsOnChange
from edge.raw import (
    REASONS,
    VERDICTS,
    RawEvent,
    RawMatch,
    Running,
    SessionRun,
    outcome,
    output,
    runtime_events,
    session_info,
    wanted,
)
from edge.state import RuleCounters, RuntimeEvent, SessionInfo, SessionMatch, SessionsPage, Stats
from edge.verdicts import Fragmentation, Outcome, Output, Processed
from native import control
from native.capture import CaptureReader
from native.engine import Engine
from native.neighbour import NeighbourTable
from native.port import Ports
from native.program import Program
from native.snapshot import Blank, copy_engine
from native.team import Team

if TYPE_CHECKING:
    from edge.workers import Division

SLOTS_A_TURN = 4096
"""How many slots of the session table are looked at before packets may pass again: less than a millisecond."""

TURNS_A_PAGE = 16
"""After so many turns a page ends even if it is short, so that no call takes long."""

EVENTS_KEPT = 65_536
EVENTS_A_TURN = 8192
CALLS_A_TAKE = EVENTS_KEPT // EVENTS_A_TURN


@dataclass(frozen=True, slots=True)
class ReplayChunk:
    """What one call of :meth:`Edge.replay` did: records taken, their bytes on the wire, and whether the reader has no
    more, be it at the end of the capture or for an error (``reader.raise_for_error()`` tells)."""

    packets: int
    bytes: int
    done: bool


class Prepared:
    """A configuration that an edge could run at once; see :meth:`Edge.prepare`.  Once it does, ``replaced`` is what ran
    before: to let go of that takes a while, and is no work for a turn."""

    program: Program
    bindings: Bindings
    replaced: tuple[Running | None, Compiled | None, Program | None] | None = None
    division: Division | None = None  # of packets among workers

    def __init__(self, running: Running, compiled: Compiled) -> None:
        self.running = running
        self.compiled = compiled


class Edge:
    """One edge gateway, forwarding.  Every method takes a turn (:meth:`turn`), so that any thread may call; but while
    :meth:`replay` runs in one, calls from another raise RuntimeError.

    ``seed`` starts everything random; None takes the configuration's, else a fixed one.  ``revision`` is the number of
    the first configuration, ``tables`` its own, if somebody has compiled them already.  Raises ResourceError when there
    is no memory for it.
    """

    def __init__(
        self, config: EdgeConfig, *, seed: int | None = None, revision: int = 1, tables: Tables | None = None
    ) -> None:
        engine = Engine(chosen_seed(config, seed))
        self._begin(engine, engine, Bindings(), None, {})
        self.commit(self.prepare(config, tables=tables, revision=revision))

    def _begin(
        self,
        engine: Engine,
        whole: Engine | Team,
        bindings: Bindings,
        running: Running | None,
        port_counters: dict[str, PortCount],
    ) -> None:
        self._engine = engine  # of several the first
        self._whole = whole
        self._port_counters = port_counters  # as they were when the configuration last changed; never changed itself
        self._bindings = bindings
        self._running = running
        self._program: Program | None = None
        self._compiled: Compiled | None = None  # what the program was made from, if this edge has one
        self._merge: Merge | None = None  # of that, for the next configuration
        self._prepared: WeakSet[Prepared] = WeakSet()
        self._turn = engine
        self._waiting: list[tuple[Running, bytes]] = []
        self._waits = 0
        self._lost = 0
        self._watching = False

    @property
    def config(self) -> EdgeConfig:
        """What it runs."""
        return self._now.config

    @property
    def revision(self) -> int:
        """1 for the first configuration and one more with each change, where the caller does not say otherwise."""
        return self._now.revision

    @property
    def _now(self) -> Running:
        assert self._running is not None, "the constructor installs a configuration"
        return self._running

    @property
    def workers(self) -> int:
        """How many threads may forward at once."""
        return 1

    @property
    def placing(self) -> bytes:
        """The program of :mod:`edge.placing` by which frames come in at the worker that they belong to; empty: there
        is only one."""
        return b""

    @property
    def handed(self) -> int:
        """How many frames workers have handed over to others."""
        return 0

    @property
    def reasons_for_one(self) -> list[str]:
        """Why one worker does everything although there are more; empty: it does not."""
        return []

    def turn(self) -> AbstractContextManager[object]:
        """While it is held, what is asked of the edge belongs together: nobody else has a turn, and no packet passes in
        between.  A thread that has it can take it again; every method here takes one for itself."""
        return self._engine

    def attach(self, neighbours: NeighbourTable) -> None:
        """Have a link layer from now on, which follows the configurations.  Raises ResourceError."""
        try:
            self._engine.attach(neighbours)
        except MemoryError as error:
            raise ResourceError(str(error)) from error

    def next_hop(
        self, neighbours: NeighbourTable, port: int, frame: bytes
    ) -> tuple[int, int, bytes | None, int | None] | None:
        """Whom a frame that leaves by the port with that number is given to, of those who are on the links."""
        with self._turn:
            assert self._program is not None, "a snapshot has no links"
            return neighbours.next_hop(self._program, port, frame)

    def forward(self, ports: Ports, worker: int = 0) -> None:  # noqa: ARG002 - there is one
        """Forward between ports until somebody stops them, by the clock CLOCK_MONOTONIC; in a thread of its own for
        each worker."""
        self._engine.forward(ports)

    @property
    def forwarding(self) -> bool:
        """Is a thread inside :meth:`forward`, of each worker?"""
        return self._engine.forwarding

    def emit(self, ports: Ports, outputs: Iterable[Output]) -> None:
        """Send what :meth:`process_batch` gave out by these ports."""
        numbers = self._now.numbers
        self._engine.emit(
            ports,
            [(numbers[output.port], frame) for output in outputs for frame in output.fragments or (output.frame,)],
        )

    # ------------------------------------------------------------------ configurations

    def apply(self, config: EdgeConfig) -> None:
        """Run another configuration from the next packet on; ``sessionsOnChange`` of the new one says what becomes of
        the sessions.  If compiling fails, there is no memory (ResourceError) or no port (NoPortError), nothing has
        changed."""
        self.commit(self.prepare(config))

    def prepare(self, config: EdgeConfig, *, tables: Tables | None = None, revision: int | None = None) -> Prepared:
        """Everything about a change that can fail: as :meth:`apply`, only that nothing has changed afterwards.

        ``tables`` are its own, if somebody has compiled them already; without them only that is compiled which differs
        from what runs: firewall rules are compared by object, routing, NAT and options by value.  ``revision`` is the
        number it will run under, None for one more than now.  What is never committed costs nothing once forgotten.
        """
        if not config.ports:
            raise NoPortError(f"the edge {config.name!r} has neither uplinks nor networks: no packet can enter it")
        with self._turn:
            before, like, merge = self._compiled, self._program, self._merge
        if before is not None and merge is not None and merge.base is not None:
            before = before.over(merge.base)
        compiled = compile_change(config, before) if tables is None else Compiled.of(config, tables)
        tables = compiled.tables
        kinds = dict(zip(config.ports, tables.routing.port_kinds, strict=True))
        running = Running(config, 0, kinds, tables.pool_addresses(), compiled.firewall_ids)
        prepared = Prepared(running, compiled)
        rule_ids = tables.rule_ids(None if before is None else before.tables)
        # The work of a large configuration is done between turns; if somebody else prepared one meanwhile, once more.
        while not self._bind(prepared, rule_ids, revision):
            pass
        bindings = prepared.bindings
        try:
            part = None if merge is None else merge.part
            prepared.program = Program(tables, bindings.slots, bindings.usage, running.revision, like, part)
            with self._turn:
                self._engine.reserve_links(prepared.program)
        except MemoryError as error:
            raise no_memory(error) from error
        return prepared

    def _bind(self, prepared: Prepared, rule_ids: Sequence[str], revision: int | None) -> bool:
        """Give slots to the rules and addresses of what is prepared, and make room for it; False if the bindings have
        changed meanwhile."""
        addresses = prepared.running.addresses
        with self._turn:
            before, holders = self._bindings, control.usages(self._engine)
            owed = set(control.exhausted_unheld(self._engine))  # an event is, about the addresses of these slots
            needed = [item.running.addresses for item in self._prepared]
            if self._running is not None:
                needed.append(self._running.addresses)
        # What no configuration needs and no session holds is not held again.
        unheld = before.unused(addresses, needed, memoryview(holders).cast("I"))
        unused = [address for address in unheld if before.usage[address] not in owed]
        prepared.bindings = before.bound(rule_ids, addresses, unused)
        config = prepared.running.config
        options = config.options
        with self._turn:
            if self._bindings is not before:
                return False
            try:
                self._whole.reserve(
                    len(prepared.bindings.slot_ids),
                    prepared.bindings.usage_slots,
                    options.max_sessions,
                    options.max_fragments,
                    mappings=options.max_sessions if options.endpoint_independent else 0,
                    sources=options.max_sessions_per_source is not None,
                    ports=len(config.ports),
                )
            except MemoryError as error:
                raise no_memory(error) from error
            if revision is None:
                revision = 1 if self._running is None else self._running.revision + 1
            prepared.running.revision = revision
            self._bindings = prepared.bindings
            self._prepared.add(prepared)
        return True

    def commit(self, prepared: Prepared) -> None:
        """Run what was prepared from the next packet on.  This cannot fail, in whichever order it is done."""
        with self._turn:
            self._prepared.discard(prepared)
            self._look_at_addresses()
            old, new = self._running, prepared.running
            port_map = [] if old is None else [new.number_of_kind(name, kind) for name, kind in old.kinds.items()]
            flush = new.config.options.sessions_on_change is SessionsOnChange.FLUSH
            limited = any(item.running.config.options.max_sessions_per_source for item in self._prepared)
            if old is not None:
                counted = zip(old.ports, control.port_counters(self._engine), strict=True)
                self._port_counters = {**self._port_counters, **dict(counted)}
            prepared.replaced = old, self._compiled, self._swap(prepared, port_map, flush, limited)
            if self._compiled is None or prepared.compiled.base is not self._compiled.base:
                self._merge = None
            self._program, self._compiled = prepared.program, prepared.compiled
            self._running = new
            # Packets have passed while sessions followed.
            begun = zip(new.ports, control.port_counters(self._engine), strict=True)
            control.set_port_counters(
                self._engine, [added(self._port_counters.get(name), item) for name, item in begun]
            )
            if old is not None:
                # Only where ports keep their numbers do packets pass, and new sessions begin, while sessions follow.
                stays = port_map == list(range(len(port_map)))
                self._collect_events(EVENTS_KEPT, new if stays else old)

    def _swap(self, prepared: Prepared, port_map: list[int | None], flush: bool, sources: bool) -> Program | None:
        return self._engine.swap(prepared.program, port_map, flush, sources)

    def _look_at_addresses(self) -> None:
        """An address that had no port to give and that no session holds has room again: none will end to say so."""
        if slots := control.exhausted_unheld(self._engine):
            address_at = {slot: address for address, slot in self._bindings.usage.items()}
            for slot in slots:
                control.has_room_again(self._engine, slot, *address_at[slot])

    def merging(self) -> Merge | None:
        """Work to do beside all else where so many rules have changed that what lies over the firewall's table should
        become part of one: to be built, in any thread, and given to :meth:`merged`.  None where there is none.

        Changes need not wait for it, and nothing that packets meet depends on whether it is done."""
        with self._turn:
            compiled, slots = self._compiled, self._bindings.slots
            due = compiled is not None and self._merge is None
        if compiled is None or not due or compiled.tables.overlay is None or not compiled.tables.overlay.should_merge:
            return None
        return Merge(compiled, slots)

    def merged(self, merge: Merge) -> bool:
        """Lay the configurations to come over what was built; one that could not be built is not tried again.  False,
        and all is as it was, if a change has brought a table of its own meanwhile."""
        with self._turn:
            if self._compiled is None or not merge.is_of(self._compiled):
                return False
            self._merge = merge
            return True

    def snapshot(self) -> Edge:
        """An edge of its own that would do with the next packets what this one would do: sessions, ports in use,
        fragments, counters, clock and randomness are those of this one, and it has heard of no events.  Raises
        ResourceError where there is no memory for that."""
        copy = Edge.__new__(Edge)
        try:
            blank = Blank(self._engine)
            with self._turn:
                engine = copy_engine(self._engine, blank)
                copy._begin(engine, engine, self._bindings, self._running, self._port_counters)  # noqa: SLF001 - it is one of these
        except MemoryError as error:
            raise ResourceError(str(error)) from error
        return copy

    # ------------------------------------------------------------------ packets

    def set_pace(self, each: int, most: int) -> None:
        """Before a packet, look at ``each`` sessions whose time may be over, and what looks were not needed before, up
        to ``most``; a session that is looked at ends, or is found to live on.  Few make a backlog likely: for tests."""
        with self._turn:
            self._whole.set_pace(each, most)

    def process(
        self,
        port: str,
        frame: bytes,
        now_ns: int,
        *,
        unsegmented: bool = False,
        map_replies: bool = False,
        fragmentation: Fragmentation | None = None,
    ) -> Outcome:
        """Send one Ethernet frame in by ``port`` at ``now_ns`` (the clock never goes back) and tell all that it did.

        ``unsegmented``: the frame was captured before a network card cut it up, the MTU is not its limit.
        ``map_replies``: take it for what a capture taken behind the edge means by it (:meth:`map_reply`), once it is
        whole.  ``fragmentation``: it is a whole datagram that came in such pieces, as an output that hairpins is.
        Raises ValueError for a port that is not there, and for pieces that it cannot have come in.
        """
        came = None if fragmentation is None else (fragmentation.size, fragmentation.identification, fragmentation.at)
        with self._turn:
            raw = self._whole.process(
                self.port_number(port),
                frame,
                now_ns,
                unsegmented=unsegmented,
                map_replies=map_replies,
                fragmentation=came,
            )
            return outcome(raw, self._now, self._bindings.slot_ids)

    def process_batch(self, frames: Sequence[tuple[str, bytes]], now_ns: int, *, outputs: bool) -> list[Processed]:
        """Send frames in, each by its port, in this order and at one time.

        All are judged under one configuration.  What the provider's router would send back in enters again at once.
        ``outputs``: tell what left, too.  Raises UnknownPortError or FrameTooLongError before anything has happened.
        """
        with self._turn:
            numbers = self._now.numbers
            for place, (port, _) in enumerate(frames):
                if port not in numbers:
                    raise UnknownPortError(f"frames[{place}]: no port {port!r}; there are {', '.join(numbers)}")
            try:
                done = self._whole.process_batch([(numbers[port], frame) for port, frame in frames], now_ns, outputs)
            except ValueError as error:
                raise FrameTooLongError(str(error)) from error
            return [
                Processed(VERDICTS[verdict], REASONS[reason], () if raw is None else (output(raw, self._now),))
                for verdict, reason, raw in done
            ]

    def replay(
        self, reader: CaptureReader, *, in_port: str | None = None, map_replies: bool = True, max_packets: int = 1 << 62
    ) -> ReplayChunk:
        """Take up to ``max_packets`` records of a capture through the pipeline without telling of each.

        ``in_port`` None lets each packet's source say where it enters; ``map_replies`` turns replies that were captured
        behind the edge into replies to the translated tuple.
        """
        number = None if in_port is None else self.port_number(in_port)
        packets, size, more = self._engine.replay(reader, number, map_replies, max_packets)
        return ReplayChunk(packets, size, not more)

    def ingress_port(self, frame: bytes) -> str:
        """The network that contains the frame's source, else the first uplink."""
        with self._turn:
            return self._now.ports[self._engine.ingress_port(frame)]

    def map_reply(self, port: str, frame: bytes, now_ns: int) -> tuple[str, bytes]:
        """What a capture taken behind the edge means by this frame: see :meth:`replay`."""
        with self._turn:
            number, mapped = self._whole.map_reply(self.port_number(port), frame, now_ns)
            return self._now.ports[number], mapped

    def port_number(self, port: str) -> int:
        """A port's number; ValueError when there is no such port."""
        try:
            return self._now.numbers[port]
        except KeyError:
            raise ValueError(f"no port {port!r}; there are {', '.join(self._now.ports)}") from None

    def time_bursts(
        self,
        frames: Sequence[bytes],
        ports: Sequence[str],
        order: Sequence[int],
        *,
        trials: int,
        bursts: int,
        step_ns: int = 50_000,
        aside: bytes | None = None,
    ) -> list[int]:
        """Clocks of each trial of so many bursts of 256 packets, between which the edge's clock moves; ``order`` says
        which frame each packet is, ``aside`` which are not counted, so that each is timed by itself."""
        numbers = array("H", [self.port_number(port) for port in ports])
        return self._engine.time_bursts(list(frames), numbers, array("I", order), trials, bursts, step_ns, aside)

    # ------------------------------------------------------------------ what is known

    def rule_counters(self) -> dict[str, RuleCounters]:
        """Counters of every firewall and NAT rule of the configuration, disabled ones included."""
        with self._turn:
            now, slots, raw = self._now, self._bindings.slots, control.rule_counters(self._engine)
        return rule_counters(now.rule_ids(), slots, raw)

    def sessions_begun(self) -> int:
        """Sessions made so far."""
        return self.stats().sessions_created

    def stats(self) -> Stats:
        """Every counter but the rules', all at one moment."""
        return self.counted(rules=False).stats

    def counted(self, *, rules: bool, beside: Callable[[], object] = lambda: None) -> Counted:
        """Every counter, those of rules on request, all at one moment, and what ran then; ``beside`` is called at that
        moment, too."""
        with self._turn:
            beside()
            now, bindings, totals = self._now, self._bindings, control.totals(self._engine)
            ports, usages = control.port_counters(self._engine), control.usages(self._engine)
            raw = control.rule_counters(self._engine) if rules else b""
        # Packets pass again while objects are made.
        return Counted(
            now.config,
            now.revision,
            stats_of(totals, ports, memoryview(usages).cast("I"), now, bindings.usage),
            rule_counters(now.rule_ids(), bindings.slots, raw) if rules else {},
        )

    # ------------------------------------------------------------------ sessions

    def sessions(self) -> list[SessionInfo]:
        """Every live session, in no order."""
        found: list[SessionInfo] = []
        after: int | None = 0
        while after is not None:
            page = self.sessions_page(after=after, limit=SLOTS_A_TURN)
            found += page.sessions
            after = page.next
        return found

    def sessions_page(self, *, after: int = 0, limit: int = 1000, match: SessionMatch | None = None) -> SessionsPage:
        """Up to ``limit`` live sessions that match, from ``after`` on: 0, or the ``next`` of the page before.

        Packets pass while they are looked for; a session that lives through all pages appears exactly once.  Raises
        ValueError for a limit below 1, or an ``after`` that cannot be.
        """
        if limit < 1 or not 0 <= after < 1 << 32:
            raise ValueError(f"there is no page of {limit} sessions from {after} on")
        found: list[SessionInfo] = []
        slot: int | None = after
        for _ in range(TURNS_A_PAGE):
            if slot is None or len(found) == limit:
                break
            with self._turn:
                now, raw = self._now, self._wanted(match)
                if raw is None:
                    return SessionsPage(found, None)
                records, slot = control.copy_sessions(self._engine, slot, SLOTS_A_TURN, limit - len(found), raw)
            found += [session_info(item, now, self._bindings.slot_ids) for item in control.decode_sessions(records)]
        return SessionsPage(found, slot)

    def delete_sessions(self, match: SessionMatch) -> int:
        """End the sessions that match, and tell how many those were; their next packets are judged as first ones."""
        ended = 0
        slot: int | None = 0
        while slot is not None:
            with self._turn:
                raw = self._wanted(match)
                if raw is None:
                    return ended
                count, slot = control.delete_sessions(self._engine, slot, SLOTS_A_TURN, raw)
            ended += count
        return ended

    def _wanted(self, match: SessionMatch | None) -> RawMatch | None:
        return control.EVERY if match is None else wanted(match, self._now, self._bindings.slots)

    # ------------------------------------------------------------------ events

    @property
    def watch_sessions(self) -> bool:
        """Are there events of sessions that begin and end?  At first not: they cost something."""
        return self._watching

    @watch_sessions.setter
    def watch_sessions(self, on: bool) -> None:
        with self._turn:
            control.watch_sessions(self._engine, on)
            self._watching = on

    def take_events(self) -> tuple[list[RuntimeEvent], int]:
        """What happened since the last call, oldest first, and how many events were lost behind that because nobody
        asked in time: 65,536 are kept."""
        found, lost = self.take_raw_events()
        told: list[RuntimeEvent] = []
        for event in found:
            if isinstance(event, SessionRun):
                told.extend(event.told())
            else:
                told.append(event)
        return told, lost

    def take_raw_events(self) -> tuple[list[RawEvent], int]:
        """The same, with those of sessions together, and still to be told."""
        found: list[RawEvent] = []
        lost_at_all = 0
        for _ in range(CALLS_A_TAKE):
            with self._turn:
                left = self._collect_events(EVENTS_A_TURN, self._now)
                waiting, lost = self._waiting, self._lost
                self._waiting, self._waits, self._lost = [], 0, 0
            for now, raw in waiting:
                found += runtime_events(raw, now, self._bindings.slot_ids)
            lost_at_all += lost
            if left == 0:
                break
        return found, lost_at_all

    def _collect_events(self, most: int, running: Running) -> int:
        """Take events out of the engine, to be told by the names of the configuration that ran; how many it still
        has."""
        raw, count, left, lost = control.copy_events(self._engine, most)
        if count and self._waits + count <= EVENTS_KEPT:
            self._waiting.append((running, raw))
            self._waits += count
        else:
            self._lost += count
        self._lost += lost
        return left


def chosen_seed(config: EdgeConfig, seed: int | None) -> int:
    """What everything random starts from: the seed that was given, the configuration's, or a fixed one."""
    return next((value for value in (seed, config.options.seed) if value is not None), DEFAULT_SEED)


def added(before: PortCount | None, more: PortCount) -> PortCount:
    """What a port has had, and more."""
    return (
        more if before is None else (before[0] + more[0], before[1] + more[1], before[2] + more[2], before[3] + more[3])
    )


def no_memory(error: MemoryError) -> ResourceError:
    """What a caller hears of it."""
    return ResourceError(f"no memory for this configuration: {str(error) or 'its tables'}")
