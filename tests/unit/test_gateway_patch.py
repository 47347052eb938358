"""Patches of a served configuration."""

from __future__ import annotations

import pytest

from edge.diff import ChangeKind
from edge.errors import (
    DocumentError,
    ObjectUnknownError,
)
from edge.patch import Delete, Move, ObjectRef, Position, Upsert
from tests.gateways import OTHER, run, served, verdict
from tests.support import SAMPLE

RULES = "firewallRules.userDefinedRules"


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
