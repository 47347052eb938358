"""The readable edge: what happens to one packet, as plain Python that is meant to be read.

:func:`pipeline` is the order of the stages and the place to begin.  Features decide in their own ``reference`` module
(:mod:`edge.firewall.reference`, :mod:`edge.nat.reference`, :mod:`edge.routing.reference`); rules, fragments, sessions,
bytes and answers have modules named ``edge.reference_*``.  Nothing here is quick, and nothing is shared with the native
engine but the configuration and the vocabulary of results: tests run both and compare.
"""

from __future__ import annotations

from collections.abc import Sequence
from copy import deepcopy
from dataclasses import replace

from edge.errors import UnknownPortError
from edge.model import DEFAULT_SEED, EdgeConfig, SessionsOnChange
from edge.nat.config import NatType
from edge.reference_account import admission, admit, note_hit, reason_of, record
from edge.reference_alg import TFTP, announce_transfer, control_of, expected_session, sent_on
from edge.reference_answers import Answer, Ruling
from edge.reference_arrival import arrive, as_sent
from edge.reference_hairpin import journey
from edge.reference_limits import limits_of
from edge.reference_listing import listed, matches
from edge.reference_mapping import allocate, draws_port, mapped, mapping_key
from edge.reference_related import quoted_session, related
from edge.reference_rules import calls_back, rules, too_big
from edge.reference_sessions import ORIGINAL, REPLY, Session
from edge.reference_shift import challenge, understood
from edge.reference_trip import Looks, Policy, SplitMix64, State, Trip
from edge.reference_window import Fit, segment_of
from edge.reference_wire import NO_NEXT_HEADER, RST, SYN, Kind, Packet, network_offset, parse
from edge.routing.reference import Port
from edge.state import (
    PortCounters,
    RuleCounters,
    RuntimeEvent,
    SessionEndCause,
    SessionInfo,
    SessionMatch,
    SessionsPage,
    Stats,
)
from edge.verdicts import Fragmentation, Outcome, Processed, Reason, Stage, StepResult, Verdict

# --- the order ------------------------------------------------------------------------------------------------------


def pipeline(trip: Trip) -> Ruling:
    """One packet through the edge, whole by now: the first stage that has the last word ends it."""
    return (
        established_session(trip)
        or expected_session(trip)
        or refused_by_rules(trip)
        or edge_itself(trip)
        or stateless_translation(trip)
        or session_limits(trip)
        or new_session(trip)
    )


# --- stages before the rules ----------------------------------------------------------------------------------------


def established_session(trip: Trip) -> Ruling | None:
    """A packet of a live session, or an ICMP error about one, is rewritten as recorded and goes on, unless the session
    ends here and now."""
    packet, sessions = trip.packet, trip.state.sessions
    is_error = packet.kind is Kind.ICMP_ERROR
    found = quoted_session(trip) if is_error else sessions.find((packet.flow, trip.entered.side))
    found = trip.state.living(found)
    if found is None:
        trip.note(Stage.SESSION, StepResult.MISS)
        return None
    session, direction = found
    port_reused = session.closed and packet.is_opening
    if port_reused or not still_admitted(session, trip):
        trip.state.end(session, SessionEndCause.REUSED if port_reused else SessionEndCause.CONFIG)
        trip.note(Stage.SESSION, StepResult.ENDED)
        return None
    new, out = session.leaves_as(direction), session.leaves_by(direction)
    if packet.ttl <= 1:
        note_hit(trip, session, direction)
        trip.note(Stage.ROUTE, StepResult.TTL_EXPIRED)
        return Ruling(Verdict.DROP, Reason.TTL_EXPIRED, Answer.TIME_EXCEEDED)
    if trip.too_big:
        note_hit(trip, session, direction)
        return too_big(trip)
    if is_error:
        return related(trip, session, direction)
    packet = understood(packet, session.shifts[1 - direction])
    refused = unexpected_segment(session, direction, packet)
    if refused is not None:
        note_hit(trip, session, direction)
        trip.note(Stage.SESSION, StepResult.DROP)
        return refused
    after = trip.shown(new) if new != packet.flow else None
    note_hit(trip, session, direction, after)
    session.track(direction, packet, trip.policy.options.timers, trip.state.clock_ns)
    trip.state.look_at_limits()
    session.packets[direction] += 1
    session.bytes[direction] += trip.size
    trip.state.count(session.admission.rules, trip.size, hits=0)
    trip.packet = sent_on(trip, session, direction, packet)
    return Ruling(Verdict.ALLOW, Reason.SESSION, forward=(out, new))


