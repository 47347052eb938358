"""A running edge: one native engine, the configuration it runs, and results as values.

Two edges can live in one process; nothing here is global.  :class:`edge.reference.ReferenceEdge` has the same methods
and is the specification of what they return.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address

from edge.compiler import Tables, compile_tables
from edge.errors import FrameTooLongError, NoPortError, ResourceError, UnknownPortError
from edge.model import DEFAULT_SEED, EdgeConfig, SessionsOnChange
from edge.routing.compile import PortKind
from edge.state import LogEvent, RuleCounters, SessionInfo, Stats, state_text
from edge.verdicts import Endpoints, Fragmentation, Outcome, Output, Processed, Reason, Stage, Step, StepResult, Verdict
from native.capture import CaptureReader
from native.engine import Engine
from native.neighbour import NeighbourTable
from native.port import Ports
from native.program import Program

FRAME_MAX = 14 + 8 + 40 + 65535

RawEndpoints = tuple[int, int, int, int, int]
RawOutput = tuple[int, bytes, bool, tuple[bytes, ...], tuple[int, int, int] | None]
RawStep = tuple[
    int, int, int | None, int | None, RawEndpoints | None, RawEndpoints | None, bool, int | None, int | None
]


@dataclass(frozen=True, slots=True)
class ReplayChunk:
    """What one call of :meth:`Edge.replay` did: records taken, their bytes on the wire, and whether the reader has no
    more, be it at the end of the capture or for an error (``reader.raise_for_error()`` tells)."""

    packets: int
    bytes: int
    done: bool


class Running:
    """The configuration that runs, and what is asked of it often.

    ``kinds`` are the ports by name, in the order of their numbers; ``addresses`` the (family, address) pairs of its
    SNAT pools.
    """

    def __init__(
        self, config: EdgeConfig, revision: int, kinds: dict[str, PortKind], addresses: set[tuple[int, int]]
    ) -> None:
        self.config = config
        self.revision = revision
        self.kinds = kinds
        self.addresses = addresses
        self.ports = tuple(kinds)
        self.numbers = {name: number for number, name in enumerate(kinds)}
        self.known = {rule.id for rule in config.firewall.rules} | {rule.id for rule in config.nat.rules}

    def number_of_kind(self, name: str, kind: PortKind) -> int | None:
        """A port's number, None where there is none of that name and kind."""
        return self.numbers[name] if self.kinds.get(name) == kind else None


