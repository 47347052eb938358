"""What ``t1edge trace`` does: packets in text through one edge, every stage named, every verdict explained."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from typing import Protocol

from edge.errors import EdgeError
from edge.explain import explain
from edge.model import EdgeConfig
from edge.packets import (
    Conversation,
    PacketText,
    Pieces,
    build_frame,
    format_endpoints,
    format_frame,
    parse_packet,
    reply_to,
)
from edge.packets.build import DEFAULT_TTL
from edge.packets.decode import decode_frame
from edge.packets.names import SYN, TCP, UDP
from edge.packets.show import format_endpoint
from edge.printable import printable
from edge.runtime import Edge
from edge.state import SessionMatch, SessionsPage, Stats
from edge.trace_sessions import known_of, session_of
from edge.verdicts import Endpoints, Fragmentation, Outcome, Output, Reason, Stage, Step, StepResult, Verdict

SECOND_NS = 1_000_000_000

MAX_PASSES = 4
"""A packet hairpins once; after so many passes it is a loop between edge and provider, and its TTL would end it."""

MAX_CLOCK_S = 9_000_000_000
"""How far waits may move the clock: 285 years, which in nanoseconds fit 63 bits."""

_ANY_PROTOCOL = 253
"""For experiments (RFC 3692): a packet of it has no further header that could be wrong."""

_GOES_ON = frozenset(
    {StepResult.HIT, StepResult.ALLOW, StepResult.BYPASS, StepResult.REFLEXIVE, StepResult.ALG, StepResult.EXPECT}
)
"""What the last stage of a packet that leaves by an uplink says."""
_REFUSED_SEGMENT = frozenset({Reason.TCP_WINDOW, Reason.TCP_STATE})
"""What is dropped so, and what the edge answers, is no part of the connection: its ends go on with other numbers."""

_ANSWER_NUMBERS = frozenset({"seq", "ack"})


class TraceError(EdgeError):
    """A packet that is well written but cannot be sent: an unknown port, nothing to reply to."""

    reason = "CANNOT_SEND"


class TracedEdge(Protocol):
    """What a trace needs of an edge; the native one and the readable reference both have it."""

    @property
    def config(self) -> EdgeConfig:
        """The configuration in force."""

    def ingress_port(self, frame: bytes) -> str:
        """Where a frame enters when nobody says: the network that contains its source, else the first uplink."""

    def process(self, port: str, frame: bytes, now_ns: int, *, fragmentation: Fragmentation | None = None) -> Outcome:
        """Judge one frame; ``fragmentation``: it is a whole datagram that came in such pieces."""

    def sessions_page(self, *, after: int = 0, limit: int = 1000, match: SessionMatch | None = None) -> SessionsPage:
        """Some of the live sessions that match."""

    def stats(self) -> Stats:
        """Every counter."""


@dataclass(frozen=True, slots=True)
class TraceStep:
    """One stage in text.  ``rule`` is a name, ``after`` and ``saw`` are packets; None where a stage has no such thing.

    ``nat_rules`` are (name, id) of the NAT rules that the session of a HIT was begun with; ``after_ends`` and
    ``saw_ends`` are the endpoints in ``after`` and ``saw``."""

    stage: Stage
    result: StepResult
    rule: str | None = None
    rule_id: str | None = None
    port: str | None = None
    after: str | None = None
    saw: str | None = None
    logged: bool = False
    nat_rules: tuple[tuple[str, str], ...] = ()
    after_ends: Endpoints | None = None
    saw_ends: Endpoints | None = None

    def to_json(self) -> dict[str, object]:
        """The object that ``--json`` prints for this step; what it does not have is left out."""
        fields: dict[str, object] = {
            "stage": self.stage.name,
            "result": self.result.name,
            "rule": self.rule,
            "ruleId": self.rule_id,
            "port": self.port,
            "after": self.after,
            "saw": self.saw,
            "natRules": [{"rule": name, "ruleId": rule_id} for name, rule_id in self.nat_rules] or None,
            "logged": self.logged or None,
        }
        return {key: value for key, value in fields.items() if value is not None}


NEIGHBOUR_STATES = {
    "UNKNOWN": "{} is to be asked for its MAC address, and the packet waits",
    "INCOMPLETE": "{} is being asked for its MAC address, and the packet waits",
    "REACHABLE": "",
    "STALE": "",
    "DELAY": "",
    "PROBE": "",
    "FAILED": "{} does not answer: unreachable goes back",
    "NO_NEXT_HOP": "nobody there leads to its destination: unreachable goes back",
}
"""What becomes of a packet by what is known of the neighbour that it is given to; '': it is sent."""


@dataclass(frozen=True, slots=True)
class TraceNeighbour:
    """Whom a packet is given to: the address of the next hop, its MAC address, '' if it is not known, and one of
    NEIGHBOUR_STATES, or what a newer edge says, a word or a number."""

    address: str
    mac: str
    state: str

    def __str__(self) -> str:
        told = NEIGHBOUR_STATES.get(self.state)
        if told is None:
            return " ".join(filter(None, (f"to {self.address}", self.mac and f"at {self.mac}", f"({self.state})")))
        return told.format(self.address) or f"to {self.address} at {self.mac}"

    def to_json(self) -> dict[str, object]:
        """The object that ``--json`` prints; what is not known is left out."""
        fields = {"address": self.address, "mac": self.mac, "state": self.state}
        return {key: value for key, value in fields.items() if value}


@dataclass(frozen=True, slots=True)
class TraceOutput:
    """A packet that left: as text, and the Ethernet frame itself.  ``fragments`` is how many it left in, 0 if it left
    whole; ``neighbour`` whom it is given to, None where nobody knows."""

    port: str
    packet: str
    frame: bytes
    fragments: int = 0
    neighbour: TraceNeighbour | None = None

    def to_json(self) -> dict[str, object]:
        """The object that ``--json`` prints for this output."""
        fields: dict[str, object] = {"port": self.port, "packet": self.packet}
        if self.fragments:
            fields["fragments"] = self.fragments
        if self.neighbour is not None:
            fields["neighbour"] = self.neighbour.to_json()
        return fields


@dataclass(frozen=True, slots=True)
class TraceSession:
    """The session that a packet belongs to, as the packet left it.  ``state`` is '' for protocols without states;
    ``idle_timeout_s`` is how long it may now stay without packets; pairs are the original direction and the replies."""

    state: str
    idle_timeout_s: float
    packets: tuple[int, int]
    bytes: tuple[int, int]


@dataclass(frozen=True, slots=True)
class TraceResult:
    """One pass of one packet through the edge.  ``hairpin``: the provider's router sent it back in.

    ``firewall_rule`` is (name, id) of the firewall rule that decided, ``nat_rules`` those of the NAT rules that were
    hit, in order: now, or when the session began.  Under the profile strict-rfc a hairpin is part of one result: the
    firewall rule is that of the last time through the stages.
    """

    packet: str
    in_port: str
    hairpin: bool
    verdict: Verdict
    reason: Reason
    explanation: str
    steps: tuple[TraceStep, ...]
    outputs: tuple[TraceOutput, ...]
    session: TraceSession | None
    firewall_rule: tuple[str, str] | None
    nat_rules: tuple[tuple[str, str], ...]

    def to_json(self) -> dict[str, object]:
        """The object that ``--json`` prints for this pass."""
        head: dict[str, object] = {"packet": self.packet, "in": self.in_port}
        if self.hairpin:
            head["hairpin"] = True
        return head | {
            "verdict": self.verdict.name,
            "reason": self.reason.name,
            "steps": [step.to_json() for step in self.steps],
            "output": [output.to_json() for output in self.outputs],
        }


class RuleNames:
    """What is told of a configuration's rules.  Many traces under one configuration can share it."""

    def __init__(self, config: EdgeConfig) -> None:
        self.config = config
        self.firewall = {rule.id: rule.name for rule in config.firewall.rules}
        self.nat = {rule.id: rule.name for rule in config.nat.rules}
        self.nat_logging = {rule.id for rule in config.nat.rules if rule.logging}

    def get(self, rule_id: str) -> str | None:
        """The name of a rule; None for one that is not there."""
        return self.nat.get(rule_id, self.firewall.get(rule_id))


