"""What is written as bytes is what the messages would be, byte for byte."""

from __future__ import annotations

import ctypes
import random
import re
from pathlib import Path
from typing import Any

import pytest

from edge.api import convert
from edge.document import loads
from edge.raw import SessionRun, runtime_events
from edge.runtime import Edge
from edge.state import TCP_STATES, SessionEndCause, SessionEnded, SessionMatch, SessionStarted
from edge.v1 import edge_service_pb2 as pb
from edge.v1 import event_pb2
from native import control
from native.event_wire import encode_sessions
from tests.api.served import out_frame
from tests.support import SAMPLE

NATIVE = Path(__file__).parents[2] / "native"
STATES = [TCP_STATES.get(number, "") for number in range(11)]
STARTED, ENDED, TCP, UDP, ICMP_QUERY, ICMP_REPLY, OTHER = 1, 2, 0, 1, 2, 3, 6
KINDS = {6: TCP, 17: UDP, 1: ICMP_QUERY, 58: ICMP_REPLY}
NONE = 0xFFFFFFFF


def structure(file: str, name: str, **known: Any) -> Any:
    """A record as a .pxd declares it."""
    text = (NATIVE / file).read_text(encoding="utf-8")
    found = re.search(rf"^ctypedef (?:struct|union) {name}:\n((?:    .*\n)+)", text, re.MULTILINE)
    assert found, name
    numbers = {match[1]: int(match[2]) for match in re.finditer(r"^    (\w+) = (\d+)\b", text, re.MULTILINE)}
    fields = []
    for kind, field, size in re.findall(r"^    (\w+) (\w+)(?:\[(\w+)\])?(?: .*)?$", found[1], re.MULTILINE):
        what = known.get(kind) or getattr(ctypes, "c_" + kind.removesuffix("_t"))
        fields.append((field, what * (int(size) if size.isdecimal() else numbers[size]) if size else what))
    base = ctypes.Union if "union" in found[0] else ctypes.Structure
    return type(name, (base,), {"_fields_": fields})


Key = structure("packet.pxd", "Key")
Flow = structure("session.pxd", "Flow", Key=Key)
Session = structure("session.pxd", "Session", Flow=Flow)
Logged = structure("events.pxd", "LoggedPacket", Key=Key)
Limit = structure("events.pxd", "ReachedLimit")
Body = structure("events.pxd", "EventBody", LoggedPacket=Logged, Session=Session, ReachedLimit=Limit)
Event = structure("events.pxd", "Event", EventBody=Body)


class Ran:
    """A configuration that ran, as far as sessions are told by it."""

    def __init__(self, *ports: str) -> None:
        self.ports = list(ports)


RUNNING: Any = Ran("INTERNET", "LAN-ü")
IDS = ["rule-0", "", "rule-ü", "x" * 3_000]


def message(event: SessionStarted | SessionEnded, wall_ns: int) -> event_pb2.Event:
    session = convert.session(event.session, event.now_ns, lambda now_ns: now_ns + wall_ns)
    time = convert.timestamp(wall_ns + event.now_ns)
    if isinstance(event, SessionEnded):
        ended = event_pb2.SessionEnded(session=session, cause=f"SESSION_END_CAUSE_{event.cause.name}")  # type: ignore[arg-type]
        return event_pb2.Event(time=time, session_ended=ended)
    return event_pb2.Event(time=time, session_started=event_pb2.SessionStarted(session=session))


def written(run: SessionRun, wall_ns: int, *, started: bool = True, ended: bool = True) -> bytes:
    return encode_sessions(
        run.records, run.first, run.count, wall_ns, run.running.ports, run.slot_ids, STATES, started, ended
    )


def expected(run: SessionRun, wall_ns: int) -> bytes:
    return pb.WatchEventsResponse(events=[message(event, wall_ns) for event in run.told()]).SerializeToString()