def unexpected_segment(session: Session, direction: int, packet: Packet) -> Ruling | None:
    """TCP that fits neither the state nor the windows of its session; what may be an attacker's guess is questioned."""
    if packet.is_absurd:
        return Ruling(Verdict.DROP, Reason.TCP_STATE)
    if session.windows is None:
        return None
    windows, segment = session.windows, segment_of(packet)
    asked = challenge(windows.challenge(direction), session.shifts[1 - direction])
    if packet.tcp_flags & SYN and session.established and not windows.repeats_syn(direction, segment):
        return Ruling(Verdict.DROP, Reason.TCP_STATE, asked)
    match windows.judge(direction, segment, finished=session.finished(direction)):
        case Fit.INSIDE:
            return None
        case Fit.OUTSIDE:
            return Ruling(Verdict.DROP, Reason.TCP_WINDOW)
        case Fit.DOUBTFUL:
            return Ruling(Verdict.DROP, Reason.TCP_WINDOW, asked)
        case Fit.STALE:
            return Ruling(Verdict.DROP, Reason.TCP_WINDOW, Answer.STALE_RESET)


def still_admitted(session: Session, trip: Trip) -> bool:
    """Under RECHECK, the first packet after a change has the session's first packet judged again by the new rules."""
    policy = trip.policy
    rechecks = policy.options.sessions_on_change is SessionsOnChange.RECHECK
    if not rechecks or session.admission.revision == policy.revision:
        return True
    again = Trip(
        policy, trip.state, session.ports[ORIGINAL], session.first_packet(), session.original, unsegmented=True
    )
    admitted = (
        rules(again) is None
        and not again.local
        and not again.stateless
        and again.out.name == session.ports[REPLY].name
        and (again.flow.dst, again.flow.dport) == (session.translated.dst, session.translated.dport)
        and source_still_fits(session, again)
    )
    if admitted:
        session.admission, session.alg, session.calls_back = admission(again), control_of(again), False
        if not session.alg:
            trip.state.sessions.expectations.end(session)
    return admitted


def source_still_fits(session: Session, again: Trip) -> bool:
    """Could the session get the source that it has?  SNAT might draw any port, from any address of its pool."""
    if again.snat is not None and again.snat.type is NatType.SNAT:
        return again.snat.external is not None and session.translated.src in again.snat.external
    return (session.translated.src, session.translated.sport) == (again.flow.src, again.flow.sport)


# --- stages behind the rules ----------------------------------------------------------------------------------------


def refused_by_rules(trip: Trip) -> Ruling | None:
    """The rules' last word; a firewall rule that refuses is counted and logged."""
    ruling = rules(trip)
    if ruling is not None and trip.rule is not None:
        record(trip, ruling.verdict, ruling.reason, [trip.rule.id])
    return ruling


def edge_itself(trip: Trip) -> Ruling | None:
    """What is addressed to the edge: ping is answered, everything else is refused as a host without services does."""
    if not trip.local:
        return None
    result, reply = local_service(trip.packet)
    trip.note(Stage.LOCAL, result)
    if trip.rule is not None:
        record(trip, Verdict.LOCAL, Reason.LOCAL_SERVICE, [trip.rule.id])
    return Ruling(Verdict.LOCAL, Reason.LOCAL_SERVICE, reply)


def local_service(packet: Packet) -> tuple[StepResult, Answer | None]:
    """What the edge does with a packet of its own, and what it answers."""
    if packet.kind is Kind.ICMP_REQUEST and packet.icmp_type in (8, 128) and packet.icmp_code == 0:
        return StepResult.ECHO_REPLY, Answer.ECHO_REPLY
    if packet.kind is Kind.TCP and not packet.tcp_flags & RST:
        return StepResult.RESET, Answer.RESET
    if packet.kind is Kind.UDP:
        return StepResult.UNREACHABLE, Answer.PORT_UNREACHABLE
    if packet.kind is Kind.OTHER and (packet.version == 4 or packet.flow.protocol != NO_NEXT_HEADER):
        return StepResult.UNREACHABLE, Answer.UNKNOWN_PROTOCOL
    return StepResult.ACCEPTED, None


