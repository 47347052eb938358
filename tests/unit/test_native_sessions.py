"""The native session table: whatever the timers, a session ends exactly when it is due, and is found until then."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest

from edge.bench.frames import udp_frame
from edge.compiler import Tables, compile_tables
from edge.verdicts import Reason, Verdict
from native.control import EVERY, copy_sessions, decode_sessions
from native.engine import Engine
from native.kinds import Timer
from native.program import Program
from tests.support import edge_config, network, rule, uplink

INTERNET, LAN = 0, 1
REMOTE = 198 << 24 | 51 << 16 | 100 << 8 | 1
SESSIONS = 200
Client = tuple[int, int]
"""Address and port of who opened a session."""


def draw_ns(rng: random.Random) -> int:
    """From one nanosecond to a year."""
    return rng.randrange(1, 1 << rng.randrange(1, 56))


class Clocked:
    """An engine whose UDP timers can be set to the nanosecond, and a plain list of when its sessions are to end."""

    def __init__(self, seed: int) -> None:
        config = edge_config(
            uplinks=[uplink("INTERNET", "203.0.113.1/24 203.0.113.10")],
            networks=[network("LAN", "10.20.0.1/16")],
            firewall=[rule("out", source="10.20.0.0/16")],
        )
        self.tables: Tables = compile_tables(config)
        self.slots = {name: slot for slot, name in enumerate(self.tables.rule_ids())}
        self.rng = random.Random(seed)
        self.now = self.rng.randrange(1 << 60)
        self.expected: dict[Client, int] = {}
        self.engine = Engine(seed)
        self.engine.reserve(len(self.slots), 0, SESSIONS, 1, ports=16)
        self.first: Program | None = None
        self.first = self._program(1)
        self.engine.swap(self.first, [], False)

    def _program(self, lifetime_ns: int) -> Program:
        timers = list(self.tables.options.timers_ns)
        for timer in (Timer.TM_UDP_FIRST, Timer.TM_UDP_SINGLE, Timer.TM_UDP_MULTIPLE):
            timers[timer] = lifetime_ns
        options = replace(self.tables.options, timers_ns=tuple(timers), max_sessions=SESSIONS)
        return Program(replace(self.tables, options=options), self.slots, {}, 1, self.first)

    def send(self, client: Client, *, back: bool = False) -> Reason:
        """One packet of a session, which then is to live for a time that is drawn."""
        lifetime = draw_ns(self.rng)
        self.engine.swap(self._program(lifetime), [INTERNET, LAN], False)
        port = INTERNET if back else LAN
        frame = udp_frame(REMOTE, 53, *client) if back else udp_frame(*client, REMOTE, 53)
        verdict, reason, _, _ = self.engine.process(port, frame, self.now)
        assert verdict == Verdict.ALLOW
        self.expected[client] = self.now + lifetime
        return Reason(reason)

    def drop_due(self) -> int:
        """Take what is due off the list; how many that were."""
        due = [client for client, expires in self.expected.items() if expires <= self.now]
        for client in due:
            del self.expected[client]
        return len(due)

    def sessions(self) -> dict[Client, int]:
        """The sessions of the engine, and when each ends."""
        return {
            (row[5][1], row[5][2]): row[14]
            for row in decode_sessions(copy_sessions(self.engine, 0, 1 << 20, 1 << 20, EVERY)[0])
        }


@pytest.mark.parametrize("seed", range(8))
def test_sessions_end_exactly_when_they_are_due(seed: int) -> None:
    table = Clocked(seed)
    rng = table.rng
    ended = 0
    for _ in range(200):
        while len(table.expected) < SESSIONS:
            client = 10 << 24 | 20 << 16 | rng.randrange(256, 1 << 16), rng.randrange(1, 1 << 16)
            if client not in table.expected:
                assert table.send(client) is Reason.FW_RULE
        for client in rng.sample(sorted(table.expected), 8):
            assert table.send(client, back=rng.random() < 0.5) is Reason.SESSION
        table.now += rng.randrange(1 << rng.randrange(1, 56))
        ended += table.drop_due()
        if table.expected:
            assert table.send(rng.choice(sorted(table.expected))) is Reason.SESSION
            assert table.sessions() == table.expected
    assert ended > 1000
