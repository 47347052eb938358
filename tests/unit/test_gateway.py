"""The life of a served configuration: documents and their conditions, stores, restarts."""

from __future__ import annotations

import asyncio
import gc
import json
from pathlib import Path

import pytest

from edge.diff import ChangeKind
from edge.document import loads
from edge.errors import (
    ArgumentError,
    DocumentError,
    EtagMismatchError,
    ManagedError,
    MissingEtagError,
    NoPortError,
    StaleEpochError,
    StoreError,
)
from edge.events import ConfigCause, ConfigChanged
from edge.gateway import Gateway
from edge.gateway.draft import etag_of
from edge.gateway.workshop import Workshop
from edge.model import EdgeConfig
from edge.patch import Delete, ObjectRef
from edge.store import MemoryStore, RevisionStore
from tests.gateways import OTHER, THIRD, FailingStore, run, served, verdict
from tests.support import SAMPLE

RULES = "firewallRules.userDefinedRules"


def test_it_starts_with_the_document_as_its_first_revision() -> None:
    async def test() -> None:
        async with served() as gateway:
            assert gateway.running.number == 1
            assert gateway.edge.config == loads(SAMPLE).config
            assert [info.number for info in gateway.revisions(None, 10)] == [1]
            assert await verdict(gateway) == "ALLOW"

    run(test)


def test_what_is_replaced_is_freed_without_the_collector() -> None:
    """A process that serves hides from it what runs at the start."""

    def configurations() -> int:
        return sum(isinstance(item, EdgeConfig) for item in gc.get_objects())

    async def test() -> None:
        async with served() as gateway:
            await gateway.apply(OTHER)
            gc.collect()
            gc.disable()
            try:
                before = configurations()
                for number in range(20):
                    await gateway.apply(SAMPLE if number % 2 == 0 else OTHER)
                    await asyncio.sleep(0.01)
                assert configurations() <= before + 2
            finally:
                gc.enable()

    run(test)


def test_a_document_replaces_the_one_that_runs() -> None:
    async def test() -> None:
        async with served() as gateway:
            with gateway.watch() as reader:
                applied = await gateway.apply(OTHER, comment="no web", etag=gateway.running.etag)
                assert applied.revision == gateway.running
                assert (applied.revision.number, applied.revision.comment) == (2, "no web")
                assert applied.warnings == []
                (change,) = applied.changes
                assert (change.kind, change.section, change.name) == (ChangeKind.CHANGED, "userDefinedRules", "in-web")
                assert await verdict(gateway) == "REJECT"
                (event,) = (await reader.next(5)).events
                assert isinstance(event, ConfigChanged)
                assert (event.revision, event.cause) == (applied.revision, ConfigCause.APPLIED)

    run(test)


def test_who_asks_for_nothing_besides_is_told_the_revision_alone() -> None:
    async def test() -> None:
        async with served() as gateway:
            applied = await gateway.apply(OTHER, told=False)
            assert (applied.revision, applied.warnings, applied.changes) == (gateway.running, [], [])
            assert await verdict(gateway) == "REJECT"
            edits = [Delete(RULES, ObjectRef(name="in-web"))]
            patched = await gateway.patch(edits, etag=gateway.running.etag, told=False)
            assert (patched.revision.number, patched.changes) == (3, [])
            again = await gateway.apply(THIRD)
            assert again.changes

    run(test)


@pytest.mark.parametrize(
    "text",
    [
        SAMPLE,
        SAMPLE + "# a remark\n",
        json.dumps(loads(SAMPLE).document, sort_keys=True),
        SAMPLE.replace("staticRoutes: []", "staticRoutes: {values: []}"),
        SAMPLE.replace("actionValue: ALLOW", "action: ALLOW"),
    ],
)
def test_an_equal_document_makes_no_revision(text: str) -> None:
    async def test() -> None:
        async with served() as gateway:
            before = gateway.running
            applied = await gateway.apply(text)
            assert (applied.revision, list(applied.changes)) == (before, [])
            assert len(gateway.revisions(None, 10)) == 1
            assert gateway.applies == {"unchanged": 1}

    run(test)