class Tracer:
    """Sends packets through one edge and keeps what a conversation needs: the clock, the ends of sessions, the last
    output.  The clock begins at ``now_ns`` and moves only when told to wait.  TCP sessions that the edge has when the
    tracer is made go on with the numbers that they have come to.  ``neighbour_of``, where there are links, tells whom a
    frame is given to that leaves by a port."""

    def __init__(
        self,
        edge: TracedEdge,
        *,
        now_ns: int = 0,
        names: RuleNames | None = None,
        neighbour_of: Callable[[str, bytes], TraceNeighbour | None] | None = None,
    ) -> None:
        self._edge = edge
        self._start_ns = self._now_ns = now_ns
        lookup = partial(known_of, edge) if edge.stats().sessions_open else None
        self._conversation = Conversation(lookup)
        self._pieces = Pieces()
        self._last_output: TraceOutput | None = None
        self._names = RuleNames(edge.config) if names is None else names
        self._neighbour_of = neighbour_of

    def wait(self, seconds: float) -> None:
        """Let time pass.  Raises TraceError when that is more than the clock can hold."""
        now_ns = self._now_ns + round(seconds * SECOND_NS)
        if now_ns - self._start_ns > MAX_CLOCK_S * SECOND_NS:
            raise TraceError(f"waits add up to more than {MAX_CLOCK_S:,} seconds")
        self._now_ns = now_ns

    def send(self, text: str) -> list[TraceResult]:
        """Send a packet in text: its own pass first, then those of its hairpin.

        Raises PacketSyntaxError, or TraceError for a port that the edge does not have.
        """
        return self._send(parse_packet(text))

    def reply(self, text: str = "") -> list[TraceResult]:
        """Let the other end answer the last output: ``text`` is the flags of a TCP answer, '' for UDP and ICMP.

        Raises TraceError when nothing left that could be answered, PacketSyntaxError when ``text`` cannot be read.
        """
        last = self._last_output
        if last is None:
            raise TraceError("there is nothing to reply to: the last packet left no output")
        return self._send(reply_to(last.frame, text), last.port)

    def send_frame(self, port: str, frame: bytes) -> list[TraceResult]:
        """Send an Ethernet frame in by a port: results as of :meth:`send`.  Raises TraceError for a port that the edge
        does not have, and for a frame longer than any can be."""
        self._check_port(port)
        try:
            return self._pass(port, frame, frozenset())
        except ValueError as error:
            raise TraceError(str(error)) from None

    def _send(self, packet: PacketText, port: str | None = None) -> list[TraceResult]:
        frame = build_frame(packet, self._conversation)
        port = packet.in_port or port or self._port_of_source(packet)
        self._check_port(port)
        self.wait(packet.wait_s)
        return self._pass(port, frame, packet.shown_keys)

    def _check_port(self, port: str) -> None:
        if port not in self._edge.config.ports:
            raise TraceError(f"this edge has no port {port!r}; it has {', '.join(self._edge.config.ports)}")

    def _pass(self, port: str, frame: bytes, keys: frozenset[str]) -> list[TraceResult]:
        results: list[TraceResult] = []
        refused = False
        entering: Output | None = Output(port, frame)
        while entering is not None and len(results) < MAX_PASSES:
            outcome = self._edge.process(
                entering.port, entering.frame, self._now_ns, fragmentation=entering.fragmentation
            )
            results.append(self._result(entering, outcome, keys))
            refused |= outcome.reason in _REFUSED_SEGMENT
            entering = next((output for output in outcome.outputs if output.hairpin), None)
        outputs = results[-1].outputs
        if not refused:
            sent = self._pieces.whole(port, frame) if _is_complete(results[0].steps[0]) else frame
            for seen in (sent, *(output.frame for output in outputs)):
                self._conversation.saw(seen)
        self._last_output = outputs[-1] if outputs else None
        return results

    def _port_of_source(self, packet: PacketText) -> str:
        """Where a packet enters by the source in its text, be the packet itself one that nobody can read."""
        return self._edge.ingress_port(build_frame(PacketText(_ANY_PROTOCOL, packet.src, packet.dst)))

    def _result(self, entered: Output, outcome: Outcome, keys: frozenset[str]) -> TraceResult:
        admitted = outcome.verdict is Verdict.ALLOW
        frame = self._whole(entered, outcome)
        output_keys = keys if admitted else _keys_of_answer(keys)
        own, of_answer = _of_packet_and_answer(outcome.steps)
        steps = tuple(self._step(step, frame, keys, admitted=admitted) for step in own)
        deciding_stage = Stage.NAT if outcome.reason is Reason.NAT_PORTS_EXHAUSTED else Stage.FIREWALL
        decided_by = next((step.rule for step in reversed(steps) if step.stage is deciding_stage), None)
        answer = outcome.outputs[0].frame if outcome.outputs else None
        steps += tuple(self._step(step, answer, output_keys, admitted=answer is not None) for step in of_answer)
        return TraceResult(
            packet=format_frame(entered.frame, keys | _ttl_key(entered)),
            in_port=entered.port,
            hairpin=entered.hairpin,
            verdict=outcome.verdict,
            reason=outcome.reason,
            explanation=explain(outcome.verdict, outcome.reason, decided_by),
            steps=steps,
            outputs=tuple(self._output(output, output_keys) for output in outcome.outputs),
            session=self._session(entered.port, frame) if admitted else None,
            firewall_rule=next(
                (
                    (self._names.firewall[step.rule_id], step.rule_id)
                    for step in reversed(own)
                    if step.stage in (Stage.SESSION, Stage.FIREWALL) and step.rule_id in self._names.firewall
                ),
                None,
            ),
            nat_rules=tuple(rule for step in own for rule in self._nat_rules(step)),
        )

    def _output(self, output: Output, keys: frozenset[str]) -> TraceOutput:
        # What hairpins comes back from the provider's router at once; links have no part in it.
        told = None if output.hairpin or self._neighbour_of is None else self._neighbour_of(output.port, output.frame)
        return TraceOutput(
            output.port, format_frame(output.frame, keys), output.frame, len(output.fragments), neighbour=told
        )

    def _nat_rules(self, step: Step) -> tuple[tuple[str, str], ...]:
        """(name, id) of the NAT rules that a step is about: the one that it hit, those of the session that it found."""
        hit = step.stage is Stage.NAT and step.result is not StepResult.DROP and step.rule_id is not None
        rule_ids = (step.rule_id,) if hit else step.nat_rule_ids
        return tuple((self._names.nat[rule_id], rule_id) for rule_id in rule_ids if rule_id is not None)

    def _whole(self, entered: Output, outcome: Outcome) -> bytes:
        """What the steps speak of: the frame that entered, or the datagram that it completed."""
        if outcome.steps[0].result in (StepResult.HELD, StepResult.COMPLETE):
            self._pieces.saw(entered.port, entered.frame)
        whole = _is_complete(outcome.steps[0])
        return self._pieces.whole(entered.port, entered.frame) if whole else entered.frame

    def _session(self, port: str, frame: bytes) -> TraceSession | None:
        """The live session whose next packet, in one direction or the other, is like the one that entered."""
        info = session_of(self._edge, port, frame)
        if info is None:
            return None
        return TraceSession(info.state, (info.expires_ns - self._now_ns) / SECOND_NS, info.packets, info.bytes)

    def _step(self, step: Step, frame: bytes | None, keys: frozenset[str], *, admitted: bool) -> TraceStep:
        # A NAT rule logs what it translates, or leaves as it is, once the packet is admitted.
        nat_logged = admitted and step.stage is Stage.NAT and step.rule_id in self._names.nat_logging
        return TraceStep(
            stage=step.stage,
            result=step.result,
            rule=None if step.rule_id is None else self._names.get(step.rule_id),
            rule_id=step.rule_id,
            port=step.port,
            after=None if step.after is None else _after(step, step.after, frame, keys),
            saw=None if step.saw is None else _shown(frame, step.saw, keys),
            logged=step.logged or nat_logged,
            nat_rules=self._nat_rules(step) if step.stage is Stage.SESSION else (),
            after_ends=step.after,
            saw_ends=step.saw,
        )


