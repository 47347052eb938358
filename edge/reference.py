"""The readable edge: what happens to one packet, as plain Python that is meant to be read.

:func:`pipeline` is the order of the stages and the place to begin.  Features decide in their own ``reference`` module
(:mod:`edge.firewall.reference`, :mod:`edge.nat.reference`, :mod:`edge.routing.reference`); sessions, bytes and answers
have modules named ``edge.reference_*``.  Nothing here is quick, and nothing is shared with the native engine but the
configuration and the vocabulary of results: tests run both and compare.
"""

from __future__ import annotations

from dataclasses import replace

from edge.firewall.config import Action
from edge.firewall.reference import Question, first_match
from edge.model import DEFAULT_SEED, EdgeConfig, SessionsOnChange
from edge.nat.config import FirewallMatch, NatRule, NatType
from edge.nat.reference import (
    choose_source,
    inbound_match,
    outbound_match,
    pool,
    translate_destination,
    translate_source_in_place,
)
from edge.reference_account import REASON_OF_SECTION, admission, admit, note_hit, reason_of, record
from edge.reference_alg import (
    TFTP,
    admitted_by_alg,
    announce_transfer,
    control_of,
    expected_session,
    put_in_destination,
    put_in_source,
    sent_on,
)
from edge.reference_answers import Answer, Ruling, outputs
from edge.reference_related import error_inwards, error_outwards, quoted_session, related, stateless_error
from edge.reference_sessions import ORIGINAL, REPLY, Session
from edge.reference_shift import challenge, understood
from edge.reference_trip import Policy, SplitMix64, State, Trip
from edge.reference_window import Fit, segment_of
from edge.reference_wire import RST, SYN, Flow, Kind, Packet, network_offset, parse, rewrite
from edge.routing.reference import Port, PortKind, Route, is_martian
from edge.state import LogEvent, RuleCounters, SessionInfo, Stats
from edge.verdicts import Outcome, Reason, Stage, Step, StepResult, Verdict

DEAD_ENDS: dict[StepResult, tuple[Reason, Answer | None]] = {
    StepResult.MULTICAST: (Reason.MULTICAST, None),
    StepResult.ISOLATED: (Reason.ISOLATED, Answer.NET_UNREACHABLE),
    StepResult.NO_ROUTE: (Reason.NO_ROUTE, Answer.NET_UNREACHABLE),
}


# --- the order ------------------------------------------------------------------------------------------------------


def pipeline(trip: Trip) -> Ruling:
    """One packet through the edge: the first stage that has the last word ends it."""
    return (
        fragment(trip)
        or established_session(trip)
        or expected_session(trip)
        or refused_by_rules(trip)
        or edge_itself(trip)
        or stateless_translation(trip)
        or session_limits(trip)
        or new_session(trip)
    )


def rules(trip: Trip) -> Ruling | None:
    """What the configuration says of a packet without a session; changes nothing but the trip."""
    return (
        isolated_port(trip)
        or unroutable_addresses(trip)
        or provider_filter_inwards(trip)
        or destination_nat(trip)
        or routing(trip)
        or east_west(trip)
        or provider_filter_outwards(trip)
        or source_nat(trip)
        or stateless_error(trip)
        or firewall(trip)
    )


# --- stages before the rules ----------------------------------------------------------------------------------------


def fragment(trip: Trip) -> Ruling | None:
    """Fragments are recognised, and that is all."""
    if trip.packet.kind is not Kind.FRAGMENT:
        return None
    trip.note(Stage.REASSEMBLY, StepResult.DROP)
    return Ruling(Verdict.DROP, Reason.FRAGMENT_NOT_EMULATED)


