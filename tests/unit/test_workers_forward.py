"""Several workers forward between ports in memory: whose a packet is, wherever it comes in, and nothing is lost."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from ipaddress import IPv4Address

import pytest

from edge.bench.frames import udp_frame
from edge.forwarder import Forwarder
from edge.model import EdgeConfig, Timers
from edge.packets.build import build_frame
from edge.packets.text import parse_packet
from edge.ports import made_mac
from edge.state import LimitReached, SessionEndCause, SessionEnded, SessionMatch, SessionStarted
from edge.verdicts import Reason
from edge.workers import Workers
from tests.support import acme, nat, rule, with_options

PATIENCE = 20.0
CLIENT_MAC, ROUTER_MAC = bytes.fromhex("020000000a0a"), bytes.fromhex("02000000cb01")
LAN, INTERNET = made_mac("edge", "LAN"), made_mac("edge", "INTERNET")
CLIENT, OUTSIDE = int(IPv4Address("10.20.0.10")), int(IPv4Address("203.0.113.10"))
REMOTE = int(IPv4Address("198.51.100.0"))
FLOWS = 60

MORE_NAT = nat("more", "DNAT", "198.51.100.0/25", "10.20.0.0/25", priority=200)
"""A rule that translates to nothing that is asked for here, but has remote addresses for its own."""


@contextmanager
def forwarding(config: EdgeConfig, workers: int) -> Iterator[tuple[Workers, Forwarder]]:
    """An edge at work whose neighbours are known."""
    edge = Workers(config, workers, seed=5)
    with Forwarder(edge, []) as forwarder:
        for port, mac, sender, target in (
            ("LAN", CLIENT_MAC, "10.20.0.10", "10.20.0.1"),
            ("INTERNET", ROUTER_MAC, "203.0.113.1", "203.0.113.10"),
        ):
            forwarder.feed(port, arp_request(mac, sender, target))
            answered(forwarder, port, mac)
        yield edge, forwarder


def arp_request(mac: bytes, sender: str, target: str) -> bytes:
    addresses = IPv4Address(sender).packed + bytes(6) + IPv4Address(target).packed
    return (b"\xff" * 6 + mac + bytes.fromhex("0806 0001 0800 06 04 0001") + mac + addresses).ljust(60, b"\0")


def answered(forwarder: Forwarder, port: str, mac: bytes) -> None:
    waited(lambda: any(frame[:6] == mac for frame in forwarder.take(port)))


def waited(ask: Callable[[], object]) -> object:
    until = time.monotonic() + PATIENCE
    while time.monotonic() < until:
        if found := ask():
            return found
        time.sleep(0.001)
    raise AssertionError("it did not happen")


@dataclass
class Flow:
    """A client's datagrams to one server and back; ``port`` is what the edge has made of its own."""

    number: int
    port: int = 0

    def out(self, text: bytes) -> bytes:
        return framed(LAN, CLIENT_MAC, CLIENT, 10_000 + self.number, REMOTE + self.number, 53, text)

    def back(self, text: bytes) -> bytes:
        return framed(INTERNET, ROUTER_MAC, REMOTE + self.number, 53, OUTSIDE, self.port, text)


def framed(to: bytes, mac: bytes, source: int, sport: int, destination: int, dport: int, text: bytes) -> bytes:
    """Without a sum: the payload is no zeros."""
    frame = udp_frame(source, sport, destination, dport, text.ljust(22, b"."))
    return to + mac + frame[12:40] + b"\0\0" + frame[42:]


def collect(forwarder: Forwarder, port: str, count: int) -> list[bytes]:
    """So many datagrams that leave by a port."""
    found: list[bytes] = []

    def enough() -> bool:
        found.extend(frame for frame in forwarder.take(port) if frame[12:14] == b"\x08\0")
        return len(found) >= count

    waited(enough)
    return found


def opened(forwarder: Forwarder) -> list[Flow]:
    """Flows that have a session each."""
    flows = [Flow(number) for number in range(1, FLOWS + 1)]
    for flow in flows:
        forwarder.feed("LAN", flow.out(b"begin"))
    for frame in collect(forwarder, "INTERNET", FLOWS):
        number = int.from_bytes(frame[30:34], "big") - REMOTE
        flows[number - 1].port = int.from_bytes(frame[34:36], "big")
    return flows


