"""Calls of more than one message: programs and consoles in machines.

They take the dispatcher's way in and out, and in between run as long as the caller may go on; whoever goes away ends
the program.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from google.protobuf.message import DecodeError
from grpc_status import rpc_status

from control.api.errors import CODES, status_of
from control.api.machines import window_size
from control.errors import NotEmulatedError, TooManyStreamsError, UnauthenticatedError
from control.machines.driver import exit_code
from control.v1 import machine_pb2 as pb
from edge.errors import ArgumentError, EdgeError, StoreError

if TYPE_CHECKING:
    from control.api.dispatch import Dispatcher, Stream
    from control.machines.driver import Driver, Program

MAX_PROGRAMS: Final = 100
"""At a time; each has a process beside the program's own."""
MAX_PROGRAMS_OF_ORG: Final = 25
"""Of the people of one organization."""
LOOK_S: Final = 1.0
"""How often is looked whether a caller may go on."""
UNREAD_S: Final = 2.0
"""How long is waited for one who may not to read that."""
_CHUNK: Final = 32_768
_AHEAD: Final = 16
"""Chunks that wait for a slow reader; then the program waits."""

AGAIN_S: Final = 5.0
"""How often is tried to record an end that the store could not take."""
_WORDS: Final = "programs and consoles"
_log = logging.getLogger("t1edge")

EXEC, CONSOLE = "MachineService/Exec", "MachineService/Console"


