"""EdgeService over a :class:`edge.gateway.Gateway`: reads requests, answers messages, decides nothing.

The event loop serves every call, so whatever converts much gives the loop a turn now and then.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator
from functools import wraps
from typing import TYPE_CHECKING, Any, TypeVar

import grpc

from edge.api import convert, requests
from edge.api.errors import (
    BatchTooLargeError,
    InvalidFilterError,
    MessageTooLargeError,
    StoppingError,
    TooManyStreamsError,
    abort,
)
from edge.api.events import EventWriter, kinds_of, response
from edge.errors import ArgumentError
from edge.v1 import edge_service_pb2 as pb
from edge.v1 import edge_service_pb2_grpc, packet_pb2, stats_pb2

if TYPE_CHECKING:
    import grpc.aio

    from edge.gateway import Applied, Gateway
    from edge.state import RuleCounters
    from edge.verdicts import Processed

    Context = grpc.aio.ServicerContext[Any, Any]

MAX_BATCH = 256
MAX_TRACED = 1_000
MAX_DOCUMENT = 256 << 20
MAX_STREAMS = 64
SIGN_OF_LIFE_S = 15.0
_AT_ONCE = 250

Request = TypeVar("Request")
Response = TypeVar("Response")
Item = TypeVar("Item")
Told = TypeVar("Told", pb.ApplyConfigResponse, pb.PatchConfigResponse, pb.RollbackResponse)


def _guarded(
    call: Callable[[Any, Request, Context], Awaitable[Response]],
) -> Callable[[Any, Request, Context], Awaitable[Response]]:
    """A call whose exceptions end it as the table of errors says."""

    @wraps(call)
    async def guarded(service: Any, request: Request, context: Context) -> Response:
        try:
            return await call(service, request, context)
        except Exception as error:  # noqa: BLE001 - every exception ends the call with a status
            await abort(context, error)

    return guarded


async def _in_turns(items: Iterable[Item]) -> AsyncIterator[Item]:
    """The items, with other calls served in between."""
    for number, item in enumerate(items, 1):
        yield item
        if number % _AT_ONCE == 0:
            await asyncio.sleep(0)


class EdgeService(edge_service_pb2_grpc.EdgeServiceServicer):
    """The servicer."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway
        self._streams = 0
        self._stopping = asyncio.Event()
        self._waiting: set[asyncio.Task[Any]] = set()  # streams of packets, for the next batch

    def stop(self) -> None:
        """End the streams: each tells its reader that the edge stops."""
        self._stopping.set()
        for task in self._waiting:
            task.cancel()

    # ------------------------------------------------------------------ configuration

    @_guarded
    async def ApplyConfig(self, request: pb.ApplyConfigRequest, context: Context) -> pb.ApplyConfigResponse:  # noqa: ARG002, N802
        """Replace the configuration."""
        _check_size(request.document)
        applied = await self._gateway.apply(
            request.document, etag=request.etag, allow_unsupported=request.allow_unsupported, **_conditions(request)
        )
        return await _told(pb.ApplyConfigResponse(), applied)

    @_guarded
    async def PatchConfig(self, request: pb.PatchConfigRequest, context: Context) -> pb.PatchConfigResponse:  # noqa: ARG002, N802
        """Change single objects."""
        applied = await self._gateway.patch(
            requests.edits(request.edits),
            etag=request.etag,
            allow_unsupported=request.allow_unsupported,
            **_conditions(request),
        )
        return await _told(pb.PatchConfigResponse(), applied)

    @_guarded
    async def Manage(self, request: pb.ManageRequest, context: Context) -> pb.ManageResponse:  # noqa: ARG002, N802
        """Who manages the edge."""
        gateway = self._gateway
        former = await gateway.manage(request.leader_epoch)
        return pb.ManageResponse(
            revision=convert.revision(gateway.running), former_epoch=former, edge_gateway_id=gateway.edge.config.id
        )

    @_guarded
    async def ConfirmConfig(self, request: pb.ConfirmConfigRequest, context: Context) -> pb.ConfirmConfigResponse:  # noqa: ARG002, N802
        """Keep a change."""
        return pb.ConfirmConfigResponse(revision=convert.revision(await self._gateway.confirm(request.etag)))

    @_guarded
    async def Rollback(self, request: pb.RollbackRequest, context: Context) -> pb.RollbackResponse:  # noqa: ARG002, N802
        """Apply an earlier revision again."""
        applied = await self._gateway.rollback(request.revision, etag=request.etag, **_conditions(request))
        return await _told(pb.RollbackResponse(), applied)

    @_guarded
    async def GetConfig(self, request: pb.GetConfigRequest, context: Context) -> pb.GetConfigResponse:  # noqa: ARG002, N802
        """A configuration."""
        info, document = await asyncio.to_thread(self._gateway.document, request.revision)
        return pb.GetConfigResponse(revision=convert.revision(info), document=document)

    @_guarded
    async def ListRevisions(self, request: pb.ListRevisionsRequest, context: Context) -> pb.ListRevisionsResponse:  # noqa: ARG002, N802
        """Stored revisions, newest first."""
        limit = requests.page_size(request.page_size, 100, 1_000)
        before = requests.place_of("revisions", request.page_token)
        found = await asyncio.to_thread(self._gateway.revisions, before, limit + 1)
        token = requests.page_token("revisions", found[limit - 1].number) if len(found) > limit else ""
        return pb.ListRevisionsResponse(revisions=map(convert.revision, found[:limit]), next_page_token=token)

    # ------------------------------------------------------------------ packets

    @_guarded
    async def Trace(self, request: pb.TraceRequest, context: Context) -> pb.TraceResponse:  # noqa: ARG002, N802
        """What would happen to packets."""
        if len(request.packets) > MAX_TRACED:
            raise BatchTooLargeError(
                f"{len(request.packets):,} packets; at most {MAX_TRACED:,} can be traced at once",
                [("packets", f"expected at most {MAX_TRACED:,}")],
            )
        _check_size(request.candidate_document)
        traced = await self._gateway.trace(
            [_packet(item) for item in request.packets],
            candidate=request.candidate_document or None,
            allow_unsupported=request.allow_unsupported,
            ignore_sessions=request.ignore_sessions,
        )
        return pb.TraceResponse(
            packets=[convert.trace(result) async for result in _in_turns(traced.results)],
            revision=traced.revision,
            warnings=map(convert.problem, traced.warnings),
        )

    async def InjectPackets(  # noqa: N802
        self, request_iterator: AsyncIterator[pb.InjectPacketsRequest], context: Context
    ) -> AsyncIterator[pb.InjectPacketsResponse]:
        """Packets into the edge's ports, a burst at a time."""
        try:
            async for request in self._until_stop(request_iterator):
                yield self._injected(request)
        except Exception as error:  # noqa: BLE001 - every exception ends the call with a status
            await abort(context, error)

    async def _until_stop(self, requests: AsyncIterator[Request]) -> AsyncIterator[Request]:
        """The requests of a stream; raises StoppingError as soon as the edge stops, but for none that has come."""
        task = asyncio.current_task()
        assert task is not None, "gRPC runs each call in a task"
        coming = aiter(requests)
        while not self._stopping.is_set():
            self._waiting.add(task)
            try:
                request = await anext(coming)
            except StopAsyncIteration:
                return
            except asyncio.CancelledError:
                if not self._stopping.is_set():
                    raise
                task.uncancel()
                break
            finally:
                self._waiting.discard(task)
            yield request
        raise StoppingError("the edge stops")

    def _injected(self, request: pb.InjectPacketsRequest) -> pb.InjectPacketsResponse:
        if len(request.frames) > MAX_BATCH:
            raise BatchTooLargeError(
                f"{len(request.frames):,} packets in one batch; at most {MAX_BATCH} are allowed",
                [("frames", f"expected at most {MAX_BATCH}")],
            )
        batch = [(frame.port, frame.data) for frame in request.frames]
        revision, results = self._gateway.inject(batch, outputs=request.return_outputs)
        return pb.InjectPacketsResponse(outcomes=_outcomes(results, request.return_outputs), revision=revision)

    # ------------------------------------------------------------------ sessions

    @_guarded
    async def ListSessions(self, request: pb.ListSessionsRequest, context: Context) -> pb.ListSessionsResponse:  # noqa: ARG002, N802
        """Open sessions, a page."""
        match = requests.session_match(request.filter)
        limit = requests.page_size(request.page_size, 1_000, 10_000)
        after = requests.place_of("sessions", request.page_token) or 0
        page = await asyncio.to_thread(self._gateway.edge.sessions_page, after=after, limit=limit, match=match)
        now_ns, wall = self._gateway.now_ns(), self._gateway.wall_ns
        return pb.ListSessionsResponse(
            sessions=[convert.session(info, now_ns, wall) async for info in _in_turns(page.sessions)],
            next_page_token="" if page.next is None else requests.page_token("sessions", page.next),
        )

    @_guarded
    async def DeleteSessions(self, request: pb.DeleteSessionsRequest, context: Context) -> pb.DeleteSessionsResponse:  # noqa: ARG002, N802
        """End sessions."""
        everything = requests.is_empty(request.filter)
        if everything and not request.all:
            raise InvalidFilterError(
                "the filter is empty; set all to end every session", [("filter", "expected a condition, or all")]
            )
        if request.all and not everything:
            raise InvalidFilterError("all goes without a filter", [("all", "expected an empty filter beside it")])
        match = requests.session_match(request.filter)
        return pb.DeleteSessionsResponse(
            deleted=await self._gateway.delete_sessions(match, leader_epoch=request.leader_epoch)
        )

    # ------------------------------------------------------------------ what is known

    @_guarded
    async def GetStats(self, request: pb.GetStatsRequest, context: Context) -> pb.GetStatsResponse:  # noqa: ARG002, N802
        """Every counter."""
        gateway = self._gateway
        snapshot = await asyncio.to_thread(gateway.counters, rules=not request.omit_rules)
        stats = snapshot.stats
        message = stats_pb2.StatsSnapshot(
            time=convert.timestamp(snapshot.time_ns),
            since=convert.timestamp(gateway.since_ns),
            revision=snapshot.revision,
            ports=(
                convert.port_stats(name, counters, snapshot.links.get(name)) for name, counters in stats.ports.items()
            ),
            drops=convert.drop_stats(stats.drops),
            sessions=convert.session_stats(stats),
            nat_addresses=convert.address_stats(stats.nat_addresses),
        )
        if not request.omit_rules:
            async for row in _in_turns(_rows(snapshot.config.firewall.rules, snapshot.rules)):
                message.firewall_rules.append(row)
            async for row in _in_turns(_rows(snapshot.config.nat.rules, snapshot.rules)):
                message.nat_rules.append(row)
        return pb.GetStatsResponse(stats=message)

    async def WatchEvents(self, request: pb.WatchEventsRequest, context: Context) -> AsyncIterator[bytes]:  # noqa: N802
        """What happens, in batches; each a WatchEventsResponse as it is on the wire, see :func:`register`."""
        try:
            if self._streams >= MAX_STREAMS:
                raise TooManyStreamsError(f"{MAX_STREAMS} streams of events are open already")
            self._streams += 1
            try:
                async for response in self._watched(request, context):
                    yield response
                raise StoppingError("the edge stops")
            finally:
                self._streams -= 1
        except Exception as error:  # noqa: BLE001 - every exception ends the call with a status
            await abort(context, error)

    async def _watched(self, request: pb.WatchEventsRequest, context: Context) -> AsyncIterator[bytes]:
        gateway, loop = self._gateway, asyncio.get_running_loop()
        writer = EventWriter(gateway, kinds_of(request.kinds))
        with gateway.watch(request.resume_token) as reader:
            await context.send_initial_metadata(())  # whoever waits for it misses nothing from here on
            due = loop.time() + SIGN_OF_LIFE_S
            while not self._stopping.is_set():
                batch = await reader.next(max(due - loop.time(), 0), self._stopping)
                events = await writer.events(batch.events)
                quiet = loop.time() >= due and not self._stopping.is_set()
                if events or quiet:
                    yield response(events, batch.token)
                    due = loop.time() + SIGN_OF_LIFE_S