def stateless_translation(trip: Trip) -> Ruling | None:
    """REFLEXIVE alone: every packet is judged and rewritten for itself."""
    if not trip.stateless:
        return None
    admit(trip, reason_of(trip))
    return Ruling(Verdict.ALLOW, reason_of(trip), forward=(trip.out, trip.flow))


def session_limits(trip: Trip) -> Ruling | None:
    """There is no room for one more."""
    options, sessions = trip.policy.options, trip.state.sessions
    full = len(sessions) >= options.max_sessions
    too_many_half_open = trip.packet.kind is Kind.TCP and sessions.half_open() >= options.max_half_open
    per_source = options.max_sessions_per_source
    too_many_of_source = per_source is not None and sessions.of_source(trip.packet.flow.src) >= per_source
    if full or too_many_half_open or too_many_of_source:
        trip.note(Stage.SESSION, StepResult.DROP)
        return Ruling(Verdict.DROP, Reason.SESSION_LIMIT)
    return None


def new_session(trip: Trip) -> Ruling:
    """A port or identifier is allocated where SNAT wants one, and the session recorded."""
    by_snat = trip.snat is not None and trip.snat.type is NatType.SNAT
    translated = allocate(trip)
    if translated is None:
        dnat, snat = trip.translated_by
        rule = snat or dnat
        trip.note(Stage.NAT, StepResult.DROP, rule_id=None if rule is None else rule.id)
        exhausted = by_snat and draws_port(trip.packet) and mapped(trip) is None
        return Ruling(Verdict.DROP, Reason.NAT_PORTS_EXHAUSTED if exhausted else Reason.NAT_COLLISION)
    if by_snat:
        after = trip.shown(translated)
        last = max(number for number, step in enumerate(trip.steps) if step.result is StepResult.SNAT)
        trip.steps[last] = replace(trip.steps[last], after=after)  # an earlier pass has its own
    session = Session(
        kind=trip.packet.kind,
        icmp_type=trip.packet.icmp_type,
        original=trip.packet.flow,
        translated=translated,
        ports=(trip.entered, trip.out),
        pool_address=translated.src if by_snat else None,
        mapping=mapping_key(trip),
        created_ns=trip.state.clock_ns,
        admission=admission(trip),
        alg=control_of(trip),
        calls_back=calls_back(trip),
        packets=[1, 0],
        bytes=[trip.size, 0],
    )
    session.open(trip.packet, trip.policy.options.timers, trip.state.clock_ns)
    trip.state.begin(session)
    if trip.expected is not None:
        trip.state.sessions.expectations.remove(trip.expected)
    admit(trip, reason_of(trip))
    if session.alg == TFTP:
        announce_transfer(trip, session)
    return Ruling(Verdict.ALLOW, reason_of(trip), forward=(trip.out, translated))


# --- the edge -------------------------------------------------------------------------------------------------------


