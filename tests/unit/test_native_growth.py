"""The index of the session table grows a bucket at a time: whatever is in which half, every live session is found."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest

from edge.bench.frames import udp_frame
from edge.compiler import compile_tables
from edge.verdicts import Reason
from native.engine import Engine
from native.kinds import Timer
from native.program import Program
from native.snapshot import Blank, copy_engine
from tests.support import edge_config, network, rule, uplink

INTERNET, LAN = 0, 1
REMOTE = 198 << 24 | 51 << 16 | 100 << 8 | 1
SESSIONS = 6000
LIFETIME_NS = 30_000_000_000
EACH_NS = 10_000_000
"""Between two new sessions, so that 3,000 live at once: the index moves at 1,280 and again at 2,560."""

Client = tuple[int, int]
"""Address and port of who opened a session."""


def engine_of(seed: int) -> Engine:
    """An engine whose UDP sessions live for 30 seconds from their last packet."""
    config = edge_config(
        uplinks=[uplink("INTERNET", "203.0.113.1/24 203.0.113.10")],
        networks=[network("LAN", "10.20.0.1/16")],
        firewall=[rule("out", source="10.20.0.0/16")],
    )
    tables = compile_tables(config)
    timers = list(tables.options.timers_ns)
    for timer in (Timer.TM_UDP_FIRST, Timer.TM_UDP_SINGLE, Timer.TM_UDP_MULTIPLE):
        timers[timer] = LIFETIME_NS
    options = replace(tables.options, timers_ns=tuple(timers), max_sessions=SESSIONS)
    slots = {name: slot for slot, name in enumerate(tables.rule_ids())}
    engine = Engine(seed)
    engine.reserve(len(slots), 0, SESSIONS, 1, ports=16)
    engine.swap(Program(replace(tables, options=options), slots, {}, 1), [], False)
    return engine


def send(engine: Engine, client: Client, now: int, *, back: bool = False) -> Reason:
    """One packet of a session, or its first."""
    frame = udp_frame(REMOTE, 53, *client) if back else udp_frame(*client, REMOTE, 53)
    return Reason(engine.process(INTERNET if back else LAN, frame, now)[1])


@pytest.mark.parametrize("seed", range(3))
def test_every_session_is_found_while_the_index_grows(seed: int) -> None:
    rng = random.Random(seed)
    engine = engine_of(seed)
    now = 1
    expires: dict[Client, int] = {}
    clients = [(10 << 24 | 20 << 16 | 256 + number % 60_000, 1 + number) for number in range(5000)]
    for number, client in enumerate(clients):
        now += EACH_NS
        assert send(engine, client, now) is Reason.FW_RULE
        expires[client] = now + LIFETIME_NS
        known = clients[rng.randrange(number + 1)]
        lives = expires[known] > now
        answer = send(engine, known, now, back=rng.random() < 0.5 and lives)
        assert answer is (Reason.SESSION if lives else Reason.FW_RULE)
        expires[known] = now + LIFETIME_NS
    assert sum(end > now for end in expires.values()) > 2560


def test_a_copy_made_while_the_index_grows_has_every_session() -> None:
    engine = engine_of(1)
    clients = [(10 << 24 | 20 << 16 | 256 + number, 53) for number in range(1500)]
    for number, client in enumerate(clients):
        assert send(engine, client, 1) is Reason.FW_RULE
        if number in (1279, 1280, 1400, 1499):  # before, at the beginning, halfway
            copy = copy_engine(engine, Blank(engine))
            del engine
            engine = copy
    for client in clients:
        assert send(engine, client, 2) is Reason.SESSION
        assert send(engine, client, 2, back=True) is Reason.SESSION
