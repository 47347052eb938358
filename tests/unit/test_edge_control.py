"""What an edge can be asked and told between packets: changes prepared, batches, sessions listed and ended, copies,
events, counters.  The reference answers as the native one does."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace
from ipaddress import ip_network

import pytest

from edge.addresses import AddressRange, PortRange
from edge.errors import FrameTooLongError, UnknownPortError
from edge.model import EdgeConfig, Options, Profile, SessionsOnChange
from edge.packets import build_frame, format_frame, parse_packet
from edge.reference import ReferenceEdge
from edge.runtime import Edge
from edge.state import (
    LimitReached,
    PortCounters,
    SessionEndCause,
    SessionEnded,
    SessionInfo,
    SessionMatch,
    SessionStarted,
)
from edge.verdicts import Reason, Stage, Step, StepResult, Verdict
from tests.support import (
    SECOND,
    acme,
    default_rule,
    edge_config,
    logged,
    nat,
    network,
    rule,
    uplink,
    with_options,
)

AnEdge = Edge | ReferenceEdge
MakeEdge = Callable[[EdgeConfig], AnEdge]
OUT = "udp 10.20.0.10:{} > 8.8.8.8:53"


@pytest.fixture(params=[Edge, ReferenceEdge])
def make(request: pytest.FixtureRequest) -> MakeEdge:
    maker: MakeEdge = request.param
    return maker


def frame(text: str) -> bytes:
    return build_frame(parse_packet(text))


def send(edge: AnEdge, *texts: str, port: str = "LAN", now_ns: int = 0) -> list[Verdict]:
    return [edge.process(port, frame(text), now_ns).verdict for text in texts]


def ports_of(sessions: list[SessionInfo]) -> list[int]:
    return sorted(info.original.sport for info in sessions)


def all_pages(edge: AnEdge, limit: int, match: SessionMatch | None = None) -> list[SessionInfo]:
    found: list[SessionInfo] = []
    after: int | None = 0
    while after is not None:
        page = edge.sessions_page(after=after, limit=limit, match=match)
        assert len(page.sessions) <= limit
        found += page.sessions
        after = page.next
    return found


# --- changes --------------------------------------------------------------------------------------------------------


def test_what_is_prepared_changes_nothing_before_it_is_committed(make: MakeEdge) -> None:
    edge = make(acme())
    prepared = edge.prepare(acme(firewall=[default_rule("REJECT")]), revision=17)
    assert send(edge, OUT.format(1)) == [Verdict.ALLOW]
    edge.commit(prepared)
    assert send(edge, OUT.format(2)) == [Verdict.REJECT]
    edge.commit(edge.prepare(acme()))
    send(edge, OUT.format(3))
    assert {info.revision for info in edge.sessions() if info.original.sport == 3} == {18}


def test_changes_can_be_prepared_side_by_side_and_committed_in_any_order() -> None:
    def pool(number: int, **options: object) -> EdgeConfig:
        return with_options(acme(nat_rules=[nat("out", "SNAT", f"198.18.{number}.1", "10.20.0.0/24")]), **options)

    edge = Edge(pool(0))
    prepared = [edge.prepare(pool(number, max_sessions_per_source=1)) for number in (1, 2)]
    prepared += [edge.prepare(pool(3))]
    for number, now in ((3, 0), (1, 100), (2, 200)):
        edge.commit(prepared[number - 1])
        outcome = edge.process("LAN", frame(OUT.format(number)), now * SECOND)
        assert outcome.outputs[0].frame[26:30] == bytes((198, 18, number, 1))
        assert edge.stats().nat_addresses[f"198.18.{number}.1"][0] == 1
    assert send(edge, OUT.format(9), now_ns=200 * SECOND) == [Verdict.DROP]  # one of that source is there


def test_what_is_never_committed_leaves_no_address_behind() -> None:
    edge = Edge(acme())
    for number in range(50):
        edge.prepare(acme(nat_rules=[nat("out", "SNAT", f"198.18.{number}.0/24", "10.20.0.0/24")]))
    assert edge._bindings.usage_slots <= 2 * 256 + 1


def test_a_turn_keeps_others_out() -> None:
    edge = Edge(acme())
    done = threading.Event()

    def ask() -> None:
        edge.stats()
        done.set()

    with edge.turn():
        worker = threading.Thread(target=ask)
        worker.start()
        assert not done.wait(0.05)
        assert send(edge, OUT.format(1)) == [Verdict.ALLOW]  # who has it may go on
    worker.join()
    assert done.is_set()


# --- batches --------------------------------------------------------------------------------------------------------


def test_a_batch_does_what_its_packets_do_one_by_one(make: MakeEdge) -> None:
    texts = [
        "udp 10.20.0.10:4000 > 8.8.8.8:53",
        "tcp 10.20.0.10:4000 > 8.8.8.8:80 A",
        "icmp 10.20.0.10 > 10.20.0.1 echo",
    ]
    texts[2] += "-request id=1 seq=1"
    frames = [("LAN", frame(text)) for text in texts] * 300  # more than a burst
    edge, single = make(acme()), make(acme())
    done = edge.process_batch(frames, 5, outputs=True)
    outcomes = [single.process(port, data, 5) for port, data in frames]
    assert [(item.verdict, item.reason, item.outputs) for item in done] == [
        (item.verdict, item.reason, item.outputs) for item in outcomes
    ]
    assert edge.stats() == single.stats()
    assert edge.rule_counters() == single.rule_counters()
    assert [item.outputs for item in edge.process_batch(frames[:1], 5, outputs=False)] == [()]


def test_what_hairpins_in_a_batch_comes_back_in(make: MakeEdge) -> None:
    edge = make(acme(firewall=[rule("any")]))
    (done,) = edge.process_batch([("LAN", frame("tcp 10.20.0.77:4000 > 203.0.113.11:80 S"))], 0, outputs=True)
    assert (done.verdict, done.reason) == (Verdict.ALLOW, Reason.FW_RULE)
    (output,) = done.outputs
    assert (output.port, format_frame(output.frame)[:27]) == (
        "LAN",
        "tcp 203.0.113.10:" + format_frame(output.frame)[17:27],
    )
    assert format_frame(output.frame).endswith("> 10.20.0.10:8080 S ttl=62")
    assert len(edge.sessions()) == 2
    counters = edge.stats().ports["INTERNET"]
    assert (counters.sent_packets, counters.received_packets) == (1, 1)


def test_a_batch_with_a_mistake_does_not_happen() -> None:
    edge = Edge(acme())
    good = ("LAN", frame(OUT.format(1)))
    with pytest.raises(UnknownPortError, match=r"frames\[1\]: no port 'DMZ'; there are INTERNET, LAN") as unknown:
        edge.process_batch([good, ("DMZ", good[1])], 0, outputs=False)
    with pytest.raises(FrameTooLongError, match="70000 bytes") as long:
        edge.process_batch([good, ("LAN", bytes(70_000))], 0, outputs=False)
    assert (unknown.value.reason, long.value.reason) == ("UNKNOWN_PORT", "FRAME_TOO_LONG")
    assert edge.stats().verdicts == {}
    with pytest.raises(UnknownPortError):
        ReferenceEdge(acme()).process_batch([("DMZ", good[1])], 0, outputs=False)


# --- sessions -------------------------------------------------------------------------------------------------------


def test_sessions_have_numbers_of_their_own(make: MakeEdge) -> None:
    edge = make(acme())
    send(edge, OUT.format(1), OUT.format(2))
    edge.delete_sessions(SessionMatch(port_number=1))
    send(edge, OUT.format(3))  # in the place of the first
    assert sorted((info.id, info.original.sport) for info in edge.sessions()) == [(2, 2), (3, 3)]


def test_pages_have_every_session_once(make: MakeEdge) -> None:
    edge = make(acme())
    edge.process_batch([("LAN", frame(OUT.format(4000 + number))) for number in range(200)], 0, outputs=False)
    for limit in (1, 7, 199, 200, 1000):
        assert ports_of(all_pages(edge, limit)) == list(range(4000, 4200))
    first = edge.sessions_page(limit=50)
    assert first.next is not None
    edge.delete_sessions(SessionMatch(port_number=4100))
    send(edge, OUT.format(5000))
    rest = edge.sessions_page(after=first.next, limit=1000)
    seen = ports_of([*first.sessions, *rest.sessions])
    assert set(range(4000, 4200)) - {4100} <= set(seen)
    assert len(seen) == len(set(seen))


def test_a_page_that_cannot_be_is_refused() -> None:
    edge = Edge(acme())
    for after, limit in ((-1, 1), (1 << 32, 1), (0, 0)):
        with pytest.raises(ValueError, match="there is no page"):
            edge.sessions_page(after=after, limit=limit)
    assert edge.sessions_page(after=5000).next is None


def test_pages_of_a_large_table_are_short_but_complete() -> None:
    edge = Edge(acme(nat_rules=[]))
    count = 66_000
    texts = [
        ("LAN", frame(f"udp 10.20.0.{10 + number // 50_000}:{number % 50_000 + 1} > 8.8.8.8:53"))
        for number in range(count)
    ]
    edge.process_batch(texts, 0, outputs=False)
    late = SessionMatch(address=ip_network("10.20.0.11/32"))
    page = edge.sessions_page(limit=10_000, match=SessionMatch(port_number=49_999))
    assert page.next is not None
    assert [info.original.sport for info in page.sessions] == [49_999]
    assert len(all_pages(edge, 1000, late)) == count - 50_000
    assert edge.delete_sessions(late) == count - 50_000
    assert edge.stats().sessions_open == 50_000


@pytest.mark.parametrize(
    ("match", "ports"),
    [
        (SessionMatch(), [0, 1, 2, 7]),
        (SessionMatch(protocol=17), [1, 2]),
        (SessionMatch(address=ip_network("10.20.0.11/32")), [2]),
        (SessionMatch(address=ip_network("203.0.113.10/32")), [0, 1, 2]),
        (SessionMatch(address=AddressRange.parse("8.8.8.0-8.8.8.8")), [0, 1, 2]),
        (SessionMatch(address=ip_network("2001:db8::/32")), [7]),
        (SessionMatch(port_number=53), [1]),
        (SessionMatch(port_number=443), [2, 7]),
        (SessionMatch(port_number=0), []),  # an echo request has no port
        (SessionMatch(port="INTERNET", protocol=6), [7]),
        (SessionMatch(port="DMZ"), []),
        (SessionMatch(rule_id="internet"), [0, 1, 2]),
        (SessionMatch(rule_id="out", protocol=1), [0]),
        (SessionMatch(rule_id="nobody"), []),
        (SessionMatch(before_revision=2), [0, 1, 2]),
        (SessionMatch(before_revision=1), []),
        (SessionMatch(before_revision=3, protocol=6), [7]),
    ],
)
def test_sessions_that_match(make: MakeEdge, match: SessionMatch, ports: list[int]) -> None:
    edge = make(acme())
    send(edge, "udp 10.20.0.10:1 > 8.8.8.8:53", "udp 10.20.0.11:2 > 8.8.8.8:443")
    send(edge, "icmp 10.20.0.10 > 8.8.8.8 echo-request id=0 seq=1")
    edge.apply(acme())
    send(edge, "tcp [2001:db8:20::9]:7 > [2001:db8:99::9]:443 S")
    assert ports_of(all_pages(edge, 100, match)) == ports
    assert edge.delete_sessions(match) == len(ports)
    assert ports_of(edge.sessions()) == sorted({0, 1, 2, 7} - set(ports))


def test_a_deleted_session_begins_anew(make: MakeEdge) -> None:
    edge = make(acme())
    send(edge, "tcp 10.20.0.10:4000 > 8.8.8.8:80 S")
    edge.delete_sessions(SessionMatch())
    outcome = edge.process("LAN", frame("tcp 10.20.0.10:4000 > 8.8.8.8:80 A"), 0)
    assert (outcome.verdict, outcome.reason) == (Verdict.DROP, Reason.TCP_STRICT)


# --- copies ---------------------------------------------------------------------------------------------------------


def test_a_copy_goes_on_as_the_edge_itself_would(make: MakeEdge) -> None:
    config = with_options(acme(), profile=Profile.STRICT_RFC, max_sessions_per_source=50)
    edge = make(config)
    piece = frame("udp 10.20.0.10:9 > 8.8.8.8:53 len=2000 frag=0-1479 ipid=7")
    rest = frame("udp 10.20.0.10:9 > 8.8.8.8:53 len=2000 frag=1480- ipid=7")
    send(edge, *(OUT.format(number) for number in range(1, 40)), now_ns=SECOND)
    edge.process("LAN", piece, SECOND)
    copy = edge.snapshot()
    before = edge.sessions(), edge.stats(), edge.rule_counters()
    assert (copy.sessions(), copy.stats(), copy.rule_counters()) == before
    later = [("LAN", rest), *(("LAN", frame(OUT.format(number))) for number in range(30, 70))]
    ours = [copy.process(port, data, 2 * SECOND) for port, data in later]
    copy.delete_sessions(SessionMatch(port_number=5))
    copy.apply(edge_config(uplinks=[uplink("OTHER", "198.51.100.1/24 198.51.100.10")]))
    assert (edge.sessions(), edge.stats(), edge.rule_counters()) == before
    assert [edge.process(port, data, 2 * SECOND) for port, data in later] == ours
    assert ours[0].outputs[0].fragments
    assert ours[-1].reason is Reason.SESSION_LIMIT


def test_a_copy_has_heard_of_nothing(make: MakeEdge) -> None:
    edge = make(acme(firewall=[default_rule(logging=True)]))
    edge.watch_sessions = True
    send(edge, OUT.format(1))
    copy = edge.snapshot()
    assert (copy.take_events(), copy.watch_sessions) == (([], 0), False)
    assert len(logged(edge)) == 1


def test_the_original_can_go_before_its_copy() -> None:
    edge = Edge(acme())
    send(edge, OUT.format(1))
    copy = edge.snapshot()
    del edge
    assert send(copy, OUT.format(1)) == [Verdict.ALLOW]
    assert copy.stats().reasons == {Reason.FW_RULE: 1, Reason.SESSION: 1}


# --- events ---------------------------------------------------------------------------------------------------------


def test_sessions_are_told_of_only_to_who_watches(make: MakeEdge) -> None:
    edge = make(acme())
    send(edge, OUT.format(1))
    assert edge.take_events() == ([], 0)
    edge.watch_sessions = True
    assert edge.watch_sessions
    send(edge, OUT.format(2), now_ns=5)
    (started,), _ = edge.take_events()
    assert isinstance(started, SessionStarted)
    assert (started.now_ns, started.session.id, started.session.packets) == (5, 2, (1, 0))
    edge.watch_sessions = False
    edge.delete_sessions(SessionMatch())
    assert edge.take_events() == ([], 0)


def test_why_sessions_end(make: MakeEdge) -> None:
    edge = make(acme())
    edge.watch_sessions = True

    def causes() -> list[tuple[int, SessionEndCause, str]]:
        events, _ = edge.take_events()
        ended = [event for event in events if isinstance(event, SessionEnded)]
        return sorted((item.session.original.sport, item.cause, item.session.state) for item in ended)

    send(edge, OUT.format(1))
    send(edge, OUT.format(2), now_ns=61 * SECOND)
    assert causes() == [(1, SessionEndCause.EXPIRED, "SINGLE:NO_TRAFFIC")]
    edge.delete_sessions(SessionMatch())
    assert causes() == [(2, SessionEndCause.DELETED, "SINGLE:NO_TRAFFIC")]
    for text in ("tcp 10.20.0.10:3 > 8.8.8.8:80 S seq=100", "tcp 10.20.0.10:3 > 8.8.8.8:80 R seq=101"):
        send(edge, text, now_ns=61 * SECOND)
    send(edge, "tcp 10.20.0.10:3 > 8.8.8.8:80 S", now_ns=62 * SECOND)
    assert causes() == [(3, SessionEndCause.REUSED, "TIME_WAIT:TIME_WAIT")]
    edge.apply(with_options(acme(firewall=[default_rule()]), sessions_on_change=SessionsOnChange.RECHECK))
    assert causes() == []
    send(edge, "tcp 10.20.0.10:3 > 8.8.8.8:80 S", now_ns=62 * SECOND)
    assert causes() == [(3, SessionEndCause.CONFIG, "SYN_SENT:CLOSED")]
    edge.apply(acme())
    send(edge, OUT.format(4), now_ns=62 * SECOND)
    edge.apply(with_options(acme(), sessions_on_change=SessionsOnChange.FLUSH))
    assert causes() == [(4, SessionEndCause.CONFIG, "SINGLE:NO_TRAFFIC")]


def test_events_keep_the_names_of_their_time(make: MakeEdge) -> None:
    both = {"firewall": [default_rule("ALLOW", logging=True)], "nat_rules": []}
    edge = make(acme(networks=[network("A", "10.1.0.1/24"), network("LAN", "10.20.0.1/24")], **both))
    edge.watch_sessions = True
    send(edge, OUT.format(1), "udp 10.20.0.10:2 > 8.8.8.8:53")
    edge.process("A", frame("udp 10.1.0.9:3 > 8.8.8.8:53"), 0)
    edge.apply(acme(networks=[network("LAN", "10.20.0.1/24")], **both))  # LAN has another number now
    send(edge, OUT.format(4))
    events, lost = edge.take_events()
    told = [
        (type(event).__name__, event.session.in_port, event.session.original.sport)
        for event in events
        if isinstance(event, SessionStarted | SessionEnded)
    ]
    assert lost == 0
    assert sorted(told) == [
        ("SessionEnded", "A", 3),
        ("SessionStarted", "A", 3),
        ("SessionStarted", "LAN", 1),
        ("SessionStarted", "LAN", 2),
        ("SessionStarted", "LAN", 4),
    ]
    assert {event.in_port for event in events if hasattr(event, "in_port")} == {"A", "LAN"}


def test_a_logged_packet_says_everything(make: MakeEdge) -> None:
    nat_rules = [
        nat("pub-web", "DNAT", "203.0.113.11", "10.20.0.10", external_port="80", app="tcp/8080", logging=True),
        nat("internet", "SNAT", "203.0.113.10", "10.20.0.0/24", logging=True),
    ]
    edge = make(acme(nat_rules=nat_rules))
    text = "tcp 198.51.100.9:5 > 203.0.113.11:80 S"
    outcome = edge.process("INTERNET", frame(text), 7)
    firewall, dnat = logged(edge)
    steps = {step.stage: step for step in outcome.steps if step.rule_id is not None}
    assert firewall.step == steps[Stage.FIREWALL]
    assert dnat.step == replace(steps[Stage.NAT], logged=True)
    for event in (firewall, dnat):
        assert (event.packet, event.in_port, event.now_ns, event.revision) == (text, "INTERNET", 7, 1)
        assert (event.verdict, event.reason, event.protocol) == (Verdict.ALLOW, Reason.FW_RULE, 6)
    outcome = edge.process("LAN", frame(OUT.format(4000)), 8)
    (snat,) = logged(edge)
    assert (snat.step.result, snat.step.after) == (StepResult.SNAT, outcome.steps[-2].after)
    assert snat.saw.sport == 4000


def test_what_a_rule_refuses_is_logged_with_its_step(make: MakeEdge) -> None:
    edge = make(acme(firewall=[default_rule("REJECT", logging=True)]))
    long = "udp [2001:db8:20::9]:5 > [2001:db8:99::9]:80 len=1000"
    edge.process("LAN", frame(long), 0)
    (event,) = logged(edge)
    assert (event.verdict, event.reason, event.packet) == (Verdict.REJECT, Reason.FW_DEFAULT, long)
    assert event.step == Step(Stage.FIREWALL, StepResult.REJECT, "default_rule", saw=event.saw, logged=True)
    assert len(event.head) == 128


# --- limits ---------------------------------------------------------------------------------------------------------


def limits(edge: AnEdge) -> list[tuple[str, str | None, bool]]:
    events, _ = edge.take_events()
    return [(event.limit, event.address, event.reached) for event in events if isinstance(event, LimitReached)]


def test_limits_of_sessions_are_told_once_each_way(make: MakeEdge) -> None:
    edge = make(with_options(acme(), max_sessions=20, max_half_open=10))
    send(edge, *(f"tcp 10.20.0.10:{number} > 8.8.8.8:80 S" for number in range(1, 13)))
    assert limits(edge) == [("maxHalfOpen", None, True)]
    send(edge, *(OUT.format(number) for number in range(1, 15)))
    assert limits(edge) == [("maxSessions", None, True)]
    edge.delete_sessions(SessionMatch(port_number=1))
    assert limits(edge) == [("maxHalfOpen", None, False), ("maxSessions", None, False)]
    edge.apply(with_options(acme(), max_sessions=5))
    assert limits(edge) == [("maxSessions", None, True)]
    edge.apply(with_options(acme(), max_sessions=30))
    assert limits(edge) == [("maxSessions", None, False)]


def test_the_limit_of_fragments_is_told(make: MakeEdge) -> None:
    edge = make(with_options(acme(), max_fragments=2))
    for number in (1, 2):
        assert limits(edge) == []
        send(edge, f"udp 10.20.0.10:9 > 8.8.8.8:53 len=2000 frag=0-1479 ipid={number}")
    assert limits(edge) == [("maxFragments", None, True)]
    send(edge, OUT.format(1), now_ns=31 * SECOND)
    assert limits(edge) == [("maxFragments", None, False)]


def test_an_address_without_ports_is_named(make: MakeEdge) -> None:
    options = Options(snat_port_range=PortRange(5000, 5009))
    config = acme(nat_rules=[nat("out", "SNAT", "203.0.113.10-203.0.113.11", "10.20.0.0/24")], options=options)
    edge = make(config)
    send(edge, *(OUT.format(number) for number in range(1, 21)))
    assert limits(edge) == []
    assert send(edge, OUT.format(21), OUT.format(22)) == [Verdict.DROP] * 2
    assert sorted(limits(edge)) == [("snatPortRange", f"203.0.113.{last}", True) for last in (10, 11)]
    (freed,) = {str(item.translated.src) for item in edge.sessions() if item.original.sport == 1}
    edge.delete_sessions(SessionMatch(port_number=1))
    assert limits(edge) == [("snatPortRange", freed, False)]


def test_an_address_that_no_session_holds_has_ports_again_under_another_configuration(make: MakeEdge) -> None:
    out, inwards = nat("out", "SNAT", "203.0.113.10", "10.20.0.0/24"), nat("in", "DNAT", "203.0.113.10", "10.20.0.9")
    options = Options(snat_port_range=PortRange(5000, 5000))
    config = acme(nat_rules=[out, inwards], firewall=[default_rule("ALLOW")], options=options)
    edge = make(config)
    edge.process("INTERNET", frame("udp 8.8.8.8:80 > 203.0.113.10:5000"), 0)
    edge.process("LAN", frame("udp 10.20.0.10:1 > 8.8.8.8:80"), 0)
    assert limits(edge) == [("snatPortRange", "203.0.113.10", True)]
    elsewhere = replace(out, external=AddressRange.parse("203.0.113.12"))
    edge.apply(replace(config, nat=replace(config.nat, rules=(elsewhere, inwards))))
    assert limits(edge) == [("snatPortRange", "203.0.113.10", False)]
    edge.apply(config)
    edge.process("LAN", frame("udp 10.20.0.10:1 > 8.8.8.8:80"), 0)
    assert limits(edge) == [("snatPortRange", "203.0.113.10", True)]


# --- counters -------------------------------------------------------------------------------------------------------


def test_drops_are_counted_where_they_were_decided(make: MakeEdge) -> None:
    edge = make(acme())
    send(edge, "tcp 10.20.0.10:1 > 8.8.8.8:80 A", "tcp 10.20.0.10:2 > 8.8.8.8:80 S", "udp 10.20.0.10:3 > 8.8.8.8:135")
    send(edge, "tcp 10.20.0.10:2 > 8.8.8.8:80 SF")  # of a session
    edge.apply(with_options(acme(), tcp_strict=False))
    send(edge, "tcp 10.20.0.10:4 > 8.8.8.8:80 SF", "udp 10.20.0.99:3 > 127.0.0.1:1")
    edge.process("LAN", bytes(60), 0)
    assert edge.stats().drops == {
        (Stage.FIREWALL, Reason.TCP_STRICT): 1,
        (Stage.SESSION, Reason.TCP_STATE): 1,
        (Stage.FIREWALL, Reason.TCP_STATE): 1,
        (Stage.PROVIDER_FILTER, Reason.PROVIDER_FILTER): 1,
        (Stage.ROUTE, Reason.MARTIAN): 1,
        (Stage.PARSE, Reason.NOT_IP): 1,
    }


def test_counters_of_ports_follow_their_names(make: MakeEdge) -> None:
    edge = make(acme())
    piece = "udp 10.20.0.10:9 > 8.8.8.8:53 len=2000 frag={} ipid=7"
    send(edge, OUT.format(1), piece.format("0-1479"), piece.format("1480-"))
    edge.process("LAN", bytes(20), 0)
    lan = PortCounters(received_packets=4, received_bytes=28 + 1500 + 548 + 6)
    internet = PortCounters(sent_packets=3, sent_bytes=28 + 1500 + 548)
    assert edge.stats().ports == {"INTERNET": internet, "LAN": lan}
    edge.apply(acme(networks=[network("A", "10.1.0.1/24"), network("LAN", "10.20.0.1/24", "2001:db8:20::1/64")]))
    assert edge.stats().ports == {"INTERNET": internet, "A": PortCounters(), "LAN": lan}
    edge.apply(acme(networks=[network("A", "10.1.0.1/24")]))
    edge.apply(acme())
    assert edge.stats().ports == {"INTERNET": internet, "LAN": lan}


def test_what_is_used_and_how_much_there_is(make: MakeEdge) -> None:
    options = Options(max_sessions=77, snat_port_range=PortRange(3470, 3490))
    edge = make(acme(options=options))
    send(edge, OUT.format(1), OUT.format(2), "tcp 10.20.0.10:3 > 8.8.8.8:80 S")
    stats = edge.stats()
    assert (stats.sessions_open, stats.half_open, stats.sessions_limit) == (3, 1, 77)
    assert stats.nat_addresses == {"203.0.113.10": (3, 21 - 6)}  # the provider blocks 3475-3480
