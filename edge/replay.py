"""A capture through an edge: hits per rule, drops per reason, and what another edge would have done with it.

Two ways lead through the same evaluator.  :func:`replay` hands the whole loop to the engine and only looks in now and
then, for progress.  :func:`replay_stepwise` sees the outcome of every packet: it writes them to a capture and compares
two edges.  The capture's own time stamps are the clock; where they run backwards it stands still.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from edge.captures import CapturedFrame, CaptureReader, PcapngWriter
from edge.errors import CaptureError, EdgeError
from edge.model import EdgeConfig
from edge.state import RuleCounters, Stats
from edge.verdicts import Endpoints, Fragmentation, Outcome, Reason, Stage, Step, StepResult, Verdict

if TYPE_CHECKING:
    from edge.packets import FlowKey

PACKETS_PER_CALL = 65_536
"""How many records one native call handles: some hundredths of a second, so that progress and Ctrl-C are prompt."""

Progress = Callable[[int], None]
"""Called with the number of bytes of the file that have been read so far."""


class PortUnknownError(EdgeError):
    """``--in`` names no port of the edge."""

    reason = "UNKNOWN_PORT"


class SteppedEdge(Protocol):
    """What a replay packet by packet needs of an edge; the native one and the readable reference both have it."""

    @property
    def config(self) -> EdgeConfig:
        """What it runs."""

    def ingress_port(self, frame: bytes) -> str:
        """The port that the frame's source belongs to."""

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
        """Judge one packet; ``map_replies``: a reply from behind the edge is the reply that it was before it."""

    def stats(self) -> Stats:
        """Totals so far."""

    def rule_counters(self) -> Mapping[str, RuleCounters]:
        """Rule id -> what it did so far."""


class ReplayChunk(Protocol):
    """What one native call did."""

    @property
    def packets(self) -> int:
        """Records taken from the capture."""

    @property
    def bytes(self) -> int:
        """Their bytes on the wire, as the capture states them."""

    @property
    def done(self) -> bool:
        """True when the capture has ended, or cannot be read further."""


class ReplayingEdge(Protocol):
    """What a native replay needs of an edge."""

    @property
    def config(self) -> EdgeConfig:
        """What it runs."""

    def replay(self, reader: CaptureReader, *, in_port: str | None, map_replies: bool, max_packets: int) -> ReplayChunk:
        """Judge up to ``max_packets`` records, each followed by its ways back in from the provider's router."""

    def stats(self) -> Stats:
        """Totals so far."""

    def rule_counters(self) -> Mapping[str, RuleCounters]:
        """Rule id -> what it did so far."""


@dataclass(frozen=True, slots=True)
class RuleLine:
    """One rule and what it did; ``kind`` is the action of a firewall rule, the type of a NAT rule."""

    name: str
    id: str
    kind: str
    counters: RuleCounters

    def to_json(self) -> dict[str, object]:
        """The object that ``--json`` prints for this rule."""
        return {
            "name": self.name,
            "id": self.id,
            "hits": self.counters.hits,
            "packets": self.counters.packets,
            "bytes": self.counters.bytes,
        }


@dataclass(frozen=True, slots=True)
class HitRule:
    """A rule that a packet hit; ``kind`` is ``firewall``, or the type of a NAT rule."""

    kind: str
    name: str
    id: str

    def __str__(self) -> str:
        return f"{self.kind} rule {self.name}"


@dataclass(frozen=True, slots=True)
class Answer:
    """What an edge did with a packet, in the terms that two edges are compared by.

    ``rewrite`` are the endpoints after NAT ('' when none applied), with ``*`` for what SNAT draws at random and the
    whole pool for an address chosen from one; ``port`` is where the packet left ('' when it did not).  ``reason`` and
    ``rules``, in the order in which they matched, explain, and are not compared.
    """

    verdict: Verdict
    port: str
    rewrite: str
    hairpin: bool
    reason: Reason
    rules: tuple[HitRule, ...]

    @property
    def compared(self) -> tuple[Verdict, str, str, bool]:
        """The part in which a difference counts."""
        return self.verdict, self.port, self.rewrite, self.hairpin

    def to_json(self) -> dict[str, object]:
        """The object that ``--json`` prints for one side of a difference."""
        return {
            "verdict": self.verdict.name,
            "reason": self.reason.name,
            "rules": [{"rule": rule.name, "ruleId": rule.id} for rule in self.rules],
            "port": self.port or None,
            "rewrite": self.rewrite or None,
        }


