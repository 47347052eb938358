"""The driver: what it keeps of each machine on the disk, and what it asks of the process that enters namespaces.

DATA/machines/UID has ``wish.json``, ``upper`` and ``work`` of the overlay, perhaps ``snapshot``, and of a machine that
is on ``pid.json``, ``unwired`` while its cards may be others than ``wish.json`` says.  Mounts are seen by the machine
alone and end with it; the network cables end with its namespace.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import re
import select
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from control.errors import MachineError, PowerStateError, SnapshotError
from control.machines.driver import NEEDS_ROOT, Program
from control.machines.netns.process import MAX_MESSAGE, PID, held, started
from control.machines.wishes import Found, Nic, Power, Wish

_UID = re.compile(r"[0-9a-f]{8,64}")
_PATIENCE_S = 30.0
_SO_SNDBUFFORCE = 32
_SHELL = ("/bin/sh", "-c", "if command -v bash >/dev/null; then exec bash -l; fi; exec sh -l")


def no_place(data: Path) -> str | None:
    """Why a directory cannot hold the files of machines, None if it can."""
    place, found = data.resolve(), (Path("/"), "")
    for line in Path("/proc/self/mountinfo").read_text(encoding="utf-8").splitlines():
        mount, kind = Path(line.split()[4]), line.partition(" - ")[2].split()[0]
        if place.is_relative_to(mount) and len(mount.parts) >= len(found[0].parts):
            found = mount, kind
    if found[1] != "overlay":
        return None
    return f"{data}: it lies in an overlay, as in most containers, and no overlay can be made of what lies in one"


class NetnsDriver:
    """Machines below ``data``/machines whose files lie over those of ``lower``; they do not see ``data`` and what else
    is ``hidden``.  Raises MachineError without root, or where another process has the directory."""

    lasting = True

    def __init__(self, data: Path, lower: Path = Path("/"), hidden: Sequence[Path] = ()) -> None:
        if os.geteuid() != 0:
            raise MachineError(NEEDS_ROOT)
        self._home = data.resolve() / "machines"
        self._lower = lower.resolve()
        self._hidden = (data.resolve(), *(path.resolve() for path in hidden))
        self.name = f"t1edge-{hashlib.sha256(bytes(self._home)).hexdigest()[:8]}"
        """Of the network namespace with the bridges; like no other data directory's."""
        if any(letter in str(self._home) + str(self._lower) for letter in ",:\\"):
            raise MachineError("the name of the data directory has a comma, a colon or a backslash: overlays cannot")
        if problem := no_place(data):
            raise MachineError(problem)
        self._home.mkdir(mode=0o700, exist_ok=True)
        self._busy = threading.Lock()
        self._lock_file = _locked(self._home / "lock")
        try:
            for place in self._places():
                if not (place / "wish.json").exists():
                    _remove(place)  # its making or its removal was cut off
            self._begin()
        except BaseException:
            os.close(self._lock_file)
            raise

    def _begin(self) -> None:
        self._connection, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        for end in (self._connection, theirs):  # a message is sent as a whole, and the kernel's own data with it
            end.setsockopt(socket.SOL_SOCKET, _SO_SNDBUFFORCE, 2 * MAX_MESSAGE)
        with theirs:
            # The lock is the helper's as well: what it is at is done before another one begins.
            self._process = subprocess.Popen(  # noqa: S603 - a module of this program
                [sys.executable, "-m", "control.machines.netns.process", self.name],
                stdin=theirs.fileno(), stdout=subprocess.DEVNULL, pass_fds=[self._lock_file],
                env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
            )  # fmt: skip
        self._connection.settimeout(_PATIENCE_S)
        try:
            self._answer()
        except BaseException:
            self._end()
            raise

    def _answer(self) -> dict[str, Any]:
        try:
            said = self._connection.recv(MAX_MESSAGE)
        except OSError as error:
            raise MachineError(f"the process that enters namespaces does not answer: {error}") from None
        if not said:
            raise MachineError("the process that enters namespaces came to an end")
        found: dict[str, Any] = json.loads(said)
        return found

    def _ask(self, do: str, descriptors: Sequence[int] = (), **arguments: Any) -> None:
        """Raises MachineError; a helper that fails to answer is replaced."""
        message = json.dumps({"do": do, **arguments}, ensure_ascii=False).encode()
        if len(message) > MAX_MESSAGE:
            raise MachineError(f"{do}: {len(message)} bytes, more than {MAX_MESSAGE}, cannot be asked for at once")
        with self._busy:
            if self._process.poll() is not None:
                self._end()
                self._begin()
            try:
                socket.send_fds(self._connection, [message], descriptors)
                answer = self._answer()
            except OSError as error:
                self._end()
                raise MachineError(f"the process that enters namespaces cannot be asked: {error}") from None
            except MachineError:
                self._end()
                raise
        if "error" in answer:
            raise MachineError(answer["error"])

    def _end(self) -> None:
        self._connection.close()
        self._process.kill()
        self._process.wait()

    def close(self) -> None:
        """See Driver; as are all below.  Machines run on."""
        with self._busy:
            self._connection.close()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(_PATIENCE_S)
            self._end()
            os.close(self._lock_file)

    def remove_networks(self) -> None:
        """Every network, every cable."""
        self._ask("remove")

    # ------------------------------------------------------------------ machines

    def inventory(self) -> Mapping[str, Found]:
        """What earlier processes have left is told like what this one made."""
        found = {}
        for place in self._places():
            with contextlib.suppress(MachineError):  # it is just made or removed
                found[place.name] = self._found(place)
        return found

    def _places(self) -> Iterator[Path]:
        return (place for place in sorted(self._home.iterdir()) if _UID.fullmatch(place.name) and place.is_dir())

    def _found(self, place: Path) -> Found:
        wish, power = self._wish(place), Power.OFF
        if self._first(place):
            power = Power.SUSPENDED if (place / "suspended").exists() else Power.ON
        return Found(wish, power, (place / "snapshot").exists())

    def _wish(self, place: Path) -> Wish:
        """Raises MachineError if there is no machine; of one whose file is damaged nothing is known but that."""
        try:
            said = json.loads((place / "wish.json").read_text(encoding="utf-8"))
            nics = tuple(
                Nic(**{**nic, "addresses": tuple(nic["addresses"]), "gateways": tuple(nic["gateways"])})
                for nic in said["nics"]
            )
            return Wish(**{**said, "nics": nics, "dns": tuple(said["dns"])})
        except OSError:
            raise MachineError("there is no such machine") from None
        except (ValueError, TypeError, KeyError):
            return Wish(place.name, "")

    def _place(self, uid: str) -> Path:
        assert _UID.fullmatch(uid), "ids are hexadecimal"
        return self._home / uid

    def _first(self, place: Path) -> dict[str, Any]:
        """The machine's first process, as the helper is told of it; {} if the machine is not on."""
        try:
            said = json.loads((place / PID).read_text(encoding="ascii"))
            pid, since = int(said["pid"]), said["started"]
        except (OSError, ValueError, TypeError, KeyError):
            return {}
        return {"pid": pid, "since": since} if since and started(pid) == since else {}

    def define(self, wish: Wish) -> None:
        """A machine that is on gets its cards at once, all else when it is powered on the next time."""
        place = self._place(wish.uid)
        for name in ("", "upper", "work", "root"):
            (place / name).mkdir(mode=0o700 if name != "upper" else 0o755, exist_ok=True)
        before = self._wish(place).nics if (place / "wish.json").exists() else ()
        first, unwired = self._first(place), place / "unwired"
        if first and (before != wish.nics or unwired.exists()):
            unwired.touch()
            self._ask("connect", uid=wish.uid, **first, nics=_plain(wish))
            if (place / "suspended").exists():
                self._ask("freeze", uid=wish.uid, **first, nics=_plain(wish), dead=True)
        fresh = place / "wish.new"
        fresh.write_text(json.dumps(asdict(wish)), encoding="utf-8")
        fresh.replace(place / "wish.json")
        unwired.unlink(missing_ok=True)

    def power_on(self, uid: str) -> None:
        """Its root is mounted, the start command run."""
        place = self._place(uid)
        wish = self._wish(place)
        first = self._first(place)
        suspended = place / "suspended"
        if first and suspended.exists():
            self._ask("freeze", uid=uid, **first, nics=_plain(wish), dead=False)
            suspended.unlink(missing_ok=True)
        elif not first:
            suspended.unlink(missing_ok=True)
            frame = {
                "directory": str(place), "lower": str(self._lower), "hidden": list(map(str, self._hidden)),
                "host_name": wish.computer_name, "resolver": _resolver(wish), "command": wish.start_command,
            }  # fmt: skip
            self._ask("start", uid=uid, frame=frame, nics=_plain(wish))

    def power_off(self, uid: str) -> None:
        """The first process is killed; the kernel ends the others with it."""
        place = self._place(uid)
        first = self._first(place)
        if first:
            with contextlib.suppress(ProcessLookupError):
                handle = held(**first)
                try:
                    signal.pidfd_send_signal(handle, signal.SIGKILL)
                    if not select.select([handle], [], [], _PATIENCE_S)[0]:
                        raise MachineError("the machine does not end")
                finally:
                    os.close(handle)
        if (place / PID).exists():
            self._ask("unplug", uid=uid, count=len(self._wish(place).nics) + 1)
            (place / PID).unlink(missing_ok=True)
        (place / "suspended").unlink(missing_ok=True)

    def suspend(self, uid: str) -> None:
        """Its processes are stopped, its cables dead."""
        place = self._place(uid)
        first = self._running(place)
        (place / "suspended").touch()
        self._ask("freeze", uid=uid, **first, nics=_plain(self._wish(place)), dead=True)

    def _running(self, place: Path) -> dict[str, Any]:
        first = self._first(place)
        if not first or (place / "suspended").exists():
            raise PowerStateError("the machine is not on")
        return first

    # ------------------------------------------------------------------ files

    def snapshot(self, uid: str) -> None:
        """A copy of what lies over the lower files."""
        place = self._place(uid)
        _copy(place / "upper", place / "snapshot")

    def revert(self, uid: str) -> None:
        """Off, and the copy in the place of what was there."""
        place = self._place(uid)
        if not (place / "snapshot").exists():
            raise SnapshotError("the machine has no snapshot")
        self.power_off(uid)
        _remove(place / "work")
        _copy(place / "snapshot", place / "upper")
        (place / "work").mkdir(mode=0o700)

    def drop_snapshot(self, uid: str) -> None:
        """The copy goes, as a whole."""
        kept = self._place(uid) / "snapshot"
        old = kept.with_suffix(".old")
        _remove(old)
        if kept.exists():
            kept.rename(old)
            _remove(old)

    def delete(self, uid: str) -> None:
        """All of its directory.  The wish goes first: what is left of a cut-off deletion is no machine."""
        place = self._place(uid)
        if not place.exists():
            return
        if (place / "wish.json").exists():
            self.power_off(uid)
            (place / "wish.json").unlink()
        _remove(place)

    # ------------------------------------------------------------------ programs

    def execute(self, uid: str, argv: Sequence[str]) -> Program:
        """Its input is empty."""
        first = self._running(self._place(uid))
        output, out = os.pipe()
        errors, err = os.pipe()
        try:
            return Program(self._run(first, argv, None, [out, err])[0], output, errors)
        except BaseException:
            os.close(output)
            os.close(errors)
            raise
        finally:
            os.close(out)
            os.close(err)

    def console(self, uid: str, rows: int, columns: int) -> Program:
        """A login shell of root."""
        life, terminal = self._run(self._running(self._place(uid)), _SHELL, [rows, columns], [])
        return Program(life, terminal[0])

    def _run(
        self, first: Mapping[str, Any], argv: Sequence[str], window: list[int] | None, outputs: list[int]
    ) -> tuple[socket.socket, list[int]]:
        life, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        life.settimeout(_PATIENCE_S)
        try:
            with theirs:
                self._ask("run", [theirs.fileno(), *outputs], **first, argv=list(argv), window=window)
            if window is None:
                return life, []
            _, found, _, _ = socket.recv_fds(life, 64, 1)
            if not found:
                raise MachineError("the machine has no terminal to give")
        except BaseException:
            life.close()
            raise
        return life, list(found)

    # ------------------------------------------------------------------ networks

    def attach(self, network: str, device: str) -> None:
        """The interface is down at first: whoever uses it brings it up."""
        self._ask("attach", network=network, device=device)

    def retain(self, networks: Collection[str], devices: Collection[str]) -> None:
        """Remove what is none of these."""
        self._ask("retain", networks=list(networks), devices=list(devices))