class _Handlers:
    """Takes what the generated code would register, where it would register it."""

    def __init__(self, service: EdgeService) -> None:
        self.name = ""
        self.by_method: dict[str, Any] = {}
        edge_service_pb2_grpc.add_EdgeServiceServicer_to_server(service, self)  # type: ignore[no-untyped-call]

    def add_generic_rpc_handlers(self, handlers: Any) -> None:
        """The same once more."""

    def add_registered_method_handlers(self, name: str, handlers: dict[str, Any]) -> None:
        """All methods of a service."""
        self.name, self.by_method = name, handlers


def register(service: EdgeService, server: grpc.aio.Server) -> None:
    """Have a server answer calls by this service: as the generated code does, but events are bytes already."""
    handlers = _Handlers(service)
    handlers.by_method["WatchEvents"] = grpc.unary_stream_rpc_method_handler(
        service.WatchEvents, request_deserializer=pb.WatchEventsRequest.FromString, response_serializer=bytes
    )
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(handlers.name, handlers.by_method),))
    methods: Any = server  # whose stubs lack what follows
    methods.add_registered_method_handlers(handlers.name, handlers.by_method)


def _conditions(request: Any) -> dict[str, Any]:
    """What ApplyConfig, PatchConfig and Rollback have in common."""
    within = requests.confirm_within(request.confirm_within) if request.HasField("confirm_within") else None
    if within is not None and request.validate_only:
        raise ArgumentError(
            "validate_only changes nothing that could be confirmed",
            [("confirm_within", "expected to be unset beside validate_only")],
        )
    return {
        "validate_only": request.validate_only,
        "confirm_within_s": within,
        "comment": requests.comment(request.comment),
        "leader_epoch": request.leader_epoch,
    }