@dataclass(slots=True)
class FlowDifference:
    """A flow that two edges treat differently: its first such packet, and how many there are."""

    flow: str
    record: int
    first: Answer
    second: Answer
    packets: int = 1

    def to_json(self) -> dict[str, object]:
        """The object that ``--json`` prints for this flow."""
        return {
            "flow": self.flow,
            "record": self.record,
            "packets": self.packets,
            "first": self.first.to_json(),
            "second": self.second.to_json(),
        }


@dataclass(frozen=True, slots=True)
class ReplayResult:
    """What a replay did.

    ``packets`` and ``bytes`` are records of the capture and their bytes on the wire; a packet that the provider's
    router sent back in counts once more under ``stats``.  ``error`` is what ended the reading early, None at the
    file's end.  ``differences`` is None unless two edges were compared.
    """

    packets: int
    bytes: int
    seconds: float
    stats: Stats
    firewall_rules: tuple[RuleLine, ...]
    nat_rules: tuple[RuleLine, ...]
    error: CaptureError | None = None
    differences: tuple[FlowDifference, ...] | None = None

    @property
    def hairpins(self) -> int:
        """How many verdicts were given beyond one for each record: those of packets that came back in."""
        return sum(self.stats.verdicts.values()) - self.packets

    @property
    def packets_per_second(self) -> float:
        """Records per second of wall time, reading included."""
        return self.packets / self.seconds if self.seconds else 0.0

    def to_json(self) -> dict[str, object]:
        """The document that ``--json`` prints."""
        document: dict[str, object] = {
            "packets": self.packets,
            "bytes": self.bytes,
            "seconds": round(self.seconds, 6),
            "packetsPerSecond": round(self.packets_per_second),
            "hairpins": self.hairpins,
            "verdicts": {verdict.name: count for verdict, count in sorted(self.stats.verdicts.items())},
            "reasons": {reason.name: count for reason, count in sorted(self.stats.reasons.items())},
            "firewallRules": [rule.to_json() for rule in self.firewall_rules],
            "natRules": [rule.to_json() for rule in self.nat_rules],
            "sessions": {
                "created": self.stats.sessions_created,
                "peak": self.stats.sessions_peak,
                "open": self.stats.sessions_open,
            },
            "answersLimited": self.stats.answers_limited,
            "fragments": {
                "held": self.stats.fragments_held,
                "reassembled": self.stats.datagrams_reassembled,
                "timedOut": self.stats.datagrams_timed_out,
            },
        }
        if self.differences is not None:
            document["differences"] = [difference.to_json() for difference in self.differences]
        return document


def replay(
    edge: ReplayingEdge,
    reader: CaptureReader,
    *,
    in_port: str | None = None,
    raw: bool = False,
    progress: Progress | None = None,
) -> ReplayResult:
    """Run a capture through ``edge`` natively.

    ``in_port`` is where every packet enters; by default each enters where its source says.  ``raw`` takes packets as
    they are; otherwise one that reverses a live session's original addresses is taken for the reply to its translated
    ones, as a capture from behind the edge shows it.  A capture that breaks off is no exception but ``error`` of the
    result.  Raises PortUnknownError.
    """
    check_port(edge.config, in_port)
    packets = size = 0
    started = time.perf_counter()
    done = False
    while not done:
        chunk = edge.replay(reader, in_port=in_port, map_replies=not raw, max_packets=PACKETS_PER_CALL)
        packets += chunk.packets
        size += chunk.bytes
        done = chunk.done
        if progress is not None:
            progress(reader.bytes_read)
    return _result(edge, packets=packets, size=size, seconds=time.perf_counter() - started, error=_error_of(reader))