@pytest.mark.parametrize("workers", [2, 3])
def test_what_comes_in_anywhere_is_its_owners(workers: int) -> None:
    with forwarding(acme(), workers) as (edge, forwarder):
        flows = opened(forwarder)
        for turn in range(20):
            for flow in flows:
                forwarder.feed("INTERNET", flow.back(b"%d" % turn))
                forwarder.feed("LAN", flow.out(b"%d" % turn))
            assert len(collect(forwarder, "LAN", FLOWS)) == FLOWS
            assert len(collect(forwarder, "INTERNET", FLOWS)) == FLOWS
        assert all(edge.created), "every worker has sessions"
        assert sum(edge.created) == FLOWS
        assert edge.handed > FLOWS, "what came in elsewhere was handed over"
        stats = edge.stats()
        assert (stats.sessions_open, stats.sessions_created, stats.sessions_peak) == (FLOWS, FLOWS, FLOWS)
        assert stats.reasons == {Reason.FW_RULE: FLOWS, Reason.SESSION: 40 * FLOWS}
        assert edge.rule_counters()[rule_id(edge.config)].packets == 41 * FLOWS
        assert sorted(session.id for session in edge.sessions()) == list(range(1, FLOWS + 1))
        assert edge.delete_sessions(SessionMatch(port_number=10_001)) == 1
        assert len(edge.sessions()) == FLOWS - 1


@pytest.mark.parametrize("workers", [2, 3])
def test_first_packets_are_judged_each_by_its_rule(workers: int) -> None:
    """However many of them come at once, at their owner or at another worker, and under whichever rules."""
    ports = range(1000, 1008)
    rules = [
        rule(f"to {port}", services=f"udp/{port}", action="ALLOW" if port % 2 else "DROP") for port in ports if port % 4
    ]
    with forwarding(acme(firewall=rules), workers) as (edge, forwarder):
        expected: Counter[str] = Counter()
        for turn in range(12):
            config = acme(firewall=rules[turn % 3 :])
            with edge.turn():
                edge.apply(config)
                forwarder.rebind(config)
            names = {item.name: item for item in config.firewall.rules}
            for number in range(1, FLOWS + 1):
                port = ports[number % 8]
                frame = framed(LAN, CLIENT_MAC, CLIENT, 20_000 + 100 * turn + number, REMOTE + number, port, b"new")
                forwarder.feed("LAN", frame)
                expected[names[f"to {port}"].id if f"to {port}" in names else ""] += 1
            waited(lambda turn=turn: sum(edge.stats().verdicts.values()) == (turn + 1) * FLOWS)
        assert edge.handed > FLOWS
        counters = edge.rule_counters()
        assert {name: counters[name].hits for name in expected if name in counters} == {
            name: count for name, count in expected.items() if name in counters
        }
        assert edge.stats().reasons[Reason.FW_RULE] == expected.total() - expected[""]
        assert edge.stats().reasons[Reason.FW_DEFAULT] == expected[""] > 0


def test_workers_without_frames_end_their_sessions() -> None:
    config = with_options(acme(), timers=Timers(udp_first=1, udp_single=1, udp_multiple=1))
    with forwarding(config, 3) as (edge, forwarder):
        edge.set_pace(1, 2)
        edge.watch_sessions = True
        opened(forwarder)
        waited(lambda: edge.stats().sessions_open == 0)
        assert all(edge.created), "every worker had sessions"
        events, _ = edge.take_events()
        ends = [event for event in events if isinstance(event, SessionEnded)]
        assert {event.cause for event in ends} == {SessionEndCause.EXPIRED}
        assert sorted(event.session.id for event in ends) == list(range(1, FLOWS + 1))
        assert all(event.now_ns >= event.session.expires_ns for event in ends)


def rule_id(config: EdgeConfig) -> str:
    return next(rule.id for rule in config.nat.rules if rule.name == "internet")


def changes(config: EdgeConfig) -> Sequence[EdgeConfig]:
    """Configurations that divide the same packets otherwise, and allow them."""
    more = (*config.nat.rules, MORE_NAT)
    logged = tuple(replace(rule, logging=True) for rule in config.nat.rules)
    return (
        replace(config, nat=replace(config.nat, rules=more)),
        with_options(config, max_sessions_per_source=10_000),
        replace(config, nat=replace(config.nat, rules=logged)),
        config,
    )


