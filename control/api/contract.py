"""The services of ``control.v1`` and the classes of their messages."""

from __future__ import annotations

from types import MappingProxyType
from typing import Any

from google.protobuf import message_factory

from control.v1 import (
    api_token_pb2,
    audit_pb2,
    catalog_pb2,
    change_set_pb2,
    edge_host_pb2,
    edge_pb2,
    event_pb2,
    firewall_pb2,
    group_pb2,
    ipsec_pb2,
    load_balancer_pb2,
    machine_pb2,
    nat_pb2,
    network_pb2,
    order_pb2,
    org_pb2,
    profile_pb2,
    region_pb2,
    routing_pb2,
    session_pb2,
    task_pb2,
    user_pb2,
    vdc_pb2,
)

_FILES = (
    api_token_pb2,
    audit_pb2,
    catalog_pb2,
    change_set_pb2,
    edge_host_pb2,
    edge_pb2,
    event_pb2,
    firewall_pb2,
    group_pb2,
    ipsec_pb2,
    load_balancer_pb2,
    machine_pb2,
    nat_pb2,
    network_pb2,
    order_pb2,
    org_pb2,
    profile_pb2,
    region_pb2,
    routing_pb2,
    session_pb2,
    task_pb2,
    user_pb2,
    vdc_pb2,
)

SERVICES = tuple(service for file in _FILES for service in file.DESCRIPTOR.services_by_name.values())

_METHODS = {f"{service.name}/{method.name}": method for service in SERVICES for method in service.methods}

STREAMS = frozenset(name for name, method in _METHODS.items() if method.server_streaming)
"""Methods that answer more than once."""

REQUESTS = MappingProxyType(
    {name: message_factory.GetMessageClass(method.input_type) for name, method in _METHODS.items()}
)
ANSWERS: MappingProxyType[str, Any] = MappingProxyType(
    {name: message_factory.GetMessageClass(method.output_type) for name, method in _METHODS.items()}
)
"""Method -> the class of its answer."""
