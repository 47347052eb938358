"""The ring of events: everyone reads at their own pace, and is told what is missing."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from edge import events
from edge.errors import InvalidResumeTokenError
from edge.events import Batch, EventLog, EventReader, Gap
from edge.raw import SessionRun


class Source:
    """An edge's events, by hand."""

    def __init__(self) -> None:
        self.watch_sessions = False
        self.waiting: list[Any] = []
        self.lost = 0
        self.begun = 0

    def take_raw_events(self) -> tuple[list[Any], int]:
        taken, self.waiting = self.waiting, []
        lost, self.lost = self.lost, 0
        return taken, lost

    def sessions_begun(self) -> int:
        return self.begun


def run(test: Callable[[], Coroutine[Any, Any, None]]) -> None:
    asyncio.run(test())


async def batch(reader: EventReader) -> Batch:
    return await reader.next(5)


async def all_of(reader: EventReader, count: int) -> list[Any]:
    found: list[Any] = []
    while len(found) < count:
        found += (await batch(reader)).events
    return found


def test_every_reader_gets_everything_in_order() -> None:
    async def test() -> None:
        log = EventLog(None)
        log.add("before")
        with log.watch() as one, log.watch() as two:
            for number in range(5):
                log.add(number)
            assert (await batch(one)).events == [0, 1, 2, 3, 4]
            log.add(5)
            assert (await batch(one)).events == [5]
            assert (await batch(two)).events == [0, 1, 2, 3, 4, 5]

    run(test)


def test_a_reader_waits_for_events() -> None:
    async def test() -> None:
        log = EventLog(None)
        with log.watch() as reader:
            waiting = asyncio.create_task(batch(reader))
            await asyncio.sleep(0)
            assert not waiting.done()
            log.add("news")
            assert (await waiting).events == ["news"]

    run(test)


def test_a_quiet_time_ends_in_an_empty_batch_and_so_does_a_stop() -> None:
    async def test() -> None:
        log = EventLog(None)
        with log.watch() as reader:
            quiet = await reader.next(0.001)
            assert quiet.events == []
            stopping = asyncio.Event()
            waiting = asyncio.create_task(reader.next(60, stopping))
            stopping.set()
            assert (await waiting).events == []
        log.add("later")
        with log.watch(quiet.token) as reader:
            assert (await batch(reader)).events == ["later"]

    run(test)


def test_a_token_resumes_right_behind_its_batch() -> None:
    async def test() -> None:
        log = EventLog(None)
        with log.watch() as reader:
            log.add(1)
            token = (await batch(reader)).token
            log.add(2)
            await batch(reader)
        log.add(3)
        with log.watch(token) as reader:
            assert (await batch(reader)).events == [2, 3]

    run(test)


def test_who_falls_behind_is_told_how_much_is_missing() -> None:
    async def test() -> None:
        log = EventLog(None, size=10)
        with log.watch() as slow:
            for number in range(35):
                log.add(number)
            found = list((await batch(slow)).events)
            gap = found.pop(0)
            assert isinstance(gap, Gap)
            assert gap.lost + len(found) == 35
            assert found == list(range(gap.lost, 35))
            assert len(found) >= 10

    run(test)


def test_a_token_from_before_the_ring_begins_with_a_gap() -> None:
    async def test() -> None:
        log = EventLog(None, size=4)
        with log.watch() as reader:
            token = (await reader.next(0)).token
        for number in range(20):
            log.add(number)
        with log.watch(token) as reader:
            first, *rest = (await batch(reader)).events
            assert (type(first), first.lost + len(rest)) == (Gap, 20)

    run(test)


def test_a_token_of_an_earlier_process_begins_with_an_unknown_gap() -> None:
    async def test() -> None:
        with EventLog(None).watch() as reader:
            token = (await reader.next(0)).token
        log = EventLog(None)
        log.add("since the start")
        with log.watch(token) as reader:
            (gap,) = (await batch(reader)).events
            assert (type(gap), gap.lost) == (Gap, 0)
            assert (await batch(reader)).events == ["since the start"]

    run(test)


@pytest.mark.parametrize(
    "token", ["x", ":", "a:b", f"{'0' * 32}:", f"{'0' * 32}:-1", f"{'0' * 32}:1e3", f"{'g' * 32}:1"]
)
def test_a_token_that_was_never_handed_out_is_refused(token: str) -> None:
    async def test() -> None:
        with pytest.raises(InvalidResumeTokenError), EventLog(None).watch(token):
            pass

    run(test)


