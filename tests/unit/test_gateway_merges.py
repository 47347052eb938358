"""A served edge makes one table of many small changes while more of them come."""

from __future__ import annotations

import asyncio
import json
import logging
import threading
import time
from collections.abc import Callable

import pytest

from edge.compiler import Compiled
from edge.firewall import overlay
from edge.gateway import Gateway
from edge.merging import Merge
from edge.patch import Upsert
from tests.gateways import run, served
from tests.unit.test_gateway_splices import SECTION, document
from tests.waiting import PATIENCE_S


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(overlay, "MERGED", 4)


class Held:
    """Merges that begin when they are told to, and fail where they are to."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, failure: BaseException | None = None) -> None:
        self.begun, self.go, self.count = threading.Event(), threading.Event(), 0
        build: Callable[[Merge], None] = Merge.build

        def held(merge: Merge) -> None:
            self.count += 1
            self.begun.set()
            assert self.go.wait(PATIENCE_S)
            if failure is not None:
                raise failure
            build(merge)

        monkeypatch.setattr(Merge, "build", held)


async def change(gateway: Gateway, number: int) -> None:
    """Let a rule log."""
    rule = document()["firewallRules"]["userDefinedRules"][number] | {"logging": True}
    await gateway.patch([Upsert(SECTION, json.dumps(rule))], etag=gateway.running.etag)


async def merged(gateway: Gateway) -> None:
    """Wait for the merge that is under way."""
    until = time.monotonic() + PATIENCE_S
    while gateway._merging:
        assert time.monotonic() < until
        await asyncio.sleep(0.001)


def compiled_of(gateway: Gateway) -> Compiled:
    """What the edge runs."""
    found = gateway.edge._compiled
    assert found is not None
    return found


@pytest.mark.parametrize("workers", [1, 3])
def test_changes_go_on_while_tables_are_merged(monkeypatch: pytest.MonkeyPatch, workers: int) -> None:
    held = Held(monkeypatch)

    async def test() -> None:
        async with served(json.dumps(document()), workers=workers) as gateway:
            first = compiled_of(gateway).base
            await change(gateway, 0)
            assert not gateway._merging
            await change(gateway, 1)
            assert await asyncio.to_thread(held.begun.wait, PATIENCE_S)
            await change(gateway, 2)
            await change(gateway, 3)
            assert compiled_of(gateway).base is first
            held.go.set()
            await merged(gateway)
            await change(gateway, 7)
            now = compiled_of(gateway)
            assert now.base is not first
            assert now.tables.overlay is not None
            # Two rules had changed when the merge began, two more by its end, and one since.
            assert list(now.tables.overlay.dead) == [2, 3, 7]
            assert [rule.logging for rule in gateway.edge.config.firewall.rules[:8]] == [True] * 4 + [False] * 3 + [
                True
            ]
            assert (gateway.edge.revision, gateway.running.number) == (6, 6)

    run(test)
    assert held.count == 2


def test_a_merge_without_memory_is_told_once(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    held = Held(monkeypatch, MemoryError())
    held.go.set()

    async def test() -> None:
        async with served(json.dumps(document())) as gateway:
            first = compiled_of(gateway).base
            for number in range(6):
                await change(gateway, number)
                await merged(gateway)
            assert compiled_of(gateway).base is first
            assert gateway.running.number == 7

    run(test)
    assert held.count == 1
    assert [record.levelno for record in caplog.records if record.levelno >= logging.WARNING] == [logging.ERROR]


def test_a_gateway_ends_with_the_merge_that_is_under_way(monkeypatch: pytest.MonkeyPatch) -> None:
    held = Held(monkeypatch)

    async def test() -> None:
        async with served(json.dumps(document())) as gateway:
            await change(gateway, 0)
            await change(gateway, 1)
            assert await asyncio.to_thread(held.begun.wait, PATIENCE_S)
            asyncio.get_running_loop().call_later(0.01, held.go.set)
        assert not gateway._merging
        assert not gateway._tasks

    run(test)
    assert held.count == 1
