"""What the native edge keeps for mappings, sources and hairpins: in numbers that make its tables grow and shrink, held
against plain dicts, and through changes of the configuration."""

from __future__ import annotations

import random
from collections import Counter
from ipaddress import IPv4Address

import pytest

from edge.bench.frames import udp_frame
from edge.model import EdgeConfig, Profile, Timers
from edge.packets import build_frame, parse_packet
from edge.reference import ReferenceEdge
from edge.runtime import Edge
from edge.verdicts import Output, Reason, StepResult, Verdict
from tests.reference_bench import MakeEdge
from tests.support import SECOND, acme, default_rule, nat, network, uplink, with_options

INSIDE = int(IPv4Address("10.20.0.0"))
REMOTE = int(IPv4Address("198.18.0.0"))
LIFETIME = 20
Endpoint = tuple[int, int]


def config(*pool: str, profile: Profile = Profile.STRICT_RFC, **options: object) -> EdgeConfig:
    return with_options(
        acme(
            uplinks=[uplink("INTERNET", "203.0.113.1/24 203.0.113.10-203.0.113.60")],
            networks=[network("LAN", "10.20.0.1/16")],
            firewall=[default_rule("ALLOW")],
            nat_rules=[nat(f"out-{text}", "SNAT", text, "10.20.0.0/16") for text in pool],
        ),
        profile=profile,
        timers=Timers(udp_first=LIFETIME, udp_single=LIFETIME, udp_multiple=LIFETIME),
        **options,
    )


def source_of(output: Output) -> Endpoint:
    return int.from_bytes(output.frame[26:30], "big"), int.from_bytes(output.frame[34:36], "big")


class Socket:
    """An endpoint inside: until when each of its sessions lives, by far end, and what it is called outside."""

    def __init__(self) -> None:
        self.sessions: dict[int, int] = {}
        self.outside: Endpoint | None = None


def end_sessions(sockets: dict[Endpoint, Socket], now: int) -> int:
    """Forgets what is over; the number of live sessions."""
    for inside, socket in list(sockets.items()):
        socket.sessions = {far: until for far, until in socket.sessions.items() if until > now}
        if not socket.sessions:
            del sockets[inside]
    return sum(len(socket.sessions) for socket in sockets.values())


def tide(now: int) -> int:
    """Packets in a second: so many that tables grow, then so few that nearly everything in them ends."""
    return 400 if now % 30 < 20 else 5


@pytest.mark.parametrize("seed", range(2))
def test_thousands_of_mappings_come_and_go(seed: int) -> None:
    rng = random.Random(seed)
    edge = Edge(config("203.0.113.10-203.0.113.50"), seed=seed)
    edge.set_pace(1, 1 << 20)  # all that are due end before the next packet
    sockets: dict[Endpoint, Socket] = {}
    reused, most = 0, 0
    for now in range(60):
        open_sessions = end_sessions(sockets, now)
        taken = {socket.outside for socket in sockets.values()}
        most = max(most, len(sockets))
        for _ in range(tide(now)):
            inside, far = (INSIDE + 256 + rng.randrange(900), 5000 + rng.randrange(4)), REMOTE + rng.randrange(6)
            (output,) = edge.process("LAN", udp_frame(*inside, far, 53), now * SECOND).outputs
            outside = source_of(output)
            socket = sockets.setdefault(inside, Socket())
            if socket.outside is not None:
                assert outside == socket.outside
                reused += far not in socket.sessions
            else:
                assert outside not in taken
                assert (outside[1] - inside[1]) % 2 == 0
                siblings = {
                    sockets[inside[0], port].outside for port in range(5000, 5004) if (inside[0], port) in sockets
                }
                assert {place[0] for place in siblings if place} <= {outside[0]}
                socket.outside = outside
                taken.add(outside)
            open_sessions += far not in socket.sessions
            socket.sessions[far] = now + LIFETIME
        assert edge.stats().sessions_open == open_sessions
    assert most > 1500  # the index of mappings has grown
    assert reused > 1000