@pytest.mark.parametrize("workers", [2, 3])
def test_no_packet_is_lost_while_sessions_move(workers: int) -> None:
    """Each of these changes takes sessions from one worker to another, and packets go on all the while."""
    with forwarding(acme(), workers) as (edge, forwarder):
        flows = opened(forwarder)
        stop = threading.Event()
        sent: Counter[str] = Counter()
        came: dict[str, Counter[bytes]] = {"LAN": Counter(), "INTERNET": Counter()}

        def talk() -> None:
            turn = 0
            while not stop.is_set() or turn < 50:
                for flow in flows:
                    forwarder.feed("INTERNET", flow.back(b"%d/%d" % (flow.number, turn)))
                    forwarder.feed("LAN", flow.out(b"%d/%d" % (flow.number, turn)))
                for port, texts in came.items():
                    sent[port] += FLOWS
                    texts.update(frame[42:].rstrip(b".\0") for frame in collect(forwarder, port, FLOWS))
                turn += 1

        talker = threading.Thread(target=talk)
        talker.start()
        try:
            for number in range(40):
                config = changes(acme())[number % 4]
                with edge.turn():
                    edge.apply(config)
                    forwarder.rebind(config)
                assert bool(edge.reasons_for_one) == (number % 4 == 1)
                assert sorted(session.id for session in edge.sessions()) == list(range(1, FLOWS + 1))
        finally:
            stop.set()
            talker.join()
        for port, texts in came.items():
            assert sum(texts.values()) == sent[port] > 0
            assert set(texts.values()) == {1}, "each came once"
        assert edge.moved["sessions"] > 5 * FLOWS
        stats = edge.stats()
        assert stats.drops == {}
        assert stats.reasons[Reason.SESSION] == sum(sent.values())
        assert stats.sessions_open == FLOWS == sum(edge.created)


def test_a_page_goes_on_where_it_was_although_sessions_have_moved() -> None:
    edge = Workers(acme(), 3, seed=1)
    for number in range(1, FLOWS + 1):
        edge.process("LAN", Flow(number).out(b""), 1)
    found: list[int] = []
    after: int | None = 0
    step = 0
    while after is not None:
        page = edge.sessions_page(after=after, limit=7)
        found += [session.id for session in page.sessions]
        after = page.next
        edge.apply(changes(acme())[step % 4])
        step += 1
    assert step > FLOWS // 7
    assert sorted(found) == list(range(1, FLOWS + 1))
    assert edge.moved["sessions"]


def test_a_session_has_one_owner_whatever_rules_come_after_its_own() -> None:
    """Two of whose packets would be one worker's by chance may be two workers' under the next rules."""
    no_nat = acme(nat_rules=[])
    other_nat = acme(nat_rules=[nat("other", "SNAT", "203.0.113.10", "10.20.0.128/25")])
    for seed in range(40):
        edge = Workers(acme(), 2, seed=seed)
        edge.process("LAN", Flow(1).out(b""), 1)
        (session,) = edge.sessions()
        edge.apply(no_nat)
        edge.apply(other_nat)
        answer = Flow(1, session.translated.sport).back(b"")
        assert edge.process("INTERNET", answer, 2).reason is Reason.SESSION


def test_events_of_all_workers_are_told_in_order() -> None:
    edge = Workers(acme(), 3, seed=1)
    edge.watch_sessions = True
    for number in range(1, FLOWS + 1):
        edge.process("LAN", Flow(number).out(b""), number)
    events, lost = edge.take_events()
    assert lost == 0
    assert [event.now_ns for event in events] == list(range(1, FLOWS + 1))
    assert [event.session.id for event in events if isinstance(event, SessionStarted)] == list(range(1, FLOWS + 1))


def test_a_limit_that_workers_reach_at_once_is_told_once() -> None:
    with forwarding(with_options(acme(), max_sessions=20), 3) as (edge, forwarder):
        for number in range(1, FLOWS + 1):
            forwarder.feed("LAN", Flow(number).out(b""))
        waited(lambda: edge.stats().reasons.get(Reason.SESSION_LIMIT, 0) == FLOWS - 20)
        events, _ = edge.take_events()
        assert [event.reached for event in events if isinstance(event, LimitReached)] == [True]
        edge.delete_sessions(SessionMatch())
        events, _ = edge.take_events()
        assert [event.reached for event in events if isinstance(event, LimitReached)] == [False]


