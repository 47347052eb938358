"""Programs and consoles on their way through the control plane; the machine is a pair of sockets and a terminal."""

from __future__ import annotations

import asyncio
import json
import os
import pty
import socket
import threading
import tty
from collections.abc import AsyncIterator
from types import SimpleNamespace
from typing import Any, NoReturn, cast

import pytest

from control.api import streams
from control.api.streams import Streams
from control.errors import PermissionDeniedError, PowerStateError, UnauthenticatedError
from control.machines.driver import Program
from control.v1 import machine_pb2 as pb
from edge.errors import ArgumentError, StoreError


class Calls:
    """What the dispatcher says of a call, and what it is told."""

    def __init__(self) -> None:
        self.may = True
        self.org = "orgs/US1"
        self.ended: list[str] = []
        self.counted: list[tuple[str, str]] = []
        self.tries = 0
        self.away = 0

    def begin(self, *_: object) -> Any:
        caller = SimpleNamespace(org=self.org)
        return SimpleNamespace(uid="u", caller=caller, name="Exec", path="m")

    def holds(self, _: object) -> bool:
        return self.may

    def end(self, _: object, outcome: str, **__: object) -> None:
        self.tries += 1
        if self.tries <= self.away:
            raise StoreError("the database is away")
        self.ended.append(outcome)

    def called(self, name: str, code: str, seconds: float) -> None:
        assert seconds >= 0
        self.counted.append((name, code))


class Machine:
    """The far ends of one program: its terminal and who tells of its end."""

    def __init__(self) -> None:
        self.life: socket.socket
        self.inside = -1

    def console(self, *_: object) -> Program:
        outside, self.inside = pty.openpty()
        tty.setraw(self.inside)
        os.set_blocking(self.inside, False)
        mine, self.life = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        mine.settimeout(0.05)
        return Program(mine, outside)

    def execute(self, *_: object) -> Program:
        read, write = os.pipe()
        os.close(write)
        mine, self.life = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        mine.settimeout(0.05)
        return Program(mine, read)

    def close(self) -> None:
        self.life.close()
        if self.inside >= 0:
            os.close(self.inside)


class AbortedError(Exception):
    """The call has ended with a status."""


class Context:
    """A call without a token."""

    def invocation_metadata(self) -> tuple[()]:
        return ()

    async def abort_with_status(self, status: Any) -> NoReturn:
        raise AbortedError(status.details)


def _exec() -> bytes:
    return pb.ExecRequest(name="m", argv=["x"]).SerializeToString()


async def _until(true: Any) -> None:
    while not true():
        await asyncio.sleep(0.01)


def test_who_may_not_go_on_types_no_more_even_without_reading(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streams, "LOOK_S", 0.01)

    async def run() -> None:
        calls, machine = Calls(), Machine()
        served = Streams(cast(Any, calls), cast(Any, machine))
        keys: asyncio.Queue[bytes] = asyncio.Queue()

        async def typed() -> AsyncIterator[bytes]:
            while True:
                yield await keys.get()

        keys.put_nowait(pb.ConsoleRequest(open=pb.ConsoleOpening(name="m")).SerializeToString())
        answers = served.console(typed(), Context())
        first = asyncio.ensure_future(anext(answers))
        await _until(lambda: machine.inside >= 0)
        for _ in range(500):  # more than waits for a reader
            try:
                os.write(machine.inside, b"x" * 4096)
            except BlockingIOError:
                await asyncio.sleep(0.001)
        await first
        calls.may = False
        # Its end has been closed, though nobody reads.
        machine.life.setblocking(False)
        assert await asyncio.get_running_loop().sock_recv(machine.life, 10) == b""
        keys.put_nowait(pb.ConsoleRequest(input=b"late").SerializeToString())
        await asyncio.sleep(0.05)
        with pytest.raises(OSError, match="Input/output error"):  # the terminal has no other side
            os.write(machine.inside, b"x")
        with pytest.raises(AbortedError, match="the session has ended"):
            await anext(answers)
        await served.close()
        assert calls.ended == ["UNAUTHENTICATED"]
        machine.close()

    asyncio.run(asyncio.wait_for(run(), 30))


