"""Sessions whose time is over and that have not ended yet: how many end before a packet, in which order, and what
packets find that meet one of them.  Both edges have to do the same."""

from __future__ import annotations

from dataclasses import replace

import pytest

from edge.addresses import PortRange
from edge.firewall.system_profiles import system_profile
from edge.model import EdgeConfig, Profile, SessionsOnChange, Timers
from edge.packets import build_frame, parse_packet
from edge.reference import ReferenceEdge
from edge.runtime import Edge
from edge.state import RuntimeEvent, SessionEndCause, SessionEnded, SessionMatch
from edge.workers import Workers
from tests.reference_bench import Bench, MakeEdge, left, why
from tests.support import SECOND, acme, nat, rule, uplink, with_options

LIFE = 30
"""Seconds that a UDP session lives; a half-open TCP session for 20."""

NEW, HIT = ("ALLOW", "FW_RULE"), ("ALLOW", "SESSION")


@pytest.fixture(params=[Edge, ReferenceEdge], ids=["native", "reference"])
def make(request: pytest.FixtureRequest) -> MakeEdge:
    return request.param


def config(**options: object) -> EdgeConfig:
    found = acme(
        uplinks=[uplink("INTERNET", "203.0.113.1/24 203.0.113.10-203.0.113.12")],
        firewall=[rule("out", source="10.20.0.0/24")],
        nat_rules=[nat("s", "SNAT", "203.0.113.10", "10.20.0.0/24")],
    )
    timers = Timers(udp_first=LIFE, udp_single=LIFE, udp_multiple=LIFE, tcp_first=20)
    return with_options(found, **({"timers": timers, "provider_filter": ()} | options))


def bench(make: MakeEdge, sessions: int, *, each: int = 1, most: int = 1, **options: object) -> Bench:
    """An edge with so many UDP sessions, all made at the time 0, which ends few at once, and its clock when their
    time is over."""
    found = Bench(config(**options), make=make)
    for number in range(sessions):
        assert why(found.send(flow(number))) == NEW
    found.edge.set_pace(each, most)
    found.edge.watch_sessions = True
    found.edge.take_events()
    found.now_ns = LIFE * SECOND
    return found


def flow(number: int) -> str:
    return f"udp 10.20.0.10:{2000 + number} > 8.8.8.8:53"


def in_table(found: Bench) -> int:
    """Sessions that have not ended, whether their time is over or not."""
    return found.edge.stats().sessions_open


def ended(found: Bench) -> list[tuple[int | None, SessionEndCause]]:
    """The source ports of the sessions that have ended since the last call, in this order, and why."""
    events: list[RuntimeEvent] = found.edge.take_events()[0]
    return [(event.session.original.sport, event.cause) for event in events if isinstance(event, SessionEnded)]


# --- how many, and in which order -----------------------------------------------------------------------------------


def test_no_more_than_a_few_end_before_a_packet(make: MakeEdge) -> None:
    full = bench(make, 300)
    full.edge.set_pace(2, 128)  # as it is without being told
    counted = []
    for number in range(90):
        full.send(flow(1000 + number))
        counted.append(300 + 1 + number - in_table(full))
    assert counted == [*range(128, 300, 2), 300, 300, 300, 300]


def test_what_was_not_needed_is_saved_up_again(make: MakeEdge) -> None:
    few = bench(make, 6, each=1, most=3)
    assert [len(ended(few)) for _ in range(5) if few.send("udp 10.20.0.11:9 > 8.8.8.8:53")] == [3, 1, 1, 1, 0]
    for number in range(4):
        few.send(flow(100 + number))
    few.now_ns += LIFE * SECOND
    few.send(flow(1))
    assert len(ended(few)) == 3


def test_time_brings_looks_too(make: MakeEdge) -> None:
    found = bench(make, 40, each=1, most=10)
    counted = []
    for pause in (0, 0, 8_000 - 1, 8_000, 16_000, 1_000_000):
        found.now_ns += pause
        found.send("udp 10.20.0.11:9 > 8.8.8.8:53")
        counted.append(len(ended(found)))
    assert counted == [10, 1, 1, 2, 3, 10]


def test_sessions_end_by_deadline_and_then_by_age(make: MakeEdge) -> None:
    found = bench(make, 0)
    found.now_ns = 0
    for number in (5, 3, 9, 7):
        found.send(flow(number))
    found.now_ns = 1
    found.send(flow(3))  # lives longer than it seemed
    found.send(flow(4))
    found.send("tcp 10.20.0.10:2001 > 8.8.8.8:443 S")  # made last, with the shortest life
    found.now_ns = 60 * SECOND
    order = []
    for _ in range(8):
        found.send("udp 10.20.0.11:9 > 8.8.8.8:53")
        order += [port for port, _ in ended(found)]
    assert order == [2001, 2005, 2009, 2007, 2003, 2004]