@pytest.mark.parametrize("seed", range(2))
def test_thousands_of_sources_are_counted_while_they_come_and_go(seed: int) -> None:
    rng = random.Random(seed)
    edge = Edge(config("203.0.113.10-203.0.113.50", profile=Profile.NSX, max_sessions_per_source=3), seed=seed)
    edge.set_pace(1, 1 << 20)  # likewise
    sockets: dict[Endpoint, Socket] = {}
    refused, most = 0, 0
    for now in range(60):
        end_sessions(sockets, now)
        held = Counter(host for host, _ in sockets)
        most = max(most, len(held))
        for _ in range(tide(now)):
            inside = INSIDE + 256 + rng.randrange(2000), rng.randrange(1024, 65536)
            out = edge.process("LAN", udp_frame(*inside, REMOTE, 53), now * SECOND)
            if inside not in sockets and held[inside[0]] == 3:
                assert (out.verdict, out.reason) == (Verdict.DROP, Reason.SESSION_LIMIT)
                refused += 1
                continue
            assert out.verdict is Verdict.ALLOW
            held[inside[0]] += inside not in sockets
            sockets.setdefault(inside, Socket()).sessions[REMOTE] = now + LIFETIME
    assert most > 1000  # the table has grown twice
    assert refused > 300


@pytest.mark.parametrize("make", [Edge, ReferenceEdge])
@pytest.mark.parametrize("profile", list(Profile))
def test_sessions_learn_what_hairpins_when_an_address_becomes_the_edges_own(make: MakeEdge, profile: Profile) -> None:
    few = acme(
        uplinks=[uplink("INTERNET", "203.0.113.1/24 203.0.113.10-203.0.113.11")], firewall=[default_rule("ALLOW")]
    )
    more = acme(
        uplinks=[uplink("INTERNET", "203.0.113.1/24 203.0.113.10-203.0.113.12")], firewall=[default_rule("ALLOW")]
    )
    edge = make(with_options(few, profile=profile))
    packet = build_frame(parse_packet("udp 10.20.0.10:4000 > 203.0.113.12:53"))
    hairpins = []
    for now, running in enumerate((few, more, few, more)):
        edge.apply(with_options(running, profile=profile))
        out = edge.process("LAN", packet, now * SECOND)
        inside = any(step.result is StepResult.HAIRPIN for step in out.steps)
        leaves = [output.hairpin for output in out.outputs if output.port == "INTERNET"]
        hairpins.append((inside, leaves))
    if profile is Profile.NSX:
        assert hairpins == [(False, [False]), (False, [True]), (False, [False]), (False, [True])]
    else:
        assert hairpins == [(False, [False]), (True, []), (False, [False]), (True, [])]


@pytest.mark.parametrize("make", [Edge, ReferenceEdge])
def test_the_largest_answer_enters_again(make: MakeEdge) -> None:
    edge = make(config("203.0.113.10"))
    ping = build_frame(parse_packet("icmp 10.20.0.10 > 203.0.113.12 echo-request id=7 len=65507"))
    out = edge.process("LAN", ping, 0, unsegmented=True)
    assert (out.verdict, out.reason) == (Verdict.LOCAL, Reason.LOCAL_SERVICE)
    (answer,) = out.outputs
    assert answer.port == "LAN"
    assert answer.frame[30:34] == bytes((10, 20, 0, 10))
    assert answer.frame[14 + 28 :] == ping[14 + 28 :]


@pytest.mark.parametrize("make", [Edge, ReferenceEdge])
def test_every_session_of_a_mapping_counts_as_a_user_of_its_address(make: MakeEdge) -> None:
    edge = make(config("203.0.113.10-203.0.113.11"))

    def last_octet(host: int, port: int, far: int, now: int) -> int:
        (output,) = edge.process("LAN", udp_frame(INSIDE + 256 + host, port, REMOTE + far, 53), now * SECOND).outputs
        return source_of(output)[0] & 0xFF

    assert [last_octet(1, 1, 1, 0), last_octet(2, 1, 1, 0), last_octet(2, 1, 2, 5)] == [10, 11, 11]
    assert last_octet(3, 1, 1, 6) == 10  # one session each by machine, but two hold .11
    assert last_octet(4, 1, 1, 7) == 10  # now it is two and two
    # The first sessions are over: .10 has two of three left, .11 has one.
    assert last_octet(5, 1, 1, LIFETIME) == 11


def test_what_an_answer_meets_is_told_in_its_own_words() -> None:
    ping = build_frame(parse_packet("icmp 10.20.0.10 > 203.0.113.12 echo-request id=7"))
    out = Edge(config("203.0.113.10")).process("LAN", ping, 0)
    hit = out.steps[-1]
    assert hit.after is not None
    assert (str(hit.after.dst), hit.after.sport, hit.after.dport) == ("10.20.0.10", 7, 0)
    assert out == ReferenceEdge(config("203.0.113.10")).process("LAN", ping, 0)
