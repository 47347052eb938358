"""The services of ``control.v1`` and the classes of their messages."""

from __future__ import annotations

from importlib import import_module
from pkgutil import iter_modules
from types import MappingProxyType
from typing import Any

from google.protobuf import message_factory

from control import v1

_FILES = tuple(
    import_module(f"{v1.__name__}.{found.name}")
    for found in sorted(iter_modules(v1.__path__), key=lambda found: found.name)
    if found.name.endswith("_pb2") and found.name != "comments_pb2"
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