def test_an_ended_event_tells_when_it_ended_and_when_it_was_due(make: MakeEdge) -> None:
    found = bench(make, 2)
    found.now_ns += 5
    found.send(flow(7))
    (event,) = (event for event in found.edge.take_events()[0] if isinstance(event, SessionEnded))
    assert (event.now_ns, event.session.expires_ns) == (LIFE * SECOND + 5, LIFE * SECOND)


# --- who meets one --------------------------------------------------------------------------------------------------


def test_a_packet_never_hits_one(make: MakeEdge) -> None:
    found = bench(make, 5)
    assert why(found.send(flow(4))) == NEW
    assert ended(found) == [(2000, SessionEndCause.EXPIRED), (2004, SessionEndCause.EXPIRED)]
    assert why(found.send(flow(4))) == HIT


def test_an_answer_never_hits_one(make: MakeEdge) -> None:
    found = Bench(config(), make=make)
    for number in range(5):
        found.send(flow(number))
    found.edge.set_pace(1, 1)
    found.now_ns = LIFE * SECOND
    assert why(found.reply()) == ("DROP", "FW_DEFAULT")
    assert in_table(found) == 3


def test_an_error_about_one_is_about_nothing(make: MakeEdge) -> None:
    found = Bench(config(), make=make)
    for number in range(5):
        found.send(flow(number))
    assert found.last is not None
    ((_, sent),) = left(found.last)
    found.edge.set_pace(1, 1)
    error = f'icmp 198.51.100.9 > 203.0.113.10 host-unreachable of="{sent}"'
    assert why(found.send(error)) == ("ALLOW", "RELATED")
    found.now_ns = LIFE * SECOND
    assert why(found.send(error)) == ("DROP", "ICMP_UNRELATED")


def test_a_captured_answer_to_one_is_nobody_s(make: MakeEdge) -> None:
    found = Bench(config(), make=make)
    for number in range(5):
        found.send(flow(number))
    assert found.last is not None
    found.edge.set_pace(1, 1)
    answer = build_frame(parse_packet("udp 8.8.8.8:53 > 10.20.0.10:2004"))
    assert found.edge.map_reply("LAN", answer, 1)[0] == "INTERNET"
    assert found.edge.map_reply("LAN", answer, LIFE * SECOND) == ("LAN", answer)


def test_its_port_is_free_for_who_needs_one(make: MakeEdge) -> None:
    found = bench(make, 4, snat_port_range=PortRange(4000, 4003))
    assert [why(found.send(flow(10 + number))) for number in range(4)] == [NEW] * 4
    assert [cause for _, cause in ended(found)] == [SessionEndCause.EXPIRED] * 4
    assert why(found.send(flow(20))) == ("DROP", "NAT_PORTS_EXHAUSTED")


@pytest.mark.parametrize("profile", Profile)
def test_ports_of_an_address_are_found_again_when_all_are_held(make: MakeEdge, profile: Profile) -> None:
    """By sessions that come late in the order: some end for others that need their ports."""
    found = bench(make, 0, snat_port_range=PortRange(4000, 4007), profile=profile)
    found.now_ns = 0
    for number in range(20):
        found.send(f"udp 10.20.0.10:{3000 + 2 * number} > 10.20.0.1:{number + 1}")
    for number in range(4):
        found.send(flow(2 * number))
    found.now_ns = LIFE * SECOND
    assert [why(found.send(flow(10 + 2 * number))) for number in range(4)] == [NEW] * 4


def test_a_tuple_of_its_own_makes_way(make: MakeEdge) -> None:
    """Without a port to draw the reply has to be free, and is."""
    both = acme(
        uplinks=[uplink("INTERNET", "203.0.113.1/24 203.0.113.10-203.0.113.12")],
        firewall=[rule("out", source="10.20.0.0/24")],
        nat_rules=[nat("s", "SNAT", "203.0.113.10", "10.20.0.0/24")],
    )
    found = Bench(both, make=make)
    found.edge.set_pace(1, 1)
    for number in range(3):
        found.send(f"esp 10.20.0.{20 + number} > 8.8.4.{number}")
    assert why(found.send("esp 10.20.0.30 > 8.8.4.2")) == ("DROP", "NAT_COLLISION")
    found.now_ns = 60 * SECOND
    assert why(found.send("esp 10.20.0.30 > 8.8.4.2")) == NEW


def test_lists_leave_it_out_and_nobody_deletes_it(make: MakeEdge) -> None:
    found = bench(make, 5)
    found.send(flow(9))
    assert in_table(found) == 5
    assert [item.original.sport for item in found.edge.sessions()] == [2009]
    assert [item.original.sport for item in found.edge.sessions_page(limit=3).sessions] == [2009]
    assert found.edge.delete_sessions(SessionMatch(port_number=2003)) == 0
    assert found.edge.delete_sessions(SessionMatch()) == 1
    assert in_table(found) == 4