class Streams:
    """Belongs to one event loop.  ``driver`` None: there are no machines to reach into."""

    def __init__(self, dispatcher: Dispatcher, driver: Driver | None) -> None:
        self._dispatcher = dispatcher
        self._driver = driver
        self._threads = ThreadPoolExecutor(4, thread_name_prefix="stream")
        self._by_org: Counter[str] = Counter()
        self._ending: set[asyncio.Task[None]] = set()
        self._stopping = asyncio.Event()

    async def close(self) -> None:
        """Every end is in the trail, or in the log."""
        self._stopping.set()
        if self._ending:
            await asyncio.wait(self._ending)
        await asyncio.to_thread(self._threads.shutdown)

    # ------------------------------------------------------------------ the two methods

    async def exec(self, data: bytes, context: Any) -> AsyncIterator[bytes]:
        """MachineService/Exec."""

        def start(request: pb.ExecRequest, uid: str) -> Program:
            return self._reached().execute(uid, request.argv)

        async with self._told(context):
            request = _read(pb.ExecRequest, data)
            async with self._running(EXEC, request, context, start) as run:
                async for kind, said in run.output():
                    shown = pb.ExecResponse(output=said) if kind == "output" else pb.ExecResponse(errors=said)
                    yield shown.SerializeToString()
                yield pb.ExecResponse(exit_code=await run.exit_code()).SerializeToString()

    async def console(self, requests: Any, context: Any) -> AsyncIterator[bytes]:
        """MachineService/Console."""

        def start(request: pb.ConsoleRequest, uid: str) -> Program:
            window = request.open.window if request.open.HasField("window") else None
            return self._reached().console(uid, *window_size(window, "open.window"))

        async with self._told(context):
            given = aiter(requests)
            first = _read(pb.ConsoleRequest, await anext(given, b""))
            if first.WhichOneof("typed") != "open":
                raise ArgumentError("the first message has to open the console", [("open", "expected in the first")])
            async with self._running(CONSOLE, first, context, start) as run:
                run.watch(_type(run, given))
                async for _, said in run.output():
                    yield pb.ConsoleResponse(output=said).SerializeToString()
                yield pb.ConsoleResponse(exit_code=await run.exit_code()).SerializeToString()

    def _reached(self) -> Driver:
        if self._driver is None:
            raise NotEmulatedError("this control plane runs no machines")
        return self._driver

    # ------------------------------------------------------------------ begin and end

    @contextlib.asynccontextmanager
    async def _told(self, context: Any) -> AsyncIterator[None]:
        """What is raised is the call's status."""
        try:
            yield
        except Exception as error:  # noqa: BLE001 - every exception ends the call with a status
            await context.abort_with_status(rpc_status.to_status(status_of(error)))

    @contextlib.asynccontextmanager
    async def _running(
        self, name: str, request: Any, context: Any, start: Callable[[Any, str], Program]
    ) -> AsyncIterator[_Run]:
        authorization = authorization_of(context)
        began, outcome = time.monotonic(), "CANCELLED"
        loop = asyncio.get_running_loop()
        try:
            stream = await loop.run_in_executor(self._threads, self._dispatcher.begin, name, request, authorization)
            details: dict[str, Any] = {}
            org = stream.caller.org
            # Only now: who is nobody takes no place from others.
            self._by_org[org] += 1
            try:
                self._check_room(org)
                run = _Run(await self._started(org, start, request, stream.uid))
                run.watch(self._guard(stream, asyncio.current_task()))
                try:
                    yield run
                finally:
                    details = {} if run.code is None else {"exit_code": run.code}
                    await run.close()
                outcome = "OK"
            except Exception as error:
                outcome = _reason_of(error)
                raise
            finally:
                self._leave(org)
                self._note(stream, outcome, details)
        except Exception as error:
            outcome = _reason_of(error)
            raise
        finally:
            self._dispatcher.called(name, outcome, time.monotonic() - began)

    def _check_room(self, org: str) -> None:
        """Raises TooManyStreamsError if there are more than may be, the caller's own included."""
        if self._by_org.total() > MAX_PROGRAMS:
            raise TooManyStreamsError(MAX_PROGRAMS, _WORDS)
        if self._by_org[org] > MAX_PROGRAMS_OF_ORG:
            raise TooManyStreamsError(MAX_PROGRAMS_OF_ORG, _WORDS, org)

    def _leave(self, org: str) -> None:
        self._by_org[org] -= 1
        self._by_org += Counter()  # without those that have none

    async def _started(self, org: str, start: Callable[[Any, str], Program], request: Any, uid: str) -> Program:
        """A program.  If the caller goes away meanwhile, it ends as soon as it is there, and has a place until then."""
        starting = asyncio.get_running_loop().run_in_executor(self._threads, start, request, uid)

        def ended(_: object) -> None:
            self._leave(org)
            if not starting.cancelled() and starting.exception() is None:
                starting.result().close()

        try:
            return await asyncio.shield(starting)
        except asyncio.CancelledError:
            self._by_org[org] += 1
            starting.add_done_callback(ended)
            raise

    def _note(self, stream: Stream, outcome: str, details: dict[str, Any]) -> None:
        """In the trail, also when the call is cancelled: hence not waited for here."""
        done = asyncio.create_task(self._record(stream, outcome, details))
        self._ending.add(done)
        done.add_done_callback(self._ending.discard)

    async def _record(self, stream: Stream, outcome: str, details: dict[str, Any]) -> None:
        """Tried until it can be done, or until the stop."""
        loop = asyncio.get_running_loop()
        write = partial(self._dispatcher.end, stream, outcome, **details)
        what = f"the end of {stream.name} in {stream.path}"
        while True:
            last = self._stopping.is_set()
            try:
                await loop.run_in_executor(self._threads, write)
            except StoreError as error:
                _log.error("%s %s: %s", what, "is not in the trail" if last else "waits for the store", error)
            except Exception:  # noqa: BLE001 - whatever it is, nobody else would hear of it
                _log.exception("%s is not in the trail: a bug of the control plane", what)
                return
            else:
                return
            if last:
                return
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(AGAIN_S):
                    await self._stopping.wait()

    async def _guard(self, stream: Stream, call: asyncio.Task[Any] | None) -> None:
        """Raises UnauthenticatedError when the caller may not go on."""
        loop = asyncio.get_running_loop()
        while await loop.run_in_executor(self._threads, self._dispatcher.holds, stream):
            await asyncio.sleep(LOOK_S)
        if call is not None:
            # Whoever reads is told why; the call of who does not ends all the same.
            loop.call_later(UNREAD_S, call.cancel)
        raise UnauthenticatedError("the session has ended, or the machine is there no more")


