"""What the edge answers to a protocol that it does not speak, on the native edge and on the readable one."""

from __future__ import annotations

import struct
from ipaddress import ip_address

import pytest

from edge.reference import ReferenceEdge
from edge.runtime import Edge
from edge.verdicts import Outcome
from tests.model import frames
from tests.reference_bench import AnyEdge, MakeEdge, stages, why
from tests.support import acme, with_options

HOST, GATEWAY = "2001:db8:20::a", "2001:db8:20::1"
EXTENSIONS = {(): 6, (0,): 40, (60, 43): 48, (0, 60, 43): 56}
"""Extension headers of eight bytes each, and where the last next-header field stands."""


@pytest.fixture(params=[Edge, ReferenceEdge], ids=["native", "reference"])
def edge(request: pytest.FixtureRequest) -> AnyEdge:
    make: MakeEdge = request.param
    return make(with_options(acme(), icmp_error_rate=1000))


def sent(edge: AnyEdge, protocol: int, src: str, dst: str, extensions: tuple[int, ...] = ()) -> Outcome:
    parts = frames.Parts(protocol, ip_address(src).packed, ip_address(dst).packed, b"something")
    return edge.process("LAN", frames.frame(parts, extensions=extensions), 0)


def message(outcome: Outcome) -> tuple[int, int, int]:
    """Type, code and second word of the ICMP error that leaves, whose checksum is right."""
    (output,) = outcome.outputs
    parts = frames.parts_of(output.frame)
    assert parts is not None
    assert parts.protocol == (1 if parts.version == 4 else 58)
    assert frames.checksum((b"" if parts.version == 4 else frames.pseudo(parts)) + parts.payload) == 0
    kind, code, _, word = struct.unpack_from("!BBHI", parts.payload)
    return kind, code, word


@pytest.mark.parametrize(("extensions", "pointer"), EXTENSIONS.items(), ids=str)
@pytest.mark.parametrize("protocol", [1, 47, 50, 132, 253])
def test_an_unknown_next_header_is_a_parameter_problem(
    edge: AnyEdge, protocol: int, extensions: tuple[int, ...], pointer: int
) -> None:
    outcome = sent(edge, protocol, HOST, GATEWAY, extensions)
    assert (why(outcome), stages(outcome)[-1]) == (("LOCAL", "LOCAL_SERVICE"), "LOCAL UNREACHABLE")
    assert message(outcome) == (4, 1, pointer)
    frame = outcome.outputs[0].frame
    assert frame[14 + 40 + 8 :][pointer] == protocol  # the quote begins with the packet


def test_behind_no_next_header_nothing_is_unknown(edge: AnyEdge) -> None:
    outcome = sent(edge, 59, HOST, GATEWAY)
    assert (why(outcome), stages(outcome)[-1]) == (("LOCAL", "LOCAL_SERVICE"), "LOCAL ACCEPTED")
    assert outcome.outputs == ()


@pytest.mark.parametrize("protocol", [47, 50, 58, 59, 132, 253])
def test_an_unknown_protocol_is_unreachable(edge: AnyEdge, protocol: int) -> None:
    outcome = sent(edge, protocol, "10.20.0.10", "10.20.0.1")
    assert stages(outcome)[-1] == "LOCAL UNREACHABLE"
    assert message(outcome) == (3, 2, 0)


def test_a_port_is_unreachable_as_ever(edge: AnyEdge) -> None:
    outcomes = []
    for src, dst in ((HOST, GATEWAY), ("10.20.0.10", "10.20.0.1")):
        parts = frames.udp(ip_address(src).packed, ip_address(dst).packed, 5, 53, b"")
        outcomes.append(message(edge.process("LAN", frames.frame(parts), 0)))
    assert outcomes == [(1, 4, 0), (3, 3, 0)]


def test_parameter_problems_are_rationed_and_go_to_one_machine(edge: AnyEdge) -> None:
    edge.apply(with_options(acme(), icmp_error_rate=1))
    assert len(sent(edge, 253, HOST, GATEWAY).outputs) == 1
    limited = sent(edge, 253, HOST, GATEWAY)
    assert (limited.outputs, stages(limited)[-1]) == ((), "LOCAL LIMITED")