def replay_stepwise(
    edge: SteppedEdge,
    reader: CaptureReader,
    *,
    in_port: str | None = None,
    raw: bool = False,
    writer: PcapngWriter | None = None,
    other: SteppedEdge | None = None,
    progress: Progress | None = None,
) -> ReplayResult:
    """Like :func:`replay`, seeing every outcome: ``writer`` gets all packets that leave ``edge``, each with its
    verdict, rules and rewrite as a comment; ``other`` judges the same packets, and the flows that it treats
    differently are ``differences`` of the result.

    Raises PortUnknownError, and CaptureWriteError when ``writer`` cannot write.
    """
    check_port(edge.config, in_port)
    known = _known_rules(edge.config)
    comparison = None if other is None else _Comparison(edge.config, other.config)
    if other is not None:
        check_port(other.config, in_port)
    packets = size = now_ns = 0
    error = None
    started = time.perf_counter()
    records = iter(reader)
    while True:
        try:
            record = next(records, None)
        except CaptureError as broken:
            error = broken
            break
        if record is None:
            break
        packets += 1
        size += record.wire_length
        now_ns = max(now_ns, record.ts_ns)
        outcomes = list(_feed(edge, record, now_ns, in_port, raw))
        if writer is not None:
            for outcome in outcomes:
                for output in outcome.outputs:
                    for frame in output.frames:
                        writer.write(output.port, frame, now_ns, _comment(outcome, known))
        if comparison is not None and other is not None:
            comparison.add(record, outcomes, list(_feed(other, record, now_ns, in_port, raw)))
        if progress is not None and packets % 4096 == 0:
            progress(reader.bytes_read)
    if progress is not None:
        progress(reader.bytes_read)
    differences = None if comparison is None else tuple(comparison.differences.values())
    seconds = time.perf_counter() - started
    return _result(edge, packets=packets, size=size, seconds=seconds, error=error, differences=differences)


def check_port(config: EdgeConfig, in_port: str | None) -> None:
    """Raise PortUnknownError unless ``in_port`` is None or a port of the edge."""
    if in_port is not None and in_port not in config.ports:
        raise PortUnknownError(f"{in_port!r} is no port of {config.name}; its ports are {', '.join(config.ports)}")


def _feed(edge: SteppedEdge, record: CapturedFrame, now_ns: int, in_port: str | None, raw: bool) -> Iterator[Outcome]:
    """The packet's outcome, then those of its ways back in from the provider's router."""
    port = in_port or edge.ingress_port(record.frame)
    outcome = edge.process(port, record.frame, now_ns, unsegmented=True, map_replies=not raw)
    yield outcome
    waiting = deque(outcome.outputs)
    while waiting:  # ends: every way out costs the packet one hop
        back = waiting.popleft()
        if back.hairpin:
            outcome = edge.process(back.port, back.frame, now_ns, unsegmented=True, fragmentation=back.fragmentation)
            yield outcome
            waiting.extend(outcome.outputs)


def _error_of(reader: CaptureReader) -> CaptureError | None:
    try:
        reader.raise_for_error()
    except CaptureError as error:
        return error
    return None


def _result(
    edge: SteppedEdge | ReplayingEdge,
    *,
    packets: int,
    size: int,
    seconds: float,
    error: CaptureError | None,
    differences: tuple[FlowDifference, ...] | None = None,
) -> ReplayResult:
    counters = edge.rule_counters()
    config = edge.config
    return ReplayResult(
        packets,
        size,
        seconds,
        edge.stats(),
        tuple(
            RuleLine(rule.name, rule.id, rule.action.value, counters.get(rule.id, RuleCounters()))
            for rule in config.firewall.rules
        ),
        tuple(
            RuleLine(rule.name, rule.id, rule.type.value, counters.get(rule.id, RuleCounters()))
            for rule in config.nat.rules
        ),
        error,
        differences,
    )


def _known_rules(config: EdgeConfig) -> dict[str, HitRule]:
    """Rules by id."""
    rules = [HitRule("firewall", rule.name, rule.id) for rule in config.firewall.rules]
    rules += [HitRule(rule.type.value, rule.name, rule.id) for rule in config.nat.rules]
    return {rule.id: rule for rule in rules}


