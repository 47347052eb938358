"""EdgeHostService: where edges run."""

from __future__ import annotations

from control.api import convert
from control.api.context import ReadCall, WriteCall
from control.store import Reader
from control.store.records import EdgeHost
from control.v1 import edge_host_pb2 as pb
from edge.errors import ArgumentError, EdgeError
from edge.listening import parse_address


def get_edge_host(request: pb.GetEdgeHostRequest, call: ReadCall) -> pb.GetEdgeHostResponse:
    """Where an edge runs."""
    return pb.GetEdgeHostResponse(edge_host=_message(call.state, request.edge))


def set_edge_host(request: pb.SetEdgeHostRequest, call: WriteCall) -> pb.SetEdgeHostResponse:
    """Have it run elsewhere."""
    unit, given = call.unit, request.edge_host
    edge = unit.get(given.edge).path
    if given.address:
        try:
            parse_address(given.address)
        except EdgeError as error:
            raise ArgumentError("the address is wrong", [("edge_host.address", str(error))]) from None
        unit.set_edge_host(EdgeHost(edge, given.address, "", 0))
    else:
        unit.remove_edge_host(edge)
    unit.touch(edge)
    call.note(edge, address=given.address)
    task = unit.done("Move Edge Gateway", edge)
    return pb.SetEdgeHostResponse(edge_host=_message(unit, edge), task=convert.task_message(task))


def _message(state: Reader, edge: str) -> pb.EdgeHost:
    known = state.edge_host(state.get(edge).path)
    return pb.EdgeHost(edge=edge, address=known.address if known else "")