def _plain(wish: Wish) -> list[dict[str, Any]]:
    return [asdict(nic) for nic in wish.nics]


def _resolver(wish: Wish) -> str:
    lines = [f"nameserver {address}" for address in wish.dns]
    return "".join(f"{line}\n" for line in [*lines, *([f"search {wish.dns_suffix}"] if wish.dns_suffix else [])])


def stop_all(data: Path) -> int:
    """End the machines of a data directory that no control plane has, and remove their networks; files stay.

    How many there were.  Raises MachineError.
    """
    if os.geteuid() == 0 and not (data / "machines").is_dir():
        return 0
    driver = NetnsDriver(data)
    with contextlib.closing(driver):
        running = [uid for uid, found in driver.inventory().items() if found.power is not Power.OFF]
        for uid in running:
            driver.power_off(uid)
        driver.remove_networks()
    return len(running)


def _locked(path: Path) -> int:
    """Raises MachineError if another process keeps it for long."""
    number = os.open(path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
    until = time.monotonic() + _PATIENCE_S
    while True:
        try:
            fcntl.flock(number, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return number
        except BlockingIOError:
            if time.monotonic() > until:
                os.close(number)
                raise MachineError(f"{path}: another process runs these machines") from None
            time.sleep(0.05)


def _copy(source: Path, target: Path) -> None:
    """With owners, times, links, holes and the overlay's own attributes; the target is whole at each moment, or not
    there."""
    fresh, old = target.with_suffix(".new"), target.with_suffix(".old")
    for left in (fresh, old):
        _remove(left)
    done = subprocess.run(  # noqa: S603 - paths of this driver
        ["cp", "-a", "--reflink=auto", str(source), str(fresh)],  # noqa: S607 - where PATH says
        capture_output=True, text=True, check=False, env=os.environ | {"LC_ALL": "C"},
    )  # fmt: skip
    if done.returncode != 0:
        _remove(fresh)
        raise MachineError(f"files cannot be copied: {done.stderr.strip().partition(chr(10))[0]}")
    if target.exists():
        target.rename(old)
    fresh.rename(target)
    _remove(old)


def _remove(place: Path) -> None:
    if place.exists():
        try:
            shutil.rmtree(place)
        except OSError as error:
            raise MachineError(f"{place}: {error.strerror}") from None