def test_equal_content_has_equal_etags() -> None:
    async def test() -> None:
        async with served() as gateway:
            first = gateway.running.etag
            second = (await gateway.apply(OTHER)).revision.etag
            again = (await gateway.apply(json.dumps(loads(SAMPLE).document))).revision
            assert first == again.etag != second
            assert etag_of(loads(SAMPLE).document) == first
            assert again.number == 3

    run(test)


def test_another_id_is_a_change() -> None:
    async def test() -> None:
        async with served() as gateway:
            applied = await gateway.apply(SAMPLE.replace("{name: out,", "{id: own, name: out,"))
            (change,) = applied.changes
            assert (change.section, change.name, change.id, change.fields[0].field) == (
                "userDefinedRules",
                "out",
                "own",
                "id",
            )
            assert gateway.running.number == 2

    run(test)


def test_validate_only_says_what_would_change_and_nothing_does() -> None:
    async def test() -> None:
        async with served() as gateway:
            before = gateway.running
            applied = await gateway.apply(OTHER, validate_only=True)
            assert (applied.revision, len(applied.changes)) == (before, 1)
            assert gateway.running == before
            assert await verdict(gateway) == "ALLOW"
            assert len(gateway.revisions(None, 10)) == 1

    run(test)


def test_a_document_with_mistakes_changes_nothing() -> None:
    async def test() -> None:
        async with served() as gateway:
            with pytest.raises(DocumentError) as caught:
                await gateway.apply(OTHER.replace("web-srv]", "web-sv]").replace("priority: 10}", "priority: x}"))
            assert [(problem.code, problem.line) for problem in caught.value.problems] == [
                ("DANGLING_REFERENCE", 19),
                ("WRONG_TYPE", 25),
            ]
            assert gateway.running.number == 1
            assert gateway.applies == {"refused": 1}

    run(test)


def test_a_document_without_ports_changes_nothing() -> None:
    async def test() -> None:
        async with served() as gateway:
            with pytest.raises(NoPortError):
                await gateway.apply("edgeGateway: {name: T1-ACME}")
            assert gateway.running.number == 1
            assert len(gateway.revisions(None, 10)) == 1
            assert gateway.applies == {"failed": 1}

    run(test)


def test_an_etag_of_another_configuration_is_refused() -> None:
    async def test() -> None:
        async with served() as gateway:
            first = gateway.running.etag
            await gateway.apply(OTHER, etag=first)
            for call in (
                gateway.apply(THIRD, etag=first),
                gateway.patch([Delete(RULES, ObjectRef(name="out"))], etag=first),
                gateway.rollback(1, etag=first),
            ):
                with pytest.raises(EtagMismatchError, match="the running configuration is revision 2"):
                    await call
            with pytest.raises(MissingEtagError):
                await gateway.patch([Delete(RULES, ObjectRef(name="out"))], etag="")
            assert gateway.running.number == 2

    run(test)


def test_a_managed_edge_obeys_its_newest_leader_alone_also_after_a_restart(tmp_path: Path) -> None:
    async def test() -> None:
        async with served(store=RevisionStore(tmp_path)) as gateway:
            await gateway.apply(OTHER)
            applied = await gateway.apply(THIRD, leader_epoch=5)
            assert applied.revision.leader_epoch == 5
            # An epoch counts from an equal document on too, and a dry run does not begin one.
            await gateway.apply(THIRD, leader_epoch=6)
            await gateway.apply(OTHER, leader_epoch=9, validate_only=True)
        async with served(store=RevisionStore(tmp_path)) as gateway:
            assert gateway.running.number == 3
            with pytest.raises(ManagedError):
                await gateway.apply(SAMPLE)
            with pytest.raises(ManagedError):
                await gateway.rollback()
            with pytest.raises(StaleEpochError, match="leader 5 has been followed by leader 6"):
                await gateway.patch([Delete(RULES, ObjectRef(name="out"))], etag=gateway.running.etag, leader_epoch=5)
            await gateway.apply(SAMPLE, leader_epoch=6)
            assert gateway.running.number == 4

    run(test)


def test_an_invalid_change_does_not_make_the_edge_a_managed_one() -> None:
    async def test() -> None:
        async with served() as gateway:
            with pytest.raises(DocumentError):
                await gateway.apply("x: 1", leader_epoch=5)
            await gateway.apply(OTHER)
            assert gateway.running.number == 2

    run(test)


