"""The calls about configurations: what they answer, and each of their documented errors."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any

import pytest
import yaml
from google.protobuf.duration_pb2 import Duration

from edge.errors import ResourceError
from edge.v1 import config_pb2
from edge.v1 import edge_service_pb2 as pb
from tests.api.served import ServedEdge, expect, refused, serving
from tests.gateways import OTHER, THIRD, WEB, FailingStore
from tests.support import SAMPLE


def running(edge: ServedEdge) -> config_pb2.Revision:
    revision: config_pb2.Revision = edge.stub.GetConfig(pb.GetConfigRequest()).revision
    return revision


def verdict(edge: ServedEdge) -> int:
    """How the running configuration judges a request to the web server."""
    traced = edge.stub.Trace(pb.TraceRequest(packets=[{"text": WEB}], ignore_sessions=True))
    found: int = traced.packets[0].verdict
    return found


def patch(etag: str, *edits: config_pb2.Edit, **fields: Any) -> pb.PatchConfigRequest:
    return pb.PatchConfigRequest(etag=etag, edits=edits, **fields)


REJECT_WEB = config_pb2.Edit(
    section="userDefinedRules",
    upsert={"object": "{name: in-web, actionValue: REJECT, ipProtocol: IPV4}", "position": {"index": 0}},
)

# ------------------------------------------------------------------ ApplyConfig


def test_apply_answers_the_new_revision_and_what_changed(served: ServedEdge) -> None:
    before = running(served)
    lower = time.time()
    answer = served.stub.ApplyConfig(pb.ApplyConfigRequest(document=OTHER, etag=before.etag, comment="Mo's change"))
    revision = answer.revision
    assert revision.number == before.number + 1
    assert revision.etag not in ("", before.etag)
    assert revision.comment == "Mo's change"
    assert lower - 1 < revision.create_time.seconds + 1 <= time.time() + 2
    assert not revision.HasField("confirm_deadline")
    assert (revision.restored_from, revision.leader_epoch) == (0, 0)
    (change,) = answer.changes
    assert (change.section, change.name, change.kind) == (
        "userDefinedRules", "in-web", config_pb2.CHANGE_KIND_CHANGED,
    )  # fmt: skip
    assert [(part.path, part.before, part.after) for part in change.fields] == [("actionValue", '"ALLOW"', '"REJECT"')]
    assert change.id
    assert list(answer.warnings) == []
    assert running(served) == revision


def test_apply_of_the_same_document_makes_no_revision(served: ServedEdge) -> None:
    before = running(served)
    answer = served.stub.ApplyConfig(pb.ApplyConfigRequest(document=SAMPLE))
    assert (answer.revision, list(answer.changes)) == (before, [])


def test_validate_only_says_what_would_change_and_changes_nothing(served: ServedEdge) -> None:
    before = running(served)
    answer = served.stub.ApplyConfig(pb.ApplyConfigRequest(document=OTHER, validate_only=True))
    assert answer.revision == before
    assert [change.name for change in answer.changes] == ["in-web"]
    assert running(served) == before


def test_what_is_not_emulated_is_refused_or_told_as_a_warning(served: ServedEdge) -> None:
    text = SAMPLE.replace("dns: {}", "dns: {enabled: true}")
    found = refused(served.stub.ApplyConfig, pb.ApplyConfigRequest(document=text))
    expect(found, "INVALID_ARGUMENT", "INVALID_DOCUMENT", "dns")
    answer = served.stub.ApplyConfig(pb.ApplyConfigRequest(document=text, allow_unsupported=True))
    assert [(item.path, item.code, item.severity) for item in answer.warnings] == [
        ("dns", "NOT_EMULATED", config_pb2.SEVERITY_WARNING)
    ]


def test_a_change_that_nobody_confirms_is_taken_back(served: ServedEdge) -> None:
    before = running(served)
    answer = served.stub.ApplyConfig(pb.ApplyConfigRequest(document=OTHER, confirm_within=Duration(seconds=1)))
    deadline = answer.revision.confirm_deadline
    created = answer.revision.create_time
    assert (deadline.seconds - created.seconds, deadline.nanos) == (1, created.nanos)
    expect(
        refused(served.stub.ApplyConfig, pb.ApplyConfigRequest(document=THIRD)),
        "FAILED_PRECONDITION", "CONFIRMATION_PENDING",
    )  # fmt: skip
    until = time.monotonic() + 10
    while running(served).number != before.number and time.monotonic() < until:
        time.sleep(0.05)
    assert running(served) == before
    expect(
        refused(served.stub.ConfirmConfig, pb.ConfirmConfigRequest(etag=answer.revision.etag)),
        "FAILED_PRECONDITION", "NOTHING_PENDING",
    )  # fmt: skip


def test_every_problem_of_a_document_is_a_violation_with_its_path(served: ServedEdge) -> None:
    before = running(served)
    text = SAMPLE.replace("priority: 10}", "priority: ten}").replace("options: {}", "options: {mtu: 1, nonsense: 2}")
    found = refused(served.stub.ApplyConfig, pb.ApplyConfigRequest(document=text))
    expect(found, "INVALID_ARGUMENT", "INVALID_DOCUMENT", "natRules[0].priority", "options.mtu", "options.nonsense")
    assert found.text == "the document cannot be used: 3 problems"
    assert all(text.startswith("line ") for text in found.descriptions)
    assert len(found.reasons) > 1, "each has its own reason"
    assert running(served) == before


@pytest.mark.parametrize("text", ["", "[", "a: b: c", "\x00", "- 1", "null", "{}"])
def test_what_is_no_edge_file_is_an_invalid_document(served: ServedEdge, text: str) -> None:
    found = refused(served.stub.ApplyConfig, pb.ApplyConfigRequest(document=text))
    assert (found.code.name, found.reason, found.domain) == ("INVALID_ARGUMENT", "INVALID_DOCUMENT", "t1edge")
    assert found.fields


Change = Callable[[ServedEdge, dict[str, Any]], Any]


def by_apply(edge: ServedEdge, fields: dict[str, Any]) -> Any:
    return refused(edge.stub.ApplyConfig, pb.ApplyConfigRequest(document=THIRD, **fields))


def by_patch(edge: ServedEdge, fields: dict[str, Any]) -> Any:
    return refused(edge.stub.PatchConfig, patch(fields.pop("etag", running(edge).etag), REJECT_WEB, **fields))


def by_rollback(edge: ServedEdge, fields: dict[str, Any]) -> Any:
    return refused(edge.stub.Rollback, pb.RollbackRequest(revision=1, **fields))


CHANGES = pytest.mark.parametrize("change", [by_apply, by_patch, by_rollback])


@CHANGES
def test_a_change_based_on_another_configuration_is_refused(served: ServedEdge, change: Change) -> None:
    served.stub.ApplyConfig(pb.ApplyConfigRequest(document=OTHER))
    expect(change(served, {"etag": "another"}), "ABORTED", "ETAG_MISMATCH")
    assert running(served).number == 2


@CHANGES
def test_a_managed_edge_takes_changes_from_its_leader_only(served: ServedEdge, change: Change) -> None:
    served.stub.ApplyConfig(pb.ApplyConfigRequest(document=OTHER, leader_epoch=7))
    assert running(served).leader_epoch == 7
    expect(change(served, {}), "FAILED_PRECONDITION", "MANAGED")
    expect(change(served, {"leader_epoch": 6}), "FAILED_PRECONDITION", "STALE_EPOCH")
    assert running(served).number == 2


def test_a_leader_is_known_before_it_changes_anything(served: ServedEdge) -> None:
    before = running(served)
    answer = served.stub.Manage(pb.ManageRequest(leader_epoch=3))
    assert (answer.revision, answer.former_epoch) == (before, 0)
    assert answer.edge_gateway_id
    assert served.stub.Manage(pb.ManageRequest(leader_epoch=3)).former_epoch == 3
    expect(refused(served.stub.Manage, pb.ManageRequest(leader_epoch=2)), "FAILED_PRECONDITION", "STALE_EPOCH")
    for request, reason in (
        (pb.ApplyConfigRequest(document=OTHER, leader_epoch=2), "STALE_EPOCH"),
        (pb.ApplyConfigRequest(document=OTHER), "MANAGED"),
    ):
        expect(refused(served.stub.ApplyConfig, request), "FAILED_PRECONDITION", reason)
    expect(refused(served.stub.Manage, pb.ManageRequest()), "INVALID_ARGUMENT", "INVALID_ARGUMENT", "leader_epoch")
    assert running(served) == before


@CHANGES
def test_a_change_waits_until_the_one_before_is_confirmed(served: ServedEdge, change: Change) -> None:
    served.stub.ApplyConfig(pb.ApplyConfigRequest(document=OTHER, confirm_within=Duration(seconds=600)))
    expect(change(served, {}), "FAILED_PRECONDITION", "CONFIRMATION_PENDING")


@CHANGES
def test_what_the_machine_has_not_got_is_said(
    served: ServedEdge, change: Change, monkeypatch: pytest.MonkeyPatch
) -> None:
    served.stub.ApplyConfig(pb.ApplyConfigRequest(document=OTHER))

    def none_left(*_: Any, **__: Any) -> None:
        raise ResourceError("there is no memory for this configuration")

    monkeypatch.setattr(served.gateway.edge, "prepare", none_left)
    found = change(served, {"etag": running(served).etag})
    expect(found, "RESOURCE_EXHAUSTED", "RESOURCE_EXHAUSTED")
    assert found.text == "there is no memory for this configuration"
    assert running(served).number == 2


@CHANGES
def test_a_full_disk_refuses_a_change(change: Change) -> None:
    store = FailingStore()
    with serving(store=store) as served:
        served.stub.ApplyConfig(pb.ApplyConfigRequest(document=OTHER))
        store.full = True
        expect(change(served, {}), "RESOURCE_EXHAUSTED", "STORAGE_FAILED")
        assert running(served).number == 2


@CHANGES
@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"comment": "x" * 1025}, "comment"),
        ({"confirm_within": Duration(nanos=999_999_999)}, "confirm_within"),
        ({"confirm_within": Duration(seconds=3600, nanos=1)}, "confirm_within"),
        ({"confirm_within": Duration(seconds=-5)}, "confirm_within"),
        ({"confirm_within": Duration(seconds=5), "validate_only": True}, "confirm_within"),
        ({"leader_epoch": 1 << 63}, "leader_epoch"),
    ],
)
def test_conditions_that_cannot_be_meant_are_named(
    served: ServedEdge, change: Change, fields: dict[str, Any], field: str
) -> None:
    expect(change(served, dict(fields)), "INVALID_ARGUMENT", "INVALID_ARGUMENT", field)


def test_a_document_beyond_the_limit_is_refused(served: ServedEdge, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edge.api.service.MAX_DOCUMENT", 1 << 20)
    found = refused(served.stub.ApplyConfig, pb.ApplyConfigRequest(document=" " * ((1 << 20) + 1)))
    expect(found, "RESOURCE_EXHAUSTED", "MESSAGE_TOO_LARGE")
    assert found.text == "the document has more than 1 MiB"


# ------------------------------------------------------------------ PatchConfig


def test_patch_changes_one_object(served: ServedEdge) -> None:
    before = running(served)
    answer = served.stub.PatchConfig(patch(before.etag, REJECT_WEB, comment="no web today"))
    assert (answer.revision.number, answer.revision.comment) == (2, "no web today")
    (change,) = answer.changes
    assert (change.name, change.kind) == ("in-web", config_pb2.CHANGE_KIND_CHANGED)
    assert {part.path for part in change.fields} >= {"actionValue"}
    assert running(served) == answer.revision


def test_patch_adds_moves_and_deletes_in_one_change(served: ServedEdge) -> None:
    edits = [
        config_pb2.Edit(section="userDefinedRules", upsert={"object": '{"name": "new", "actionValue": "DROP"}'}),
        config_pb2.Edit(
            section="userDefinedRules",
            move={"object": {"name": "out"}, "position": {"before": {"name": "in-web"}}},
        ),
        config_pb2.Edit(section="natRules", delete={"object": {"name": "internet"}}),
    ]
    answer = served.stub.PatchConfig(patch(running(served).etag, *edits))
    assert {(change.name, change.kind) for change in answer.changes} >= {
        ("new", config_pb2.CHANGE_KIND_ADDED),
        ("internet", config_pb2.CHANGE_KIND_REMOVED),
    }
    document = json.loads(served.stub.GetConfig(pb.GetConfigRequest()).document)
    assert [rule["name"] for rule in document["firewallRules"]["userDefinedRules"]] == ["out", "in-web", "new"]
    assert [rule["name"] for rule in document["natRules"]] == ["pub-web"]


def test_patch_needs_an_etag_and_an_edit(served: ServedEdge) -> None:
    expect(refused(served.stub.PatchConfig, patch("", REJECT_WEB)), "INVALID_ARGUMENT", "MISSING_ETAG")
    found = refused(served.stub.PatchConfig, patch(running(served).etag))
    expect(found, "INVALID_ARGUMENT", "INVALID_ARGUMENT", "edits")


@pytest.mark.parametrize(
    "edit",
    [
        config_pb2.Edit(section="natRules", delete={"object": {"name": "nothing"}}),
        config_pb2.Edit(section="natRules", delete={"object": {"id": "nothing"}}),
        config_pb2.Edit(section="natRules", move={"object": {"name": "nothing"}, "position": {"index": 0}}),
        config_pb2.Edit(
            section="natRules", move={"object": {"name": "internet"}, "position": {"after": {"name": "nothing"}}}
        ),
    ],
)
def test_an_edit_of_what_is_not_there_is_not_found(served: ServedEdge, edit: config_pb2.Edit) -> None:
    good = config_pb2.Edit(section="natRules", delete={"object": {"name": "pub-web"}})
    found = refused(served.stub.PatchConfig, patch(running(served).etag, good, edit))
    assert (found.code.name, found.reason, found.domain) == ("NOT_FOUND", "OBJECT_UNKNOWN", "t1edge")
    assert [field.partition(".")[0] for field in found.fields] == ["edits[1]"]
    assert running(served).number == 1


@pytest.mark.parametrize(
    ("edit", "field"),
    [
        (config_pb2.Edit(), "edits[0].section"),
        (config_pb2.Edit(section="natRules"), "edits[0]"),
        (config_pb2.Edit(section="natRules", delete={}), "edits[0].delete.object"),
        (config_pb2.Edit(section="natRules", delete={"object": {"id": ""}}), "edits[0].delete.object"),
        (config_pb2.Edit(section="natRules", move={"object": {"name": "internet"}}), "edits[0].move.position"),
        (
            config_pb2.Edit(section="natRules", upsert={"object": "{name: x}", "position": {"before": {}}}),
            "edits[0].upsert.position.before",
        ),
        (config_pb2.Edit(section="nothing", delete={"object": {"name": "x"}}), "edits[0].section"),
    ],
)
def test_an_edit_that_says_nothing_is_named(served: ServedEdge, edit: config_pb2.Edit, field: str) -> None:
    found = refused(served.stub.PatchConfig, patch(running(served).etag, edit))
    expect(found, "INVALID_ARGUMENT", "INVALID_ARGUMENT", field)


def test_a_patch_that_makes_the_document_invalid_is_refused_whole(served: ServedEdge) -> None:
    edit = config_pb2.Edit(section="firewallGroups", delete={"object": {"name": "web-srv"}})
    found = refused(served.stub.PatchConfig, patch(running(served).etag, edit))
    assert (found.code.name, found.reason) == ("INVALID_ARGUMENT", "INVALID_DOCUMENT")
    assert found.fields == ["firewallRules.userDefinedRules[0].destinationFirewallGroups[0]"]
    assert running(served).number == 1


@pytest.mark.parametrize("text", ["", "[1]", "{", "\x00", "name: [", "7"])
def test_an_object_that_is_none_is_refused(served: ServedEdge, text: str) -> None:
    edit = config_pb2.Edit(section="natRules", upsert={"object": text})
    found = refused(served.stub.PatchConfig, patch(running(served).etag, edit))
    assert found.code.name == "INVALID_ARGUMENT"
    assert found.reason in ("INVALID_DOCUMENT", "INVALID_ARGUMENT")
    assert found.fields


# ------------------------------------------------------------------ ConfirmConfig


def test_confirm_keeps_a_change(served: ServedEdge) -> None:
    pending = served.stub.ApplyConfig(
        pb.ApplyConfigRequest(document=OTHER, confirm_within=Duration(seconds=600))
    ).revision
    expect(refused(served.stub.ConfirmConfig, pb.ConfirmConfigRequest(etag="another")), "ABORTED", "ETAG_MISMATCH")
    kept = served.stub.ConfirmConfig(pb.ConfirmConfigRequest(etag=pending.etag)).revision
    assert (kept.number, kept.etag) == (pending.number, pending.etag)
    assert not kept.HasField("confirm_deadline")
    expect(
        refused(served.stub.ConfirmConfig, pb.ConfirmConfigRequest(etag=pending.etag)),
        "FAILED_PRECONDITION", "NOTHING_PENDING",
    )  # fmt: skip
    assert running(served) == kept


def test_confirm_needs_an_etag(served: ServedEdge) -> None:
    expect(refused(served.stub.ConfirmConfig, pb.ConfirmConfigRequest()), "INVALID_ARGUMENT", "MISSING_ETAG")


# ------------------------------------------------------------------ GetConfig, ListRevisions


def test_get_answers_the_complete_document(served: ServedEdge) -> None:
    answer = served.stub.GetConfig(pb.GetConfigRequest())
    document = json.loads(answer.document)
    written = yaml.safe_load(SAMPLE)
    rules = document["firewallRules"]["userDefinedRules"]
    assert [rule["name"] for rule in rules] == [rule["name"] for rule in written["firewallRules"]["userDefinedRules"]]
    assert all(rule["id"] for rule in rules)
    assert rules[1]["enabled"] is True, "defaults are filled in"
    again = served.stub.ApplyConfig(pb.ApplyConfigRequest(document=answer.document, validate_only=True))
    assert list(again.changes) == []


def test_get_answers_an_earlier_revision(served: ServedEdge) -> None:
    first = served.stub.GetConfig(pb.GetConfigRequest())
    served.stub.ApplyConfig(pb.ApplyConfigRequest(document=OTHER))
    assert served.stub.GetConfig(pb.GetConfigRequest(revision=1)) == first
    assert served.stub.GetConfig(pb.GetConfigRequest(revision=2)) == served.stub.GetConfig(pb.GetConfigRequest())


NUMBERS = pytest.mark.parametrize("number", [99, (1 << 63) - 1, 1 << 63, (1 << 64) - 1])


@NUMBERS
def test_a_revision_that_never_was_is_not_found(served: ServedEdge, number: int) -> None:
    expect(refused(served.stub.GetConfig, pb.GetConfigRequest(revision=number)), "NOT_FOUND", "REVISION_UNKNOWN")
    expect(refused(served.stub.Rollback, pb.RollbackRequest(revision=number)), "NOT_FOUND", "REVISION_UNKNOWN")


@NUMBERS
def test_nor_in_a_store_on_disk(number: int, tmp_path: Any) -> None:
    from edge.store import RevisionStore

    with serving(store=RevisionStore(tmp_path)) as served:
        expect(refused(served.stub.GetConfig, pb.GetConfigRequest(revision=number)), "NOT_FOUND", "REVISION_UNKNOWN")
        expect(refused(served.stub.Rollback, pb.RollbackRequest(revision=number)), "NOT_FOUND", "REVISION_UNKNOWN")


def test_revisions_are_listed_newest_first_page_by_page(served: ServedEdge) -> None:
    for number, text in enumerate((OTHER, THIRD, OTHER, SAMPLE), 2):
        served.stub.ApplyConfig(pb.ApplyConfigRequest(document=text, comment=f"number {number}"))
    pages: list[list[int]] = []
    token = ""
    while True:
        page = served.stub.ListRevisions(pb.ListRevisionsRequest(page_size=2, page_token=token))
        pages.append([item.number for item in page.revisions])
        token = page.next_page_token
        if not token:
            break
    assert pages == [[5, 4], [3, 2], [1]]
    whole = served.stub.ListRevisions(pb.ListRevisionsRequest())
    assert [item.comment for item in whole.revisions] == ["number 5", "number 4", "number 3", "number 2", ""]
    assert whole.revisions[0] == running(served)
    assert whole.next_page_token == ""
    exact = served.stub.ListRevisions(pb.ListRevisionsRequest(page_size=5))
    assert (len(exact.revisions), exact.next_page_token) == (5, "")


TOKENS = pytest.mark.parametrize(
    "token",
    # Not base64, other things in base64, numbers that no listing ever reaches.
    ["?", "AAAA", "cmV2aXNpb25zOg==", "b3RoZXI6MQ==", "cmV2aXNpb25zOi01", "c2Vzc2lvbnM6LTU=", "\u00fc",
     "cmV2aXNpb25zOjk5OTk5OTk5OTk5OTk5OTk5OTk5OTk5", "c2Vzc2lvbnM6OTk5OTk5OTk5OTk5OTk5OTk5OTk5OTk5"],
)  # fmt: skip


@TOKENS
def test_a_page_token_that_was_never_handed_out_is_refused(served: ServedEdge, token: str) -> None:
    for call, request in (
        (served.stub.ListRevisions, pb.ListRevisionsRequest(page_token=token)),
        (served.stub.ListSessions, pb.ListSessionsRequest(page_token=token)),
    ):
        expect(refused(call, request), "INVALID_ARGUMENT", "INVALID_PAGE_TOKEN", "page_token")


def test_a_page_of_less_than_nothing_is_refused(served: ServedEdge) -> None:
    found = refused(served.stub.ListRevisions, pb.ListRevisionsRequest(page_size=-1))
    expect(found, "INVALID_ARGUMENT", "INVALID_ARGUMENT", "page_size")


# ------------------------------------------------------------------ Rollback


def test_rollback_applies_the_revision_before_as_a_new_one(served: ServedEdge) -> None:
    first = running(served)
    allowed = verdict(served)
    served.stub.ApplyConfig(pb.ApplyConfigRequest(document=OTHER))
    assert verdict(served) != allowed
    answer = served.stub.Rollback(pb.RollbackRequest(comment="back"))
    revision = answer.revision
    assert (revision.number, revision.restored_from, revision.comment) == (3, 1, "back")
    assert revision.etag == running(served).etag
    assert [change.name for change in answer.changes] == ["in-web"]
    assert verdict(served) == allowed
    assert served.stub.GetConfig(pb.GetConfigRequest(revision=1)).revision == first


def test_rollback_under_validate_only_changes_nothing(served: ServedEdge) -> None:
    served.stub.ApplyConfig(pb.ApplyConfigRequest(document=OTHER))
    before = running(served)
    answer = served.stub.Rollback(pb.RollbackRequest(revision=1, validate_only=True))
    assert answer.revision == before
    assert [change.name for change in answer.changes] == ["in-web"]
    assert running(served) == before


def test_there_is_nothing_before_the_first_revision(served: ServedEdge) -> None:
    expect(refused(served.stub.Rollback, pb.RollbackRequest()), "NOT_FOUND", "REVISION_UNKNOWN")