def _is_complete(first_step: Step | TraceStep) -> bool:
    """Was the packet the fragment that its datagram lacked?"""
    return first_step.result is StepResult.COMPLETE


def _shown(frame: bytes | None, ends: Endpoints, keys: frozenset[str]) -> str:
    """A packet with the endpoints that a stage saw or left; just these of an answer of which nothing left the edge."""
    if frame is not None:
        return format_endpoints(frame, ends, keys)
    return f"{format_endpoint(ends.src, ends.sport or None)} > {format_endpoint(ends.dst, ends.dport or None)}"


def _of_packet_and_answer(steps: Sequence[Step]) -> tuple[Sequence[Step], Sequence[Step]]:
    """The steps of a packet with all its passes, and those of the edge's answer to it, if that entered again.

    A pass whose packet went on ends in one of ``_GOES_ON``; any other that is followed by a hairpin made an answer.
    """
    for at, (before, step) in enumerate(pairwise(steps), 1):
        if step.result is StepResult.HAIRPIN and before.result not in _GOES_ON:
            return steps[:at], steps[at:]
    return steps, ()


def _after(step: Step, after: Endpoints, frame: bytes | None, keys: frozenset[str]) -> str:
    """The packet as a stage left it; of EXPECT, the first packet of the session that is expected, port 0 being any."""
    if step.result is not StepResult.EXPECT:
        return _shown(frame, after, keys)
    headers = None if frame is None else decode_frame(frame)
    protocol, flags = (UDP, None) if headers is not None and headers.protocol == UDP else (TCP, SYN)
    return format_frame(build_frame(PacketText(protocol, after.src, after.dst, after.sport, after.dport, flags)))