def test_a_token_ahead_of_everything_is_refused() -> None:
    async def test() -> None:
        log = EventLog(None)
        with log.watch() as reader:
            token = (await reader.next(0)).token
        ahead = token.rpartition(":")[0] + ":1"
        with pytest.raises(InvalidResumeTokenError, match="never"), log.watch(ahead):
            pass

    run(test)


def test_batches_are_bounded() -> None:
    async def test() -> None:
        log = EventLog(None)
        with log.watch() as reader:
            for number in range(events.MAX_BATCH + 7):
                log.add(number)
            assert len((await batch(reader)).events) == events.MAX_BATCH
            assert len((await batch(reader)).events) == 7

    run(test)


def test_an_edge_that_is_seldom_asked_is_asked_at_once_when_somebody_reads() -> None:
    async def test() -> None:
        source = Source()
        log = EventLog(source, idle_period_s=3_600)
        log.start()
        await asyncio.sleep(0.01)
        source.waiting = ["a"]
        with log.watch() as reader:
            assert await all_of(reader, 1) == ["a"]
        await log.close()

    run(test)


def test_the_edge_is_asked_while_somebody_reads_and_its_losses_are_told() -> None:
    async def test() -> None:
        source = Source()
        log = EventLog(source)
        log.start()
        with log.watch() as reader:
            assert source.watch_sessions
            source.waiting = ["a", "b"]
            assert await all_of(reader, 2) == ["a", "b"]
            source.lost, source.waiting = 3, ["z"]
            event, gap = await all_of(reader, 2)
            assert (event, gap.lost) == ("z", 3)
        await log.close()

    run(test)


def test_what_happens_while_nobody_reads_is_kept_for_who_resumes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(events, "IDLE_PERIOD_S", 0.001)

    async def test() -> None:
        source = Source()
        log = EventLog(source)
        log.start()
        with log.watch() as reader:
            token = (await reader.next(0)).token
        source.waiting = ["meanwhile"]
        while source.waiting:
            await asyncio.sleep(0.001)
        assert source.watch_sessions
        with log.watch(token) as reader:
            assert (await batch(reader)).events == ["meanwhile"]
        await log.close()

    run(test)


def test_sessions_that_nobody_watched_are_a_gap_for_who_resumes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(events, "IDLE_PERIOD_S", 0.001)
    monkeypatch.setattr(events, "LINGER_S", 0.0)

    async def test() -> None:
        source = Source()
        log = EventLog(source)
        log.start()
        with log.watch() as reader:
            token = (await reader.next(0)).token
        while source.watch_sessions:
            await asyncio.sleep(0.001)
        source.begun += 42
        with log.watch() as fresh:
            assert source.watch_sessions
            log.add("now")
            assert (await batch(fresh)).events == ["now"]
        with log.watch(token) as resumed:
            gap, event = (await batch(resumed)).events
            assert (gap.lost, event) == (42, "now")
        await log.close()

    run(test)


class Ran:
    """As much of a configuration as a run of sessions has."""


def test_a_run_of_sessions_counts_as_its_events_and_is_handed_out_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(events, "MAX_BATCH", 10)
    running: Any = Ran()

    def parts(found: Any) -> list[Any]:
        return [(item.first, item.count) if isinstance(item, SessionRun) else item for item in found]

    async def test() -> None:
        log = EventLog(None, size=20)
        with log.watch() as reader, log.watch() as slow:
            token = (await reader.next(0)).token
            log.add("before")
            log.add(SessionRun(b"", 5, 14, running, []))
            log.add("after")
            assert log.end == 16
            assert parts((await batch(reader)).events) == ["before", (5, 9)]
            assert parts((await batch(reader)).events) == [(14, 5), "after"]
            with log.watch(token.rpartition(":")[0] + ":14") as resumed:
                assert parts((await batch(resumed)).events) == [(18, 1), "after"]
            log.add(SessionRun(b"", 0, 25, running, []))
            gap, *rest = (await batch(slow)).events
            assert gap.lost == 16
            assert parts(rest) == [(0, 10)]

    run(test)


def test_it_keeps_little_more_than_its_size() -> None:
    log = EventLog(None, size=80)
    for number in range(1000):
        log.add(number)
        kept = [event for event in log.take(0)[0] if not isinstance(event, Gap)]
        assert min(number + 1, 80) <= len(kept) <= 90
