"""ChangeSetService: several requests as one; and what edges get of all of them."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Any

from google.protobuf.message import DecodeError

from control import gather, names
from control.access.methods import METHODS
from control.api import convert
from control.api.context import ReadCall, WriteCall
from control.api.contract import REQUESTS
from control.api.method import Method
from control.api.places import placed, within
from control.api.rights import target_of
from control.checking import checked_plan
from control.kinds.edges import EDGE_GATEWAY
from control.planner import Plan, plan
from control.store.records import EdgeState
from control.v1 import change_set_pb2 as pb
from control.v1 import edge_pb2
from edge.api.convert import change as change_message
from edge.diff import Change, diff
from edge.document import LoadedDocument, from_data
from edge.errors import ArgumentError
from edge.gateway.draft import etag_of
from edge.store.revision import unpacked

MAX_REQUESTS = 1_000

_OWN_FIELDS = ("validate_only", "request_id", "busy_timeout")
_NAMES = MappingProxyType({request.DESCRIPTOR.full_name: name for name, request in REQUESTS.items()})


def apply_change_set(request: pb.ApplyChangeSetRequest, call: WriteCall) -> pb.ApplyChangeSetResponse:
    """All of them, in order, or nothing."""
    org = call.unit.get(request.parent).path
    answer, noted = pb.ApplyChangeSetResponse(), []
    for index, (name, each) in enumerate(parts(request)):
        place = f"requests[{index}]"
        before, call.unit.places = call.unit.places, {}
        with placed(within(place), place):
            changed, etag = _apply(name, each, org, call)
        # A later request that changes the same object is the one that is wrong.
        call.unit.places = before | {path: f"{place}.{field}" for path, field in call.unit.places.items()}
        answer.changed.add(name=changed, etag=etag)
        noted.append({"method": name, "object": changed, **json.loads(call.noted[2] if call.noted else "{}")})
    call.note(org, changes=noted)
    if call.trial:
        gone = [each.name for each in answer.changed if not each.etag and names.fits(each.name, EDGE_GATEWAY.form)]
        answer.previews.extend([*_previews(call), *(pb.EdgePreview(edge=edge) for edge in gone)])
    answer.task.CopyFrom(convert.task_message(call.unit.done("Apply Change Set", org)))
    return answer


def get_edge_document(request: edge_pb2.GetEdgeDocumentRequest, call: ReadCall) -> edge_pb2.GetEdgeDocumentResponse:
    """What an edge should have."""
    planned = plan(gather.inputs(call.state, request.name))
    return edge_pb2.GetEdgeDocumentResponse(document=_text(planned), not_emulated=planned.not_emulated)


def parts(request: pb.ApplyChangeSetRequest) -> list[tuple[str, Any]]:
    """The requests, each with its method.  Raises ArgumentError for what cannot be part of a change set."""
    count = len(request.requests)
    if not 0 < count <= MAX_REQUESTS:
        text = f"expected 1 to {MAX_REQUESTS:,} requests, not {count:,}"
        raise ArgumentError("the change set is wrong", [("requests", text)])
    return [_part(each, f"requests[{index}]") for index, each in enumerate(request.requests)]


def _part(given: Any, place: str) -> tuple[str, Any]:
    name = _NAMES.get(given.TypeName(), "")
    if name not in METHODS or not METHODS[name].writes:
        text = "expected a Create, Update, Delete, Move or Replace request of what lies in an organization"
        raise ArgumentError("the change set is wrong", [(place, text)])
    try:
        found = REQUESTS[name].FromString(given.value)
    except DecodeError:
        raise ArgumentError("the change set is wrong", [(place, "it is no message of its type")]) from None
    for field in found.DESCRIPTOR.fields:
        if field.name in _OWN_FIELDS and (
            found.HasField(field.name) if field.has_presence else getattr(found, field.name)
        ):
            raise ArgumentError(
                "the change set is wrong", [(f"{place}.{field.name}", "expected in the change set only")]
            )
    return name, found


def _apply(name: str, request: Any, org: str, call: WriteCall) -> tuple[str, str]:
    """One of them."""
    method = call.methods[name]
    if method.apply is None:
        raise ArgumentError("the change set is wrong", [("", f"{name} cannot be part of a change set")])
    target = target_of(method, request)
    if (names.organization(target) if target else names.SYSTEM) != org:
        field = method.target[0] if method.target else ""
        raise ArgumentError("the change set is wrong", [(field, f"expected an object of {org}")])
    return method.apply(request, call)


def _previews(call: WriteCall) -> Iterator[pb.EdgePreview]:
    with call.stored() as before:
        for edge in call.unit.touched():
            planned, loaded = checked_plan(gather.inputs(call.unit, edge), call.unit.places)
            stored = plan(gather.inputs(before, edge)).document if before.find(edge) else None
            old = from_data(stored) if stored else None
            yield pb.EdgePreview(
                edge=edge,
                document=_text(planned),
                changes=map(change_message, _changes(old, loaded)),
                not_emulated=planned.not_emulated,
                running=_running(call, before.edge_state(edge), stored, loaded) if stored else None,
            )


def _running(
    call: WriteCall, state: EdgeState | None, stored: Mapping[str, Any], new: LoadedDocument
) -> pb.RunningDocument:
    """What an edge runs instead of what is ``stored``, and how ``new`` differs from that."""
    if state is None:
        return pb.RunningDocument()
    # Where another replica leads, its word has to do.
    told = (state.realized_etag, None) if state.status == "REALIZED" else ("", None)
    etag, packed = call.running(state.path) or told
    found = pb.RunningDocument(revision=state.realized, etag=etag)
    if etag == etag_of(stored):
        found.kind = pb.RUNNING_KIND_STORED
    elif packed is not None:
        found.kind = pb.RUNNING_KIND_OTHER
        runs = from_data(json.loads(unpacked(packed)), allow_unsupported=True)
        found.changes.extend(map(change_message, diff(runs, new)))
    return found


def _text(planned: Plan) -> str:
    return json.dumps(planned.document, ensure_ascii=False)


def _changes(old: LoadedDocument | None, new: LoadedDocument) -> list[Change]:
    return diff(old, new) if old is not None else []


HANDLERS = MappingProxyType(
    {
        "ChangeSetService/ApplyChangeSet": Method(apply_change_set, ("parent", "orgs/*"), parts=parts),
        "EdgeGatewayService/GetEdgeDocument": Method(get_edge_document, ("name", EDGE_GATEWAY.form)),
    }
)
