"""System calls that Python's library does not have, or only in versions later than the oldest that is supported."""

from __future__ import annotations

import ctypes
import os

CLONE_NEWNS, CLONE_NEWUTS, CLONE_NEWIPC = 0x0002_0000, 0x0400_0000, 0x0800_0000
CLONE_NEWPID, CLONE_NEWNET = 0x2000_0000, 0x4000_0000
MACHINE = CLONE_NEWNS | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWPID | CLONE_NEWNET
"""The namespaces that a machine has of its own."""

MS_RDONLY, MS_NOSUID, MS_NODEV, MS_NOEXEC, MS_REMOUNT = 1, 2, 4, 8, 32
MS_BIND, MS_REC, MS_PRIVATE = 4096, 16384, 1 << 18
MNT_DETACH = 2
PR_CAPBSET_DROP, PR_SET_CHILD_SUBREAPER = 24, 36
SYS_PIVOT_ROOT = {"x86_64": 155, "aarch64": 41}

# capabilities(7): as containers have them, with the administration of their own network.
_KEPT = frozenset({
    *(0, 1, 3, 4, 5, 6, 7, 8),  # CHOWN DAC_OVERRIDE FOWNER FSETID KILL SETGID SETUID SETPCAP
    *(10, 12, 13, 14, 15, 18),  # NET_BIND_SERVICE NET_ADMIN NET_RAW IPC_LOCK IPC_OWNER SYS_CHROOT
    *(23, 24, 26, 31),  # SYS_NICE SYS_RESOURCE SYS_TTY_CONFIG SETFCAP
})  # fmt: skip
_CAPABILITIES = 64

_LIBC = ctypes.CDLL(None, use_errno=True)


def _checked(result: int, what: str) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")


def unshare(flags: int) -> None:
    """New namespaces for this thread.  Raises OSError, as do all below."""
    _checked(_LIBC.unshare(flags), "unshare")


def setns(descriptor: int, flags: int) -> None:
    """This thread is in the namespaces of a descriptor, a namespace's or a process's."""
    _checked(_LIBC.setns(descriptor, flags), "setns")


def mount(source: str, target: str, kind: str = "", flags: int = 0, options: str = "") -> None:
    """See the manual, section 2."""
    result = _LIBC.mount(os.fsencode(source), os.fsencode(target), kind.encode(), flags, os.fsencode(options))
    _checked(result, f"mount {target}")


def unmount(target: str) -> None:
    """Out of sight now, gone when nobody uses it any more."""
    _checked(_LIBC.umount2(os.fsencode(target), MNT_DETACH), f"umount {target}")


def enter_root(directory: str) -> None:
    """The mount at ``directory`` is the root of this mount namespace, the one before is out of it: pivot_root(2),
    "pivot_root(".", ".")"."""
    os.chdir(directory)
    _checked(_LIBC.syscall(SYS_PIVOT_ROOT[os.uname().machine], b".", b"."), "pivot_root")
    unmount(".")
    os.chdir("/")


def set_host_name(name: str) -> None:
    """Of this thread's UTS namespace."""
    encoded = name.encode()
    _checked(_LIBC.sethostname(encoded, len(encoded)), "sethostname")


def adopt_orphans() -> None:
    """Grandchildren whose parents end are this process's children from then on."""
    _checked(_LIBC.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0), "prctl")


def drop_capabilities() -> None:
    """What this process executes next, and all that comes of it, cannot reach the host's devices, mounts and clock."""
    for number in range(_CAPABILITIES):
        # EINVAL: the kernel does not have so many.
        if number not in _KEPT and _LIBC.prctl(PR_CAPBSET_DROP, number, 0, 0, 0) != 0:
            break
