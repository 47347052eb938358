"""A change of configuration that sessions follow a few at a time: who may go on in between, and what is told.

What packets find in between, :mod:`tests.model.test_changes_in_steps` compares with the reference.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import replace

import pytest

from edge.addresses import PortRange
from edge.forwarder import Forwarder
from edge.model import EdgeConfig, Profile, SessionsOnChange, Timers
from edge.ports import made_mac
from edge.state import LimitReached, SessionEndCause, SessionEnded, SessionStarted
from edge.verdicts import Reason
from tests.changing import Between
from tests.reference_bench import Bench, left, why
from tests.support import SECOND, acme, nat, network, rule, uplink, with_options
from tests.unit.test_forwarder import CLIENT_MAC, arp, ipv4, is_ip

NEW, HIT = ("ALLOW", "FW_RULE"), ("ALLOW", "SESSION")
PATIENCE_S = 20.0


def config(*, networks: tuple[str, ...] = ("LAN", "DMZ"), **options: object) -> EdgeConfig:
    places = {"LAN": "10.20.0.1/24", "DMZ": "10.20.10.1/24", "MORE": "10.20.20.1/24"}
    found = acme(
        uplinks=[uplink("INTERNET", "203.0.113.1/24 203.0.113.10-203.0.113.12")],
        networks=[network(name, places[name]) for name in networks],
        firewall=[rule("out", source="10.20.0.0/16")],
        nat_rules=[nat("s", "SNAT", "203.0.113.10", "10.20.0.0/16")],
    )
    timers = Timers(udp_first=30, udp_single=30, udp_multiple=30)
    return with_options(found, **({"timers": timers, "provider_filter": ()} | options))


def flow(number: int) -> str:
    return f"udp 10.20.0.10:{2000 + number} > 8.8.8.8:53"


class Changing:
    """An edge with sessions, which follow two at a time if they end, else eight."""

    def __init__(self, sessions: int, **options: object) -> None:
        self.bench = Bench(config(**options), make=Between)
        self.edge = self.bench.edge
        assert isinstance(self.edge, Between)
        for number in range(sessions):
            assert why(self.bench.send(flow(number))) == NEW
        self.edge.watch_sessions = True
        self.edge.take_events()
        self.edge.set_pace(1, 1)
        self.steps = 0

    def to(self, new: EdgeConfig, *between: Callable[[], object]) -> None:
        """Change, and do one of these things after each of the first steps."""
        todo = list(between)

        def step() -> None:
            self.steps += 1
            if todo:
                todo.pop(0)()

        assert isinstance(self.edge, Between)
        self.edge.between = step
        self.edge.apply(new)
        assert not todo, "there have been too few steps"


ONE_MORE = ("LAN", "DMZ", "MORE")
STRICT_RFC = {"profile": Profile.STRICT_RFC}
FLUSH = {"sessions_on_change": SessionsOnChange.FLUSH}


# --- who goes on ----------------------------------------------------------------------------------------------------


def test_a_change_of_rules_alone_takes_no_step() -> None:
    changing = Changing(40)
    new = config()
    changing.to(replace(new, firewall=replace(new.firewall, rules=new.firewall.rules[:0])))
    assert changing.steps == 0


def test_two_that_end_or_eight_that_live_on_are_a_step() -> None:
    changing = Changing(40)
    changing.to(config(networks=ONE_MORE))
    assert changing.steps == 4
    changing.to(config(networks=ONE_MORE, **FLUSH))
    assert changing.steps == 4 + 19
    assert changing.edge.sessions() == []


@pytest.mark.parametrize("networks", [("DMZ", "LAN"), ("LAN",), ("DMZ",)])
def test_where_a_port_is_gone_or_has_another_number_there_is_one_step(networks: tuple[str, ...]) -> None:
    # The devices learn of the numbers when the change is over: what comes in before that would be another port's.
    changing = Changing(40)
    changing.to(config(networks=networks))
    assert changing.steps == 0
    told = changing.edge.take_events()[0]
    ended = [event.session.in_port for event in told if isinstance(event, SessionEnded)]
    assert ended == ([] if "LAN" in networks else ["LAN"] * 40)
    assert {info.in_port for info in changing.edge.sessions()} == ({"LAN"} if "LAN" in networks else set())


def test_with_endpoint_independent_mappings_there_is_one_step() -> None:
    changing = Changing(40, **STRICT_RFC)
    changing.to(config(**STRICT_RFC, **FLUSH))
    assert (changing.steps, changing.edge.sessions()) == (0, [])


def test_the_worker_goes_on_and_others_wait_until_all_have_followed() -> None:
    edge = Between(config())
    bench = Bench(config(), make=lambda _, **__: edge)
    bench.now_ns = time.monotonic_ns()
    for number in range(1000):
        bench.send(flow(number))
    edge.set_pace(1, 1)
    lan = made_mac("edge", "LAN")
    answered: list[int] = []
    told: list[int] = []
    steps = 0
    with Forwarder(edge, []) as forwarder:
        forwarder.feed("LAN", arp(1, CLIENT_MAC, "10.20.0.10", "10.20.0.1"))
        others = threading.Thread(target=lambda: told.append(edge.stats().sessions_open))

        def step() -> None:
            nonlocal steps
            steps += 1
            if steps == 1:
                others.start()
                forwarder.feed("LAN", ipv4("icmp 10.20.0.10 > 10.20.0.1 echo-request id=7 seq=1", CLIENT_MAC, lan))
            if not answered and any(map(is_ip, forwarder.take("LAN"))):
                answered.append(steps)
            if not answered:
                time.sleep(PATIENCE_S / 500)
            assert told == []

        edge.between = step
        edge.apply(config(**FLUSH))
        others.join(PATIENCE_S)
    assert steps == 499
    assert answered
    assert told == [0]


def test_all_have_followed_even_if_something_is_raised_in_between() -> None:
    changing = Changing(40)

    def fail() -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        changing.to(config(**FLUSH), fail)
    assert changing.edge.sessions() == []


# --- what is found ---------------------------------------------------------------------------------------------------


def test_a_session_that_has_not_followed_yet_is_no_hit_where_it_has_to_end() -> None:
    changing = Changing(40)
    bench = changing.bench
    seen: list[tuple[str, str]] = []
    changing.to(
        config(**FLUSH),
        lambda: seen.append(why(bench.send(flow(39)))),
        lambda: seen.append(why(bench.send(flow(39)))),
        lambda: seen.append(why(bench.send(flow(0)))),
    )
    assert seen == [NEW, HIT, NEW]
    assert {info.original.sport for info in changing.edge.sessions()} == {2039, 2000}


def test_a_session_that_lives_on_and_has_not_followed_yet_is_a_hit() -> None:
    changing = Changing(40)
    bench = changing.bench
    bench.send(flow(39))
    outputs: list[list[tuple[str, str]]] = []

    def reply() -> None:
        outputs.append(left(bench.reply()))

    changing.to(config(networks=ONE_MORE), reply)
    assert [port for port, _ in outputs[0]] == ["LAN"]


def test_an_answer_to_a_session_that_has_to_end_is_a_miss() -> None:
    changing = Changing(40)
    bench = changing.bench
    bench.send(flow(39))
    seen: list[tuple[str, str]] = []
    changing.to(config(**FLUSH), lambda: seen.append(why(bench.reply())))
    assert seen == [("DROP", "FW_DEFAULT")]


def test_the_port_of_a_session_that_has_to_end_can_be_had() -> None:
    ports = {"snat_port_range": PortRange(5000, 5039)}
    changing = Changing(40, **ports)
    assert changing.bench.send(flow(50)).reason is Reason.NAT_PORTS_EXHAUSTED
    changing.edge.take_events()
    seen: list[tuple[str, str]] = []
    changing.to(config(**ports, **FLUSH), *[lambda: seen.append(why(changing.bench.send(flow(50))))] * 2)
    assert seen == [NEW, HIT]


# --- what is told ----------------------------------------------------------------------------------------------------


def test_events_have_the_names_of_ports_before_and_after() -> None:
    changing = Changing(40)
    bench = changing.bench
    changing.to(config(networks=ONE_MORE, **FLUSH), lambda: bench.send("udp 10.20.20.10:7 > 8.8.8.8:53"))
    told = changing.edge.take_events()[0]
    ended = [(event.session.in_port, event.cause) for event in told if isinstance(event, SessionEnded)]
    assert ended == [("LAN", SessionEndCause.CONFIG)] * 40
    started = [event.session.in_port for event in told if isinstance(event, SessionStarted)]
    assert started == ["MORE"]
    assert [isinstance(event, SessionStarted) for event in told].index(True) == 2


def test_one_whose_time_is_over_before_it_has_followed_has_expired() -> None:
    changing = Changing(40)
    bench = changing.bench

    def late() -> None:
        bench.now_ns += 30 * SECOND
        bench.send("udp 10.20.10.10:7 > 8.8.8.8:53")

    changing.to(config(**FLUSH), late)
    ended = [event for event in changing.edge.take_events()[0] if isinstance(event, SessionEnded)]
    assert [event.cause for event in ended] == [SessionEndCause.CONFIG] * 2 + [SessionEndCause.EXPIRED] * 38
    assert {event.session.in_port for event in ended} == {"LAN"}


def test_a_limit_is_looked_at_again_when_all_have_followed() -> None:
    changing = Changing(40, max_sessions=40)
    assert changing.bench.send(flow(50)).reason is Reason.SESSION_LIMIT
    changing.to(config(max_sessions=40, **FLUSH), lambda: changing.bench.send(flow(50)))
    told = [event.reached for event in changing.edge.take_events()[0] if isinstance(event, LimitReached)]
    assert told == [False]


@pytest.mark.parametrize("networks", [("LAN", "DMZ"), ONE_MORE])
def test_ports_count_what_passes_in_between(networks: tuple[str, ...]) -> None:
    changing = Changing(40)
    changing.to(config(networks=networks, **FLUSH), lambda: changing.bench.send(flow(50)))
    assert changing.edge.stats().ports["LAN"].received_packets == 41
