"""Edges that are processes of their own, over gRPC."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import grpc
import grpc.aio

from control.access.authority import OwnCertificate, Shown
from control.fleet.access import Current, EdgeRefusedError, EdgeUnreachableError, Seen
from edge.api.client import OPTIONS, CallError, UnreachableError, target_of, translated
from edge.errors import EtagMismatchError, StaleEpochError
from edge.listening import check_local, parse_address
from edge.patch import Delete, Edit, Move, ObjectRef, Position, Upsert
from edge.v1 import config_pb2, edge_service_pb2_grpc
from edge.v1 import edge_service_pb2 as pb

TIMEOUT_S = 10.0


# After a failure gRPC would wait by itself before it tries again: whoever calls knows when to.
_OPTIONS = (
    *OPTIONS,
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 1_000),
    ("grpc.use_local_subchannel_pool", 1),
)


@dataclass(frozen=True, slots=True)
class Secured:
    """TLS: the name that the edge's certificate has to bear, and what is shown to it."""

    identity: str
    own: OwnCertificate


class RemoteEdge:
    """An edge that listens at ``address``; nothing is connected before the first call."""

    def __init__(self, address: str, secured: Secured | None, *, timeout_s: float = TIMEOUT_S) -> None:
        self._address = address
        self._secured = secured
        self._timeout_s = timeout_s
        self._shown: Shown | None = None
        self._channel: grpc.aio.Channel | None = None
        self._stub: Any = None

    async def _connect(self) -> None:
        """A channel with what is to be shown now.  Raises what :meth:`OwnCertificate.get` does."""
        target, secured = target_of(self._address), self._secured
        if secured is None:
            if self._channel is None:
                self._use(grpc.aio.insecure_channel(target, options=_OPTIONS))
        elif secured.own.due(self._shown):
            shown = await asyncio.to_thread(secured.own.get)
            former = self._channel
            own = grpc.ssl_channel_credentials(shown.authorities, shown.key, shown.chain)
            # The name that is asked for is that of this very edge: another one's certificate will not do.
            options = (*_OPTIONS, ("grpc.ssl_target_name_override", secured.identity))
            self._use(grpc.aio.secure_channel(target, own, options=options))
            self._shown = shown
            if former is not None:
                await former.close(None)

    def _use(self, channel: grpc.aio.Channel) -> None:
        self._channel = channel
        self._stub = edge_service_pb2_grpc.EdgeServiceStub(channel)  # type: ignore[no-untyped-call]

    async def _call(self, method: str, request: Any) -> Any:
        await self._connect()
        try:
            return await getattr(self._stub, method)(request, timeout=self._timeout_s)
        except grpc.RpcError as error:
            raise _told(translated(error, self._address)) from None

    async def current(self, epoch: int) -> Current:
        """See EdgeAccess."""
        found = await self._call("Manage", pb.ManageRequest(leader_epoch=epoch))
        return Current(found.revision.etag, found.revision.number, found.edge_gateway_id, found.former_epoch)

    async def look(self) -> Seen:
        """See HostAccess."""
        found = await self._call("GetConfig", pb.GetConfigRequest())
        return Seen(found.revision.etag, str(json.loads(found.document)["edgeGateway"]["id"]))

    async def apply(self, text: str, etag: str, epoch: int) -> str:
        """See EdgeAccess."""
        request = pb.ApplyConfigRequest(document=text, etag=etag, leader_epoch=epoch)
        return str((await self._call("ApplyConfig", request)).revision.etag)

    async def patch(self, edits: Sequence[Edit], etag: str, epoch: int) -> str:
        """See EdgeAccess."""
        request = pb.PatchConfigRequest(edits=map(edit_message, edits), etag=etag, leader_epoch=epoch)
        return str((await self._call("PatchConfig", request)).revision.etag)

    def runs(self) -> str:
        """See EdgeAccess."""
        return ""

    def document(self) -> bytes | None:
        """See EdgeAccess."""
        return None

    async def close(self) -> None:
        """See EdgeAccess."""
        if self._channel is not None:
            await self._channel.close(None)


def dialled(address: str, identity: str, own: OwnCertificate) -> RemoteEdge:
    """The edge at an address; only one on this machine goes without TLS.  Raises AddressError."""
    if identity:
        return RemoteEdge(address, Secured(identity, own))
    check_local(parse_address(address))
    return RemoteEdge(address, None)


def _told(error: Exception) -> Exception:
    """A failed call as the errors that EdgeAccess promises."""
    if isinstance(error, UnreachableError):
        return EdgeUnreachableError(str(error))
    if isinstance(error, CallError):
        known = {kind.reason: kind for kind in (EtagMismatchError, StaleEpochError)}.get(error.code)
        return known(str(error)) if known else EdgeRefusedError(error.code, str(error))
    return error


def edit_message(edit: Edit) -> config_pb2.Edit:
    """An edit as a message."""
    if isinstance(edit, Upsert):
        found = config_pb2.Upsert(object=edit.object)
        if edit.position is not None:
            found.position.CopyFrom(_position(edit.position))
        return config_pb2.Edit(section=edit.section, upsert=found)
    if isinstance(edit, Delete):
        return config_pb2.Edit(section=edit.section, delete=config_pb2.Delete(object=_reference(edit.ref)))
    assert isinstance(edit, Move)
    move = config_pb2.Move(object=_reference(edit.ref), position=_position(edit.position))
    return config_pb2.Edit(section=edit.section, move=move)


def _reference(ref: ObjectRef) -> config_pb2.ObjectReference:
    return config_pb2.ObjectReference(id=ref.id) if ref.id else config_pb2.ObjectReference(name=ref.name)


def _position(given: Position) -> config_pb2.Position:
    if given.before is not None:
        return config_pb2.Position(before=_reference(given.before))
    if given.after is not None:
        return config_pb2.Position(after=_reference(given.after))
    return config_pb2.Position(index=given.index or 0)
