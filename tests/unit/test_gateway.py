"""The life of a served configuration: changes, their conditions, and what callers are told."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from edge.diff import ChangeKind
from edge.document import from_data, loads
from edge.errors import (
    ArgumentError,
    DocumentError,
    EtagMismatchError,
    InvalidPacketError,
    ManagedError,
    MissingEtagError,
    NoPortError,
    ObjectUnknownError,
    RevisionUnknownError,
    StaleEpochError,
    StoreError,
)
from edge.events import ConfigCause, ConfigChanged
from edge.gateway import Gateway
from edge.gateway.workshop import Workshop
from edge.masking import PLACEHOLDER
from edge.packets import build_frame, parse_packet
from edge.patch import Delete, Move, ObjectRef, Position, Upsert
from edge.store import MemoryStore, RevisionStore
from tests.gateways import OTHER, THIRD, WEB, FailingStore, run, served
from tests.support import SAMPLE

RULES = "firewallRules.userDefinedRules"


async def verdict(gateway: Gateway) -> str:
    traced = await gateway.trace([WEB])
    return traced.results[0].verdict.name


def test_it_starts_with_the_document_as_its_first_revision() -> None:
    async def test() -> None:
        async with served() as gateway:
            assert gateway.running.number == 1
            assert gateway.edge.config == loads(SAMPLE).config
            assert [info.number for info in gateway.revisions(None, 10)] == [1]
            assert await verdict(gateway) == "ALLOW"

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


def test_a_patch_changes_single_objects() -> None:
    async def test() -> None:
        async with served() as gateway:
            edits = [
                Upsert(RULES, "{name: in-web, actionValue: DROP, destinationFirewallGroups: [web-srv]}"),
                Move(RULES, ObjectRef(name="out"), Position(index=0)),
            ]
            applied = await gateway.patch(edits, etag=gateway.running.etag)
            kinds = {change.name: change.kind for change in applied.changes}
            assert kinds["in-web"] is ChangeKind.CHANGED
            assert await verdict(gateway) == "DROP"
            names = [rule.name for rule in gateway.edge.config.firewall.rules]
            assert names == ["out", "in-web", "default_rule"]
            # The next patch is made to what this one left.
            await gateway.patch([Delete(RULES, ObjectRef(name="in-web"))], etag=applied.revision.etag)
            assert [rule.name for rule in gateway.edge.config.firewall.rules] == ["out", "default_rule"]

    run(test)


def test_a_patch_is_judged_as_a_whole_and_refused_as_a_whole() -> None:
    async def test() -> None:
        async with served() as gateway:
            etag = gateway.running.etag
            with pytest.raises(DocumentError, match="DANGLING_REFERENCE"):
                await gateway.patch([Delete("firewallGroups", ObjectRef(name="lan"))], etag=etag)
            with pytest.raises(ObjectUnknownError):
                await gateway.patch(
                    [Delete(RULES, ObjectRef(name="out")), Delete(RULES, ObjectRef(name="x"))], etag=etag
                )
            assert gateway.running.number == 1
            both = [Delete("firewallGroups", ObjectRef(name="lan")), Delete(RULES, ObjectRef(name="out"))]
            await gateway.patch(both, etag=etag)
            assert gateway.running.number == 2

    run(test)


def test_a_patch_tells_only_warnings_that_are_new() -> None:
    async def test() -> None:
        unused = "  - {name: spare, typeValue: IP_SET, ipAddresses: [10.9.9.9]}\napplicationPortProfiles:"
        async with served(SAMPLE.replace("applicationPortProfiles:", unused, 1)) as gateway:
            first = await gateway.apply(OTHER.replace("applicationPortProfiles:", unused, 1))
            assert [(item.code, item.path) for item in first.warnings] == [("UNUSED_GROUP", "firewallGroups[2]")]
            edits = [
                Upsert("firewallGroups", "{name: new, typeValue: IP_SET, ipAddresses: [10.8.8.8]}", Position(index=0))
            ]
            applied = await gateway.patch(edits, etag=gateway.running.etag)
            assert [(item.code, item.path) for item in applied.warnings] == [("UNUSED_GROUP", "firewallGroups[0]")]

    run(test)


def test_what_is_not_emulated_goes_in_on_request_and_survives_a_patch() -> None:
    async def test() -> None:
        text = SAMPLE.replace("ipsecTunnels: []", "ipsecTunnels: [{name: t, preSharedKey: s3cret}]")
        async with served() as gateway:
            with pytest.raises(DocumentError, match="NOT_EMULATED"):
                await gateway.apply(text)
            applied = await gateway.apply(text, allow_unsupported=True)
            assert [item.code for item in applied.warnings] == ["NOT_EMULATED"]
            edit = Delete(RULES, ObjectRef(name="out"))
            with pytest.raises(DocumentError, match="NOT_EMULATED"):
                await gateway.patch([edit], etag=applied.revision.etag)
            patched = await gateway.patch([edit], etag=applied.revision.etag, allow_unsupported=True)
            assert "NOT_EMULATED" not in [item.code for item in patched.warnings]

    run(test)


def test_the_document_is_complete_hides_secrets_and_can_be_applied_again() -> None:
    async def test() -> None:
        text = SAMPLE.replace("ipsecTunnels: []", "ipsecTunnels: [{name: t, preSharedKey: s3cret}]")
        async with served() as gateway:
            await gateway.apply(text, allow_unsupported=True)
            info, document = await asyncio.to_thread(gateway.document)
            assert info == gateway.running
            assert "s3cret" not in document
            data = json.loads(document)
            assert data["ipsecTunnels"][0]["preSharedKey"] == PLACEHOLDER
            assert all(rule["id"] for rule in data["firewallRules"]["userDefinedRules"])
            assert from_data(data, allow_unsupported=True).config == gateway.edge.config
            same = await gateway.apply(document, allow_unsupported=True)
            assert (same.revision, list(same.changes)) == (info, [])
            data["firewallRules"]["userDefinedRules"].pop()
            await gateway.apply(json.dumps(data), allow_unsupported=True)
            stored = gateway.store.get(gateway.running.number)
            assert stored is not None
            assert "s3cret" in stored.document
            first = await asyncio.to_thread(gateway.document, 1)
            assert first[0].number == 1
            with pytest.raises(RevisionUnknownError):
                await asyncio.to_thread(gateway.document, 99)

    run(test)


def test_a_placeholder_for_a_secret_that_is_not_there_is_told() -> None:
    async def test() -> None:
        text = SAMPLE.replace("ipsecTunnels: []", f"ipsecTunnels: [{{name: t, preSharedKey: '{PLACEHOLDER}'}}]")
        async with served() as gateway:
            with pytest.raises(DocumentError) as caught:
                await gateway.apply(text, allow_unsupported=True)
            (problem,) = caught.value.problems
            assert (problem.code, problem.path, problem.line) == ("INVALID_VALUE", "ipsecTunnels[0].preSharedKey", 28)

    run(test)


def test_a_number_that_json_has_not_is_told() -> None:
    async def test() -> None:
        async with served() as gateway:
            with pytest.raises(DocumentError, match="a number that JSON has not"):
                await gateway.apply(SAMPLE + "bundle: {x: .inf}\n")
            assert gateway.running.number == 1

    run(test)


def test_a_rollback_is_a_new_revision_with_an_old_document() -> None:
    async def test() -> None:
        async with served() as gateway:
            first = gateway.running
            await gateway.apply(OTHER)
            with gateway.watch() as reader:
                back = await gateway.rollback(comment="oops")
                (event,) = (await reader.next(5)).events
                assert event.cause is ConfigCause.ROLLED_BACK
            assert (back.revision.number, back.revision.restored_from, back.revision.etag) == (3, 1, first.etag)
            assert len(back.changes) == 1
            assert await verdict(gateway) == "ALLOW"
            assert (await gateway.rollback(2)).revision.restored_from == 2
            assert await verdict(gateway) == "REJECT"
            for number in (99, 1 << 63, (1 << 64) - 1):
                with pytest.raises(RevisionUnknownError, match=f"no revision {number}"):
                    await gateway.rollback(number)
            assert (await gateway.rollback(4)).revision.number == 4

    run(test)


def test_there_may_be_nothing_to_roll_back_to() -> None:
    async def test() -> None:
        async with served() as gateway:
            with pytest.raises(RevisionUnknownError, match="none before revision 1"):
                await gateway.rollback()
            assert gateway.applies == {"refused": 1}
            with pytest.raises(RevisionUnknownError, match="none before revision 1"):
                await gateway.rollback(validate_only=True)
            assert gateway.applies == {"refused": 1}

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


def test_packets_are_traced_under_a_candidate() -> None:
    async def test() -> None:
        async with served() as gateway:
            running = await gateway.trace([WEB, "tcp 10.20.0.10:8080 > 198.51.100.99:40000 SA"])
            assert [result.verdict.name for result in running.results] == ["ALLOW", "ALLOW"]
            assert running.revision == 1
            candidate = await gateway.trace([WEB], candidate=OTHER)
            assert (candidate.results[0].verdict.name, candidate.revision) == ("REJECT", 0)
            assert gateway.running.number == 1
            assert gateway.edge.stats().sessions_created == 0
            with pytest.raises(DocumentError):
                await gateway.trace([WEB], candidate="x: 1")

    run(test)


def test_a_frame_is_traced_like_its_text() -> None:
    async def test() -> None:
        async with served() as gateway:
            frame = build_frame(parse_packet(WEB))
            (by_text,) = (await gateway.trace([WEB])).results
            (by_frame,) = (await gateway.trace([("INTERNET", frame)])).results
            assert by_frame == by_text
            assert by_frame.in_port == "INTERNET"

    run(test)


def test_packets_that_cannot_be_sent_are_told_all_at_once() -> None:
    async def test() -> None:
        async with served() as gateway:
            with pytest.raises(InvalidPacketError) as caught:
                await gateway.trace(["tcp nonsense", WEB, WEB + " in=NOWHERE", ("NOWHERE", b"\0" * 60)])
            assert [path for path, _ in caught.value.violations] == [
                "packets[0].text", "packets[2].text", "packets[3].frame",
            ]  # fmt: skip

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


class FakeEdge:
    """An edge's answers, by hand, and what it was asked."""

    def __init__(self, real: Any) -> None:
        self.revision = 1
        self.config = real.config
        self.asked: list[Any] = []
        self.inside = False

    @contextmanager
    def turn(self) -> Iterator[None]:
        self.inside = True
        yield
        self.inside = False

    def process_batch(self, frames: Any, now_ns: int, *, outputs: bool) -> list[str]:
        self.asked.append((list(frames), now_ns, outputs))
        return ["gone"]

    def delete_sessions(self, match: Any) -> int:
        self.asked.append(match)
        return 7

    def prepare(self, config: Any, *, tables: Any, revision: int) -> Any:
        assert tables is not None
        return config, revision

    def commit(self, prepared: Any) -> None:
        assert self.inside
        self.config, self.revision = prepared


