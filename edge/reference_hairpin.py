"""How often a packet passes the reference: again for every time that it leaves for an address of the edge.

Under profile nsx the provider's router sends such a packet back in, and whoever feeds the edge does that.  Under
strict-rfc it never leaves (RFC 4787 REQ-9, RFC 5382 REQ-8, RFC 5508 REQ-7).
"""

from __future__ import annotations

from collections.abc import Callable

from edge.reference_answers import Ruling, outputs
from edge.reference_trip import Trip
from edge.reference_wire import network_offset, one_hop_back, parse
from edge.verdicts import Outcome, Output, Reason, Stage, StepResult, Verdict

MAX_PASSES = 4
"""A packet that hairpins passes twice.  After so many passes it is a loop: somebody feigned an address of the edge, and
opened a session whose answers lead back to where they are."""


def journey(trip: Trip, pipeline: Callable[[Trip], Ruling]) -> Outcome:
    """One packet until it is gone, and the answer to it if that enters again.

    Verdict and reason are those of the packet's last pass; what becomes of an answer only shows in steps and outputs.
    """
    ruling = said = pipeline(trip)
    where = deciding_stage(trip)
    answered = ruling.forward is None
    left = outputs(trip, ruling)
    passes = 1
    while left and left[0].hairpin and trip.policy.options.hairpin_inside:
        trip.note(Stage.ROUTE, StepResult.HAIRPIN, port=left[0].port)
        if passes == MAX_PASSES:
            trip.note(Stage.ROUTE, StepResult.TTL_EXPIRED)
            if not answered:
                said, where = Ruling(Verdict.DROP, Reason.TTL_EXPIRED), Stage.ROUTE
            left = ()
            break
        trip = next_pass(trip, left[0], hop_back=ruling.forward is not None)
        ruling = pipeline(trip)
        if not answered:
            said, where = ruling, deciding_stage(trip)
        answered = answered or ruling.forward is None
        left = outputs(trip, ruling)
        passes += 1
    if said.verdict in (Verdict.DROP, Verdict.REJECT):
        trip.state.drops[where, said.reason] += 1
    return Outcome(said.verdict, said.reason, tuple(trip.steps), left)


def deciding_stage(trip: Trip) -> Stage:
    """Which stage had the last word so far."""
    return trip.steps[-1].stage


def next_pass(trip: Trip, output: Output, *, hop_back: bool) -> Trip:
    """The output on its way back in by the uplink that it would have left by, notes going on where they are."""
    at = network_offset(output.frame)
    entered = trip.policy.routing.port(output.port)
    ip = output.frame[at:]
    packet = parse(output.frame[:at] + (one_hop_back(ip) if hop_back else ip))
    if entered is None or isinstance(packet, Reason):
        raise ValueError(f"the edge itself made a packet that it cannot read: {output.frame.hex()}")
    return Trip(
        trip.policy,
        trip.state,
        entered,
        packet,
        packet.flow,
        steps=trip.steps,
        unsegmented=trip.unsegmented,
        fragmentation=output.fragmentation,
    )
