"""EdgeHostService: where edges run, and how their hosts become known."""

from __future__ import annotations

import json

from control import names
from control.access.enrolment import new_enrolment
from control.api import convert
from control.api.context import OpenCall, ReadCall, WriteCall
from control.errors import NoSuchObjectError
from control.store import Reader
from control.store.records import EdgeHost
from control.v1 import edge_host_pb2 as pb
from edge.errors import ArgumentError, EdgeError
from edge.listening import parse_address


def get_edge_host(request: pb.GetEdgeHostRequest, call: ReadCall) -> pb.GetEdgeHostResponse:
    """Where an edge runs."""
    return pb.GetEdgeHostResponse(edge_host=_message(call.state, request.edge))


def set_edge_host(request: pb.SetEdgeHostRequest, call: WriteCall) -> pb.SetEdgeHostResponse:
    """Have it run elsewhere; whoever has enrolled, or could have, is forgotten."""
    unit, given = call.unit, request.edge_host
    edge = unit.get(given.edge).path
    if given.address:
        _check_address(given.address)
        unit.set_edge_host(EdgeHost(edge, given.address))
    else:
        unit.remove_edge_host(edge)
    unit.touch(edge)
    _note(call, "SetEdgeHost", edge, given.address)
    task = unit.done("Move Edge Gateway", edge)
    return pb.SetEdgeHostResponse(edge_host=_message(unit, edge), task=convert.task_message(task))


def create_enrollment_token(
    request: pb.CreateEnrollmentTokenRequest, call: WriteCall
) -> pb.CreateEnrollmentTokenResponse:
    """A token for the host that an edge is to run on."""
    edge = call.unit.get(request.edge).path
    token, until_ns = new_enrolment(call.unit, call.vault, edge, request.address)
    _note(call, "CreateEnrollmentToken", edge, request.address)
    return pb.CreateEnrollmentTokenResponse(
        token="" if call.trial else token, expire_time=convert.timestamp(until_ns)
    )  # fmt: skip


def enroll(request: pb.EnrollRequest, call: OpenCall) -> pb.EnrollResponse:
    """A certificate for a token."""
    found = call.enrolments.enrol(request.token, request.certificate_signing_request)
    return pb.EnrollResponse(
        edge=found.edge, certificate=found.certificate, certificate_authority=found.authorities,
        expire_time=convert.timestamp(found.expires_ns),
    )  # fmt: skip


def _note(call: WriteCall, method: str, edge: str, address: str) -> None:
    """In the trail of the edge's organization that it was done, in the provider's also with which host."""
    call.note(edge)
    details = json.dumps({"address": address})
    call.unit.record(names.SYSTEM, f"EdgeHostService/{method}", edge, details=details)


def list_former_hosts(_: pb.ListFormerHostsRequest, call: ReadCall) -> pb.ListFormerHostsResponse:
    """What is to be cleared."""
    found = [
        pb.FormerHost(
            edge=host.edge, address=host.address, leave_time=convert.timestamp(host.since_ns), reason=host.reason,
            message=host.message,
        )
        for host in call.state.former_hosts()
    ]  # fmt: skip
    return pb.ListFormerHostsResponse(former_hosts=found)


def forget_former_host(request: pb.ForgetFormerHostRequest, call: WriteCall) -> pb.ForgetFormerHostResponse:
    """Give it up."""
    if not call.unit.forget_former_host(request.edge, request.address):
        raise NoSuchObjectError(f"former host {request.address!r} of {request.edge}")
    # The organization may be gone, too: the trail of those who look after hosts is always there.
    call.note(request.edge, place=names.SYSTEM, address=request.address)
    return pb.ForgetFormerHostResponse()


def _check_address(text: str) -> None:
    try:
        local = parse_address(text).local
    except EdgeError as error:
        raise ArgumentError("the address is wrong", [("edge_host.address", str(error))]) from None
    if not local:
        expected = "expected one of this machine: others enroll, with a token of CreateEnrollmentToken"
        raise ArgumentError("the address is another machine's", [("edge_host.address", expected)])


def _message(state: Reader, edge: str) -> pb.EdgeHost:
    known = state.edge_host(state.get(edge).path) or EdgeHost(edge)
    expires = convert.timestamp(known.certificate_until_ns if known.identity else None)
    return pb.EdgeHost(edge=edge, address=known.address, certificate_expire_time=expires)