def _comment(outcome: Outcome, known: Mapping[str, HitRule]) -> str:
    """Verdict and reason, the rules that matched in the order they did, and the endpoints after NAT."""
    parts = [f"{outcome.verdict.name} {outcome.reason.name}"]
    parts += [str(rule) for rule in _rules(outcome, known)]
    rewrite = _rewrite(outcome.steps)
    if rewrite is not None:
        parts.append(f"rewritten to {_endpoints_text(rewrite)}")
    return ", ".join(parts)


def _rules(outcome: Outcome, known: Mapping[str, HitRule]) -> list[HitRule]:
    rule_ids = (rule_id for step in outcome.steps for rule_id in (step.rule_id, *step.nat_rule_ids))
    hits = dict.fromkeys(rule_id for rule_id in rule_ids if rule_id is not None)  # BYPASS: it stands in two steps
    return [known[rule_id] for rule_id in hits]


def _rewrite(steps: Sequence[Step]) -> Endpoints | None:
    """Where NAT, or the session that recorded it, left the endpoints; None when neither changed them."""
    left = (step.after for step in reversed(steps) if step.result is not StepResult.EXPECT)  # that is another packet
    return next((after for after in left if after is not None), None)


def _endpoint_text(address: object, port: object) -> str:
    if not port:
        return str(address)
    return f"[{address}]:{port}" if ":" in str(address) else f"{address}:{port}"


def _endpoints_text(ends: Endpoints) -> str:
    return f"{_endpoint_text(ends.src, ends.sport)} > {_endpoint_text(ends.dst, ends.dport)}"


class _Comparison:
    """Collects the flows whose outcomes differ.

    What belongs to an established session on both sides is equal by definition: the difference, if there is one, was
    made by the packet that opened the session.
    """

    def __init__(self, first: EdgeConfig, second: EdgeConfig) -> None:
        self.differences: dict[FlowKey, FlowDifference] = {}
        self._drawn: tuple[dict[str, str], ...] = ({}, {})
        self._sides = tuple(
            (_known_rules(config), {rule.id: rule.external for rule in config.nat.rules}) for config in (first, second)
        )

    def add(self, record: CapturedFrame, first: Sequence[Outcome], second: Sequence[Outcome]) -> None:
        """Take the outcomes of one record under both edges."""
        if all(outcome.reason is Reason.SESSION for outcome in (*first, *second)) and len(first) == len(second):
            return
        for outcome_one, outcome_two in zip(first, second, strict=False):
            one, two = self._answer(outcome_one, 0), self._answer(outcome_two, 1)
            if one.compared != two.compared:
                self._note(record, one, two)
                return

    def _answer(self, outcome: Outcome, side: int) -> Answer:
        known, pools = self._sides[side]
        drawn = self._drawn[side]
        rewrite = _rewrite(outcome.steps)
        text = ""
        if rewrite is not None:
            source, destination = _endpoint_text(rewrite.src, rewrite.sport), _endpoint_text(rewrite.dst, rewrite.dport)
            for step in outcome.steps:
                if step.stage is Stage.NAT and step.result is StepResult.SNAT and step.rule_id is not None:
                    # Later packets of the session, and a way back in, bear what was drawn without saying so.
                    drawn[source] = f"{pools.get(step.rule_id)}:*"
            text = f"{drawn.get(source, source)} > {drawn.get(destination, destination)}"
        allowed = outcome.verdict is Verdict.ALLOW
        return Answer(
            outcome.verdict,
            outcome.outputs[0].port if allowed and outcome.outputs else "",
            text if allowed else "",
            any(output.hairpin for output in outcome.outputs),
            outcome.reason,
            tuple(_rules(outcome, known)),
        )

    def _note(self, record: CapturedFrame, first: Answer, second: Answer) -> None:
        from edge.packets import flow_key, format_frame

        flow = flow_key(record.frame)
        if flow is None:  # what no edge can read, every edge drops for the same reason
            return
        known = self.differences.get(flow)
        if known is None:
            self.differences[flow] = FlowDifference(format_frame(record.frame), record.number, first, second)
        else:
            known.packets += 1