def established_session(trip: Trip) -> Ruling | None:
    """A packet of a live session, or an ICMP error about one, is rewritten as recorded and goes on, unless the session
    ends here and now."""
    packet, sessions = trip.packet, trip.state.sessions
    is_error = packet.kind is Kind.ICMP_ERROR
    found = quoted_session(trip) if is_error else sessions.find((packet.flow, trip.entered.side))
    if found is None:
        trip.note(Stage.SESSION, StepResult.MISS)
        return None
    session, direction = found
    port_reused = session.closed and packet.is_opening
    if port_reused or not still_admitted(session, trip):
        sessions.end(session)
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
    asked = challenge(session.windows.challenge(direction), session.shifts[1 - direction])
    if packet.tcp_flags & SYN and session.established:
        return Ruling(Verdict.DROP, Reason.TCP_STATE, asked)
    fit = session.windows.judge(direction, segment_of(packet))
    if fit is Fit.INSIDE:
        return None
    return Ruling(Verdict.DROP, Reason.TCP_WINDOW, asked if fit is Fit.DOUBTFUL else None)


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
        session.admission, session.alg = admission(again), control_of(again)
        if not session.alg:
            trip.state.sessions.expectations.end(session)
    return admitted


def source_still_fits(session: Session, again: Trip) -> bool:
    """Could the session get the source that it has?  SNAT might draw any port, from any address of its pool."""
    if again.snat is not None and again.snat.type is NatType.SNAT:
        return again.snat.external is not None and session.translated.src in again.snat.external
    return (session.translated.src, session.translated.sport) == (again.flow.src, again.flow.sport)


# --- stages of the rules --------------------------------------------------------------------------------------------


def isolated_port(trip: Trip) -> Ruling | None:
    """An isolated network is not attached; its machines reach nothing, the edge included."""
    if trip.entered.kind is not PortKind.ISOLATED:
        return None
    trip.note(Stage.ROUTE, StepResult.ISOLATED)
    return Ruling(Verdict.DROP, Reason.ISOLATED, Answer.NET_UNREACHABLE)


def unroutable_addresses(trip: Trip) -> Ruling | None:
    """What a router never forwards: multicast and broadcast here, then martians."""
    if trip.policy.routing.is_multicast(trip.flow.dst):
        trip.note(Stage.ROUTE, StepResult.MULTICAST)
        return Ruling(Verdict.DROP, Reason.MULTICAST)
    if is_martian(trip.flow.src, trip.flow.dst):
        trip.note(Stage.ROUTE, StepResult.MARTIAN)
        return Ruling(Verdict.DROP, Reason.MARTIAN)
    return None


def provider_filter_inwards(trip: Trip) -> Ruling | None:
    """What enters by an uplink has passed the provider, on the destination port that the world calls."""
    return provider_filter(trip) if trip.entered_by_uplink else None


def provider_filter_outwards(trip: Trip) -> Ruling | None:
    """What leaves by an uplink has the provider before it."""
    return provider_filter(trip) if trip.leaves_by_uplink else None


def provider_filter(trip: Trip) -> Ruling | None:
    """The ports that the provider blocks upstream of every edge."""
    if not trip.policy.options.provider_filter:
        return None
    if trip.packet.kind in (Kind.TCP, Kind.UDP) and trip.policy.blocks(trip.flow.protocol, trip.flow.dport):
        trip.note(Stage.PROVIDER_FILTER, StepResult.DROP)
        return Ruling(Verdict.DROP, Reason.PROVIDER_FILTER)
    trip.note(Stage.PROVIDER_FILTER, StepResult.PASS)
    return None


def destination_nat(trip: Trip) -> Ruling | None:
    """DNAT, NO_DNAT or REFLEXIVE, for what entered by an uplink or a service interface; an ALG may know better."""
    if trip.expected is not None and trip.expected.new_destination is not None:
        put_in_destination(trip, trip.expected, trip.expected.new_destination)
        return None
    if not trip.entered.border:
        return None
    if trip.packet.kind is Kind.ICMP_ERROR:
        error_inwards(trip)
        return None
    trip.dnat = inbound_match(trip.policy.inbound_nat, trip.flow)
    if trip.dnat is None:
        trip.note(Stage.NAT, StepResult.MISS)
        return None
    trip.flow = translate_destination(trip.dnat, trip.flow)
    after = None if trip.dnat.type is NatType.NO_DNAT else trip.shown(trip.flow)
    trip.note(Stage.NAT, StepResult[trip.dnat.type.name], rule_id=trip.dnat.id, after=after)
    return None


