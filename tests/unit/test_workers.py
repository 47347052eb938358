"""Workers refuse what would leave them with each other's state."""

from __future__ import annotations

from array import array
from concurrent.futures import ThreadPoolExecutor

import pytest

from edge.runtime import Edge
from edge.workers import Workers
from native.engine import Engine
from native.port import Ports
from native.steer import Steerer
from native.team import Team
from tests.support import acme

NOWHERE: tuple[list[tuple[int, int]], list[tuple[int, int]]] = ([], [])


def test_an_engine_is_one_worker() -> None:
    engine = Engine(1)
    with pytest.raises(ValueError, match="2 engines are not 2 workers"):
        Team([engine, engine], Steerer(2, NOWHERE, 1))
    with pytest.raises(ValueError, match="0 engines are not 2 workers"):
        Team([], Steerer(2, NOWHERE, 1))
    with pytest.raises(ValueError, match="only a new engine"):
        Team([Edge(acme())._engine], Steerer(1, NOWHERE, 1))
    with pytest.raises(ValueError, match="one seed"):
        Team([Engine(1), Engine(2)], Steerer(2, NOWHERE, 1))


def test_a_worker_gets_its_configuration_with_the_others() -> None:
    """Behind the team's back it would run rules that the others do not, or have room that they have not."""
    workers = Workers(acme(), 2, seed=1)
    program = workers._program
    assert program is not None
    for engine in workers._team.engines:
        with pytest.raises(RuntimeError, match="from their team"):
            engine.swap(program, [0, 1], False)
        with pytest.raises(RuntimeError, match="from their team"):
            engine.reserve(1000, 10, 10, 10)
    with pytest.raises(ValueError, match="there are 2 workers"):
        workers._team.swap(program, [0, 1], False, Steerer(3, NOWHERE, 1), Steerer(3, NOWHERE, 1))
    assert workers.stats().reasons == {}


def test_what_measures_or_replays_one_engine_is_not_for_several() -> None:
    workers = Workers(acme(), 2, seed=1)
    with pytest.raises(RuntimeError, match="one worker is measured"):
        workers.time_bursts([bytes(60)], ["LAN"], [0], trials=1, bursts=1)
    with pytest.raises(RuntimeError, match="one worker"):
        workers.replay(None)  # type: ignore[arg-type]


def test_workers_that_do_what_one_would_have_no_threads_of_their_own() -> None:
    """Each has the first one's looks at sessions that may be over: in a thread of its own it would end none."""
    workers = Workers(acme(), 2, seed=1, one_sequence=True)
    ports = Ports(0)
    ports.stop()
    with pytest.raises(RuntimeError, match="run by one thread"):
        workers.forward(ports, 1)
    with pytest.raises(RuntimeError, match="run by one thread"):
        workers.lane(0)
    assert not workers.forwarding


def test_a_worker_that_cannot_begin_lets_the_others_go() -> None:
    workers = Workers(acme(), 2, seed=1)
    frames, nothing = [bytes(60)], array("I", [0])
    with ThreadPoolExecutor(2) as threads:
        waits = threads.submit(workers.lane(0).time_bursts, frames, array("H", [0]), nothing, 0, 1, 1)
        fails = threads.submit(workers.lane(1).time_bursts, frames, array("H", [99]), nothing, 0, 1, 1)
        with pytest.raises(ValueError, match="no port 99"):
            fails.result(60)
        with pytest.raises(RuntimeError, match="another worker"):
            waits.result(60)
    assert not workers.stats().reasons, "nobody has begun"


def test_a_worker_at_work_in_a_thread_is_left_alone() -> None:
    workers = Workers(acme(), 2, seed=1)
    with ThreadPoolExecutor(1) as threads:
        waits = threads.submit(workers.lane(0).time_bursts, [bytes(60)], array("H", [0]), array("I", [0]), 0, 1, 1)
        refused = False
        while not refused and not waits.done():
            try:
                workers.stats()
            except RuntimeError:
                refused = True
        with pytest.raises(ValueError, match="no port 99"):
            workers.lane(1).time_bursts([bytes(60)], array("H", [99]), array("I", [0]), 0, 1, 1)
        with pytest.raises(RuntimeError, match="another worker"):
            waits.result(60)
    assert refused