def _keys_of_answer(keys: frozenset[str]) -> frozenset[str]:
    """What is shown of an answer of the edge to a packet that was written with ``keys``: it is a packet of its own, and
    nobody wrote its TTL.  Its numbers answer those of the packet, and are shown together."""
    return _ANSWER_NUMBERS if keys & _ANSWER_NUMBERS else frozenset()


def _ttl_key(entered: Output) -> frozenset[str]:
    """``ttl`` for a packet that came back with one that its text, read again, would not give it."""
    headers = decode_frame(entered.frame) if entered.hairpin else None
    return frozenset({"ttl"}) if headers is not None and headers.ttl != DEFAULT_TTL else frozenset()


def new_edge(config: EdgeConfig) -> TracedEdge:
    """The edge that traces and tests run on: the native one, with the configuration's seed or a fixed one."""
    return Edge(config)


def trace_packets(edge: TracedEdge, texts: Sequence[str]) -> list[TraceResult]:
    """Send packets in text through an edge, in order; a packet that hairpins has more than one result.

    Raises PacketSyntaxError or TraceError for the first packet that cannot be sent.
    """
    tracer = Tracer(edge)
    return [result for text in texts for result in tracer.send(text)]


def render(result: TraceResult, emphasize: Callable[[str], str] = str) -> str:
    """One pass as a block of lines to read: where it entered, numbered stages, the verdict and why, what left.

    ``emphasize`` is applied to the name of the verdict.
    """
    lines = [result.packet, f"  {'comes back' if result.hairpin else 'enters'} by {printable(result.in_port)}"]
    rows = [
        (step.stage.name, step.result.name, printable(", ".join(_subjects(step)) or step.port or ""), _detail(step))
        for step in result.steps
    ]
    stage, outcome, subject = (max(len(row[column]) for row in rows) for column in range(3))
    for number, row in enumerate(rows, 1):
        columns = f"{row[0]:<{stage}}  {row[1]:<{outcome}}  {row[2]:<{subject}}"
        lines.append(f"  {number}. {columns}  {row[3]}".rstrip())
    lines.append(f"  {emphasize(result.verdict.name)} ({result.reason.name}): {printable(result.explanation)}")
    if result.session is not None:
        state = f"{result.session.state}, " if result.session.state else ""
        lines.append(f"  session: {state}ends after {result.session.idle_timeout_s:g} s without packets")
    for output in result.outputs:
        pieces = f" in {output.fragments} fragments" if output.fragments else ""
        lines.append(f"  leaves by {printable(output.port)}{pieces}: {output.packet}")
        if output.neighbour is not None:
            lines.append(f"    {output.neighbour}")
    return "\n".join(lines)


def _subjects(step: TraceStep) -> list[str]:
    """The names of a step's rules, each once: a NAT rule that bypassed the firewall has both parts."""
    names = (step.rule, *(name for name, _ in step.nat_rules))
    return list(dict.fromkeys(name for name in names if name))


def _detail(step: TraceStep) -> str:
    """What a step has besides its rules (or, without a rule, its port)."""
    parts = [
        f"to {step.port}" if _subjects(step) and step.port else "",
        f"-> {step.after}" if step.after else "",
        f"saw {step.saw}" if step.saw else "",
        "(logged)" if step.logged else "",
    ]
    return printable("  ".join(filter(None, parts)))
