"""OrgService."""

from __future__ import annotations

from control import names
from control.access.roles import Permission
from control.api import convert
from control.api.context import ReadCall, WriteCall
from control.errors import ObjectExistsError
from control.objects import Org
from control.store import listing
from control.v1 import org_pb2 as pb
from edge.errors import ArgumentError

_FIELDS = ("display_name",)


def create_org(request: pb.CreateOrgRequest, call: WriteCall) -> pb.CreateOrgResponse:
    """Make an organization."""
    value = convert.org(request.org)
    if call.unit.has_trail(f"orgs/{value.account_id}"):
        # What is told of the old one is not the new one's to read.
        raise ObjectExistsError(f"orgs/{value.account_id} is there already, or was: its trail stays")
    record = call.unit.create("org", f"orgs/{value.account_id}", value)
    call.note(record.path, place=names.SYSTEM, fields=value.model_dump(mode="json"))
    task = call.unit.done("Create Organization", record.path, place=names.SYSTEM)
    return pb.CreateOrgResponse(org=convert.org_message(record), task=convert.task_message(task))


def get_org(request: pb.GetOrgRequest, call: ReadCall) -> pb.GetOrgResponse:
    """One organization."""
    return pb.GetOrgResponse(org=convert.org_message(call.state.get(request.name)))


def list_orgs(request: pb.ListOrgsRequest, call: ReadCall) -> pb.ListOrgsResponse:
    """Those that the caller may see."""
    query = convert.query(request, listing.ORGS, "orgs")
    only = None if call.caller.may(Permission.EVERY_ORG) else call.caller.org
    records, token = call.state.orgs(query, only)
    return pb.ListOrgsResponse(orgs=map(convert.org_message, records), next_page_token=token)


def update_org(request: pb.UpdateOrgRequest, call: WriteCall) -> pb.UpdateOrgResponse:
    """Change fields."""
    chosen = convert.mask(request.update_mask.paths, _FIELDS)
    known = call.unit.get(request.org.name)
    value = known.value(Org)
    if request.org.account_id not in {"", value.account_id}:
        raise ArgumentError("the account id cannot be changed", [("org.account_id", f"expected {value.account_id}")])
    request.org.account_id = value.account_id
    record = call.unit.update(known, convert.org(request.org), request.org.etag)
    call.note(record.path, fields={name: record.body[name] for name in chosen})
    task = call.unit.done("Update Organization", record.path)
    return pb.UpdateOrgResponse(org=convert.org_message(record), task=convert.task_message(task))


def delete_org(request: pb.DeleteOrgRequest, call: WriteCall) -> pb.DeleteOrgResponse:
    """Delete one that has nothing left."""
    known = call.unit.get(request.name)
    call.unit.delete(known, request.etag)
    call.note(known.path, place=names.SYSTEM)
    task = call.unit.done("Delete Organization", known.path, place=names.SYSTEM)
    return pb.DeleteOrgResponse(task=convert.task_message(task))
