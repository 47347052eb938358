"""How many ICMP errors and challenge ACKs the edge sends of its own, on the native edge and on the reference."""

from __future__ import annotations

from collections.abc import Callable

from edge.model import EdgeConfig
from edge.packets import build_frame, parse_packet
from edge.reference import ReferenceEdge
from edge.runtime import Edge
from edge.verdicts import Outcome, Stage, StepResult, Verdict
from tests.support import acme, default_rule, network, with_options

SECOND = 1_000_000_000

AnyEdge = Edge | ReferenceEdge


def send(edge: AnyEdge, text: str, at_ns: int = 0) -> Outcome:
    packet = parse_packet(text)
    frame = build_frame(packet)
    return edge.process(packet.in_port or edge.ingress_port(frame), frame, at_ns)


def answered(outcome: Outcome) -> bool:
    """True where an error left; where none did, the trace has to say why."""
    limited = any((step.stage, step.result) == (Stage.LOCAL, StepResult.LIMITED) for step in outcome.steps)
    assert bool(outcome.outputs) is not limited
    return bool(outcome.outputs)


EXPIRING = "udp 10.20.0.10:4000 > 8.8.8.8:53 ttl=1"


def test_a_second_has_so_many_errors(make: Callable[[EdgeConfig], AnyEdge]) -> None:
    edge = make(with_options(acme(), icmp_error_rate=4))
    assert [answered(send(edge, EXPIRING)) for _ in range(6)] == [True, True, True, True, False, False]
    # One more after a quarter of a second, not before, and the bucket holds no more than one second's.
    times = (249_999_999, 250_000_000, 250_000_001)
    assert [answered(send(edge, EXPIRING, at)) for at in times] == [False, True, False]
    assert [answered(send(edge, EXPIRING, 60 * SECOND)) for _ in range(5)] == [True, True, True, True, False]
    assert edge.stats().answers_limited == 5
    assert edge.stats().verdicts == {Verdict.DROP: 14}


def handshake(edge: AnyEdge) -> None:
    for text in (f"{CALL} S seq=1000", f"{ANSWER} SA seq=5000 ack=1001", f"{CALL} A seq=1001 ack=5001"):
        assert send(edge, text).verdict is Verdict.ALLOW


CALL, ANSWER = "tcp 10.20.0.10:4000 > 10.30.0.5:80", "tcp 10.30.0.5:80 > 10.20.0.10:4000"


def routed(rate: int) -> EdgeConfig:
    """Two networks with the firewall between them."""
    networks = [network("LAN", "10.20.0.1/24"), network("DMZ", "10.30.0.1/24")]
    config = acme(networks=networks, firewall=[default_rule("ALLOW")], nat_rules=[])
    return with_options(config, icmp_error_rate=rate, east_west_firewall=True)


def test_challenges_have_as_many_of_their_own(make: Callable[[EdgeConfig], AnyEdge]) -> None:
    edge = make(routed(2))
    handshake(edge)
    guess = f"{CALL} S seq=77"
    assert [answered(send(edge, text)) for text in (guess, EXPIRING, f"{CALL} R seq=1002", EXPIRING)] == [True] * 4
    outcome = send(edge, guess)
    assert not answered(outcome)
    assert [(step.stage, step.result) for step in outcome.steps][1:] == [
        (Stage.SESSION, StepResult.DROP),
        (Stage.LOCAL, StepResult.LIMITED),
    ]
    assert [answered(send(edge, text)) for text in (f"{CALL} R seq=1002", EXPIRING)] == [False, False]
    assert edge.stats().answers_limited == 3
    times = (499_999_999, 500_000_000, 500_000_001)
    assert [answered(send(edge, guess, at)) for at in times] == [False, True, False]
    assert answered(send(edge, EXPIRING, 500_000_001))


def test_resets_of_stale_connections_count_as_challenges(make: Callable[[EdgeConfig], AnyEdge]) -> None:
    edge = make(routed(2))
    handshake(edge)
    other, stale = CALL.replace("4000", "4001"), ANSWER.replace("4000", "4001")
    assert send(edge, f"{other} S seq=1000").verdict is Verdict.ALLOW
    texts = (f"{stale} A seq=9 ack=70000", f"{CALL} S seq=77", f"{stale} A seq=9 ack=70000", f"{CALL} S seq=77")
    assert [answered(send(edge, text)) for text in texts] == [True, True, False, False]
    assert send(edge, f"{stale} RA seq=9 ack=70000").outputs == ()  # nothing was due
    assert edge.stats().answers_limited == 2


def test_zero_is_no_limit(make: Callable[[EdgeConfig], AnyEdge]) -> None:
    edge = make(with_options(acme(), icmp_error_rate=0))
    assert all(answered(send(edge, EXPIRING)) for _ in range(2000))


def test_zero_is_no_limit_for_challenges_either(make: Callable[[EdgeConfig], AnyEdge]) -> None:
    edge = make(routed(0))
    handshake(edge)
    assert all(answered(send(edge, f"{CALL} S seq=77")) for _ in range(2000))


def test_resets_and_echo_replies_of_the_edge_itself_are_not_limited(make: Callable[[EdgeConfig], AnyEdge]) -> None:
    edge = make(with_options(acme(), icmp_error_rate=1))
    assert [answered(send(edge, EXPIRING)) for _ in range(2)] == [True, False]
    ping, call = "icmp 10.20.0.10 > 10.20.0.1 echo-request", "tcp 10.20.0.10:4000 > 10.20.0.1:22 S"
    assert all(answered(send(edge, text)) for text in (ping, ping, call, call))


def test_an_error_that_would_not_be_sent_costs_nothing(make: Callable[[EdgeConfig], AnyEdge]) -> None:
    edge = make(with_options(acme(), icmp_error_rate=1))
    unrelated = 'icmp 10.20.0.10 > 8.8.8.8 port-unreachable ttl=1 of="udp 8.8.8.8:53 > 10.20.0.10:4000"'
    assert send(edge, unrelated).outputs == ()  # no error about an error
    assert answered(send(edge, EXPIRING))


def test_errors_about_packets_of_a_session_and_refusals_share_the_limit(make: Callable[[EdgeConfig], AnyEdge]) -> None:
    edge = make(with_options(acme(), icmp_error_rate=2))
    assert send(edge, "udp 10.20.0.10:4000 > 8.8.8.8:53").verdict is Verdict.ALLOW
    assert answered(send(edge, EXPIRING))
    assert answered(send(edge, "udp 10.20.0.10:4000 > 10.20.0.1:9999"))
    assert not answered(send(edge, "udp 10.20.0.10:4000 > 10.20.0.1:9999"))