def routing(trip: Trip) -> Ruling | None:
    """Where the destination leads, DNAT done."""
    trip.route = route_of(trip)
    if trip.route.port is None:
        trip.note(Stage.ROUTE, trip.route.result)
        reason, reply = DEAD_ENDS[trip.route.result]
        return Ruling(Verdict.DROP, reason, reply)
    trip.note(Stage.ROUTE, trip.route.result, port=trip.out.name)
    if trip.local:
        trip.expected = None  # no session: the firewall is asked as ever
    if trip.packet.ttl <= 1 and not trip.local:
        trip.note(Stage.ROUTE, StepResult.TTL_EXPIRED)
        return Ruling(Verdict.DROP, Reason.TTL_EXPIRED, Answer.TIME_EXCEEDED)
    return too_big(trip) if trip.too_big and not trip.local else None


def too_big(trip: Trip) -> Ruling:
    """Larger than the MTU of the way out: the sender is told, unless a router would have to fragment the packet."""
    trip.note(Stage.ROUTE, StepResult.TOO_BIG)
    if trip.packet.version == 4 and not trip.packet.dont_fragment:
        return Ruling(Verdict.DROP, Reason.FRAGMENT_NOT_EMULATED)
    return Ruling(Verdict.DROP, Reason.TOO_BIG, Answer.TOO_BIG)


def route_of(trip: Trip) -> Route:
    """The route; ICMP errors meet no NAT, so a primary address is always the edge itself to them."""
    if trip.packet.kind is Kind.ICMP_ERROR:
        return trip.policy.routing.route(trip.flow.dst, trip.entered, primary_is_local=True)
    return trip.policy.route(trip.flow, trip.entered)


def east_west(trip: Trip) -> Ruling | None:
    """Between distributed networks the distributed router forwards; the edge never sees it."""
    if trip.policy.options.east_west_firewall or trip.local:
        return None
    if trip.entered.kind is not PortKind.DISTRIBUTED or trip.out.kind is not PortKind.DISTRIBUTED:
        return None
    admit(trip)  # an ALG may have put in the destination in the name of a rule
    return Ruling(Verdict.ALLOW, Reason.EAST_WEST, forward=(trip.out, trip.flow))


def source_nat(trip: Trip) -> Ruling | None:
    """SNAT, NO_SNAT or REFLEXIVE, for what leaves by an uplink or a service interface.

    SNAT's address is chosen here, for the firewall to see; its port is drawn when the firewall has said yes.
    """
    if trip.expected is not None and trip.expected.new_source is not None:
        put_in_source(trip, trip.expected, trip.expected.new_source)
        return None
    if trip.local or not trip.out.border:
        return None
    if trip.packet.kind is Kind.ICMP_ERROR:
        error_outwards(trip)
        return None
    trip.snat = outbound_match(trip.policy.outbound_nat, trip.flow, trip.policy.options.snat_service_port)
    if trip.snat is None:
        trip.note(Stage.NAT, StepResult.MISS)
        return None
    trip.flow = translate_source_in_place(trip.snat, trip.flow)
    if trip.snat.type is NatType.SNAT:
        trip.pool_choice = pool(trip.snat, trip.state.sessions.holders)[0]
    after = trip.shown(trip.flow) if trip.snat.type is NatType.REFLEXIVE else None
    trip.note(Stage.NAT, StepResult[trip.snat.type.name], rule_id=trip.snat.id, after=after)
    return None


