"""Whose engine it is: turns beside a worker that forwards, in the order of asking."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from edge.forwarder import Forwarder
from edge.runtime import Edge
from native import control
from native.engine import Engine
from native.port import Ports
from tests.support import acme

PATIENCE = 20.0


@pytest.fixture
def edge() -> Iterator[Edge]:
    made = Edge(acme())
    with Forwarder(made, []):
        yield made


def test_without_a_worker_everything_goes_without_a_turn() -> None:
    edge = Edge(acme())
    assert edge.sessions() == []
    with edge.turn(), edge.turn():
        assert edge.sessions() == []


def test_beside_a_worker_a_turn_is_needed(edge: Edge) -> None:
    engine = edge._engine
    with pytest.raises(RuntimeError, match="at work in another thread"):
        control.rule_counters(engine)
    assert edge.sessions() == [], "an edge takes a turn by itself"
    with edge.turn():
        assert edge.sessions() == []
        with edge.turn():
            assert edge.sessions() == []
        assert edge.sessions() == [], "the inner turn has given back the outer one"
    with pytest.raises(RuntimeError, match="at work in another thread"):
        control.rule_counters(engine)


def test_what_was_not_taken_cannot_be_given_back() -> None:
    engine = Engine(1)
    with pytest.raises(RuntimeError, match="has not got the turn"):
        engine.give_turn()
    engine.take_turn()
    refused: list[bool] = []

    def give() -> None:
        try:
            engine.give_turn()
        except RuntimeError:
            refused.append(True)

    thread = threading.Thread(target=give)
    thread.start()
    thread.join()
    assert refused == [True]
    engine.give_turn()


def test_one_has_it_at_a_time_and_nobody_is_left_out(edge: Edge) -> None:
    inside = 0
    most = 0
    done: list[int] = []

    def work(number: int) -> None:
        nonlocal inside, most
        for _ in range(50):
            with edge.turn():
                inside += 1
                most = max(most, inside)
                edge.stats()
                inside -= 1
        done.append(number)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)
    assert sorted(done) == [0, 1, 2, 3]
    assert most == 1


def test_those_who_wait_get_it_in_the_order_of_asking() -> None:
    engine = Engine(1)
    order: list[int] = []
    engine.take_turn()
    threads = []
    for number in range(5):
        asked = threading.Event()

        def wait(number: int = number, asked: threading.Event = asked) -> None:
            asked.set()
            with engine:
                order.append(number)

        threads.append(threading.Thread(target=wait))
        threads[-1].start()
        assert asked.wait(PATIENCE)
        while engine.waiting_turns <= number + 1:  # those who wait, and who has it
            pass
    engine.give_turn()
    for thread in threads:
        thread.join(PATIENCE)
    assert order == [0, 1, 2, 3, 4]


def test_only_one_worker(edge: Edge) -> None:
    with pytest.raises(RuntimeError, match="forwards already"):
        edge.forward(Ports(1))
    with edge.turn(), pytest.raises(RuntimeError, match="would wait for itself"):
        edge.forward(Ports(1))
