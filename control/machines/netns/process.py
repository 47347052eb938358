"""The process that enters namespaces: ``python -m control.machines.netns.process NAME`` with a socket as its stdin.

A namespace is a thread's, and gRPC does not survive a fork: so there is one process with one thread for both, started
by :mod:`control.machines.netns.driver` and ended with it.  Machines are its children and outlive it.  A request is a
JSON object and perhaps descriptors, its answer a JSON object.
"""

from __future__ import annotations

import array
import contextlib
import errno
import fcntl
import json
import os
import select
import signal
import socket
import struct
import sys
import termios
from pathlib import Path
from typing import Any, NoReturn

from pyroute2 import NetlinkError

from control.machines.netns import calls, first
from control.machines.netns.wiring import Wiring
from control.machines.wishes import Nic

MAX_MESSAGE = 1 << 20
"""Bytes that one message to the helper may have."""
PID = "pid.json"
"""Where the first process of a machine is told, in its directory."""
_TIOCSPTLCK, _TIOCGPTN = 0x4004_5431, 0x8004_5430


def started(pid: int) -> str:
    """When a process was started, by which it is told from a later one of its number; '' if it has ended."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace")
    except OSError:
        return ""
    state, *rest = text.rpartition(")")[2].split()
    boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    return "" if state in "ZX" else f"{rest[18]}@{boot}"


def held(pid: int, since: str) -> int:
    """A descriptor of a process that was started then: its number alone may be another's by now.  Raises OSError."""
    process = os.pidfd_open(pid)
    if not since or started(pid) != since:
        os.close(process)
        raise ProcessLookupError(errno.ESRCH, "the machine has ended")
    return process


def _network(pid: int, since: str) -> int:
    """The network namespace of such a process."""
    found = os.open(f"/proc/{pid}/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.close(held(pid, since))  # it is still there, so the namespace was its
    except BaseException:
        os.close(found)
        raise
    return found


class Helper:
    """Answers requests; methods are named as they are."""

    def __init__(self, name: str) -> None:
        self._wiring = Wiring(name)

    def answer(self, request: dict[str, Any], descriptors: list[int]) -> dict[str, Any]:
        """The answer, or {"error": why not}."""
        try:
            ask = getattr(self, f"do_{request.pop('do')}")
            return ask(**request, descriptors=descriptors) or {}
        except (OSError, NetlinkError) as error:
            return {"error": str(error)}
        finally:
            for number in descriptors:
                os.close(number)

    def do_start(self, uid: str, frame: dict[str, Any], nics: list[dict[str, Any]], descriptors: list[int]) -> None:
        """A machine, on."""
        del descriptors
        paths = {"directory": Path(frame["directory"]), "lower": Path(frame["lower"])}
        whole = first.Frame(**{**frame, **paths, "hidden": tuple(map(Path, frame["hidden"]))})
        pid, go, ready = _fork(whole)
        try:
            since = started(pid)
            text = json.dumps({"pid": pid, "started": since})
            self._connect(uid, pid, since, nics)
            place = whole.directory / PID
            place.with_suffix(".new").write_text(text, encoding="ascii")
            place.with_suffix(".new").replace(place)
            os.write(go, b"g")
            said = b""
            while part := os.read(ready, 4096):
                said += part
            if said != b"up":
                raise OSError(said.decode(errors="replace") or "the machine's first process came to an end")
        except BaseException:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
            raise
        finally:
            os.close(go)
            os.close(ready)

    def do_connect(self, uid: str, pid: int, since: str, nics: list[dict[str, Any]], descriptors: list[int]) -> None:
        """The cards of a machine that is on."""
        del descriptors
        self._connect(uid, pid, since, nics)

    def _connect(self, uid: str, pid: int, since: str, nics: list[dict[str, Any]]) -> None:
        network = _network(pid, since)
        try:
            self._wiring.connect(uid, network, _nics(nics))
        finally:
            os.close(network)

    def do_freeze(
        self, uid: str, pid: int, since: str, nics: list[dict[str, Any]], dead: bool, descriptors: list[int]
    ) -> None:
        """Suspend, or go on."""
        del descriptors
        if dead:
            self._wiring.cut(uid, _nics(nics), dead=True)
        _signal_all(pid, since, signal.SIGSTOP if dead else signal.SIGCONT)
        if not dead:
            self._wiring.cut(uid, _nics(nics), dead=False)

    def do_unplug(self, uid: str, count: int, descriptors: list[int]) -> None:
        """A machine has ended."""
        del descriptors
        self._wiring.unplug(uid, count)

    def do_run(self, pid: int, since: str, argv: list[str], window: list[int] | None, descriptors: list[int]) -> None:
        """A program in a machine; descriptors: its life, and without a window stdout and stderr."""
        machine = held(pid, since)
        try:
            if os.fork() == 0:
                _run(machine, argv, window, descriptors)
        finally:
            os.close(machine)

    def do_attach(self, network: str, device: str, descriptors: list[int]) -> None:
        """See Driver."""
        del descriptors
        self._wiring.attach(network, device)

    def do_retain(self, networks: list[str], devices: list[str], descriptors: list[int]) -> None:
        """See Driver."""
        del descriptors
        self._wiring.retain(networks, devices)

    def do_remove(self, descriptors: list[int]) -> None:
        """Every cable."""
        del descriptors
        self._wiring.remove()


def _nics(given: list[dict[str, Any]]) -> list[Nic]:
    return [Nic(**{**nic, **{key: tuple(nic[key]) for key in ("addresses", "gateways")}}) for nic in given]


def _keep_only(*descriptors: int) -> None:
    """Close what a fork has inherited, but for these and the first three."""
    before = 2
    for number in sorted(descriptors):
        os.closerange(before + 1, number)
        before = number
    os.closerange(before + 1, 1 << 16)


def _fork(frame: first.Frame) -> tuple[int, int, int]:
    """A machine's first process, which waits for a byte: its number, where that is written, and where it says "up" or
    why not.  If this process ends before, it ends."""
    waits, go = os.pipe()
    ready, says = os.pipe()
    if os.fork() == 0:
        try:
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            os.setsid()
            calls.unshare(calls.MACHINE)
            child = os.fork()
            if child:
                os.write(says, f"{child}\n".encode())
                os._exit(0)
            _become_first(frame, waits, says)
        except BaseException as error:  # noqa: BLE001 - a fork ends here, whatever happens
            os.write(says, f"0 {error}\n".encode())
            os._exit(1)
    os.close(waits)
    os.close(says)
    line = b""
    while not line.endswith(b"\n") and (part := os.read(ready, 1)):
        line += part
    number, _, problem = line.decode().strip().partition(" ")
    if problem or not number:
        os.close(go)
        os.close(ready)
        raise OSError(problem or "the machine's first process came to an end")
    return int(number), go, ready


def _become_first(frame: first.Frame, waits: int, says: int) -> NoReturn:
    said = os.dup(says) if says == first.READY else says
    try:
        _keep_only(waits, said)
        if not os.read(waits, 1):
            os._exit(0)
        os.close(waits)
        os.dup2(said, first.READY, inheritable=False)
        _keep_only(first.READY)
        nothing = os.open("/dev/null", os.O_RDWR)
        for number in (0, 1, 2):
            os.dup2(nothing, number)
        os.close(nothing)
        said = first.READY
        first.run(frame)
    except BaseException as error:  # noqa: BLE001 - a fork ends here, whatever happens
        with contextlib.suppress(OSError):
            os.write(said, str(error).encode() or b"failed")
        os._exit(1)


def _signal_all(pid: int, since: str, number: int) -> None:
    """To every process of a machine but its first: who sends it has to be one of them."""
    machine = held(pid, since)
    done, says = os.pipe()
    if os.fork() == 0:
        try:
            calls.setns(machine, calls.CLONE_NEWPID)
            if os.fork() == 0:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(-1, number)
                os.write(says, b"ok")
        finally:
            os._exit(0)
    os.close(machine)
    os.close(says)
    told = os.read(done, 2)
    os.close(done)
    if told != b"ok":
        raise OSError("the processes of the machine could not be told")


def _run(machine: int, argv: list[str], window: list[int] | None, descriptors: list[int]) -> NoReturn:
    """Between a program and whoever asked for it: passes on a terminal, and how the program ends."""
    life = descriptors[0]
    try:
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        os.setsid()
        _keep_only(machine, *descriptors)
        calls.setns(machine, calls.MACHINE)
        with socket.socket(fileno=life) as teller:
            if window is not None:
                master, place = _terminal(window)
                said = array.array("i", [master])
                teller.sendmsg([b"{}"], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, said)])
                os.close(master)
            else:
                place = ""
            child = os.fork()
            if child == 0:
                _exec(argv, place, descriptors[1:])
            for number in descriptors[1:]:
                os.close(number)
            code = _watched(child, teller)
            teller.send(json.dumps({"exit": code}).encode())
    finally:
        os._exit(0)


