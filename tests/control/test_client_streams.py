"""The client's side of programs and consoles, over real gRPC: what is typed goes there while what is shown comes."""

from __future__ import annotations

import base64
import contextlib
import os
import socket
import threading
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from control.api.client import ControlClient
from control.machines.driver import Program
from edge.api.client import CallError, UnreachableError
from edge.cli.control.machines import COMMANDS
from edge.cli.main import cli
from edge.errors import ArgumentError
from tests.control.office import POOL, Office
from tests.control.served import Commands, served
from tests.control.world import World

WEB = f"{POOL}/machines/web1"
OPEN = {"open": {"name": WEB, "window": {"rows": 30, "columns": 100}}}


class Terminal:
    """The machine's side of a console: a shell that tells what it is told, and ends when it is told ``exit``."""

    def __init__(self) -> None:
        self.window = (0, 0)
        self.ended = threading.Event()

    def console(self, _: str, rows: int, columns: int) -> Program:
        self.window = rows, columns
        outside, inside = socket.socketpair()
        life, told = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        threading.Thread(target=self._run, args=(inside, told)).start()
        return Program(life, outside.detach())

    def _run(self, inside: socket.socket, told: socket.socket) -> None:
        inside.settimeout(30)
        typed = b""
        with inside, told:
            inside.sendall(b"$ ")
            while not typed.endswith(b"exit\r") and (keys := inside.recv(4096)):
                typed += keys
                inside.sendall(keys.upper())
            if typed.endswith(b"exit\r"):
                told.send(b'{"exit": 7}')
        self.ended.set()


@pytest.fixture
def office(world: World) -> Office:
    found = Office(world)
    found.create("web1", powerOn=True)
    return found


@pytest.fixture
def commands(office: Office, tmp_path: Path) -> Iterator[Commands]:
    with served(office.world, tmp_path) as found:
        yield found


@pytest.fixture
def terminal(office: Office, monkeypatch: pytest.MonkeyPatch) -> Terminal:
    found = Terminal()
    monkeypatch.setattr(office.world.driver, "console", found.console)
    return found


@pytest.fixture
def client(commands: Commands, office: Office) -> Iterator[ControlClient]:
    with ControlClient(commands.address, office.token) as found:
        yield found


def typed(text: bytes) -> dict[str, Any]:
    return {"input": base64.b64encode(text).decode()}


def shown_by(answers: Iterator[Mapping[str, Any]], until: bytes) -> bytes:
    """What comes, up to the first that ends so."""
    shown = b""
    while not shown.endswith(until):
        shown += base64.b64decode(next(answers)["output"])
    return shown


def test_both_sides_of_a_console_speak_all_the_while(client: ControlClient, terminal: Terminal) -> None:
    heard, told = threading.Event(), threading.Event()

    def requests() -> Iterator[Mapping[str, Any]]:
        yield OPEN
        assert heard.wait(30)
        yield typed(b"ls\r")
        yield typed(b"exit\r")
        assert told.wait(30)

    answers = client.converse("MachineService/Console", requests())
    assert shown_by(answers, b"$ ") == b"$ "
    heard.set()
    assert shown_by(answers, b"EXIT\r") == b"LS\rEXIT\r"
    assert list(answers) == [{"exitCode": 7}]
    told.set()
    assert terminal.window == (30, 100)
    assert terminal.ended.wait(30)


def test_a_console_ends_when_nothing_more_is_to_be_typed(client: ControlClient, terminal: Terminal) -> None:
    left = threading.Event()

    def requests() -> Iterator[Mapping[str, Any]]:
        yield OPEN
        assert left.wait(30)

    answers = client.converse("MachineService/Console", requests())
    assert shown_by(answers, b"$ ") == b"$ "
    left.set()
    assert list(answers) == []
    assert terminal.ended.wait(30)


