"""What is written as bytes is what the messages would be."""

from __future__ import annotations

import random
from typing import Any

import pytest

from edge.api import convert
from edge.api.session_wire import SessionWriter, varint
from edge.raw import SessionEvent
from edge.state import SessionEndCause, SessionEnded
from edge.v1 import edge_service_pb2 as pb
from edge.v1 import event_pb2


class Ran:
    """A configuration that ran, as far as sessions are told by it."""

    def __init__(self, *ports: str) -> None:
        self.ports = ports


WIRES: Any = [Ran("INTERNET", "LAN"), Ran("b", "a")]
IDS = ["rule-0", "", "rule-ü", "x" * 200]


def message(event: SessionEvent, wall_ns: int) -> event_pb2.Event:
    told = event.told()
    session = convert.session(told.session, event.now_ns, lambda now_ns: now_ns + wall_ns)
    time = convert.timestamp(wall_ns + event.now_ns)
    if isinstance(told, SessionEnded):
        ended = event_pb2.SessionEnded(session=session, cause=f"SESSION_END_CAUSE_{told.cause.name}")  # type: ignore[arg-type]
        return event_pb2.Event(time=time, session_ended=ended)
    return event_pb2.Event(time=time, session_started=event_pb2.SessionStarted(session=session))


def any_event(random: random.Random) -> SessionEvent:
    """Every field with small, large and no values."""

    def number(bits: int) -> int:
        return random.choice((0, 1, (1 << bits) - 1, random.getrandbits(random.randrange(1, bits + 1))))

    def ends(family: int) -> tuple[int, int, int, int, int]:
        bits = 32 if family == 4 else 128
        return family, number(bits), number(16), number(bits), number(16)

    def slot() -> int | None:
        return random.choice((None, 0, 1, 2, 3))

    family, protocol = random.choice((4, 6)), random.choice((0, 1, 6, 17, 58, 255))
    states = (0, 2) if protocol == 17 else random.choice(((2, 0), (4, 4), (10, 9)))
    raw: Any = (
        number(64), protocol, 8 if protocol == 1 else None, random.randrange(2), random.randrange(2),
        ends(family), ends(family), *states, slot(), slot(), slot(), number(32), number(62), number(62),
        (number(64), number(64)), (number(64), number(64)), (None, None),
    )  # fmt: skip
    started = random.random() < 0.5
    cause = 0 if started else random.choice(list(SessionEndCause)).value
    return SessionEvent(number(62), started, cause, raw, random.choice(WIRES), IDS)


@pytest.mark.parametrize("seed", range(20))
def test_an_event_is_the_same_either_way(seed: int) -> None:
    chance = random.Random(seed)
    writer = SessionWriter()
    events = [any_event(chance) for _ in range(200)]
    wall_ns = chance.choice((0, 1_700_000_000_123_456_789))
    response = pb.WatchEventsResponse.FromString(b"".join(writer.write(event, wall_ns) for event in events))
    assert list(response.events) == [message(event, wall_ns) for event in events]


@pytest.mark.parametrize("number", [0, 1, 127, 128, 16_383, 16_384, (1 << 28) - 1, 1 << 28, (1 << 64) - 1])
def test_numbers_of_any_size_are_written(number: int) -> None:
    assert pb.GetConfigRequest.FromString(b"\x08" + varint(number)).revision == number