class Edge:
    """One edge gateway, forwarding.  It belongs to one thread at a time: while :meth:`replay` runs in one, calls from
    another raise RuntimeError.

    ``seed`` starts everything random; None takes the configuration's, else a fixed one.  Raises ResourceError when
    there is no memory for it.
    """

    def __init__(self, config: EdgeConfig, *, seed: int | None = None) -> None:
        chosen = next((value for value in (seed, config.options.seed) if value is not None), DEFAULT_SEED)
        self._engine = Engine(chosen)
        self._slots: dict[str, int] = {}
        self._slot_ids: list[str] = []
        self._usage: dict[tuple[int, int], int] = {}
        self._free_usage: list[int] = []
        self._events_lost = 0
        self._running: Running | None = None
        self._install(config, compile_tables(config))

    @property
    def config(self) -> EdgeConfig:
        """What it runs."""
        return self._now.config

    @property
    def revision(self) -> int:
        """1 for the first configuration, one more with each change."""
        return self._now.revision

    @property
    def _now(self) -> Running:
        assert self._running is not None, "the constructor installs a configuration"
        return self._running

    def turn(self) -> AbstractContextManager[object]:
        """While it is held, what is asked of the edge belongs together: nobody else has a turn, and no packet passes in
        between.  A thread that has it can take it again; while the edge forwards, every method needs one."""
        return self._engine

    def attach(self, neighbours: NeighbourTable) -> None:
        """Have a link layer from now on, which follows the configurations.  Raises ResourceError."""
        try:
            self._engine.attach(neighbours)
        except MemoryError as error:
            raise ResourceError(str(error)) from error

    def forward(self, ports: Ports) -> None:
        """Forward between ports until somebody stops them, by the clock CLOCK_MONOTONIC; in a thread of its own."""
        self._engine.forward(ports)

    @property
    def forwarding(self) -> bool:
        """Is a thread inside :meth:`forward`?"""
        return self._engine.forwarding

    def emit(self, ports: Ports, outputs: Iterable[Output]) -> None:
        """Send what :meth:`process_batch` gave out by these ports."""
        numbers = self._now.numbers
        self._engine.emit(
            ports,
            [(numbers[output.port], frame) for output in outputs for frame in output.fragments or (output.frame,)],
        )

    def apply(self, config: EdgeConfig) -> None:
        """Run another configuration from the next packet on; ``sessionsOnChange`` of the new one says what becomes of
        the sessions.  If compiling fails, there is no memory (ResourceError) or no port (NoPortError), nothing has
        changed."""
        self._install(config, compile_tables(config))

    def _install(self, config: EdgeConfig, tables: Tables) -> None:
        if not config.ports:
            raise NoPortError(f"the edge {config.name!r} has neither uplinks nor networks: no packet can enter it")
        old, options = self._running, config.options
        revision = 1 if old is None else old.revision + 1
        addresses = tables.pool_addresses()
        self._bind(tables.rule_ids(), addresses)
        try:
            self._engine.reserve(
                len(self._slot_ids),
                len(self._usage) + len(self._free_usage),
                options.max_sessions,
                options.max_fragments,
                mappings=options.max_sessions if options.endpoint_independent else 0,
                sources=options.max_sessions_per_source is not None,
            )
            program = Program(tables, self._slots, self._usage, revision)
        except MemoryError as error:
            raise ResourceError(f"no memory for this configuration: {str(error) or 'its tables'}") from error
        running = Running(config, revision, dict(zip(config.ports, tables.routing.port_kinds, strict=True)), addresses)
        port_map = [] if old is None else [running.number_of_kind(name, kind) for name, kind in old.kinds.items()]
        flush = options.sessions_on_change is SessionsOnChange.FLUSH
        self._engine.swap(program, port_map, flush)
        self._running = running

    def _bind(self, rule_ids: list[str], addresses: set[tuple[int, int]]) -> None:
        """Give every rule a counter slot and every external address a usage slot.

        Counter slots are kept for good, so that counters survive a rule that goes and comes back.  The slot of an
        address that no pool has any more is given to another once no session holds the address.
        """
        for rule_id in rule_ids:
            if self._slots.setdefault(rule_id, len(self._slot_ids)) == len(self._slot_ids):
                self._slot_ids.append(rule_id)
        in_use = addresses | (self._running.addresses if self._running else set())
        for address in [known for known in self._usage if known not in in_use]:
            if self._engine.usage(self._usage[address]) == 0:
                self._free_usage.append(self._usage.pop(address))
        for address in sorted(addresses - self._usage.keys()):
            fresh = len(self._usage) + len(self._free_usage)
            self._usage[address] = self._free_usage.pop() if self._free_usage else fresh

    # ------------------------------------------------------------------ packets

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
        number = self.port_number(port)
        came = None if fragmentation is None else (fragmentation.size, fragmentation.identification, fragmentation.at)
        verdict, reason, steps, output = self._engine.process(
            number, frame, now_ns, True, unsegmented, map_replies, came
        )
        outputs = () if output is None else (self._output(output),)
        return Outcome(Verdict(verdict), Reason(reason), tuple(self._step(step) for step in steps), outputs)

    def process_batch(self, frames: Sequence[tuple[str, bytes]], now_ns: int, *, outputs: bool) -> list[Processed]:
        """Send frames in, each by its port, in this order and at one time.

        What the provider's router would send back in enters again at once.  ``outputs``: tell what left, too.  Raises
        UnknownPortError or FrameTooLongError before anything has happened.
        """
        with self.turn():
            for place, (port, frame) in enumerate(frames):
                if port not in self._now.numbers:
                    raise UnknownPortError(f"frames[{place}]: no port {port!r}; there are {', '.join(self._now.ports)}")
                if len(frame) > FRAME_MAX:
                    raise FrameTooLongError(
                        f"frames[{place}]: {len(frame)} bytes are more than Ethernet and IP can make"
                    )
            return [self._process_one(port, frame, now_ns, outputs) for port, frame in frames]

    def _process_one(self, port: str, frame: bytes, now_ns: int, outputs: bool) -> Processed:
        outcome = self.process(port, frame, now_ns)
        while outcome.outputs and outcome.outputs[0].hairpin:
            back = outcome.outputs[0]
            outcome = self.process(back.port, back.frame, now_ns, fragmentation=back.fragmentation)
        return Processed(outcome.verdict, outcome.reason, outcome.outputs if outputs else ())

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
        return self._now.ports[self._engine.ingress_port(frame)]

    def map_reply(self, port: str, frame: bytes, now_ns: int) -> tuple[str, bytes]:
        """What a capture taken behind the edge means by this frame: see :meth:`replay`."""
        number, mapped = self._engine.map_reply(self.port_number(port), frame, now_ns)
        return self._now.ports[number], mapped

    def port_number(self, port: str) -> int:
        """A port's number; ValueError when there is no such port."""
        try:
            return self._now.numbers[port]
        except KeyError:
            raise ValueError(f"no port {port!r}; there are {', '.join(self._now.ports)}") from None

    def time_bursts(
        self, frames: Sequence[bytes], ports: Sequence[str], order: Sequence[int], *, trials: int, bursts: int
    ) -> list[int]:
        """Clocks of each trial of so many bursts of 256 packets; ``order`` says which frame each packet is."""
        numbers = array("H", [self.port_number(port) for port in ports])
        return self._engine.time_bursts(list(frames), numbers, array("I", order), trials, bursts)

    # ------------------------------------------------------------------ what is known

    def rule_counters(self) -> dict[str, RuleCounters]:
        """Counters of every firewall and NAT rule of the configuration, disabled ones included."""
        by_slot = self._engine.counters()
        return {
            rule_id: RuleCounters(*by_slot[self._slots[rule_id]]) if rule_id in self._slots else RuleCounters()
            for rule_id in self._now.known
        }

    def stats(self) -> Stats:
        """Packets by verdict and reason, sessions made, most at once, open, answers kept back, what came in pieces."""
        verdicts, reasons, created, peak, live, errors_limited, reassembled, timed_out, held = self._engine.totals()
        return Stats(
            verdicts={Verdict(number): count for number, count in enumerate(verdicts) if count},
            reasons={Reason(number): count for number, count in enumerate(reasons) if count},
            sessions_created=created,
            sessions_peak=peak,
            sessions_open=live,
            answers_limited=errors_limited,
            datagrams_reassembled=reassembled,
            datagrams_timed_out=timed_out,
            fragments_held=held,
        )

    def sessions(self) -> list[SessionInfo]:
        """Every live session, in no order."""
        return [
            SessionInfo(
                protocol=protocol,
                icmp_type=icmp_type,
                in_port=self._now.ports[in_port],
                out_port=self._now.ports[out_port],
                original=endpoints(original),
                translated=endpoints(translated),
                state=state_text(protocol, *states),
                firewall_rule_id=self._rule_id(firewall),
                dnat_rule_id=self._rule_id(dnat),
                snat_rule_id=self._rule_id(snat),
                revision=revision,
                created_ns=created,
                expires_ns=expires,
                packets=packets,
                bytes=size,
            )
            for (
                protocol,
                _kind,
                in_port,
                out_port,
                original,
                translated,
                states,
                firewall,
                dnat,
                snat,
                revision,
                created,
                expires,
                packets,
                size,
                icmp_type,
            ) in self._engine.sessions()
        ]

    def events(self) -> list[LogEvent]:
        """What rules with logging decided since the last call, oldest first; see :attr:`events_lost`."""
        entries, lost = self._engine.events()
        self._events_lost += lost
        return [
            LogEvent(now, self._slot_ids[slot], revision, Verdict(verdict), protocol, endpoints(saw))
            for now, slot, revision, verdict, protocol, saw in entries
        ]

    @property
    def events_lost(self) -> int:
        """Events so far that had no room in the log because nobody asked for the older ones in time."""
        return self._events_lost

    def _rule_id(self, slot: int | None) -> str | None:
        return None if slot is None else self._slot_ids[slot]

    def _output(self, raw: RawOutput) -> Output:
        port, frame, hairpin, fragments, came = raw
        fragmentation = None if came is None else Fragmentation(*came)
        return Output(self._now.ports[port], frame, bool(hairpin), fragments, fragmentation)

    def _known_id(self, slot: int | None) -> str | None:
        """Id of the rule with a slot; None for none, and for one that the configuration no longer has."""
        rule_id = self._rule_id(slot)
        return rule_id if rule_id in self._now.known else None

    def _step(self, raw: RawStep) -> Step:
        stage, result, slot, port, after, saw, logged, dnat, snat = raw
        rule_id = self._known_id(slot)
        nat_ids = (self._known_id(dnat), self._known_id(snat))
        return Step(
            stage=Stage(stage),
            result=StepResult(result),
            rule_id=rule_id,
            port=None if port is None else self._now.ports[port],
            after=None if after is None else endpoints(after),
            saw=None if saw is None else endpoints(saw),
            logged=logged,
            nat_rule_ids=tuple(dict.fromkeys(nat_id for nat_id in nat_ids if nat_id is not None)),
        )


def endpoints(raw: RawEndpoints) -> Endpoints:
    """The engine's integers as addresses."""
    family, src, sport, dst, dport = raw
    make = IPv4Address if family == 4 else IPv6Address
    return Endpoints(make(src), sport, make(dst), dport)
