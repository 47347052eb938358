"""A served edge in the test's own process: gateway and server on an event loop in a thread."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from ipaddress import ip_address
from pathlib import Path
from typing import Any, TypeVar

import grpc
from google.rpc import error_details_pb2
from grpc_status import rpc_status

from edge.api.server import Server
from edge.api.tls import TlsFiles
from edge.bench.frames import udp_frame
from edge.gateway import Gateway
from edge.gateway.workshop import Workshop
from edge.listening import Address, parse_address
from edge.store import MemoryStore
from edge.v1 import edge_service_pb2_grpc, packet_pb2
from tests.support import SAMPLE

T = TypeVar("T")
WAIT_S = 20.0
INSIDE = int(ip_address("10.20.0.10"))
OUTSIDE = int(ip_address("198.51.100.99"))


class ServedEdge:
    """Where it listens, the gateway behind it, and a stub."""

    def __init__(self, loop: asyncio.AbstractEventLoop, gateway: Gateway, server: Server, address: Address) -> None:
        self.loop = loop
        self.gateway = gateway
        self.server = server
        self.address = address
        self.target = str(address)
        self.channel = grpc.insecure_channel(self.target, options=[("grpc.max_receive_message_length", -1)])
        self.stub: Any = edge_service_pb2_grpc.EdgeServiceStub(self.channel)  # type: ignore[no-untyped-call]

    @property
    def service(self) -> Any:
        return self.server._service

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Carry something out on the event loop of the server."""
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(WAIT_S)


@contextmanager
def serving(
    text: str = SAMPLE,
    *,
    listen: str = "127.0.0.1:0",
    tls: TlsFiles | None = None,
    store: Any = None,
    workers: int = 1,
) -> Iterator[ServedEdge]:
    """An edge that is served until the end of the block."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()

    async def begin() -> tuple[Gateway, Server, Address]:
        workshop = Workshop(large_text=1 << 20, large_stored=1 << 20)
        gateway = Gateway(store or MemoryStore(), seed=1, workshop=workshop, workers=workers)
        await gateway.start(text)
        server = Server(gateway, parse_address(listen), tls)
        return gateway, server, await server.start()

    try:
        gateway, server, address = asyncio.run_coroutine_threadsafe(begin(), loop).result(WAIT_S)
        served = ServedEdge(loop, gateway, server, address)
        try:
            yield served
        finally:
            served.channel.close()
            served.run(server.stop())
            served.run(gateway.close())
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join(WAIT_S)
        loop.close()


class Refused:
    """What a failed call says."""

    def __init__(self, error: grpc.RpcError) -> None:
        call: Any = error
        status = rpc_status.from_call(call)
        self.code: grpc.StatusCode = call.code()
        self.text: str = call.details()
        self.reason = self.domain = ""
        self.fields: list[str] = []
        self.descriptions: list[str] = []
        self.reasons: set[str] = set()
        for detail in status.details if status else ():
            info, bad_request = error_details_pb2.ErrorInfo(), error_details_pb2.BadRequest()
            if detail.Unpack(info):
                self.reason, self.domain = info.reason, info.domain
            elif detail.Unpack(bad_request):
                self.fields = [item.field for item in bad_request.field_violations]
                self.descriptions = [item.description for item in bad_request.field_violations]
                self.reasons = {item.reason for item in bad_request.field_violations}


def refused(call: Any, request: Any) -> Refused:
    """How a call fails; an answer is an error of the test."""
    try:
        answer = call(request, timeout=WAIT_S)
        if hasattr(answer, "__next__"):
            answer = list(answer)
    except grpc.RpcError as error:
        return Refused(error)
    raise AssertionError(f"expected an error, not {answer}")


def expect(found: Refused, code: str, reason: str, *fields: str) -> None:
    """An error is this one, about these fields of the request."""
    assert (found.code.name, found.reason, found.domain) == (code, reason, "t1edge"), found.text
    assert found.fields == list(fields)
    assert found.text


def out_frame(number: int = 0) -> packet_pb2.Frame:
    """A UDP packet from LAN-ACME to the world; each number begins another session."""
    return packet_pb2.Frame(
        port="LAN-ACME", data=udp_frame(INSIDE + (number >> 14), 1024 + (number & 0x3FFF), OUTSIDE, 53)
    )


def files_of(directory: Path, authority: Any, issued: Any, name: str = "edge") -> TlsFiles:
    """Certificates as files, each replaced in one step."""
    found = TlsFiles(directory / f"{name}.pem", directory / f"{name}.key", directory / f"{name}-ca.pem")
    for path, content in (
        (found.certificate, b"".join(blob.bytes() for blob in issued.cert_chain_pems)),
        (found.key, issued.private_key_pem.bytes()),
        (found.authorities, authority.cert_pem.bytes()),
    ):
        new = path.with_suffix(".new")
        new.write_bytes(content)
        new.replace(path)
    return found