async def _told(response: Told, applied: Applied) -> Told:
    """What a change did.  Each message is put where it belongs at once: copying all of them would be one long call."""
    response.revision.CopyFrom(convert.revision(applied.revision))
    async for problem in _in_turns(applied.warnings):
        response.warnings.append(convert.problem(problem))
    async for change in _in_turns(applied.changes):
        response.changes.append(convert.change(change))
    return response


def _check_size(document: str) -> None:
    """Raises MessageTooLargeError for a document of more characters than can be taken."""
    if len(document) > MAX_DOCUMENT:
        raise MessageTooLargeError(f"the document has more than {MAX_DOCUMENT >> 20} MiB")


def _packet(given: packet_pb2.PacketInput) -> str | tuple[str, bytes]:
    """A packet in words, '' if nothing was given, or as (port, frame)."""
    return (given.frame.port, given.frame.data) if given.WhichOneof("packet") == "frame" else given.text


def _outcomes(results: Iterable[Processed], with_outputs: bool) -> list[packet_pb2.PacketOutcome]:
    outcome = packet_pb2.PacketOutcome
    if not with_outputs:
        return [outcome(verdict=result.verdict + 1, reason=result.reason + 1) for result in results]  # type: ignore[arg-type]
    return [
        outcome(
            verdict=result.verdict + 1,  # type: ignore[arg-type]
            reason=result.reason + 1,  # type: ignore[arg-type]
            outputs=convert.frames(result.outputs),
        )
        for result in results
    ]


def _rows(rules: Iterable[Any], counters: dict[str, RuleCounters]) -> Iterator[stats_pb2.RuleStats]:
    """Counters in the order of the rules."""
    for rule in rules:
        yield convert.rule_stats(rule.id, rule.name, counters[rule.id])
