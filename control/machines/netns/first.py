"""A machine's first process: its files, its name, its start command; it goes on until the machine is off.

It is forked from the helper process and executes nothing: a machine costs the few pages that the two do not share.
"""

from __future__ import annotations

import contextlib
import os
import shutil
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
_DEVICES = {"null": (1, 3), "zero": (1, 5), "full": (1, 7), "random": (1, 8), "urandom": (1, 9), "tty": (5, 0)}
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
    _forget_host()
    calls.drop_capabilities()
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
    """An overlay with what every root needs, seen by this machine alone.

    What the machine's owner can write is looked at from inside only, where links lead nowhere else.
    """
    root, veil = str(frame.directory / "root"), frame.directory / "veil"
    calls.mount("", "/", flags=calls.MS_REC | calls.MS_PRIVATE)
    veil.mkdir(mode=0o700, exist_ok=True)
    calls.mount("tmpfs", str(veil), "tmpfs", options="mode=0755")
    for hidden in frame.hidden:
        _hide(veil, frame.lower, hidden)
    layers = f"lowerdir={veil}:{frame.lower},upperdir={frame.directory / 'upper'},workdir={frame.directory / 'work'}"
    # A directory that has moved would take what lies hidden below it along.
    calls.mount("overlay", root, "overlay", calls.MS_NODEV, f"{layers},redirect_dir=nofollow,metacopy=off")
    calls.unmount(str(veil))
    calls.enter_root(root)
    for name in ("dev", "proc", "run", "sys", "tmp"):
        place = Path("/", name)
        if place.is_symlink() or (place.exists() and not place.is_dir()):
            place.unlink()
        place.mkdir(exist_ok=True)
    for name in ("/etc", "/var/log"):
        Path(name).mkdir(parents=True, exist_ok=True)
    for name, mode in (("dev", "0755"), ("run", "0755"), ("tmp", "1777")):
        calls.mount("tmpfs", f"/{name}", "tmpfs", calls.MS_NOSUID, f"mode={mode}")
    _make_devices(Path("/dev"))
    calls.mount("sysfs", "/sys", "sysfs", calls.MS_RDONLY | calls.MS_NOSUID | calls.MS_NOEXEC)
    calls.mount("proc", "/proc", "proc", calls.MS_NOSUID | calls.MS_NOEXEC | calls.MS_NODEV)
    _guard_kernel()


def _hide(veil: Path, lower: Path, hidden: Path) -> None:
    """A layer between the host's files and the machine's own says that this is not there: a whiteout, and the
    directories above it as they are.  What lies outside of ``lower`` the machine does not see in any case."""
    if not hidden.is_relative_to(lower):
        return
    place = veil
    for name in hidden.relative_to(lower).parts[:-1]:
        place /= name
        if place.is_char_device():
            return  # below what is hidden already
        there = lower / place.relative_to(veil)
        if not there.exists():
            return
        if not place.exists():
            place.mkdir()
            owner = there.stat()
            os.chown(place, owner.st_uid, owner.st_gid)
            shutil.copystat(there, place)
    place = veil / hidden.relative_to(lower)
    if place.is_dir():
        shutil.rmtree(place)
    if not place.exists():
        os.mknod(place, stat.S_IFCHR, os.makedev(0, 0))


def _make_devices(dev: Path) -> None:
    """The machine's own: of the host's, even the rights of access would be the host's."""
    for name, (major, minor) in _DEVICES.items():
        os.mknod(dev / name, stat.S_IFCHR, os.makedev(major, minor))
        (dev / name).chmod(0o666)
    for name in ("pts", "shm"):
        (dev / name).mkdir()
    calls.mount("devpts", str(dev / "pts"), "devpts", calls.MS_NOSUID, "newinstance,ptmxmode=0666,mode=0620")
    calls.mount("tmpfs", str(dev / "shm"), "tmpfs", calls.MS_NOSUID, "mode=1777")
    for link, target in (("ptmx", "pts/ptmx"), ("fd", "/proc/self/fd"), ("stdin", "/proc/self/fd/0"),
                         ("stdout", "/proc/self/fd/1"), ("stderr", "/proc/self/fd/2")):  # fmt: skip
        (dev / link).symlink_to(target)


def _guard_kernel() -> None:
    """Settings of the kernel that are not of the network are the host's: read-only."""
    aside, settings = Path("/run/proc"), Path("/proc/sys")
    aside.mkdir()
    calls.mount("proc", str(aside), "proc")
    for place in filter(Path.exists, (settings, *(Path("/proc", name) for name in ("sysrq-trigger", "irq", "bus")))):
        calls.mount(str(place), str(place), flags=calls.MS_BIND)
        calls.mount("", str(place), flags=calls.MS_BIND | calls.MS_REMOUNT | calls.MS_RDONLY)
    calls.mount(str(aside / "sys" / "net"), str(settings / "net"), flags=calls.MS_BIND)
    calls.unmount(str(aside))
    aside.rmdir()


def _forget_host() -> None:
    """The first three descriptors are of the machine's own files, as the others to come."""
    nothing = os.open("/dev/null", os.O_RDWR | os.O_CLOEXEC)
    for number in (0, 1, 2):
        os.dup2(nothing, number)
    os.close(nothing)


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
