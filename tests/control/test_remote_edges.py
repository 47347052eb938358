"""Edges that are processes of their own: reached, killed in mid-push, changed behind everybody's back."""

from __future__ import annotations

import asyncio
import json
import signal
from pathlib import Path

import pytest

from control.api.remote_edge import RemoteEdge
from control.fleet import reconciler
from control.fleet.access import Current, EdgeRefusedError, EdgeUnreachableError
from edge.api.client import CallError, Conditions
from edge.errors import EtagMismatchError, StaleEpochError
from edge.gateway.draft import etag_of
from edge.patch import Delete, Move, ObjectRef, Position, Upsert
from tests.control.paper import PaperBook, document, until
from tests.control.test_reconciler import EDGE, places, tending
from tests.gateways import run
from tests.serve.process import Service

RULES = "firewallRules.userDefinedRules"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """What a new edge runs before anybody manages it."""
    found = tmp_path / "edge.json"
    found.write_text(json.dumps(document("orgs/nobody/edges/NEW")))
    return found


def names(service: Service) -> list[str]:
    """The rules that an edge has."""
    with service.client() as client:
        rules = json.loads(client.config()[1])["firewallRules"]["userDefinedRules"]
    return [rule["name"] for rule in rules]


def test_every_call_and_every_refusal(tmp_path: Path, file: Path) -> None:
    async def test() -> None:
        with Service(tmp_path, file, "--data", str(tmp_path / "data")) as service:
            edge = RemoteEdge(service.address, None)
            first = await edge.current(3)
            assert first.former_epoch == 0
            wanted = document(EDGE, ["a", "b", "c"])
            etag = await edge.apply(json.dumps(wanted), first.etag, 3)
            assert etag == etag_of(wanted)
            last = document(EDGE, ["c", "x", "a"])
            a, b, c, x = (document(EDGE, [name])["firewallRules"]["userDefinedRules"][0] for name in "abcx")
            edits = [
                Delete(RULES, ObjectRef(id=b["id"])),
                Move(RULES, ObjectRef(name="c"), Position(before=ObjectRef(id=a["id"]))),
                Upsert(RULES, json.dumps(x), Position(after=ObjectRef(id=c["id"]))),
            ]
            assert await edge.patch(edits, etag, 3) == etag_of(last)
            assert names(service) == ["c", "x", "a"]
            with pytest.raises(EtagMismatchError):
                await edge.patch(edits, etag, 3)
            with pytest.raises(StaleEpochError):
                await edge.current(2)
            with pytest.raises(EdgeRefusedError) as refused:
                await edge.apply("x: 1", etag_of(last), 3)
            assert refused.value.reason == "INVALID_DOCUMENT"
            with service.client() as client, pytest.raises(CallError, match="a control plane manages this edge"):
                client.apply(json.dumps(wanted), Conditions())
            service.kill()
            with pytest.raises(EdgeUnreachableError):
                await edge.current(3)
            await edge.close()

    run(test)


def test_an_edge_that_dies_in_mid_push_is_brought_there_when_it_is_back(
    tmp_path: Path, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks = 0
    current = RemoteEdge.current

    async def looked(edge: RemoteEdge, epoch: int) -> Current:
        nonlocal looks
        found = await current(edge, epoch)
        looks += 1
        return found

    monkeypatch.setattr(RemoteEdge, "current", looked)

    async def test() -> None:
        nonlocal looks
        book = PaperBook()
        with Service(tmp_path, file, "--data", str(tmp_path / "data")) as service:
            book.want(EDGE, document(EDGE), address=service.address)
            async with tending(book, places(tmp_path, book)) as (found, counts):
                await until("it is there", book.agree)
                # It hangs with a push under way, and dies of that.
                service.send_signal(signal.SIGSTOP)
                book.want(EDGE, document(EDGE, ["open"]), address=service.address)
                found.wake([EDGE])
                await asyncio.sleep(0.3)
                service.kill()
                await until("that is seen", lambda: book.rows[EDGE].reason == "UNREACHABLE")
                assert book.rows[EDGE].realized == 1
                with Service(tmp_path, file, "--data", str(tmp_path / "data")) as again:
                    await until("it is there again", book.agree)
                    assert names(again) == ["open"]
                    assert counts.failures.keys() == {"UNREACHABLE"}
                    # After another restart it has everything.
                    pushes = counts.pushes.copy()
                    again.kill()
                    with Service(tmp_path, file, "--data", str(tmp_path / "data")) as third:
                        assert names(third) == ["open"]
                        looks = 0
                        # When a look begins, all is done that came of the one before.
                        await until("it was looked at", lambda: looks >= 2 or found.wake([EDGE]))
                        assert counts.pushes == pushes

    run(test)


def test_an_edge_that_was_taken_back_runs_what_it_should(
    tmp_path: Path, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reconciler, "LOOK_S", (0.01, 0.02))

    async def test() -> None:
        book = PaperBook()
        with Service(tmp_path, file) as service:  # which forgets everything at its end
            book.want(EDGE, document(EDGE, ["open"]), address=service.address)
            async with tending(book, places(tmp_path, book)):
                await until("it is there", book.agree)
                service.kill()
                with Service(tmp_path, file) as again:
                    await until("it is told again", lambda: names(again) == ["open"])

    run(test)