@pytest.mark.parametrize(
    ("field", "conditions"),
    [
        ("confirm_within", {"confirm_within_s": 0.5}),
        ("confirm_within", {"confirm_within_s": 3600.5}),
        ("comment", {"comment": "x" * 1025}),
        ("leader_epoch", {"leader_epoch": 1 << 63}),
    ],
)
def test_conditions_that_cannot_be_meant_are_told(field: str, conditions: dict[str, object]) -> None:
    async def test() -> None:
        async with served() as gateway:
            with pytest.raises(ArgumentError) as caught:
                await gateway.apply(OTHER, **conditions)  # type: ignore[arg-type]
            assert caught.value.violations[0][0] == field
            assert gateway.running.number == 1

    run(test)


def test_what_cannot_be_stored_does_not_run() -> None:
    async def test() -> None:
        store = FailingStore()
        async with served(store=store) as gateway:
            store.full = True
            for call in (gateway.apply(OTHER), gateway.apply(OTHER, confirm_within_s=60, leader_epoch=4)):
                with pytest.raises(StoreError, match="full"):
                    await call
            assert gateway.running.number == 1
            assert await verdict(gateway) == "ALLOW"
            assert gateway.applies == {"failed": 2}
            store.full = False
            assert (await gateway.apply(OTHER)).revision.number == 2

    run(test)


def test_a_restart_comes_back_to_what_ran(tmp_path: Path) -> None:
    async def test() -> None:
        async with served(store=RevisionStore(tmp_path)) as gateway:
            applied = await gateway.apply(OTHER, comment="kept")
        async with served("edgeGateway: {name: unused}", store=RevisionStore(tmp_path)) as gateway:
            assert gateway.running == applied.revision
            assert gateway.edge.revision == 2
            assert await verdict(gateway) == "REJECT"
            assert (await gateway.apply(THIRD)).revision.number == 3

    run(test)


def test_a_store_that_cannot_be_read_ends_the_start() -> None:
    async def test() -> None:
        store = FailingStore()
        store.full = True
        gateway = Gateway(store)
        with pytest.raises(StoreError):
            await gateway.start(SAMPLE)
        await gateway.close()
        with pytest.raises(DocumentError):
            await gateway.start("nothing: 1")

    run(test)


def test_changes_come_one_after_the_other() -> None:
    async def test() -> None:
        async with served() as gateway:
            etag = gateway.running.etag
            done = await asyncio.gather(
                *(gateway.apply(text, etag=etag) for text in (OTHER, THIRD, OTHER)), return_exceptions=True
            )
            assert [type(item).__name__ for item in done] == ["Applied", "EtagMismatchError", "EtagMismatchError"]
            assert gateway.running.number == 2

    run(test)


def test_a_change_that_has_begun_is_carried_through_without_its_caller() -> None:
    async def test() -> None:
        async with served() as gateway:
            caller = asyncio.create_task(gateway.apply(OTHER))
            queued = asyncio.create_task(gateway.apply(THIRD))
            await asyncio.sleep(0.0001)
            caller.cancel()
            queued.cancel()
            await asyncio.wait([caller, queued])
            assert caller.cancelled()
            # The lock is free again once the first change is through; the second one never began.
            await gateway.apply(SAMPLE, validate_only=True)
            assert gateway.running.number == 2
            assert await verdict(gateway) == "REJECT"

    run(test)


def test_names_and_times() -> None:
    async def test() -> None:
        async with served() as gateway:
            rule = gateway.edge.config.firewall.rules[0]
            assert gateway.rule_name(rule.id) == "in-web"
            assert gateway.rule_name("nobody") == ""
            assert abs(gateway.wall_ns(gateway.now_ns()) - gateway.since_ns) < 60 * 10**9
            counters = gateway.counters(rules=True)
            assert (counters.revision, counters.config) == (1, gateway.edge.config)
            assert rule.id in counters.rules
            assert gateway.counters(rules=False).rules == {}

    run(test)


def test_a_store_and_a_workshop_of_ones_own() -> None:
    async def test() -> None:
        store = MemoryStore()
        gateway = Gateway(store, workshop=Workshop())
        await gateway.start(SAMPLE, file="edge.yaml")
        assert store.last_number() == 1
        await gateway.close()

    run(test)