def _watched(child: int, teller: socket.socket) -> int:
    """How a program ended; it is ended when nobody is there to be told any more."""
    program = os.pidfd_open(child)
    poll = select.poll()
    poll.register(program, select.POLLIN)
    poll.register(teller, 0)  # POLLHUP is told in any case
    if program not in [number for number, _ in poll.poll()]:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    code = os.waitstatus_to_exitcode(status)
    return code if code >= 0 else 128 - code


def _terminal(window: list[int]) -> tuple[int, str]:
    """The master's end of a new terminal of this mount namespace, and the name of the other."""
    master = os.open("/dev/ptmx", os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC)
    fcntl.ioctl(master, _TIOCSPTLCK, struct.pack("=i", 0))
    (number,) = struct.unpack("=i", fcntl.ioctl(master, _TIOCGPTN, struct.pack("=i", 0)))
    fcntl.ioctl(master, termios.TIOCSWINSZ, struct.pack("=HHHH", *window, 0, 0))
    return master, f"/dev/pts/{number}"


def _exec(argv: list[str], terminal: str, outputs: list[int]) -> NoReturn:
    try:
        os.setsid()
        if terminal:
            slave = os.open(terminal, os.O_RDWR)
            fcntl.ioctl(slave, termios.TIOCSCTTY, 0)
            ends = [slave, slave, slave]
        else:
            ends = [os.open("/dev/null", os.O_RDONLY), *outputs]
        for number, source in enumerate(ends):
            os.dup2(source, number)
        first.execute(argv)
    except BaseException as error:  # noqa: BLE001 - a fork ends here, whatever happens
        with contextlib.suppress(OSError):
            os.write(2, f"{argv[0]}: {error}\n".encode())
        os._exit(first.NOT_FOUND)


def _reap(*_: object) -> None:
    with contextlib.suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass


def main() -> None:
    """Serve until the other side goes."""
    calls.adopt_orphans()
    signal.signal(signal.SIGCHLD, _reap)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # of a terminal, for those who started this
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    with socket.socket(fileno=os.dup(0)) as connection:
        helper = Helper(sys.argv[1])
        connection.send(b"{}")
        while True:
            message, descriptors, _, _ = socket.recv_fds(connection, MAX_MESSAGE, 3)
            if not message:
                return
            connection.send(json.dumps(helper.answer(json.loads(message), list(descriptors))).encode())


if __name__ == "__main__":
    main()