class ReferenceEdge:
    """An edge for one packet at a time, with the interface of :class:`edge.runtime.Edge`.

    ``seed`` decides every random choice; None takes the configuration's, or else 1.
    """

    def __init__(self, config: EdgeConfig, *, seed: int | None = None) -> None:
        if seed is None:
            seed = DEFAULT_SEED if config.options.seed is None else config.options.seed
        self._policy = Policy(config, revision=1)
        self._state = State(SplitMix64(seed))
        self._state.limits.most = limits_of(config.options)

    @property
    def config(self) -> EdgeConfig:
        """The configuration in force."""
        return self._policy.config

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
        """One Ethernet frame in by a port.  Time never runs backwards: an earlier ``now_ns`` is taken for the latest.

        ``unsegmented``: the frame was captured before a network card cut it up: the MTU is not its limit, and its IPv4
        header may lack the total length.  ``map_replies``: what :meth:`map_reply` does, of datagrams in pieces too.
        ``fragmentation``: the frame is a whole datagram that came in such pieces, as an output that hairpins says.
        Raises ValueError for a port that the configuration does not have, and for a ``fragmentation`` that the frame
        cannot have come in.
        """
        state = self._state
        entered = self._port(port)
        self._advance(now_ns)
        packet = parse(frame, unsegmented=unsegmented)
        state.received(port, max(0, len(frame) - 14) if isinstance(packet, Reason) else len(packet.ip))
        arrived = arrive(
            self._policy,
            state,
            entered,
            frame,
            unsegmented=unsegmented,
            map_replies=map_replies,
            fragmentation=fragmentation,
        )
        if isinstance(arrived, Outcome):
            outcome = arrived
            if outcome.verdict is Verdict.DROP:
                state.drops[outcome.steps[-1].stage, outcome.reason] += 1
        else:
            outcome = journey(arrived, pipeline)
        for output in outcome.outputs:
            state.sent(output)
        state.verdicts[outcome.verdict] += 1
        state.reasons[outcome.reason] += 1
        return outcome

    def process_batch(self, frames: Sequence[tuple[str, bytes]], now_ns: int, *, outputs: bool) -> list[Processed]:
        """Frames one after the other at one time, each followed by its ways back in from the provider's router.

        Raises UnknownPortError before anything has happened.
        """
        for port, _ in frames:
            if self._policy.routing.port(port) is None:
                raise UnknownPortError(f"no port is called {port!r}")
        done = [self._until_it_is_gone(port, frame, now_ns) for port, frame in frames]
        return done if outputs else [replace(item, outputs=()) for item in done]

    def _until_it_is_gone(self, port: str, frame: bytes, now_ns: int) -> Processed:
        said = outcome = self.process(port, frame, now_ns)
        while outcome.outputs and outcome.outputs[0].hairpin:
            back = outcome.outputs[0]
            outcome = self.process(back.port, back.frame, now_ns, fragmentation=back.fragmentation)
            if said.verdict is Verdict.ALLOW:  # what becomes of an answer is another story
                said = outcome
        return Processed(said.verdict, said.reason, outcome.outputs)

    def apply(self, config: EdgeConfig) -> None:
        """Change the configuration; its ``options.sessions_on_change`` says what becomes of open sessions."""
        self.commit(self.prepare(config))

    def prepare(self, config: EdgeConfig, *, revision: int | None = None) -> Policy:
        """A configuration that could run at once, under this number or one more than the present."""
        return Policy(config, self._policy.revision + 1 if revision is None else revision)

    def commit(self, new: Policy) -> None:
        """Run what was prepared."""
        old, state = self._policy, self._state
        state.look_at_addresses()
        state.limits.most = {}
        for session in state.sessions:
            ports = ports_under(session, old, new)
            if ports is None or new.options.sessions_on_change is SessionsOnChange.FLUSH:
                state.end(session, SessionEndCause.CONFIG)
            else:
                session.ports = ports
        state.fragments.keep_ports(lambda name: same_port(name, old, new))
        self._policy = new
        state.limits.most = limits_of(new.options)
        state.look_at_limits()

    def sessions(self) -> list[SessionInfo]:
        """Every live session, the oldest first."""
        return [listed(session) for session in self._alive()]

    def sessions_page(self, *, after: int = 0, limit: int = 1000, match: SessionMatch | None = None) -> SessionsPage:
        """Up to ``limit`` sessions that match, the oldest first, from those behind number ``after`` on."""
        behind = [session for session in self._alive() if session.id > after]
        found = [listed(session) for session in behind]
        page = [info for info in found if match is None or matches(match, info)][:limit]
        more = page and page[-1].id < found[-1].id
        return SessionsPage(page, page[-1].id if more else None)

    def delete_sessions(self, match: SessionMatch) -> int:
        """End the sessions that match; how many those were."""
        meant = [session for session in self._alive() if matches(match, session.info())]
        for session in meant:
            self._state.end(session, SessionEndCause.DELETED)
        return len(meant)

    def snapshot(self) -> ReferenceEdge:
        """An edge that would do what this one would do, and shares nothing with it."""
        copy = ReferenceEdge.__new__(ReferenceEdge)
        state = deepcopy(self._state)
        state.events, state.watch_sessions = [], False
        copy._policy, copy._state = self._policy, state  # noqa: SLF001 - it is one of these
        return copy

    def rule_counters(self) -> dict[str, RuleCounters]:
        """Counters of every rule of the current configuration, by id."""
        return {rule_id: self._state.counters.get(rule_id, RuleCounters()) for rule_id in self._policy.rule_ids}

    def stats(self) -> Stats:
        """Totals since the beginning."""
        state = self._state
        sessions, fragments = state.sessions, state.fragments
        addresses = sorted(self._policy.pool_addresses, key=lambda address: (address.version, address))
        return Stats(
            dict(state.verdicts),
            dict(state.reasons),
            dict(state.drops),
            sessions.created,
            sessions.peak,
            len(sessions),
            sessions.half_open(),
            self._policy.options.max_sessions,
            state.answers_limited,
            fragments.reassembled,
            fragments.timed_out,
            fragments.units,
            {port: state.ports.get(port, PortCounters()) for port in self._policy.config.ports},
            {str(item): (sessions.holders(item), self._policy.port_limit) for item in addresses},
        )

    def set_pace(self, each: int, most: int) -> None:
        """Before a packet, look at ``each`` sessions whose time may be over, and what looks were not needed before, up
        to ``most``."""
        self._state.looks = Looks(each, most, most, self._state.clock_ns)

    @property
    def watch_sessions(self) -> bool:
        """Are there events of sessions that begin and end?"""
        return self._state.watch_sessions

    @watch_sessions.setter
    def watch_sessions(self, on: bool) -> None:
        self._state.watch_sessions = on

    def take_events(self) -> tuple[list[RuntimeEvent], int]:
        """What happened since the last call; nothing is ever lost."""
        events, self._state.events = self._state.events, []
        return events, 0

    def map_reply(self, port: str, frame: bytes, now_ns: int) -> tuple[str, bytes]:
        """Where and as what a frame captured at ``now_ns`` should be fed.

        A capture taken behind the edge shows answers as they arrive there.  One that belongs to no live session as it
        is, but answers a session's packet as that had entered, becomes the answer to what had left, on the port it had
        left by; everything else stays as it is.
        """
        self._advance(now_ns)
        packet, at = parse(frame, unsegmented=True), network_offset(frame)
        if isinstance(packet, Reason) or at is None:
            return port, frame
        found = as_sent(self._state, self._port(port), packet)
        if found is None:
            return port, frame
        entered, ip = found
        return entered.name, frame[:at] + ip + frame[at + len(ip) :]

    def ingress_port(self, frame: bytes) -> str:
        """The port that a frame enters by, as its source says."""
        packet = parse(frame, unsegmented=True)
        routing = self._policy.routing
        return routing.ports[0].name if isinstance(packet, Reason) else routing.ingress(packet.flow.src).name

    def _advance(self, now_ns: int) -> None:
        """Move the clock; sessions end, and datagrams in pieces are given up, whose time has come."""
        state = self._state
        state.clock_ns = max(state.clock_ns, now_ns)
        state.expire(self._policy.options.fragment_timeout)

    def _alive(self) -> list[Session]:
        return [session for session in self._state.sessions if not self._state.is_over(session)]

    def _port(self, name: str) -> Port:
        port = self._policy.routing.port(name)
        if port is None:
            raise ValueError(f"no port is called {name!r}; there are {', '.join(self._policy.config.ports)}")
        return port


def same_port(name: str, old: Policy, new: Policy) -> bool:
    """Is there still a port of this name and kind?"""
    before, after = old.routing.port(name), new.routing.port(name)
    return before is not None and after is not None and before.kind is after.kind


def ports_under(session: Session, old: Policy, new: Policy) -> tuple[Port, Port] | None:
    """A session's ports under a new configuration; None if its ports, route or external addresses are gone."""
    entered, out = (new.routing.port(port.name) for port in session.ports)
    if entered is None or out is None or (entered.kind, out.kind) != tuple(port.kind for port in session.ports):
        return None
    original, translated = session.original, session.translated
    if session.calls_back:
        route = new.routing.route(translated.dst, entered, primary_is_local=False)
    else:
        route = new.route(original._replace(dst=translated.dst, dport=translated.dport), entered)
    if route.result is StepResult.LOCAL or route.port != out:
        return None
    pairs = ((translated.src, original.src), (original.dst, translated.dst))
    external = [outside for outside, inside in pairs if outside != inside]
    if any(old.routing.owner(item) is not None and new.routing.owner(item) is None for item in external):
        return None
    return entered, out
