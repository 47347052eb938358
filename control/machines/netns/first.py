"""A machine's first process: its files, its name, its start command; it goes on until the machine is off.

It is forked from the helper process and executes nothing: a machine costs the few pages that the two do not share.
"""

from __future__ import annotations

import contextlib
import os
import signal
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

from control.machines.netns import calls

ENVIRONMENT = {
    "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "HOME": "/root",
    "LANG": "C.UTF-8",
    "SHELL": "/bin/sh",
    "TERM": "xterm-256color",
    "USER": "root",
}
LOG = "/var/log/start-command.log"
_DEVICES = ("null", "zero", "full", "random", "urandom", "tty")
NOT_FOUND = 127


@dataclass(frozen=True, slots=True)
class Frame:
    """What a machine is made of: ``directory`` is its own, ``lower`` whose files it sees below its own, but for those
    in ``hidden``."""

    directory: Path
    lower: Path
    hidden: tuple[Path, ...]
    host_name: str
    resolver: str
    command: str


def run(frame: Frame) -> NoReturn:
    """Begin, in new namespaces, and go on.  Raises OSError, before anything of the machine runs."""
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGCHLD})
    _make_root(frame)
    calls.set_host_name(frame.host_name)
    _settle(frame)
    if frame.command:
        _start(frame.command)
    report_ready()
    while True:
        with contextlib.suppress(ChildProcessError):
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        signal.sigwait({signal.SIGCHLD})


READY = 3
"""The descriptor by which the process that forked this one is told."""


def report_ready() -> None:
    """Say that the machine is up."""
    os.write(READY, b"up")
    os.close(READY)


def _make_root(frame: Frame) -> None:
    """An overlay with what every root needs, seen by this machine alone."""
    root = frame.directory / "root"
    calls.mount("", "/", flags=calls.MS_REC | calls.MS_PRIVATE)
    layers = f"lowerdir={frame.lower},upperdir={frame.directory / 'upper'},workdir={frame.directory / 'work'}"
    calls.mount("overlay", str(root), "overlay", options=layers)
    for hidden in frame.hidden:
        _hide(root, frame.lower, hidden)
    for name in ("dev", "proc", "run", "sys", "tmp", "etc", "var/log"):
        (root / name).mkdir(parents=True, exist_ok=True)
    for name, mode in (("dev", "0755"), ("run", "0755"), ("tmp", "1777")):
        calls.mount("tmpfs", str(root / name), "tmpfs", calls.MS_NOSUID, f"mode={mode}")
    _make_devices(root / "dev")
    calls.mount("sysfs", str(root / "sys"), "sysfs", calls.MS_RDONLY | calls.MS_NOSUID | calls.MS_NOEXEC)
    calls.mount("proc", str(root / "proc"), "proc", calls.MS_NOSUID | calls.MS_NOEXEC | calls.MS_NODEV)
    _guard_kernel(root)
    calls.enter_root(str(root))


def _hide(root: Path, lower: Path, hidden: Path) -> None:
    """The machine sees nothing there.  What lies outside of ``lower`` it does not see in any case."""
    if not hidden.is_relative_to(lower):
        return
    place = root / hidden.relative_to(lower)
    if not place.exists():
        return
    if place.is_dir():
        calls.mount("tmpfs", str(place), "tmpfs", calls.MS_RDONLY, "mode=0700")
    else:
        calls.mount("/dev/null", str(place), flags=calls.MS_BIND)


def _make_devices(dev: Path) -> None:
    for name in _DEVICES:
        (dev / name).touch()
        calls.mount(f"/dev/{name}", str(dev / name), flags=calls.MS_BIND)
    for name in ("pts", "shm"):
        (dev / name).mkdir()
    calls.mount("devpts", str(dev / "pts"), "devpts", calls.MS_NOSUID, "newinstance,ptmxmode=0666,mode=0620")
    calls.mount("tmpfs", str(dev / "shm"), "tmpfs", calls.MS_NOSUID, "mode=1777")
    for link, target in (("ptmx", "pts/ptmx"), ("fd", "/proc/self/fd"), ("stdin", "/proc/self/fd/0"),
                         ("stdout", "/proc/self/fd/1"), ("stderr", "/proc/self/fd/2")):  # fmt: skip
        (dev / link).symlink_to(target)


def _guard_kernel(root: Path) -> None:
    """Settings of the kernel that are not of the network are the host's: read-only."""
    aside, settings = root / "run" / "proc", root / "proc" / "sys"
    aside.mkdir()
    calls.mount("proc", str(aside), "proc")
    for place in filter(Path.exists, (settings, root / "proc" / "sysrq-trigger")):
        calls.mount(str(place), str(place), flags=calls.MS_BIND)
        calls.mount("", str(place), flags=calls.MS_BIND | calls.MS_REMOUNT | calls.MS_RDONLY)
    calls.mount(str(aside / "sys" / "net"), str(settings / "net"), flags=calls.MS_BIND)
    calls.unmount(str(aside))
    aside.rmdir()


def _settle(frame: Frame) -> None:
    """The files that say who the machine is."""
    files = {
        "/etc/hostname": f"{frame.host_name}\n",
        "/etc/hosts": f"127.0.0.1 localhost {frame.host_name}\n::1 localhost\n",
        "/etc/resolv.conf": frame.resolver,
    }
    for name, text in files.items():
        path = Path(name)
        if path.is_symlink() or (path.exists() and not stat.S_ISREG(path.stat().st_mode)):
            path.unlink()  # a link leads to where this machine has nothing
        path.write_text(text, encoding="utf-8")


def _start(command: str) -> None:
    """The start command, a session of its own.  It cannot fail here: what a shell says of it is in the log."""
    if os.fork():
        return
    try:
        os.setsid()
        log = os.open(LOG, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o644)
        nothing = os.open("/dev/null", os.O_RDONLY | os.O_CLOEXEC)
        for number, source in ((0, nothing), (1, log), (2, log)):
            os.dup2(source, number)
        execute(["/bin/sh", "-c", command])
    except BaseException:  # noqa: BLE001 - a fork ends here, whatever happens
        os._exit(NOT_FOUND)


def execute(argv: list[str]) -> NoReturn:
    """Become a program of the machine.  Raises OSError where there is none."""
    calls.drop_capabilities()
    signal.pthread_sigmask(signal.SIG_SETMASK, set())
    for number in (signal.SIGPIPE, signal.SIGINT, signal.SIGCHLD, signal.SIGTERM):
        signal.signal(number, signal.SIG_DFL)
    os.chdir("/")
    os.closerange(READY, 1 << 16)
    os.execvpe(argv[0], argv, ENVIRONMENT)  # noqa: S606 - programs of the machine's owner
