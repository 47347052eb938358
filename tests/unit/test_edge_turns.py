"""Threads that ask one edge at a time wait for each other; nobody is refused."""

from __future__ import annotations

import threading
from collections.abc import Callable

from edge.runtime import Edge
from edge.state import SessionMatch
from tests.support import acme

ROUNDS = 60


def test_whoever_asks_while_the_edge_is_copied_waits() -> None:
    edge = Edge(acme())
    failures: list[BaseException] = []

    def again_and_again(call: Callable[[], object]) -> None:
        try:
            for _ in range(ROUNDS):
                call()
        except BaseException as error:  # noqa: BLE001 - told by the test
            failures.append(error)

    calls: list[Callable[[], object]] = [
        edge.snapshot,
        edge.snapshot,
        edge.stats,
        edge.take_events,
        edge.sessions_page,
        lambda: edge.delete_sessions(SessionMatch()),
        lambda: edge.apply(edge.config),
    ]
    threads = [threading.Thread(target=again_and_again, args=(call,)) for call in calls]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
