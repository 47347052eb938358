"""Large documents go through the helper process, and nobody can tell by what comes out."""

from __future__ import annotations

import asyncio
import json
import os
import signal
from typing import Any

import pytest

from edge.compiler import compile_tables
from edge.document import loads
from edge.errors import (
    ArgumentError,
    DocumentError,
    EdgeError,
    InvalidPacketError,
    ObjectUnknownError,
    Problem,
    ResourceError,
)
from edge.events import ConfigCause
from edge.gateway import Gateway
from edge.gateway.draft import Base
from edge.gateway.helper import FailedAnswer, Helper
from edge.gateway.helper_process import Memory, answered
from edge.gateway.pieces import Joiner, cut
from edge.gateway.workshop import LARGE_STORED, Workshop
from edge.patch import Delete, ObjectRef, Upsert
from edge.store import RevisionStore, packed
from tests.gateways import OTHER, SAMPLE, WEB, run, served

RULES = "firewallRules.userDefinedRules"


def through(value: Any, items: int) -> tuple[Any, int]:
    joiner = Joiner()
    pieces = list(cut(value, items))
    taken = [joiner.take(piece) for piece in pieces]
    assert taken == [False] * (len(pieces) - 1) + [True]
    return joiner.value, len(pieces)


@pytest.mark.parametrize("items", [1, 2, 3, 1000])
def test_what_was_cut_is_joined(items: int) -> None:
    config = loads(SAMPLE).config
    joined, pieces = through(config, items)
    assert joined == config
    assert (pieces == 1) is (items >= 3)
    assert compile_tables(joined) == through(compile_tables(config), items)[0]
    for value in (None, "x", (), [], (1, 2, 3, 4), [1, (2, 3), [4, 5, 6]], [[1] * 5] * 5, {"a": [1, 2, 3]}):
        assert through(value, items)[0] == value
        assert type(through(value, items)[0]) is type(value)


def test_what_pieces_share_is_shared_again() -> None:
    config, _ = through(loads(SAMPLE).config, 1)
    web, lan = config.firewall.groups
    assert config.firewall.rules[0].destination_groups[0] is web
    assert config.firewall.rules[1].source_groups[0] is lan
    assert config.nat.rules[0].profile is config.firewall.profiles[0]


def test_errors_come_through_with_what_they_carry() -> None:
    problems = [Problem("A", "b[1]", "c", line=1, column=2), Problem("D", "", "e", "warning")]
    for error in (
        DocumentError(problems),
        ArgumentError("text", [("a", "b")]),
        ObjectUnknownError("x", [("c", "d"), ("e", "f")]),
        InvalidPacketError("y"),
    ):
        again, _ = through(error, 10)
        assert (type(again), str(again)) == (type(error), str(error))
        assert getattr(again, "problems", None) == getattr(error, "problems", None)
        assert getattr(again, "violations", None) == getattr(error, "violations", None)


def test_a_bug_there_is_told_as_one_here() -> None:
    failed = answered(None, Memory())  # type: ignore[arg-type]
    assert isinstance(failed, FailedAnswer)
    with pytest.raises(RuntimeError, match="the helper process failed") as caught:
        failed.raise_it()
    assert "Traceback" in str(caught.value)
    with pytest.raises(EdgeError):
        FailedAnswer(error=ResourceError("x")).raise_it()


async def facts(gateway: Gateway) -> dict[str, Any]:
    """All that callers can see of a life of changes."""
    found: dict[str, Any] = {}
    applied = await gateway.apply(OTHER, comment="x")
    found["applied"] = (list(applied.warnings), list(applied.changes), applied.revision.etag)
    found["again"] = (await gateway.apply(OTHER)).revision.number
    edits = [Upsert("firewallGroups", "{name: spare, typeValue: IP_SET, ipAddresses: [10.9.9.9]}")]
    patched = await gateway.patch(edits, etag=applied.revision.etag)
    found["patched"] = (list(patched.warnings), list(patched.changes), patched.revision.etag)
    for name, call in {
        "invalid": gateway.apply("edgeGateway: {nam: x}"),
        "unknown": gateway.patch([Delete(RULES, ObjectRef(name="x"))], etag=patched.revision.etag),
        "dangling": gateway.patch([Delete("firewallGroups", ObjectRef(name="lan"))], etag=patched.revision.etag),
        "candidate": gateway.trace([WEB], candidate="edgeGateway: [] "),
    }.items():
        with pytest.raises(EdgeError) as caught:
            await call
        found[name] = (type(caught.value), str(caught.value))
    back = await gateway.rollback(1)
    found["back"] = (list(back.changes), back.revision.etag)
    found["document"] = (await asyncio.to_thread(gateway.document, 3))[1]
    found["config"] = gateway.edge.config
    found["traced"] = (await gateway.trace([WEB], candidate=OTHER)).results
    return found


