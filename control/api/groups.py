"""What GroupService has besides the methods of every kind: which machines a group holds."""

from __future__ import annotations

from types import MappingProxyType

from control.api.context import ReadCall
from control.api.lists import page
from control.api.method import Method
from control.gather import group_machines
from control.kinds.groups import SECURITY_GROUP
from control.v1 import group_pb2 as pb


def list_security_group_machines(
    request: pb.ListSecurityGroupMachinesRequest, call: ReadCall
) -> pb.ListSecurityGroupMachinesResponse:
    """Those that it holds now."""
    group = call.state.get(request.parent)
    every = [
        pb.SecurityGroupMachine(name=each.name, display_name=each.display_name, ip_addresses=each.addresses)
        for each in group_machines(call.state, group)
    ]
    machines, token = page(f"{group.path}/machines", request, every, {})
    return pb.ListSecurityGroupMachinesResponse(machines=machines, next_page_token=token)


HANDLERS = MappingProxyType(
    {"GroupService/ListSecurityGroupMachines": Method(list_security_group_machines, ("parent", SECURITY_GROUP.form))}
)
