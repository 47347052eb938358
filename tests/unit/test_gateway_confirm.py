"""Changes that have to be confirmed: kept, taken back, forgotten by a restart."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from edge.errors import (
    ConfirmationPendingError,
    EtagMismatchError,
    MissingEtagError,
    NothingPendingError,
    ResourceError,
)
from edge.events import ConfigCause, EventReader
from edge.gateway import Gateway, conditions, lifecycle
from edge.patch import Delete, ObjectRef
from edge.runtime import Edge
from edge.store import RevisionStore
from tests.gateways import OTHER, SAMPLE, THIRD, WEB, FailingStore, run, served


@pytest.fixture(autouse=True)
def _short_times(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(conditions, "CONFIRM_WITHIN_S", (0.0, 3600.0))
    monkeypatch.setattr(lifecycle, "RETRY_S", 0.01)
    return


async def cause(reader: EventReader) -> ConfigCause:
    (event,) = (await reader.next(30)).events
    found: ConfigCause = event.cause
    return found


async def verdict(gateway: Gateway) -> str:
    return (await gateway.trace([WEB])).results[0].verdict.name


def test_a_confirmed_change_stays() -> None:
    async def test() -> None:
        async with served() as gateway:
            with gateway.watch() as reader:
                applied = await gateway.apply(OTHER, confirm_within_s=0.2)
                assert await cause(reader) is ConfigCause.APPLIED
                assert applied.revision.confirm_deadline_ns is not None
                assert abs(applied.revision.confirm_deadline_ns - time.time_ns()) < 10**9
                confirmed = await gateway.confirm(applied.revision.etag)
                assert (confirmed.number, confirmed.confirm_deadline_ns) == (2, None)
                assert gateway.running == confirmed == gateway.revisions(None, 1)[0]
                assert await cause(reader) is ConfigCause.CONFIRMED
                assert (await reader.next(0.4)).events == []
            assert await verdict(gateway) == "REJECT"
            with pytest.raises(NothingPendingError):
                await gateway.confirm(applied.revision.etag)

    run(test)


def test_a_change_that_nobody_confirms_is_taken_back() -> None:
    async def test() -> None:
        async with served() as gateway:
            before = gateway.running
            with gateway.watch() as reader:
                applied = await gateway.apply(OTHER, confirm_within_s=0.05)
                assert await verdict(gateway) == "REJECT"
                assert await cause(reader) is ConfigCause.APPLIED
                assert await cause(reader) is ConfigCause.NOT_CONFIRMED
            assert gateway.running == before
            assert gateway.edge.revision in (1, 3)
            assert await verdict(gateway) == "ALLOW"
            assert [(info.number, info.taken_back) for info in gateway.revisions(None, 9)] == [(2, True), (1, False)]
            with pytest.raises(NothingPendingError):
                await gateway.confirm(applied.revision.etag)
            # Its number is not given again, and the edge is as open to changes as before.
            again = await gateway.patch(
                [Delete("firewallRules.userDefinedRules", ObjectRef(name="out"))], etag=before.etag
            )
            assert again.revision.number == 3

    run(test)


def test_nothing_else_changes_while_a_change_waits() -> None:
    async def test() -> None:
        async with served() as gateway:
            applied = await gateway.apply(OTHER, confirm_within_s=600)
            etag = applied.revision.etag
            for call in (
                gateway.apply(THIRD),
                gateway.apply(THIRD, validate_only=True),
                gateway.rollback(1),
                gateway.patch([Delete("natRules", ObjectRef(name="internet"))], etag=etag),
            ):
                with pytest.raises(ConfirmationPendingError, match="revision 2"):
                    await call
            with pytest.raises(EtagMismatchError):
                await gateway.confirm("0" * 32)
            with pytest.raises(MissingEtagError):
                await gateway.confirm("")
            await gateway.confirm(etag)
            await gateway.apply(THIRD)
            assert gateway.running.number == 3

    run(test)


def test_a_patch_and_a_rollback_can_be_on_probation_too() -> None:
    async def test() -> None:
        async with served() as gateway:
            first = gateway.running
            edit = Delete("firewallRules.userDefinedRules", ObjectRef(name="in-web"))
            with gateway.watch() as reader:
                await gateway.patch([edit], etag=first.etag, confirm_within_s=0.02)
                assert [await cause(reader), await cause(reader)] == [ConfigCause.APPLIED, ConfigCause.NOT_CONFIRMED]
                await gateway.apply(OTHER)
                await cause(reader)
                await gateway.rollback(1, confirm_within_s=0.02)
                assert [await cause(reader), await cause(reader)] == [
                    ConfigCause.ROLLED_BACK,
                    ConfigCause.NOT_CONFIRMED,
                ]
            assert gateway.running.number == 3

    run(test)


def test_an_equal_document_waits_for_nothing() -> None:
    async def test() -> None:
        async with served() as gateway:
            await gateway.apply(SAMPLE, confirm_within_s=0.01)
            await gateway.apply(OTHER, validate_only=True, confirm_within_s=0.01)
            await gateway.apply(OTHER)
            await asyncio.sleep(0.05)
            assert gateway.running.number == 2

    run(test)


def test_a_restart_comes_back_to_the_last_confirmed_one(tmp_path: Path) -> None:
    async def test() -> None:
        async with served(store=RevisionStore(tmp_path)) as gateway:
            confirmed = (await gateway.apply(OTHER)).revision
            await gateway.apply(THIRD, confirm_within_s=600)
        async with served(store=RevisionStore(tmp_path)) as gateway:
            assert gateway.running == confirmed
            assert await verdict(gateway) == "REJECT"
            await asyncio.sleep(0)
            with pytest.raises(NothingPendingError):
                await gateway.confirm(confirmed.etag)
            assert (await gateway.apply(SAMPLE)).revision.number == 4
            assert [(info.number, info.taken_back) for info in gateway.revisions(None, 9)] == [
                (4, False),
                (3, True),
                (2, False),
                (1, False),
            ]

    run(test)


def test_a_confirmed_one_survives_the_restart(tmp_path: Path) -> None:
    async def test() -> None:
        async with served(store=RevisionStore(tmp_path)) as gateway:
            applied = await gateway.apply(OTHER, confirm_within_s=600)
            confirmed = await gateway.confirm(applied.revision.etag)
        async with served(store=RevisionStore(tmp_path)) as gateway:
            assert gateway.running == confirmed

    run(test)


def test_a_full_disk_does_not_keep_a_change_from_being_taken_back() -> None:
    async def test() -> None:
        store = FailingStore()
        async with served(store=store) as gateway:
            with gateway.watch() as reader:
                await gateway.apply(OTHER, confirm_within_s=0.05)
                store.full = True
                await cause(reader)
                assert await cause(reader) is ConfigCause.NOT_CONFIRMED
            assert gateway.running.number == 1
            assert await verdict(gateway) == "ALLOW"

    run(test)


def test_what_could_not_be_taken_back_for_want_of_memory_is_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    prepare = Edge.prepare
    failures = 2

    async def test() -> None:
        async with served() as gateway:
            with gateway.watch() as reader:
                await gateway.apply(OTHER, confirm_within_s=0.02)
                monkeypatch.setattr(Edge, "prepare", failing)
                await cause(reader)
                assert await cause(reader) is ConfigCause.NOT_CONFIRMED
            assert failures == 0
            assert await verdict(gateway) == "ALLOW"

    def failing(*arguments: Any, **options: Any) -> object:
        nonlocal failures
        if failures:
            failures -= 1
            raise ResourceError("no memory")
        return prepare(*arguments, **options)

    run(test)