def test_who_may_not_go_on_and_reads_nothing_makes_room(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streams, "LOOK_S", 0.01)
    monkeypatch.setattr(streams, "UNREAD_S", 0.05)
    monkeypatch.setattr(streams, "MAX_PROGRAMS", 1)

    async def run() -> None:
        calls, machine = Calls(), Machine()
        served = Streams(cast(Any, calls), cast(Any, machine))

        async def keys() -> AsyncIterator[bytes]:
            yield pb.ConsoleRequest(open=pb.ConsoleOpening(name="m")).SerializeToString()
            await asyncio.Event().wait()

        async def send() -> None:
            async for _ in served.console(keys(), Context()):
                await asyncio.Event().wait()  # until somebody reads

        call = asyncio.create_task(send())
        await _until(lambda: machine.inside >= 0)
        os.write(machine.inside, b"x")
        await asyncio.sleep(0.1)
        assert not call.done()
        calls.may = False
        with pytest.raises(asyncio.CancelledError):
            await call
        await _until(lambda: calls.ended)
        machine.close()
        with pytest.raises(AbortedError, match="no such program"):
            await anext(served.exec(_exec(), Context()))
        await served.close()

    monkeypatch.setattr(Machine, "execute", _refuse)
    asyncio.run(asyncio.wait_for(run(), 30))


def _refuse(*_: object) -> Program:
    raise PowerStateError("no such program")


def test_a_program_may_go_on_without_a_word() -> None:
    async def run() -> list[int]:
        machine = Machine()
        served = Streams(cast(Any, Calls()), cast(Any, machine))
        answers = served.exec(_exec(), Context())
        said = asyncio.ensure_future(anext(answers))
        done, _ = await asyncio.wait([said], timeout=0.2)
        assert not done
        machine.life.send(json.dumps({"exit": 7}).encode())
        codes = [pb.ExecResponse.FromString(await said).exit_code]
        assert [each async for each in answers] == []
        await served.close()
        machine.close()
        return codes

    assert asyncio.run(asyncio.wait_for(run(), 30)) == [7]


def test_one_organization_does_not_take_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streams, "MAX_PROGRAMS_OF_ORG", 2)

    async def run() -> None:
        calls, machines = Calls(), [Machine() for _ in range(3)]
        left = iter(machines)
        driver = SimpleNamespace(execute=lambda *_: next(left).execute())
        served = Streams(cast(Any, calls), cast(Any, driver))
        open_ = [asyncio.ensure_future(anext(served.exec(_exec(), Context()))) for _ in range(2)]
        await _until(lambda: hasattr(machines[1], "life"))
        with pytest.raises(AbortedError, match="2 programs and consoles of orgs/US1 are open"):
            await anext(served.exec(_exec(), Context()))
        calls.org = "orgs/US2"
        other = asyncio.ensure_future(anext(served.exec(_exec(), Context())))
        await _until(lambda: hasattr(machines[2], "life"))
        for machine in machines:
            machine.life.send(b'{"exit": 0}')
        assert len(await asyncio.gather(*open_, other)) == 3
        await served.close()
        assert calls.ended.count("TOO_MANY_STREAMS") == 1
        for machine in machines:
            machine.close()

    asyncio.run(asyncio.wait_for(run(), 30))


@pytest.mark.parametrize("away", [3, 1_000_000])
def test_an_end_that_cannot_be_recorded_is_tried_again_until_the_stop(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, away: int
) -> None:
    monkeypatch.setattr(streams, "AGAIN_S", 0.01)

    async def run() -> Calls:
        calls, machine = Calls(), Machine()
        calls.away = away
        served = Streams(cast(Any, calls), cast(Any, machine))

        async def read() -> int:
            return len([each async for each in served.exec(_exec(), Context())])

        said = asyncio.create_task(read())
        await _until(lambda: hasattr(machine, "life"))
        machine.life.send(b'{"exit": 0}')
        assert await said == 1
        await _until(lambda: calls.tries > 3)
        await served.close()
        machine.close()
        return calls

    calls = asyncio.run(asyncio.wait_for(run(), 30))
    assert calls.counted == [("MachineService/Exec", "OK")]
    assert "the database is away" in caplog.text
    lost = "is not in the trail" in caplog.text
    assert (calls.ended, lost) == ((["OK"], False) if away == 3 else ([], True))


