"""What a packet carries through the reference's stages: the policy, the state that outlives it, and its own notes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from functools import cached_property

from edge.addresses import IPAddress
from edge.firewall.config import FirewallRule, Section
from edge.model import EdgeConfig
from edge.nat.config import NatRule, NatType
from edge.nat.reference import INBOUND, OUTBOUND, evaluation_order, inbound_match
from edge.reference_expect import Expectation
from edge.reference_fragments import Fragments
from edge.reference_limits import Limits
from edge.reference_quote import Quote, quoted
from edge.reference_sessions import SECOND, Key, Session, SessionTable
from edge.reference_wire import Flow, Packet, endpoints
from edge.routing.reference import Port, PortKind, Route, Routing
from edge.state import (
    LimitReached,
    PortCounters,
    RuleCounters,
    RuntimeEvent,
    SessionEndCause,
    SessionEnded,
    SessionStarted,
)
from edge.verdicts import Endpoints, Fragmentation, Output, Reason, Stage, Step, StepResult, Verdict

LONGEST_PACKET = 40 + 65_535
"""Bytes of IP: a header of IPv6, and as much as it can announce."""


LOOK_NS = 8_000
"""In which there is another look at a session, packets or not."""


class SplitMix64:
    """Where every random choice comes from: Steele, Lea and Flood, "Fast splittable pseudorandom number generators"."""

    def __init__(self, seed: int) -> None:
        self._state = seed % 2**64

    def __call__(self) -> int:
        """The next 64 bits."""
        self._state = (self._state + 0x9E3779B97F4A7C15) % 2**64
        z = self._state
        z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9 % 2**64
        z = (z ^ (z >> 27)) * 0x94D049BB133111EB % 2**64
        return z ^ (z >> 31)


class Policy:
    """One configuration with its rules in order of evaluation; immutable."""

    def __init__(self, config: EdgeConfig, revision: int) -> None:
        self.config = config
        self.options = config.options
        self.revision = revision
        self.routing = Routing(config.routing)
        self.inbound_nat = evaluation_order(config.nat.rules, INBOUND)
        self.outbound_nat = evaluation_order(config.nat.rules, OUTBOUND)
        sections = list(Section)  # in order of evaluation
        self.firewall = sorted(config.firewall.rules, key=lambda rule: sections.index(rule.section))
        self.rule_ids = [*(rule.id for rule in config.firewall.rules), *(rule.id for rule in config.nat.rules)]

    @cached_property
    def port_limit(self) -> int:
        """Ports of an external address that are left to one remote endpoint, by the protocol that has more of them."""
        ports = self.options.snat_port_range
        left = {protocol: set(range(ports.first, ports.last + 1)) for protocol in (6, 17)}
        for blocked in self.options.provider_filter:
            for item in blocked.ports:
                left[blocked.protocol] -= set(range(item.first, item.last + 1))
        return max(len(free) for free in left.values())

    @cached_property
    def pool_addresses(self) -> set[IPAddress]:
        """Every address that SNAT may give."""
        return {
            rule.external.first + place
            for rule in self.outbound_nat
            if rule.type is NatType.SNAT and rule.external is not None
            for place in range(rule.external.size)
        }

    def blocks(self, protocol: int, port: int) -> bool:
        """Does the provider drop this destination port upstream of every edge?"""
        return any(
            blocked.protocol == protocol and any(port in item for item in blocked.ports)
            for blocked in self.options.provider_filter
        )

    def firewall_rule(self, rule_id: str | None) -> FirewallRule | None:
        """The rule that is in force under an id."""
        return next((rule for rule in self.config.firewall.rules if rule.id == rule_id and rule.enabled), None)

    def nat_rule(self, rule_id: str | None) -> NatRule | None:
        """Likewise."""
        return next((rule for rule in self.config.nat.rules if rule.id == rule_id and rule.enabled), None)

    def route(self, flow: Flow, entered: Port) -> Route:
        """Where a flow with its destination translated leads."""
        known_to_dnat = inbound_match(self.inbound_nat, flow) is not None
        return self.routing.route(flow.dst, entered, primary_is_local=not known_to_dnat)


@dataclass(slots=True)
class Bucket:
    """What may be sent: one second's worth at the most (RFC 1812 4.3.2.8, RFC 4443 2.4 f).  Credit is time."""

    credit_ns: int = SECOND
    credited_ns: int = 0  # when that was so

    def take(self, rate: int, now_ns: int) -> bool:
        """Pay for one of ``rate`` a second, 0 for any number; False if the credit does not suffice."""
        if rate == 0:
            return True
        price = SECOND // rate
        self.credit_ns = min(SECOND, self.credit_ns + now_ns - self.credited_ns)
        self.credited_ns = now_ns
        if self.credit_ns < price:
            return False
        self.credit_ns -= price
        return True


