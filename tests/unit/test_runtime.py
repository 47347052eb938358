"""What an edge promises beside verdicts: one thread at a time, memory that is given back, nothing lost in silence."""

from __future__ import annotations

import os
import resource
import struct
import subprocess
import sys
import threading
from array import array
from pathlib import Path

import pytest

from edge.captures import open_capture
from edge.checks import check
from edge.errors import NoPortError
from edge.packets import build_frame, parse_packet
from edge.runtime import Edge
from native.engine import Engine
from tests.support import SECOND, acme, edge_config, nat, rule, with_options

ROOT = Path(__file__).resolve().parents[2]


def frame(text: str) -> bytes:
    return build_frame(parse_packet(text))


def capture_of(packet: bytes) -> bytes:
    head = struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 65535, 1)
    return head + struct.pack("<IIII", 0, 0, len(packet), len(packet)) + packet


def test_an_edge_at_work_refuses_other_threads(tmp_path: Path) -> None:
    pipe = tmp_path / "capture"
    os.mkfifo(pipe)
    edge = Edge(acme())

    def replay() -> None:
        with open_capture(pipe) as reader:
            edge.replay(reader)

    worker = threading.Thread(target=replay)
    worker.start()
    with pipe.open("wb", buffering=0) as writer:
        writer.write(capture_of(frame("udp 10.20.0.10:4000 > 8.8.8.8:53")))
        refused = 0
        while not refused:  # until the worker has begun to wait for a packet
            try:
                edge.stats()
            except RuntimeError:
                refused += 1
        with pytest.raises(RuntimeError, match="at work in another thread"):
            edge.apply(acme())
    worker.join()
    assert edge.stats().sessions_open == 1


def test_a_replay_waits_for_whoever_has_a_turn(tmp_path: Path) -> None:
    # Who has one may work without the interpreter's lock, at a swap or a copy: nothing may move under it.
    capture = tmp_path / "capture"
    capture.write_bytes(capture_of(frame("udp 10.20.0.10:4000 > 8.8.8.8:53")))
    edge = Edge(acme())

    def replay() -> None:
        with open_capture(capture) as reader:
            edge.replay(reader)

    worker = threading.Thread(target=replay)
    with edge.turn():
        worker.start()
        while worker.is_alive() and edge._engine.waiting_turns < 2:
            pass
        assert edge.stats().sessions_open == 0
        waits = worker.is_alive()
    worker.join()
    assert waits
    assert edge.stats().sessions_open == 1


def test_a_capture_needs_a_program(tmp_path: Path) -> None:
    bare = Engine(1)
    capture = tmp_path / "capture"
    capture.write_bytes(capture_of(frame("udp 10.20.0.10:4000 > 8.8.8.8:53")))
    with open_capture(capture) as reader, pytest.raises(RuntimeError, match="no program"):
        bare.replay(reader, 0, True, 1)


def test_an_edge_without_ports_is_refused_and_the_old_configuration_stays() -> None:
    empty = edge_config(uplinks=[])
    with pytest.raises(NoPortError, match="neither uplinks nor networks"):
        Edge(empty)
    edge = Edge(acme())
    with pytest.raises(NoPortError):
        edge.apply(empty)
    assert edge.revision == 1
    assert [problem.code for problem in check(empty)] == ["NO_PORT"]


def test_the_engine_checks_what_it_is_asked() -> None:
    bare = Engine(1)
    with pytest.raises(RuntimeError, match="no program"):
        bare.process(0, b"", 0)
    edge = Edge(acme())
    packet = frame("udp 10.20.0.10:4000 > 8.8.8.8:53")
    with pytest.raises(ValueError, match="no port"):
        edge.process("NOWHERE", packet, 0)
    with pytest.raises(ValueError, match="no port 9"):
        edge._engine.process(9, packet, 0)
    with pytest.raises(ValueError, match="larger than any"):
        edge.process("LAN", bytes(70_000), 0)
    for order in ([], [1]):
        with pytest.raises(ValueError, match="order has to name frames"):
            edge.time_bursts([packet], ["LAN"], order, trials=1, bursts=1)
    with pytest.raises(ValueError, match="needs a port"):
        edge._engine.time_bursts([packet], array("H"), array("I", [0]), 1, 1)
    with pytest.raises(ValueError, match="is set aside, or not"):
        edge.time_bursts([packet], ["LAN"], [0], trials=1, bursts=1, aside=b"\0\1")
    with pytest.raises(ValueError, match="at most 4096 bytes"):
        edge.time_bursts([bytes(9000)], ["LAN"], [0], trials=1, bursts=1)