@pytest.mark.parametrize(
    ("error", "outcome"),
    [
        (KeyError("a bug"), "INTERNAL"),
        (ArgumentError("wrong"), "INVALID_ARGUMENT"),
        (StoreError("away"), "STORAGE_FAILED"),
        (PowerStateError("off"), "INVALID_POWER_STATE"),
    ],
)
def test_what_ends_a_program_is_counted_and_recorded(error: Exception, outcome: str) -> None:
    def execute(*_: object) -> Program:
        raise error

    async def run() -> Calls:
        calls = Calls()
        served = Streams(cast(Any, calls), cast(Any, SimpleNamespace(execute=execute)))
        with pytest.raises(AbortedError):
            await anext(served.exec(_exec(), Context()))
        await served.close()
        return calls

    calls = asyncio.run(asyncio.wait_for(run(), 30))
    assert (calls.counted, calls.ended) == ([("MachineService/Exec", outcome)], [outcome])


@pytest.mark.parametrize("error", [PermissionDeniedError("no"), UnauthenticatedError("who")])
def test_who_may_not_begin_is_counted_and_takes_no_place(
    monkeypatch: pytest.MonkeyPatch, error: PermissionDeniedError | UnauthenticatedError
) -> None:
    monkeypatch.setattr(streams, "MAX_PROGRAMS", 1)
    held, waits = threading.Event(), threading.Event()

    async def run() -> Calls:
        calls, machine = Calls(), Machine()
        known = calls.begin

        def begin(*_: object) -> NoReturn:
            waits.set()
            assert held.wait(10)
            raise error

        monkeypatch.setattr(calls, "begin", begin)
        served = Streams(cast(Any, calls), cast(Any, machine))
        nobody = asyncio.ensure_future(anext(served.exec(_exec(), Context())))
        await _until(waits.is_set)
        monkeypatch.setattr(calls, "begin", known)
        somebody = asyncio.ensure_future(anext(served.exec(_exec(), Context())))
        try:
            await _until(lambda: hasattr(machine, "life") or somebody.done())
        finally:
            held.set()
        machine.life.send(b'{"exit": 0}')
        await somebody
        with pytest.raises(AbortedError):
            await nobody
        await served.close()
        machine.close()
        return calls

    calls = asyncio.run(asyncio.wait_for(run(), 30))
    assert ("MachineService/Exec", error.reason) in calls.counted


def test_a_program_whose_caller_has_gone_before_it_is_there_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streams, "MAX_PROGRAMS", 1)
    begun, go = threading.Event(), threading.Event()

    async def run() -> Calls:
        calls, machine = Calls(), Machine()

        def execute(*_: object) -> Program:
            begun.set()
            assert go.wait(10)
            return machine.execute()

        served = Streams(cast(Any, calls), cast(Any, SimpleNamespace(execute=execute)))
        call = asyncio.ensure_future(anext(served.exec(_exec(), Context())))
        try:
            await _until(begun.is_set)
            call.cancel()
            with pytest.raises(asyncio.CancelledError):
                await call
            with pytest.raises(AbortedError, match="1 programs and consoles are open"):
                await anext(served.exec(_exec(), Context()))
        finally:
            go.set()
        await _until(lambda: hasattr(machine, "life"))
        machine.life.setblocking(False)
        assert await asyncio.get_running_loop().sock_recv(machine.life, 10) == b""
        await served.close()
        machine.close()
        return calls

    calls = asyncio.run(asyncio.wait_for(run(), 30))
    assert sorted(calls.ended) == ["CANCELLED", "TOO_MANY_STREAMS"]
