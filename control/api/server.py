"""The server around the services of ``control.v1``."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Collection
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING, Any

import grpc
import grpc.aio
from google.protobuf.message import DecodeError
from grpc_status import rpc_status

from control import limits
from control.access.methods import METHODS, OPEN
from control.api.contract import ANSWERS, REQUESTS, SERVICES, STREAMS
from control.api.dispatch import ASK_AGAIN_S, HANDLERS, Attempt
from control.api.errors import code_name, status_of
from control.api.streams import CONSOLE, EXEC, Streams, authorization_of
from control.api.turns import Turns
from control.api.unread import Unread
from control.errors import TooManyStreamsError, TooManyTrialsError
from edge.api.host import Host
from edge.errors import ArgumentError

if TYPE_CHECKING:
    from control.api.dispatch import Dispatcher
    from control.machines.driver import Driver
    from edge.api.host import Credentials
    from edge.api.tls import TlsFiles
    from edge.listening import Address

MAX_REQUEST = 1 << 20
"""Bytes of a request; what is larger is refused before it is read."""

MAX_WATCHES = 64
"""So many streams of events are served at once."""

EVENTS_S = 0.25
"""How often is looked for events that a stream is to send."""

SIGN_OF_LIFE_S = 15.0
"""How long a stream is silent at most."""

# Logins take long, and writes wait for the disk and one another: neither keeps reads waiting.
_READERS = 2
_WRITERS = 2
_LOGINS = 2
# Trials may take long: neither do they keep writes waiting.
_TRIALS = 2

_Runner = Callable[..., Awaitable[Attempt]]
"""Runs a function in a thread."""

_ENDING = frozenset({"NOT_FOUND", "PERMISSION_DENIED", "UNAUTHENTICATED"})
"""What a caller is told who may not go on."""


class ControlServer:
    """gRPC for one dispatcher."""

    def __init__(
        self,
        dispatcher: Dispatcher,
        address: Address,
        tls: TlsFiles | Credentials | None = None,
        machines: Driver | None = None,
        *,
        only: Collection[str] = HANDLERS.keys(),
    ) -> None:
        """``only``: the methods that can be called there.  Raises what :func:`edge.api.host.credentials_for` does."""
        self._dispatcher = dispatcher
        self._only = only
        self._programs = Streams(dispatcher, machines)
        self._stopping = asyncio.Event()
        self._streams: Counter[str] = Counter()
        self._reads = ThreadPoolExecutor(_READERS, thread_name_prefix="read")
        self._writes = ThreadPoolExecutor(_WRITERS, thread_name_prefix="write")
        self._logins = ThreadPoolExecutor(_LOGINS, thread_name_prefix="login")
        self._trials = ThreadPoolExecutor(_TRIALS, thread_name_prefix="trial")
        self._turns = Turns()
        self._host = Host(
            address, tls, [service.full_name for service in SERVICES], self._register, max_request=MAX_REQUEST
        )

    async def start(self) -> Address:
        """Listen.  Raises ListenError."""
        return await self._host.start()

    async def set_serving(self, serving: bool) -> None:
        """What whoever asks for the health is told."""
        await self._host.set_serving(serving)

    async def stop(self) -> None:
        """Let calls finish for a while, close."""
        self._stopping.set()
        await self._host.retire()
        await self._host.stop()
        await self._programs.close()
        for pool in (self._reads, self._writes, self._logins, self._trials):
            await asyncio.to_thread(pool.shutdown)

    def _register(self, server: grpc.aio.Server) -> None:
        for service in SERVICES:
            names = {method.name: f"{service.name}/{method.name}" for method in service.methods}
            handlers = {method: self._handler(name) for method, name in names.items() if name in self._only}
            server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service.full_name, handlers),))

    def _handler(self, name: str) -> Any:
        if name == EXEC:
            return grpc.unary_stream_rpc_method_handler(self._programs.exec)
        if name == CONSOLE:
            return grpc.stream_stream_rpc_method_handler(self._programs.console)
        # Bytes in, bytes out: what is no message has an answer of ours, too.
        if name in STREAMS:
            return grpc.unary_stream_rpc_method_handler(self._stream(name, REQUESTS[name]))
        return grpc.unary_unary_rpc_method_handler(self._behaviour(name, REQUESTS[name]))

    def _pool(self, name: str) -> ThreadPoolExecutor:
        """Whose threads a method has, but for its trials."""
        if name in OPEN:
            return self._logins
        return self._writes if METHODS[name].writes else self._reads

    def _stream(self, name: str, message: Any) -> Callable[[bytes, Any], AsyncIterator[bytes]]:
        """Its method is asked again and again, each time for what comes behind the last answer."""
        pool = self._pool(name)

        async def behaviour(data: bytes, context: Any) -> AsyncIterator[bytes]:
            authorization = authorization_of(context)
            loop = asyncio.get_running_loop()
            request = await _read(message, data, context)
            org = await loop.run_in_executor(pool, self._dispatcher.organization_of, authorization) or ""
            async with self._counted(name) as ended, self._place(org, context, ended) as unread:
                due = loop.time()
                while not self._stopping.is_set():
                    done = await loop.run_in_executor(pool, self._dispatcher.look, name, request, authorization)
                    if done.status is not None:
                        ended(code_name(done.status))
                        await context.abort_with_status(rpc_status.to_status(done.status))
                    answer = ANSWERS[name].FromString(done.answer)
                    if answer.events or answer.missed or loop.time() >= due:
                        unread.begin(partial(self._may_go_on, pool, name, request, authorization))
                        yield done.answer
                        unread.end()
                        due = loop.time() + SIGN_OF_LIFE_S
                    request.resume_token = answer.resume_token
                    if len(answer.events) == 0:
                        with contextlib.suppress(TimeoutError):
                            async with asyncio.timeout(EVENTS_S):
                                await self._stopping.wait()
                ended("UNAVAILABLE")
                await context.abort(grpc.StatusCode.UNAVAILABLE, "the control plane stops")

        return behaviour

    @contextlib.asynccontextmanager
    async def _place(self, org: str, context: Any, ended: Callable[[str], None]) -> AsyncIterator[Unread]:
        """One of those for streams, until the end of the block; the call ends where there is none."""
        refusal = None
        if self._streams.total() >= MAX_WATCHES:
            refusal = TooManyStreamsError(MAX_WATCHES, "streams")
        elif self._streams[org] >= limits.EVENT_STREAMS:
            refusal = TooManyStreamsError(limits.EVENT_STREAMS, "streams", org)
        if refusal is not None:
            status = status_of(refusal)
            ended(code_name(status))
            await context.abort_with_status(rpc_status.to_status(status))
        self._streams[org] += 1
        unread = Unread()
        try:
            yield unread
        finally:
            unread.end()
            self._streams[org] -= 1
            self._streams += Counter()  # without those that have none

    @contextlib.asynccontextmanager
    async def _counted(self, name: str) -> AsyncIterator[Callable[[str], None]]:
        """A stream is one call, which has ended with the block: with the last code that it is told, or as its caller
        went away."""
        began, codes = time.monotonic(), ["CANCELLED"]
        try:
            yield codes.append
        finally:
            self._dispatcher.called(name, codes[-1], time.monotonic() - began)

    async def _may_go_on(self, pool: ThreadPoolExecutor, name: str, request: Any, authorization: str) -> bool:
        """Would the call still be served?  What cannot be told now does not end it."""
        loop = asyncio.get_running_loop()
        done = await loop.run_in_executor(pool, self._dispatcher.look, name, request, authorization)
        return done.status is None or code_name(done.status) not in _ENDING

    def _behaviour(self, name: str, message: Any) -> Callable[[bytes, Any], Awaitable[bytes]]:
        pool = self._pool(name)

        async def behaviour(data: bytes, context: Any) -> bytes:
            authorization = authorization_of(context)
            request = await _read(message, data, context)
            if getattr(request, "validate_only", False):
                done = await self._tried(name, request, authorization)
            else:
                done = await self._done(_runner(pool), name, request, authorization)
            if done.status is not None:
                await context.abort_with_status(rpc_status.to_status(done.status))
            return done.answer

        return behaviour

    async def _done(self, run: _Runner, name: str, request: Any, authorization: str) -> Attempt:
        done = await run(self._dispatcher.attempt, name, request, authorization)
        while done.waits:  # not in a thread: others have use for it
            await asyncio.sleep(ASK_AGAIN_S)
            done = await run(self._dispatcher.attempt, name, request, authorization, done)
        return done

    async def _tried(self, name: str, request: Any, authorization: str) -> Attempt:
        """A trial, in its organization's turn; whoever is nobody is soon told so."""
        loop = asyncio.get_running_loop()
        org = await loop.run_in_executor(self._reads, self._dispatcher.organization_of, authorization)
        if org is None:
            return await self._done(_runner(self._trials), name, request, authorization)
        try:
            async with self._turns.take(org) as turn:
                return await self._done(partial(turn.run, self._trials), name, request, authorization)
        except TooManyTrialsError as error:
            return Attempt(status=status_of(error))


def _runner(pool: ThreadPoolExecutor) -> _Runner:
    return partial(asyncio.get_running_loop().run_in_executor, pool)


async def _read(message: Any, data: bytes, context: Any) -> Any:
    """A request; what is no message of its type ends the call."""
    try:
        return message.FromString(data)
    except DecodeError:
        status = status_of(ArgumentError("the request is no message of the method's type"))
        await context.abort_with_status(rpc_status.to_status(status))