@pytest.mark.parametrize("workers", [2, 3])
def test_pieces_and_errors_about_them_find_their_session(workers: int) -> None:
    """An ICMP error that comes in pieces is put together by the worker of its own addresses."""
    with forwarding(acme(), workers) as (edge, forwarder):
        flows = opened(forwarder)
        for number in range(1, 40):
            flow = flows[number]
            quote = framed(ROUTER_MAC, INTERNET, OUTSIDE, flow.port, REMOTE + flow.number, 53, bytes(400))[14:]
            for frame in pieces(icmp_error(f"192.0.2.{number}", "203.0.113.10", quote)):
                forwarder.feed("INTERNET", frame)
        for frame in collect(forwarder, "LAN", 2 * 39):
            assert frame[23] == 1
            assert frame[30:34] == IPv4Address("10.20.0.10").packed
        assert edge.stats().reasons[Reason.RELATED] == 39
        assert edge.stats().datagrams_reassembled == 39


@pytest.mark.parametrize("workers", [2, 3])
def test_a_datagram_in_pieces_leaves_once(workers: int) -> None:
    with forwarding(acme(), workers) as (edge, forwarder):
        flows = opened(forwarder)
        seen: Counter[bytes] = Counter()
        for turn in range(10):
            for flow in flows:
                text = b"%d/%d" % (flow.number, turn)
                whole = flow.out(text.ljust(400, b"."))[14:]
                for frame in pieces(whole[12:], 17, LAN + CLIENT_MAC, turn):
                    forwarder.feed("LAN", frame)
            found = collect(forwarder, "INTERNET", 2 * FLOWS)
            seen.update(frame[42:].rstrip(b".") for frame in found if not frame[20:22][-1] and not frame[20] & 31)
        assert len(seen) == 10 * FLOWS
        assert set(seen.values()) == {1}
        assert edge.stats().datagrams_reassembled == 10 * FLOWS
        assert edge.stats().fragments_held == 0


def icmp_error(source: str, destination: str, quote: bytes) -> bytes:
    """Port unreachable, with its sums."""
    body = bytes([3, 3, 0, 0, 0, 0, 0, 0]) + quote
    body = body[:2] + summed(body) + body[4:]
    return IPv4Address(source).packed + IPv4Address(destination).packed + body


def pieces(packet: bytes, protocol: int = 1, macs: bytes = INTERNET + ROUTER_MAC, number: int = 7) -> list[bytes]:
    """Frames of a datagram, addresses and what follows the header, in two pieces, the second one first."""
    addresses, body = packet[:8], packet[8:]
    first, second = body[:216], body[216:]
    found = []
    for part, flags in ((second, 216 // 8), (first, 0x2000)):
        header = (
            bytes([0x45, 0])
            + (20 + len(part)).to_bytes(2, "big")
            + number.to_bytes(2, "big")
            + flags.to_bytes(2, "big")
        )
        header += bytes([64, protocol, 0, 0]) + addresses
        header = header[:10] + summed(header) + header[12:]
        found.append(macs + b"\x08\0" + header + part)
    return found


def summed(data: bytes) -> bytes:
    total = sum(int.from_bytes(data[at : at + 2].ljust(2, b"\0"), "big") for at in range(0, len(data), 2))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return (~total & 0xFFFF).to_bytes(2, "big")


def test_a_sleeping_worker_is_woken_for_what_is_its_own() -> None:
    with forwarding(acme(), 3) as (edge, forwarder):
        flows = opened(forwarder)
        for number, flow in enumerate(flows * 5):
            forwarder.feed("LAN", flow.out(b"%d" % number))
            collect(forwarder, "INTERNET", 1)
            time.sleep(0.001)  # all go to sleep
        assert edge.handed > 100
        assert edge.called > edge.handed // 2


def test_what_is_injected_is_done_by_its_owners() -> None:
    with forwarding(acme(), 3) as (edge, forwarder):
        frame = build_frame(parse_packet("udp 10.20.0.10:1024 > 198.51.100.5:53"))
        done = forwarder.inject(
            [("LAN", Flow(number).out(b"")) for number in range(1, 11)] + [("LAN", frame)], time.monotonic_ns()
        )
        assert [item.reason for item in done] == [Reason.FW_RULE] * 11
        assert len(collect(forwarder, "INTERNET", 11)) == 11
        assert len(edge.sessions()) == 11
