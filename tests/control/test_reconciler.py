"""The reconciler with real edges in this process, and with some that fail in every way."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from collections.abc import AsyncIterator, Collection, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from control.api.remote_edge import RemoteEdge
from control.fleet import reconciler
from control.fleet.access import Current, EdgeAccess, EdgeRefusedError, EdgeUnreachableError
from control.fleet.book import DRIFTED, LeadershipLostError, Wanted
from control.fleet.embedded import EmbeddedEdge, EmbeddedEdges
from control.fleet.fleet import Places
from control.fleet.leader import Alone
from control.fleet.reconciler import Reconciler
from edge.errors import ArgumentError, EtagMismatchError, StaleEpochError, StoreError
from edge.gateway.draft import etag_of
from edge.patch import Edit
from tests.control.paper import PATIENCE_S, Counts, PaperBook, document, gateway_id, until
from tests.gateways import run

EDGE = "orgs/US1/edges/T1"
SLOW = "orgs/US2/edges/SLOW"


@asynccontextmanager
async def tending(
    book: PaperBook, edges: Any, epoch: int = 1, taken: Collection[str] = ()
) -> AsyncIterator[tuple[Reconciler, Counts]]:
    counts = Counts()
    found = Reconciler(book, edges, Alone(epoch), counts, taken=taken)
    task = asyncio.create_task(found.run())
    try:
        yield found, counts
        assert not task.done() or task.exception() is None
    finally:
        task.cancel()
        await asyncio.wait([task])
        await edges.close()


def places(folder: Path, book: PaperBook) -> Places:
    return Places(EmbeddedEdges(folder / "edges.sqlite3"), book, lambda address, _: RemoteEdge(address, None))


def left(folder: Path) -> set[str]:
    """The uids of edges that have revisions."""
    with sqlite3.connect(folder / "edges.sqlite3") as db:
        return {row[0] for row in db.execute("SELECT edge FROM edges")}


async def allowed(found: Reconciler, path: str = EDGE) -> bool:
    """What the edge does with a packet."""
    access = found.access(path)
    assert isinstance(access, EmbeddedEdge)
    traced = await access.gateway.trace(["tcp 10.20.0.5:4000 > 198.51.100.7:443 S"], ignore_sessions=True)
    return traced.results[0].verdict.name == "ALLOW"


class FakeEdge:
    """An edge that answers as a test says."""

    def __init__(self) -> None:
        self.etag = "other"
        self.id = gateway_id(SLOW)
        self.epoch = 1
        self.error: Exception | None = None
        self.hold = asyncio.Event()
        self.hold.set()
        self.pushes: list[str] = []
        self.under_way = 0
        self.looks = 0

    async def current(self, epoch: int) -> Current:
        assert epoch == 1
        self.looks += 1
        if isinstance(self.error, EdgeUnreachableError):
            raise self.error
        return Current(self.etag, 1, self.id, self.epoch)

    async def apply(self, text: str, etag: str, epoch: int) -> str:
        assert epoch == 1
        self.under_way += 1
        assert self.under_way == 1, "one push at a time"
        try:
            await self.hold.wait()
            if self.error is not None:
                raise self.error
            assert etag == self.etag
            self.pushes.append(text)
            self.etag = f"made-{len(self.pushes)}"
            return self.etag
        finally:
            self.under_way -= 1

    async def patch(self, edits: Sequence[Edit], etag: str, epoch: int) -> str:
        raise EdgeRefusedError("OBJECT_UNKNOWN", f"no {edits} of {etag} in {epoch}")

    def runs(self) -> str:
        return ""

    def document(self) -> bytes | None:
        return None

    async def close(self) -> None:
        self.etag = "closed"


class LateBook(PaperBook):
    """Lists are given out some time after they were read."""

    def __init__(self) -> None:
        super().__init__()
        self.given = threading.Event()
        self.given.set()
        self.read = False

    def edges(self, *, waiting: bool) -> list[Wanted]:
        found = super().edges(waiting=waiting)
        self.read = not self.given.is_set()
        assert self.given.wait(PATIENCE_S)
        return found


class Fakes:
    """The same edge for everybody."""

    def __init__(self, edge: FakeEdge) -> None:
        self.edge = edge

    async def open(self, wanted: Wanted, document: str | None) -> EdgeAccess:
        assert (wanted.path, document) == (SLOW, None)
        return self.edge

    async def forget(self, wanted: Wanted) -> None:
        self.edge.etag = f"{wanted.path} is forgotten"

    async def close(self) -> None:
        assert self.edge.etag == "closed"


def test_an_edge_is_made_changed_and_removed(tmp_path: Path) -> None:
    async def test() -> None:
        book = PaperBook()
        book.want(EDGE, document(EDGE))
        async with tending(book, places(tmp_path, book)) as (found, counts):
            await until("the edge runs", book.agree)
            assert not counts.pushes  # it began with its document
            assert not await allowed(found)
            book.want(EDGE, document(EDGE, ["open"]))
            found.wake([EDGE])
            await until("the rule holds", book.agree)
            assert await allowed(found)
            assert counts.pushes == {("PATCH", "OK"): 1}
            assert book.rows[EDGE].realized_etag == etag_of(book.documents[EDGE])
            uid = book.rows.pop(EDGE).uid
            assert left(tmp_path) == {uid}
            found.wake([EDGE, "orgs/US1/edges/unknown"])
            await until("nothing is left", lambda: not left(tmp_path))

    run(test)


def test_after_a_restart_nothing_is_pushed_that_is_there(tmp_path: Path) -> None:
    async def test() -> None:
        book = PaperBook()
        paths = [f"orgs/US{number}/edges/T1" for number in range(5)]
        for path in paths:
            book.want(path, document(path, ["a", "b"]))
        async with tending(book, places(tmp_path, book)):
            await until("all agree", book.agree)
        # One of them was changed while nobody looked after it.
        book.want(paths[0], document(paths[0], ["a"]))
        told = len(book.outcomes)
        async with tending(book, places(tmp_path, book)) as (found, counts):
            await until("all are compared and agree", lambda: book.agree() and found.agreed == len(paths))
            assert counts.pushes == {("PATCH", "OK"): 1}
        assert [outcome.path for outcome in book.outcomes[told:]] == paths[:1]

    run(test)


def test_what_somebody_else_changed_is_changed_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reconciler, "LOOK_S", (0.01, 0.02))

    async def test() -> None:
        book = PaperBook()
        book.want(EDGE, document(EDGE))
        async with tending(book, places(tmp_path, book)) as (found, counts):
            await until("the edge runs", book.agree)
            access = found.access(EDGE)
            assert isinstance(access, EmbeddedEdge)
            await access.gateway.apply(str(document(EDGE, ["smuggled"])).replace("'", '"'), leader_epoch=1)
            await until("it is seen", lambda: counts.drifts)
            await until("it is gone", lambda: access.gateway.running.etag == book.rows[EDGE].realized_etag)
            assert not await allowed(found)
            assert counts.drifts == 1

    run(test)


def test_a_list_that_was_read_before_a_push_ended_is_no_drift(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reconciler, "LOOK_S", (0.01, 0.02))

    async def test() -> None:
        book, edge = LateBook(), FakeEdge()
        book.want(SLOW, document(SLOW))
        async with tending(book, Fakes(edge)) as (found, counts):
            await until("the edge runs", book.agree)
            edge.hold.clear()
            book.want(SLOW, document(SLOW, ["r1"]))
            found.wake([SLOW])
            await until("the push is under way", lambda: edge.under_way)
            book.given.clear()
            await until("a list is read", lambda: book.read)
            edge.hold.set()
            await until("the push is told", book.agree)
            book.given.set()
            looks = edge.looks
            await until("the edge is looked at again", lambda: edge.looks > looks + 3)
            assert counts.drifts == 0

    run(test)


class TwoHosts:
    """An edge without an address, and one that is at any."""

    def __init__(self) -> None:
        self.here, self.there = FakeEdge(), FakeEdge()
        self.there.etag = "first-there"

    async def open(self, wanted: Wanted, document: str | None) -> EdgeAccess:
        assert (wanted.path, document) == (SLOW, None)
        return self.there if wanted.address else self.here

    async def forget(self, wanted: Wanted) -> None:
        raise AssertionError(f"{wanted.path} is not deleted")

    async def close(self) -> None:
        pass


@pytest.mark.parametrize("woken", [False, True])
def test_another_host_is_no_drift(monkeypatch: pytest.MonkeyPatch, woken: bool) -> None:
    monkeypatch.setattr(reconciler, "LOOK_S", (30.0, 30.0) if woken else (0.01, 0.02))

    async def test() -> None:
        book, hosts = PaperBook(), TwoHosts()
        book.want(SLOW, document(SLOW))
        async with tending(book, hosts) as (found, counts):
            await until("the edge runs", lambda: book.agree() and found.agreed)
            hosts.there.error = EtagMismatchError("somebody was quicker")
            book.want(SLOW, document(SLOW), address="127.0.0.1:9")
            if woken:
                found.wake([SLOW])
            await until("it is looked for there", lambda: counts.pushes["WHOLE", "MISMATCH"])
            hosts.there.error = None
            await until("it runs there", lambda: book.agree() and hosts.there.pushes)
            assert counts.drifts == 0

    run(test)


def test_a_former_host_that_was_cleared_before_the_move_is_known_is_no_drift(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reconciler, "LOOK_S", (0.01, 0.02))

    async def test() -> None:
        book, hosts = LateBook(), TwoHosts()
        book.want(SLOW, document(SLOW), address="127.0.0.1:9")
        async with tending(book, hosts) as (found, counts):
            await until("the edge runs", lambda: book.agree() and found.agreed)
            book.given.clear()
            await until("a list is read", lambda: book.read)
            book.want(SLOW, document(SLOW))
            hosts.there.etag = "of nobody"
            book.given.set()
            await until("it runs here", lambda: book.agree() and hosts.here.pushes)
            assert counts.drifts == 0
            assert len(hosts.there.pushes) == 1

    run(test)


def test_nothing_is_told_of_a_host_that_was_left(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reconciler, "LOOK_S", (30.0, 30.0))

    async def test() -> None:
        book, hosts = PaperBook(), TwoHosts()
        book.want(SLOW, document(SLOW))
        async with tending(book, hosts) as (found, _):
            await until("the edge runs", lambda: book.agree() and found.running(SLOW))
            opened, opens = asyncio.Event(), hosts.open

            async def open_late(wanted: Wanted, document: str | None) -> EdgeAccess:
                opened.set()
                await asyncio.Event().wait()
                return await opens(wanted, document)

            monkeypatch.setattr(hosts, "open", open_late)
            book.want(SLOW, document(SLOW), address="127.0.0.1:9")
            found.wake([SLOW])
            await asyncio.wait_for(opened.wait(), PATIENCE_S)
            assert found.running(SLOW) is None
            assert found.agreed == 0

    run(test)


@pytest.mark.parametrize("what", ["etag", "store"])
def test_a_drift_is_counted_once(monkeypatch: pytest.MonkeyPatch, what: str) -> None:
    monkeypatch.setattr(reconciler, "LOOK_S", (0.01, 0.02))

    async def test() -> None:
        book, edge = PaperBook(), FakeEdge()
        book.want(SLOW, document(SLOW))
        async with tending(book, Fakes(edge)) as (found, counts):
            await until("the edge runs", lambda: book.agree() and found.agreed)
            edge.error = EtagMismatchError("somebody was quicker") if what == "etag" else StoreError("it is away")
            edge.etag = "smuggled"
            looks = edge.looks
            await until("it was tried often", lambda: edge.looks > looks + 3)
            edge.error = None
            await until("it is changed back", lambda: book.agree() and len(edge.pushes) == 2)
            assert counts.drifts == 1
            assert [outcome.reason for outcome in book.outcomes].count(DRIFTED) == 1

    run(test)


def test_what_was_pushed_and_could_not_be_told_is_no_drift(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reconciler, "LOOK_S", (0.01, 0.02))

    async def test() -> None:
        book, edge = PaperBook(), FakeEdge()
        book.want(SLOW, document(SLOW))
        async with tending(book, Fakes(edge)) as (found, counts):
            await until("the edge runs", lambda: book.agree() and found.agreed)
            edge.hold.clear()
            book.want(SLOW, document(SLOW, ["r1"]))
            found.wake([SLOW])
            await until("the push is under way", lambda: edge.under_way)
            book.away = True
            edge.hold.set()
            await until("it is there", lambda: len(edge.pushes) == 2)
            await asyncio.sleep(0.05)
            book.away = False
            await until("it is told", book.agree)
            assert counts.drifts == 0

    run(test)


def test_changes_during_a_push_are_pushed_after_it_in_one() -> None:
    async def test() -> None:
        book, edge = PaperBook(), FakeEdge()
        edge.hold.clear()
        book.want(SLOW, document(SLOW))
        async with tending(book, Fakes(edge)) as (found, counts):
            await until("the push is under way", lambda: edge.under_way)
            for number in range(5):
                book.want(SLOW, document(SLOW, [f"r{number}"]))
                found.wake([SLOW])
            edge.hold.set()
            await until("the last one is there", book.agree)
            assert len(edge.pushes) == 2
            assert "r4" in edge.pushes[1]
            # A patch that the edge does not take is followed by the whole.
            assert counts.pushes == {("WHOLE", "OK"): 2, ("PATCH", "REFUSED"): 1}

    run(test)


def test_an_edge_that_is_away_keeps_nobody_waiting_and_is_pending(tmp_path: Path) -> None:
    async def test() -> None:
        book, edge = PaperBook(), FakeEdge()
        edge.error = EdgeUnreachableError("nobody answers")
        book.want(SLOW, document(SLOW))
        book.want(EDGE, document(EDGE))
        both, real = Fakes(edge), places(tmp_path, book)

        class Some:
            async def open(self, wanted: Wanted, document: str | None) -> EdgeAccess | None:
                return await (both if wanted.path == SLOW else real).open(wanted, document)

            async def forget(self, wanted: Wanted) -> None:
                raise AssertionError(f"{wanted.path} is not deleted")

            async def close(self) -> None:
                await real.close()

        async with tending(book, Some()) as (_, counts):
            await until("the other one agrees", lambda: book.rows[EDGE].status == "REALIZED")
            await until("it was tried often", lambda: counts.failures["UNREACHABLE"] >= 3)
            assert (book.rows[SLOW].status, book.rows[SLOW].reason) == ("PENDING", "UNREACHABLE")
            # That it is still away is not written again and again.
            assert len([outcome for outcome in book.outcomes if outcome.path == SLOW]) == 1
            edge.error = None
            await until("it is back", book.agree)

    run(test)


def test_a_refusal_is_told_and_tried_again_when_something_changes() -> None:
    async def test() -> None:
        book, edge = PaperBook(), FakeEdge()
        edge.error = EdgeRefusedError("RESOURCE_EXHAUSTED", "no memory")
        book.want(SLOW, document(SLOW))
        async with tending(book, Fakes(edge)) as (found, counts):
            await until("it is told", lambda: book.rows[SLOW].status == "ERROR")
            assert book.rows[SLOW].reason == "RESOURCE_EXHAUSTED"
            assert book.outcomes[-1].failed
            assert counts.pushes["WHOLE", "REFUSED"]
            edge.error = None
            book.want(SLOW, document(SLOW, ["less"]))
            found.wake([SLOW])
            await until("it takes it", book.agree)

    run(test)


def test_a_plan_that_cannot_be_made_is_an_error_of_its_edge_alone(tmp_path: Path) -> None:
    async def test() -> None:
        book = PaperBook()
        book.want(EDGE, document(EDGE))
        book.want(SLOW, document(SLOW))
        book.refused[SLOW] = ArgumentError("it cannot be planned")
        async with tending(book, places(tmp_path, book)):
            await until("one runs", lambda: book.rows[EDGE].status == "REALIZED")
            await until("one does not", lambda: book.rows[SLOW].status == "ERROR")
            del book.refused[SLOW]
            await until("both run", book.agree)

    run(test)


def test_no_edge_gets_the_document_of_another() -> None:
    async def test() -> None:
        book, edge = PaperBook(), FakeEdge()
        edge.id = gateway_id("orgs/US9/edges/of-somebody-else")
        book.want(SLOW, document(SLOW))
        async with tending(book, Fakes(edge)):
            await until("it is refused", lambda: book.rows[SLOW].status == "ERROR")
            assert book.rows[SLOW].reason == "OTHER_EDGE"
            assert edge.pushes == []
            edge.epoch = 0  # one that nobody has ever managed is taken over
            await until("it is taken over", book.agree)

    run(test)


def test_an_edge_that_was_made_anew_under_its_name_begins_anew(tmp_path: Path) -> None:
    async def test() -> None:
        book = PaperBook()
        book.want(EDGE, document(EDGE, ["old"]))
        async with tending(book, places(tmp_path, book)) as (found, _):
            await until("the first one runs", book.agree)
            former = found.access(EDGE)
            assert isinstance(former, EmbeddedEdge)
            first = book.rows.pop(EDGE).uid
            book.want(EDGE, document(EDGE))
            found.wake([EDGE])
            await until("the second one runs", book.agree)
            await until("the first one is gone", lambda: first not in left(tmp_path))
            assert found.access(EDGE) is not former
            assert not await allowed(found)

    run(test)


def test_an_etag_that_has_changed_is_read_again() -> None:
    async def test() -> None:
        book, edge = PaperBook(), FakeEdge()
        edge.error = EtagMismatchError("somebody was quicker")
        book.want(SLOW, document(SLOW))
        async with tending(book, Fakes(edge)) as (_, counts):
            await until("it was tried", lambda: counts.pushes["WHOLE", "MISMATCH"] >= 2)
            assert book.rows[SLOW].status == "PENDING"
            edge.error = None
            await until("it is there", book.agree)

    run(test)


def test_an_edge_at_an_address_that_is_just_being_cleared_waits() -> None:
    async def test() -> None:
        book, edge, taken = PaperBook(), FakeEdge(), {"127.0.0.1:9"}
        book.want(SLOW, document(SLOW), address="127.0.0.1:9")
        async with tending(book, Fakes(edge), taken=taken) as (found, _):
            found.wake([SLOW])
            await asyncio.sleep(0.5)
            assert edge.looks == 0
            taken.clear()
            await until("it is there", book.agree)

    run(test)


def test_a_store_that_is_away_stops_nothing_for_good(tmp_path: Path) -> None:
    async def test() -> None:
        book = PaperBook()
        book.want(EDGE, document(EDGE))
        async with tending(book, places(tmp_path, book)) as (found, _):
            await until("the edge runs", book.agree)
            book.away = True
            book.want(EDGE, document(EDGE, ["open"]))
            found.wake([EDGE])
            await asyncio.sleep(0.5)
            assert not await allowed(found)
            book.away = False
            await until("the rule holds", book.agree)
            assert await allowed(found)

    run(test)


@pytest.mark.parametrize("how", ["edge", "store"])
def test_a_leader_that_was_followed_by_another_one_ends(how: str) -> None:
    async def test() -> None:
        book, edge = PaperBook(), FakeEdge()
        if how == "edge":
            edge.error = StaleEpochError("leader 1 has been followed by leader 2")
        else:
            book.epoch = 2
        book.want(SLOW, document(SLOW))
        found = Reconciler(book, Fakes(edge), Alone(1), Counts())
        with pytest.raises(LeadershipLostError):
            await asyncio.wait_for(found.run(), 30)
        assert book.rows[SLOW].realized == 0
        assert book.outcomes == []

    run(test)


def test_an_edge_does_not_begin_with_what_it_ran_before_another_one_led(tmp_path: Path) -> None:
    async def test() -> None:
        book = PaperBook()
        book.want(EDGE, document(EDGE))
        async with tending(book, places(tmp_path, book)):
            await until("the edge runs", book.agree)
        edges = EmbeddedEdges(tmp_path / "edges.sqlite3")
        wanted = book.edges(waiting=False)[0]
        again = await edges.open(wanted.uid, None, wanted.realized_etag)
        assert again is not None
        await again.close()
        assert await edges.open(wanted.uid, None, "another") is None
        assert await edges.left() == set()
        await edges.close()

    run(test)


def test_an_edge_elsewhere_does_not_wait_for_those_of_this_process() -> None:
    class Hanging(Fakes):
        async def open(self, wanted: Wanted, document: str | None) -> EdgeAccess:
            assert document is None
            if not wanted.address:
                await asyncio.sleep(PATIENCE_S * 2)
            return self.edge

    async def test() -> None:
        book, edge = PaperBook(), FakeEdge()
        book.want(EDGE, document(EDGE))
        book.want(SLOW, document(SLOW), address="127.0.0.1:9")
        async with tending(book, Hanging(edge)):
            await until("the edge elsewhere has its document", lambda: edge.pushes)

    run(test)