def firewall(trip: Trip) -> Ruling | None:
    """The first rule that matches decides; None means that it allows.  A network reaches the edge itself unasked."""
    if trip.local and not trip.entered_by_uplink:
        return None
    if trip.expected is not None:
        admitted_by_alg(trip, trip.expected)
        return None
    trip.bypass = bypassing_rule(trip)
    reason = not_a_beginning(trip)
    if reason is not None:
        trip.note(Stage.FIREWALL, StepResult.DROP)
        return Ruling(Verdict.DROP, reason)
    if trip.bypass is not None:
        trip.note(Stage.FIREWALL, StepResult.BYPASS, rule_id=trip.bypass.id)
        return None
    question = firewall_question(trip)
    trip.saw = trip.shown(Flow(question.protocol, question.src, question.sport, question.dst, question.dport))
    trip.rule = first_match(trip.policy.firewall, question)
    action = Action.DROP if trip.rule is None else trip.rule.action
    rule_id = None if trip.rule is None else trip.rule.id
    logged = trip.rule is not None and trip.rule.logging
    trip.note(Stage.FIREWALL, StepResult[action.name], rule_id=rule_id, saw=trip.saw, logged=logged)
    if action is Action.ALLOW:
        return None
    reason = Reason.FW_DEFAULT if trip.rule is None else REASON_OF_SECTION[trip.rule.section]
    if action is Action.DROP:
        return Ruling(Verdict.DROP, reason)
    return Ruling(Verdict.REJECT, reason, Answer.RESET if trip.packet.kind is Kind.TCP else Answer.PROHIBITED)


def bypassing_rule(trip: Trip) -> NatRule | None:
    """The NAT rule that spares the packet the firewall, DNAT's before SNAT's; exemptions never do."""
    for rule in (trip.dnat, trip.snat):
        if (
            rule is not None
            and rule.firewall_match is FirewallMatch.BYPASS
            and rule.type not in (NatType.NO_DNAT, NatType.NO_SNAT)
        ):
            return rule
    return None


def not_a_beginning(trip: Trip) -> Reason | None:
    """Why a packet without a session cannot begin one, whatever the rules say; BYPASS lets pass all but nonsense."""
    packet = trip.packet
    if packet.kind is Kind.ICMP_ERROR:
        return Reason.ICMP_UNRELATED
    if trip.stateless:
        return None
    if trip.bypass is None:
        if packet.kind is Kind.ICMP_REPLY:
            return Reason.ICMP_UNRELATED
        if packet.kind is Kind.TCP and trip.policy.options.tcp_strict and not packet.is_opening:
            return Reason.TCP_STRICT
    return Reason.TCP_STATE if packet.is_absurd else None


def firewall_question(trip: Trip) -> Question:
    """The packet as the firewall sees it: private addresses, unless a NAT rule says MATCH_EXTERNAL_ADDRESS."""
    received = trip.packet.flow
    src, dst, dport = received.src, trip.flow.dst, trip.flow.dport
    if trip.dnat is not None and trip.dnat.firewall_match is FirewallMatch.MATCH_EXTERNAL_ADDRESS:
        dst, dport = received.dst, received.dport
    if trip.snat is not None and trip.snat.firewall_match is FirewallMatch.MATCH_EXTERNAL_ADDRESS:
        src = trip.flow.src if trip.pool_choice is None else trip.pool_choice
    return Question(
        protocol=received.protocol,
        src=src,
        sport=received.sport,
        dst=dst,
        dport=dport,
        icmp_type=trip.packet.icmp_type,
        icmp_code=trip.packet.icmp_code,
        entered_by_uplink=trip.entered_by_uplink,
        leaves_by_uplink=trip.leaves_by_uplink,
    )


# --- stages behind the rules ----------------------------------------------------------------------------------------


def refused_by_rules(trip: Trip) -> Ruling | None:
    """The rules' last word; a firewall rule that refuses is counted and logged."""
    ruling = rules(trip)
    if ruling is not None and trip.rule is not None:
        record(trip, ruling.verdict, [trip.rule.id])
    return ruling


def edge_itself(trip: Trip) -> Ruling | None:
    """What is addressed to the edge: ping is answered, everything else is refused as a host without services does."""
    if not trip.local:
        return None
    result, reply = local_service(trip.packet)
    trip.note(Stage.LOCAL, result)
    if trip.rule is not None:
        record(trip, Verdict.LOCAL, [trip.rule.id])
    return Ruling(Verdict.LOCAL, Reason.LOCAL_SERVICE, reply)