def test_the_helper_does_what_a_thread_does() -> None:
    async def test() -> None:
        async with served() as small, served(large=0) as large:
            expected, found = await facts(small), await facts(large)
            assert found == expected
            assert small._workshop._helper.pid is None
            assert large._workshop._helper.pid is not None

    run(test)


def test_a_text_of_many_slices_arrives_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edge.gateway.helper.AT_ONCE", 7)

    async def test() -> None:
        async with served(large=0) as gateway:
            await gateway.apply(OTHER.replace("name: out,", "name: out, comments: Grüße,"))
            stored = gateway.store.get(2)
            assert stored is not None
            assert json.loads(stored.document)["firewallRules"]["userDefinedRules"][1]["comments"] == "Grüße"
            with pytest.raises(DocumentError, match="SYNTAX"):
                await gateway.apply("")
            with pytest.raises(DocumentError, match="SYNTAX"):
                await gateway.apply("{" * 700)

    run(test)


def test_the_helper_is_started_once() -> None:
    async def test() -> None:
        async with served(large=0) as gateway:
            await gateway.apply(OTHER)
            first = gateway._workshop._helper.pid
            await gateway.apply(SAMPLE)
            await gateway.apply(SAMPLE)
            assert gateway._workshop._helper.pid == first
            assert first is not None
        with pytest.raises(ProcessLookupError):
            os.kill(first, 0)

    run(test)


def test_a_helper_that_ended_is_told_and_replaced() -> None:
    async def test() -> None:
        async with served(large=0) as gateway:
            await gateway.apply(OTHER)
            pid = gateway._workshop._helper.pid
            assert pid is not None
            os.kill(pid, signal.SIGSTOP)
            change = asyncio.create_task(gateway.apply(SAMPLE))
            await asyncio.sleep(0.05)
            os.kill(pid, signal.SIGKILL)
            with pytest.raises(ResourceError, match="came to an end"):
                await change
            assert gateway.running.number == 2
            assert (await gateway.apply(SAMPLE)).revision.number == 3

    run(test)


def test_who_stops_waiting_for_the_helper_leaves_it_fit_for_the_next() -> None:
    async def test() -> None:
        helper = Helper()
        async with served(large=0) as gateway:
            held = gateway._running
        waiting = asyncio.create_task(helper.complete(held.stored))
        await asyncio.sleep(0.01)
        waiting.cancel()
        await asyncio.wait([waiting])
        document = json.loads(await helper.complete(held.stored))
        assert document["edgeGateway"]["name"] == "T1-ACME"
        await helper.close()

    run(test)


def test_a_large_change_is_taken_back_like_a_small_one(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    monkeypatch.setattr("edge.gateway.conditions.CONFIRM_WITHIN_S", (0.0, 10.0))

    async def test() -> None:
        async with served(store=RevisionStore(tmp_path), large=0) as gateway:
            with gateway.watch() as reader:
                await gateway.apply(OTHER, confirm_within_s=0.02)
                causes = [event.cause for event in (await reader.next(30)).events]
                while ConfigCause.NOT_CONFIRMED not in causes:
                    causes += [event.cause for event in (await reader.next(30)).events]
            assert gateway.running.number == 1
            patched = await gateway.patch([Delete(RULES, ObjectRef(name="in-web"))], etag=gateway.running.etag)
        async with served(store=RevisionStore(tmp_path), large=0) as gateway:
            assert gateway.running == patched.revision
            assert len(gateway.edge.config.firewall.rules) == 2

    run(test)


@pytest.mark.parametrize(("size", "large"), [(0, False), (1, True)])
def test_a_document_is_as_large_as_its_text_however_small_it_packs(size: int, large: bool) -> None:
    assert Workshop().is_large(Base("", packed("x" * (LARGE_STORED + size)), allow_unsupported=False)) is large


def test_a_damaged_document_is_not_large() -> None:
    assert not Workshop().is_large(Base("", b"no text", allow_unsupported=False))