@dataclass(slots=True)
class Looks:
    """How many sessions may be looked at before a packet, each of which may end: so many with ``each`` packet, another
    in every 8 µs, and as long as none has to wait for that, ``most`` at once."""

    each: int = 2
    most: int = 128
    left: int = 128
    looked_ns: int = 0

    def add(self, now_ns: int) -> None:
        """Those of another packet, and of the time before it."""
        self.left = min(self.left + self.each + (now_ns - self.looked_ns) // LOOK_NS, self.most)
        self.looked_ns = now_ns

    def save_up(self) -> None:
        """No session has to wait."""
        self.left = self.most


@dataclass(slots=True)
class State:
    """What outlives a configuration."""

    draw: SplitMix64
    sessions: SessionTable = field(default_factory=SessionTable)
    fragments: Fragments = field(default_factory=Fragments)
    clock_ns: int = 0
    looks: Looks = field(default_factory=Looks)
    counters: dict[str, RuleCounters] = field(default_factory=dict)
    events: list[RuntimeEvent] = field(default_factory=list)
    watch_sessions: bool = False
    limits: Limits = field(default_factory=Limits)
    ports: dict[str, PortCounters] = field(default_factory=dict)
    errors: Bucket = field(default_factory=Bucket)  # ICMP errors of the edge's own
    segments: Bucket = field(default_factory=Bucket)  # TCP in the name of an end that did not ask for it
    answers_limited: int = 0
    verdicts: Counter[Verdict] = field(default_factory=Counter)
    reasons: Counter[Reason] = field(default_factory=Counter)
    drops: Counter[tuple[Stage, Reason]] = field(default_factory=Counter)

    def begin(self, session: Session) -> None:
        """Take in a session."""
        self.sessions.add(session)
        if self.watch_sessions:
            self.events.append(SessionStarted(self.clock_ns, session.info()))
        self.look_at_limits()

    def is_over(self, session: Session) -> bool:
        """Is its time over?  Then it is as good as ended."""
        return session.expires_ns <= self.clock_ns

    def living(self, found: tuple[Session, int] | None) -> tuple[Session, int] | None:
        """What a packet's lookup has found, with the direction; a session whose time is over ends instead."""
        if found is None or not self.is_over(found[0]):
            return found
        self.end(found[0], SessionEndCause.EXPIRED)
        return None

    def find_alive(self, key: Key) -> tuple[Session, int] | None:
        """The session with this key, and which direction that is, if its time is not over."""
        found = self.sessions.find(key)
        return None if found is None or self.is_over(found[0]) else found

    def end(self, session: Session, cause: SessionEndCause) -> None:
        """It is over, for this cause if its time is not."""
        if self.is_over(session):
            cause = SessionEndCause.EXPIRED
        if self.watch_sessions:
            self.events.append(SessionEnded(self.clock_ns, session.info(), cause))
        self.sessions.end(session)
        if session.pool_address is not None:
            self.limits.give_back(session.pool_address, self.sessions.holders(session.pool_address), self._tell)
        self.look_at_limits()

    def expire(self, fragment_timeout_s: int) -> None:
        """End what has lived long enough: expectations, datagrams in pieces, and of the sessions as many as there may
        be looked at."""
        self.looks.add(self.clock_ns)
        while self.looks.left and (session := self.sessions.next_look(self.clock_ns)) is not None:
            self.looks.left -= 1
            if session.expires_ns == session.noted_ns:
                self.end(session, SessionEndCause.EXPIRED)
            else:
                session.noted_ns = session.expires_ns
        if self.sessions.next_look(self.clock_ns) is None:
            self.looks.save_up()
        self.sessions.expectations.expire(self.clock_ns)
        self.fragments.expire(self.clock_ns, fragment_timeout_s)
        self.look_at_limits()

    def look_at_limits(self) -> None:
        """Whatever is limited has become more or less."""
        sessions = self.sessions
        used = {"maxSessions": len(sessions), "maxHalfOpen": sessions.half_open(), "maxFragments": self.fragments.units}
        self.limits.look_at(used, self._tell)

    def exhaust(self, address: IPAddress) -> None:
        """An external address had no port for a packet."""
        self.limits.exhaust(address, self.sessions.holders(address), self._tell)

    def look_at_addresses(self) -> None:
        """An address that had no port to give and that no session holds has room again: none will end to say so."""
        for address in [known for known in self.limits.exhausted if not self.sessions.holders(known)]:
            self.limits.give_back(address, 0, self._tell)

    def _tell(self, limit: str, address: str | None, reached: bool) -> None:
        self.events.append(LimitReached(self.clock_ns, limit, address, reached))

    def received(self, port: str, size: int) -> None:
        """A packet of ``size`` bytes of IP entered by a port."""
        before = self.ports.get(port, PortCounters())
        self.ports[port] = replace(
            before, received_packets=before.received_packets + 1, received_bytes=before.received_bytes + size
        )

    def sent(self, output: Output) -> None:
        """Frames left."""
        before = self.ports.get(output.port, PortCounters())
        size = sum(len(frame) - 14 for frame in output.frames)
        self.ports[output.port] = replace(
            before, sent_packets=before.sent_packets + len(output.frames), sent_bytes=before.sent_bytes + size
        )

    def may_send(self, bucket: Bucket, rate: int) -> bool:
        """Is an answer of which there may be so many in a second due?  One that is not is counted."""
        due = bucket.take(rate, self.clock_ns)
        self.answers_limited += not due
        return due

    def count(self, rules: Iterable[str], size: int, hits: int) -> None:
        """One packet of ``size`` bytes, on each of the rules."""
        for rule in rules:
            before = self.counters.get(rule, RuleCounters())
            self.counters[rule] = RuleCounters(before.hits + hits, before.packets + 1, before.bytes + size)


@dataclass(slots=True)
class Trip:
    """One packet on its way: where it entered, how far it got and what the stages found out so far."""

    policy: Policy
    state: State
    entered: Port
    packet: Packet
    flow: Flow  # with what NAT changed so far
    new_quote: Flow | None = None  # what an ICMP error is about, with what REFLEXIVE changed
    asked: Flow | None = None  # what the firewall is asked in its place, the packet that it is about; None: nothing
    steps: list[Step] = field(default_factory=list)
    dnat: NatRule | None = None
    snat: NatRule | None = None
    expected: Expectation | None = None  # what an ALG waits for, and this is
    lent_dnat: NatRule | None = None  # of the control session: in whose name an ALG puts in the destination
    lent_snat: NatRule | None = None  # likewise the source
    pool_choice: IPAddress | None = None
    route: Route = field(default_factory=lambda: Route(StepResult.NO_ROUTE))
    bypass: NatRule | None = None
    rule: FirewallRule | None = None
    saw: Endpoints | None = None
    unsegmented: bool = False  # captured before a network card cut it up
    fragmentation: Fragmentation | None = None  # how it came, if it came in pieces

    def note(
        self,
        stage: Stage,
        result: StepResult,
        *,
        rule_id: str | None = None,
        port: str | None = None,
        after: Endpoints | None = None,
        saw: Endpoints | None = None,
        logged: bool = False,
        nat_rule_ids: tuple[str, ...] = (),
    ) -> None:
        """Write down what a stage said."""
        self.steps.append(Step(stage, result, rule_id, port, after, saw, logged, nat_rule_ids))

    def shown(self, flow: Flow) -> Endpoints:
        """A flow of this packet as traces show it."""
        return endpoints(self.packet.kind, flow)

    @property
    def quote(self) -> Quote | None:
        """The packet that this one is an error about, if it goes to whoever sent that."""
        quote = quoted(self.packet)
        return None if quote is None or quote.flow.src != self.packet.flow.dst else quote

    @property
    def too_big(self) -> bool:
        """Larger than what may leave by a port, as it came: whole, or the largest of its pieces; and not to be cut."""
        came = self.size if self.fragmentation is None else self.fragmentation.size
        return came > self.largest_output and (self.packet.version == 6 or self.packet.dont_fragment)

    @property
    def largest_output(self) -> int:
        """Bytes of IP that may leave at once.  What came in pieces never leaves in larger ones, so that what its ends
        know of the path stays true."""
        limit = LONGEST_PACKET if self.unsegmented else self.policy.options.mtu
        return limit if self.fragmentation is None else min(limit, self.fragmentation.size)

    @property
    def size(self) -> int:
        """Bytes of IP."""
        return len(self.packet.ip)

    @property
    def entered_by_uplink(self) -> bool:
        """Direction IN."""
        return self.entered.kind is PortKind.UPLINK

    @property
    def local(self) -> bool:
        """True when the packet is for the edge itself."""
        return self.route.result is StepResult.LOCAL

    @property
    def out(self) -> Port:
        """The port that ROUTE found; only asked for behind that stage."""
        if self.route.port is None:
            raise LookupError("nothing goes past ROUTE without a port")
        return self.route.port

    @property
    def leaves_by_uplink(self) -> bool:
        """Direction OUT."""
        return not self.local and self.out.kind is PortKind.UPLINK

    @property
    def stateless(self) -> bool:
        """REFLEXIVE alone keeps no session; beside DNAT or SNAT, or where an ALG waits, it is part of one."""
        types = {rule.type for rule in (self.dnat, self.snat) if rule is not None}
        return self.expected is None and NatType.REFLEXIVE in types and not types & {NatType.DNAT, NatType.SNAT}

    @property
    def translated_by(self) -> tuple[NatRule | None, NatRule | None]:
        """The NAT rules that destination and source are from."""
        return self.lent_dnat or self.dnat, self.lent_snat or self.snat

    @property
    def nat_rules(self) -> dict[str, NatRule]:
        """The NAT rules that were hit, DNAT first, by id: one that both lookups hit is one."""
        return {rule.id: rule for rule in self.translated_by if rule is not None}
