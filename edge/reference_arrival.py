"""From a frame to a packet that can be judged: parsing, reassembly, and captures that were taken behind the edge."""

from __future__ import annotations

from edge.reference_fragments import last_next_header
from edge.reference_sessions import ORIGINAL, REPLY, Session
from edge.reference_trip import LONGEST_PACKET, Policy, State, Trip
from edge.reference_wire import Kind, Packet, ethernet, parse, rewrite
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
    session = answered_session(state, entered, packet)
    if session is None:
        return entered, packet
    ip = rewrite(packet, session.translated.reversed(), hops=0)
    sent = parse(ethernet(ip, 0))
    if isinstance(sent, Reason):
        raise TypeError("a packet stays one when its addresses change")
    return session.ports[REPLY], sent


def answered_session(state: State, entered: Port, packet: Packet) -> Session | None:
    """The session whose original addresses the packet reverses, unless it belongs to one by the way it came."""
    if packet.kind in (Kind.FRAGMENT, Kind.ICMP_ERROR) or state.sessions.find((packet.flow, entered.side)) is not None:
        return None
    for side in (0, 1):
        session, direction = state.sessions.find((packet.flow.reversed(), side)) or (None, REPLY)
        if session is not None and direction == ORIGINAL:
            return session
    return None
