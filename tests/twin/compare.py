"""The engine and its twin side by side: one packet to both, and what comes out of each held against the other."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass, field, fields, replace
from ipaddress import ip_address
from random import Random

from edge.model import EdgeConfig
from edge.nat.config import NatRule
from edge.runtime import Edge
from edge.verdicts import Outcome, Reason, Stage, StepResult, Verdict
from tests.twin.bijection import Bijection
from tests.twin.joined import Cut, joined
from tests.twin.past import Flow, Past
from tests.twin.places import Arrival, Packets, place
from tests.twin.ruleset import ruleset
from tests.twin.twin import Twin
from tests.twin.wire import REPLIES, RST, SYN, TCP, UDP, Datagram, End, checksums_right, dissect

LINGER = 20
"""Milliseconds that a twin is watched when all is over."""

LOSSES = (Reason.TTL_EXPIRED, Reason.TOO_BIG)
WAITING = (Reason.FRAGMENT_HELD, Reason.FRAGMENT_ERROR)
Explain = Callable[["Difference"], str | None]
Rewrite = Callable[[str], str]


@dataclass(frozen=True, slots=True)
class Sent:
    """A packet that left by a port, whole, and how that was cut where it left in pieces."""

    port: str
    packet: Datagram
    cuts: tuple[Cut, ...] = ()


@dataclass(frozen=True, slots=True)
class Difference:
    """What came of one packet on both sides.  ``edge`` and ``kernel`` are what left, the latter in the engine's ports;
    ``fields`` names what the two differ in.  ``strays``: packets between the same ends have come in on the other side,
    uplinks or not; ``visited``: such packets have been for the edge itself, or between distributed networks;
    ``tainted``: it left with ends of which the two know different things since another difference, or to one that only
    the twin gave to a flow; ``source``: the packet's in the twin, other than here if each side drew its own."""

    config: EdgeConfig
    event: Arrival
    packet: Datagram
    outcome: Outcome
    edge: tuple[Sent, ...]
    kernel: tuple[Sent, ...]
    fields: frozenset[str]
    past: Past
    strays: bool
    visited: bool
    tainted: bool
    source: End

    @property
    def results(self) -> frozenset[StepResult]:
        """What the stages of the engine said."""
        return frozenset(step.result for step in self.outcome.steps)

    @property
    def only_in_cuts(self) -> bool:
        """The same packet left, cut otherwise or with another DF: of its flow the two know the same."""
        return self.fields <= {"cuts", "head"}

    @property
    def kernel_silent(self) -> bool:
        """Nothing came out of the twin, but out of the engine."""
        return bool(self.edge) and not self.kernel

    @property
    def edge_silent(self) -> bool:
        """Nothing came out of the engine, but out of the twin."""
        return bool(self.kernel) and not self.edge

    @property
    def kernel_forwards(self) -> bool:
        """The twin sent one packet, and that is the one that came in, one hop older."""
        if len(self.kernel) != 1:
            return False
        out = self.kernel[0].packet
        return out.body == self.packet.body and out.ttl == self.packet.ttl - 1

    @property
    def kernel_keeps(self) -> bool:
        """The twin forwarded nothing; it may have sent an answer."""
        return all(answers(item, self.packet) for item in self.kernel)

    @property
    def hit(self) -> bool:
        """The engine found a session."""
        return StepResult.HIT in self.results