class _Run:
    """A program, read and written without blocking."""

    def __init__(self, program: Program) -> None:
        self.program = program
        self.code: int | None = None
        self._failed = False
        self._closed = False
        self._queue: asyncio.Queue[tuple[str, bytes] | BaseException | None] = asyncio.Queue(_AHEAD)
        self._tasks: list[asyncio.Task[None]] = []
        self._readers = 0

    def watch(self, work: Any) -> None:
        """Something beside the program whose failure ends the program at once, and the call."""
        self._tasks.append(asyncio.create_task(self._watched(work)))

    async def _watched(self, work: Any) -> None:
        try:
            await work
        except Exception as error:  # noqa: BLE001 - raised again by whoever reads
            if not self._failed:
                await self._fail(error)

    async def _fail(self, error: Exception) -> None:
        """Nothing is typed any more and nothing is read, even if whoever should be told reads nothing now."""
        self._failed = True
        await self.close()
        while not self._queue.empty():
            self._queue.get_nowait()
        self._queue.put_nowait(error)

    async def output(self) -> AsyncIterator[tuple[str, bytes]]:
        """("output" or "errors", bytes) until nothing comes any more.  Raises what a watched one has raised."""
        for kind, number in (("output", self.program.output), ("errors", self.program.errors)):
            if number is not None:
                os.set_blocking(number, False)
                self._readers += 1
                self._tasks.append(asyncio.create_task(self._watched(self._pump(kind, number))))
        while self._readers:
            found = await self._queue.get()
            if isinstance(found, BaseException):
                raise found
            if found is None:
                self._readers -= 1
            else:
                yield found

    async def _pump(self, kind: str, number: int) -> None:
        while said := await _read_some(number):
            await self._queue.put((kind, said))
        await self._queue.put(None)

    async def type(self, keys: bytes) -> None:
        """Into the terminal."""
        while keys:
            try:
                keys = keys[os.write(self.program.output, keys) :]
            except BlockingIOError:
                await _ready(self.program.output, write=True)
            except OSError:
                return  # it has ended, which its output tells

    async def exit_code(self) -> int:
        """How it ended, once it has: it may go on without a word."""
        self.watch(self._wait())
        found = await self._queue.get()
        if isinstance(found, BaseException):
            raise found
        assert self.code is not None
        return self.code

    async def _wait(self) -> None:
        life = self.program.life
        life.setblocking(False)
        self.code = exit_code(await asyncio.get_running_loop().sock_recv(life, 4096))
        await self._queue.put(None)

    async def close(self) -> None:
        """End it, if it has not ended.  What reads and writes ends first: numbers of closed files are soon others'."""
        others = [task for task in self._tasks if task is not asyncio.current_task()]
        for task in others:
            task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.gather(*others, return_exceptions=True)
        if not self._closed:
            self._closed = True
            self.program.close()


async def _type(run: _Run, requests: AsyncIterator[bytes]) -> None:
    """What comes in, until the caller ends that side."""
    async for data in requests:
        request = _read(pb.ConsoleRequest, data)
        match request.WhichOneof("typed"):
            case "input":
                await run.type(request.input)
            case "window":
                run.program.resize(*window_size(request.window, "window"))
            case _:
                raise ArgumentError("the console is open already", [("open", "expected in the first message alone")])


def authorization_of(context: Any) -> str:
    """What a caller shows, '' for nothing, or for several."""
    shown = [value for key, value in context.invocation_metadata() or () if key == "authorization"]
    return shown[0] if len(shown) == 1 and isinstance(shown[0], str) else ""


def _reason_of(error: Exception) -> str:
    """What is counted and recorded of a call that ``error`` ends: INTERNAL is a bug."""
    return error.reason if isinstance(error, EdgeError) and error.reason in CODES else "INTERNAL"


def _read(kind: Any, data: bytes) -> Any:
    try:
        return kind.FromString(data)
    except DecodeError:
        raise ArgumentError("the request is no message of the method's type") from None


async def _read_some(number: int) -> bytes:
    """What is there, b"" at the end: a terminal whose other side is closed says EIO."""
    while True:
        try:
            return os.read(number, _CHUNK)
        except BlockingIOError:
            await _ready(number, write=False)
        except OSError:
            return b""


async def _ready(number: int, *, write: bool) -> None:
    loop = asyncio.get_running_loop()
    ready: asyncio.Future[None] = loop.create_future()
    add, remove = (loop.add_writer, loop.remove_writer) if write else (loop.add_reader, loop.remove_reader)
    add(number, lambda: None if ready.done() else ready.set_result(None))
    try:
        await ready
    finally:
        remove(number)