def any_event(chance: random.Random) -> Any:
    """Every field with small, large and no values."""

    def number(bits: int) -> int:
        return chance.choice((0, 1, (1 << bits) - 1, chance.getrandbits(chance.randrange(1, bits + 1))))

    def address(family: int) -> tuple[int, int]:
        if family == 4:
            return 0, number(32)
        if chance.random() < 0.5:
            groups = [chance.choice((0, 0, chance.getrandbits(16))) for _ in range(8)]
            value = sum(group << 16 * place for place, group in enumerate(groups))
        else:
            value = chance.choice((number(128), 0xFFFF << 32 | number(32)))
        return value >> 64, value & (1 << 64) - 1

    def key(family: int, protocol: int) -> Any:
        (src_hi, src_lo), (dst_hi, dst_lo) = address(family), address(family)
        meta = number(16) << 48 | number(16) << 32 | protocol << 24 | family << 16
        return Key(meta=meta, src_hi=src_hi, src_lo=src_lo, dst_hi=dst_hi, dst_lo=dst_lo)

    family, protocol = chance.choice((4, 6)), chance.choice((0, 1, 6, 17, 58, 255))
    states = chance.choice(((2, 0), (4, 4), (10, 9))) if protocol == 6 else (0, 2)
    flows = (Flow * 2)(*(Flow(key=key(family, protocol), out_port=chance.randrange(2)) for _ in range(2)))
    slots = [chance.choice((NONE, *range(len(IDS)))) for _ in range(3)]
    session = Session(
        flow=flows,
        kind=KINDS.get(protocol, OTHER),
        state=states,
        expires=number(62),
        created=number(62),
        packets=(number(64), number(64)),
        bytes=(number(64), number(64)),
        revision=number(32),
        fw_slot=slots[0],
        dnat_slot=slots[1],
        snat_slot=slots[2],
    )
    kind = chance.choice((STARTED, ENDED))
    cause = chance.choice(list(SessionEndCause)).value
    return Event(now=number(62), id=number(64), kind=kind, cause=cause, body=Body(session=session))


@pytest.mark.parametrize("seed", range(20))
def test_any_event_is_what_its_message_would_be(seed: int) -> None:
    chance = random.Random(seed)
    records = bytes((Event * 200)(*(any_event(chance) for _ in range(200))))
    (run,) = runtime_events(records, RUNNING, IDS)
    assert isinstance(run, SessionRun)
    assert len(run) == 200
    wall_ns = chance.choice((0, 1_700_000_000_123_456_789))
    assert written(run, wall_ns) == expected(run, wall_ns)
    part = run.part(17, 61)
    assert written(part, wall_ns) == expected(part, wall_ns)


def test_the_events_of_an_edge_are_what_their_messages_would_be() -> None:
    edge = Edge(loads(SAMPLE).config)
    edge.watch_sessions = True
    frames = [(frame.port, frame.data) for frame in map(out_frame, range(100))]
    edge.process_batch(frames, 1_000_000, outputs=False)
    edge.delete_sessions(SessionMatch())
    (run,), lost = edge.take_raw_events()
    assert isinstance(run, SessionRun)
    assert (len(run), lost) == (200, 0)
    assert written(run, 10**18) == expected(run, 10**18)
    for fields, kind in (({"started": False}, "session_ended"), ({"ended": False}, "session_started")):
        only = pb.WatchEventsResponse.FromString(written(run, 0, **fields)).events
        assert [event.WhichOneof("event") for event in only] == [kind] * 100


def test_numbers_that_nothing_has_are_refused() -> None:
    (run,) = runtime_events(bytes(any_event(random.Random(3))), RUNNING, IDS)
    assert isinstance(run, SessionRun)
    with pytest.raises(IndexError, match="number"):
        encode_sessions(run.records, 0, 1, 0, [], IDS, STATES)
    for first, count in ((0, 2), (-1, 1), (1, 1), (0, -1)):
        with pytest.raises(ValueError, match="no"):
            encode_sessions(run.records, first, count, 0, RUNNING.ports, IDS, STATES)
        with pytest.raises(ValueError, match="no"):
            list(control.decode_session_events(run.records, first, count))