class Pair:
    """An engine and its twin, and what has been learned about them."""

    def __init__(self, config: EdgeConfig, twin: Twin) -> None:
        self.config = config
        self.edge, self.twin = Edge(config), twin
        self.ports = Bijection()
        self.rules = {rule.id: rule for rule in config.nat.rules}
        self.past: dict[Flow, Past] = {}
        self.sides: dict[tuple[int, End, End], set[int]] = {}
        self.over: set[Flow] = set()
        self.visits: set[Flow] = set()

    def feed(self, event: Arrival) -> tuple[Outcome, Difference | None]:
        """One packet to both."""
        ip = event.frame[14:]
        packet, there = dissect(ip), self.ports.there(ip)
        outcomes = [self.edge.process(event.port, event.frame[:14] + piece, 0) for piece in event.pieces(ip)]
        outcome = decisive(outcomes)
        arrived = joined(item for piece in event.pieces(there) for item in self.twin.process(event.port, piece))
        outputs = [output for item in outcomes for output in item.outputs]
        left = [joined((output.port, data[14:]) for data in output.frames) for output in outputs]
        whole = [joined([(output.port, output.frame[14:])])[0].packet for output in outputs]
        edge = tuple(Sent(item.port, dissect(item.packet), item.cuts) for items in left for item in items)
        raw = tuple(Sent(item.port, dissect(item.packet), item.cuts) for item in arrived)
        known = self.learn(packet, dissect(there), outcome, edge, raw)
        models = [item.packet for item in edge] if len(edge) == len(raw) else [None] * len(raw)
        kernel = tuple(
            replace(item, packet=self.ports.here(item.packet, model)) for item, model in zip(raw, models, strict=True)
        )
        past = self.past.get(packet.flow, Past())
        differing = set() if known else {"source"}
        if any(item.reason not in WAITING for item in outcomes if item is not outcome):
            differing |= {"pieces"}
        if len(edge) == len(kernel) == 1:
            differing |= unlike(edge[0], kernel[0], made=outcome.verdict is not Verdict.ALLOW)
        elif len(edge) != len(kernel):
            differing |= {"number"}
        if not all(map(checksums_right, whole)):
            differing |= {"checksum"}
        if [item.packet for items in left for item in items] != whole:
            differing |= {"whole"}
        difference = None
        if differing:
            difference = Difference(
                self.config,
                event,
                packet,
                outcome,
                edge,
                kernel,
                frozenset(differing),
                deepcopy(past),
                self.strays(event.port, packet) or any(self.strays(sent.port, sent.packet, out=True) for sent in edge),
                bool(self.visits & {packet.flow, *(sent.packet.flow for sent in edge)}),
                bool(self.over & {sent.packet.flow for sent in edge}) or any(map(self.is_drawn, raw)),
                dissect(there).src,
            )
        self.remember(event, packet, outcome, edge)
        if any(answers(sent, packet) and sent.packet.flags & RST for sent in kernel) and packet.flow in self.past:
            self.past[packet.flow].cut_off = True
        return outcome, difference

    def learn(
        self, before: Datagram, before_there: Datagram, outcome: Outcome, edge: tuple[Sent, ...], raw: tuple[Sent, ...]
    ) -> bool:
        """Take note of the source that SNAT gave on each side; False if the twin had none to give."""
        if outcome.verdict is not Verdict.ALLOW or len(edge) != 1 or len(raw) != 1 or before.is_error:
            return True
        here, there = edge[0].packet, raw[0].packet
        if here.src == there.src or here.protocol != there.protocol or here.dst != self.ports.here(there).dst:
            return True
        if here.src == before.src and there.src == before_there.src:
            return self.reopened(here, there.src) | self.ports.learn(here.kind, here.src, there.src, here.dst)
        if self.ports.here(there).src == here.src:
            return True
        snat = next((step for step in outcome.steps if step.result is StepResult.SNAT), None)
        if snat is None:
            return True
        rule = self.rules[snat.rule_id or ""]
        if not may_have(self.config, rule, there):
            return False
        before_now = self.ports.holder(here.kind, there.src, here.dst)
        if before_now is not None:
            self.over.add((here.protocol, frozenset((before_now, here.dst))))
        self.ports.learn(here.kind, here.src, there.src, here.dst)
        if here.src == before.src:
            self.ports.double(here.kind, here.src, here.dst)
        return True

    def reopened(self, here: Datagram, there: End) -> bool:
        """Is this the name of an end in the twin that was another's here, which is over?  No more of that one, then:
        Linux takes up a connection again as it was, where the engine begins another."""
        old = self.ports.holder(here.kind, there, here.dst)
        if old in (None, here.src) or not any(old in ends for _, ends in self.over):
            return False
        self.over.add((here.protocol, frozenset((old, here.dst))))
        return True

    def is_drawn(self, sent: Sent) -> bool:
        """Does a packet of the twin's go to an end that SNAT there has drawn for another flow?"""
        out = sent.packet
        return self.ports.holder(out.kind, out.dst, out.src) not in (None, out.dst)

    def remember(self, event: Arrival, packet: Datagram, outcome: Outcome, edge: tuple[Sent, ...]) -> None:
        """What got through in a session, under both of its flows."""
        self.sides.setdefault((packet.protocol, packet.src, packet.dst), set()).add(self.side(event.port))
        if outcome.reason in (Reason.LOCAL_SERVICE, Reason.EAST_WEST):
            self.visits.add(packet.flow)
        refused = outcome.reason is Reason.TCP_WINDOW and packet.flags & (SYN | RST)
        unread = outcome.reason is Reason.MALFORMED and packet.extensions
        if (outcome.reason in LOSSES or refused or unread) and packet.flow in self.past:
            self.past[packet.flow].parted = True
            self.past[packet.flow].doubted |= bool(packet.flags & RST)
        if outcome.verdict is not Verdict.ALLOW or packet.is_error:
            return
        here = edge[0].packet
        past = self.past.get(packet.flow)
        steps = [step for step in outcome.steps if step.stage is not Stage.REASSEMBLY]
        if past is None or steps[0].result is not StepResult.HIT:
            codes = set() if past is None else past.codes
            code = None if packet.icmp is None else packet.icmp[1]
            unasked = (packet.protocol, packet.body[0] if packet.body else None) in REPLIES
            past = Past(packet.flags, frozenset((packet.src, here.src)), codes=codes, code=code, unasked=unasked)
        self.past[packet.flow] = self.past[here.flow] = past
        past.flows |= {packet.flow, here.flow}
        past.codes |= set() if packet.icmp is None else {packet.icmp[1]}
        self.sides.setdefault((packet.protocol, here.dst, here.src), set()).add(self.side(edge[0].port))
        if packet.protocol == TCP:
            past.note(packet, here)

    def strays(self, port: str, packet: Datagram, *, out: bool = False) -> bool:
        """Has a packet between these ends been on both sides, or an error's on another than those it is about?"""
        what, (src, dst) = packet, (packet.src, packet.dst)
        if packet.quote is not None:
            what, (src, dst) = packet.quote, (packet.quote.dst, packet.quote.src)
        there, back = (self.sides.get((what.protocol, *ends), set()) for ends in ((src, dst), (dst, src)))
        if out:
            return bool(back - {self.side(port)})
        return bool(there - {self.side(port)}) or len(back) > 1

    def side(self, port: str) -> int:
        """1 for an uplink."""
        return int(any(uplink.name == port for uplink in self.config.routing.uplinks))

    def is_over(self, packet: Datagram) -> bool:
        """May the two sides know different things of this flow, or does it go to a port that only the twin gave?"""
        return packet.flow in self.over or self.ports.is_guess(packet)

    def give_up(self, difference: Difference) -> None:
        """No more packets of this flow."""
        self.over |= difference.past.flows | {difference.packet.flow}
        after = self.past.get(difference.packet.flow)
        self.over |= after.flows if after is not None else set()
        self.over.update(item.packet.flow for item in (*difference.edge, *difference.kernel))