def local_service(packet: Packet) -> tuple[StepResult, Answer | None]:
    """What the edge does with a packet of its own, and what it answers."""
    if packet.kind is Kind.ICMP_REQUEST and packet.icmp_type in (8, 128) and packet.icmp_code == 0:
        return StepResult.ECHO_REPLY, Answer.ECHO_REPLY
    if packet.kind is Kind.TCP and not packet.tcp_flags & RST:
        return StepResult.RESET, Answer.RESET
    if packet.kind is Kind.UDP:
        return StepResult.UNREACHABLE, Answer.PORT_UNREACHABLE
    if packet.kind is Kind.OTHER:
        return StepResult.UNREACHABLE, Answer.PROTOCOL_UNREACHABLE
    return StepResult.ACCEPTED, None


def stateless_translation(trip: Trip) -> Ruling | None:
    """REFLEXIVE alone: every packet is judged and rewritten for itself."""
    if not trip.stateless:
        return None
    admit(trip)
    return Ruling(Verdict.ALLOW, reason_of(trip), forward=(trip.out, trip.flow))


def session_limits(trip: Trip) -> Ruling | None:
    """There is no room for one more."""
    options, sessions = trip.policy.options, trip.state.sessions
    full = len(sessions) >= options.max_sessions
    if full or (trip.packet.kind is Kind.TCP and sessions.half_open() >= options.max_half_open):
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
        exhausted = by_snat and draws_port(trip.packet)
        return Ruling(Verdict.DROP, Reason.NAT_PORTS_EXHAUSTED if exhausted else Reason.NAT_COLLISION)
    if by_snat:
        after = trip.shown(translated)
        trip.steps = [replace(step, after=after) if step.result is StepResult.SNAT else step for step in trip.steps]
    session = Session(
        kind=trip.packet.kind,
        icmp_type=trip.packet.icmp_type,
        original=trip.packet.flow,
        translated=translated,
        ports=(trip.entered, trip.out),
        pool_address=translated.src if by_snat else None,
        created_ns=trip.state.clock_ns,
        admission=admission(trip),
        alg=control_of(trip),
        packets=[1, 0],
        bytes=[trip.size, 0],
    )
    session.open(trip.packet, trip.policy.options.timers, trip.state.clock_ns)
    trip.state.sessions.add(session)
    admit(trip)
    if session.alg == TFTP:
        announce_transfer(trip, session)
    return Ruling(Verdict.ALLOW, reason_of(trip), forward=(trip.out, translated))


def allocate(trip: Trip) -> Flow | None:
    """The flow as it leaves, with answers that can be told from those to every other session; None if there is none."""
    policy, state, flow = trip.policy, trip.state, trip.flow

    def usable(candidate: Flow) -> bool:
        original, reply = (trip.packet.flow, trip.entered.side), (candidate.reversed(), trip.out.side)
        return state.sessions.can_hold(original, reply)

    if trip.snat is None or trip.snat.type is not NatType.SNAT:
        return flow if usable(flow) else None
    return choose_source(
        flow,
        pool(trip.snat, state.sessions.holders),
        draws_port=draws_port(trip.packet),
        ports=policy.options.snat_port_range,
        blocked=lambda port: policy.blocks(flow.protocol, port),
        usable=usable,
        draw=state.draw,
    )