def test_events_that_nobody_fetched_are_counted() -> None:
    edge = Edge(acme(firewall=[rule("closed", "DROP", logging=True)]))
    packet = frame("udp 10.20.0.10:4000 > 8.8.8.8:53")
    edge.process_batch([("LAN", packet)] * 66_000, 5, outputs=False)
    events, lost = edge.take_events()
    assert (len(events), lost) == (65_536, 464)
    edge.process("LAN", packet, 6000)
    events, lost = edge.take_events()
    assert (len(events), lost, events[0].now_ns) == (1, 0, 6000)


def test_slots_of_addresses_are_used_again_once_nobody_holds_them() -> None:
    def pool(number: int) -> list[object]:
        return [nat("out", "SNAT", f"198.18.{number}.0/24", "10.20.0.0/24")]

    edge = Edge(acme(nat_rules=pool(0)))
    opened = edge.process("LAN", frame("udp 10.20.0.10:4000 > 8.8.8.8:53"), 0)
    for number in range(1, 20):
        edge.apply(acme(nat_rules=pool(number)))
    # The session lives on with an address of the first pool: that slot, and the two pools of the last change.
    assert len(edge._bindings.usage) == 1 + 256 + 256
    assert len(edge.sessions()) == 1
    assert opened.outputs[0].frame[26:28] == bytes((198, 18))
    edge.process("LAN", frame("udp 10.20.0.10:4001 > 8.8.8.8:53"), 31 * SECOND)
    edge.apply(acme(nat_rules=pool(20)))
    edge.apply(acme(nat_rules=pool(21)))
    third_octets = {address >> 8 & 0xFF for _, address in edge._bindings.usage}
    assert third_octets == {19, 20, 21}  # the second session holds one of the 19th; the first one has ended


def test_too_little_memory_is_an_error_with_a_name() -> None:
    program = (
        "import resource; from tests.support import acme, with_options; from edge.runtime import Edge\n"
        "from edge.errors import ResourceError\n"
        "small, large = acme(), with_options(acme(), max_sessions=16_000_000)\n"
        "edge = Edge(small)\n"
        "resource.setrlimit(resource.RLIMIT_AS, (1 << 30, resource.getrlimit(resource.RLIMIT_AS)[1]))\n"
        "try:\n    edge.apply(large)\nexcept ResourceError as error:\n    print(error.reason, error)\n"
        "print(edge.revision, edge.config is small)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout.splitlines() == [
        "RESOURCE_EXHAUSTED no memory for this configuration: no address space for 16000000 sessions",
        "1 True",
    ]
    assert resource.getrlimit(resource.RLIMIT_AS)[0] != 1 << 30


def test_too_little_memory_for_mappings_leaves_the_edge_as_it_was() -> None:
    program = (
        "import resource; from tests.support import acme, with_options; from edge.runtime import Edge\n"
        "from edge.errors import ResourceError; from edge.model import Profile; from edge.packets import *\n"
        "plain = with_options(acme(), max_sessions=4_000_000)\n"
        "edge = Edge(plain)\n"
        "resource.setrlimit(resource.RLIMIT_AS, (3 << 29, resource.getrlimit(resource.RLIMIT_AS)[1]))\n"
        "try:\n    edge.apply(with_options(plain, profile=Profile.STRICT_RFC, max_sessions_per_source=1))\n"
        "except ResourceError as error:\n    print(error.reason, error)\n"
        "for far in ('8.8.8.8', '8.8.4.4'):\n"
        "    frame = build_frame(parse_packet(f'udp 10.20.0.10:4000 > {far}:53'))\n"
        "    print(edge.revision, edge.process('LAN', frame, 0).verdict.name)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout.splitlines() == [
        "RESOURCE_EXHAUSTED no memory for this configuration: no address space for 4000000 mappings",
        "1 ALLOW",
        "1 ALLOW",
    ]


def test_room_for_more_sessions_keeps_those_that_are_open() -> None:
    edge = Edge(acme())
    edge.process("LAN", frame("udp 10.20.0.10:4000 > 8.8.8.8:53"), 0)
    before = edge.sessions()
    edge.apply(with_options(acme(), max_sessions=4_000_000))
    assert edge.sessions() == before