def decisive(outcomes: list[Outcome]) -> Outcome:
    """Of those of a datagram's pieces the one that says what became of it."""
    by_rank = {Reason.FRAGMENT_HELD: 0, Reason.FRAGMENT_ERROR: 1}
    return max(reversed(outcomes), key=lambda item: by_rank.get(item.reason, 2))


def may_have(config: EdgeConfig, rule: NatRule, packet: Datagram) -> bool:
    """Is this a source that the SNAT rule may give?"""
    address, port = packet.src
    ports = config.options.snat_port_range
    drawn = packet.protocol in (TCP, UDP)
    return rule.external is not None and ip_address(address) in rule.external and (not drawn or port in ports)


def unlike(edge: Sent, kernel: Sent, *, made: bool) -> set[str]:
    """The names of what differs.  ``made``: the box itself wrote the packet, and chooses its IP identification, type of
    service and DF, which nobody compares; nor is compared how old what it quotes was by then."""
    found = {"port"} if edge.port != kernel.port else set()
    if edge.cuts != kernel.cuts:
        found.add("cuts")
    one, other = edge.packet, kernel.packet
    if made:
        one, other = stripped(one), stripped(other)
    for name in ("protocol", "src", "dst", "ttl", "head", "body"):
        if getattr(one, name) != getattr(other, name):
            found.add(name)
    if one.quote != other.quote:
        if one.quote is None or other.quote is None:
            return found | {"quote"}
        found |= {
            f"quoted {item.name}"
            for item in fields(Datagram)
            if getattr(one.quote, item.name) != getattr(other.quote, item.name)
        }
    return found


def stripped(packet: Datagram) -> Datagram:
    """Without what is not compared in packets that the box itself wrote."""
    quote = None if packet.quote is None else replace(packet.quote, ttl=0)
    return replace(packet, head=b"", quote=quote)


def answers(sent: Sent, packet: Datagram) -> bool:
    """Did a box write this itself, to the packet's sender: an ICMP error, or a reset in the name of whom it called?"""
    out = sent.packet
    if out.dst[0] != packet.src[0]:
        return False
    return (out.is_error and out.quote is not None) or (bool(out.flags & RST) and out.src == packet.dst)


@dataclass(frozen=True, slots=True)
class Odd:
    """A difference that nothing explains, and all that happened in its place before."""

    seed: str
    config: EdgeConfig
    events: tuple[Arrival, ...]
    difference: Difference


@dataclass(slots=True)
class Tally:
    """What a run came to.  ``skipped`` packets were not sent, because the two know different things of their flows;
    ``late`` ones left the twin when nobody expected any more."""

    packets: int = 0
    skipped: int = 0
    late: int = 0
    outcomes: Counter[str] = field(default_factory=Counter)
    explained: Counter[str] = field(default_factory=Counter)
    odd: list[Odd] = field(default_factory=list)


def explore(seed: str, packets: int, explain: Explain, tally: Tally, text: Rewrite = str) -> None:
    """One place with at most so many packets.  ``text`` changes the rule set of the twin, for tests of this test."""
    random = Random(seed)
    start = place(random)
    traffic = Packets(random, start)
    events: list[Arrival] = []
    with Twin(start.config, text=text(ruleset(start.config))) as twin:
        pair = Pair(start.config, twin)
        for _ in range(4 * packets):
            event = traffic.packet()
            if len(events) == packets:
                break
            if pair.is_over(dissect(event.frame[14:])):
                tally.skipped += 1
                continue
            events.append(event)
            outcome, difference = pair.feed(event)
            traffic.saw(event, outcome)
            tally.packets += 1
            tally.outcomes[f"{outcome.verdict.name} {outcome.reason.name}"] += 1
            if difference is None:
                continue
            if not difference.only_in_cuts:
                pair.give_up(difference)
            name = explain(difference)
            if name is not None:
                tally.explained[name] += 1
            else:
                tally.odd.append(Odd(seed, start.config, tuple(events), difference))
        tally.late += len(twin.late(LINGER))