def test_a_console_ends_when_nobody_listens(client: ControlClient, terminal: Terminal) -> None:
    left = threading.Event()

    def requests() -> Iterator[Mapping[str, Any]]:
        yield OPEN
        left.wait(30)

    with contextlib.closing(client.converse("MachineService/Console", requests())) as answers:
        assert shown_by(answers, b"$ ") == b"$ "
    assert terminal.ended.wait(30)
    left.set()


@pytest.mark.parametrize(
    ("before", "opening", "reason"),
    [
        ("PowerOffMachine", OPEN, "INVALID_POWER_STATE"),
        ("", {"open": {"name": f"{POOL}/machines/web2"}}, "OBJECT_UNKNOWN"),
        ("", typed(b"x"), "INVALID_ARGUMENT"),
    ],
)
def test_why_there_is_no_console(
    client: ControlClient, office: Office, before: str, opening: Mapping[str, Any], reason: str
) -> None:
    if before:
        office.do(before, WEB)
    told = threading.Event()

    def requests() -> Iterator[Mapping[str, Any]]:
        yield opening
        assert told.wait(30)

    with pytest.raises(CallError) as refused:
        list(client.converse("MachineService/Console", requests()))
    told.set()
    assert refused.value.code == reason


def test_what_cannot_be_meant_is_said_before_it_goes(client: ControlClient) -> None:
    nonsense = {"parent": "orgs/US1", "nonsense": 1}
    for call in (client.call, lambda *given: list(client.watch(*given))):
        with pytest.raises(ArgumentError, match="nonsense"):
            call("EventService/ListEvents" if call == client.call else "EventService/WatchEvents", nonsense)
    requests = iter([OPEN, {"nonsense": 1}])
    with pytest.raises(ArgumentError, match="nonsense"):
        list(client.converse("MachineService/Console", requests))


def test_nobody_answers(tmp_path: Path) -> None:
    with ControlClient(f"unix:{tmp_path}/nobody.sock") as client, pytest.raises(UnreachableError):
        list(client.converse("MachineService/Console", iter([OPEN])))


def test_what_a_program_says_and_how_it_ends(
    commands: Commands, office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    run: list[list[str]] = []

    def execute(_: str, argv: Sequence[str]) -> Program:
        run.append(list(argv))
        ends = []
        for said in (b"out\xff", b"err"):
            read, write = os.pipe()
            os.write(write, said)
            os.close(write)
            ends.append(read)
        life, told = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        told.send(b'{"exit": 5}')
        told.close()
        return Program(life, *ends)

    monkeypatch.setattr(office.world.driver, "execute", execute)
    for program in (["ls", "-l"], ["--", "ls", "-l"]):
        command = ["control", "vms", "exec", "web1", "--to", commands.address, *program]
        result = CliRunner().invoke(cli, command, env={"T1EDGE_TOKEN": office.token})
        assert (result.exit_code, result.stdout_bytes, result.stderr_bytes) == (5, b"out\xff", b"err")
    assert run == [["ls", "-l"]] * 2


@pytest.mark.parametrize(
    ("given", "vdc", "argv"),
    [
        ("web1 ip address", None, "ip address"),
        ("web1 ls -l --vdc x", None, "ls -l --vdc x"),
        ("--vdc one web1 ls -l", "one", "ls -l"),
        ("--vdc=one web1 ls", "one", "ls"),
        ("web1 --vdc one ls -l", "one", "ls -l"),
        ("web1 --vdc one -- ls -l", "one", "ls -l"),
        ("--vdc one -- web1 -- ls -l", "one", "ls -l"),
        ("web1 --vdc one --timeout 5 -- --odd -- x", "one", "--odd -- x"),
        ("web1 -- --vdc two", None, "--vdc two"),
        ("web1 -", None, "-"),
    ],
)
def test_which_options_are_the_programs(given: str, vdc: str | None, argv: str) -> None:
    found = COMMANDS["vms exec"].make_context("exec", given.split()).params
    assert (found["name"], found["vdc"], " ".join(found["argv"])) == ("web1", vdc, argv)
