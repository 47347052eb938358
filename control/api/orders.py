"""OrderService, and the list of public addresses."""

from __future__ import annotations

from types import MappingProxyType
from typing import Any

from control import names, orders
from control.api import convert, messages
from control.api.context import ReadCall, WriteCall
from control.api.kinds import fill, told
from control.api.method import Method
from control.errors import NoSuchObjectError
from control.kinds import EDGE_GATEWAY, NETWORK, VDC
from control.kinds.allocations import allocations
from control.objects.region import WanAccess
from control.objects.vdc import Vdc
from control.v1 import edge_pb2
from control.v1 import order_pb2 as pb


def order_vdc(request: pb.OrderVdcRequest, call: WriteCall) -> pb.OrderVdcResponse:
    """A data center, and what comes with the first."""
    fields = messages.read(request.vdc, "vdc", Vdc.model_fields)
    vdc, made = orders.order_vdc(call.changes, request.parent, fields)
    answer = pb.OrderVdcResponse()
    fill(VDC, answer.vdc, vdc, call)
    call.note(vdc.path, fields=told(VDC, vdc), **(_tell(answer, made, call) if made else {}))
    answer.task.CopyFrom(convert.task_message(call.unit.done("Order Virtual Data Center", vdc.path)))
    return answer


def add_edge_gateway(request: pb.AddEdgeGatewayRequest, call: WriteCall) -> pb.AddEdgeGatewayResponse:
    """Another edge."""
    vdc = names.parse(request.vdc, VDC.form, "vdc")
    if names.organization(vdc) != request.parent:
        raise NoSuchObjectError(vdc)
    access = messages.read(request, "", {"wan_access"}).get("wan_access", WanAccess.INTERNET)
    made = orders.add_edge_gateway(
        call.changes, request.parent, call.unit.get(vdc), WanAccess(access), request.gateway_cidr, request.lan_name
    )
    answer = pb.AddEdgeGatewayResponse()
    call.note(made.edge.path, vdc=vdc, **_tell(answer, made, call))
    answer.task.CopyFrom(convert.task_message(call.unit.done("Add Edge Gateway", made.edge.path)))
    return answer


def add_public_ip_address(request: pb.AddPublicIpAddressRequest, call: WriteCall) -> pb.AddPublicIpAddressResponse:
    """More addresses for an edge."""
    edge, added = orders.add_public_addresses(call.changes, call.unit.get(request.edge), request.quantity)
    answer = pb.AddPublicIpAddressResponse(addresses=added)
    fill(EDGE_GATEWAY, answer.edge_gateway, edge, call)
    call.note(edge.path, addresses=added)
    answer.task.CopyFrom(convert.task_message(call.unit.done("Add Public IP Address", edge.path)))
    return answer


def release_public_ip_address(
    request: pb.ReleasePublicIpAddressRequest, call: WriteCall
) -> pb.ReleasePublicIpAddressResponse:
    """One address less."""
    edge = orders.release_public_address(call.changes, call.unit.get(request.edge), request.address)
    answer = pb.ReleasePublicIpAddressResponse()
    fill(EDGE_GATEWAY, answer.edge_gateway, edge, call)
    call.note(edge.path, addresses=[request.address])
    answer.task.CopyFrom(convert.task_message(call.unit.done("Release Public IP Address", edge.path)))
    return answer


def list_ip_allocations(
    request: edge_pb2.ListIpAllocationsRequest, call: ReadCall
) -> edge_pb2.ListIpAllocationsResponse:
    """The public addresses of an edge."""
    answer = edge_pb2.ListIpAllocationsResponse()
    for address, users in allocations(call.state, call.state.get(request.parent)).items():
        found = answer.ip_allocations.add(address=address)
        for user in users:
            found.users.add(category=user.category, name=user.name, display_name=user.display_name)
    return answer


def _tell(answer: Any, made: orders.NewEdge, call: WriteCall) -> dict[str, Any]:
    """The edge and the network of an order: in the answer, and their names for the audit record."""
    fill(EDGE_GATEWAY, answer.edge_gateway, made.edge, call)
    fill(NETWORK, answer.network, made.network, call)
    return {"edge": made.edge.path, "network": made.network.path}


_EDGE = EDGE_GATEWAY.form

HANDLERS = MappingProxyType(
    {
        "OrderService/OrderVdc": Method(order_vdc, ("parent", "orgs/*")),
        "OrderService/AddEdgeGateway": Method(add_edge_gateway, ("parent", "orgs/*")),
        "OrderService/AddPublicIpAddress": Method(add_public_ip_address, ("edge", _EDGE)),
        "OrderService/ReleasePublicIpAddress": Method(release_public_ip_address, ("edge", _EDGE)),
        "EdgeGatewayService/ListIpAllocations": Method(list_ip_allocations, ("parent", _EDGE)),
    }
)
