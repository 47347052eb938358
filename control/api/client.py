"""A client's side: calls with plain dictionaries, in the field names of the JSON of protobuf."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from types import TracebackType
from typing import Any, Self

import grpc
from google.protobuf import json_format, message_factory
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp

from control import chain
from control.access.host import CONTROL
from control.api.contract import SERVICES
from edge.api.client import OPTIONS, open_channel, target_of, translated
from edge.api.tls import TlsFiles
from edge.errors import ArgumentError
from edge.listening import parse_address

_METHODS = {f"{service.name}/{method.name}": method for service in SERVICES for method in service.methods}


class ControlClient:
    """A control plane, called synchronously.  Methods raise UnreachableError when nobody answers, CallError when it
    refuses, and ArgumentError for a request that is none."""

    def __init__(
        self,
        address: str,
        token: str = "",
        tls: TlsFiles | None = None,
        *,
        timeout_s: float = 30.0,
        channel: grpc.Channel | None = None,
    ) -> None:
        """``channel``: what to use in place of one of its own making."""
        self._address = address
        self._timeout_s = timeout_s
        self._metadata = (("authorization", f"Bearer {token}"),) if token else ()
        self._channel = channel or open_channel(address, tls)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._channel.close()

    def call(self, name: str, request: Mapping[str, Any]) -> dict[str, Any]:
        """Call ``Service/Method``; every field without presence is in the answer."""
        request_class, stub = self._stub("unary_unary", name)
        message = _message(request_class, request)
        try:
            found = stub(message, timeout=self._timeout_s, metadata=self._metadata)
        except grpc.RpcError as error:
            raise translated(error, self._address) from None
        return json_format.MessageToDict(found, always_print_fields_with_no_presence=True)

    def watch(self, name: str, request: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
        """The answers of a stream, until the service stops (UnreachableError) or the caller does."""
        request_class, stub = self._stub("unary_stream", name)
        message = _message(request_class, request)
        try:
            for found in stub(message, metadata=self._metadata):
                yield json_format.MessageToDict(found, always_print_fields_with_no_presence=True)
        except grpc.RpcError as error:
            raise translated(error, self._address) from None

    def converse(self, name: str, requests: Iterator[Mapping[str, Any]]) -> Iterator[dict[str, Any]]:
        """The answers of a method to which requests go all the while; the call ends with them, or with the iterator."""
        request_class, stub = self._stub("stream_stream", name)
        begun, left = threading.Event(), threading.Event()
        wrong: list[ArgumentError] = []

        def sent() -> Iterator[Any]:
            try:
                for given in requests:
                    yield _message(request_class, given)
            except ArgumentError as error:
                wrong.append(error)
            begun.wait()
            left.set()
            call.cancel()  # a service may go on when nothing more is to come

        call: Any = stub(sent(), metadata=self._metadata)
        begun.set()
        try:
            for found in call:
                yield json_format.MessageToDict(found)
        except grpc.RpcError as error:
            if not left.is_set():
                raise translated(error, self._address) from None
        finally:
            call.cancel()
        if wrong:
            raise wrong[0]

    def _stub(self, kind: str, name: str) -> tuple[type[Message], Any]:
        """The class of a method's requests, and what calls it; ``kind``: how much goes and comes, as channels say."""
        method = _METHODS[name]
        request, answer = map(message_factory.GetMessageClass, (method.input_type, method.output_type))
        stub = getattr(self._channel, kind)(
            f"/{method.containing_service.full_name}/{method.name}",
            request_serializer=lambda given: given.SerializeToString(),
            response_deserializer=answer.FromString,
        )
        return request, stub

    def pages(self, name: str, request: Mapping[str, Any], field: str) -> Iterator[dict[str, Any]]:
        """The items of a List method, from page to page."""
        token = ""
        while True:
            found = self.call(name, {"pageSize": 1_000, **request, "pageToken": token})
            yield from found[field]
            token = found["nextPageToken"]
            if not token:
                return


def door_client(address: str, authority: bytes, timeout_s: float) -> ControlClient:
    """A client of the control plane that ``authority``, PEM, is of, and of no other.  Raises AddressError."""
    parse_address(address)
    options = (*OPTIONS, ("grpc.ssl_target_name_override", CONTROL))
    trusted = grpc.ssl_channel_credentials(authority)
    channel = grpc.secure_channel(target_of(address), trusted, options=options)
    return ControlClient(address, timeout_s=timeout_s, channel=channel)


def _message(kind: type[Message], request: Mapping[str, Any]) -> Message:
    """Raises ArgumentError for what is no request of that kind."""
    try:
        return json_format.ParseDict(dict(request), kind())
    except json_format.ParseError as error:
        raise ArgumentError(f"the request cannot be meant: {error}") from None


def audit_line(record: Mapping[str, Any]) -> str:
    """A record as an export has it, see :mod:`control.chain`."""
    moment = Timestamp()
    moment.FromJsonString(record["recordTime"])
    renamed = {"requestId": "request_id", "previousHash": "previous_hash"}
    fields = {renamed.get(key, key): value for key, value in record.items() if key != "recordTime"}
    return chain.exported({**fields, "number": int(record["number"]), "time_ns": moment.ToNanoseconds()})
