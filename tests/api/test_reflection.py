"""A client that has no generated code: it asks the server what there is, and calls that.  Health besides."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import grpc
import pytest
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from edge.v1 import edge_service_pb2
from tests.api.served import WAIT_S, ServedEdge, serving
from tests.gateways import OTHER, WEB

SERVICE = "edge.v1.EdgeService"


class Explorer:
    """Calls methods by their names, with messages made from the descriptors that the server hands out."""

    def __init__(self, target: str) -> None:
        self._channel = grpc.insecure_channel(target)
        self._stub: Any = reflection_pb2_grpc.ServerReflectionStub(self._channel)  # type: ignore[no-untyped-call]
        self._pool = descriptor_pool.DescriptorPool()
        self._known: set[str] = set()
        self._load(self._files(file_containing_symbol=SERVICE))

    def services(self) -> list[str]:
        (answer,) = self._stub.ServerReflectionInfo(
            iter([reflection_pb2.ServerReflectionRequest(list_services="")]), timeout=WAIT_S
        )
        return [service.name for service in answer.list_services_response.service]

    def _files(self, **question: str) -> list[descriptor_pb2.FileDescriptorProto]:
        request = reflection_pb2.ServerReflectionRequest(**question)
        (answer,) = self._stub.ServerReflectionInfo(iter([request]), timeout=WAIT_S)
        assert not answer.HasField("error_response"), answer.error_response
        blobs = answer.file_descriptor_response.file_descriptor_proto
        return [descriptor_pb2.FileDescriptorProto.FromString(blob) for blob in blobs]

    def _load(self, files: list[descriptor_pb2.FileDescriptorProto]) -> None:
        for file in files:
            if file.name in self._known:
                continue
            self._known.add(file.name)
            for needed in file.dependency:
                self._load(self._files(file_by_filename=needed))
            self._pool.Add(file)  # type: ignore[no-untyped-call]

    def call(self, name: str, **fields: Any) -> Any:
        method = self._pool.FindServiceByName(SERVICE).methods_by_name[name]
        request, answer = (message_factory.GetMessageClass(kind) for kind in (method.input_type, method.output_type))
        path = f"/{SERVICE}/{name}"
        kind: Callable[..., Any] = self._channel.unary_stream if method.server_streaming else self._channel.unary_unary
        call = kind(path, request_serializer=request.SerializeToString, response_deserializer=answer.FromString)
        return call(request(**fields), timeout=WAIT_S)

    def close(self) -> None:
        self._channel.close()


def test_a_client_that_knows_only_reflection_can_do_everything(served: ServedEdge) -> None:
    explorer = Explorer(served.target)
    try:
        assert SERVICE in explorer.services()
        events = explorer.call("WatchEvents")
        while not served.gateway.events._readers:
            time.sleep(0.01)
        applied = explorer.call("ApplyConfig", document=OTHER, comment="found by reflection")
        assert (applied.revision.number, applied.changes[0].name) == (2, "in-web")
        traced = explorer.call("Trace", packets=[{"text": WEB}])
        names = type(traced.packets[0]).DESCRIPTOR.fields_by_name["verdict"].enum_type.values_by_number
        assert names[traced.packets[0].verdict].name == "VERDICT_REJECT"
        assert traced.packets[0].explanation
        batch = next(events)
        assert batch.events[0].config.revision.comment == "found by reflection"
        assert batch.resume_token
        events.cancel()
    finally:
        explorer.close()


def test_reflection_tells_of_every_call() -> None:
    with serving() as served:
        explorer = Explorer(served.target)
        found = explorer._pool.FindServiceByName(SERVICE)
        explorer.close()
    assert list(found.methods_by_name) == list(
        edge_service_pb2.DESCRIPTOR.services_by_name["EdgeService"].methods_by_name
    )


@pytest.mark.parametrize("name", ["", SERVICE])
def test_health_is_serving_and_then_not(name: str) -> None:
    with serving() as served:
        stub: Any = health_pb2_grpc.HealthStub(served.channel)  # type: ignore[no-untyped-call]
        request = health_pb2.HealthCheckRequest(service=name)
        watched = stub.Watch(request, timeout=WAIT_S)
        assert stub.Check(request, timeout=WAIT_S).status == health_pb2.HealthCheckResponse.SERVING
        assert next(watched).status == health_pb2.HealthCheckResponse.SERVING
        served.run(served.server.stop())
        assert next(watched).status == health_pb2.HealthCheckResponse.NOT_SERVING


def test_health_of_what_is_not_there_is_not_found(served: ServedEdge) -> None:
    stub: Any = health_pb2_grpc.HealthStub(served.channel)  # type: ignore[no-untyped-call]
    with pytest.raises(grpc.RpcError) as error:
        stub.Check(health_pb2.HealthCheckRequest(service="nothing"), timeout=WAIT_S)
    assert error.value.code() is grpc.StatusCode.NOT_FOUND
