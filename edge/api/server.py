"""The server around EdgeService."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edge.api.host import Host, credentials_for
from edge.api.service import MAX_DOCUMENT, EdgeService, register
from edge.api.tls import TlsFiles
from edge.listening import Address
from edge.v1 import edge_service_pb2

if TYPE_CHECKING:
    from edge.gateway import Gateway

__all__ = ["SERVICE", "Server", "credentials_for"]

SERVICE = edge_service_pb2.DESCRIPTOR.services_by_name["EdgeService"].full_name
_MAX_REQUEST = MAX_DOCUMENT + (16 << 20)
"""A larger document has an error of its own."""


class Server:
    """gRPC for one gateway."""

    def __init__(self, gateway: Gateway, address: Address, tls: TlsFiles | None = None) -> None:
        """Raises what :func:`credentials_for` does."""
        self._service = EdgeService(gateway)
        self._host = Host(
            address, tls, [SERVICE], lambda server: register(self._service, server), max_request=_MAX_REQUEST
        )

    async def start(self) -> Address:
        """Listen; the address with the port that was given where 0 was asked for.  Raises ListenError."""
        return await self._host.start()

    async def stop(self) -> None:
        """Say so, end the streams, let calls finish for a while, close."""
        await self._host.retire()
        self._service.stop()
        await self._host.stop()
