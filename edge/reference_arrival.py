"""From a frame to a packet that can be judged: parsing, reassembly, and captures that were taken behind the edge."""

from __future__ import annotations

from edge.reference_fragments import last_next_header
from edge.reference_quote import quoted, rewrite_error
from edge.reference_sessions import ORIGINAL, REPLY, Session
from edge.reference_shift import before_shifts, quoting_as_shifted
from edge.reference_trip import LONGEST_PACKET, Policy, State, Trip
from edge.reference_wire import Flow, Kind, Packet, ethernet, parse, rewrite
from edge.routing.reference import Port
from edge.verdicts import Fragmentation, Outcome, Reason, Stage, Step, StepResult, Verdict

HELD = Outcome(Verdict.HELD, Reason.FRAGMENT_HELD, (Step(Stage.REASSEMBLY, StepResult.HELD),), ())


def arrive(
    policy: Policy,
    state: State,
    entered: Port,
    frame: bytes,
    *,
    unsegmented: bool,
    map_replies: bool,
    fragmentation: Fragmentation | None,
) -> Trip | Outcome:
    """A packet at the beginning of its way; or what became of a frame that is none, or a piece of one."""
    packet = parse(frame, unsegmented=unsegmented)
    steps: list[Step] = []
    if isinstance(packet, Packet) and packet.kind is Kind.FRAGMENT:
        taken = state.fragments.take(entered.name, packet, state.clock_ns, policy.options.max_fragments)
        state.look_at_limits()
        if taken is Reason.FRAGMENT_HELD:
            return HELD
        if isinstance(taken, Reason):
            return dropped(taken, [], Stage.REASSEMBLY)
        steps.append(Step(Stage.REASSEMBLY, StepResult.COMPLETE))
        packet, fragmentation = parse(taken.frame), taken.fragmentation
    if isinstance(packet, Reason):
        return dropped(packet, steps, Stage.PARSE)
    if fragmentation is not None:
        check(packet, fragmentation)
    if map_replies:
        entered, packet = mapped(state, entered, packet)
    return Trip(
        policy, state, entered, packet, packet.flow, steps=steps, unsegmented=unsegmented, fragmentation=fragmentation
    )


def dropped(reason: Reason, steps: list[Step], stage: Stage) -> Outcome:
    """What never becomes a packet to judge."""
    return Outcome(Verdict.DROP, reason, (*steps, Step(stage, StepResult.DROP)), ())


def check(packet: Packet, came: Fragmentation) -> None:
    """Raise ValueError where a packet cannot have come in such pieces."""
    if packet.version == 4:
        possible, longest, before_data = came.at == 0, 0xFFFF, packet.l4
    else:
        possible, longest, before_data = header_ends(packet, came.at), 0xFFFFFFFF, came.at + 8
    fits = before_data + 8 <= came.size <= LONGEST_PACKET
    if not (possible and fits and 0 <= came.identification <= longest):
        raise ValueError(f"the packet cannot have come in such pieces: {came}")


def header_ends(packet: Packet, at: int) -> bool:
    """Does one of the IPv6 headers that are walked end there?"""
    if not 40 <= at <= packet.l4:
        return False
    try:
        last_next_header(packet.ip[:at])
    except ValueError:
        return False
    return True


def mapped(state: State, entered: Port, packet: Packet) -> tuple[Port, Packet]:
    """The packet that the world had sent, and where it entered, if this one is what a machine behind the edge got."""
    found = as_sent(state, entered, packet)
    if found is None:
        return entered, packet
    port, ip = found
    sent = parse(ethernet(ip, 0))
    if isinstance(sent, Reason):
        raise TypeError("a packet stays one when its addresses change")
    return port, sent


def as_sent(state: State, entered: Port, packet: Packet) -> tuple[Port, bytes] | None:
    """The port by which an answer had entered the edge, and the IP packet that it was then; None for what belongs to a
    session by the way it came, or to none at all."""
    if packet.kind is Kind.FRAGMENT:
        return None
    if packet.kind is Kind.ICMP_ERROR:
        return error_as_sent(state, entered, packet)
    return reply_as_sent(state, entered, packet)


def reply_as_sent(state: State, entered: Port, packet: Packet) -> tuple[Port, bytes] | None:
    """A packet that reverses a session's original tuple was the reply to its translated one, in numbers that no ALG had
    shifted yet."""
    if state.find_alive((packet.flow, entered.side)) is not None:
        return None
    session = session_begun_as(state, packet.flow.reversed())
    if session is None:
        return None
    sent = before_shifts(packet, session.shifts[REPLY], session.shifts[ORIGINAL])
    return session.ports[REPLY], rewrite(sent, session.translated.reversed(), hops=0)


def error_as_sent(state: State, entered: Port, packet: Packet) -> tuple[Port, bytes] | None:
    """An ICMP error about a packet of a session, as that had entered, was one about the packet that had left."""
    quote = quoted(packet)
    if quote is None or quote.flow.src != packet.flow.dst:
        return None
    if state.find_alive((quote.flow.reversed(), entered.side)) is not None:
        return None
    session = session_begun_as(state, quote.flow)
    if session is None:
        return None
    outer = packet.flow._replace(dst=session.translated.src)
    sent = quoting_as_shifted(packet, quote, session.shifts[ORIGINAL])
    return session.ports[REPLY], rewrite_error(sent, outer, quote, session.translated, hops=0)


def session_begun_as(state: State, flow: Flow) -> Session | None:
    """The session whose first packet had this flow, whichever side it entered by."""
    for side in (0, 1):
        session, direction = state.find_alive((flow, side)) or (None, REPLY)
        if session is not None and direction == ORIGINAL:
            return session
    return None