def test_a_change_of_the_configuration_is_not_why_it_ends(make: MakeEdge) -> None:
    found = bench(make, 3)
    found.send(flow(9))
    ended(found)
    found.edge.apply(with_options(config(), sessions_on_change=SessionsOnChange.FLUSH))
    assert sorted(ended(found)) == [
        (2001, SessionEndCause.EXPIRED),
        (2002, SessionEndCause.EXPIRED),
        (2009, SessionEndCause.CONFIG),
    ]


def test_a_copy_goes_on_where_the_edge_is(make: MakeEdge) -> None:
    found = bench(make, 20, each=2, most=5)
    found.send(flow(30))
    copy = found.edge.snapshot()
    for number in range(31, 40):
        found.send(flow(number))
        assert found.last is not None
    again = Bench(config(), make=make)
    again.edge, again.now_ns = copy, found.now_ns
    for number in range(31, 40):
        again.send(flow(number))
    assert again.edge.stats() == found.edge.stats()
    assert again.edge.sessions() == found.edge.sessions()


# --- limits ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"max_sessions": 8}, "udp 10.20.0.11:{} > 8.8.8.8:53"),
        ({"max_half_open": 8}, "tcp 10.20.0.11:{} > 8.8.8.8:443 S"),
        ({"max_sessions_per_source": 8}, "udp 10.20.0.11:{} > 8.8.8.8:53"),
    ],
)
def test_a_limit_refuses_nobody_while_sessions_wait(make: MakeEdge, options: dict[str, int], text: str) -> None:
    found = Bench(config(**options), make=make)
    for number in range(8):
        assert why(found.send(text.format(2000 + number))) == NEW
    assert why(found.send(text.format(3000))) == ("DROP", "SESSION_LIMIT")
    found.edge.set_pace(1, 1)
    found.now_ns = LIFE * SECOND
    assert [why(found.send(text.format(4000 + number))) for number in range(8)] == [NEW] * 8
    assert why(found.send(text.format(5000))) == ("DROP", "SESSION_LIMIT")


# --- expectations ---------------------------------------------------------------------------------------------------


def test_what_one_has_announced_is_not_awaited(make: MakeEdge) -> None:
    tftp = system_profile("TFTP")
    assert tftp is not None
    listening = replace(rule("out", source="10.20.0.0/24"), profiles=(tftp,))
    found = Bench(replace(config(), firewall=replace(config().firewall, rules=(listening,))), make=make)
    found.edge.set_pace(1, 1)
    for number in range(3):
        found.send(f"udp 10.20.0.10:{2000 + number} > 8.8.8.8:69")
    assert found.last is not None
    ((_, sent),) = left(found.last)
    port = sent.split()[1].rpartition(":")[2]
    found.now_ns = LIFE * SECOND
    assert why(found.send(f"udp 8.8.8.8:3000 > 203.0.113.10:{port}"))[0] == "DROP"


# --- several workers ------------------------------------------------------------------------------------------------


def test_workers_end_what_a_single_one_would() -> None:
    place = config(snat_port_range=PortRange(4000, 4031))
    one, several = Edge(place), Workers(place, 3, one_sequence=True)
    for edge in (one, several):
        edge.watch_sessions = True
        edge.set_pace(1, 3)
    seen = []
    for number in range(90):
        machine, far = number % 7 + 2, number % 11
        frame = build_frame(parse_packet(f"udp 10.20.0.{machine}:{2000 + number % 40} > 8.8.8.{far}:53"))
        now = LIFE * SECOND * (number // 30) + number
        outcomes = [edge.process("LAN", frame, now) for edge in (one, several)]
        assert outcomes[0] == outcomes[1]
        assert one.stats() == several.stats()
        seen.append(one.stats().sessions_open - len(one.sessions()))
    assert max(seen) > 10
    assert min(several.created) > 0


def test_workers_end_what_a_single_one_would_before_each_pass() -> None:
    """What the provider's router sends back in is a packet again."""
    server = nat("d", "DNAT", "203.0.113.11", "10.20.0.20", priority=10)
    place = replace(config(), nat=replace(config().nat, rules=(server, *config().nat.rules)))
    one, several = Edge(place), Workers(place, 3, one_sequence=True)
    for edge in (one, several):
        for number in range(30):
            edge.process("LAN", build_frame(parse_packet(f"udp 10.20.0.10:2000 > 8.8.8.{number + 1}:53")), 0)
        edge.set_pace(1, 1)
    looping = build_frame(parse_packet("udp 10.20.0.10:5000 > 203.0.113.11:53"))
    for number in range(3):
        batches = [
            edge.process_batch([("LAN", looping)], LIFE * SECOND + number, outputs=True) for edge in (one, several)
        ]
        assert batches[0] == batches[1]
        assert one.stats() == several.stats()
    assert one.stats().sessions_open < one.stats().sessions_created - 4, "more than one a frame have ended"