class FakeForwarding:
    """Whoever has the ports."""

    def __init__(self, edge: FakeEdge) -> None:
        self.edge = edge
        self.asked: list[Any] = []

    def rebind(self, config: Any) -> None:
        assert self.edge.inside
        assert config is self.edge.config
        self.asked.append("rebind")

    def inject(self, frames: Any, now_ns: int, outputs: bool) -> list[str]:
        assert self.edge.inside
        self.asked.append((list(frames), now_ns, outputs))
        return ["sent"]


def test_packets_go_to_the_edge_or_to_whoever_has_the_ports() -> None:
    async def test() -> None:
        async with served(clock=lambda: 42) as gateway:
            gateway.edge = edge = FakeEdge(gateway.edge)
            frames = [("LAN-ACME", b"frame")]
            assert gateway.inject(frames, outputs=True) == (1, ["gone"])
            assert edge.asked == [(frames, 42, True)]
            gateway.forwarding = forwarding = FakeForwarding(edge)
            assert gateway.inject(frames, outputs=False) == (1, ["sent"])
            assert forwarding.asked == [(frames, 42, False)]
            # A change is made within one turn, and whoever has the ports hears of it within the same.
            await gateway.apply(OTHER)
            assert (edge.revision, forwarding.asked[-1]) == (2, "rebind")

    run(test)


def test_sessions_are_ended_by_who_may() -> None:
    async def test() -> None:
        store = MemoryStore()
        async with served(store=store) as gateway:
            gateway.edge = edge = FakeEdge(gateway.edge)
            assert await gateway.delete_sessions("match") == 7
            assert edge.asked == ["match"]
            assert await gateway.delete_sessions("all", leader_epoch=3) == 7
            assert store.leader_epoch() == 3
            with pytest.raises(ManagedError):
                await gateway.delete_sessions("all")
            with pytest.raises(StaleEpochError):
                await gateway.delete_sessions("all", leader_epoch=2)
            with pytest.raises(ArgumentError):
                await gateway.delete_sessions("all", leader_epoch=-1)
            assert edge.asked == ["match", "all"]

    run(test)