def draws_port(packet: Packet) -> bool:
    """Does SNAT give it a new source port, or an ICMP query a new identifier?"""
    return packet.kind in (Kind.TCP, Kind.UDP, Kind.ICMP_REQUEST)


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

    @property
    def config(self) -> EdgeConfig:
        """The configuration in force."""
        return self._policy.config

    def process(self, port: str, frame: bytes, now_ns: int, *, unsegmented: bool = False) -> Outcome:
        """One Ethernet frame in by a port.  Time never runs backwards: an earlier ``now_ns`` is taken for the latest.

        ``unsegmented``: the frame was captured before a network card cut it up, the MTU is not its limit.  Raises
        ValueError for a port that the configuration does not have.
        """
        state = self._state
        entered = self._port(port)
        self._advance(now_ns)
        packet = parse(frame)
        if isinstance(packet, Reason):
            outcome = Outcome(Verdict.DROP, packet, (Step(Stage.PARSE, StepResult.DROP),), ())
        else:
            trip = Trip(self._policy, state, entered, packet, packet.flow, unsegmented=unsegmented)
            ruling = pipeline(trip)
            left = outputs(trip, ruling)
            outcome = Outcome(ruling.verdict, ruling.reason, tuple(trip.steps), left)
        state.verdicts[outcome.verdict] += 1
        state.reasons[outcome.reason] += 1
        return outcome

    def apply(self, config: EdgeConfig) -> None:
        """Change the configuration; its ``options.sessions_on_change`` says what becomes of open sessions."""
        old, new = self._policy, Policy(config, self._policy.revision + 1)
        for session in self._state.sessions:
            ports = ports_under(session, old, new)
            if ports is None or new.options.sessions_on_change is SessionsOnChange.FLUSH:
                self._state.sessions.end(session)
            else:
                session.ports = ports
        self._policy = new

    def sessions(self) -> list[SessionInfo]:
        """Every live session, the oldest first."""
        return [session.info() for session in self._state.sessions]

    def rule_counters(self) -> dict[str, RuleCounters]:
        """Counters of every rule of the current configuration, by id."""
        return {rule_id: self._state.counters.get(rule_id, RuleCounters()) for rule_id in self._policy.rule_ids}

    def stats(self) -> Stats:
        """Totals since the beginning."""
        state = self._state
        return Stats(
            dict(state.verdicts),
            dict(state.reasons),
            state.sessions.created,
            state.sessions.peak,
            len(state.sessions),
            state.errors_limited,
        )

    def events(self) -> list[LogEvent]:
        """What was logged since the last call."""
        events, self._state.events = self._state.events, []
        return events

    def map_reply(self, port: str, frame: bytes, now_ns: int) -> tuple[str, bytes]:
        """Where and as what a frame captured at ``now_ns`` should be fed.

        A capture taken behind the edge shows answers as they arrive there.  One that belongs to no live session as it
        is, but answers a session's packet as that had entered, becomes the answer to what had left, on the port it had
        left by; everything else stays as it is.
        """
        self._advance(now_ns)
        packet, at, sessions = parse(frame), network_offset(frame), self._state.sessions
        if isinstance(packet, Reason) or at is None or packet.kind in (Kind.FRAGMENT, Kind.ICMP_ERROR):
            return port, frame
        if sessions.find((packet.flow, self._port(port).side)) is not None:
            return port, frame
        for side in (0, 1):
            session, direction = sessions.find((packet.flow.reversed(), side)) or (None, REPLY)
            if session is not None and direction == ORIGINAL:
                ip = rewrite(packet, session.translated.reversed(), hops=0)
                return session.ports[REPLY].name, frame[:at] + ip + frame[at + len(ip) :]
        return port, frame

    def ingress_port(self, frame: bytes) -> str:
        """The port that a frame enters by, as its source says."""
        packet = parse(frame)
        routing = self._policy.routing
        return routing.ports[0].name if isinstance(packet, Reason) else routing.ingress(packet.flow.src).name

    def _advance(self, now_ns: int) -> None:
        """Move the clock, and end the sessions whose time has come."""
        self._state.clock_ns = max(self._state.clock_ns, now_ns)
        self._state.sessions.expire(self._state.clock_ns)

    def _port(self, name: str) -> Port:
        port = self._policy.routing.port(name)
        if port is None:
            raise ValueError(f"no port is called {name!r}; there are {', '.join(self._policy.config.ports)}")
        return port


def ports_under(session: Session, old: Policy, new: Policy) -> tuple[Port, Port] | None:
    """A session's ports under a new configuration; None if its ports, route or external addresses are gone."""
    entered, out = (new.routing.port(port.name) for port in session.ports)
    if entered is None or out is None or (entered.kind, out.kind) != tuple(port.kind for port in session.ports):
        return None
    original, translated = session.original, session.translated
    route = new.route(original._replace(dst=translated.dst, dport=translated.dport), entered)
    if route.result is StepResult.LOCAL or route.port != out:
        return None
    pairs = ((translated.src, original.src), (original.dst, translated.dst))
    external = [outside for outside, inside in pairs if outside != inside]
    if any(old.routing.owner(item) is not None and new.routing.owner(item) is None for item in external):
        return None
    return entered, out
